"""``fastrbm demo``: what a restricted Boltzmann machine learns, how good its features are, and how fast.

Settings were chosen on a validation split cut from the training images; the test images are used once, for
the table. :func:`run` with ``validation=True`` shows that split's figures instead.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from .. import datasets, plot
from .arguments import whole
from .messages import has_bars
from .output import draw_without_windows, results_folder

DESCRIPTION = """Train on the digits, and on Fashion-MNIST if its files are at hand; compare features with raw pixels
and speed with scikit-learn; write pictures and models."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give the parser its options."""
    parser.add_argument("--out", metavar="DIR", default="fastrbm-demo", help="folder for pictures and models")
    parser.add_argument("--quick", action="store_true", help="smaller: a few seconds instead of a minute")
    parser.add_argument("--threads", type=whole(1), metavar="N", help="all processors if not given")


def command(options: argparse.Namespace) -> int:
    """Run the demo."""
    draw_without_windows()
    with results_folder(options.out) as out:
        run(out, quick=options.quick, n_threads=options.threads)
    return 0


class Task(NamedTuple):
    """One data set, split; all images are uint8, 0..255."""

    name: str
    shape: tuple[int, int]
    images: np.ndarray  #: for the RBM and the classifier on its features
    labels: np.ndarray
    raw_images: np.ndarray  #: for the classifier on pixels
    raw_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


class Settings(NamedTuple):
    """What was chosen for one data set."""

    rbm: dict[str, Any]  #: options of BernoulliRBM
    momentum: float
    classifier: dict[str, Any]  #: options of LogisticRegression on RBM features
    raw_classifier: dict[str, Any]  #: the same on pixels
    race: dict[str, Any]  #: options of both machines when timed
    race_rows: int  #: how many images, at most, they are timed on


class Race(NamedTuple):
    """Seconds for one epoch, and the mean pseudo-likelihood after it."""

    rows: int
    hidden: int
    batch: int
    theirs: float
    ours: float
    their_score: float
    our_score: float


class Result(NamedTuple):
    """One column of the final table."""

    name: str
    hidden: int
    seconds: float
    pseudo_likelihood: float
    raw_accuracy: float
    accuracy: float
    race: Race


# Chosen by cross-validation within the training images (digits: 5 folds by image; 98.3 % against 96.7 % for
# pixels) or on 10000 of them held back (fashion-mnist: 88.0 % against 85.8 %; quick 85.6 % against 84.3 %),
# over hidden units, rate, momentum, batch size, epochs, and C of both classifiers.
_CHAIN_STEPS = 25
_DIGITS = Settings(
    {"n_components": 500, "algorithm": "cd", "learning_rate": 0.02, "batch_size": 10, "n_iter": 50},
    momentum=0.9,
    classifier={"C": 0.3, "max_iter": 150},
    raw_classifier={"C": 1.0, "max_iter": 150},
    race={"n_components": 256, "learning_rate": 0.05, "batch_size": 10},
    race_rows=10000,
)
_DIGITS_QUICK = _DIGITS._replace(rbm=_DIGITS.rbm | {"n_components": 400, "n_iter": 25})
_FASHION = Settings(
    {"n_components": 1024, "algorithm": "cd", "learning_rate": 0.05, "batch_size": 100, "n_iter": 12},
    momentum=0.0,
    classifier={"C": 0.05, "max_iter": 150},
    raw_classifier={"C": 0.01, "max_iter": 60},  # more iterations change nothing
    race={"n_components": 256, "learning_rate": 0.01, "batch_size": 256},
    race_rows=20000,
)
_FASHION_QUICK = _FASHION._replace(
    rbm=_FASHION.rbm | {"n_components": 512, "batch_size": 50},
    momentum=0.5,
    classifier={"C": 0.1, "max_iter": 150},
    race_rows=10000,
)


def run(out: Path, *, quick: bool = False, n_threads: int | None = None, validation: bool = False) -> None:
    """Train, score, time, draw, and print a table.

    Parameters
    ----------
    out : pathlib.Path
        Folder for pictures and models, one sub-folder per data set; made if missing.
    quick : bool, default=False
        Smaller machines, fewer epochs and images.
    n_threads : int, optional
        For both fastrbm and scikit-learn; all processors if left out.
    validation : bool, default=False
        Score images held back from the training set instead of the test set.

    Raises
    ------
    OSError
        If ``out`` cannot be written.
    ImportError
        If matplotlib or tqdm is missing.
    """
    from threadpoolctl import threadpool_limits

    if not all(map(importlib.util.find_spec, ("matplotlib", "tqdm"))):
        raise ImportError('the demo needs matplotlib and tqdm: pip install "fastrbm[plot]"')
    start = time.perf_counter()
    threads = n_threads or _processors()
    busy = hasattr(os, "getloadavg") and os.getloadavg()[0] > 0.5
    out.mkdir(parents=True, exist_ok=True)
    results = []
    with threadpool_limits(threads):
        for task, settings in _tasks(quick, validation):
            n_images, n_test = len(task.images), len(task.test_images)
            n_shifted = n_images - len(task.raw_images)
            shifted = f", {n_shifted} of them shifted by a pixel" if n_shifted else ""
            print(f"\n{task.name}: {n_images} images to learn from{shifted}; {n_test} to test on")
            results.append(_work(task, settings, out / task.name, threads))
    print("\n" + _table(results, "validation" if validation else "test"))
    print(_PROTOCOL.format(threads=threads))
    if busy:
        print("Other programs were running at the start: the times and their ratio are not to be trusted.")
    print(f"Pictures and models are in {out}. Everything took {time.perf_counter() - start:.0f} s.")


