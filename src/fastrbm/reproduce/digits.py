"""Digits of scikit-learn: its guide's pipeline, the search that the guide calls too slow, and an honest split."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.manifold import TSNE
from sklearn.metrics import f1_score
from sklearn.model_selection import GridSearchCV, GroupKFold, ParameterGrid, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from .. import datasets, plot
from ..estimators import BernoulliRBM
from ..optimizers import SGD
from ._report import Report
from ._settings import Settings

__all__ = ["run"]

GRID: dict[str, Any] = {
    "rbm__n_components": [500, 1000],
    "rbm__learning_rate": [0.02, 0.05],
    "logistic__C": [0.1, 0.3, 1.0],
}
QUICK_GRID: dict[str, Any] = {"rbm__n_components": [100], "rbm__learning_rate": [0.05], "logistic__C": [0.1, 1.0]}
FOLDS = 3


def run(settings: Settings, report: Report) -> None:
    """Search a grid by cross-validation within training images, for the guide's split and for one by image."""
    images, labels, shape, _ = datasets.load_digits()
    if settings.quick:
        images, labels = images[:500], labels[:500]
    X, y = datasets.nudge(images, shape, labels)
    X = (X / np.float32(255)).astype(np.float32)
    image = np.tile(np.arange(len(images)), len(X) // len(images))  # which image a row is a copy of
    report.note(
        f"{len(images)} images, each also shifted by one pixel in four directions. The guide splits these {len(X)} "
        "rows at random, so that most test rows have shifted copies among the training rows; the other split holds out "
        "whole images and tests on them unshifted. The grid "
        f"{QUICK_GRID if settings.quick else GRID} is searched by {FOLDS}-fold cross-validation within the training "
        "rows, folds by image, and the winner meets the test rows once."
    )
    theirs, raw, ours, honest, honest_raw, seconds = [], [], [], [], [], []
    for seed, memory in _with_folders(settings.seeds):
        train, test = train_test_split(np.arange(len(X)), test_size=0.2, random_state=seed)  # seed 0 is the guide's
        theirs.append(_guide(settings, seed).fit(X[train], y[train]).score(X[test], y[test]))
        raw.append(_logistic(100.0, 1000).fit(X[train], y[train]).score(X[test], y[test]))
        with report.timed() as clock:
            search = _search(settings, seed, memory).fit(X[train], y[train], groups=image[train])
        seconds.append(clock.seconds)
        ours.append(search.score(X[test], y[test]))
        held = train_test_split(np.arange(len(images)), test_size=0.3, stratify=labels, random_state=seed)[1]
        train, test = np.flatnonzero(~np.isin(image, held)), held  # rows up to len(images) are the images unshifted
        other = _search(settings, seed, memory).fit(X[train], y[train], groups=image[train])
        predicted = other.predict(X[test])
        honest.append(float(np.mean(predicted == y[test])))
        honest_raw.append(_logistic(1.0, 1000).fit(X[train], y[train]).score(X[test], y[test]))
        if seed == settings.seeds[0]:
            report.value("best of the guide's split", {**search.best_params_, "cross-validated": search.best_score_})
            report.value("best of the split by image", {**other.best_params_, "cross-validated": other.best_score_})
            report.row("macro F1, split by image", f1_score(y[test], predicted, average="macro"), digits=4)
            _pictures(report, other, X[test], y[test], predicted, shape, seed)
    report.row("guide's pipeline, 100 hidden, guide's split", theirs, published=0.93, target=0.93, digits=4)
    report.row("pixels, guide's split", raw, published=0.78, digits=4)
    report.row("searched pipeline, guide's split", ours, published=0.93, target=0.97, digits=4)
    report.row("searched pipeline, split by image", honest, target=0.985, digits=4)
    report.row("pixels, split by image", honest_raw, digits=4)
    combinations = len(ParameterGrid(QUICK_GRID if settings.quick else GRID))
    what = f"the whole GridSearchCV, {combinations} x {FOLDS} fits and the last one"
    report.row(what, seconds, target=120.0, unit="s", better="lower", digits=1)


def _with_folders(seeds: tuple[int, ...]) -> Iterator[tuple[int, str]]:
    """Each seed with a folder for what its search keeps, which goes afterwards."""
    for seed in seeds:
        with tempfile.TemporaryDirectory(prefix="fastrbm-digits-") as folder:
            yield seed, folder


def _logistic(C: float, most: int) -> Any:
    # one thread: its products are too narrow to gain from two
    return _Quiet(C=C, max_iter=most)


class _Quiet(LogisticRegression):
    """Logistic regression on one thread, whose limit of iterations is part of its settings and no reason to warn."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> _Quiet:
        """Fit."""
        with warnings.catch_warnings(), threadpool_limits(1):
            warnings.simplefilter("ignore", ConvergenceWarning)
            return super().fit(X, y, sample_weight)


def _guide(settings: Settings, seed: int) -> Pipeline:
    """Make the guide's pipeline with its settings; its solver no longer works with them, so the default one is used."""
    rbm = BernoulliRBM(
        100,
        learning_rate=0.06,
        n_iter=10,
        random_state=seed,
        n_threads=settings.n_threads,
        shuffle=False,
        random_stream="sklearn",
    )
    return Pipeline([("rbm", rbm), ("logistic", _logistic(6000.0, 1000))])


def _search(settings: Settings, seed: int, memory: str) -> GridSearchCV:
    rbm = BernoulliRBM(
        algorithm="cd",
        batch_size=10,
        n_iter=4 if settings.quick else 50,
        stochastic_input=True,
        optimizer=SGD(0.9),
        random_state=seed,
        n_threads=settings.n_threads,
    )
    steps = [("rbm", rbm), ("scale", StandardScaler()), ("logistic", _logistic(1.0, 100))]
    pipeline = Pipeline(steps, memory=memory)  # so that a machine serves all values of C
    return GridSearchCV(pipeline, QUICK_GRID if settings.quick else GRID, cv=GroupKFold(FOLDS))


def _pictures(
    report: Report, search: Any, X: np.ndarray, y: np.ndarray, predicted: np.ndarray, shape: tuple[int, int], seed: int
) -> None:
    rbm = search.best_estimator_.named_steps["rbm"]
    report.picture("filters", plot.plot_filters(rbm, shape), "Weights of the hidden units.")
    caption = "Confusion matrix, split by image; rows are true digits."
    report.picture("confusion", plot.plot_confusion_matrix(y, predicted), caption)
    hidden = rbm.transform(X)
    plane = TSNE(init="pca", random_state=seed, perplexity=min(30.0, len(X) / 4)).fit_transform(hidden)
    report.picture("t_sne", plot.plot_embedding(plane, y), "Features of held-out images in the plane (t-SNE).")
    report.picture("activations", plot.plot_activations(hidden, y), "Mean of each hidden unit for each digit.")
