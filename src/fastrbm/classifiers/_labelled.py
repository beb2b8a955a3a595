"""Training of a restricted Boltzmann machine whose visible layer is features and a label.

With x_j = c_j + sum_i W_ji v_i the inputs of the hidden units and U_yj what class y adds to them,

    p(y | v) is proportional to exp(d_y + sum_j log(1 + exp(x_j + U_yj))),

and the gradient of log p(y | v) is that of a machine whose negative phase knows the features: the moments given
(v, y), less those given v with the classes weighted by p(y | v). That of log p(v, y) has moments of the machine's own
states in place of the latter, here of Gibbs chains that start at the data. Rows without a label have the moments of
all classes by p(y | v) in place of those of theirs.

Larochelle, Mandel, Pascanu, Bengio, "Learning algorithms for the classification restricted Boltzmann machine",
JMLR 13 (2012).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._kernels import Backend, ChainState, Parameters, Phase, States
from .._kernels.datatypes import are_usable
from .._kernels.draws import Draw, Key, Stream
from .._kernels.labels import probabilities
from .._kernels.rules import Update

_LABELS = 1 << 48  # in place of the numbers of what else a key is folded with


class Machine(NamedTuple):
    """Parameters of features and of labels.

    Attributes
    ----------
    features : Parameters
        W (n_hidden, n_features), b and c.
    classes : Parameters
        U (n_classes, n_hidden); d in the place of the hidden bias; the visible one is not used, and 0.
    """

    features: Parameters
    classes: Parameters

    def copy(self) -> Machine:
        """Copy of all arrays."""
        return Machine(self.features.copy(), self.classes.copy())

    def is_finite(self) -> bool:
        """Whether all parameters are, and can be added up."""
        return all(map(are_usable, self))

    def scores(self, backend: Backend, rows: States) -> NDArray[np.float64]:
        """Logs of p(v, y) up to a constant of the row."""
        weights, _, bias = self.features
        x = backend.inputs(rows, weights, bias)
        return backend.labelled(x, self.classes.weights).scores(self.classes.hidden_bias)


@dataclass
class Objective:
    """What is ascended: shares of log p(y | v), of log p(v, y), and of log p(v) of rows without a label.

    `n_sweeps` are Gibbs sweeps of the chains of the latter two.
    """

    discriminative: float
    generative: float
    unlabelled: float
    n_sweeps: int = 1

    @property
    def is_conditional(self) -> bool:
        """Whether log p(y | v) is all there is."""
        return self.discriminative == 1 and not self.generative and not self.unlabelled


@dataclass
class LabelledTraining:
    """A run of minibatches; `machine` and `slots` change in place.

    Attributes
    ----------
    machine : Machine
    slots : list of Machine
        What the optimiser keeps.
    key : Key
    step : int
        Next unused Gibbs step.
    updates : int
        Minibatches done.
    n_passes : int
        Passes done.
    """

    machine: Machine
    slots: list[Machine]
    key: Key
    step: int = 0
    updates: int = 0
    n_passes: int = 0
    _sides: list[tuple[float, Phase, Phase]] = field(default_factory=list, init=False, repr=False)

    def ascend(
        self,
        backend: Backend,
        update: Update,
        objective: Objective,
        rows: States,
        labels: NDArray[np.int32],
        shares: NDArray[Any] | None = None,
        unlabelled: States | None = None,
    ) -> float:
        """Do one minibatch; return the mean of -log p(y | v) of its rows before it.

        Parameters
        ----------
        backend : Backend
        update : Update
        objective : Objective
        rows : PackedBits or ndarray
        labels : ndarray of int32
        shares : ndarray or None
            Weights of the rows, of the type of the parameters; they add up to 1. None: equal ones.
        unlabelled : PackedBits, ndarray or None
            Rows of p(v).
        """
        weights, _, bias = self.machine.features
        of_classes = [np.zeros_like(self.machine.classes.weights), np.zeros_like(self.machine.classes.hidden_bias)]
        self._sides = []
        with backend.holding(weights):
            layer = backend.labelled(backend.inputs(rows, weights, bias), self.machine.classes.weights)
            p = probabilities(layer.scores(self.machine.classes.hidden_bias))
            each = np.full(len(labels), 1 / len(labels), weights.dtype) if shares is None else shares
            found = layer.moments(p, labels, each)
            known = np.zeros_like(p)
            known[np.arange(len(labels)), labels] = 1
            loss = -float(np.log(np.maximum(p[np.arange(len(labels)), labels], 1e-300)) @ each)
            if objective.discriminative:
                share = objective.discriminative
                self._sides.append((share, Phase(rows, found.data, shares), Phase(rows, found.model, shares)))
                _add(of_classes, share, found.of_data - found.of_model, (each[:, None] * (known - p)).sum(axis=0))
            if objective.generative:
                positive = Phase(rows, found.data, shares)
                self._contrast(backend, objective.generative, positive, found.of_data, known, objective, of_classes)
            if unlabelled is not None:
                self._without_label(backend, objective, unlabelled, of_classes)
            self._ascend_features(backend, update)
        nothing = np.zeros_like(self.machine.classes.visible_bias)
        of_labels = Parameters(of_classes[0], nothing, of_classes[1])
        backend.ascend(self.machine.classes, [slot.classes for slot in self.slots], of_labels, update)
        self.step += objective.n_sweeps + 1
        self.updates += 1
        return loss

    def ascend_many(
        self,
        backend: Backend,
        update: Update,
        objective: Objective,
        rows: States,
        order: NDArray[np.int64],
        labels: NDArray[np.int32],
        shares: NDArray[Any] | None,
        batch_size: int,
    ) -> NDArray[np.float64]:
        """Do minibatches of ``rows[order]`` in one native call, as many as it can; return the loss of each.

        Parameters are those of `ascend`; labels and shares are in the order of the rows. None is done where more than
        log p(y | v) is ascended.
        """
        if not objective.is_conditional:
            return np.empty(0)
        state = ChainState(self.step, None, self.updates)
        slots = [(slot.features, slot.classes) for slot in self.slots]
        try:
            return backend.train_labels(*self.machine, slots, rows, order, labels, shares, batch_size, update, state)
        finally:
            self.step += (state.updates - self.updates) * (objective.n_sweeps + 1)
            self.updates = state.updates

    def _without_label(
        self, backend: Backend, objective: Objective, rows: States, of_classes: list[NDArray[Any]]
    ) -> None:
        """Ascend log p(v): both phases of all classes, by their probabilities."""
        weights, _, bias = self.machine.features
        n, dtype = rows.shape[0], weights.dtype
        inputs = backend.inputs(rows, weights, bias)
        layer = backend.labelled(inputs, self.machine.classes.weights)
        p = probabilities(layer.scores(self.machine.classes.hidden_bias))
        found = layer.moments(p, np.full(n, -1, np.int32), np.full(n, 1 / n, dtype))
        positive = Phase(rows, found.model)
        drawn = self._drawn(backend, p, self._address(Stream.INPUT, 1), 1)  # chains have a class
        start = _means_of(backend, inputs + self.machine.classes.weights[drawn])
        self._contrast(
            backend, objective.unlabelled, positive, found.of_model, p, objective, of_classes, start=start, run=1
        )

    def _contrast(
        self,
        backend: Backend,
        share: float,
        positive: Phase,
        of_data: NDArray[Any],
        of_class: NDArray[np.float64],
        objective: Objective,
        of_classes: list[NDArray[Any]],
        start: NDArray[Any] | None = None,
        run: int = 0,
    ) -> None:
        """Add `share` times moments of the data less those of chains that start at hidden means given the data.

        `run` tells the draws of chains of one minibatch apart.
        """
        weights, visible_bias, bias = self.machine.features
        classes = self.machine.classes
        means = positive.hidden if start is None else start
        assert isinstance(means, np.ndarray)
        n = len(means)
        shares = np.full(n, 1 / n, weights.dtype) if positive.shares is None else positive.shares
        for sweep in range(1, objective.n_sweeps + 1):
            at = self._address(Stream.HIDDEN, run)._replace(step=self.step + sweep)
            hidden = backend.draw_bits(means, at)
            visible = backend.samples(
                "bernoulli", hidden, weights, visible_bias, at._replace(stream=Stream.VISIBLE), transpose=True
            )
            p = probabilities(backend.inputs(hidden, classes.weights, classes.hidden_bias).astype(np.float64))
            labels = self._drawn(backend, p, at._replace(stream=Stream.INPUT), run)
            means = _means_of(backend, backend.inputs(visible, weights, bias) + classes.weights[labels])
        self._sides.append((share, positive, Phase(visible, means, positive.shares)))
        of_chains, drawn_class = np.zeros_like(of_data), np.zeros_like(p)
        for c in np.unique(labels):
            those = labels == c
            drawn_class[those, c] = 1
            of_chains[c] = (shares[those, None] * means[those]).sum(axis=0)
        _add(of_classes, share, of_data - of_chains, (shares[:, None] * (of_class - drawn_class)).sum(axis=0))

    def _address(self, stream: Stream, run: int) -> Draw:
        return Draw(self.key.fold_in(run).seed if run else self.key.seed, self.step, stream)

    def _drawn(self, backend: Backend, p: NDArray[np.float64], at: Draw, run: int) -> NDArray[np.int32]:
        """Classes drawn with these probabilities."""
        seed = self.key.fold_in(_LABELS + run).seed
        u = backend.uniforms(at._replace(seed=seed), len(p), 1, np.float64)
        return np.minimum((np.cumsum(p, axis=1) < u).sum(axis=1), p.shape[1] - 1).astype(np.int32)

    def _ascend_features(self, backend: Backend, update: Update) -> None:
        parameters, slots = self.machine.features, [slot.features for slot in self.slots]
        sides, self._sides = self._sides, []
        dtype = parameters.weights.dtype
        gradient: Parameters | None = None
        for share, data, model in sides:
            part = self._difference(backend, data, model)
            scaled = part if share == 1 else Parameters(*(dtype.type(share) * g for g in part))
            gradient = scaled if gradient is None else Parameters(*map(np.add, gradient, scaled))
        if gradient is not None:
            backend.ascend(parameters, slots, gradient, update)

    def _difference(self, backend: Backend, data: Phase, model: Phase) -> Parameters:
        """Moments of the data less those of the model."""
        dtype = self.machine.features.weights.dtype
        if data.visible is not model.visible:
            return backend.gradient(data, model, dtype)
        # the same rows on both sides: one product of differences, and nothing for the biases of the features
        assert isinstance(data.hidden, np.ndarray) and isinstance(model.hidden, np.ndarray)
        part = backend.moments(Phase(data.visible, data.hidden - model.hidden, data.shares), dtype)
        return part._replace(visible_bias=np.zeros_like(part.visible_bias))


def _means_of(backend: Backend, inputs: NDArray[Any]) -> NDArray[Any]:
    """Means of Bernoulli units of these inputs."""
    n, dtype = len(inputs), inputs.dtype
    alone = backend.labelled(inputs, np.zeros((1, inputs.shape[1]), dtype))
    alone.scores(np.zeros(1, dtype))
    return alone.moments(np.ones((n, 1)), np.zeros(n, np.int32), np.ones(n, dtype)).data


def _add(total: Sequence[NDArray[Any]], share: float, weights: NDArray[Any], bias: NDArray[Any]) -> None:
    total[0][...] += total[0].dtype.type(share) * weights
    total[1][...] += (share * bias).astype(total[1].dtype)


def normalised(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logs of probabilities of classes from logs that lack a constant of the row."""
    return scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)
