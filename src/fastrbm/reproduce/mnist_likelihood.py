"""Test likelihoods on binarised MNIST: 500 hidden units by estimates of log Z, 16 hidden units exactly."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import datasets, plot
from ..callbacks import CheckpointTrajectory
from ..estimators import BernoulliRBM
from ..schedules import Cosine
from ._report import Report
from ._settings import Settings

__all__ = ["run"]

#: of 500 hidden units; bits are drawn anew from the grey values at every use
LARGE: dict[str, Any] = {
    "algorithm": "pcd",
    "centered": True,
    "stochastic_input": True,
    "visible_bias": "data",
    "batch_size": 100,
}
#: name -> options, likelihood to reach, minutes of processors it may take
BUDGETS: dict[str, tuple[dict[str, Any], float, float]] = {
    "four minutes of one processor": ({"n_iter": 45, "n_gibbs_steps": 5, "learning_rate": Cosine(0.2, 1e-4)}, -86.3, 4),
    "twenty minutes of two": ({"n_iter": 250, "n_gibbs_steps": 10, "learning_rate": Cosine(0.2, 1e-4)}, -84.0, 40),
}
#: of 16 hidden units, bits that do not change
SMALL: dict[str, Any] = {
    "algorithm": "pcd",
    "n_chains": 500,
    "visible_bias": "data",
    "learning_rate": Cosine(0.1, 0.001),
    "n_iter": 30,
    "batch_size": 100,
}
SMALL_CENTRED: dict[str, Any] = SMALL | {
    "centered": True,
    "n_chains": 1000,
    "learning_rate": Cosine(1.0, 0.002),
    "n_iter": 60,
    "batch_size": 250,
}


def run(settings: Settings, report: Report) -> None:
    """Train within two budgets of time, estimate log Z, and look at test images once."""
    _large(settings, report)
    _small(settings, report)
    if settings.quick:
        report.note("Digits of scikit-learn, 16 hidden units in the place of 500, and few passes.")
        return
    report.note(
        "Test rows of 500 hidden units are drawn once from the grey values; those of 16 hidden units are 1 where a "
        "pixel is above one half. Likelihoods of different binarisations do not compare. Settings were chosen on 10000 "
        "training images that were held back."
    )


def _large(settings: Settings, report: Report) -> None:
    images, test, shape = _images(settings)
    # floats, since a machine of uint8 images takes uint8 for grey values
    bits = datasets.binarize(test, method="bernoulli", random_state=0).astype(np.float32)
    n_hidden = 16 if settings.quick else 500
    for name, (options, target, minutes) in list(BUDGETS.items())[: 1 if settings.quick else None]:
        found, halves, cpu = [], [], []
        for seed in settings.seeds:
            passes = {"n_iter": 5} if settings.quick else {}
            kept = CheckpointTrajectory()
            with report.timed() as clock:
                machine = BernoulliRBM(
                    n_hidden,
                    random_state=seed,
                    n_threads=settings.n_threads,
                    callbacks=[kept],
                    **(LARGE | options | passes),
                ).fit(images)
            # along the models of the run, which for the same work has a narrower interval than along temperatures
            log_z = machine.log_partition(
                "trajectory",
                trajectory=kept.models_,
                n_chains=100 if settings.quick else 2000,
                n_temperatures=100 if settings.quick else 2000,
                random_state=seed,
            )
            low, high = log_z.interval
            if not log_z.reliable:
                report.note(f"The log Z of seed {seed}, {name}, is not reliable: {log_z.message}.")
            found.append(float(machine.log_likelihood(bits, log_z=log_z).mean()))
            halves.append((high - low) / 2)
            cpu.append(clock.cpu_seconds / 60)
        what = "16 hidden, estimated" if settings.quick else f"{n_hidden} hidden, {name}"
        report.row(what, found, published="-86.3 (CD-25)", target=target, unit="nats per test image")
        report.row(f"{what}: half the 95 % interval", halves, target=0.3, unit="nats", better="lower")
        report.row(f"{what}: processor minutes of training", cpu, target=minutes, unit="min", better="lower")
    start = bits[:64]
    states = machine.sample(64, n_steps=500, init=start, random_state=0)
    figure = plot.plot_samples(machine.reconstruct(states.astype(np.float32)), shape, columns=16)
    report.picture("samples", figure, f"{n_hidden} hidden units: means after 500 Gibbs steps from test images.")
    figure = plot.plot_filters(machine, shape)
    report.picture("filters", figure, "Weights of its first hidden units.")
    energies = {"test": machine.free_energy(bits[:2000]), "samples": machine.free_energy(states)}
    figure = plot.plot_distributions(energies, x="free energy")
    report.picture("energies", figure, "Free energies of test images and of samples.")


def _small(settings: Settings, report: Report) -> None:
    images, test, _ = _images(settings)
    rows, held = datasets.binarize(images, "threshold"), datasets.binarize(test, "threshold")
    passes = {"n_iter": 3} if settings.quick else {}
    lines = {
        "16 hidden, PCD-1": (SMALL, -149.05, -145.2),
        "16 hidden, PCD-1, centred": (SMALL_CENTRED, -142.56, -141.0),
    }
    for name, (options, published, target) in lines.items():
        found, seconds = [], []
        for seed in settings.seeds:
            with report.timed() as clock:
                machine = BernoulliRBM(16, random_state=seed, n_threads=settings.n_threads, **(options | passes)).fit(
                    rows
                )
            found.append(float(machine.log_likelihood(held, method="exact").mean()))
            seconds.append(clock.seconds)
        report.row(
            name,
            found,
            published=published,
            target=target,
            unit="nats per test image",
            seconds=float(np.median(seconds)),
        )


def _images(settings: Settings) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    if settings.quick:
        digits = datasets.load_digits()
        return digits.images[:1400], digits.images[1400:], digits.shape
    train, test = settings.mnist("train"), settings.mnist("test")
    return train.images, test.images, train.shape
