"""Categories, ratings for instance: softmax visible units, of which any may be missing."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._checks import check_integer
from .._data import Rows
from .._data.categories import CategoryData
from .._data.ranges import Range
from .._data.shards import Shard
from .._data.tables import as_array
from .._kernels import States, as_dense
from ..units import Unit, get_unit
from . import options
from .containers import as_table
from .files import Stored
from .fitting import Fitting
from .resuming import Point
from .sampling import Sampling
from .scoring import Scoring

_MOST_CATEGORIES = 4096


class SoftmaxRBM(Fitting, Scoring, Sampling, Stored):
    """Restricted Boltzmann machine for categories with missing entries, such as ratings of some items by each user.

    Each column of X is a softmax group of `n_categories` visible units. Entries that are missing (NaN) are left out of
    a row's model, and so out of the gradient of their weights.

    Parameters
    ----------
    n_components : int, default=100
        Hidden units.
    n_categories : int or None, default=None
        Categories of each column, 0, 1, ..., n_categories - 1; None for one more than the largest number in X.
    conditional : bool, default=False
        Whether hidden units also learn from which entries are there, whatever their categories: that somebody has rated
        an item says something even while the rating is unknown. Each column then has one more visible unit, which is
        given in both phases of the gradient, and X may hold -1: there, but unknown.
    hidden : str or Unit, default="bernoulli"
        Hidden units; see `RBM`.
    algorithm : default="cd"
        As of `BernoulliRBM`. Data with missing entries need "cd": persistent chains belong to no row, and so do not
        know what is missing.
    **options
        As of `BernoulliRBM`.

    Attributes
    ----------
    components_ : ndarray, shape (n_components, n_features * n_categories)
        Weights; category k of column i is unit ``i * n_categories + k``. With `conditional` n_features more columns
        follow: D of the reference, the weights of being there.
    intercept_visible_ : ndarray, shape (n_features * n_categories,)
        With `conditional` n_features zeros follow.
    n_categories_ : int
        Categories of each column.

    Notes
    -----
    `sample`, `reconstruct` and the option ``clamp`` are about visible units, in the order of `components_`, not about
    columns of X. `log_likelihood` needs rows without missing entries.

    References
    ----------
    Salakhutdinov, Mnih, Hinton, "Restricted Boltzmann machines for collaborative filtering", ICML 2007.

    Examples
    --------
    >>> import numpy as np
    >>> from fastrbm import SoftmaxRBM
    >>> X = np.array([[0, 2, np.nan], [2, np.nan, 1], [0, 2, 1]])
    >>> SoftmaxRBM(2, random_state=0).fit(X).predict(X).shape
    (3, 3)
    """

    _stored = ("n_categories_",)
    n_categories_: int

    def __init__(
        self,
        n_components: int = 100,
        *,
        n_categories: int | None = None,
        conditional: bool = False,
        hidden: Any = "bernoulli",
        algorithm: Any = "cd",
        **options: Any,
    ):
        super().__init__(n_components, algorithm=algorithm, **options)
        self.n_categories = n_categories
        self.conditional = conditional
        self.hidden = hidden

    @property
    def units(self) -> tuple[str, str]:
        """Specs of the (visible, hidden) units."""
        known = self.n_categories_ if hasattr(self, "n_categories_") else self.n_categories or 2
        visible = f"onehot({known})"
        if self.conditional:  # a group of one category is always on where it is there, and has no other value
            if hasattr(self, "components_"):
                n_features = max(1, np.shape(self.components_)[1] // (known + 1))
            else:
                n_features = getattr(self, "n_features_in_", 1)
            visible = f"mixed({visible}*{n_features * known},onehot(1)*{n_features})"
        return visible, get_unit(self.hidden).spec

    def _check_options(self) -> None:
        options.check_units(self, "hidden")
        if self.n_categories is not None:
            check_integer("n_categories", self.n_categories, 1, _MOST_CATEGORIES, otherwise="None")
        super()._check_options()

    def _wrap(self, X: Any, dtype: Any, scale: float, limits: Range) -> CategoryData:
        if hasattr(self, "n_categories_"):
            n_categories = self.n_categories_
        elif hasattr(self, "components_"):  # set by hand
            n_categories = max(1, np.shape(self.components_)[1] // X.shape[1] - bool(self.conditional))
        else:
            n_categories = self.n_categories_ = _count(X) if self.n_categories is None else int(self.n_categories)
        return CategoryData(X, n_categories, dtype, bool(self.conditional))

    def _begin(
        self, given: Any, sample_weight: Any, shared: dict[Any, Any] | None = None, point: Point | None = None
    ) -> Any:
        if point is None and not (self.warm_start and hasattr(self, "_state")):
            self.__dict__.pop("n_categories_", None)
            self.__dict__.pop("components_", None)
        elif self.n_categories not in (None, self.n_categories_):
            raise ValueError(
                f"n_categories must stay {self.n_categories_} when training goes on, got {self.n_categories}"
            )
        if isinstance(given, Shard) and self.n_categories is None and not hasattr(self, "n_categories_"):
            raise ValueError("n_categories must be given for rows of several processes: each sees only its own")
        return super()._begin(given, sample_weight, shared, point)

    def _units_per_feature(self) -> int:
        return int(self.n_categories_) + bool(self.conditional)

    def _n_entries(self, states: States, unit: Unit) -> Any:
        groups = as_dense(states, np.float64)[:, : self.n_features_in_ * self.n_categories_]
        return groups.sum(axis=1)  # a 1 for each entry that is there and known

    def _check_rows(self, data: Rows) -> None:
        if data.missing:
            options.check_exclusions(self, X="missing entries")

    # -- predictions ------------------------------------------------------------------------------------------

    def predict_proba(self, X: Any) -> NDArray[Any]:
        """Compute the probabilities of the categories of all entries given the entries there are.

        They are the visible means given the hidden means of each row: one step of the mean-field equations, as in the
        reference.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            NaN for missing entries.

        Returns
        -------
        ndarray, shape (n_samples, n_features, n_categories)
        """
        means = self._reconstruction(X)
        n_units = self.n_features_in_ * self.n_categories_
        return means[:, :n_units].reshape(len(means), -1, self.n_categories_)

    def predict_expected(self, X: Any, values: Any = None) -> NDArray[np.float64]:
        """Compute the expected values of all entries given the entries there are: the mean rating, say.

        Of all predictions the expectation has the smallest mean squared error under the model.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            NaN for missing entries.
        values : array-like of shape (n_categories,) or None
            What the categories stand for, (1, 2, 3, 4, 5) of stars; None for 0, 1, ..., n_categories - 1.

        Returns
        -------
        ndarray of float64, shape (n_samples, n_features)

        Raises
        ------
        ValueError
            If `values` are not one finite number for each category.
        """
        probabilities = self.predict_proba(X).astype(np.float64, copy=False)
        wanted = np.arange(self.n_categories_) if values is None else np.asarray(values, dtype=np.float64)
        if wanted.shape != (self.n_categories_,) or not np.isfinite(wanted).all():
            raise ValueError(
                f"values must be {self.n_categories_} finite numbers, one for each category, got {values!r}"
            )
        return probabilities @ wanted

    def predict(self, X: Any) -> NDArray[np.int64]:
        """Find the most probable category of all entries given the entries there are.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            NaN for missing entries.

        Returns
        -------
        ndarray of int64, shape (n_samples, n_features)
        """
        return self.predict_proba(X).argmax(axis=2)

    def impute(self, X: Any) -> NDArray[np.float64]:
        """Put the most probable category in the place of NaN, and of -1 with `conditional`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            NaN for missing entries.

        Returns
        -------
        ndarray of float64, shape (n_samples, n_features)
            A data frame after `set_output`.
        """
        predicted = self.predict(X)
        values = np.array(as_array(X), dtype=np.float64)
        gone = np.isnan(values) | (values < 0)  # -1 of a conditional machine
        values[gone] = predicted[gone]
        return as_table(self, values, X, lambda: getattr(self, "feature_names_in_", None))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.categorical = True
        tags.input_tags.positive_only = True
        tags.input_tags.allow_nan = True
        return tags


def _count(X: NDArray[Any]) -> int:
    values = np.asarray(X, dtype=np.float64)
    finite = values[np.isfinite(values)]
    if not len(finite):
        raise ValueError("X must hold some categories, got missing entries only: n_categories cannot be found")
    return int(min(_MOST_CATEGORIES, max(1, np.floor(finite.max()) + 1)))
