"""Fashion-MNIST: linear and small networks on pixels and on features of one machine, and votes of the best machines."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.manifold import TSNE
from sklearn.metrics import accuracy_score, f1_score

from .. import datasets, plot
from ..classifiers import PatchFeatures
from ..deep import DBNClassifier, DeepBeliefNetwork, augment
from ..estimators import BernoulliRBM, GaussianRBM
from ..init import Normal
from ..schedules import Cosine
from ._report import Report
from ._settings import Settings

__all__ = ["run"]

NAMES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot")
#: a grey value is coded as that of four ramps, each from 0 to 1 within RAMP around its middle: a single bit for it
#: loses what tells fabrics apart
MIDDLES, RAMP = (16, 64, 128, 192), 64
#: of the machine whose features both classifiers take; first weights are larger than usual, for features that differ
FEATURES: dict[str, Any] = {
    "n_components": 4000,
    "algorithm": "cd",
    "learning_rate": 0.05,
    "batch_size": 100,
    "n_iter": 4,
    "stochastic_input": True,
    "visible_bias": "data",
    "init": Normal(0.05),
}
#: features of a smaller deviation are not blown up to 1
LEAST_DEVIATION = 0.1
LOGISTIC: dict[str, Any] = {"C": 0.002, "max_iter": 60}
LOGISTIC_PIXELS: dict[str, Any] = {"C": 0.01, "max_iter": 60}
#: one layer of ReLU units, as published; the same on pixels and on features
NETWORK: dict[str, Any] = {
    "activation": "relu",
    "hidden_dropout": 0.5,
    "input_dropout": 0.2,
    "learning_rate": Cosine(0.0005, 1e-5),
    "batch_size": 200,
    "n_iter": 10,
}
WIDTH = 512
#: patches of 6x6 pixels, their features averaged in 3x3 cells: what `PatchFeatures` does by itself
LOGISTIC_PATCHES: dict[str, Any] = {"C": 0.005, "max_iter": 100}
LAYERS = (1000, 1000)
FINE_TUNING: dict[str, Any] = {
    "activation": "relu",
    "hidden_dropout": 0.2,
    "learning_rate": Cosine(0.0015, 1e-5),
    "batch_size": 200,
    "n_iter": 60,
}
#: the best machine adds up the probabilities of these, the second of so many machines of patches
VOTERS = ("network, features", "network, features of patches", "deep belief network, fine-tuned")
N_NETWORKS = 4
BEST = "best machine: vote of networks"


class Data(NamedTuple):
    """Images of bytes and labels."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int64]
    shape: tuple[int, int]


class Scores(NamedTuple):
    """Accuracy in per cent and macro F1 of test predictions, and the cost of getting there."""

    accuracy: list[float]
    f1: list[float]
    seconds: list[float]
    minutes: list[float]


def run(settings: Settings, report: Report) -> None:
    """Train the published five kinds of models, the same on patches, a deep belief network, and a vote."""
    data = _data(settings)
    # name -> what predicts, of which inputs, published accuracy and macro F1, accuracy to reach
    lines: dict[str, tuple[Any, str, Any, Any, float | None]] = {
        "logistic regression, pixels": (partial(_logistic, LOGISTIC_PIXELS), "pixels", 84.71, 0.846, None),
        "network, pixels": (_network, "pixels", 88.06, 0.879, None),
        "logistic regression, ramps of pixels": (partial(_logistic, LOGISTIC), "ramps", None, None, None),
        "logistic regression, features": (partial(_logistic, LOGISTIC), "features", 87.14, 0.871, 89.0),
        VOTERS[0]: (_network, "features", 86.95, 0.869, 90.0),
        "logistic regression, features of patches": (partial(_logistic, LOGISTIC_PATCHES), "patches", None, None, 89.0),
        VOTERS[1]: (_network, "patches", None, None, 90.0),
        VOTERS[2]: (_stack, "images", None, None, None),
        BEST: (_more_networks, "images", "91.29 (CNN)", 0.913, 91.3),
    }
    scores = {name: Scores([], [], [], []) for name in lines}
    votes: dict[str, NDArray[np.float64]] = {}
    for seed in settings.seeds:
        for kind, make in _INPUTS.items():
            with report.timed() as before:
                inputs = make(settings, data, seed)
            for name, (predict, source, *_) in lines.items():
                if source != kind:
                    continue
                others = VOTERS if name == BEST else ()
                with report.timed() as clock:
                    votes[name] = sum((votes[x] for x in others), predict(settings, data, *inputs, seed))
                # labels are 0, 1, ...
                found, predicted = scores[name], votes[name].argmax(axis=1)
                found.accuracy.append(100 * float(accuracy_score(data.test_labels, predicted)))
                found.f1.append(float(f1_score(data.test_labels, predicted, average="macro")))
                # each classifier counts the machine, or the networks, as its own
                found.seconds.append(sum((scores[x].seconds[-1] for x in others), before.seconds + clock.seconds))
                own = (before.cpu_seconds + clock.cpu_seconds) / 60
                found.minutes.append(sum((scores[x].minutes[-1] for x in others), own))
            del inputs  # gigabytes of features
    for name, (_, _, published, _, target) in lines.items():
        found = scores[name]
        seconds = float(np.median(found.seconds))
        report.row(name, found.accuracy, published=published, target=target, unit="% of test images", seconds=seconds)
    for name, (_, _, _, published, _) in lines.items():
        report.row(f"{name}: macro F1", scores[name].f1, published=published, digits=4)
    for name in lines:
        target = 10.0 if "features" in name else None
        minutes = scores[name].minutes
        report.row(f"{name}: processor minutes", minutes, target=target, unit="min", better="lower")
    if settings.quick:
        report.note("Digits of scikit-learn, 100 hidden units, and few passes.")
    else:
        report.note(_ABOUT)
    _pictures(settings, report, data, predicted)


