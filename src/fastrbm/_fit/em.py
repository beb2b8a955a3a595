"""Expectation maximisation for one-hot hidden layers: the model is a mixture of products then."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._kernels import Backend, PackedBits, Phase, States, TrainingPlan
from .._kernels.contract import values_of
from .._kernels.draws import Draw, Stream
from ..init import data_bias, nearest_means
from ..units import get_unit
from .scale import VisibleScale
from .state import TrainingState


def em_step(
    state: TrainingState,
    rows: States,
    backend: Backend,
    plan: TrainingPlan,
    units: tuple[str, str],
    n_rows: int,
    scale: VisibleScale,
    shares: NDArray[Any] | None = None,
) -> None:
    """Move the expected statistics towards those of a minibatch, and the parameters to where they maximise those.

    With responsibilities r = p(h | v) the statistics are s_0 = <r> and s_1 = <r v>; statistics of the model move to
    (1 - rate) s + rate s_batch, and the parameters become those of the mixture with shares s_0 and means s_1 / s_0.
    With all rows in a minibatch and rate 1 it is the algorithm of Dempster, Laird and Rubin (J. R. Stat. Soc. B 39,
    1977), whose likelihood never falls; with less of either, the online form of Cappe and Moulines (J. R. Stat. Soc. B
    71, 2009). Each component has one more row that is the mean of the data, so that no mean is at the edge of its
    range.
    """
    weights, visible_bias, hidden_bias = scale.to_kernels(state.parameters)
    dtype = weights.dtype
    if plan.stochastic_input and not isinstance(rows, PackedBits):
        rows = backend.draw_bits(rows, Draw(plan.seed, state.chains.step, Stream.INPUT))
    rows = values_of(units[0], rows, dtype)
    if scale.sigma is not None:
        rows = np.ascontiguousarray(rows / scale.sigma, dtype=dtype)
    found = backend.moments(Phase(rows, backend.means(units[1], rows, weights, hidden_bias), shares), dtype)
    unit = get_unit(units[0])
    theta = weights.astype(np.float64) + visible_bias
    logs = hidden_bias + unit.cgf(theta).sum(axis=1)
    share = np.exp(logs - logs.max())
    share /= share.sum()
    rate = plan.rate
    s_0 = (1 - rate) * share + rate * found.hidden_bias
    s_1 = (1 - rate) * share[:, None] * unit.mean(theta) + rate * found.weights
    overall = unit.mean(data_bias(nearest_means(s_1.sum(axis=0), units[0]), units[0], 1 / (n_rows + 2)))  # inside
    mean = nearest_means((n_rows * s_1 + overall) / (n_rows * s_0 + 1)[:, None], units[0])
    theta = np.stack([data_bias(row, units[0], 1e-9) for row in mean])
    state.parameters.weights[...] = scale.shown_weights(theta - visible_bias)
    # a component that has lost all rows keeps a share that the next ones can raise
    logs = np.log(np.maximum(s_0, 1 / (n_rows + 1) ** 2)) - unit.cgf(theta).sum(axis=1)
    state.parameters.hidden_bias[...] = logs - logs.max()
    state.chains.step += plan.n_sweeps + 1
    state.chains.updates += 1
