"""LCD: how much of the work of Gibbs sampling bounds and delta products spare, and what becomes of the time."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from .. import count_work, datasets, plot
from ..estimators import BernoulliRBM
from ._report import Report
from ._settings import Settings

__all__ = ["run"]

STRATEGIES = ("dense", "delta", "lcd", "bounds", "lowbit", "auto")
STEPS = (1, 5, 10)


def run(settings: Settings, report: Report) -> None:
    """Train by CD-k and draw long chains with each strategy: equal bits, counts of products, times side by side."""
    images = (datasets.load_digits() if settings.quick else settings.mnist("train")).images
    X = datasets.binarize(images, "threshold")
    n_hidden, rounds = (64, 1) if settings.quick else (500, 3)
    report.note(
        f"{'Digits' if settings.quick else 'MNIST'}, {len(X)} binary rows, {n_hidden} hidden units, minibatches of "
        "100. All strategies draw the same states bit for bit, so results are unchanged by construction, and are "
        "compared here once more. Times are medians of interleaved rounds, relative to the dense product of this "
        "package, which looks sums up in tables and costs far less than the products of floats that the publication "
        "compares with."
    )
    trained = _train(settings, X, n_hidden, 1, "auto", 2 if settings.quick else 10)
    spared: dict[str, list[float]] = {name: [] for name in STRATEGIES}
    for k in STEPS:
        rows, best = _compare(report, partial(_continue, trained, X, k), rounds)
        report.table(f"Training, one pass of CD-{k} of a machine that has been trained", _HEADER, _cells(rows))
        for name, row in zip(STRATEGIES, rows, strict=True):
            spared[name].append(float(row[2] or 1.0))
        if k == STEPS[-1]:
            report.row(
                f"training, CD-{k}, lcd: dense over its products",
                float(rows[2][2] or 1.0),
                published="up to 3",
                unit="x",
            )
            report.row(f"training, CD-{k}, lcd: dense over its time", float(rows[2][1]), published="up to 3", unit="x")
            report.row(f"training, CD-{k}, best strategy: dense over its time", best, target=1.0, unit="x")
    start = X[:1000]
    n_steps = 20 if settings.quick else 200
    rows, best = _compare(report, partial(_sample, trained, start, n_steps), rounds)
    report.table(f"Prediction, {len(start)} chains of {n_steps} Gibbs steps", _HEADER, _cells(rows))
    report.row("prediction, lcd: dense over its products", float(rows[2][2] or 1.0), published="up to 5.3", unit="x")
    report.row("prediction, lcd: dense over its time", float(rows[2][1]), published="up to 5.3", unit="x")
    report.row("prediction, best strategy: dense over its time", best, target=1.0, unit="x")
    figure = plot.plot_curves(
        {name: (STEPS, values) for name, values in spared.items() if name in ("delta", "lcd")},
        x="steps of contrastive divergence",
        y="dense products over products made",
        lines={"dense": 1.0},
    )
    report.picture("products", figure, "How many products delta and lcd spare in training.")


_HEADER = ["strategy", "dense over time", "dense over full-precision products", "seconds"]


def _cells(rows: list[list[Any]]) -> list[list[Any]]:
    """The rows with a dash where the strategy counts no products, as whole products are made."""
    return [["-" if cell is None else cell for cell in row] for row in rows]


def _train(settings: Settings, X: np.ndarray, n_hidden: int, k: int, strategy: str, passes: int) -> Any:
    return BernoulliRBM(
        n_hidden,
        algorithm="cd",
        n_gibbs_steps=k,
        learning_rate=0.05,
        batch_size=100,
        n_iter=passes,
        strategy=strategy,
        visible_bias="data",
        warm_start=True,
        random_state=settings.seeds[0],
        n_threads=settings.n_threads,
    ).fit(X)


def _continue(trained: Any, X: np.ndarray, k: int, strategy: str) -> np.ndarray:
    """Train a copy for one more pass and return its weights."""
    machine = copy.deepcopy(trained).set_params(n_gibbs_steps=k, strategy=strategy, n_iter=1)
    return machine.fit(X).components_


def _sample(trained: Any, start: np.ndarray, n_steps: int, strategy: str) -> np.ndarray:
    return trained.set_params(strategy=strategy).sample(len(start), n_steps=n_steps, init=start, random_state=0)


def _compare(report: Report, make: Callable[[str], np.ndarray], rounds: int) -> tuple[list[list[Any]], float]:
    """Do the same work with every strategy in turn; rows of a table, and the best ratio of times."""
    seconds: dict[str, list[float]] = {name: [] for name in STRATEGIES}
    products, results = {}, {}
    for turn in range(rounds + 1):
        for name in STRATEGIES:
            with report.timed() as clock:
                results[name] = make(name)
            if turn:  # the first one warms up
                seconds[name].append(clock.seconds)
    for name in STRATEGIES:
        with count_work() as work:
            make(name)
        products[name] = work["dense_products"] / work["products"] if work["products"] else None
    rows: list[list[Any]] = []
    for name in STRATEGIES:
        ratio = float(np.median(np.array(seconds["dense"]) / np.array(seconds[name])))
        if not np.array_equal(results[name], results["dense"]):
            raise ArithmeticError(
                f"strategy {name!r} drew other states than the dense product: this is a fault, report it"
            )
        rows.append([name, ratio, products[name], float(np.median(seconds[name]))])
    return rows, max(float(row[1]) for row in rows)
