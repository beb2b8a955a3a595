"""Hidden layers given a class, natively."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bits import PackedBits, as_dense
from ..contract import Backend, ChainState, Parameters, States
from ..labels import LabelledLayer, LabelMoments
from ..rules import Update
from .runtime import extension as _cpu
from .runtime import threads_for

_FAR_BELOW = -1e30  # input of a unit that is not there
_FEW = 0.35  # share of values that are not 0, below which lists of them are faster than whole products
_MINIBATCHES = 8  # so many of them are worth turning the weights
_LOOK = 512  # rows that are looked at


class NativeLabelledLayer(LabelledLayer):
    """`LabelledLayer` of float32 numbers."""

    def __init__(self, inputs: NDArray[Any], classes: NDArray[Any], n_threads: int | None):
        super().__init__(inputs, classes)
        self._n_threads = threads_for(4.0 * len(inputs) * classes.size, n_threads)
        self._native = _cpu.Labels(_padded(inputs, _FAR_BELOW), _padded(classes, 0.0))

    def scores(self, bias: NDArray[Any]) -> NDArray[np.float64]:
        """See `LabelledLayer.scores`."""
        scores = np.empty((len(self._inputs), len(self._classes)))
        self._native.scores(bias, scores, self._n_threads)
        return scores

    def moments(self, shares: NDArray[np.float64], labels: NDArray[np.int32], weights: NDArray[Any]) -> LabelMoments:
        """See `LabelledLayer.moments`."""
        n_rows, n = self._inputs.shape
        width = n + -n % 16
        data, model = np.empty((2, n_rows, width), np.float32)
        of_data, of_model = np.zeros((2, len(self._classes), width), np.float32)
        self._native.means(shares.astype(np.float32), labels, weights, data, model, of_data, of_model, self._n_threads)
        found = (data, model, of_data, of_model)
        return LabelMoments(*(found if n == width else (np.ascontiguousarray(part[:, :n]) for part in found)))


class Labels(Backend):
    """The part of the backend that knows of labels."""

    n_threads: int | None

    def labelled(self, inputs: NDArray[Any], classes: NDArray[Any]) -> LabelledLayer:
        """See `Backend.labelled`: float32 natively."""
        if inputs.dtype != np.float32 or not len(inputs):
            return LabelledLayer(inputs, classes)
        return NativeLabelledLayer(inputs, classes, self.n_threads)

    def train_labels(
        self,
        features: Parameters,
        classes: Parameters,
        slots: Sequence[tuple[Parameters, Parameters]],
        rows: States,
        order: NDArray[np.int64],
        labels: NDArray[np.int32],
        shares: NDArray[Any] | None,
        batch_size: int,
        update: Update,
        state: ChainState,
    ) -> NDArray[np.float64]:
        """See `Backend.train_labels`: float32 by a team of threads, until weights outgrow its kernels."""
        weights, rows = features.weights, rows if isinstance(rows, PackedBits) else as_dense(rows, np.float32)
        if weights.dtype != np.float32 or not update.rule.native or not len(order):
            return np.empty(0)
        packed, grey = (rows.words, None) if isinstance(rows, PackedBits) else (None, rows)
        batch, active = min(batch_size, len(order)), _active(rows)
        lists = active < _FEW and batch <= _cpu.CONSTANTS["TURNED_ROWS"] and len(order) >= _MINIBATCHES * batch_size
        turned = (_turned(weights), [_turned(x.weights) for x, _ in slots]) if lists else None
        by_rows = packed is not None and _cpu.prefers_rows(batch, active)
        run = _cpu.LabelTraining(
            features, [x for x, _ in slots], classes, [x for _, x in slots], update._replace(done=state.updates),
            len(order), batch_size, packed is None, by_rows,
            threads_for(float(batch) * weights.size, self.n_threads), turned,
        )  # fmt: skip
        try:
            return run.run(packed, grey, order, labels, shares, state)
        finally:
            if turned is not None:
                weights[...] = turned[0][:, : len(weights)].T
                for (slot, _), new in zip(slots, turned[1], strict=True):
                    slot.weights[...] = new[:, : len(weights)].T


def _active(rows: States) -> float:
    """Share of the values of the first rows that are not 0."""
    if isinstance(rows, PackedBits):
        return _cpu.density(rows.words, rows.shape[1])
    return np.count_nonzero(rows[:_LOOK]) / max(1, rows[:_LOOK].size)


def _turned(weights: NDArray[Any]) -> NDArray[Any]:
    """Weights as [visible][hidden], with room for whole panels and rows that do not share the sets of a cache."""
    n_hidden, n_visible = weights.shape
    out = np.zeros((n_visible, n_hidden + -n_hidden % 64 + 16), weights.dtype)
    out[:, :n_hidden] = weights.T
    return out


def _padded(x: NDArray[Any], value: float) -> NDArray[Any]:
    """Rows of a multiple of 16 units."""
    missing = -x.shape[1] % 16
    if not missing:
        return np.ascontiguousarray(x)
    padded = np.full((len(x), x.shape[1] + missing), value, x.dtype)
    padded[:, : x.shape[1]] = x
    return padded
