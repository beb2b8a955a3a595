"""``fastrbm sample``: states that a model draws."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

from . import messages, output
from .arguments import add_machine, whole
from .train import take_names

DESCRIPTION = """Draw visible states from a model file by Gibbs sampling. Arrays have the values of the visible units:
0 and 1 as uint8, spins -1 and +1 as int8, numbers of categories and trials as whole numbers, real numbers in the
scale of the data. Pictures have the means given the hidden units, which show more."""
_PICTURE = ".png"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give the parser its options."""
    add = parser.add_argument
    add("model", metavar="MODEL", help="a file written by fastrbm train")
    add("--out", metavar="FILE", required=True, help=f"{', '.join(output.ARRAYS)}, or .png for a picture")
    add("--n", type=whole(1), default=100, metavar="N", help="how many")
    add("--steps", type=whole(1), default=1000, metavar="N", help="Gibbs steps for each")
    add("--shape", type=whole(1), nargs=2, metavar=("H", "W"), help="of one image; square if not given")
    add("--force", action="store_true", help="overwrite FILE if it exists")
    add("--quiet", action="store_true", help="print nothing but warnings")
    add_machine(parser)


def command(options: argparse.Namespace) -> int:
    """Draw samples and write them."""
    import numpy as np

    target = output.check_target(options.out, (*output.ARRAYS, _PICTURE), [options.model], options.force)
    machine = output.usable_model(options.model, options.threads)
    names = take_names(machine)
    shape = _shape(machine, options) if target.suffix == _PICTURE else None
    with messages.progress("sample", options.quiet) as progress:
        samples = machine.sample(options.n, n_steps=options.steps, random_state=options.seed, progress=progress)
    values = _values(machine, samples)
    if not np.isfinite(values).all():
        raise ArithmeticError(f"the samples of {options.model} are not finite: the model is of no use")
    if shape is None:
        columns = names or tuple(f"v{k}" for k in range(values.shape[1]))
        output.write_array(target, values, columns)
    else:
        _draw(machine, samples, values, shape, target)
    if not options.quiet:
        kind = "" if shape else f" ({values.dtype.name}, {values.min():g}..{values.max():g})"
        print(f"wrote {options.n} samples of {values.shape[1]}{kind} to {target}")
    return 0


def _shape(machine: Any, options: argparse.Namespace) -> tuple[int, int]:
    size = int(machine.n_features_in_)
    shape = tuple(options.shape) if options.shape else (math.isqrt(size),) * 2
    if math.prod(shape) != size:
        wrong = "does not fit" if options.shape else "is needed for"
        raise ValueError(f"--shape H W {wrong} a picture of {size} columns")
    return shape[0], shape[1]


def _values(machine: Any, samples: Any) -> Any:
    """Samples as the values that data of this model have."""
    import numpy as np

    from fastrbm import SoftmaxRBM
    from fastrbm.units import get_unit

    if isinstance(machine, SoftmaxRBM):
        groups = samples[:, : machine.n_features_in_ * machine.n_categories_]  # those of a conditional one have more
        states = groups.reshape(len(samples), -1, machine.n_categories_).argmax(axis=2)
        return states.astype(np.min_scalar_type(machine.n_categories_ - 1))
    if samples.dtype == np.bool_:
        return samples.astype(np.uint8)
    support = get_unit(machine.units[0]).support
    if support is not None and samples.dtype.kind == "f":
        return samples.astype(np.min_scalar_type(int(max(support))))
    return samples


def _draw(machine: Any, samples: Any, values: Any, shape: tuple[int, int], target: Path) -> None:
    from fastrbm import SoftmaxRBM, plot

    output.draw_without_windows()
    if not isinstance(machine, SoftmaxRBM):
        values = machine.reconstruct(samples)
    plot.save_png(plot.plot_samples(values, shape, len(samples)), target)
