"""``fastrbm evaluate``: how good a model is on data."""

from __future__ import annotations

import argparse
import json
import math
from typing import Any

from . import data as _data
from . import messages, output
from .arguments import add_data, add_machine, positive, say, whole
from .train import take_names

DESCRIPTION = """Score a model file on data: log-likelihood by an exact or annealed partition sum, pseudo-likelihood and
reconstruction error, as far as the units of the model have them."""


#: of `fastrbm.likelihood.partition.METHODS`, whose import takes longer than printing a help text; a test compares them
METHODS = ("auto", "exact", "ais", "mais", "smc", "reverse", "bracket", "tempering")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give the parser its options."""
    add = parser.add_argument
    add("model", metavar="MODEL", help="a file written by fastrbm train")
    add("data", metavar="DATA", help=_data.HELP)
    add("--method", choices=METHODS, default="auto", help="of log Z")
    add("--chains", type=whole(1), default=1000, metavar="N", help="of the annealed estimates, each way")
    add("--temperatures", type=whole(1), default=1000, metavar="N", help="of the annealed estimates")
    add("--stderr", type=positive, metavar="X", help="add chains until the standard error of log Z is at most this")
    add("--max-chains", type=whole(1), default=100_000, metavar="N", help="of --stderr")
    add("--json", action="store_true", help="print one JSON object")
    add("--quiet", action="store_true", help="show no bar")
    add_machine(parser)
    add_data(parser, "test")


def command(options: argparse.Namespace) -> int:
    """Score a model file on data and print what came out."""
    machine = output.usable_model(options.model, options.threads)
    data = _data.load(options, take_names(machine))
    rows = _data.prepare(data, machine, options, states=True)
    result: dict[str, Any] = {
        "data": data.name,
        "rows": rows.shape[0],
        "visible": machine.components_.shape[1],
        "hidden": len(machine.intercept_hidden_),
        "model": type(machine).__name__,
    }
    if not options.json:
        print(_data.describe(data, options.binarize))
    result["reconstruction_error"] = machine.reconstruction_error(rows)  # checks the width, too
    result |= _likelihood(machine, rows, options)
    if _is_binary(machine):
        result["independent_columns"] = _independent(rows)
    result |= _pseudo_likelihood(machine, rows)
    if hasattr(machine, "predict"):
        result |= _predictions(machine, rows)
    print(json.dumps(_finite(result)) if options.json else _text(result))
    return _verdict(result, options)


def _likelihood(machine: Any, rows: Any, options: argparse.Namespace) -> dict[str, Any]:
    """Log-likelihood and what it comes from; why there is none, where the model or the rows have none."""
    try:
        energies = machine.log_likelihood(rows, log_z=0.0)  # all checks of the rows come before the annealing
    except ValueError as error:
        if _is_binary(machine):
            raise
        return {"log_likelihood": None, "reason": messages.in_cli_terms(str(error))}
    try:
        with messages.progress("log Z", options.quiet or options.json) as progress:
            log_z = machine.log_partition(
                options.method,
                n_chains=options.chains,
                n_temperatures=options.temperatures,
                stderr=options.stderr,
                max_chains=options.max_chains,
                random_state=options.seed,
                progress=progress,
                data=rows,
            )
    except ValueError as error:
        if options.method != "auto":
            raise
        return {"log_likelihood": None, "reason": messages.in_cli_terms(str(error))}
    mean = float(energies.mean()) - float(log_z)
    return {
        "log_likelihood": mean,
        # more Z is less likelihood
        "log_likelihood_interval": [mean + float(log_z) - end for end in log_z.interval[::-1]],
        "log_partition": log_z.value,
        "log_partition_stderr": log_z.stderr,
        "log_partition_interval": list(log_z.interval),
        "method": log_z.method,
        "reliable": log_z.reliable,
        "message": log_z.message,
        "ess": None if log_z.method == "exact" else log_z.ess,
        "chains": log_z.n_chains,
        "seconds": log_z.seconds,
    }


def _is_binary(machine: Any) -> bool:
    from fastrbm.units import get_unit

    return get_unit(machine.units[0]).binary


def _independent(rows: Any) -> float:
    """Mean log-likelihood of bits or spins under columns without a connection, with the means of these very rows."""
    import numpy as np
    from scipy.special import entr

    off = min(0.0, float(rows.min()))  # -1 of spins
    on = (np.asarray(rows.mean(axis=0), dtype=np.float64).ravel() - off) / (1 - off)
    return -float((entr(on) + entr(1 - on)).sum())


def _pseudo_likelihood(machine: Any, rows: Any) -> dict[str, Any]:
    """Pseudo-likelihood; why there is none, where the integrals of real-valued units do not exist."""
    try:
        return {"pseudo_likelihood": float(machine.score_samples(rows).mean())}
    except ValueError as error:
        if _is_binary(machine):
            raise
        return {"pseudo_likelihood": None, "pseudo_likelihood_reason": messages.in_cli_terms(str(error))}


def _predictions(machine: Any, rows: Any) -> dict[str, Any]:
    """Share of the entries whose category is the most probable one given the row."""
    import numpy as np

    values = np.asarray(rows, dtype=np.float64)
    there = ~np.isnan(values)
    return {"accuracy": float((machine.predict(rows)[there] == values[there]).mean()) if there.any() else None}


def _finite(result: dict[str, Any]) -> dict[str, Any]:
    """JSON has no infinite numbers."""

    def plain(value: Any) -> Any:
        if isinstance(value, list):
            return [plain(one) for one in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return {name: plain(value) for name, value in result.items()}


def _text(result: dict[str, Any]) -> str:
    lines = [f"{result['model']}: {result['visible']} visible units, {result['hidden']} hidden units"]
    if result["log_likelihood"] is None:
        lines.append(f"log-likelihood       not found: {result['reason']}")
    else:
        exact = result["method"] == "exact"
        low, high = result["log_likelihood_interval"]
        error = "" if exact else f", 95 % interval {low:.3f} to {high:.3f}"
        if math.isinf(low):
            error = f", at most {high:.3f}; not reliable"
        lines.append(f"log-likelihood       {result['log_likelihood']:.3f} nats per row{error}")
        if "independent_columns" in result:
            columns = result["independent_columns"]
            lines.append(f"independent columns  {columns:.3f} nats per row: a model has to beat it")
        ess, chains, stderr = result["ess"], result["chains"], result["log_partition_stderr"]
        sure = "" if exact else f", +- {stderr:.3f}, {ess:.0f} effective of {chains} chains"
        how = f"{result['method']}{sure}, {result['seconds']:.2f} s"
        lines.append(f"log partition sum    {result['log_partition']:.3f} ({how})")
    if result["pseudo_likelihood"] is None:
        lines.append(f"pseudo-likelihood    not found: {result['pseudo_likelihood_reason']}")
    else:
        lines.append(f"pseudo-likelihood    {result['pseudo_likelihood']:.3f} nats per row")
    lines.append(f"reconstruction error {result['reconstruction_error']:.5f} (mean square)")
    if result.get("accuracy") is not None:
        lines.append(
            f"entries predicted    {100 * result['accuracy']:.1f} % (the most probable category given the row)"
        )
    return "\n".join(lines)


def _verdict(result: dict[str, Any], options: argparse.Namespace) -> int:
    import math

    error = result.get("log_partition_stderr")
    if options.stderr is not None and error is not None and error > options.stderr:
        say(
            f"warning: the standard error of log Z is {error:.3g}, more than --stderr {options.stderr:g} asks for: "
            f"{result['chains']} chains were used (--max-chains {options.max_chains}); more --temperatures make each "
            "of them better"
        )
    wrong = [
        name.replace("_", "-")
        for name in ("log_likelihood", "pseudo_likelihood", "reconstruction_error")
        if result.get(name) is not None and not math.isfinite(result[name])
    ]
    if not wrong:
        return 0
    say(f"error: the model is of no use on these data: {' and '.join(wrong)} is not finite")
    return 1
