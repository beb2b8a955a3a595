"""Bars and stripes, 3 x 3: how near training by chains comes to the entropy of the data."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from .. import plot
from ..callbacks import LogLikelihood
from ..estimators import BernoulliRBM
from ..optimizers import SGD
from ..schedules import Cosine
from ._report import Report
from ._settings import Settings

__all__ = ["patterns", "run"]

SIDE = 3
COPIES = 4  # of each pattern in the rows; a minibatch holds them all
COMMON: dict[str, Any] = {
    "n_components": 16,
    "centered": True,
    "learning_rate": Cosine(0.5, 0.001),
    "batch_size": COPIES * 2 ** (SIDE + 1),
    "shuffle": False,
}
#: name -> (options, the gap to reach)
WAYS: dict[str, tuple[dict[str, Any], float | None]] = {
    "exact gradient": ({"algorithm": "exact", "optimizer": SGD(0.9), "learning_rate": Cosine(0.5, 0.01)}, 0.01),
    "PCD-5, 1000 chains": ({"algorithm": "pcd", "n_gibbs_steps": 5, "n_chains": 1000}, 0.05),
    "parallel tempering, 1000 chains": ({"algorithm": "pt", "n_chains": 1000}, 0.05),
    "CD-10": ({"algorithm": "cd", "n_gibbs_steps": 10}, 0.05),
    "CD-1": ({"algorithm": "cd"}, None),
    "PCD-1, as many chains as rows": ({"algorithm": "pcd"}, None),
}


def patterns(side: int = SIDE) -> np.ndarray:
    """All images of whole bars or of whole stripes; empty and full ones, which are both, stand twice.

    Returns
    -------
    ndarray of uint8, shape (2**(side + 1), side * side)
    """
    lines = np.array(list(itertools.product((0, 1), repeat=side)), dtype=np.uint8)
    bars = np.repeat(lines[:, None, :], side, axis=1)
    return np.concatenate((bars, bars.transpose(0, 2, 1))).reshape(2 * len(lines), -1)


def run(settings: Settings, report: Report) -> None:
    """Train by chains of several kinds and by exact gradients; the gap to the entropy is what is missing."""
    images = patterns()
    bound = best_likelihood(images)
    passes = 1000 if settings.quick else 3000
    X = np.repeat(images, COPIES, axis=0)
    report.note(
        f"The best mean log-likelihood there is, minus the entropy of the {len(images)} patterns, is {bound:.4f} nats. "
        f"The gap to it after {passes} updates of 16 hidden units by minibatches of all patterns; the rate falls to a "
        "thousandth as half a cosine. With as many chains as patterns PCD falls behind its own fast weights at this "
        "rate: few chains cannot hold 14 separate modes."
    )
    curves = {}
    for name, (options, target) in WAYS.items():
        gaps, seconds = [], []
        for seed in settings.seeds:
            watch = LogLikelihood(images, method="exact", every=max(1, passes // 100))
            with report.timed() as clock:
                machine = BernoulliRBM(
                    **(COMMON | options),
                    n_iter=passes,
                    random_state=seed,
                    n_threads=settings.n_threads,
                    callbacks=(watch,) if seed == settings.seeds[0] else (),
                ).fit(X)
            gaps.append(bound - float(machine.log_likelihood(images, method="exact").mean()))
            seconds.append(clock.seconds)
            if seed == settings.seeds[0]:
                found = np.array([np.nan if x is None else x for x in machine.history_["log_likelihood"]], dtype=float)
                seen = np.isfinite(found)
                curves[name] = (np.arange(1, len(found) + 1)[seen], bound - found[seen])
        report.row(f"gap, {name}", gaps, target=target, unit="nats", better="lower", seconds=min(seconds), digits=4)
    figure = plot.plot_curves(curves, x="update", y="nats below the best", log_y=True, lines={"to reach": 0.05})
    report.picture("gap", figure, "How far below the best likelihood each training is, update by update.")
    machine = BernoulliRBM(**(COMMON | WAYS["exact gradient"][0]), n_iter=passes, random_state=settings.seeds[0]).fit(X)
    samples = machine.sample(64, n_steps=500, random_state=settings.seeds[0])
    shown = plot.plot_samples(samples, (SIDE, SIDE), columns=16)
    report.picture("samples", shown, "Samples of the machine that was trained by exact gradients.")
    known = {tuple(row) for row in images}
    report.row(
        "samples that are bars or stripes", 100 * float(np.mean([tuple(row) in known for row in samples])), unit="%"
    )


def best_likelihood(images: np.ndarray) -> float:
    """Return the largest mean log-likelihood that any distribution gives these rows, in nats: minus their entropy."""
    share = np.unique(images, axis=0, return_counts=True)[1] / len(images)
    return float(np.sum(share * np.log(share)))
