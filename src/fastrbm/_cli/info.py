"""``fastrbm info``: what a model file holds, or what is installed and which kernels are used."""

from __future__ import annotations

import argparse
from typing import Any

from . import options as _options
from . import output, spelling
from .arguments import share, whole

DESCRIPTION = "Print what a model file holds. Without one: versions, instruction set and threads."

# what --kernels asks for: type, default, meaning
_SIZES: dict[str, tuple[Any, Any, str]] = {
    "visible": (whole(1), 784, "visible units"),
    "hidden": (whole(1), 256, "hidden units"),
    "batch-size": (whole(1), 256, "rows of a minibatch, or chains"),
    "density": (share, 0.3, "share of active units"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give the parser its options."""
    parser.add_argument("model", metavar="MODEL", nargs="?", help="a file written by fastrbm train")
    parser.add_argument("--kernels", action="store_true", help="say which kernels would be picked for the sizes given")
    for name, (convert, default, meaning) in _SIZES.items():
        parser.add_argument(f"--{name}", type=convert, help=f"with --kernels: {meaning} ({default})")


def command(options: argparse.Namespace) -> int:
    """Print what is asked for."""
    import fastrbm

    given = {name: getattr(options, name.replace("-", "_")) for name in _SIZES}
    if options.model is not None and options.kernels:
        raise ValueError("--kernels is about sizes that are given, not about MODEL; leave one of them")
    if not options.kernels and any(value is not None for value in given.values()):
        raise ValueError(f"sizes ({', '.join('--' + name for name in _SIZES)}) need --kernels")
    if options.model is not None:
        from fastrbm._estimator.files import Stored

        model = output.load_any(options.model)
        print("\n".join(_of_model(model) if isinstance(model, Stored) else _of_parts(model)))
        return 0
    if not options.kernels:
        fastrbm.show_versions()
        return 0
    from fastrbm._kernels.cpu.strategy import describe
    from fastrbm._kernels.strategies import STRATEGIES

    visible, hidden, batch, density = (
        default if given[name] is None else given[name] for name, (_, default, _) in _SIZES.items()
    )
    print(f"{visible} visible units, {hidden} hidden units, {density:g} of them active")
    for work, choice in describe(visible, hidden, batch, density):
        print(f"  {work:<45}  {choice}")
    print("strategies:")
    for name, meaning in STRATEGIES.items():
        print(f"  {name:<8} {meaning}")
    return 0


def _of_parts(model: Any) -> list[str]:
    """What is in a classifier, an outlier detector or a network."""
    from fastrbm._estimator.files import Stored, parts_of

    lines = [f"{type(model).__name__}: {model.n_features_in_} columns"]
    if hasattr(model, "classes_"):
        lines[0] += f", {len(model.classes_)} classes"
        lines.append(f"classes: {_some(model.classes_)}")
    if hasattr(model, "components_"):
        lines.append(f"{len(model.components_)} hidden units, {model.components_.dtype.name}")
    if hasattr(model, "coefs_"):
        widths = [len(model.coefs_[0]), *(x.shape[1] for x in model.coefs_)]
        lines.append(f"network of {'-'.join(map(str, widths))} units, {model.coefs_[0].dtype.name}")
    lines += _columns(model)
    for name, part in parts_of(model).items():
        if isinstance(part, Stored):
            lines.append(f"  {name}: {_units(part)}, trained for {part.n_iter_} epochs")
        else:
            lines.append(f"  {name}: {type(part).__name__}")
    lines += _plain_options(model)
    return lines + _last_values(model) + ["fastrbm.load reads it"]


def _plain_options(model: Any) -> list[str]:
    """Options that are not those by default; parts are told elsewhere."""
    default = type(model)().get_params(deep=False)
    given = {name: value for name, value in model.get_params(deep=False).items() if repr(value) != repr(default[name])}
    shown = {name: repr(value) for name, value in given.items() if not hasattr(value, "fit")}
    lines = [f"  {name}={value}" for name, value in shown.items() if "\n" not in value]
    return ["options:", *lines] if lines else []


def _some(names: Any) -> str:
    return ", ".join(map(str, names if len(names) <= 12 else [*names[:10], "...", names[-1]]))


def _columns(model: Any) -> list[str]:
    names = getattr(model, "feature_names_in_", None)
    return [] if names is None else [f"columns: {_some(names)}"]


def _units(machine: Any) -> str:
    hidden, visible = machine.components_.shape
    units = " and ".join(f"{n} {unit}" for n, unit in zip((visible, hidden), machine.units, strict=True))
    return f"{type(machine).__name__}: {units} units, {machine.components_.dtype.name}"


def _of_model(machine: Any) -> list[str]:
    lines = [_units(machine), f"trained for {machine.n_iter_} epochs" + _goes_on(machine), *_columns(machine)]
    if hasattr(machine, "n_categories_"):
        lines.append(f"{machine.n_features_in_} columns of {machine.n_categories_} categories")
    scale = getattr(machine, "input_scale_", 1.0)
    if scale != 1:
        which = "bytes" if isinstance(machine.input_scale, str) else "values"
        lines.append(f"input scale: {which} are multiplied with {scale:.6g}")
    return lines + _options_of(machine) + _last_values(machine)


def _last_values(machine: Any) -> list[str]:
    """The last values that training has recorded."""
    lines = []
    for name, values in (getattr(machine, "history_", None) or {}).items():
        if name not in ("epoch", "seconds") and values:
            lines.append(f"{name.replace('_', ' ')}: {values[-1]:.4f} after the last epoch")
    seconds = (getattr(machine, "history_", None) or {}).get("seconds")
    if seconds:
        lines.append(f"training took {sum(seconds):.2f} s")
    return lines


def _goes_on(machine: Any) -> str:
    return " (--resume goes on bit for bit)" if hasattr(machine, "_state") else " (cannot be resumed)"


def _options_of(machine: Any) -> list[str]:
    """Options that are not those of the estimator by default, as the command spells them."""
    import numpy as np

    plain = type(machine)()
    lines = []
    for name in _options.table():
        value = getattr(machine, name, None)
        default = getattr(plain, name, None)
        if not hasattr(plain, name) or (not isinstance(value, np.ndarray) and repr(value) == repr(default)):
            continue
        if isinstance(value, type):
            value = value.__name__
        shown = f"array of shape {value.shape}" if isinstance(value, np.ndarray) else value
        lines.append(f"  {spelling.flag_of(name)} {shown}")
    return ["options:", *lines] if lines else []
