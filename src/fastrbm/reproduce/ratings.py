"""Ratings of items by users, made with known factors: machines of one-hot units beside matrix factorisation."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import norm

from .. import plot
from ..estimators import SoftmaxRBM
from ..optimizers import SGD
from ..regularizers import L2
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
    below = norm.cdf((edges[None, None, 1:] - score[..., None]) / 0.75)
    chance = np.diff(below, axis=-1, prepend=0.0)
    train, test = rated & (part < 0.8), rated & (part >= 0.9)
    return Ratings(stars, train, rated & ~train & ~test, test, chance @ STARS)


def factorised(
    ratings: Ratings, rank: int, strength: float, rng: np.random.Generator, n_iter: int = 20
) -> NDArray[np.float64]:
    """Predict all ratings by biases and factors of users and items, fitted by alternating least squares.

    Koren, Bell, Volinsky, "Matrix factorization techniques for recommender systems", Computer 42 (2009): a global mean,
    a bias of each user and item, and `rank` factors; the penalty of a user or an item is `strength` times the squares
    of its factors, whatever it has rated.
    """
    mask = ratings.train.astype(np.float64)
    mean = float(ratings.stars[ratings.train].mean())
    rest = np.where(ratings.train, ratings.stars - mean, 0.0)
    # factors with a leading one beside the other side's bias: each side's bias is a factor like the others
    users = np.zeros((len(mask), rank + 1))
    items = np.zeros((mask.shape[1], rank + 1))
    items[:, 1:] = rng.normal(0, 0.1, (len(items), rank))
    for _ in range(n_iter):
        users = _solved(np.column_stack((np.ones(len(items)), items[:, 1:])), mask, rest - mask * items[:, 0], strength)
        items = _solved(
            np.column_stack((np.ones(len(users)), users[:, 1:])), mask.T, (rest - mask * users[:, :1]).T, strength
        )
    found = mean + users[:, :1] + items[:, 0] + users[:, 1:] @ items[:, 1:].T
    return np.clip(found, STARS[0], STARS[-1])


def _solved(other: NDArray[np.float64], mask: NDArray[np.float64], rest: NDArray[np.float64], strength: float) -> Any:
    """Ridge regressions of all rows at once on the factors of the other side."""
    n, k = other.shape
    squares = (other[:, :, None] * other[:, None, :]).reshape(n, k * k)
    left = (mask @ squares).reshape(-1, k, k) + strength * np.eye(k)
    return np.linalg.solve(left, (rest @ other)[..., None])[..., 0]


def run(settings: Settings, report: Report) -> None:
    """Predict held-out ratings by means, matrix factorisation, and machines with and without what exists."""
    n_users, n_items = (400, 60) if settings.quick else (4000, 500)
    names = ("item means", "matrix factorisation", "machine", "conditional machine", "the factors that made them")
    errors: dict[str, list[float]] = {name: [] for name in names}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for seed in settings.seeds:
        ratings = made_ratings(n_users, n_items, settings.rng(seed))
        for name, predict in (
            ("item means", _item_means),
            ("matrix factorisation", _best_factors),
            ("machine", _best_machine),
            ("conditional machine", _best_conditional),
        ):
            with report.timed() as clock:
                found = predict(settings, ratings, seed)
            errors[name].append(rmse(found, ratings, ratings.test))
            seconds[name].append(clock.seconds)
        errors[names[-1]].append(rmse(ratings.expected, ratings, ratings.test))
        if seed == settings.seeds[0]:
            _picture(report, ratings, found)
    factors = float(np.mean(errors["matrix factorisation"]))
    for name in names:
        target = factors if "machine" in name else None
        time = float(np.median(seconds[name])) if seconds[name] else None
        report.row(f"RMSE, {name}", errors[name], unit="stars", target=target, better="lower", seconds=time, digits=4)
    share = 100 * float(np.mean(ratings.train | ratings.validation | ratings.test))
    report.note(
        f"{n_users} users and {n_items} items, made with known factors: biases, six factors and noise, rounded to "
        f"stars; users rate more of what they like, {share:.1f} % of all. Ratings are split 80 : 10 : 10. Rank and "
        "penalty of the factorisation, and the number of hidden units and the pass of the machines, are those with the "
        "smallest error on the validation ratings; no training sees a held-out rating. The conditional machine knows "
        "which items have held-out ratings, as in the publication, where this was what the competition gave away. No "
        "prediction can be better than that of the factors that made the ratings."
    )


def rmse(predicted: NDArray[np.float64], ratings: Ratings, mask: NDArray[np.bool_]) -> float:
    """Root mean square error over the ratings of a mask, in stars."""
    return float(np.sqrt(np.mean((predicted - ratings.stars)[mask] ** 2)))


def _item_means(settings: Settings, ratings: Ratings, seed: int) -> NDArray[np.float64]:
    counts = ratings.train.sum(axis=0)
    total = np.where(ratings.train, ratings.stars, 0).sum(axis=0)
    mean = ratings.stars[ratings.train].mean()
    return np.broadcast_to((total + 3 * mean) / (counts + 3), ratings.stars.shape)


def _best_factors(settings: Settings, ratings: Ratings, seed: int) -> NDArray[np.float64]:
    ranks, strengths = ((4, 8), (3.0, 10.0)) if settings.quick else ((3, 6, 10, 20), (3.0, 6.0, 10.0, 20.0))
    found = [factorised(ratings, rank, s, settings.rng(seed)) for rank in ranks for s in strengths]
    return min(found, key=lambda prediction: rmse(prediction, ratings, ratings.validation))


def _best_machine(settings: Settings, ratings: Ratings, seed: int) -> NDArray[np.float64]:
    return _best_of(settings, ratings, seed, conditional=False)


def _best_conditional(settings: Settings, ratings: Ratings, seed: int) -> NDArray[np.float64]:
    return _best_of(settings, ratings, seed, conditional=True)


def _best_of(settings: Settings, ratings: Ratings, seed: int, *, conditional: bool) -> NDArray[np.float64]:
    """Predictions of the machine, and of its pass, with the smallest error on validation ratings."""
    table = ratings.table(existing=conditional)
    best: tuple[float, Any] = (np.inf, None)
    passes = 30 if settings.quick else 60
    for n_hidden in (20,) if settings.quick else (50, 100):
        machine = SoftmaxRBM(
            n_hidden,
            n_categories=len(STARS),
            conditional=conditional,
            learning_rate=Cosine(0.1, 0.01),
            batch_size=50,
            optimizer=SGD(momentum=0.8),
            regularizers=(L2(1e-3),),
            visible_bias="data",
            n_iter=passes,
            random_state=seed,
            n_threads=settings.n_threads,
        )

        def watch(run: Any, machine: Any = machine) -> None:
            nonlocal best
            if run.done % 2 and run.done != passes:
                return
            found = machine.predict_expected(table, STARS)
            error = rmse(found, ratings, ratings.validation)
            if error < best[0]:
                best = (error, found)

        machine.set_params(callbacks=(watch,)).fit(table)
    return best[1]


def _picture(report: Report, ratings: Ratings, found: NDArray[np.float64]) -> None:
    """Error over how many ratings a user has given."""
    given = ratings.train.sum(axis=1)
    edges = np.unique(np.quantile(given, np.linspace(0, 1, 7)))
    middle, errors, floor = [], [], []
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        users = ((given >= low) & (given <= high))[:, None] & ratings.test
        if users.any():
            middle.append(0.5 * (low + high))
            errors.append(rmse(found, ratings, users))
            floor.append(rmse(ratings.expected, ratings, users))
    curves = {"conditional machine": (middle, errors), "the factors that made them": (middle, floor)}
    figure = plot.plot_curves(curves, x="ratings that a user has given", y="RMSE (stars)")
    report.picture("error", figure, "Error on test ratings over the number of ratings that a user has given.")
