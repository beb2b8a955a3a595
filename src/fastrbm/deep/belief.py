"""Deep belief networks: machines one over the other, each trained on the features of the one below."""

from __future__ import annotations

import hashlib
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from .._checks import check_flag, check_integer
from .._estimator.attributes import columns_of, set_columns
from .._estimator.files import Form, StoredParts
from .._estimator.untouched import untouched
from .._kernels.draws import Key, Stream, philox4x32, split_seed
from ..classifiers import _parts
from ..likelihood import LogPartition
from . import _stack

#: numbers of the streams of seeds, after those of the machines
_SAMPLES, _BOUND = 1 << 20, 1 << 21


class DeepBeliefNetwork(StoredParts, _parts.Parts, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Stack of restricted Boltzmann machines, each trained on the hidden means of the one below.

    The two top layers are a machine; those below are directed, p(v, h1, ...) = p(v | h1) p(h1 | h2) ... p(top).

    Parameters
    ----------
    layers : sequence of int and estimators of fastrbm, default=(500, 500)
        Lowest first. Copies of estimators are fitted; a width stands for a copy of `rbm` with so many hidden units.
    rbm : estimator of fastrbm or None, default=None
        What widths stand for; upper ones only where its visible units are Bernoulli. None takes a `BernoulliRBM`
        (CD-1, 10 passes, grey rows drawn anew in each pass), and a ``GaussianRBM(sigma="data")`` for the lowest layer
        where values of X are outside [0, 1]. Its options are there for searches, as ``rbm__n_iter``; for None they are
        those of the `BernoulliRBM`.
    tied : bool, default=False
        Whether a machine with as many hidden units as the one below has visible ones, of the same types, starts as
        that one upside down. The stack is then as likely as the machine below when its training starts, and what it
        gains is a gain of the bound on log p(v).
    random_state : int, RandomState, Generator or None, default=None
        Seed of the machines and of draws. None leaves machines to their own ``random_state``.

    Attributes
    ----------
    rbms_ : list of estimators
        The fitted machines, lowest first.
    n_features_in_, feature_names_in_
        As in scikit-learn.

    See Also
    --------
    DBNClassifier, DBNAutoencoder : Networks that start from a stack.

    References
    ----------
    Hinton, Osindero, Teh, "A fast learning algorithm for deep belief nets", Neural Computation 18 (2006).

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm.deep import DeepBeliefNetwork
    >>> X = np.random.default_rng(0).random((40, 6)) < 0.5
    >>> dbn = DeepBeliefNetwork([4, 3], random_state=0).fit(X)
    >>> dbn.transform(X).shape, dbn.transform(X, level=1).shape, dbn.sample(5).shape
    ((40, 3), (40, 4), (5, 6))
    """

    def __init__(self, layers: Any = (500, 500), *, rbm: Any = None, tied: bool = False, random_state: Any = None):
        self.layers = layers
        self.rbm = rbm
        self.tied = tied
        self.random_state = random_state

    def _default(self, grey: bool = True) -> Any:
        return _stack.default_rbm() if grey else _stack.default_gaussian_rbm()

    def _check_options(self) -> None:
        _stack.check_layers(self.layers, self.rbm)
        check_flag("tied", self.tied)
        Key.check(self.random_state)

    def machines(self, X: Any) -> list[Any]:
        """Make the unfitted machines that `fit` would take for rows.

        Parameters
        ----------
        X : ndarray or sparse matrix, shape (n_samples, n_features)

        Returns
        -------
        list of estimators
        """
        self._check_options()
        return _stack.machines(self.layers, self.rbm, X)

    def fit(self, X: Any, y: Any = None) -> DeepBeliefNetwork:
        """Fit the machines, lowest first.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            What the lowest machine takes, in one table.
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            For unusable options or rows. The estimator is then what it was before the call.
        fastrbm.DivergenceError
            If the parameters of a machine become infinite or NaN.
        """
        self._check_options()
        with untouched(self):
            x = _parts.table_of(self, X, sparse=self._takes_sparse(), reset=True)
            self._check_made(x)
            stack = self.machines(x)
            key = Key.from_random_state(self.random_state)
            if self.random_state is not None:
                for k, rbm in enumerate(stack):
                    _parts.seeded(rbm, key, k)
            _stack.fit_stack(stack, x, tied=self.tied)
            self.rbms_, self._key, self._calls = stack, key, 0
        return self

    def transform(self, X: Any, level: int | None = None) -> NDArray[Any]:
        """Compute hidden means, each layer's given those of the one below.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        level : int or None, default=None
            1 for the lowest hidden layer; None for the top one.

        Returns
        -------
        ndarray, shape (n_samples, n_units of that layer)
        """
        rows = self._rows(X)
        level = len(self.rbms_) if level is None else check_integer("level", level, 1, len(self.rbms_))
        for rbm in self.rbms_[:level]:
            rows = rbm.transform(rows)
        return rows

    def _rows(self, X: Any) -> Any:
        check_is_fitted(self)
        return _parts.table_of(self, X, sparse=_parts.takes_sparse(self.rbms_[0]), reset=False)

    def reconstruct(self, X: Any) -> NDArray[Any]:
        """Reconstruct rows by means: up to the top layer and down again.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray, shape (n_samples, n_visible)
            In the scale of the data; images in [0, 1].
        """
        means = self.transform(X)
        for rbm in reversed(self.rbms_):
            means = _stack.visible_given(rbm, means, None)
        return means

    def sample(
        self, n_samples: int = 1, n_steps: int = 1000, *, means: bool = False, random_state: Any = None
    ) -> NDArray[Any]:
        """Draw rows: Gibbs steps of the top machine, then one pass down.

        Parameters
        ----------
        n_samples : int, default=1
            Independent chains, one sample each.
        n_steps : int, default=1000
            Gibbs steps of the top machine; see the `sample` of `fastrbm.BernoulliRBM`.
        means : bool, default=False
            Return the means of the visible units given the layer above in the place of states: nicer pictures.
        random_state : int, RandomState, Generator or None
            None goes on with the estimator's own draws, so repeated calls differ.

        Returns
        -------
        ndarray, shape (n_samples, n_visible)
        """
        check_is_fitted(self)
        check_flag("means", means)
        if random_state is None:
            key = self._key.fold_in(_SAMPLES + self._calls + 1)
        else:
            key = Key.from_random_state(random_state)
        top = self.rbms_[-1]
        states = top.sample(n_samples, n_steps, random_state=key)
        self._calls += random_state is None
        if means and len(self.rbms_) == 1:
            return top.reconstruct(states)
        for k in reversed(range(len(self.rbms_) - 1)):
            draw = None if means and not k else key.fold_in(k).at(0, Stream.VISIBLE)
            states = _stack.visible_given(self.rbms_[k], states, draw)
        return states

    # -- likelihood -----------------------------------------------------------------------------------------

    def log_partition(self, method: str = "auto", **options: Any) -> LogPartition:
        """Find the log partition sum of the top machine; see `fastrbm.likelihood.log_partition`.

        Parameters
        ----------
        method : str, default="auto"
        **options
            As of the `log_partition` of `fastrbm.BernoulliRBM`.

        Returns
        -------
        LogPartition
        """
        check_is_fitted(self)
        return self.rbms_[-1].log_partition(method, **options)

    def score_samples(self, X: Any, n_draws: int = 20, *, log_z: Any = None) -> NDArray[np.float64]:
        """Estimate the variational lower bound on log p(v) of rows, in nats.

        With F the free energy of a machine at its visible states, G that at its hidden ones (-log of the sum over
        visible states), and hidden states drawn upwards, h1 ~ p1(h | v), h2 ~ p2(h | h1) and so on, it is the mean of

            -F1(v) + G1(h1) - F2(h1) + G2(h2) - F3(h2) + ... - log Z of the top machine.

        This is the bound E[log p(v, h)] + H of these draws, with the entropy and the directed layer of a machine taken
        together. One machine has no draws: the value is log p(v).

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            States of the visible layer of the lowest machine: zeros and ones for Bernoulli units.
        n_draws : int, default=20
            Of the hidden states of each row. They depend on the seed and the row alone, so a row has the same score
            in any table.
        log_z : float, LogPartition or None
            Known log Z of the top machine. None finds it by `log_partition`, by annealing where it cannot be listed.

        Returns
        -------
        ndarray of float64, shape (n_samples,)

        Raises
        ------
        ValueError
            For rows that are no states.

        References
        ----------
        Hinton, Osindero, Teh, Neural Computation 18 (2006), equation 8.
        Salakhutdinov, Murray, "On the quantitative analysis of deep belief networks", ICML 2008, section 5.
        """
        x = self._rows(X)
        check_integer("n_draws", n_draws)
        bottom = self.rbms_[0].log_likelihood(x, log_z=0.0)
        if len(self.rbms_) == 1:
            return self.rbms_[0].log_likelihood(x, log_z=log_z)
        draws = _RowDraws(x, self._key.fold_in(_BOUND))
        total = np.zeros(len(bottom))
        first = self.rbms_[0].transform(x)
        states = first
        for number in range(n_draws):
            below, means = self.rbms_[0], first
            for k, rbm in enumerate(self.rbms_[1:]):
                states = draws.states(below.units[1], means, number, k)
                total += rbm.log_likelihood(states, log_z=0.0) - _stack.log_sum_over_visible(below, states)
                below = rbm
                means = rbm.transform(states) if rbm is not self.rbms_[-1] else means
        if log_z is None:
            log_z = self.rbms_[-1].log_partition(data=states)
        return bottom + total / n_draws - float(log_z)

    def score(self, X: Any, y: Any = None) -> float:
        """Estimate the mean of `score_samples`, the bound on the log-likelihood.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
        y : ignored

        Returns
        -------
        float
        """
        return float(self.score_samples(X).mean())

    # -- files ----------------------------------------------------------------------------------------------

    def _fitted_parts(self) -> dict[str, Any]:
        return {f"rbm{k}": rbm for k, rbm in enumerate(self.rbms_)}

    def _own_form(self) -> Form:
        check_is_fitted(self)
        own = {"n_layers": len(self.rbms_), "seed": self._key.seed, "calls": self._calls}
        return own | columns_of(self), {}

    def _put_together(self, parts: dict[str, Any], own: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
        self.rbms_ = [parts[f"rbm{k}"] for k in range(own["n_layers"])]
        if not self.rbms_:
            raise ValueError("a stack has at least one machine")
        for below, above in pairwise(self.rbms_):
            if above.n_features_in_ != len(below.components_):
                raise ValueError(f"{above.n_features_in_} columns over {len(below.components_)} hidden units")
        self._key, self._calls = Key(own["seed"]), check_integer("calls", own["calls"], 0)
        set_columns(self, own)

    # -- scikit-learn ---------------------------------------------------------------------------------------

    @property
    def _n_features_out(self) -> int:
        """Units of the top layer, for scikit-learn's names of columns."""
        return len(self.rbms_[-1].components_)

    def _takes_sparse(self) -> bool:
        first = self.layers[0] if isinstance(self.layers, (list, tuple)) and self.layers else None
        return _parts.takes_sparse(first if hasattr(first, "units") else self.rbm)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = self._takes_sparse()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


class _RowDraws:
    """Hidden states of rows by draws that a row's values and a seed decide, whatever rows are beside it."""

    def __init__(self, x: Any, key: Key):
        dense = np.ascontiguousarray(x.toarray() if hasattr(x, "toarray") else x, dtype=np.float32)
        digests = [hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in dense]
        self._rows = np.frombuffer(b"".join(digests), dtype="<u4").reshape(len(dense), 2).astype(np.uint32)
        self._key = key

    def states(self, unit: str, means: NDArray[Any], number: int, level: int) -> NDArray[Any]:
        """States with these means, for draw `number` at a level."""
        if unit not in ("bernoulli", "ising"):
            raise ValueError(
                f"the bound is there for stacks of Bernoulli or Ising hidden units below the top, got {unit!r} units"
            )
        n, width = means.shape
        blocks = -(-width // 4)
        counter = np.empty((n, blocks, 4), dtype=np.uint32)
        counter[..., 0] = np.arange(blocks, dtype=np.uint32)
        counter[..., 1:3] = self._rows[:, None]
        counter[..., 3] = number
        words = philox4x32(counter, split_seed(self._key.fold_in(level).seed)).reshape(n, -1)[:, :width]
        u = (words.astype(np.float64) + 0.5) * 2.0**-32
        on = means if unit == "bernoulli" else (1 + means) / 2
        bits = u < on
        return bits if unit == "bernoulli" else 2 * bits.astype(np.int8) - 1
