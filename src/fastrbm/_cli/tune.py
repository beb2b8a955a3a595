"""``fastrbm tune``: search the options of an estimator, and write the best model to a file."""

from __future__ import annotations

import argparse
import importlib.util
import math
import re
from pathlib import Path
from typing import Any

from . import data as _data
from . import literals, messages, options, output, spelling
from .arguments import UsageError, add_data, positive, say, share, whole
from .train import take_names

DESCRIPTION = """Search the options of an estimator on held-out rows (pip install "fastrbm[tuning]"), and write the best
model to a file. Trials that diverge are counted as failed, and the search goes on; with --storage it goes on where it
stopped, in several processes if you like. Options of training hold for all trials where --space does not name them."""
#: of `fastrbm.tuning`, whose import takes longer than printing a help text; a test compares them
METRICS = ("log_likelihood", "pseudo_likelihood", "accuracy")
PRUNERS = ("median", "halving", "hyperband", "none")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give the parser its options."""
    add = parser.add_argument
    add("data", metavar="DATA", help=_data.HELP)
    add("--out", metavar="FILE", required=True, help="where to write the best model (.npz)")
    add("--estimator", choices=options.MODELS, default=options.MODELS[0], help="which estimator")
    add("--space", metavar="TEXT", help="n_components=64:512,learning_rate=0.01:0.3:log,batch_size=32|64; or a default")
    add("--trials", type=whole(1), default=50, metavar="N", help="in all, with those that --storage has")
    add("--metric", choices=METRICS, default=METRICS[0], help="of held-out rows; accuracy needs --label")
    add("--validation", type=share, default=0.2, metavar="X", help="share of the rows that is held out")
    add("--pruner", choices=PRUNERS, default=PRUNERS[0], help="what ends trials that are behind")
    add("--side-by-side", type=whole(1), default=4, metavar="N", help="trials that are trained at the same time")
    add("--jobs", type=whole(1), default=1, metavar="N", help="processes")
    add("--timeout", type=positive, metavar="SECONDS", help="after which no trial is begun")
    add("--storage", metavar="FILE", help="keep the study in FILE (.journal, .log, .db, .sqlite) and go on with it")
    add("--study", default="fastrbm", metavar="NAME", help="of the study in its storage")
    add("--force", action="store_true", help="overwrite FILE even if it is no model")
    add("--quiet", action="store_true", help="print nothing but warnings")
    add_data(parser, "train")
    options.add_to(parser)


def command(namespace: argparse.Namespace) -> int:
    """Search, write the best model, and say what came out."""
    given = options.given_in(namespace)
    spelling.know({"storage", "metric", "pruner", "side_by_side", "timeout", "space"})
    if namespace.scale is not None and "input_scale" in given:
        raise UsageError("--scale X is --input-scale 1/X; give one of them")
    if not 0 < namespace.validation < 1:
        raise UsageError(f"argument --validation: must be between 0 and 1, got {namespace.validation:g}")
    space = None if namespace.space is None else read_space(namespace.space)
    _check_values(space or {})
    if namespace.metric == "accuracy" and namespace.data in _data.NAMED_SETS:  # which are taken without labels
        raise UsageError(_no_labels(namespace.data))
    machine = _machine(namespace.estimator, given, space)
    inputs = [None if namespace.data in _data.NAMED_SETS else _data.tables.path_of(namespace.data), namespace.storage]
    target = output.check_target(namespace.out, (".npz",), inputs, namespace.force)
    namespace.seed = machine.random_state if isinstance(machine.random_state, int) else 0
    search = _search(namespace, machine, space)
    _check_space(search)
    data = _data.load(namespace, take_names(machine))
    if namespace.metric == "accuracy" and data.labels is None:
        raise UsageError(_no_labels(namespace.data))
    rows = _data.prepare(data, machine, namespace, states=namespace.metric == "log_likelihood")
    if not namespace.quiet:
        print(_data.describe(data, namespace.binarize), flush=True)
    try:
        search.fit(rows, data.labels)
    except KeyboardInterrupt:
        if not hasattr(search, "best_estimator_"):
            raise
        _write(search, data, target)
        again = "" if namespace.storage is None else f" (the same command goes on with {namespace.storage})"
        done = len(search.results_["trial"])
        say(f"interrupted after {done} trials; the best model so far is in {target}{again}")
        return 130
    _write(search, data, target)
    if not namespace.quiet:
        _report(search, namespace.metric, target)
    return 0


def _no_labels(data: str) -> str:
    if data in _data.NAMED_SETS:
        return (
            f"argument --metric: accuracy needs labels, and DATA {data} is taken without: write rows and labels to a "
            "file of one column more, and name that by --label COLUMN; or take another metric"
        )
    return f"argument --metric: accuracy needs labels: say which column of {data} has them by --label COLUMN"


def _check_space(search: Any) -> None:
    """Raise UsageError for a space that the estimator has not, before data are read."""
    import optuna

    from fastrbm.tuning.spaces import searched

    try:
        searched(search.space, search.estimator, optuna)
    except (ValueError, TypeError) as error:
        text = re.sub(r"^space(?:\[('[^']*')\])?", lambda match: (match[1] or "").strip("'"), str(error)).strip()
        raise UsageError(f"argument --space: {text}") from error


def _machine(name: str, given: dict[str, Any], space: dict[str, Any] | None) -> Any:
    """Make the estimator; the command's own defaults leave what is searched alone."""
    from fastrbm._estimator.fitting import check_fit
    from fastrbm.tuning import default_space

    options.check_owner(name, given)
    machine = options.model_class(name)(**given)
    searched = default_space(machine) if space is None else space
    defaults = {key: x for key, x in options.defaults_for(name, given).items() if key not in searched}
    machine.set_params(**defaults)
    try:
        check_fit(machine, None)
    except (ValueError, TypeError) as error:
        raise UsageError(messages.in_cli_terms(str(error))) from error
    return machine


