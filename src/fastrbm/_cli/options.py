"""Options of the command made of what the estimators say of themselves: signatures, documentation, allowed values."""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

from . import literals, spelling
from .arguments import UsageError

MODELS = ("BernoulliRBM", "IsingRBM", "GaussianRBM", "PottsRBM", "SoftmaxRBM", "RBM")
#: options of Python that a command line cannot say, or says otherwise
_ELSEWHERE = ("verbose", "callbacks", "warm_start")
#: The command's own defaults, chosen on Fashion-MNIST (README); those of Python are scikit-learn's.
DEFAULTS: dict[str, Any] = {
    "learning_rate": "Linear(0.1, 0.0005)",
    "batch_size": 64,
    "n_iter": 20,
    "n_chains": 256,
    "visible_bias": "data",
    "random_state": 0,
}


class Option(NamedTuple):
    """One option of estimators.

    Attributes
    ----------
    name : str
    default : object
        That of the first estimator which has it.
    kind, meaning : str
        What the documentation says of its values, and its first sentence.
    owners : tuple of str
        Estimators that have it.
    allowed : list or None
        Constraints in scikit-learn's form.
    """

    name: str
    default: Any
    kind: str
    meaning: str
    owners: tuple[str, ...]
    allowed: list[Any] | None

    @property
    def is_flag(self) -> bool:
        """Whether it is True or False and nothing else."""
        return self.allowed == ["boolean"]

    @property
    def may_be_flag(self) -> bool:
        """Whether it may be True or False."""
        return self.allowed is not None and "boolean" in self.allowed


def model_class(name: str) -> Any:
    """Estimator of a name."""
    import fastrbm

    return getattr(fastrbm, name)


@cache
def table() -> dict[str, Option]:
    """All options of all estimators by their names in Python."""
    from fastrbm._estimator.options import CONSTRAINTS

    found: dict[str, Option] = {}
    for model in MODELS:
        cls = model_class(model)
        documented = _documented(model_class("BernoulliRBM")) | _documented(cls)
        for name, parameter in inspect.signature(cls).parameters.items():
            if name in found:
                found[name] = found[name]._replace(owners=(*found[name].owners, model))
            elif name not in _ELSEWHERE:
                kind, meaning = documented.get(name, ("", ""))
                found[name] = Option(name, parameter.default, kind, meaning, (model,), CONSTRAINTS.get(name))
    spelling.know(found)
    return found


def _documented(cls: Any) -> dict[str, tuple[str, str]]:
    """Types and first sentences of the parameters that a docstring has."""
    text = inspect.getdoc(cls) or ""  # none with python -OO
    section = re.search(r"^Parameters\n-+\n(.*?)(?=^\w[\w ]*\n-+\n|\Z)", text, re.MULTILINE | re.DOTALL)
    if section is None:
        return {}
    found: dict[str, tuple[str, str]] = {}
    for entry in re.finditer(r"^([\w, ]+) : (.*)\n((?:(?:    .*)?\n?)*)", section[1], re.MULTILINE):
        words = " ".join(entry[3].split())
        first = re.split(r"(?<=[^A-Z.][.;])\s+(?=[A-Z\"`])", words, maxsplit=1)[0].rstrip(".;")
        found |= {name.strip(): (entry[2].strip(), first) for name in entry[1].split(",")}
    return found


def _converter(option: Option) -> Callable[[str], Any]:
    def convert(text: str) -> Any:
        try:
            value = _array(text) if text.endswith(".npy") and "array" in option.kind else literals.read(text)
        except (ValueError, OSError) as error:
            raise argparse.ArgumentTypeError(str(error)) from None
        if option.allowed == [tuple, list] and not isinstance(value, tuple):
            value = (value,)
        reason = refusal(option, value)
        if reason:
            raise argparse.ArgumentTypeError(reason)
        return value

    return convert


def _array(path: str) -> Any:
    import numpy as np

    return np.load(path, allow_pickle=False)


#: what messages of scikit-learn say, and what can be written
_EXAMPLES = (
    ("a callable", "a schedule such as Linear(0.1, 0.01)"),
    (r"an instance of '?[\w.]*Optimizer'?", "an object such as Adam(beta1=0.5)"),
    (r"an instance of '?[\w.]*Sampler'?", "an object such as Tempering(5)"),
)


def _sorted(names: str) -> str:
    return ", ".join(sorted(name.strip(" '") for name in names.split(",")))


