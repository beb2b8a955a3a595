"""``fastrbm train``: fit an estimator, or go on with one, and write it to a file."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any, NamedTuple

from . import data as _data
from . import messages, mpi, options, output
from .arguments import UsageError, add_data, below_one, say

DESCRIPTION = """Fit a restricted Boltzmann machine and write it to a file. The options of training are those of the
Python estimators; objects are written with their options in parentheses: --optimizer "Adam(beta1=0.5)",
--learning-rate "Linear(0.1, 0.001)", --regularizers "L2(1e-4), Clip(norm=1)", --algorithm "Tempering(5)".
Several processes train one model, with the bits of one: mpirun -n 4 fastrbm train ..."""
_NEWEST = ""  # what --resume is without a value
_SCORED = 200  # rows that are scored at the end: a small part of a pass


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give the parser its options."""
    add = parser.add_argument
    add("data", metavar="DATA", help=_data.HELP)
    add("--out", metavar="FILE", help="where to write the model (.npz); with --resume by default where it was")
    add("--model", choices=options.MODELS, help=f"which estimator (default: {options.MODELS[0]})")
    add(
        "--resume", metavar="MODEL", nargs="?", const=_NEWEST,
        help="go on with a model file for --epochs further passes, with its options; without MODEL with the newest "
        "checkpoint in --checkpoint, if there is one",
    )  # fmt: skip
    add("--checkpoint", metavar="DIR", help="write all that training needs to go on to files in this folder")
    add("--checkpoint-every", metavar="TIME", help='from one to the next: "10 min" (the default), "5 passes"')
    add("--force", action="store_true", help="overwrite FILE even if it is no model")
    add("--momentum", type=below_one, metavar="X", help="of the steps, short for --optimizer 'SGD(momentum=X)'")
    add("--quiet", action="store_true", help="print nothing but warnings")
    add_data(parser, "train")
    options.add_to(parser)


def command(namespace: argparse.Namespace) -> int:
    """Train, write the model, and say what came out."""
    if namespace.out is None and not namespace.resume:
        raise UsageError("the following arguments are required: --out")
    ranks = mpi.launched()
    namespace.quiet = namespace.quiet or (ranks is not None and ranks.rank > 0)
    task = mpi.by_all(ranks, lambda: _prepared(namespace))
    machine, rows, target = task.machine, task.rows, task.target
    if not namespace.quiet:
        print(_data.describe(task.data, namespace.binarize), flush=True)  # before a long silence
    from fastrbm.callbacks import Terminated

    begin = time.perf_counter()
    began: list[int] = []
    machine.set_params(callbacks=(_note(began), *_bars(namespace.quiet), *task.checkpoint))
    before = getattr(machine, "n_iter_", 0)
    try:
        _fit(machine, rows, None if task.newest is None else namespace.checkpoint, ranks)
    except Terminated as ended:
        if ranks is None or not ranks.rank:
            say(f"terminated; a checkpoint is in {namespace.checkpoint} (the same command with --resume goes on)")
        return int(ended.code)  # type: ignore[arg-type]
    except KeyboardInterrupt:
        if not began or (ranks is not None and ranks.rank):
            raise
        _write(machine, task.data.columns or task.names, target)
        say(
            f"interrupted after {machine.n_iter_ - before} passes; what was learned so far is in {target} "
            f"(fastrbm train {namespace.data} --resume {target} goes on)"
        )
        return 130
    if ranks is not None and ranks.rank:
        return 0  # the first process writes
    seconds = time.perf_counter() - begin
    _write(machine, task.data.columns or task.names, target)
    name, score, scored = _score(machine, rows)
    total = time.perf_counter() - begin
    if not namespace.quiet:
        _report(machine, before, (seconds, total), (name, score, scored), target)
    return _verdict(name, score)


class _Task(NamedTuple):
    """What is trained on what, and what becomes of it."""

    machine: Any
    data: _data.Data
    rows: Any
    names: Any  #: of the columns that the machine knows
    target: Path
    checkpoint: tuple[Any, ...]
    newest: Path | None


def _prepared(namespace: argparse.Namespace) -> _Task:
    """Check the options and read the data."""
    checkpoint, newest = _checkpoint(namespace)
    given = options.given_in(namespace)
    if namespace.scale is not None and "input_scale" in given:
        raise UsageError("--scale X is --input-scale 1/X; give one of them")
    machine = _machine(namespace, given, newest)
    inputs = [None if namespace.data in _data.NAMED_SETS else _data.tables.path_of(namespace.data)]
    target = output.check_target(namespace.out or namespace.resume, (".npz",), inputs, namespace.force)
    namespace.seed = machine.random_state if isinstance(machine.random_state, int) else 0
    names = take_names(machine)
    data = _data.load(namespace, names)
    rows = _data.prepare(data, machine, namespace)
    return _Task(machine, data, rows, names, target, checkpoint, newest)


def _fit(machine: Any, rows: Any, resume: Any, ranks: Any) -> None:
    """Fit by this process, or by all that a launcher has started, each with its part of the rows."""
    if ranks is None:
        machine.fit(rows) if resume is None else machine.fit(rows, resume=resume)
        return
    from fastrbm import distributed

    distributed.fit(machine, mpi.own_rows(rows, ranks), comm=ranks, resume=resume)


