"""Ratings of items by users, made with known factors: machines of one-hot units beside matrix factorisation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from .. import plot
from ..callbacks import Callback
from ..estimators import SoftmaxRBM
from ..optimizers import SGD
from ..schedules import Cosine
from ._report import Report
from ._settings import Settings

__all__ = ["Ratings", "factorised", "made_ratings", "run"]

STARS = np.arange(1.0, 6.0)


class Ratings(NamedTuple):
    """Stars 1 to 5 of users (rows) for items, all of them; and which are known for which purpose.

    What nobody has rated is in none of the masks, and no training sees it. Of the ratings held out for validation and
    test, models learn at most that they exist.
    """

    stars: NDArray[np.float64]
    train: NDArray[np.bool_]
    validation: NDArray[np.bool_]
    test: NDArray[np.bool_]
    expected: NDArray[np.float64]  #: of the rating, by the factors that made it

    def table(self, *, existing: bool) -> NDArray[np.float64]:
        """Categories of the training ratings, NaN elsewhere; -1 for held-out ones if `existing`."""
        table = np.where(self.train, self.stars - 1, np.nan)
        return np.where(self.validation | self.test, -1.0, table) if existing else table


def made_ratings(n_users: int, n_items: int, rng: np.random.Generator) -> Ratings:
    """Make ratings by biases, factors and noise; users rate more of what they like, as they do everywhere."""
    n_factors = 6
    users = rng.normal(0, 1, (n_users, n_factors)) / np.sqrt(n_factors)
    kinds = rng.normal(0, 1, (12, n_factors))
    items = 1.3 * (kinds[rng.integers(12, size=n_items)] + rng.normal(0, 0.4, (n_items, n_factors)))
    tastes = users @ items.T
    score = 3.5 + rng.normal(0, 0.35, (n_users, 1)) + rng.normal(0, 0.4, n_items) + 0.75 * tastes
    stars = np.clip(np.rint(score + rng.normal(0, 0.75, score.shape)), 1, 5)
    popularity = rng.gamma(0.8, 1.0, n_items)
    activity = rng.gamma(2.0, 0.5, (n_users, 1))
    wanted = np.log(popularity * activity + 1e-3) + 0.9 * tastes - 2.6
    rated = rng.random(score.shape) < expit(wanted)
    part = rng.random(score.shape)
    edges = np.array([-np.inf, 1.5, 2.5, 3.5, 4.5, np.inf])
    from scipy.stats import norm

    below = norm.cdf((edges[None, None, 1:] - score[..., None]) / 0.75)
    chance = np.diff(below, axis=-1, prepend=0.0)
    return Ratings(stars, rated & (part < 0.8), rated & (part >= 0.8) & (part < 0.9), rated & (part >= 0.9), chance @ STARS)


def run(settings: Settings, report: Report) -> None:
    """Predict held-out ratings by means, matrix factorisation, and machines with and without what exists."""
    raise NotImplementedError
