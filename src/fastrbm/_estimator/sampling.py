"""Features, reconstructions and samples of a fitted estimator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state

from .._checks import check_integer
from .._fit.loop import DivergenceError
from .._kernels import BIT_UNITS, Backend, PackedBits, States, as_dense, join_rows, on_host
from .._kernels.contract import Drawn
from .._kernels.draws import Key, Stream
from ..model import Model
from ..samplers import Gibbs
from ..samplers.clamp import Clamp
from .base import BaseRBM, View
from .containers import as_table, visible_names
from .device_output import gibbs_there, means_there, stays_there

_PIECES = 100  # of a Gibbs run whose progress is told


class Sampling(BaseRBM):
    """What an estimator makes of rows, and rows of its own."""

    def transform(self, X: Any) -> NDArray[Any]:
        """Compute the means of the hidden units given rows: p(h=1 | v=X) of Bernoulli ones.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray, shape (n_samples, n_components)
            Of the float type of X; of the computing type for uint8 and bool; else float64. A data frame after
            `set_output`. For X on a CUDA device within `fastrbm.config_context` an array on it.

        Raises
        ------
        ValueError
            For rows of another width, or with values that the visible units cannot have.
        """
        return self._hidden_layer(X)

    def _hidden_layer(self, X: Any) -> NDArray[Any]:
        data = self._data(X)
        view, backend = self._view(), self._backend()
        dtype = self._output_dtype(data)
        if stays_there(X):
            spins = self.units[1] == "ising"
            return means_there(data, backend, view.parameters, view.units[1], dtype, spins)
        out: NDArray[Any] | None = None
        for rows, states in data.slices():
            means = self._hidden_means(states, view, backend)
            if out is None and len(means) == data.shape[0]:
                return means.astype(dtype, copy=False)
            if out is None:
                out = np.empty((data.shape[0], means.shape[1]), dtype=dtype)
            out[rows] = means
        assert out is not None
        return out

    def _hidden_means(self, states: States, view: View, backend: Backend) -> NDArray[Any]:
        means = backend.means(view.units[1], states, view.parameters.weights, view.parameters.hidden_bias)
        return _shown_means(on_host(means), self.units[1])

    def reconstruct(self, X: Any) -> NDArray[Any]:
        """Reconstruct rows by mean field: compute the visible means given the hidden means of X.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray, shape (n_samples, n_visible)
            Of the type and kind that `transform` returns. n_visible is that of X; of `SoftmaxRBM` n_features *
            n_categories.

        Raises
        ------
        fastrbm.DivergenceError
            If means of real-valued units become infinite.
        """
        return self._visible_table(self._reconstruction(X), X)

    def _reconstruction(self, X: Any) -> NDArray[Any]:
        data = self._data(X)
        view, backend = self._view(), self._backend()
        parts = [self._reconstructed(states, view, backend) for _, states in data.slices()]
        return np.concatenate(parts).astype(self._output_dtype(data), copy=False)

    def reconstruction_error(self, X: Any) -> float:
        """Compute the mean squared difference between X (images scaled to [0, 1]) and `reconstruct`.

        The mean is over rows and visible units. Missing entries (`SoftmaxRBM`) count as groups of zeros.
        """
        data = self._data(X)
        view, backend = self._view(), self._backend()
        total = 0.0
        for _, states in data.slices():
            v = self._shown_visible(states, np.dtype(np.float32))
            total += float(np.square(v - self._reconstructed(states, view, backend), dtype=np.float64).sum())
        return total / (data.shape[0] * data.shape[1])

    def _reconstructed(self, states: States, view: View, backend: Backend) -> NDArray[Any]:
        means = backend.means(view.units[1], states, view.parameters.weights, view.parameters.hidden_bias)
        weights, bias, _ = view.parameters
        v = _shown_means(on_host(backend.means(view.units[0], means, weights, bias, transpose=True)), self.units[0])
        _check_values(v, "the means")
        sigma = self._scale().sigma
        return v if sigma is None else v * sigma.astype(v.dtype)

    # -- sampling -------------------------------------------------------------------------------------------

    def _shown_visible(self, states: States, dtype: Any) -> NDArray[Any]:
        """States of kernels (of `_view`, spins as bits) as values in the scale of the data."""
        values = as_dense(states, dtype)
        if self.units[0] == "ising":
            return 2 * values - 1
        sigma = self._scale().sigma
        return values if sigma is None else values * sigma.astype(values.dtype)

    def _drawn(self, states: Drawn, unit: str) -> NDArray[Any]:
        """Drawn states as they are returned: bool for bits, int8 for spins, else floats."""
        states = on_host(states)
        if unit == "ising":
            return 2 * states.dense(np.int8) - 1
        if isinstance(states, PackedBits):
            return states.dense()
        _check_values(states, "the chains", ", or take fewer n_steps")
        return states

    def sample_hidden(self, X: Any, *, random_state: Any = None) -> NDArray[Any]:
        """Draw hidden states from p(h | v=X).

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        random_state : int, RandomState, Generator or None
            None goes on with the estimator's own draws, so repeated calls differ.

        Returns
        -------
        ndarray, shape (n_samples, n_components)
            bool for Bernoulli and one-hot units, int8 for Ising ones, else of the type of the parameters. A data frame
            after `set_output`.
        """
        data = self._data(X)
        view, backend, key = self._view(), self._backend(), self._next_key(random_state)
        weights, _, bias = view.parameters
        parts = [
            self._drawn(
                backend.samples(view.units[1], states, weights, bias, key.at(0, Stream.HIDDEN, rows.start)),
                self.units[1],
            )
            for rows, states in data.slices()
        ]
        return as_table(self, np.concatenate(parts), X, self.get_feature_names_out)

    def gibbs(self, v: Any) -> NDArray[Any]:
        """Do one Gibbs step: draw h ~ p(h | v), then v ~ p(v | h).

        Parameters
        ----------
        v : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray, shape (n_samples, n_features)
            bool for Bernoulli and one-hot units, int8 for Ising ones, else of the type of the parameters. A data frame
            after `set_output`. For v on a CUDA device within `fastrbm.config_context` an array on it.
        """
        self._check_fitted()
        if self.random_stream == "sklearn":
            if not hasattr(self, "random_state_"):
                self.random_state_ = check_random_state(self.random_state)
            states = self._sample_visibles(self._sample_hiddens(v, self.random_state_), self.random_state_)
            return self._visible_table(states, v) if states.ndim == 2 else states
        data = self._data(v)
        view, backend, key = self._view(), self._backend(), self._next_key()
        weights, visible_bias, hidden_bias = view.parameters
        if stays_there(v):
            return gibbs_there(data, backend, view.parameters, view.units, key)
        parts = []
        for rows, states in data.slices():
            draw = key.at(0, Stream.HIDDEN, rows.start)
            h = backend.samples(view.units[1], states, weights, hidden_bias, draw)
            draw = draw._replace(stream=Stream.VISIBLE)
            parts.append(
                self._drawn_visible(backend.samples(view.units[0], h, weights, visible_bias, draw, transpose=True))
            )
        return self._visible_table(np.concatenate(parts), v)

    def _visible_table(self, values: Any, given: Any) -> Any:
        return as_table(self, values, given, lambda: visible_names(self))

    def _drawn_visible(self, states: Drawn) -> NDArray[Any]:
        sigma = self._scale().sigma
        values = self._drawn(states, self.units[0])
        return values if sigma is None else values * sigma.astype(values.dtype)

    def sample(
        self,
        n_samples: int = 1,
        n_steps: int = 1000,
        *,
        init: Any = None,
        temperature: float = 1.0,
        clamp: ArrayLike | None = None,
        random_state: Any = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> NDArray[Any]:
        """Draw states of the visible layer by a Gibbs run.

        Parameters
        ----------
        n_samples : int, default=1
            Independent chains, one sample each.
        n_steps : int, default=1000
            Gibbs steps. Chains forget their start slowly; look at several lengths, and at `fastrbm.samplers.temper`.
        init : {array-like, sparse matrix} of shape (n_samples, n_features) or None
            Start; None draws each unit with its bias alone.
        temperature : float, default=1.0
            The energy of `model_` is divided by it. Other than 1 only for units without a base measure of their own
            (not for Gaussian, ReLU and binomial ones).
        clamp : array-like of shape (n_features,) or (n_samples, n_features), or None
            Values that units are held at while the others are drawn given them (inpainting); NaN leaves a unit free.
            Groups of one-hot units are held or free as a whole.
        random_state : int, RandomState, Generator or None
            None goes on with the estimator's own draws, so repeated calls differ.
        progress : callable or None
            Called with (steps done, n_steps) now and then; it may raise to stop.

        Returns
        -------
        ndarray, shape (n_samples, n_features)
            bool for Bernoulli and one-hot units, int8 for Ising ones, else of the type of the parameters. A data frame
            after `set_output`.

        Raises
        ------
        fastrbm.DivergenceError
            If values of real-valued units become infinite.
        """
        self._check_fitted()
        check_integer("n_samples", n_samples)
        check_integer("n_steps", n_steps)
        key, backend = self._next_key(random_state), self._backend()
        view = self._view()
        model = Model(*view.parameters, *view.units)
        if temperature != 1:
            model = self.model_.at_temperature(temperature).as_bernoulli()[0]
        parameters, units = model.parameters, model.units
        held = Clamp.of(clamp, n_samples, self.units[0], parameters.weights, self._scale().sigma)
        if init is None:
            # spins, which are bits here, of mean 0
            nothing = np.full(
                (n_samples, len(parameters.weights)), 0.5 * (self.units[1] == "ising"), parameters.weights.dtype
            )
            visible = backend.samples(
                units[0], nothing, parameters.weights, parameters.visible_bias, key.at(0, Stream.START), transpose=True
            )
        else:
            visible = self._start(init, n_samples, key, backend)
        visible = held(visible)
        state = Gibbs().init_from_visible(visible, parameters, units, key.seed, backend)
        if held.nothing:
            # pieces of a run are the run, bit for bit, as every draw is addressed by its step
            piece = n_steps if progress is None else -(-n_steps // _PIECES)
            for first in range(0, n_steps, piece):
                sampler = Gibbs(min(piece, n_steps - first))
                drawn = sampler.step(state, parameters, units, key.seed, backend)
                if progress is not None:
                    progress(first + sampler.n_steps, n_steps)
            return self._visible_table(self._drawn_visible(drawn), init)
        hidden: Any = state.chains
        for step in range(state.step, state.step + n_steps):
            at = key.at(step, Stream.VISIBLE)
            visible = held(
                backend.samples(units[0], hidden, parameters.weights, parameters.visible_bias, at, transpose=True)
            )
            at = at._replace(stream=Stream.HIDDEN)
            hidden = backend.samples(units[1], visible, parameters.weights, parameters.hidden_bias, at)
            if progress is not None:
                progress(step + 1 - state.step, n_steps)
        return self._visible_table(self._drawn_visible(visible), init)

    def _start(self, init: Any, n_samples: int, key: Key, backend: Backend) -> States:
        data = self._data(init)
        if data.shape[0] != n_samples:
            raise ValueError(f"init must have n_samples={n_samples} rows, got {data.shape[0]}")
        parts: list[States] = []
        for rows, states in data.slices():
            states = on_host(states)
            if not isinstance(states, PackedBits) and self.units[0] in BIT_UNITS:
                states = backend.draw_bits(states, key.at(0, Stream.START, rows.start))
            parts.append(states)
        return join_rows(parts)


def _check_values(values: NDArray[Any], what: str, remedy: str = "") -> None:
    """Raise `DivergenceError` for real values of units that are not finite."""
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise DivergenceError(
            f"{what} ran away: values of real units became infinite, as they do where a model has no likelihood "
            "(weights between two real-valued layers that are too large) or weights are huge. Train with a smaller "
            f"learning_rate or with regularizers=L2(...){remedy}"
        )


def _shown_means(means: NDArray[Any], unit: str) -> NDArray[Any]:
    """Means of bits as those of spins."""
    return 2 * means - 1 if unit == "ising" else means
