"""Fine-tuning: passes over rows, dropout, history, held-out rows, divergence."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._data.split import Split
from .._estimator.aftermath import warn_of_rise
from .._fit.loop import DivergenceError, share_of
from .._kernels import Backend, Parameters
from .._kernels.draws import Key
from .._kernels.rules import Update
from .._shown import History
from ..optimizers import get_optimizer
from ..schedules import value_at
from ._network import Network
from ._values import Inputs

#: Rules that divide by the size of a gradient take entries below 2^-22 for rounding, as they are in means of states;
#: gradients of a network are smaller. A power of two changes no bits of them, and their size does not matter.
_GAIN = 1024.0
_STEPS = 1 << 16  # of dropout rates
_DROPOUT, _AUGMENT = 101, 102  # streams of NumPy's Philox, by the last word of its counter


class Rows:
    """Rows and what is wanted of them: labels as numbers, or the rows themselves where `labels` is None."""

    def __init__(self, inputs: Inputs, labels: NDArray[np.intp] | None = None):
        self.inputs, self.labels = inputs, labels

    def __len__(self) -> int:
        return len(self.inputs)


class FineTuning:
    """A fit that is done a pass at a time.

    Parameters
    ----------
    options : DBNClassifier or DBNAutoencoder
        Its options, which do not change.
    backend : Backend
    network : Network
        Changes in place.
    rows : Rows
    split : Split
        Which of them are trained on.
    held : Rows or None
        Rows that are scored after each pass.
    key : Key
    weight : ndarray or None
        Of all rows.
    """

    def __init__(
        self,
        options: Any,
        backend: Backend,
        network: Network,
        rows: Rows,
        split: Split,
        held: Rows | None,
        key: Key,
        weight: NDArray[np.float64] | None = None,
    ):
        self.options, self.backend, self.network, self.rows, self.held = options, backend, network, rows, held
        self.key, self.order, self.weight = key, split.order(key, True), weight
        self.history = History(epoch=[], seconds=[], loss=[])
        self.n_passes, self.updates = 0, 0
        self.dtype = network.layers[0].parameters.weights.dtype
        self.optimizer = get_optimizer(options.optimizer)
        self._slots = [
            [Parameters(*map(np.zeros_like, layer.parameters)) for _ in range(self.optimizer.n_slots())]
            for layer in network.layers
        ]
        self._best: tuple[float, int, Network] | None = None
        self._start: float | None = None
        self._augment = getattr(options, "augment", None)
        for number in range(options.n_iter):  # said before anything is trained
            self._rate(number)
        if self._augment is not None:
            self._augmented(rows.inputs[:2])
        self._rates = [options.input_dropout, *[options.hidden_dropout] * (len(network.layers) - 1)]

    @property
    def best(self) -> Network:
        """Parameters of the best pass where early stopping was asked for, else the newest ones."""
        return self.network if self._best is None else self._best[2]

    @property
    def best_iteration(self) -> int:
        """The pass that `best` is of."""
        return self.n_passes if self._best is None else self._best[1]

    def warn(self) -> None:
        """Warn if the loss has risen over all passes."""
        if self._start is not None and self.n_passes:
            warn_of_rise(self.history["loss"][self.best_iteration - 1], self._start)

    def one_pass(self) -> bool:
        """Pass over the data once and look at the rows held out; False if that was the last pass.

        `DivergenceError`: the parameters are those from before the pass.
        """
        begin, backup = time.perf_counter(), self.network.copy()
        with np.errstate(over="ignore", invalid="ignore"):
            loss = self._minibatches()
        if not (self.network.is_finite() and np.isfinite(loss)):
            self.network = backup
            raise DivergenceError(
                f"parameters became infinite, NaN or too large to add up in pass {self.n_passes + 1}; the last "
                "usable ones were kept. Lower learning_rate (or momentum), or scale the data"
            )
        self.n_passes += 1
        self.history["epoch"].append(self.n_passes)
        self.history["loss"].append(loss)
        go_on = self._watch() and self.n_passes < self.options.n_iter
        self.history["seconds"].append(time.perf_counter() - begin)
        if self.options.verbose:
            told = ", ".join(f"{name} {column[-1]:.4g}" for name, column in self.history.items() if name != "epoch")
            print(f"[{type(self.options).__name__}] pass {self.n_passes}, {told}")
        return go_on

    def _minibatches(self) -> float:
        order, size, total = self.order(self.n_passes), self.options.batch_size, 0.0
        rate = self._rate(self.n_passes)
        momentum = self.optimizer.momentum_at(self.n_passes, self.options.n_iter)
        rule = self.optimizer.rule()
        gain = 1.0 if rule.kind in ("sgd", "nesterov") else _GAIN
        keep = 1 - rate * self.options.weight_decay
        for first in range(0, len(order), size):
            at = order[first : first + size]
            x = self._augmented(self.rows.inputs[at])
            targets = x if self.rows.labels is None else self.rows.labels[at]
            shares = share_of(self.weight, at)
            each = None if shares is None else shares.astype(self.dtype)
            losses, gradients = self.network.ascent(self.backend, x, targets, self._mask, gain, each)
            total += float(losses.sum() if self.weight is None else self.weight[at] @ losses)
            if self._start is None:
                self._start = float(losses.mean())
                if self.network.loss == "labels":  # equal probabilities are no worse a start
                    self._start = max(self._start, math.log(len(self.network.layers[-1].parameters.hidden_bias)))
            update = Update(rule, rate, momentum, self.updates)
            for layer, slots, gradient in zip(self.network.layers, self._slots, gradients, strict=True):
                if keep != 1:
                    weights = layer.parameters.weights
                    weights *= self.dtype.type(keep)
                self.backend.ascend(layer.parameters, slots, gradient, update)
            self.updates += 1
        return total / (len(order) if self.weight is None else float(self.weight[order].sum()))

    def _rate(self, number: int) -> float:
        return value_at("learning_rate", self.options.learning_rate, number, self.options.n_iter, 0)

    def _augmented(self, x: NDArray[np.float64]) -> NDArray[Any]:
        if self._augment is None:
            return np.ascontiguousarray(x, dtype=self.dtype)
        draws = np.random.Generator(self._stream(_AUGMENT, 0))
        for change in self._augment if isinstance(self._augment, (list, tuple)) else [self._augment]:
            shape, x = x.shape, np.asarray(change(x, draws))
            if x.shape != shape:
                raise ValueError(f"augment must return rows of the shape that it got, {shape}, got {x.shape}")
        if x.dtype.kind not in "buif" or not np.isfinite(x).all():
            raise ValueError(f"augment must return finite numbers, got NaN, infinity or other values, of {x.dtype}")
        return np.ascontiguousarray(x, dtype=self.dtype)

    def _stream(self, kind: int, layer: int) -> np.random.Philox:
        return np.random.Philox(key=self.key.seed, counter=[0, layer, self.updates, kind])

    def _mask(self, layer: int, shape: tuple[int, int]) -> NDArray[Any] | None:
        """0 for inputs that are left out; others make up for them."""
        dropped = round(self._rates[layer] * _STEPS)
        if not dropped:
            return None
        n = shape[0] * shape[1]
        words = self._stream(_DROPOUT, layer).random_raw(-(-n // 4)).astype("<u8").view("<u2")[:n].reshape(shape)
        return (words >= dropped) * self.dtype.type(_STEPS / (_STEPS - dropped))

    def _watch(self) -> bool:
        """Score the rows held out; False if the fit should end."""
        if self.held is None:
            return True
        total, right = 0.0, 0
        for rows, x in self.held.inputs.blocks(self.dtype):
            outputs = self.network.outputs(self.backend, x)
            targets = x if self.held.labels is None else self.held.labels[rows]
            total += float(self.network.losses(outputs, targets).sum())
            if self.held.labels is not None:
                right += int((outputs.argmax(axis=1) == targets).sum())
        loss, accuracy = total / len(self.held), right / len(self.held)
        self.history.setdefault("validation_loss", []).append(loss)
        if self.held.labels is not None:
            self.history.setdefault("validation_accuracy", []).append(accuracy)
        wanted = self.options.early_stopping
        if not wanted:
            return True
        score = accuracy if wanted == "accuracy" or (wanted is True and self.held.labels is not None) else -loss
        if self._best is None or score > self._best[0]:
            self._best = (score, self.n_passes, self.network.copy())
            return True
        return self.n_passes - self._best[1] < self.options.n_iter_no_change
