"""The command ``fastrbm evaluate``."""

from __future__ import annotations

import argparse
import json
from typing import Any

from . import data as _cli_data


def run(options: argparse.Namespace) -> None:
    """Score a model file on data and print what came out."""
    import fastrbm
    from fastrbm import datasets

    machine = fastrbm.load(options.model)
    machine.set_params(n_threads=options.threads)
    data = _cli_data.load(options.data, options.data_dir, options.subset)
    rows = data.rows
    if options.binarize is not None:
        rows = datasets.binarize(rows, options.binarize, random_state=options.seed)
    elif rows.max() > 1 or ((rows != 0) & (rows != 1)).any():
        raise ValueError(f"{data.name} holds grey values, for which there is no likelihood; add --binarize threshold")
    # As floats: a machine trained on grey bytes takes bytes for grey values, not for bits.
    rows = rows.astype("float32")
    log_z = machine.log_partition(
        options.method,
        n_chains=options.chains,
        n_temperatures=options.temperatures,
        stderr=options.stderr,
        random_state=options.seed,
    )
    log_p = machine.log_likelihood(rows, log_z=log_z)
    mean = float(log_p.mean())
    result: dict[str, Any] = {
        "data": data.name,
        "rows": len(rows),
        "visible": rows.shape[1],
        "hidden": len(machine.intercept_hidden_),
        "log_likelihood": mean,
        # more Z is less likelihood
        "log_likelihood_interval": [mean + float(log_z) - end for end in log_z.interval[::-1]],
        "log_partition": log_z.value,
        "log_partition_stderr": log_z.stderr,
        "log_partition_interval": list(log_z.interval),
        "method": log_z.method,
        "ess": None if log_z.method == "exact" else log_z.ess,
        "seconds": log_z.seconds,
        "pseudo_likelihood": float(machine.score_samples(rows).mean()),
        "reconstruction_error": machine.reconstruction_error(rows),
    }
    if options.json:
        print(json.dumps(result))
        return
    print(f"{data.name}: {result['rows']} rows of {result['visible']}, {result['hidden']} hidden units")
    low, high = result["log_likelihood_interval"]
    error = "" if log_z.method == "exact" else f", 95 % interval {low:.3f} to {high:.3f}"
    print(f"log-likelihood       {mean:.3f} nats per row{error}")
    ess = (
        ""
        if log_z.method == "exact"
        else f", +- {log_z.stderr:.3f}, {log_z.ess:.0f} effective of {log_z.n_chains} chains"
    )
    print(f"log partition sum    {log_z.value:.3f} ({log_z.method}{ess}, {log_z.seconds:.2f} s)")
    print(f"pseudo-likelihood    {result['pseudo_likelihood']:.3f} nats per row")
    print(f"reconstruction error {result['reconstruction_error']:.5f} (mean square)")
