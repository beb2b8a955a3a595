"""Deep Boltzmann machines: layers one over the other, all undirected."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from .._checks import check_flag, check_integer, check_number, is_integer
from .._data.bits import VisibleData
from .._data.columns import means
from .._data.split import Split
from .._estimator.attributes import columns_of, number_of, set_columns
from .._estimator.files import Form, StoredParts
from .._estimator.restoring import numbers_of, parameters_of
from .._estimator.untouched import untouched
from .._fit.loop import DivergenceError
from .._kernels import Backend, Parameters, as_dense, get_backend
from .._kernels.datatypes import FLOAT_TYPES, are_usable, check_float_type
from .._kernels.draws import Key, Stream
from .._kernels.rules import Update
from ..classifiers._inputs import visible_rows
from ..init import data_bias
from ..likelihood import LogPartition, log_partition
from ..model import Model
from ..optimizers import get_optimizer
from ..schedules import check_scheduled, is_schedule, value_at
from . import _boltzmann

#: numbers of the streams of draws
_CHAINS, _ROWS, _SAMPLES = 1 << 20, 1 << 21, 1 << 22


class DeepBoltzmannMachine(StoredParts, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Boltzmann machine of a visible layer and two or more hidden ones, of Bernoulli units.

    -E(v, h1, h2, ...) = h1^T W1 v + h2^T W2 h1 + ... and the biases times the states. Unlike in a `DeepBeliefNetwork`
    layers above have their say in what a layer makes of a row.

    Parameters
    ----------
    layers : sequence of int, default=(500, 500)
        Hidden units of each layer, lowest first; at least two layers.
    n_iter : int, default=20
        Passes over the data, after those of `pretrain_iter`.
    learning_rate : float or schedule, default=0.01
    batch_size : int, default=100
    optimizer : str or Optimizer, default="sgd"
    n_chains : int, default=100
        Persistent chains of the negative phase.
    n_gibbs_steps : int, default=5
        Steps of the chains for each minibatch; a step draws all odd layers, then all even ones.
    n_mean_field : int, default=10
        Passes over the hidden layers by which means given a row are found.
    pretrain_iter : int, default=10
        Passes by which each layer is trained on the one below before, by CD-1; 0 for none. Weights count twice where a
        layer will have another neighbour.
    pretrain_rate : float, default=0.05
        Learning rate of these.
    random_state : int, RandomState, Generator or None, default=None
    out_of_range : {"warn", "error", "allow"}, default="warn"
        What is done with values outside [0, 1]; see `fastrbm.BernoulliRBM`.
    n_threads : int or None, default=None
        None for all processors. Results do not depend on it.
    dtype : numpy.float32, numpy.float64 or None, default=None
        None for single precision.

    Attributes
    ----------
    weights_ : list of ndarray
        ``weights_[k]`` of shape (n_units of layer k + 1, n_units of layer k); layer 0 is the visible one.
    biases_ : list of ndarray
        Of all layers, the visible one first.
    n_iter_ : int
        Passes that were done, without those of the layers alone.
    n_features_in_, feature_names_in_
        As in scikit-learn.

    References
    ----------
    Salakhutdinov, Hinton, "Deep Boltzmann machines", AISTATS 2009.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm.deep import DeepBoltzmannMachine
    >>> X = np.random.default_rng(0).random((40, 6)) < 0.5
    >>> machine = DeepBoltzmannMachine([4, 3], random_state=0).fit(X)
    >>> machine.transform(X).shape, machine.transform(X, level=1).shape, machine.sample(5).shape
    ((40, 3), (40, 4), (5, 6))
    """

    input_scale_: float
    _joint: Parameters

    def __init__(
        self,
        layers: Any = (500, 500),
        *,
        n_iter: int = 20,
        learning_rate: Any = 0.01,
        batch_size: int = 100,
        optimizer: Any = "sgd",
        n_chains: int = 100,
        n_gibbs_steps: int = 5,
        n_mean_field: int = 10,
        pretrain_iter: int = 10,
        pretrain_rate: float = 0.05,
        random_state: Any = None,
        out_of_range: str = "warn",
        n_threads: int | None = None,
        dtype: Any = None,
    ):
        self.layers = layers
        self.n_iter = n_iter
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.optimizer = optimizer
        self.n_chains = n_chains
        self.n_gibbs_steps = n_gibbs_steps
        self.n_mean_field = n_mean_field
        self.pretrain_iter = pretrain_iter
        self.pretrain_rate = pretrain_rate
        self.random_state = random_state
        self.out_of_range = out_of_range
        self.n_threads = n_threads
        self.dtype = dtype

    def _check_options(self) -> None:
        """Raise for options that cannot be used, whatever the data are."""
        if not isinstance(self.layers, (list, tuple, np.ndarray)) or not all(map(is_integer, self.layers)):
            raise TypeError(f"layers must be a list of numbers of units, lowest first, got {self.layers!r}")
        if len(self.layers) < 2 or min(self.layers) < 1:
            raise ValueError(
                f"layers must be two or more widths of at least 1, got {self.layers!r}: take a BernoulliRBM for one"
            )
        for name, low in (("batch_size", 1), ("n_chains", 1), ("n_gibbs_steps", 1), ("n_mean_field", 1)):
            check_integer(name, getattr(self, name), low)
        for name in ("n_iter", "pretrain_iter"):
            check_integer(name, getattr(self, name), 0)
        check_number("pretrain_rate", self.pretrain_rate, 0, include_low=False)
        check_scheduled("learning_rate", self.learning_rate)
        if not is_schedule(self.learning_rate):
            check_number("learning_rate", self.learning_rate, 0, include_low=False)
        if self.out_of_range not in ("warn", "error", "allow"):
            raise ValueError(f"out_of_range must be 'warn', 'error' or 'allow', got {self.out_of_range!r}")
        check_float_type(self.dtype)
        Key.check(self.random_state)
        get_optimizer(self.optimizer).validate()
        self._backend()

    def _backend(self) -> Backend:
        return get_backend("cpu", self.n_threads)

    # -- training ---------------------------------------------------------------------------------------------

    def fit(self, X: Any, y: Any = None) -> DeepBoltzmannMachine:
        """Train the layers one after the other, then all at once.

        The gradient of the variational bound is estimated: the positive phase is a mean field, the negative one has
        chains that persist.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            In [0, 1]; uint8 images are divided by 255.
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            For unusable options or rows. The estimator is then what it was before the call.
        fastrbm.DivergenceError
            If parameters become infinite or NaN. The estimator is then what it was before the call, too.
        """
        self._check_options()
        with untouched(self):
            data = visible_rows(self, X, reset=True)
            key = Key.from_random_state(self.random_state)
            sizes = (data.shape[1], *map(int, self.layers))
            with np.errstate(over="ignore", invalid="ignore"):
                parameters = self._start(data, sizes, key)
                self._ascend(parameters, data, sizes, key)
            self._show(sizes, parameters)
            self.n_iter_, self._key, self._calls = self.n_iter, key, 0
        return self

    def _start(self, data: VisibleData, sizes: tuple[int, ...], key: Key) -> Parameters:
        """Parameters that the layers have alone."""
        backend, found = self._backend(), []
        bias: NDArray[Any] = data_bias(np.clip(means(data, Split(data.shape[0]), None), 0, 1))
        rows, top = data, len(sizes) - 2
        for k in range(top + 1):
            doubled = (1.0 if k == top else 2.0, 2.0 if k else 1.0)
            how = (key.fold_in(k), self.pretrain_rate, self.pretrain_iter, self.batch_size)
            found.append(_boltzmann.greedy_layer(backend, rows, bias, sizes[k + 1], doubled, *how))
            _check_finite(found[-1], f"layer {k + 1}, trained alone", "pretrain_rate")
            weights, _, bias = found[-1]
            if k < top:
                above = [
                    backend.means("bernoulli", part, weights * weights.dtype.type(2), bias) for _, part in rows.slices()
                ]
                rows = VisibleData(np.concatenate(above), 1.0, data.dtype, n_threads=self.n_threads)
        biases = [found[0].visible_bias, *(one.hidden_bias for one in found)]
        return _boltzmann.joined(sizes, [one.weights for one in found], biases, data.dtype)

    def _ascend(self, parameters: Parameters, data: VisibleData, sizes: tuple[int, ...], key: Key) -> None:
        """Change parameters in place by all passes."""
        backend, optimizer = self._backend(), get_optimizer(self.optimizer)
        slots = [Parameters(*map(np.zeros_like, parameters)) for _ in range(optimizer.n_slots())]
        joins = _boltzmann.neighbours(sizes, data.dtype)
        of_chains, of_rows = key.fold_in(_CHAINS), key.fold_in(_ROWS)
        chains, step, done = self._first_states(self.n_chains, parameters, of_chains), 0, 0
        for n_pass in range(self.n_iter):
            rate = value_at("learning_rate", self.learning_rate, n_pass, self.n_iter, 0)
            update = Update(optimizer.rule(), rate, optimizer.momentum_at(n_pass, self.n_iter))
            for v in _boltzmann.minibatches(data, of_rows, n_pass, self.batch_size):
                chains, _ = _boltzmann.gibbs(backend, parameters, chains, of_chains, step, self.n_gibbs_steps)
                gradient = _boltzmann.contrast(backend, parameters, v, chains, joins, self.n_mean_field)
                backend.ascend(parameters, slots, gradient, update._replace(done=done))
                step, done = step + self.n_gibbs_steps, done + 1
            _check_finite(parameters, f"pass {n_pass + 1}", "learning_rate")

    def _first_states(self, n: int, parameters: Parameters, key: Key) -> Any:
        """Even layers at random."""
        half = np.full((n, len(parameters.visible_bias)), 0.5, parameters.weights.dtype)
        return self._backend().draw_bits(half, key.at(0, Stream.START))

    def _show(self, sizes: tuple[int, ...], parameters: Parameters) -> None:
        self._joint, self._sizes = parameters, sizes

    @property
    def weights_(self) -> list[NDArray[Any]]:
        """Weights between layers (copies)."""
        check_is_fitted(self)
        return [x.copy() for x in _boltzmann.split(self._sizes, self._joint)[0]]

    @property
    def biases_(self) -> list[NDArray[Any]]:
        """Biases of layers (copies)."""
        check_is_fitted(self)
        return [x.copy() for x in _boltzmann.split(self._sizes, self._joint)[1]]

    # -- what a fitted machine says ---------------------------------------------------------------------------

    def _fields(self, X: Any) -> tuple[NDArray[Any], NDArray[Any], Any]:
        """Means of even and odd layers given rows, and the type of results."""
        check_is_fitted(self)
        data, backend, dtype = visible_rows(self, X, reset=False), self._backend(), self._joint.weights.dtype
        found = []
        for _, part in data.slices():
            v = as_dense(part, dtype)
            found.append(_boltzmann.mean_field(backend, self._joint, v, self.n_mean_field))
        given = np.dtype(data.given_dtype).newbyteorder("=")
        wanted = given if given in FLOAT_TYPES else dtype if given in (np.uint8, np.bool_) else np.dtype(np.float64)
        even, odd = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return even, odd, wanted

    def transform(self, X: Any, level: int | None = None) -> NDArray[Any]:
        """Compute means of a hidden layer given rows, by mean field.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        level : int or None, default=None
            1 for the lowest hidden layer; None for the top one.

        Returns
        -------
        ndarray, shape (n_samples, n_units of that layer)
        """
        even, odd, dtype = self._fields(X)
        top = len(self._sizes) - 1
        level = top if level is None else check_integer("level", level, 1, top)
        layer = (odd if level % 2 else even)[:, _boltzmann.place(self._sizes, level)]
        return np.ascontiguousarray(layer, dtype=dtype)

    def reconstruct(self, X: Any) -> NDArray[Any]:
        """Compute means of the visible layer given those of the hidden ones.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray, shape (n_samples, n_features)
            In [0, 1].
        """
        _, odd, dtype = self._fields(X)
        return self._visible(odd).astype(dtype, copy=False)

    def _visible(self, odd: Any) -> NDArray[Any]:
        weights, bias, _ = self._joint
        n = self._sizes[0]
        of_visible = np.ascontiguousarray(weights[:, :n]), np.ascontiguousarray(bias[:n])
        return self._backend().means("bernoulli", odd, *of_visible, transpose=True)

    def sample(
        self, n_samples: int = 1, n_steps: int = 1000, *, means: bool = False, random_state: Any = None
    ) -> NDArray[Any]:
        """Draw rows by chains that start at random.

        Parameters
        ----------
        n_samples : int, default=1
            Independent chains, one sample each.
        n_steps : int, default=1000
            Gibbs steps.
        means : bool, default=False
            Return the means of the visible units given the layer above in the place of states.
        random_state : int, RandomState, Generator or None
            None goes on with the estimator's own draws, so repeated calls differ.

        Returns
        -------
        ndarray of bool, shape (n_samples, n_features), or of floats with `means`
        """
        check_is_fitted(self)
        check_integer("n_samples", n_samples)
        check_integer("n_steps", n_steps)
        check_flag("means", means)
        Key.check(random_state)
        if random_state is None:
            self._calls += 1
            key = self._key.fold_in(_SAMPLES + self._calls)
        else:
            key = Key.from_random_state(random_state)
        start = self._first_states(n_samples, self._joint, key)
        even, odd = _boltzmann.gibbs(self._backend(), self._joint, start, key, 0, n_steps)
        return self._visible(odd) if means else as_dense(even, np.float32)[:, : self._sizes[0]] > 0

    @property
    def model_(self) -> Model:
        """The machine as a restricted one: layers 0, 2, ... are its visible layer, layers 1, 3, ... its hidden one.

        All of `fastrbm.likelihood`, `fastrbm.samplers` and `fastrbm.plot` takes it.
        """
        check_is_fitted(self)
        return Model(*self._joint.copy(), "bernoulli", "bernoulli")

    def log_partition(self, method: str = "auto", **options: Any) -> LogPartition:
        """Find log Z; see `fastrbm.likelihood.log_partition`, whose options are taken."""
        return log_partition(self.model_, method, **options)

    def score_samples(self, X: Any, *, log_z: Any = None) -> NDArray[np.float64]:
        """Compute the variational lower bound on log p(v) of rows, in nats.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        log_z : float, LogPartition or None
            Known log Z. None finds it by `log_partition`, by annealing where it cannot be listed.

        Returns
        -------
        ndarray of float64, shape (n_samples,)
            E[-E(v, h)] + H of the mean field - log Z.

        Raises
        ------
        ValueError
            For rows that are no states.
        """
        even, _, _ = self._fields(X)
        v = even[:, : self._sizes[0]]
        if not ((v == 0) | (v == 1)).all():
            raise ValueError(
                "X must be zeros and ones to have a bound, got others: fastrbm.datasets.binarize draws some"
            )
        log_z = self.log_partition() if log_z is None else log_z
        # the odd layers' own terms add up to a free energy, as their means are the best ones given the even layers
        joint = Parameters(*(x.astype(np.float64) for x in self._joint))
        bound = -self._backend().free_energy("bernoulli", even.astype(np.float64), joint)
        above = even[:, self._sizes[0] :].astype(np.float64)
        return bound + (entr(above) + entr(1 - above)).sum(axis=1) - float(log_z)

    def score(self, X: Any, y: Any = None) -> float:
        """Compute the mean of `score_samples`; `y` is ignored."""
        return float(self.score_samples(X).mean())

    # -- files ------------------------------------------------------------------------------------------------

    def _fitted_parts(self) -> dict[str, Any]:
        return {}

    def _own_form(self) -> Form:
        check_is_fitted(self)
        own = {"seed": self._key.seed, "calls": self._calls, "n_iter": self.n_iter_, "input_scale": self.input_scale_}
        names = ("components_", "intercept_visible_", "intercept_hidden_")
        return own | columns_of(self) | {"sizes": self._sizes}, dict(zip(names, self._joint, strict=True))

    def _put_together(self, parts: dict[str, Any], own: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
        set_columns(self, own)
        parameters, sizes = parameters_of(arrays, ("bernoulli", "bernoulli")), tuple(map(int, own["sizes"]))
        shape = (sum(sizes[1::2]), sum(sizes[::2]))
        if len(sizes) < 3 or min(sizes) < 1 or sizes[0] != self.n_features_in_ or parameters.weights.shape != shape:
            raise ValueError(f"weights must be those of layers of {sizes} units, got {parameters.weights.shape}")
        if parameters.weights[_boltzmann.neighbours(sizes, np.float64) == 0].any():
            raise ValueError("weights must be 0 between layers that are no neighbours")
        numbers = numbers_of(own, ("seed", "calls", "n_iter"))
        self._show(sizes, parameters)
        self.input_scale_ = number_of(own, "input_scale", np.finfo(float).tiny, 1.0)
        self._key, self._calls, self.n_iter_ = Key(numbers["seed"]), numbers["calls"], numbers["n_iter"]

    @property
    def _n_features_out(self) -> int:
        return self._sizes[-1]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _check_finite(parameters: Parameters, when: str, option: str) -> None:
    if not are_usable(parameters):
        raise DivergenceError(f"parameters became infinite, NaN or too large to add up in {when}: lower {option}")