_PROTOCOL = """
Accuracy: scikit-learn's LogisticRegression on p(hidden = 1 | pixels) or on pixels, both standardised.
Pseudo-likelihood: nats per held-out image, its grey values drawn as bits. Time: fits of two epochs
from scratch by PCD, same bits, batch size and rate, float32, {threads} threads each, in turn, median of 5."""


def _processors() -> int:
    # A container or a batch system may grant fewer than the machine has.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _tasks(quick: bool, validation: bool) -> Iterator[tuple[Task, Settings]]:
    yield _digits(validation), _DIGITS_QUICK if quick else _DIGITS
    try:
        task = _fashion(quick, validation)
    except datasets.DatasetNotFoundError:
        print("\nfashion-mnist: left out, no local copy (fastrbm train fashion-mnist downloads one)")
    else:
        yield task, _FASHION_QUICK if quick else _FASHION


def _split(labels: np.ndarray, held_back: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    from sklearn.model_selection import train_test_split

    return train_test_split(np.arange(len(labels)), test_size=held_back, stratify=labels, random_state=seed)


def _digits(validation: bool) -> Task:
    """Split by image first, then shift: no copy of a test image, shifted or not, is learnt from."""
    images, labels, shape, name = datasets.load_digits()
    learn, test = _split(labels, 540, seed=0)
    if validation:
        rest, held_back = _split(labels[learn], 360, seed=1)
        learn, test = learn[rest], learn[held_back]
    shifted, shifted_labels = datasets.nudge(images[learn], shape, labels[learn])
    # Shifted copies help the RBM's features but hurt a linear classifier on pixels, so that one does without.
    return Task(name, shape, shifted, shifted_labels, images[learn], labels[learn], images[test], labels[test])


def _fashion(quick: bool, validation: bool) -> Task:
    images, labels, shape, name = datasets.load_fashion_mnist("train", download=False)
    if validation:
        learn, held_back = _split(labels, 10000, seed=0)
        test_images, test_labels = images[held_back], labels[held_back]
        images, labels = images[learn], labels[learn]
    else:
        test_images, test_labels = datasets.load_fashion_mnist("test", download=False)[:2]
    if quick:
        images, labels = images[:10000], labels[:10000]
    return Task(name, shape, images, labels, images, labels, test_images, test_labels)


def _work(task: Task, settings: Settings, out: Path, threads: int) -> Result:
    from fastrbm import SGD, BernoulliRBM, callbacks

    # As floats: a machine trained on grey bytes takes bytes for grey values, not for bits.
    bits = datasets.binarize(task.test_images, random_state=0).astype(np.float32)
    some = datasets.binarize(task.raw_images[:1000], random_state=2).astype(np.float32)  # for the curve
    rbm = BernoulliRBM(
        **settings.rbm,
        optimizer=SGD(momentum=settings.momentum),
        stochastic_input=True,  # learns from bits drawn anew from the grey values at every use
        n_threads=threads,
        random_state=0,
        callbacks=(
            callbacks.PseudoLikelihood(some),
            callbacks.ReconstructionError(some),
            *((callbacks.ProgressBar(leave=True),) if has_bars(quiet=False) else ()),
        ),
    )
    start = time.perf_counter()
    rbm.fit(task.images)
    seconds = time.perf_counter() - start
    out.mkdir(parents=True, exist_ok=True)
    rbm.save(out / "model.npz")
    _draw(rbm, task, out)
    test = task.test_images, task.test_labels
    raw_accuracy = _accuracy(settings.raw_classifier, _grey, task.raw_images, task.raw_labels, *test)
    accuracy = _accuracy(settings.classifier, rbm.transform, task.images, task.labels, *test)
    race = _race(_race_images(task, settings), bits, settings.race, threads)
    score = float(np.mean(rbm.score_samples(bits)))
    return Result(task.name, rbm.components_.shape[0], seconds, score, raw_accuracy, accuracy, race)


def _draw(rbm: Any, task: Task, out: Path) -> None:
    start = datasets.binarize(task.raw_images[-100:], random_state=3).astype(np.float32)
    states = rbm.sample(len(start), n_steps=_CHAIN_STEPS, init=start, random_state=0)
    grey = rbm.reconstruct(states.astype(np.float32))  # probabilities show more than bits
    title = f"{task.name}: chains from training images, {_CHAIN_STEPS} Gibbs steps"
    plot.save_png(plot.plot_samples(grey, task.shape, title=title), out / "samples.png")
    largest = np.argsort(-np.linalg.norm(rbm.components_, axis=1))[:100]
    title = f"{task.name}: weights of the {len(largest)} hidden units with the largest, of {len(rbm.components_)}"
    plot.save_png(plot.plot_filters(rbm.components_[largest], task.shape, title=title), out / "filters.png")
    plot.save_png(plot.plot_learning_curve(rbm, title=task.name), out / "learning_curve.png")


def _grey(images: np.ndarray) -> np.ndarray:
    return images.astype(np.float32) / np.float32(255)


def _accuracy(
    options: dict[str, Any],
    encode: Callable[[np.ndarray], np.ndarray],
    images: np.ndarray,
    labels: np.ndarray,
    test_images: np.ndarray,
    test_labels: np.ndarray,
) -> float:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    classifier = make_pipeline(StandardScaler(copy=False), LogisticRegression(**options))
    # One thread: its products are too narrow to gain from two, and two pools of waiting threads cost more.
    with warnings.catch_warnings(), threadpool_limits(1):
        # The limit of iterations is there to keep the time short; it was in force when C was chosen.
        warnings.simplefilter("ignore", ConvergenceWarning)
        classifier.fit(encode(images), labels)
    return float(classifier.score(encode(test_images), test_labels))


def _race_images(task: Task, settings: Settings) -> np.ndarray:
    """Choose images that suit both machines; the order is mixed and the batches are whole.

    scikit-learn does not shuffle, and the digits come in blocks of one shift each; and in a short last batch
    it weighs all its chains against the few images there, which spoils its model.
    """
    batch = settings.race["batch_size"]
    count = min(len(task.images), settings.race_rows) // batch * batch
    mixed = np.random.default_rng(0).permutation(len(task.images))[:count]
    return datasets.binarize(task.images[mixed], random_state=1)


def _race(bits: np.ndarray, test_bits: np.ndarray, options: dict[str, Any], threads: int) -> Race:
    """Time scikit-learn's machine and ours in turn, learning two epochs from scratch with equal settings."""
    from sklearn.neural_network import BernoulliRBM as TheirRBM

    from fastrbm import BernoulliRBM

    theirs = TheirRBM(**options, n_iter=2, random_state=0)
    ours = BernoulliRBM(**options, n_iter=2, random_state=0, n_threads=threads)
    floats = bits.astype(np.float32)
    seconds: tuple[list[float], list[float]] = ([], [])
    warm_up = max(10 * options["batch_size"], 100)
    for rbm, rows in ((theirs, floats), (ours, bits)):
        rbm.fit(rows[:warm_up])
    for _ in range(5):
        for rbm, rows, record in ((theirs, floats, seconds[0]), (ours, bits, seconds[1])):
            time.sleep(0.2)  # the other side's threads keep spinning for a while after their last product
            start = time.perf_counter()
            rbm.fit(rows)
            record.append((time.perf_counter() - start) / 2)
    scores = [float(np.mean(rbm.score_samples(test_bits))) for rbm in (theirs, ours)]
    return Race(len(bits), options["n_components"], options["batch_size"], *map(median, seconds), *scores)


def _table(results: list[Result], held_out: str) -> str:
    rows: list[tuple[str, Callable[[Result], str]]] = [
        ("data set", lambda r: r.name),
        ("hidden units", lambda r: f"{r.hidden}"),
        ("training", lambda r: f"{r.seconds:.1f} s"),
        ("pseudo-likelihood", lambda r: f"{r.pseudo_likelihood:.2f}"),
        (f"{held_out} accuracy, RBM features", lambda r: f"{r.accuracy:.2%}"),
        (f"{held_out} accuracy, pixels", lambda r: f"{r.raw_accuracy:.2%}"),
        ("timed on", lambda r: f"{r.race.rows} x {r.race.hidden}, batch {r.race.batch}"),
        ("one epoch, fastrbm", lambda r: f"{r.race.ours:.3f} s"),
        ("one epoch, scikit-learn", lambda r: f"{r.race.theirs:.3f} s"),
        ("ratio", lambda r: f"{r.race.theirs / r.race.ours:.1f} x"),
        ("pseudo-likelihood, fastrbm", lambda r: f"{r.race.our_score:.2f}"),
        ("pseudo-likelihood, scikit-learn", lambda r: f"{r.race.their_score:.2f}"),
    ]
    return "\n".join(f"{label:<33}" + "".join(f"{cell(r):>24}" for r in results) for label, cell in rows)
