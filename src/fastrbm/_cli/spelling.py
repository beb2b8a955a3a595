"""How the command spells the options of Python."""

from __future__ import annotations

#: short names that the command has for options; others are spelled as in Python, with dashes
SHORT = {
    "n_components": "--components",
    "n_iter": "--epochs",
    "n_gibbs_steps": "--gibbs-steps",
    "n_chains": "--chains",
    "n_temperatures": "--temperatures",
    "n_steps": "--steps",
    "n_samples": "--n",
    "random_state": "--seed",
    "n_threads": "--threads",
    "warm_start": "--resume",
    "n_trials": "--trials",
    "n_jobs": "--jobs",
    "study_name": "--study",
}
#: of functions that commands call, beside those of estimators
_OTHERS = frozenset({"n_temperatures", "n_steps", "n_samples", "max_chains", "method", "stderr"})
_known: set[str] = set(_OTHERS) | set(SHORT)


def know(names: object) -> None:
    """Make options of estimators known, so that messages about them can be put in terms of the command."""
    _known.update(names)  # type: ignore[arg-type]


def is_option(name: str) -> bool:
    """Whether it is the name of an option of Python that the command has."""
    return name in _known


def flag_of(name: str) -> str:
    """How the command spells an option of Python."""
    return SHORT.get(name, "--" + name.replace("_", "-"))


def flags_of(name: str) -> list[str]:
    """All spellings of an option."""
    return list(dict.fromkeys((flag_of(name), "--" + name.replace("_", "-"))))