_ABOUT = (
    "The published figures are of searches over many trials on the test set; here options were chosen on 10000 "
    "training images that were held back, and test images are looked at once for each seed. Each grey value is "
    f"coded as four ramps, from 0 to 1 within {RAMP} around {MIDDLES}. Features are these and the means of hidden "
    "units, standardised. The machine sees bits that are drawn anew from the ramps at every use. Features of patches "
    "are means of the hidden units of a Gaussian machine of 6x6 pixels in 3x3 cells. The deep belief network "
    "takes grey pixels. It sees mirror images, too. The best machine adds up the "
    f"probabilities of {N_NETWORKS} networks on patches, that on features and the deep belief network."
)


def _data(settings: Settings) -> Data:
    if settings.quick:
        digits = datasets.load_digits()
        n = 800
        return Data(digits.images[:n], digits.labels[:n], digits.images[n:], digits.labels[n:], digits.shape)
    train, test = settings.fashion_mnist("train"), settings.fashion_mnist("test")
    return Data(train.images, train.labels, test.images, test.labels, train.shape)


def _grey(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return images.astype(np.float32) / np.float32(255)


def _standardised(
    train: NDArray[np.float32], test: NDArray[np.float32], least: float = 0.0
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Both in place, by means and deviations of the first; a deviation counts as `least` at least."""
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    deviation = np.maximum(deviation, least) if least else np.where(deviation, deviation, np.float32(1))
    for rows in (train, test):
        rows -= mean
        rows /= deviation
    return train, test


def _pixels(settings: Settings, data: Data, seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return _standardised(_grey(data.images), _grey(data.test_images))


def _ramps(settings: Settings, data: Data, seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return _standardised(_coded(data.images), _coded(data.test_images), LEAST_DEVIATION)


def _features(settings: Settings, data: Data, seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Means of hidden units and ramps."""
    train, test = _coded(data.images), _coded(data.test_images)
    machine = _machine(settings, train, seed)
    train, test = (np.hstack([machine.transform(rows), rows]) for rows in (train, test))
    return _standardised(train, test, LEAST_DEVIATION)


def _patches(settings: Settings, data: Data, seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    machine = _patch_machine(settings, data, seed).fit(data.images)
    return _standardised(machine.transform(data.images), machine.transform(data.test_images))


def _patch_machine(settings: Settings, data: Data, seed: int) -> PatchFeatures:
    small = {"patch": 3, "n_patches": 3000, "rbm__n_components": 30} if settings.quick else {}
    machine = PatchFeatures(shape=data.shape, random_state=seed)
    return machine.set_params(rbm__n_threads=settings.n_threads, **small)


def _images(settings: Settings, data: Data, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    return data.images, data.test_images


#: what makes the inputs of training and test
_INPUTS: dict[str, Any] = {
    "pixels": _pixels,
    "ramps": _ramps,
    "features": _features,
    "patches": _patches,
    "images": _images,
}


def _coded(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Ramps of each grey value, of one middle after another."""
    n_rows, n_pixels = images.shape
    coded = np.empty((n_rows, len(MIDDLES), n_pixels), np.float32)
    for level, middle in enumerate(MIDDLES):
        np.subtract(images, np.float32(middle - RAMP / 2), out=coded[:, level])
    coded /= RAMP
    return np.clip(coded, 0, 1, out=coded).reshape(n_rows, -1)


def _machine(settings: Settings, rows: Any, seed: int, **other: Any) -> BernoulliRBM:
    small = {"n_components": 100} if settings.quick else {}
    options = FEATURES | other | small
    return BernoulliRBM(**options, random_state=seed, n_threads=settings.n_threads).fit(rows)


def _logistic(
    options: dict[str, Any], settings: Settings, data: Data, rows: Any, test: Any, seed: int
) -> NDArray[np.float64]:
    # its limit of iterations was in force when C was chosen
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LogisticRegression(**options).fit(rows, data.labels).predict_proba(test)


def _network(settings: Settings, data: Data, rows: Any, test: Any, seed: int) -> NDArray[np.float64]:
    # Gaussian visible units: the network's inputs are real numbers
    layers = DeepBeliefNetwork([GaussianRBM(50 if settings.quick else WIDTH)])
    options = NETWORK | _short(settings)
    network = DBNClassifier(layers, pretrain=False, random_state=seed, n_threads=settings.n_threads, **options)
    return network.fit(rows, data.labels).predict_proba(test)


def _short(settings: Settings) -> dict[str, Any]:
    return {"n_iter": 20, "batch_size": 20} if settings.quick else {}


def _more_networks(settings: Settings, data: Data, rows: Any, test: Any, seed: int) -> NDArray[np.float64]:
    """Sum of the probabilities of several networks, each on patches of a machine of its own."""
    total = np.zeros((len(test), 10))
    for vote in range(1, 2 if settings.quick else N_NETWORKS):
        number = 1000 * seed + vote
        total += _network(settings, data, *_patches(settings, data, number), number)
    return total


def _stack(settings: Settings, data: Data, rows: Any, test: Any, seed: int) -> NDArray[np.float64]:
    """Of a fine-tuned deep belief network on grey pixels, for each image and its mirror image."""
    changes = [augment.Shift(data.shape)] if settings.quick else [augment.Flip(data.shape), augment.Shift(data.shape)]
    machines = [
        BernoulliRBM(
            width,
            algorithm="cd",
            learning_rate=0.05,
            batch_size=100,
            n_iter=5,
            stochastic_input=True,
            visible_bias="data",
            init=Normal(0.1 if level == 0 else 0.05),
            n_threads=settings.n_threads,
        )
        for level, width in enumerate((100, 50) if settings.quick else LAYERS)
    ]
    network = DBNClassifier(
        DeepBeliefNetwork(machines),
        augment=changes,
        random_state=seed,
        n_threads=settings.n_threads,
        **(FINE_TUNING | _short(settings)),
    ).fit(data.images, data.labels)
    total = network.predict_proba(test)
    if not settings.quick:  # a mirrored digit is another one, or none
        total += network.predict_proba(test.reshape(-1, *data.shape)[:, :, ::-1].reshape(test.shape))
    return total


def _pictures(settings: Settings, report: Report, data: Data, predicted: NDArray[np.int64]) -> None:
    """Of the first seed's machine, and the mistakes of the last one's best machine."""
    names = None if settings.quick else NAMES
    figure = plot.plot_confusion_matrix(data.test_labels, predicted, names=names)
    report.picture("confusion", figure, "What the best machine takes test images for; rows are true classes.")
    seed = settings.seeds[0]
    # of grey values themselves: filters of ramps are no pictures
    machine = _machine(settings, data.images, seed, n_components=1000, n_iter=8, init=Normal(0.2))
    largest = np.argsort(-np.linalg.norm(machine.components_, axis=1))[:100]
    figure = plot.plot_filters(machine.components_[largest], data.shape)
    report.picture("filters", figure, "The largest weights of a smaller machine.")
    start = datasets.binarize(data.images[:64], method="bernoulli", random_state=0).astype(np.float32)
    states = machine.sample(64, n_steps=100, init=start, random_state=0)
    figure = plot.plot_samples(machine.reconstruct(states.astype(np.float32)), data.shape, columns=16)
    report.picture("samples", figure, "Its chains, 100 Gibbs steps from training images.")
    some = slice(0, 200 if settings.quick else 2000)
    hidden, labels = machine.transform(data.test_images[some]), data.test_labels[some]
    plane = TSNE(init="pca", random_state=seed).fit_transform(hidden)
    report.picture("t_sne", plot.plot_embedding(plane, labels, names=names), "Its features of test images (t-SNE).")
    figure = plot.plot_activations(hidden, labels, names=names)
    report.picture("activations", figure, "Mean of each of its hidden units for each class.")
    bits = datasets.binarize(data.test_images, method="bernoulli", random_state=0).astype(np.float32)
    energies = {"test images": machine.free_energy(bits), "chains": machine.free_energy(states.astype(np.float32))}
    figure = plot.plot_distributions(energies, x="free energy")
    report.picture("energies", figure, "Free energies of test images and of its chains.")
