"""Optuna: the package, where a study is kept, how trials are chosen and when they are ended early."""

from __future__ import annotations

import importlib
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

SAMPLERS = ("tpe", "random")
PRUNERS = ("median", "halving", "hyperband")
JOURNALS = (".journal", ".log")
DATABASES = (".db", ".sqlite", ".sqlite3")
_PATIENCE = 60  # seconds that a process waits for others to write
_STARTED = 8  # trials to the end before the median of them ends others
_FACTS = "fastrbm"


def load() -> Any:
    """Import Optuna."""
    try:
        return importlib.import_module("optuna")
    except ImportError as error:
        raise ImportError('Search needs Optuna: pip install "fastrbm[tuning]"') from error


@contextmanager
def quiet(optuna: Any) -> Iterator[None]:
    """Within the block Optuna says nothing but warnings, and nothing of what is experimental."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(before, optuna.logging.WARNING))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)


def storage_of(given: Any, optuna: Any) -> Any:
    """Storage that an option names.

    Parameters
    ----------
    given : None, str, path-like or storage
        None is memory; a path ends in one of `JOURNALS` or `DATABASES`; a text with "://" is a URL of Optuna.
    optuna : module

    Raises
    ------
    ValueError
        For other endings.
    OSError
        If the folder of a file is missing or it cannot be written to.
    """
    if given is None:
        return None
    if not isinstance(given, (str, os.PathLike)):
        if not isinstance(given, optuna.storages.BaseStorage):
            raise TypeError(f"storage must be None, a path, a URL or a storage of Optuna, got {given!r}")
        return given
    text = os.fspath(given)
    if "://" in text:
        return optuna.storages.RDBStorage(text)
    path = Path(text)
    if path.suffix not in (*JOURNALS, *DATABASES):
        raise ValueError(f"storage must end in {', '.join((*JOURNALS, *DATABASES))}, or be a URL, got {text!r}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"storage: the folder {path.parent} does not exist")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise PermissionError(f"storage: {path} cannot be written to")
    if path.suffix in JOURNALS:
        return optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(text))
    try:
        return optuna.storages.RDBStorage(f"sqlite:///{text}", engine_kwargs={"connect_args": {"timeout": _PATIENCE}})
    except Exception as error:
        if type(error).__module__.partition(".")[0] != "sqlalchemy":
            raise
        raise ValueError(f"storage: {path} is no study of Optuna ({' '.join(str(error).split())[:120]})") from error


def sampler_of(given: Any, seed: int, begun: int, optuna: Any) -> Any:
    """Sampler for the trials after the first `begun`: a function of the seed and that number.

    So a search that goes on after an interruption chooses what it would have chosen without it.
    """
    if isinstance(given, optuna.samplers.BaseSampler):
        return given
    mixed = int(np.random.SeedSequence([seed, begun]).generate_state(1)[0])
    if given == "random":
        return optuna.samplers.RandomSampler(seed=mixed)
    return optuna.samplers.TPESampler(seed=mixed, constant_liar=True)  # those of a generation keep apart


def check_sampler(given: Any, optuna: Any) -> None:
    """Raise ValueError unless it is a sampler or the name of one."""
    if not (isinstance(given, optuna.samplers.BaseSampler) or (isinstance(given, str) and given in SAMPLERS)):
        raise ValueError(f"sampler must be one of {list(SAMPLERS)} or a sampler of Optuna, got {given!r}")


def pruner_of(given: Any, optuna: Any) -> Any:
    """Pruner that an option names; ValueError if it names none."""
    if isinstance(given, optuna.pruners.BasePruner):
        return given
    if given is None:
        return optuna.pruners.NopPruner()
    if given == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=_STARTED, n_warmup_steps=1)
    if given == "halving":
        return optuna.pruners.SuccessiveHalvingPruner()
    if given == "hyperband":
        return optuna.pruners.HyperbandPruner()
    raise ValueError(f"pruner must be None, one of {list(PRUNERS)} or a pruner of Optuna, got {given!r}")


def open_study(name: str, storage: Any, pruner: Any, optuna: Any) -> Any:
    """Make a study, or open the one of this name."""
    return optuna.create_study(
        storage=storage, pruner=pruner, study_name=name, direction="maximize", load_if_exists=True
    )


def in_memory(study: Any, optuna: Any) -> Any:
    """Copy a study from a file that goes away."""
    with quiet(optuna):
        kept = optuna.create_study(study_name=study.study_name, direction="maximize")
        kept.add_trials(t for t in study.get_trials(deepcopy=False) if t.state.is_finished())
        for name, value in study.user_attrs.items():
            kept.set_user_attr(name, value)
    return kept


def settle_seed(study: Any, given: int | None) -> int:
    """Seed of a study: the one that it has, else the given one, else any; ValueError for another than it has."""
    kept = study.user_attrs.get("seed")
    if kept is None:
        seed = int(np.random.SeedSequence().generate_state(1)[0]) if given is None else given
        study.set_user_attr("seed", seed)
        return seed
    if given is not None and given != kept:
        raise ValueError(
            f"random_state must be {kept}, with which the study {study.study_name!r} was begun, or None, got {given}"
        )
    return int(kept)


def check_same(study: Any, facts: dict[str, Any]) -> None:
    """Note down what a study is about; ValueError if it is about something else."""
    kept = study.user_attrs.get(_FACTS)
    if kept is None:
        study.set_user_attr(_FACTS, facts)
        return
    for name, value in facts.items():
        if kept.get(name) != value:
            raise ValueError(
                f"study_name must be another one: the study {study.study_name!r} of this storage has {name} "
                f"{kept.get(name)!r}, not {value!r}"
            )


def counted(study: Any) -> list[Any]:
    """Trials that are over; those that were interrupted do not count."""
    return [t for t in study.get_trials(deepcopy=False) if t.state.is_finished() and "interrupted" not in t.user_attrs]
