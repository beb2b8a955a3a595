"""scikit-learn estimators."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from ._files import write
from ._kernels import ChainState, PackedBits, Parameters
from ._random import Key, Stream
from ._scores import ScoredRBM
from .optimizers import SGD
from .samplers import Gibbs
from .samplers.clamp import clamp_masks, hold


class BernoulliRBM(ScoredRBM):
    """Bernoulli restricted Boltzmann machine; takes the place of scikit-learn's.

    Binary visible and hidden units, trained by contrastive divergence or by persistent chains. Values of X in [0, 1]
    are read as probabilities that a visible unit is on.

    Parameters
    ----------
    n_components : int, default=256
        Hidden units.
    learning_rate : float, default=0.1
        Step along the mean gradient of a minibatch.
    batch_size : int, default=10
        Rows of a minibatch. Larger ones (64 and more) use the processor far better.
    n_iter : int, default=10
        Passes over the data.
    verbose : int, default=0
        Non-zero prints a line after each pass, with the mean pseudo-likelihood of X.
    random_state : int, RandomState, Generator or None, default=None
        Seed of the draws. Results are the same bits for any number of threads, any instruction set and any division
        of the work.
    algorithm : {"pcd", "cd", "exact"}, default="pcd"
        Persistent contrastive divergence (stochastic maximum likelihood), contrastive divergence, or the exact
        gradient of the log-likelihood by listing the states of the smaller layer (20 units at most), the yardstick of
        the others.
    n_gibbs_steps : int, default=1
        Gibbs sweeps per minibatch, the k of CD-k and PCD-k.
    strategy : {"auto", "dense", "delta", "bounds", "lcd", "lowbit"}, default="auto"
        How layers are drawn whose states alone are wanted (`sample`, `sample_hidden`, `gibbs`, the sweeps of CD-k
        before the last): with whole products or lean ones. The states are the same, bit for bit; "auto" takes what
        was measured to be fastest. `fastrbm.count_work` tells what was spared. float32 on the CPU only.
    precision : {"full", "fast"}, default="full"
        "fast" rounds the weights to 16 bits in the products of `fit`, `transform`, `sample` and their like (not in the
        gradient, scores and free energies): approximate, faster with AVX-512, the same bits on every instruction
        set. Weights whose sums reach 512 are used in full. float32 on the CPU only.
    hidden_statistics : {"mean", "sampled"}, default="mean"
        What the gradient takes of the hidden layer: its means, as scikit-learn does, or states drawn from them,
        which is noisier and cheaper (counting bits instead of adding means).
    n_chains : int or None, default=None
        Persistent chains; None for `batch_size`.
    optimizer : "sgd" or SGD, default="sgd"
        ``fastrbm.SGD(momentum=0.9)`` for momentum.
    regularizers : sequence, default=()
        ``fastrbm.L2(strength)`` for weight decay.
    random_stream : {"philox", "sklearn"}, default="philox"
        "sklearn" consumes NumPy's draws in scikit-learn's order and reproduces its fit to rounding (with
        ``shuffle=False``); slower, for checks and migration.
    stochastic_input : bool, default=False
        Draw v ~ Bernoulli(x) anew each time a grey row is used.
    shuffle : bool, default=True
        New order of the rows in each pass.
    warm_start : bool, default=False
        `fit` goes on where the last one stopped, for `n_iter` further passes: the same bits as one longer fit.
    validation_fraction : float, default=0.0
        Share of the rows that is held out, always the same ones for a seed, and scored after each pass in `history_`:
        "validation_log_likelihood" (exact or annealed, see `fastrbm.callbacks.LogLikelihood`) of binary rows,
        "free_energy_gap" of others, or what `early_stopping` names.
    early_stopping : bool or {"log_likelihood", "pseudo_likelihood", "free_energy_gap"}, default=False
        Stop when the score of the held-out rows has not got better for `n_iter_no_change` passes, and put the best
        parameters back. Needs `validation_fraction`.
    n_iter_no_change : int, default=5
        Passes without a gain before `early_stopping` ends the fit.
    tol : float, default=0.0
        Gain that counts, in nats.
    scoring : {"pseudo_likelihood", "log_likelihood"}, default="pseudo_likelihood"
        What `score` returns.
    callbacks : sequence, default=()
        `fastrbm.callbacks.Callback` objects or functions of the run, called after each pass.
    device : {"auto", "cpu", "reference"}, default="auto"
        Kernels: native CPU, or plain NumPy.
    n_threads : int or None, default=None
        Threads; None for what OpenMP would use. Small problems use fewer.
    dtype : numpy.float32, numpy.float64 or None, default=None
        Type of parameters and arithmetic; None is float32 whatever the type of X.
    out_of_range : {"error", "allow"}, default="error"
        Whether values of X outside [0, 1] raise or are used as they are, as scikit-learn does.

    Attributes
    ----------
    components_ : ndarray, shape (n_components, n_features)
        Weights.
    intercept_hidden_ : ndarray, shape (n_components,)
        Biases of the hidden units.
    intercept_visible_ : ndarray, shape (n_features,)
        Biases of the visible units.
    h_samples_ : ndarray, shape (n_chains, n_components)
        Hidden states of the persistent chains ("pcd" only).
    input_scale_ : float
        What uint8 values are multiplied with: 1, or 1/255 when the first data had values above 1.
    n_iter_ : int
        Passes finished.
    best_iteration_ : int
        The pass whose parameters `early_stopping` kept.
    history_ : dict of list
        One entry per pass: "epoch", "seconds", and what callbacks recorded.
    n_features_in_, feature_names_in_
        As in scikit-learn.

    See Also
    --------
    fastrbm.compat.BernoulliRBM : The same with scikit-learn's draws and tolerance as defaults.

    References
    ----------
    Hinton, "Training products of experts by minimizing contrastive divergence", Neural Computation 14 (2002).
    Tieleman, "Training restricted Boltzmann machines using approximations to the likelihood gradient", ICML 2008.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm import BernoulliRBM
    >>> X = np.array([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 1]])
    >>> BernoulliRBM(n_components=2, random_state=0).fit(X).transform(X).shape
    (4, 2)
    """

    units = ("bernoulli", "bernoulli")

    def __init__(
        self,
        n_components: int = 256,
        *,
        learning_rate: float = 0.1,
        batch_size: int = 10,
        n_iter: int = 10,
        verbose: int = 0,
        random_state: Any = None,
        algorithm: str = "pcd",
        n_gibbs_steps: int = 1,
        n_chains: int | None = None,
        strategy: str = "auto",
        precision: str = "full",
        hidden_statistics: str = "mean",
        optimizer: str | SGD = "sgd",
        regularizers: Any = (),
        random_stream: str = "philox",
        stochastic_input: bool = False,
        shuffle: bool = True,
        warm_start: bool = False,
        validation_fraction: float = 0.0,
        early_stopping: bool | str = False,
        n_iter_no_change: int = 5,
        tol: float = 0.0,
        scoring: str = "pseudo_likelihood",
        callbacks: Any = (),
        device: str = "auto",
        n_threads: int | None = None,
        dtype: Any = None,
        out_of_range: str = "error",
    ):
        self.n_components = n_components
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.n_iter = n_iter
        self.verbose = verbose
        self.random_state = random_state
        self.algorithm = algorithm
        self.n_gibbs_steps = n_gibbs_steps
        self.n_chains = n_chains
        self.strategy = strategy
        self.precision = precision
        self.hidden_statistics = hidden_statistics
        self.optimizer = optimizer
        self.regularizers = regularizers
        self.random_stream = random_stream
        self.stochastic_input = stochastic_input
        self.shuffle = shuffle
        self.warm_start = warm_start
        self.validation_fraction = validation_fraction
        self.early_stopping = early_stopping
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.scoring = scoring
        self.callbacks = callbacks
        self.device = device
        self.n_threads = n_threads
        self.dtype = dtype
        self.out_of_range = out_of_range

    # -- features and scores --------------------------------------------------------------------------------

    def transform(self, X: Any) -> NDArray[Any]:
        """Hidden means p(h=1 | v=X).

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray, shape (n_samples, n_components)
            Of the float type of X; of the computing type for uint8 and bool; else float64.
        """
        data = self._data(X)
        parameters, backend = self._parameters(), self._backend()
        dtype = self._output_dtype(X)
        out: NDArray[Any] | None = None
        for rows, states in data.slices():
            means = backend.means(self.units[1], states, parameters.weights, parameters.hidden_bias)
            if out is None and len(means) == data.shape[0]:
                return means.astype(dtype, copy=False)
            if out is None:
                out = np.empty((data.shape[0], means.shape[1]), dtype=dtype)
            out[rows] = means
        assert out is not None
        return out

    def reconstruct(self, X: Any) -> NDArray[Any]:
        """Mean-field reconstruction: visible means given the hidden means of X, shape of X, dtype as `transform`."""
        data = self._data(X)
        parameters, backend = self._parameters(), self._backend()
        parts = [self._reconstructed(states, parameters, backend) for _, states in data.slices()]
        return np.concatenate(parts).astype(self._output_dtype(X), copy=False)

    def reconstruction_error(self, X: Any) -> float:
        """Mean squared difference between X (scaled to [0, 1]) and `reconstruct`, over rows and features."""
        data = self._data(X)
        parameters, backend = self._parameters(), self._backend()
        total = 0.0
        for _, states in data.slices():
            v = states.dense(np.float32) if isinstance(states, PackedBits) else states
            total += float(np.square(v - self._reconstructed(states, parameters, backend), dtype=np.float64).sum())
        return total / (data.shape[0] * data.shape[1])

    def _reconstructed(self, states: Any, parameters: Parameters, backend: Any) -> NDArray[Any]:
        means = backend.means(self.units[1], states, parameters.weights, parameters.hidden_bias)
        return backend.means(self.units[0], means, parameters.weights, parameters.visible_bias, transpose=True)

    # -- sampling -------------------------------------------------------------------------------------------

    def sample_hidden(self, X: Any, *, random_state: Any = None) -> NDArray[np.bool_]:
        """Hidden states drawn from p(h | v=X): binary features.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        random_state : int, RandomState, Generator or None
            None goes on with the estimator's own stream, so repeated calls differ.

        Returns
        -------
        ndarray of bool, shape (n_samples, n_components)
        """
        data = self._data(X)
        parameters, backend, key = self._parameters(), self._backend(), self._next_key(random_state)
        parts = [
            backend.samples(
                self.units[1], states, parameters.weights, parameters.hidden_bias,
                key.at(0, Stream.HIDDEN, rows.start),
            ).dense()
            for rows, states in data.slices()
        ]  # fmt: skip
        return np.concatenate(parts)

    def gibbs(self, v: Any) -> NDArray[np.bool_]:
        """One Gibbs step: h ~ p(h | v), then v ~ p(v | h).

        Parameters
        ----------
        v : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of bool, shape (n_samples, n_features)
        """
        check_is_fitted(self)
        if self.random_stream == "sklearn":
            if not hasattr(self, "random_state_"):
                self.random_state_ = check_random_state(self.random_state)
            return self._sample_visibles(self._sample_hiddens(v, self.random_state_), self.random_state_)
        data = self._data(v)
        parameters, backend, key = self._parameters(), self._backend(), self._next_key()
        parts = []
        for rows, states in data.slices():
            draw = key.at(0, Stream.HIDDEN, rows.start)
            h = backend.samples(self.units[1], states, parameters.weights, parameters.hidden_bias, draw)
            draw = draw._replace(stream=Stream.VISIBLE)
            parts.append(
                backend.samples(
                    self.units[0], h, parameters.weights, parameters.visible_bias, draw, transpose=True
                ).dense()
            )
        return np.concatenate(parts)

    def sample(
        self,
        n_samples: int = 1,
        n_steps: int = 1000,
        *,
        init: Any = None,
        temperature: float = 1.0,
        clamp: ArrayLike | None = None,
        random_state: Any = None,
    ) -> NDArray[np.bool_]:
        """States of the visible layer after a Gibbs run.

        Parameters
        ----------
        n_samples : int, default=1
            Independent chains, one sample each.
        n_steps : int, default=1000
            Gibbs steps. Chains forget their start slowly; look at several lengths.
        init : {array-like, sparse matrix} of shape (n_samples, n_features) or None
            Start; None draws each unit with its bias alone.
        temperature : float, default=1.0
            The energy is divided by it.
        clamp : array-like of shape (n_features,) or (n_samples, n_features), or None
            0 and 1 hold a unit fixed, NaN leaves it free.
        random_state : int, RandomState, Generator or None
            None goes on with the estimator's own stream, so repeated calls differ.

        Returns
        -------
        ndarray of bool, shape (n_samples, n_features)
        """
        check_is_fitted(self)
        _check_count("n_samples", n_samples)
        _check_count("n_steps", n_steps)
        key, backend = self._next_key(random_state), self._backend()
        n_features = self.components_.shape[1]
        parameters = self.model_.at_temperature(temperature).parameters
        held = clamp_masks(clamp, n_samples, n_features)
        if init is None:
            bias = expit(np.tile(parameters.visible_bias.astype(np.float32), (n_samples, 1)))
            visible = backend.draw_bits(bias, key.at(0, Stream.START))
        else:
            visible = self._start(init, n_samples, key, backend)
        visible = hold(visible, held)
        sampler = Gibbs(n_steps if held is None else 1)
        state = sampler.init_from_visible(visible, parameters, self.units, key.seed, backend)
        if held is None:
            return sampler.step(state, parameters, self.units, key.seed, backend).dense()
        for _ in range(n_steps):
            assert state.chains is not None
            at = key.at(state.step, Stream.VISIBLE)
            visible = backend.samples(
                self.units[0], state.chains, parameters.weights, parameters.visible_bias, at, transpose=True
            )
            visible = hold(visible, held)
            at = at._replace(stream=Stream.HIDDEN)
            hidden = backend.samples(self.units[1], visible, parameters.weights, parameters.hidden_bias, at)
            state = ChainState(state.step + 1, hidden)
        return visible.dense()

    def _start(self, init: Any, n_samples: int, key: Key, backend: Any) -> PackedBits:
        data = self._data(init)
        if data.shape[0] != n_samples:
            raise ValueError(f"init must have n_samples={n_samples} rows, got {data.shape[0]}")
        parts = []
        for rows, states in data.slices():
            if not isinstance(states, PackedBits):
                states = backend.draw_bits(states, key.at(0, Stream.START, rows.start))
            parts.append(states.words)
        return PackedBits(np.concatenate(parts), data.shape[1])

    # -- names that scikit-learn's own tests call -----------------------------------------------------------

    def _mean_hiddens(self, v: Any) -> NDArray[Any]:
        v = np.atleast_2d(v) if not sp.issparse(v) else v
        out = self.transform(v)
        return out[0] if out.shape[0] == 1 and not sp.issparse(v) and v.shape[0] == 1 else out

    def _sample_hiddens(self, v: Any, rng: Any) -> NDArray[np.bool_]:
        p = self._mean_hiddens(v)
        return rng.uniform(size=p.shape) < p

    def _sample_visibles(self, h: Any, rng: Any) -> NDArray[np.bool_]:
        weights, bias, _ = self._parameters()
        p = self._backend().means(self.units[0], np.ascontiguousarray(h, weights.dtype), weights, bias, transpose=True)
        return rng.uniform(size=p.shape) < p

    def _free_energy(self, v: Any) -> NDArray[np.float64]:
        return self.free_energy(v)

    # -- files ----------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a model file: parameters, options, history, and what `warm_start` needs to go on bit for bit.

        Parameters
        ----------
        path : path-like
            Written as named, usually ``*.npz``. Callbacks and a ``random_state`` that is no integer are not stored.

        Returns
        -------
        pathlib.Path
        """
        return write(self, path)


def _check_count(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name} must be a positive integer, got {value!r}")
