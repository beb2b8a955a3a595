"""What the golden hashes are of: small fits and their results, for fixed seeds.

A case is a function without arguments that returns named groups of arrays. Cases cross estimators, algorithms,
optimisers, strategies, precisions and backends, whether the options allow each other or not: that a combination is
refused is a result, too.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import golden_machines
import numpy as np

import fastrbm
from fastrbm import compat, likelihood, regularizers
from fastrbm._kernels import PackedBits, get_backend
from fastrbm._kernels.draws import Key
from fastrbm.likelihood import paths
from fastrbm.many import variants
from fastrbm.samplers import temper
from fastrbm.units import get_unit

Groups = dict[str, list[Any]]

N_ROWS, N_VISIBLE, N_HIDDEN = 45, 37, 12

OPTIMIZERS = {
    "sgd": "sgd",
    "momentum": fastrbm.SGD(momentum=0.9),
    "nesterov": fastrbm.SGD(momentum=0.9, nesterov=True),
    "rmsprop": "rmsprop",
    "rmsprop-momentum": fastrbm.RMSprop(momentum=0.5),
    "adam": "adam",
    "amsgrad": fastrbm.Adam(amsgrad=True),
}
ALGORITHMS = ("cd", "pcd", "fpcd", "pt", "exact", "em")
STRATEGIES = ("dense", "delta", "bounds", "lcd", "lowbit")


def _random(*seed: int) -> np.random.Generator:
    return np.random.default_rng([2026, *seed])


def bits(n: int = N_ROWS, width: int = N_VISIBLE) -> Any:
    """Rows of 0 and 1 with some structure."""
    rng = _random(1, n, width)
    prototypes = rng.random((4, width)) < 0.4
    return (prototypes[rng.integers(4, size=n)] ^ (rng.random((n, width)) < 0.1)).astype(np.float32)


def grey(n: int = N_ROWS, width: int = N_VISIBLE) -> Any:
    """Rows between 0 and 1."""
    return (0.8 * bits(n, width) + 0.2 * _random(2, n, width).random((n, width))).astype(np.float32)


def real(n: int = N_ROWS, width: int = N_VISIBLE) -> Any:
    """Rows of real numbers."""
    return (bits(n, width) + _random(3, n, width).normal(0, 0.5, (n, width))).astype(np.float32)


def counts(n: int = N_ROWS, width: int = N_VISIBLE) -> Any:
    """Rows of whole numbers from 0 to 3."""
    return _random(4, n, width).integers(0, 4, (n, width)).astype(np.float32)


def categories(missing: bool = False) -> Any:
    """Rows of categories 0, 1, 2."""
    x = _random(5).integers(0, 3, (N_ROWS, 11)).astype(np.float32)
    if missing:
        x[_random(6).random(x.shape) < 0.2] = np.nan
    return x


def mixed() -> Any:
    """Rows whose columns are of different kinds."""
    return np.hstack([real(width=10), bits(width=17), counts(width=10)])


#: name -> (class, options, rows)
ESTIMATORS: dict[str, tuple[Any, dict[str, Any], Callable[[], Any]]] = {
    "bernoulli": (fastrbm.BernoulliRBM, {}, bits),
    "bernoulli-grey": (fastrbm.BernoulliRBM, {}, grey),
    "bernoulli-drawn": (fastrbm.BernoulliRBM, {"stochastic_input": True}, grey),
    "ising": (fastrbm.IsingRBM, {}, lambda: 2 * bits() - 1),
    "potts": (fastrbm.PottsRBM, {}, bits),
    "gaussian": (fastrbm.GaussianRBM, {}, real),
    "gaussian-learned": (fastrbm.GaussianRBM, {"sigma": "learned"}, real),
    "gaussian-variance": (fastrbm.GaussianRBM, {"sigma": "data", "scaling": "variance", "hidden": "onehot"}, real),
    "softmax": (fastrbm.SoftmaxRBM, {}, categories),
    "softmax-missing": (fastrbm.SoftmaxRBM, {}, partial(categories, True)),
    "binomial": (fastrbm.RBM, {"visible": "binomial(3)"}, counts),
    "relu": (fastrbm.RBM, {"visible": "relu", "learning_rate": 0.01}, counts),
    "hidden-relu": (fastrbm.RBM, {"visible": "bernoulli", "hidden": "relu", "learning_rate": 0.01}, bits),
    "mixed": (
        fastrbm.RBM,
        {"visible": "mixed(gaussian*10,bernoulli*17,binomial(3)*10)", "hidden": "ising", "learning_rate": 0.01},
        mixed,
    ),
    "sklearn": (compat.BernoulliRBM, {}, bits),
    "sklearn-grey": (compat.BernoulliRBM, {"dtype": np.float64}, grey),
}

#: options on top of an estimator
VARIANTS: dict[str, dict[str, Any]] = {
    "float64": {"dtype": np.float64},
    "fast": {"precision": "fast"},
    "fast-cd3": {"precision": "fast", "algorithm": "cd", "n_gibbs_steps": 3},
    "sampled": {"hidden_statistics": "sampled"},
    "sampled-cd": {"hidden_statistics": "sampled", "algorithm": "cd", "n_gibbs_steps": 2},
    "centered": {"centered": True},
    "temperature": {"temperature": 1.5},
    "chains": {"n_chains": 70, "n_gibbs_steps": 2},
    "xavier-data": {"init": "xavier", "visible_bias": "data"},
    "lc": {"init": "lc"},
    "ordered-steps": {"shuffle": False, "steps_per_epoch": 5},
    "held-out": {"validation_fraction": 0.2, "early_stopping": "free_energy_gap"},
    "watched": {"validation_fraction": 0.2},
    "l1-l2-clip": {"regularizers": (regularizers.L1(1e-3), regularizers.L2(1e-2), regularizers.Clip(value=0.05))},
    "clip-norm": {"regularizers": (regularizers.Clip(norm=0.1),)},
    "sparsity": {"regularizers": (regularizers.SparsityTarget(),)},
    "max-norm": {"regularizers": (regularizers.MaxNorm(0.05),)},
    "dropout": {"regularizers": (regularizers.Dropout(0.3),)},
    "drop-connect": {"regularizers": (regularizers.DropConnect(0.3),)},
    "uncertainty": {"regularizers": (regularizers.WeightUncertainty(),)},
    "scheduled": {
        "learning_rate": fastrbm.schedules.Linear(0.1, 0.01),
        "batch_size": lambda epoch, n: 8 * (1 + epoch),
    },
    "hidden-ising": {"hidden": "ising"},
    **{f"cd5-{name}": {"algorithm": "cd", "n_gibbs_steps": 5, "strategy": name} for name in STRATEGIES},
}


def flat(value: Any) -> Iterator[Any]:
    """Arrays in nested containers, in a fixed order."""
    if isinstance(value, PackedBits):
        yield value.words
    elif isinstance(value, dict):
        for name in sorted(value):
            yield from flat(value[name])
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from flat(one)
    elif value is not None:
        yield np.asarray(value)


def results(estimator: Any, rows: Any, more: bool = True) -> Groups:
    """What a fitted estimator is and says."""
    state = getattr(estimator, "_state", None)
    tempered = getattr(state, "population", None)
    groups: Groups = {
        "parameters": [estimator.components_, estimator.intercept_visible_, estimator.intercept_hidden_],
        "state": [
            getattr(estimator, "h_samples_", None),
            {k: v for k, v in estimator.history_.items() if k != "seconds"},
        ],
    }
    if state is not None:
        groups["state"] += [state.slots, state.chains.chains, state.chains.step, state.chains.updates, state.extras]
        groups["state"] += [] if tempered is None else [tempered.hidden, tempered.betas, tempered.marks]
    if not more:
        return groups
    groups["outputs"] = [estimator.transform(rows), estimator.reconstruct(rows)]
    groups["draws"] = [estimator.sample_hidden(rows, random_state=3), estimator.sample(9, 3, random_state=4)]
    groups["scores"] = [estimator.free_energy(rows)]
    if get_unit(estimator.units[0]).binary:
        groups["scores"].append(estimator.score_samples(rows))
    if estimator.units[1] != "relu":  # neither layer of which can be listed
        groups["log_z"] = [float(estimator.log_partition("exact"))]
    return groups


def fitted(name: str, device: str = "cpu", more: bool = True, **options: Any) -> Groups:
    """Results of an estimator of the table with other options."""
    cls, own, rows = ESTIMATORS[name]
    given = {"n_components": N_HIDDEN, "n_iter": 2, "batch_size": 16, "random_state": 7, "device": device}
    x = rows()
    estimator = cls(**{**given, **own, **options})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return results(estimator.fit(x), x, more)


def _streamed(kind: str) -> Groups:
    x = bits(200)
    source: Any = [x[:70], x[70:71], x[71:]] if kind == "list" else lambda: iter([x[:90], x[90:]])
    estimator = fastrbm.BernoulliRBM(N_HIDDEN, n_iter=2, batch_size=16, random_state=7, device="cpu")
    return results(estimator.fit(source), x, False)


def _sparse() -> Groups:
    from scipy.sparse import csr_matrix

    x = csr_matrix(bits())
    estimator = fastrbm.BernoulliRBM(N_HIDDEN, n_iter=2, batch_size=16, random_state=7, device="cpu")
    return results(estimator.fit(x), x, False)


def _weighted(name: str) -> Groups:
    cls, own, rows = ESTIMATORS[name]
    x, weight = rows(), _random(9).random(N_ROWS) * (_random(10).random(N_ROWS) < 0.8)
    estimator = cls(N_HIDDEN, n_iter=2, batch_size=16, random_state=7, device="cpu", **own)
    return results(estimator.fit(x, sample_weight=weight), x, False)


def _continued(name: str) -> Groups:
    """Two passes, a minibatch of another size, two passes more."""
    cls, own, rows = ESTIMATORS[name]
    x = rows()
    estimator = cls(N_HIDDEN, n_iter=2, batch_size=16, random_state=7, device="cpu", warm_start=True, **own)
    return results(estimator.fit(x).partial_fit(x[:9]).fit(x), x, False)


def _images() -> Groups:
    x = (255 * grey()).astype(np.uint8)
    estimator = fastrbm.BernoulliRBM(N_HIDDEN, n_iter=2, batch_size=16, random_state=7, device="cpu")
    return results(estimator.fit(x), x)


def _many() -> Groups:
    base = fastrbm.BernoulliRBM(N_HIDDEN, n_iter=2, batch_size=16, device="cpu")
    models = fastrbm.fit_many(variants(base, random_state=range(3)), bits())
    return {"parameters": [model.components_ for model in models]}


def _model(units: tuple[str, str], n_visible: int = 21, n_hidden: int = 9) -> fastrbm.Model:
    rng = _random(11, n_visible, n_hidden)
    parts = rng.normal(0, 0.4, (n_hidden, n_visible)), rng.normal(0, 0.3, n_visible), rng.normal(0, 0.3, n_hidden)
    return fastrbm.Model(*(x.astype(np.float32) for x in parts), *units)


def _annealed(units: tuple[str, str], method: str) -> Groups:
    found = likelihood.log_partition(
        _model(units), method, n_chains=40, n_temperatures=40, random_state=3, schedule="linear"
    )
    return {"log_z": [found.value, found.stderr, *found.interval]}


def _annealed_on_device(units: tuple[str, str]) -> Groups:
    """Chains alone: the small populations that go ahead of an estimate take minutes on the simulator."""
    model = _model(units, 9, 5)
    bases = paths.bases_of(model, "uniform", None)
    path = paths.Path(model, bases, "visible", get_backend("cuda"), Key(3))
    log_weights, states = path.anneal(path.start(4, 0), np.linspace(0, 1, 5), paths.FORWARD)
    return {"log_weights": [log_weights], "draws": [states]}


def _exact(units: tuple[str, str], device: str = "cpu") -> Groups:
    found = likelihood.log_partition(
        _model(units, 8, 6), "exact", moments=True, probabilities=units != ("gaussian", "gaussian"), device=device
    )
    assert found.moments is not None
    return {"log_z": [found.value], "moments": [found.moments], "probabilities": [found.log_probabilities]}


def _tempered(units: tuple[str, str]) -> Groups:
    found = temper(_model(units), 20, 2, n_chains=5, burn_in=20, random_state=3)
    return {"draws": [found.visible, found.hidden], "temperatures": [found.betas, found.swap_rates]}


def _sampled(name: str, device: str, strategy: str, n: int = 12, steps: int = 6) -> Groups:
    cls, own, rows = ESTIMATORS[name]
    x = rows()
    if device != "cpu":
        x = x[:8, :10]
    options = {"n_iter": 1, "batch_size": 16, "random_state": 7, "init": "xavier", **own}
    estimator = cls(N_HIDDEN, device="cpu", **options).fit(x).set_params(strategy=strategy, device=device)
    clamp = np.where(np.arange(x.shape[1]) < 3, x[0], np.nan)
    draws = [estimator.sample(n, steps, random_state=4)]
    if device == "cpu":
        draws += [estimator.sample(n, steps, random_state=4, clamp=clamp), estimator.gibbs(x)]
        draws += [] if name == "gaussian" else [estimator.sample(n, steps, random_state=4, temperature=2.0)]
    return {"draws": draws}


def _on_device(name: str, **options: Any) -> Groups:
    """A fit small enough for the simulator of CUDA kernels."""
    cls, own, rows = ESTIMATORS[name]
    x = rows()[:9, :10]
    given = {"n_components": 5, "n_iter": 1, "batch_size": 6, "random_state": 7, "device": "cuda"}
    estimator = cls(**{**given, **own, **options}).fit(x)
    groups = results(estimator, x, False)
    groups["outputs"] = [estimator.transform(x), estimator.reconstruct(x)]
    groups["draws"] = [estimator.sample_hidden(x, random_state=3)]
    groups["scores"] = [estimator.free_energy(x)]
    return groups


#: name of a file in `models` -> (estimator of the table, options)
FILES: dict[str, tuple[str, dict[str, Any]]] = {
    "bernoulli": ("bernoulli", {"optimizer": fastrbm.SGD(momentum=0.9), "regularizers": (regularizers.L2(1e-3),)}),
    "bernoulli-tempering": ("bernoulli", {"algorithm": fastrbm.Tempering(4), "random_state": np.int64(3)}),
    "bernoulli-fast-weights": ("bernoulli-grey", {"algorithm": fastrbm.samplers.FastPCD(0.02), "centered": True}),
    "ising": ("ising", {"optimizer": "adam", "init": fastrbm.init.Normal(0.02)}),
    "potts": ("potts", {"learning_rate": fastrbm.schedules.Linear(0.1, 0.01), "n_gibbs_steps": 2}),
    "gaussian": ("gaussian", {"sigma": fastrbm.LearnedSigma(rate=0.2), "optimizer": "rmsprop"}),
    "softmax": ("softmax-missing", {"hidden_statistics": "sampled"}),
    "any": ("mixed", {"dtype": np.float64}),
    "sklearn": ("sklearn", {}),
}
MODELS = Path(__file__).with_name("models")


def write_models() -> None:
    """Fit the estimators of `FILES` and write them; was called once, with version 0.1.0."""
    for name, (estimator, options) in FILES.items():
        cls, own, rows = ESTIMATORS[estimator]
        given = {"n_components": N_HIDDEN, "n_iter": 2, "batch_size": 16, "random_state": 7, "device": "cpu"}
        given["warm_start"] = name != "sklearn"
        cls(**{**given, **own, **options}).fit(rows()).save(MODELS / f"{name}.npz")


def _loaded(name: str) -> Groups:
    """A model file of version 0.1.0, and two passes more."""
    rows = ESTIMATORS[FILES[name][0]][2]()
    estimator = fastrbm.load(MODELS / f"{name}.npz")
    # copies, as training goes on in the same arrays
    groups = {
        f"read {group}": [np.array(x) for x in flat(arrays)] for group, arrays in results(estimator, rows).items()
    }
    return groups | results(estimator.fit(rows), rows)


def _cases() -> dict[str, Callable[[], Groups]]:
    cases: dict[str, Callable[[], Groups]] = {}
    for device in ("cpu", "reference"):
        for name in ESTIMATORS:
            for algorithm in ALGORITHMS:
                for optimizer, rule in OPTIMIZERS.items():
                    options = {"algorithm": algorithm, "optimizer": rule}
                    if optimizer != "sgd":  # what comes after the parameters is the same for all rules
                        options["more"] = False
                    cases[f"{device}/{name}/{algorithm}/{optimizer}"] = partial(fitted, name, device, **options)
            for variant, options in VARIANTS.items():
                cases[f"{device}/{name}/{variant}"] = partial(fitted, name, device, **options)
    for name in FILES:
        cases[f"cpu/file/{name}"] = partial(_loaded, name)
    for kind in ("list", "function"):
        cases[f"cpu/streamed/{kind}"] = partial(_streamed, kind)
    cases |= {"cpu/sparse": _sparse, "cpu/images": _images, "cpu/many": _many}
    for name in ("bernoulli", "ising", "gaussian-learned", "softmax-missing", "potts"):
        cases[f"cpu/weighted/{name}"] = partial(_weighted, name)
        cases[f"cpu/continued/{name}"] = partial(_continued, name)
    for name in ("bernoulli", "ising", "potts", "gaussian"):
        for strategy in STRATEGIES:
            cases[f"cpu/sampled/{name}/{strategy}"] = partial(_sampled, name, "cpu", strategy)
    binary = [("bernoulli", "bernoulli"), ("ising", "ising"), ("bernoulli", "ising")]
    for units in binary:
        for method in ("ais", "mais", "reverse", "bracket"):
            cases[f"cpu/annealed/{'-'.join(units)}/{method}"] = partial(_annealed, units, method)
    others = [("gaussian", "bernoulli"), ("gaussian", "gaussian"), ("onehot(4)", "bernoulli"), ("relu", "onehot")]
    for units in binary + others:
        cases[f"cpu/exact/{'-'.join(units)}"] = partial(_exact, units)
    for units in [*binary, ("gaussian", "bernoulli"), ("bernoulli", "onehot(3)")]:
        cases[f"cpu/tempered/{'-'.join(units)}"] = partial(_tempered, units)
    for algorithm in ("cd", "pcd"):
        cases[f"cuda/bernoulli/{algorithm}"] = partial(_on_device, "bernoulli", algorithm=algorithm, n_gibbs_steps=2)
    for optimizer in ("nesterov", "rmsprop-momentum", "amsgrad"):
        cases[f"cuda/bernoulli/{optimizer}"] = partial(_on_device, "bernoulli", optimizer=OPTIMIZERS[optimizer])
    cases["cuda/bernoulli/l1-l2-clip"] = partial(_on_device, "bernoulli", **VARIANTS["l1-l2-clip"])
    cases["cuda/bernoulli/sampled"] = partial(_on_device, "bernoulli", hidden_statistics="sampled")
    for name in ("bernoulli-grey", "bernoulli-drawn", "ising", "potts", "gaussian"):
        cases[f"cuda/{name}/pcd"] = partial(_on_device, name)
    for strategy in STRATEGIES:
        cases[f"cuda/sampled/{strategy}"] = partial(_sampled, "bernoulli", "cuda", strategy, 3, 2)
    cases["cuda/annealed"] = partial(_annealed_on_device, binary[0])
    cases["cuda/exact"] = partial(_exact, binary[0], "cuda")
    return cases | golden_machines.CASES


CASES = _cases()


def digest(arrays: list[Any]) -> str:
    """Hash of types, shapes and bytes."""
    sha = hashlib.sha256()
    for x in flat(arrays):
        sha.update(f"{x.dtype.str}{x.shape}".encode())
        sha.update(np.ascontiguousarray(x).tobytes())
    return sha.hexdigest()[:12]


def figures(arrays: list[Any]) -> list[float]:
    """Two numbers that change with any entry, for machines whose last bits are others."""
    values = [np.asarray(x, dtype=np.float64).ravel() for x in flat(arrays) if x.dtype.kind != "O"]
    x = np.nan_to_num(np.concatenate(values)) if values else np.zeros(1)
    return [
        float(f"{v:.6e}") for v in (np.abs(x).mean(), (x * np.cos(np.arange(len(x)))).sum() / max(1, len(x)) ** 0.5)
    ]


def compute(name: str) -> dict[str, Any]:
    """[hash, figures] of every group of a case, or the type of the exception by which it is refused."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            groups = CASES[name]()
    except (ValueError, TypeError) as error:
        return {"refused": type(error).__name__}
    return {group: [digest(arrays), figures(arrays)] for group, arrays in groups.items()}
