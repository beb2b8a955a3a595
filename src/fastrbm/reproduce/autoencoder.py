"""An autoencoder that starts as a deep belief network, beside the same network from random weights."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.frozen import FrozenEstimator

from .. import datasets, plot
from ..deep import DBNAutoencoder, DeepBeliefNetwork
from ..estimators import RBM, BernoulliRBM
from ..init import FanIn, Xavier
from ..schedules import Cosine
from ._report import Report
from ._settings import Settings

__all__ = ["run"]

RATES = (0.003, 0.01, 0.03)
BATCH = 100
#: name of a start -> options of the autoencoder
STARTS: dict[str, dict[str, Any]] = {
    "deep belief network": {"pretrain": True},
    "random weights": {"pretrain": False},
    "deep belief network, ReLU": {"pretrain": True, "activation": "relu"},
    "random weights, ReLU": {"pretrain": False, "activation": "relu"},
}
FIRST, PEER = "deep belief network", "random weights"


def run(settings: Settings, report: Report) -> None:
    """Train both with the same number of passes, and the one from random weights for as long as the other in all."""
    images, test, shape = _images(settings)
    widths = (32, 10) if settings.quick else (100, 30)
    n_iter, n_held = (4, 300) if settings.quick else (6, 10_000)
    train, held = images[:-n_held], images[-n_held:]
    layers = f"{images.shape[1]}-{widths[0]}-{widths[1]}-{widths[0]}-{images.shape[1]}"
    report.note(
        f"A network {layers} with sigmoid units, or rectified ones (ReLU), and a linear code is trained on "
        f"{len(images)} images by Adam to the cross-entropy of their grey levels, {n_iter} passes from either start. "
        "Errors are mean squared differences per pixel, grey levels being in [0, 1], times 1000. The learning rate of "
        f"each start is the best of {RATES} by {n_held} of the training images, after as many passes over the others; "
        "the test images decide nothing."
    )
    rates = _rates(settings, widths, train, held, n_iter)
    report.value("learning rates", rates)
    errors: dict[str, list[float]] = {start: [] for start in STARTS}
    curves: dict[str, list[list[float]]] = {start: [] for start in STARTS}
    seconds: dict[str, list[float]] = {start: [] for start in STARTS}
    stacks: list[float] = []
    longer: list[float] = []
    first: dict[str, DBNAutoencoder] = {}
    for seed in settings.seeds:
        with report.timed() as pretraining:
            dbn = _stack(widths, settings, seed).fit(images)
        stacks.append(1000 * float(np.square(dbn.reconstruct(test) - test / 255).mean()))
        for start in STARTS:
            with report.timed() as clock:
                model = _model(start, dbn, rates[start], n_iter, settings, seed).fit(images, X_val=test)
            errors[start].append(1000 * model.reconstruction_error(test))
            curves[start].append(model.history_["validation_loss"])
            seconds[start].append(clock.seconds + (pretraining.seconds if STARTS[start]["pretrain"] else 0.0))
            if seed == settings.seeds[0]:
                first[start] = model
        more = max(1, round(n_iter * pretraining.seconds / clock.seconds))
        model = _model(PEER, dbn, rates[PEER], n_iter + more, settings, seed).fit(images)
        longer.append(1000 * model.reconstruction_error(test))
    _rows(report, errors, seconds, stacks, longer)
    _pictures(report, first, curves, test, shape, settings.seeds[0])


def _images(settings: Settings) -> tuple[NDArray[np.uint8], NDArray[np.uint8], tuple[int, int]]:
    if settings.quick:
        images, _, shape, _ = datasets.load_digits()
        return images[:1300], images[1300:], shape
    train = settings.mnist("train")
    return train.images, settings.mnist("test").images, train.shape


def _stack(widths: tuple[int, ...], settings: Settings, seed: int) -> DeepBeliefNetwork:
    lower = BernoulliRBM(
        widths[0],
        algorithm="cd",
        learning_rate=0.1,
        batch_size=20,
        n_iter=10,
        init=FanIn(1.0),
        visible_bias="data",
        n_threads=settings.n_threads,
    )
    code = RBM(
        widths[1],
        hidden="gaussian",
        algorithm="cd",
        learning_rate=0.005,
        batch_size=20,
        n_iter=10,
        init=Xavier(),
        n_threads=settings.n_threads,
    )
    return DeepBeliefNetwork([lower, code], random_state=seed)


def _model(
    start: str, dbn: DeepBeliefNetwork, rate: float, n_iter: int, settings: Settings, seed: int
) -> DBNAutoencoder:
    return DBNAutoencoder(
        FrozenEstimator(dbn),
        learning_rate=Cosine(rate, rate / 20),  # the last pass counts, too
        n_iter=n_iter,
        batch_size=10 if settings.quick else BATCH,
        random_state=seed,
        n_threads=settings.n_threads,
        **STARTS[start],
    )


def _rates(settings: Settings, widths: tuple[int, ...], some: Any, held: Any, n_iter: int) -> dict[str, float]:
    """The learning rate of each start with the least error on the images held out, after as many passes."""
    seed = settings.seeds[0]
    dbn = _stack(widths, settings, seed).fit(some)
    scores = {
        start: [_model(start, dbn, rate, n_iter, settings, seed).fit(some).score(held) for rate in RATES]
        for start in STARTS
    }
    return {start: RATES[int(np.argmax(found))] for start, found in scores.items()}


def _rows(report: Report, errors: Any, seconds: Any, stacks: list[float], longer: list[float]) -> None:
    options: dict[str, Any] = {"better": "lower", "digits": 2}
    report.row("deep belief network, before fine-tuning", stacks, **options)
    for start, found in errors.items():
        target = float(np.mean(errors[PEER])) if start == FIRST else None
        report.row(f"from {start}", found, target=target, seconds=float(np.mean(seconds[start])), **options)
    report.row(f"from {PEER}, and passes in the place of pre-training", longer, **options)


def _pictures(report: Report, models: Any, curves: Any, test: Any, shape: tuple[int, int], seed: int) -> None:
    passes = np.arange(1, len(next(iter(curves.values()))[0]) + 1)
    figure = plot.plot_curves(
        {start: (passes, np.mean(found, axis=0), np.std(found, axis=0)) for start, found in curves.items()},
        x="pass",
        y="cross-entropy of test images, nats",
    )
    report.picture("curves", figure, "Test error after each pass of fine-tuning; mean and deviation over seeds.")
    report.value("test cross-entropy by pass", curves)
    some = np.random.default_rng(seed).choice(len(test), 16, replace=False)
    rows = [test[some] / 255, *(np.clip(model.reconstruct(test[some]), 0, 1) for model in models.values())]
    report.picture(
        "reconstructions",
        plot.plot_samples(np.concatenate(rows), shape, columns=16),
        f"Top line: test images. Below: their reconstructions, from {'; '.join(models)} (seed {seed}).",
    )
