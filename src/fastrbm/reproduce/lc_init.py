"""First weights at the maximum of the layer correlation: the table, the toy experiment, and growth on MNIST."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import datasets, plot
from ..callbacks import LogLikelihood
from ..estimators import RBM
from ..init import Normal, lc_beta, lc_scale
from ..optimizers import Adam
from ._report import Report
from ._settings import Settings

__all__ = ["run"]

ALPHAS = (0.25, 0.5, 1.0, 2.0)
BIASES = (0, -1, -2, -3, -4, -5, -6)
PUBLISHED = (
    (1.597, 1.873, 2.216, 2.558, 2.887, 3.196, 3.488),
    (1.529, 1.840, 2.227, 2.618, 2.989, 3.338, 3.666),
    (1.510, 1.879, 2.344, 2.812, 3.255, 3.669, 4.058),
    (1.551, 2.009, 2.596, 3.190, 3.749, 4.271, 4.759),
)
FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
# of the toy experiment, whose settings are not in the copy of the publication that this was written from: as many units
# as leave the smaller layer 4096 states, so that a hundred runs with exact gradients take minutes
PATTERNS, COPIES, FLIPS, N_VISIBLE, N_HIDDEN = 4, 100, 0.05, 12, (6, 12, 24)


def run(settings: Settings, report: Report) -> None:
    """Compute the table, then train from five scales of first weights, on toy data and on images."""
    table = np.array([[lc_beta(alpha, float(c)) for c in BIASES] for alpha in ALPHAS])
    difference = np.abs(table - np.array(PUBLISHED))
    cells = [[f"{alpha:g}", *(f"{value:.3f}" for value in row)] for alpha, row in zip(ALPHAS, table, strict=True)]
    report.table("beta_max over the hidden bias", ["hidden / visible", *(f"c = {c}" for c in BIASES)], cells)
    agree = int(np.sum(difference <= 0.001))
    report.row(f"entries of the table that agree to 0.001, of {difference.size}", agree, target=27, digits=0)
    report.note(
        "One entry, 0.25 and -2, is printed as 2.216 where the formula gives 2.2136. Weights have standard deviation "
        "beta_max / sqrt(visible + hidden units)."
    )
    best = _toy(settings, report) | _images(settings, report)
    ends = {name: f"{early:g} early and {late:g} at the end" for name, (early, late) in best.items()}
    report.note(
        "Which multiple of sigma = beta_max / sqrt(visible + hidden) has the highest mean likelihood after a quarter "
        "of the training, and at its end: " + "; ".join(f"{name}, {text}" for name, text in ends.items()) + "."
    )


def _toy(settings: Settings, report: Report) -> dict[str, tuple[float, float]]:
    best = {}
    runs = 4 if settings.quick else 100
    for n_hidden in N_HIDDEN[:1] if settings.quick else N_HIDDEN:
        scale = lc_scale(N_VISIBLE, n_hidden)
        curves: dict[float, list[np.ndarray]] = {factor: [] for factor in FACTORS}
        for k in range(runs):
            X = toy_rows(settings.rng(k))
            for factor in FACTORS:
                watch = LogLikelihood(X, method="exact", every=10)
                machine = _machine(
                    settings, n_hidden, factor * scale, k, algorithm="exact", learning_rate=0.01, batch_size=len(X)
                )
                machine.set_params(n_iter=50 if settings.quick else 200, callbacks=(watch,))
                curves[factor].append(_seen(machine.fit(X)))
        title = f"Toy experiment, {N_VISIBLE} visible and {n_hidden} hidden units, {runs} runs"
        best[f"toy with {n_hidden} hidden units"] = _growth(report, title, f"toy_{n_hidden}", curves, 10)
    return best


def _images(settings: Settings, report: Report) -> dict[str, tuple[float, float]]:
    images = (datasets.load_digits() if settings.quick else settings.mnist("train")).images
    X = (2 * datasets.binarize(images, method="otsu").astype(np.int8) - 1).astype(np.int8)
    n_hidden = 32 if settings.quick else 200
    parts, updates = (4, 20) if settings.quick else (12, 100)
    scale = lc_scale(X.shape[1], n_hidden)
    watched = X[:: max(1, len(X) // 2000)]
    curves: dict[float, list[np.ndarray]] = {factor: [] for factor in FACTORS}
    for seed in settings.seeds:
        for factor in FACTORS:
            watch = LogLikelihood(watched, method="mais", n_chains=200, n_temperatures=500)
            machine = _machine(settings, n_hidden, factor * scale, seed, algorithm="cd", n_gibbs_steps=10)
            machine.set_params(steps_per_epoch=updates, n_iter=parts, callbacks=(watch,))
            curves[factor].append(_seen(machine.fit(X)))
    title = (
        f"{'Digits' if settings.quick else 'MNIST'}, CD-10, Adam, {n_hidden} hidden units, {len(settings.seeds)} runs"
    )
    return {"images": _growth(report, title, "images", curves, updates)}


def toy_rows(rng: np.random.Generator) -> np.ndarray:
    """Spins: random base patterns, each with noisy copies."""
    base = rng.choice(np.array([-1, 1], dtype=np.int8), (PATTERNS, N_VISIBLE))
    rows = np.repeat(base, COPIES, axis=0)
    return np.where(rng.random(rows.shape) < FLIPS, -rows, rows).astype(np.int8)


def _machine(settings: Settings, n_hidden: int, scale: float, seed: int, **options: Any) -> Any:
    common = {"learning_rate": 0.001, "batch_size": 100, "optimizer": Adam(), "visible_bias": "zeros"}
    return RBM(
        n_hidden,
        visible="ising",
        hidden="bernoulli",
        init=Normal(scale),
        random_state=seed,
        n_threads=settings.n_threads,
        **(common | options),
    )


def _seen(machine: Any) -> np.ndarray:
    values = [np.nan if value is None else value for value in machine.history_["log_likelihood"]]
    found = np.array(values, dtype=float)
    return found[np.isfinite(found)]


def _growth(
    report: Report, title: str, name: str, curves: dict[float, list[np.ndarray]], step: int
) -> tuple[float, float]:
    """Table and picture of mean likelihood curves; the best multiples of the scale after a quarter and at the end."""
    rows, drawn = [], {}
    for factor, runs in curves.items():
        array = np.array(runs)
        mean = array.mean(axis=0)
        error = array.std(axis=0, ddof=1) / np.sqrt(len(array)) if len(array) > 1 else np.zeros_like(mean)
        rows.append([f"{factor:g}", mean[len(mean) // 4], mean[len(mean) // 2], mean[-1], float(error[-1])])
        drawn[f"{factor:g} sigma"] = (step * np.arange(1, len(mean) + 1), mean, error)
    report.value(name, {str(factor): np.mean(runs, axis=0) for factor, runs in curves.items()})
    header = ["times sigma", "after a quarter", "after half", "at the end", "error"]
    report.table(title + ": mean log-likelihood in nats", header, rows)
    figure = plot.plot_curves(drawn, x="update", y="log-likelihood (nats)", title=title)
    report.picture(name, figure, title + ": growth of the likelihood from first weights of several scales.")
    means = np.array([np.mean(runs, axis=0) for runs in curves.values()])
    multiples = list(curves)
    return multiples[int(means[:, means.shape[1] // 4].argmax())], multiples[int(means[:, -1].argmax())]
