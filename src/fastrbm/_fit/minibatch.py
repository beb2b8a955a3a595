"""Training one minibatch at a time, for everything that the fused kernels do not do in one go.

A step is: parameters as kernels see them -> both phases -> gradient -> regularisers -> optimiser. Without any of the
options it does what `fastrbm._kernels.contract.train_batch` does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._kernels import Backend, Parameters, Phase, States, TrainingPlan
from .._kernels.bits import are_bits
from .._kernels.draws import Draw, Stream
from .._kernels.levels import GreyLevels
from .._kernels.rules import apply_rule
from ..likelihood import Moments
from ..regularizers import Regularization, weight_deviation
from .negative import Exact, Minibatch, NegativePhase
from .scale import VisibleScale
from .state import TrainingState

#: share of a new minibatch in the running offsets of centred gradients (Melchior, Fischer, Wiskott, JMLR 17, 2016)
_OFFSET_SHARE = 0.01
#: of learned variances beside those of the data: given the hidden layer columns vary less than without it, so above
#: deviations of ten times that of the data is a run that got lost; below a thousandth it learns rows by heart
LOWEST_LOG_VARIANCE, HIGHEST_LOG_VARIANCE = 2 * math.log(1000), 2 * math.log(10)
_LARGEST_LOG_VARIANCE = 16.0  # of either sign, where those of the data are not known


@dataclass(frozen=True)
class Setup:
    """What stays the same through a fit.

    Attributes
    ----------
    units : (visible, hidden)
    negative : NegativePhase
    regularization : Regularization
    scale : VisibleScale
        Its `sigma` is not used where deviations are learned.
    centered : bool
    variance_rate : float
        Learning rate of log variances in units of the learning rate; 0 where deviations are fixed.
    n_rows : int
        Of the data.
    """

    units: tuple[str, str]
    negative: NegativePhase
    regularization: Regularization = Regularization()
    scale: VisibleScale = VisibleScale()
    centered: bool = False
    variance_rate: float = 0.0
    n_rows: int = 1

    def scale_of(self, state: TrainingState) -> VisibleScale:
        """Return the scale of the moment, which learned deviations move."""
        offset = state.extras.get("offset")
        if not self.variance_rate and offset is None:
            return self.scale
        return VisibleScale(self.scale.beta, np.exp(0.5 * state.extras["log_variance"]), self.scale.kappa, offset)


class Step:
    """One minibatch of a run: call it with rows."""

    def __init__(self, setup: Setup, backend: Backend, plan: TrainingPlan, state: TrainingState):
        self.setup = setup
        self.backend = backend
        self.plan = plan
        self.state = state
        self.dtype = state.parameters.weights.dtype

    def __call__(
        self, rows: States, present: NDArray[np.bool_] | None = None, shares: NDArray[Any] | None = None
    ) -> None:
        """Change parameters, slots, chains and extras in place.

        Parameters
        ----------
        rows : PackedBits or ndarray
            As the data hold them: bits for binary layers, unscaled values for Gaussian ones.
        present : ndarray of bool or None
            Visible units that are there.
        shares : ndarray or None
            Weights of the rows, adding up to 1.
        """
        setup, state, reg = self.setup, self.state, self.setup.regularization
        scale = setup.scale_of(state)
        shown, noise = self._noisy(state.parameters)
        parameters = scale.for_training(shown)
        if shown is not state.parameters and scale.offset is not None:  # what is drawn moves no bias
            parameters = parameters._replace(hidden_bias=scale.for_training(state.parameters).hidden_bias)
        batch = Minibatch(
            self.backend, setup.units, parameters, self.plan, state, self._visible(rows, scale), shares,
            None if present is None else present.astype(self.dtype),
            self._address(Stream.DROPOUT) if reg.dropout else None, reg.dropout.rate if reg.dropout else 0.0,
        )  # fmt: skip
        with self.backend.holding(parameters.weights):
            data, model = self._phases(batch)
        gradient = self._gradient(data, model)
        if setup.variance_rate:
            self._move_variances(scale, batch, data, model)
        if setup.centered:
            gradient = self._centered(gradient, data)
        setup.negative.after(batch, gradient)
        if reg.sparsity:
            gradient = self._sparse(gradient, data)
        if scale.sigma is None or (scale.trivial and scale.offset is None and not setup.variance_rate):
            self._ascend(state.parameters, self._of_means(scale.gradient_of_shown(gradient), noise))
        else:
            self._ascend_standardised(gradient, noise, scale)
        if reg.max_norm:
            _limit_rows(state.parameters.weights, reg.max_norm.limit)
        state.chains.step += self.plan.n_sweeps + 1
        state.chains.updates += 1

    # -- phases -----------------------------------------------------------------------------------------------

    def _address(self, stream: Stream) -> Draw:
        return Draw(self.plan.seed, self.state.chains.step, stream)

    def _visible(self, rows: Any, scale: VisibleScale) -> States:
        if self.plan.stochastic_input and not are_bits(rows):
            rows = self.backend.draw_bits(rows, self._address(Stream.INPUT))
        rows = self.backend.values(self.setup.units[0], rows, self.dtype)
        return rows if are_bits(rows) or isinstance(rows, GreyLevels) else scale.rows(rows, self.dtype)

    def _phases(self, batch: Minibatch) -> tuple[Phase, Phase | Moments]:
        kept = batch.kept(batch.visible.shape[0])
        negative = self.setup.negative
        states: States | None = None
        starts_at_data = not isinstance(negative, Exact) and not getattr(negative, "persistent", True)
        if self.plan.sampled_hidden or starts_at_data:
            states = batch.hidden_states(batch.visible, kept, batch.parameters, self.state.chains.step)
        if self.plan.sampled_hidden:
            assert states is not None
            data = Phase(batch.visible, states, batch.shares)
        else:
            data = Phase(batch.visible, batch.hidden_means(batch.visible, kept, batch.parameters), batch.shares)
        return data, negative.model(batch, states)

    def _gradient(self, data: Phase, model: Phase | Moments) -> Parameters:
        if isinstance(model, Phase):
            return self.backend.gradient(data, model, self.dtype)
        of_model = (model.pairs, model.visible, model.hidden)
        moments = self.backend.moments(data, self.dtype)
        return Parameters(*(x - y.astype(self.dtype) for x, y in zip(moments, of_model, strict=True)))

    # -- what parameters are besides themselves ------------------------------------------------------------------

    def _noisy(self, parameters: Parameters) -> tuple[Parameters, tuple[Any, Any]]:
        """Parameters of this minibatch, and (mask, normal noise) of the weights."""
        reg, weights = self.setup.regularization, parameters.weights
        mask = noise = None
        if reg.uncertainty:
            if "rho" not in self.state.extras:
                start = np.log(np.expm1(reg.uncertainty.initial))
                self.state.extras["rho"] = np.full_like(weights, start)
            noise = self.backend.normals(
                self._address(Stream.WEIGHT_NOISE), weights.shape[0], weights.shape[1], self.dtype
            )
            weights = weights + weight_deviation(self.state.extras["rho"]) * noise
        if reg.drop_connect:
            address = self._address(Stream.DROP_CONNECT)
            n_hidden, n_visible = weights.shape
            mask = self.backend.mask(1 - reg.drop_connect.rate, address, n_hidden, n_visible, self.dtype)
            weights = weights * mask
        return parameters._replace(weights=weights), (mask, noise)

    def _of_means(self, gradient: Parameters, drawn: tuple[Any, Any]) -> Parameters:
        """Gradient of the weights' means from that of the weights used; deviations move here."""
        mask, noise = drawn
        if mask is not None:
            gradient = gradient._replace(weights=gradient.weights * mask)
        if noise is None:
            return gradient
        prior = self.setup.regularization.uncertainty
        assert prior is not None
        t, means = self.dtype.type, self.state.parameters.weights
        share = t(1 / (self.setup.n_rows * prior.prior**2))
        rho = self.state.extras["rho"]
        deviation = weight_deviation(rho)
        slope = -np.expm1(-deviation)  # derivative of the softplus: sigmoid(rho) = 1 - e^-softplus(rho)
        pull = share * deviation - t(1 / self.setup.n_rows) / deviation
        rho += t(self.plan.rate) * slope * (gradient.weights * noise - pull)
        return gradient._replace(weights=gradient.weights - share * means)

    def _move_variances(self, scale: VisibleScale, batch: Minibatch, data: Phase, model: Phase | Moments) -> None:
        """Ascend the likelihood in the log variances by the same rule as in the other parameters."""
        weights, center, _ = batch.parameters
        sides = []
        for phase in (data, model):
            if isinstance(phase, Phase):
                v = self.backend.dense(phase.visible, self.dtype)
                share: Any = self.dtype.type(1 / len(v))
                if phase.shares is not None:
                    share = phase.shares.astype(self.dtype)[:, None]
                squares = (share * np.square(v - center)).sum(axis=0)
                of_both = self.backend.moments(phase, self.dtype).weights
            else:  # x is normal around center + W^T h with variance 1
                of_both = phase.pairs
                squares = 1 + (weights * of_both).sum(axis=0) - center * (phase.visible - center)
            sides.append(scale.variance_gradient(squares, of_both, weights))
        gradient = (self.setup.scale.beta * (sides[0] - sides[1])).astype(self.dtype)
        extras = self.state.extras
        slots = [
            extras.setdefault(f"log_variance_slot_{k}", np.zeros_like(gradient)) for k in range(len(self.state.slots))
        ]
        update = self.plan.update(self.state.chains.updates)
        update = update._replace(rate=update.rate * self.setup.variance_rate)
        apply_rule(update, extras["log_variance"], slots, gradient, False)
        low: Any = -_LARGEST_LOG_VARIANCE
        high: Any = _LARGEST_LOG_VARIANCE
        if "log_variance_of_data" in extras:  # models of fastrbm 0.1 do not have it
            of_data = extras["log_variance_of_data"]
            low, high = of_data - LOWEST_LOG_VARIANCE, of_data + HIGHEST_LOG_VARIANCE
        np.clip(extras["log_variance"], low, high, out=extras["log_variance"])

    # -- regularisers --------------------------------------------------------------------------------------------

    def _centered(self, gradient: Parameters, data: Phase) -> Parameters:
        """Centred gradient: that of the model written with v - mu and h - lambda, in terms of the plain parameters.

        Melchior, Fischer, Wiskott, "How to center deep Boltzmann machines", JMLR 17 (2016), algorithm 1; offsets are
        running means over the data.
        """
        extras, t = self.state.extras, self.dtype.type
        _, *means = self.backend.moments(data, self.dtype)
        offsets = []
        for name, mean in zip(("offset_visible", "offset_hidden"), means, strict=True):
            if name not in extras:
                extras[name] = mean.copy()
            extras[name] += t(_OFFSET_SHARE) * (mean - extras[name])
            offsets.append(extras[name])
        mu, lam = offsets
        of_weights, of_visible, of_hidden = gradient
        of_weights = of_weights - np.outer(of_hidden, mu) - np.outer(lam, of_visible)
        # sums in an order of our own: that of BLAS depends on the processor
        by_visible, by_hidden = (of_weights * lam[:, None]).sum(axis=0), (of_weights * mu).sum(axis=1)
        return Parameters(of_weights, of_visible - by_visible, of_hidden - by_hidden)

    def _sparse(self, gradient: Parameters, data: Phase) -> Parameters:
        sparsity, t = self.setup.regularization.sparsity, self.dtype.type
        assert sparsity is not None
        _, visible, hidden = self.backend.moments(data, self.dtype)
        running = self.state.extras.setdefault("mean_activation", hidden.copy())
        running += t(1 - sparsity.decay) * (hidden - running)
        pull = t(sparsity.strength) * (running - t(sparsity.target))
        return gradient._replace(
            weights=gradient.weights - np.outer(pull, visible), hidden_bias=gradient.hidden_bias - pull
        )

    def _ascend_standardised(self, gradient: Parameters, noise: tuple[Any, Any], scale: VisibleScale) -> None:
        """Ascend in the parameters of standardised rows, whose rates suit columns of any size, and show the result."""
        shown = self.state.parameters
        if any(part is not None for part in noise):
            gradient = scale.gradient_of_kernels(self._of_means(scale.gradient_of_shown(gradient), noise))
        before = scale.for_training(shown)
        after = before.copy()
        self._ascend(after, gradient)
        now = self.setup.scale_of(self.state) if self.setup.variance_rate else scale
        scale.follow(shown, before, after, now)

    def _ascend(self, parameters: Parameters, gradient: Parameters) -> None:
        state, limit = self.state, self.setup.regularization.clip_norm
        if limit:
            squares = [np.square(g, dtype=np.float64).sum() for g in gradient]
            factor = limit / np.maximum(np.sqrt(squares[0] + squares[1] + squares[2]), limit)
            gradient = Parameters(*(g * factor.astype(self.dtype) for g in gradient))
        self.backend.ascend(parameters, state.slots, gradient, self.plan.update(state.chains.updates))


def _limit_rows(weights: NDArray[Any], limit: float) -> None:
    lengths = np.sqrt(np.square(weights, dtype=np.float64).sum(axis=1))
    weights *= (limit / np.maximum(lengths, limit)).astype(weights.dtype)[:, None]
