"""``fastrbm transform``: features of rows, the means of the hidden units."""

from __future__ import annotations

import argparse

from . import data as _data
from . import output
from .arguments import add_data, add_machine
from .train import take_names

DESCRIPTION = """Write the means of the hidden units given the rows of DATA, one column for each hidden unit. With
--label the labels are written beside them."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give the parser its options."""
    add = parser.add_argument
    add("model", metavar="MODEL", help="a file written by fastrbm train")
    add("data", metavar="DATA", help=_data.HELP)
    add("--out", metavar="FILE", required=True, help=f"where to write the features: {', '.join(output.ARRAYS)}")
    add("--force", action="store_true", help="overwrite FILE if it exists")
    add("--quiet", action="store_true", help="print nothing but warnings")
    add_machine(parser)
    add_data(parser, "train")


def command(options: argparse.Namespace) -> int:
    """Write the features of data."""
    import numpy as np

    source = None if options.data in _data.NAMED_SETS else _data.tables.path_of(options.data)
    target = output.check_target(options.out, output.ARRAYS, [options.model, source], options.force)
    machine = output.usable_model(options.model, options.threads)
    data = _data.load(options, take_names(machine))
    rows = _data.prepare(data, machine, options)
    if not options.quiet:
        print(_data.describe(data, options.binarize))
    features = machine.transform(rows)
    if not np.isfinite(features).all():
        raise ArithmeticError(f"the features are not finite: {options.model} is of no use")
    output.write_array(target, features, list(machine.get_feature_names_out()), data.labels, data.label)
    if not options.quiet:
        print(f"wrote {features.shape[0]} rows of {features.shape[1]} features ({features.dtype.name}) to {target}")
    return 0
