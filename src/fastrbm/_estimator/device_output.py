"""Results that stay on the CUDA device where the rows are; see `fastrbm.config_context`."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._data import Rows
from .._data.device import is_device_array
from .._data.output import gives_device_output
from .._kernels import Backend, Parameters
from .._kernels.draws import Key, Stream


def stays_there(x: Any) -> bool:
    """Whether the results for these rows are to be arrays on the device."""
    return gives_device_output() and is_device_array(x)


def means_there(data: Rows, backend: Backend, parameters: Parameters, unit: str, dtype: Any, spins: bool) -> Any:
    """Means of the hidden units of a `View` as a device array; with `spins`, means m of bits as 2 m - 1."""
    from .._kernels.cuda.packing import convert_into

    weights, _, bias = parameters
    out = _empty((data.shape[0], len(bias)), dtype)
    for rows, states in data.slices():
        means = backend.means(unit, states, weights, bias)
        convert_into(means, out[rows], 2.0 if spins else 1.0, -1.0 if spins else 0.0)
    return _finished(out)


def gibbs_there(data: Rows, backend: Backend, parameters: Parameters, units: tuple[str, str], key: Key) -> Any:
    """Bits of the visible units after one Gibbs step as a device array of bool."""
    from .._kernels.cuda.packing import unpack_into

    weights, visible_bias, hidden_bias = parameters
    out = _empty(data.shape, np.bool_)
    for rows, states in data.slices():
        draw = key.at(0, Stream.HIDDEN, rows.start)
        hidden = backend.samples(units[1], states, weights, hidden_bias, draw)
        draw = draw._replace(stream=Stream.VISIBLE)
        visible = backend.samples(units[0], hidden, weights, visible_bias, draw, transpose=True)
        unpack_into(visible, out[rows])
    return _finished(out)


def _empty(shape: tuple[int, int], dtype: Any) -> Any:
    from .._kernels.cuda.memory import allocate

    return allocate("the result", shape, dtype, lent=True)


def _finished(out: Any) -> Any:
    """Wait, as other libraries need not use the stream that the result is computed on."""
    from .._kernels.cuda.memory import synchronize

    synchronize()
    return out
