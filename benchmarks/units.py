"""Epochs of other units and optimisers beside BernoulliRBM's plain ones, and Gaussian units beside PyTorch.

A target of 0.77 says that a form may take 1.3 times as long as `BernoulliRBM` with the same sizes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .ours import FastRBM
from .peers import Training
from .protocol import Measure, Row, alternate, judge

if TYPE_CHECKING:
    from .cases import Bench, Case

PLAIN = "BernoulliRBM"

#: name of a form -> its estimator, further options, and learning rates of CD and PCD
FORMS: dict[str, tuple[str, dict[str, Any], float, float]] = {
    "ising": ("IsingRBM", {}, 0.02, 0.005),
    "potts": ("PottsRBM", {}, 0.1, 0.02),
    "rmsprop": ("BernoulliRBM", {"optimizer": "rmsprop"}, 0.001, 0.001),
    "adam": ("BernoulliRBM", {"optimizer": "adam"}, 0.001, 0.001),
    "gaussian": ("GaussianRBM", {}, 0.001, 0.001),
}


class Plain(FastRBM):
    """BernoulliRBM in the place of a peer."""

    name = PLAIN


def specifications() -> list[dict[str, Any]]:
    """Return the fields of the cases, in the order of the table."""
    found: list[dict[str, Any]] = []
    for form in ("ising", "potts", "rmsprop", "adam"):
        for algorithm in ("cd", "pcd"):
            training = Training(256, 256, 1, FORMS[form][2 if algorithm == "cd" else 3], algorithm)
            work = f"{form}: {algorithm.upper()}-1 epoch, 784x256, batch 256"
            found.append(
                dict(
                    name=f"{form}-{algorithm}1-h256-b256", work=work, peer=PLAIN, target=0.77, kind="form",
                    training=training,
                )
            )  # fmt: skip
    for sampled in (False, True):
        for peer, target in (("torch-gaussian", 4.0), ("torch-gaussian-onednn", None)):
            training = Training(256, 256, 1, FORMS["gaussian"][2], "cd", sampled=sampled)
            name = f"gaussian{'-sampled' if sampled else ''}-cd1-h256-b256-{peer}"
            work = f"gaussian: CD-1 epoch, standardised rows, 784x256, batch 256{', sampled' if sampled else ''}"
            found.append(dict(name=name, work=work, peer=peer, target=target, kind="real", training=training))
    return found


def fit(form: str, X: np.ndarray, training: Training, seed: int, threads: int, **options: Any) -> Any:
    """Train an estimator as a user would."""
    import fastrbm

    estimator, more, *_ = FORMS[form]
    return getattr(fastrbm, estimator)(
        training.n_hidden,
        learning_rate=training.rate,
        batch_size=training.batch,
        n_iter=training.n_epochs,
        random_state=seed,
        algorithm=training.algorithm,
        hidden_statistics="sampled" if training.sampled else "mean",
        n_threads=threads,
        **more,
        **options,
    ).fit(X)


def form(bench: Bench, case: Case) -> Row:
    """One of our forms and `BernoulliRBM`, both from biases of the data's means.

    The forms are different models, so their quality is judged by a yardstick of its own: rows that were held out must
    be reconstructed better than by the means of the columns.
    """
    name, training, threads = case.name.split("-")[0], case.training, bench.threads
    assert training is not None
    plain = replace(training, rate=0.1 if training.algorithm == "cd" else 0.02)
    X, held_out = bench.images.binary, bench.images.held_out_binary
    X = X[: len(X) // training.batch * training.batch]
    rows, held = (2 * X - 1, 2 * held_out - 1) if name == "ising" else (X, held_out)
    few = 4 * training.batch

    def theirs(n: int, seed: int) -> Any:
        from fastrbm import BernoulliRBM

        return BernoulliRBM(
            training.n_hidden, learning_rate=plain.rate, batch_size=training.batch, n_iter=training.n_epochs,
            random_state=seed, algorithm=training.algorithm, n_threads=threads, visible_bias="data",
        ).fit(X[:n])  # fmt: skip

    def ours(n: int, seed: int) -> Any:
        return fit(name, rows[:n], training, seed, threads, visible_bias="data")

    timing = alternate(
        lambda seed: theirs(len(X), seed),
        lambda seed: ours(len(X), seed),
        bench.rounds,
        threads=threads,
        warm_up=(lambda: theirs(few, 0), lambda: ours(few, 0)),
        pause=bench.pause,
    )
    by_means = float(np.sqrt(np.mean((held - rows.mean(axis=0)) ** 2)))
    reached = [float(np.sqrt(np.mean((held - model.reconstruct(held)) ** 2))) for model in timing.ours_results]
    measure = Measure("reconstruction RMSE against column means", "lower", relative=0.3 if bench.quick else 0.0)
    return bench._row(case, timing, judge(measure, [by_means], reached))


def real(bench: Bench, case: Case) -> Row:
    """Gaussian visible units on standardised grey images, and a peer that trains the same model."""
    peer, training, threads = bench.peers[case.peer], case.training, bench.threads
    assert training is not None
    grey = bench.images.grey
    mean, deviation = grey.mean(axis=0), np.maximum(grey.std(axis=0), 0.02)
    X = np.ascontiguousarray((grey - mean) / deviation, dtype=np.float32)
    X = X[: len(X) // training.batch * training.batch]
    held = ((bench.images.held_out_grey - mean) / deviation).astype(np.float64)
    few = X[: 4 * training.batch]
    timing = alternate(
        lambda seed: peer.fit_epochs(X, training, seed=seed, threads=threads),
        lambda seed: fit("gaussian", X, training, seed, threads),
        bench.rounds,
        threads=threads,
        warm_up=(
            lambda: peer.fit_epochs(few, training, seed=0, threads=threads),
            lambda: fit("gaussian", few, training, 0, threads),
        ),
        pause=bench.pause,
    )

    def error(W: np.ndarray, b: np.ndarray, a: np.ndarray) -> float:
        W, b, a = (np.asarray(x, dtype=np.float64) for x in (W, b, a))
        hidden = 0.5 * (1 + np.tanh(0.5 * (held @ W.T + b)))
        return float(np.sqrt(np.mean((held - a - hidden @ W) ** 2)))

    measure = Measure("reconstruction RMSE", "lower", relative=0.3 if bench.quick else 0.02)
    theirs = [error(*parameters) for parameters in timing.peer_results]
    ours = [error(m.components_, m.intercept_hidden_, m.intercept_visible_) for m in timing.ours_results]
    return bench._row(case, timing, judge(measure, theirs, ours))
