"""Training of a machine with labels beside PyTorch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .peers import torch_labelled
from .peers.torch_labelled import LabelledParameters
from .protocol import Measure, Row, alternate, judge

if TYPE_CHECKING:
    from .cases import Bench, Case

N_HIDDEN, N_CLASSES, BATCH, RATE = 500, 10, 100, 0.05


def specifications() -> list[dict[str, Any]]:
    """Return the fields of the cases."""
    common = dict(peer="torch", target=5.0, kind="labelled", n_hidden=N_HIDDEN)
    work = f"discriminative epoch, binary rows{{}}, 784x{N_HIDDEN}, {N_CLASSES} classes, batch {BATCH}"
    name = f"discriminative{{}}-h{N_HIDDEN}-b{BATCH}-torch"
    return [
        dict(name=name.format(""), work=work.format(""), **common),
        # fewer bits are on, which PyTorch's products make nothing of
        dict(name=name.format("-mnist"), work=work.format(" of MNIST"), data="MNIST", **common),
    ]


def labels_of(X: np.ndarray, examples: np.ndarray) -> np.ndarray:
    """The nearest of ten examples: a label for images of any source."""
    return (X @ examples.T - 0.5 * np.square(examples).sum(axis=1)).argmax(axis=1)


def epoch(bench: Bench, case: Case) -> Row:
    """One pass from scratch on both sides; the quality is the mean log p(y | v) of held-out rows."""
    from fastrbm.classifiers import DiscriminativeRBM

    images = bench.images_of(case.data)
    X, held = images.binary, images.held_out_binary
    X = X[: len(X) // BATCH * BATCH]
    examples = X[:: len(X) // N_CLASSES][:N_CLASSES]
    y, wanted = labels_of(X, examples), labels_of(held, examples)
    few = 4 * BATCH

    def theirs(n: int, seed: int) -> LabelledParameters:
        return torch_labelled.fit(X[:n], y[:n], N_HIDDEN, BATCH, RATE, seed, bench.threads)

    def ours(n: int, seed: int) -> LabelledParameters:
        machine = DiscriminativeRBM(
            N_HIDDEN, objective="discriminative", learning_rate=RATE, batch_size=BATCH, n_iter=1, optimizer="sgd",
            random_state=seed, n_threads=bench.threads,
        ).fit(X[:n], y[:n])  # fmt: skip
        return LabelledParameters(
            machine.components_, machine.intercept_hidden_, machine.class_components_, machine.intercept_classes_
        )

    timing = alternate(
        lambda seed: theirs(len(X), seed),
        lambda seed: ours(len(X), seed),
        bench.rounds,
        threads=bench.threads,
        warm_up=(lambda: theirs(few, 0), lambda: ours(few, 0)),
        pause=bench.pause,
    )

    def figure(parameters: LabelledParameters) -> float:
        W, c, U, d = (x.astype(np.float64) for x in parameters)
        scores = np.stack([np.logaddexp(0, held @ W.T + c + u).sum(axis=1) for u in U], axis=1) + d
        scores -= np.logaddexp.reduce(scores, axis=1, keepdims=True)
        return float(scores[np.arange(len(wanted)), wanted].mean())

    measure = Measure("mean log p(y | v)", "higher", absolute=0.1 if bench.quick else 0.01)
    return bench._row(
        case, timing, judge(measure, [figure(x) for x in timing.peer_results], [figure(x) for x in timing.ours_results])
    )