def _report(
    machine: Any, before: int, seconds: tuple[float, float], scored: tuple[str, float, int], target: Path
) -> None:
    hidden, visible = machine.components_.shape
    done = machine.n_iter_ - before
    so_far = f", {machine.n_iter_} in all" if before else ""
    print(f"{type(machine).__name__}: {visible} visible units, {hidden} hidden units")
    print(f"{done} epochs{so_far} in {seconds[0]:.2f} s, {seconds[1]:.2f} s with scoring and writing")
    for name, values in machine.history_.items():
        if name.startswith("validation_") or name == "free_energy_gap":
            print(f"{name.replace('_', ' ')}: {values[-1]:.4f}")
    if hasattr(machine, "best_iteration_"):
        early = "stopped early; " if done < machine.n_iter else ""
        print(f"{early}the parameters are those of epoch {machine.best_iteration_}")
    name, score, rows = scored
    unit = " nats per row" if name == "pseudo-likelihood" else " (mean square)"
    print(f"{name} {score:.{2 if name == 'pseudo-likelihood' else 5}f}{unit}, on {rows} training rows")
    print(f"wrote {target}")


def _verdict(name: str, score: float) -> int:
    import math

    if math.isfinite(score):
        return 0
    say(f"error: the model is of no use: its {name} is {score}; try a smaller --learning-rate")
    return 1


def _checkpoint(namespace: argparse.Namespace) -> tuple[tuple[Any, ...], Path | None]:
    """The callback that writes checkpoints, if they are asked for, and the newest one, if training goes on with it."""
    from fastrbm._estimator import resuming
    from fastrbm._fit.saving import files_in
    from fastrbm.callbacks import Checkpoint

    if namespace.checkpoint is None:
        for option, value in (
            ("--checkpoint-every", namespace.checkpoint_every),
            ("--resume without MODEL", namespace.resume),
        ):
            if value is not None and (option == "--checkpoint-every" or value == _NEWEST):
                raise UsageError(f"{option} needs --checkpoint DIR")
        return (), None
    folder = Path(namespace.checkpoint)
    try:
        callback = Checkpoint(folder, namespace.checkpoint_every or "10 min")
    except ValueError as error:
        raise UsageError(messages.in_cli_terms(str(error)).replace("every", "--checkpoint-every", 1)) from error
    if namespace.resume != _NEWEST:
        if files_in(folder):
            raise UsageError(
                f"--checkpoint {folder} has checkpoints already: go on with --resume, or name another folder"
            )
        return (callback,), None
    return (callback,), resuming.newest(folder)[0] if files_in(folder) else None


def _machine(namespace: argparse.Namespace, given: dict[str, Any], newest: Path | None) -> Any:
    """Make the estimator, or read the one that training goes on with, and check its options."""
    from fastrbm._estimator.fitting import check_fit

    if namespace.resume or newest is not None:
        path = str(namespace.resume or newest)
        machine = output.load_model(path)
        name = type(machine).__name__
        if namespace.model not in (None, name):
            raise UsageError(f"--model {namespace.model} is not that of --resume {path}, a {name}")
        if not hasattr(machine, "_state"):
            raise ValueError(f"{path} cannot be gone on with: it was trained with --random-stream sklearn")
        options.check_owner(name, given)
        # a checkpoint brings its state with it, and has said whether the run was to go on from another
        machine.set_params(**given, **({"warm_start": True} if newest is None else {}))
    else:
        name = namespace.model or options.MODELS[0]
        options.check_owner(name, given)
        machine = options.model_class(name)(**given)
        machine.set_params(**options.defaults_for(name, given))
    if namespace.momentum is not None:
        machine.set_params(optimizer=_with_momentum(machine.optimizer, namespace.momentum))
    try:
        check_fit(machine, None)
    except (ValueError, TypeError) as error:
        raise UsageError(messages.in_cli_terms(str(error))) from error
    return machine


def _with_momentum(optimizer: Any, momentum: float) -> Any:
    from fastrbm.optimizers import get_optimizer

    found = get_optimizer(optimizer)
    if "momentum" not in found.get_params():
        raise UsageError(f"--momentum is for SGD and RMSprop; {type(found).__name__} has none")
    return found.set_params(momentum=momentum)


def take_names(machine: Any) -> tuple[str, ...] | None:
    """Names of columns that a model was trained on, which the machine gives up: commands pass arrays."""
    names = vars(machine).pop("feature_names_in_", None)
    return None if names is None else tuple(map(str, names))


def _write(machine: Any, names: tuple[str, ...] | None, target: Path) -> None:
    import numpy as np

    machine.set_params(callbacks=(), warm_start=False)
    if names and len(names) == machine.n_features_in_:
        machine.feature_names_in_ = np.array(names, dtype=object)
    machine.save(target)
    vars(machine).pop("feature_names_in_", None)


def _note(began: list[int]) -> Any:
    """Make a callback that notes down that training has begun, so that there is something to keep."""
    from fastrbm.callbacks import Callback

    class Began(Callback):
        def on_fit_begin(self, run: Any) -> None:
            began.append(run.state.epoch)

    return Began()


def _bars(quiet: bool) -> tuple[Any, ...]:
    from fastrbm import callbacks

    return (callbacks.ProgressBar(**messages.bar_options("train")),) if messages.has_bars(quiet) else ()


def _score(machine: Any, rows: Any) -> tuple[str, float, int]:
    """Score some rows, evenly spread: as bits where they are grey."""
    import numpy as np

    from fastrbm import datasets
    from fastrbm.units import get_unit

    some = rows[:: max(1, -(-rows.shape[0] // _SCORED))]
    if not get_unit(machine.units[0]).binary:
        return "reconstruction error", float(machine.reconstruction_error(some)), some.shape[0]
    if machine.units[0] == "bernoulli":
        some = some.toarray() if hasattr(some, "toarray") else some
        if some.dtype != np.bool_ and not isinstance(machine.input_scale, str):
            some = some * np.float32(machine.input_scale)
        grey = some if some.dtype in (np.uint8, np.bool_) else np.clip(some, 0, 1)
        some = datasets.binarize(grey, random_state=0).view(np.bool_)
    return "pseudo-likelihood", float(machine.score_samples(some).mean()), some.shape[0]