def refusal(option: Option, value: Any) -> str:
    """Why a value cannot be one of this option, as far as that does not depend on others; else nothing."""
    from sklearn.utils._param_validation import InvalidParameterError, validate_parameter_constraints

    if option.allowed is None:
        return ""
    try:
        validate_parameter_constraints({option.name: option.allowed}, {option.name: value}, "train")
    except InvalidParameterError as error:
        wanted = str(error).split(" must be ", 1)[-1].rsplit(". Got ", 1)[0]
        for words, example in _EXAMPLES:
            wanted = re.sub(words, example, wanted)
        wanted = re.sub(r"a str among \{(.*?)\}", lambda names: "one of " + _sorted(names[1]), wanted)
        return f"must be {wanted}, got {value!r}"
    if isinstance(value, bool) and not option.may_be_flag:
        return f"must be no truth value, got {value!r}"
    return ""


def _shown_default(option: Option) -> str:
    default = DEFAULTS.get(option.name, option.default)
    if default is None or default is False or default == ():
        return ""
    return f" (default: {default})"


def _help(option: Option) -> str:
    meaning = option.meaning
    for name in re.findall(r"`+(\w+)`+", meaning):
        meaning = meaning.replace(f"`{name}`", spelling.flag_of(name) if spelling.is_option(name) else name)
    kind = re.sub(r",? ?default=.*$", "", option.kind).replace("None", "none")
    kind = kind.replace(", RandomState, Generator", "")
    words = f"{meaning} [{kind}]" if kind and not option.is_flag else meaning
    words = words.replace("; None for", "; none for").replace(" None ", " none ")
    return re.sub(r"`|fastrbm\.(?:samplers\.)?(?=[A-Z])", "", words + _shown_default(option)).replace("%", "%%")


def add_to(parser: argparse.ArgumentParser) -> None:
    """Give a parser all options of all estimators; those that are not given are not in its result."""
    groups: dict[tuple[str, ...], Any] = {}
    for option in table().values():
        everyone = len(option.owners) == len(MODELS)
        title = "training" if everyone else f"{', '.join(option.owners)} alone"
        group = groups.setdefault(option.owners, None) or parser.add_argument_group(title)
        groups[option.owners] = group
        flags = spelling.flags_of(option.name)
        more: dict[str, Any] = {"dest": option.name, "default": argparse.SUPPRESS}
        if option.is_flag:
            group.add_argument(*flags, action=argparse.BooleanOptionalAction, help=_help(option), **more)
            continue
        if option.may_be_flag:
            group.add_argument(
                *flags, nargs="?", const=True, type=_converter(option), metavar="NAME", help=_help(option), **more
            )
            group.add_argument(
                f"--no-{flags[0][2:]}", action="store_const", const=False, help=argparse.SUPPRESS, **more
            )
            continue
        group.add_argument(*flags, type=_converter(option), metavar=_metavar(option), help=_help(option), **more)


def _metavar(option: Option) -> str:
    if option.kind.startswith("int"):
        return "N"
    return "X" if option.kind.startswith("float") else "VALUE"


def given_in(namespace: argparse.Namespace) -> dict[str, Any]:
    """Options of estimators that were given."""
    return {name: getattr(namespace, name) for name in table() if hasattr(namespace, name)}


def check_owner(model: str, given: dict[str, Any]) -> None:
    """Raise UsageError for options that this estimator does not have."""
    for name in given:
        owners = table()[name].owners
        if model not in owners:
            raise UsageError(f"{spelling.flag_of(name)} is an option of {' and '.join(owners)}, not of {model}")


def defaults_for(model: str, given: dict[str, Any]) -> dict[str, Any]:
    """The command's defaults for an estimator, as far as the options that were given leave room for them."""
    from fastrbm.init import has_data_bias
    from fastrbm.units import get_unit

    cls = model_class(model)
    estimator = cls(**given)
    try:
        unit = get_unit(estimator.units[0])
    except (ValueError, TypeError):  # said by whoever checks the options
        return {}
    chosen = dict(_values_of(DEFAULTS))
    repeats = given.get("random_stream") == "sklearn"
    anything = given.get("out_of_range") in ("warn", "allow")  # means that no bias has
    if repeats or anything or not has_data_bias(unit.spec):
        del chosen["visible_bias"]
    algorithm = estimator.algorithm
    if repeats or algorithm not in ("pcd", "fpcd"):
        del chosen["n_chains"]
    if repeats or not unit.binary or algorithm == "em":  # rates that suit the others are their own
        del chosen["learning_rate"]
    return {name: value for name, value in chosen.items() if name not in given}


def _values_of(texts: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in texts.items():
        yield name, literals.read(value) if isinstance(value, str) else value