def _search(namespace: argparse.Namespace, machine: Any, space: dict[str, Any] | None) -> Any:
    from fastrbm.tuning import Search

    if importlib.util.find_spec("optuna") is None:  # before the data are read
        raise ImportError('fastrbm tune needs Optuna: pip install "fastrbm[tuning]"')
    return Search(
        machine,
        space,
        n_trials=namespace.trials,
        metric=namespace.metric,
        validation_fraction=namespace.validation,
        pruner=None if namespace.pruner == "none" else namespace.pruner,
        storage=namespace.storage,
        study_name=namespace.study,
        side_by_side=namespace.side_by_side,
        n_jobs=namespace.jobs,
        timeout=namespace.timeout,
        random_state=namespace.seed,
        progress=messages.has_bars(namespace.quiet),
    )


def read_space(text: str) -> dict[str, Any]:
    """Ranges and choices that a text spells.

    Parameters
    ----------
    text : str
        Entries ``name=low:high``, ``name=low:high:log`` or ``name=a|b|c`` with commas between them; names as in Python
        or as the command spells them, without the dashes in front.

    Raises
    ------
    UsageError
        For what is no such entry.
    """
    python = {flag.removeprefix("--"): name for name, flag in spelling.SHORT.items()}
    space: dict[str, Any] = {}
    for entry in _entries(text):
        name, equals, values = (part.strip() for part in entry.partition("="))
        if not (name and equals and values):
            raise UsageError(
                f"argument --space: must be name=low:high, name=low:high:log or name=a|b, with commas; got {entry!r}"
            )
        name = python.get(name, name.replace("-", "_"))
        if name in space:
            raise UsageError(f"argument --space: {name} is there twice")
        space[name] = _values(name, values)
    return space


def _check_values(space: dict[str, Any]) -> None:
    """Raise UsageError for values that an option can never have."""
    for name, given in space.items():
        option = options.table().get(name)
        for value in given if isinstance(given, list) else given[:2]:
            reason = "" if option is None else options.refusal(option, value)
            if reason:
                raise UsageError(f"argument --space: {name} {reason}")


def _entries(text: str) -> list[str]:
    """Split at commas that are not in parentheses."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def _values(name: str, text: str) -> Any:
    try:
        if ":" not in text:
            return [literals.read(choice) for choice in text.split("|")]
        ends = text.split(":")
        numbers = tuple(literals.read(end) for end in ends[:2])
    except ValueError as error:
        raise UsageError(f"argument --space: {name}: {error}") from error
    numeric = all(isinstance(x, (int, float)) and not isinstance(x, bool) for x in numbers)
    if not numeric or len(ends) > 3 or (len(ends) == 3 and ends[2].strip() != "log"):
        raise UsageError(f"argument --space: {name} must be low:high or low:high:log, two numbers, got {text!r}")
    return (*numbers, "log") if len(ends) == 3 else numbers


def _write(search: Any, data: _data.Data, target: Path) -> None:
    import numpy as np

    machine = search.best_estimator_
    machine.set_params(callbacks=())
    if data.columns and len(data.columns) == machine.n_features_in_:
        machine.feature_names_in_ = np.array(data.columns, dtype=object)
    machine.save(target)


def _report(search: Any, metric: str, target: Path) -> None:
    table = search.results_
    states = table["state"]
    counts = [f"{states.count(state)} {word}" for state, word in _ENDS if states.count(state)]
    print(f"{len(states)} trials: {', '.join(counts)}")
    errors = [error for error in table["error"] if error]
    if errors:
        print(f"first failure: {messages.in_cli_terms(errors[0])}")
    unit = "" if metric == "accuracy" else " nats per row"
    score = search.best_score_
    shown = f"{score:.4f}" if math.isfinite(score) else str(score)
    print(f"best: trial {search.best_trial_}, {metric.replace('_', '-')} {shown}{unit}, on held-out rows")
    print(" ".join(f"{spelling.flag_of(name)} {_text(value)}" for name, value in search.best_params_.items()))
    print(f"wrote {target}")


_ENDS = (("complete", "finished"), ("pruned", "ended early"), ("fail", "failed"))


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value).lower() if isinstance(value, bool) or value is None else str(value)
    return f'"{text}"' if "(" in text else text
