"""Estimators, samplers and likelihoods with device="cuda", on the simulated device: as on the CPU."""

from functools import partial

import numpy as np
import pytest
from sklearn.base import clone

from fastrbm import (
    RBM,
    BernoulliRBM,
    DivergenceError,
    GaussianRBM,
    Gibbs,
    IsingRBM,
    Model,
    PottsRBM,
    SoftmaxRBM,
    fit_many,
    likelihood,
)
from fastrbm._kernels import ChainState, get_backend, pack, sharing
from fastrbm.callbacks import Callback, Checkpoint
from fastrbm.distributed import fit, rehearse
from fastrbm.many import variants
from fastrbm.optimizers import SGD, Adam
from fastrbm.regularizers import Clip, DropConnect, Dropout, MaxNorm, SparsityTarget, WeightUncertainty
from fastrbm.samplers import Tempering, temper
from small_models import exact_joint, expected_variation, small_model, total_variation

pytest.importorskip("numba_cuda", reason="numba-cuda is not installed")
SIMULATED = pytest.importorskip("fastrbm._kernels.cuda.kernels.target").SIMULATED
N_CHAINS = 500 if SIMULATED else 60_000


class EveryBatch(Callback):
    """Call a function after each minibatch."""

    def __init__(self, function):
        self.function = function

    def on_batch(self, run):
        self.function(run)


rng = np.random.default_rng(0)
BITS = (rng.random((30, 12)) < 0.4).astype(np.float32)
REALS = rng.normal(size=(30, 7)).astype(np.float32)
CLASSES = rng.integers(0, 3, (24, 4)).astype(np.float32)
COUNTS = rng.integers(0, 4, (24, 6)).astype(np.float32)
SAME = dict(batch_size=15, n_iter=1, random_state=0)

ESTIMATORS = {
    "bits": (BernoulliRBM(6, **SAME), BITS),
    "grey": (BernoulliRBM(6, **SAME), 0.7 * BITS),
    "float64": (BernoulliRBM(6, dtype=np.float64, algorithm="cd", **SAME), BITS),
    "centred": (BernoulliRBM(6, centered=True, **SAME), BITS),
    "tempered": (BernoulliRBM(4, algorithm=Tempering(2), batch_size=12, n_iter=1, random_state=0), BITS[:12]),
    "fast weights": (BernoulliRBM(6, algorithm="fpcd", **SAME), BITS),
    "exact": (BernoulliRBM(6, algorithm="exact", **SAME), BITS),
    "spins": (IsingRBM(6, optimizer=SGD(momentum=0.5), **SAME), 2 * BITS - 1),
    "mixture": (PottsRBM(6, algorithm="em", **SAME), BITS),
    "potts": (PottsRBM(6, **SAME), BITS),
    "gaussian": (GaussianRBM(6, learning_rate=0.01, **SAME), REALS),
    "deviations": (GaussianRBM(6, sigma="learned", learning_rate=0.01, **SAME), REALS),
    "softmax": (SoftmaxRBM(5, n_categories=3, **SAME), CLASSES),
    "dropout": (BernoulliRBM(6, regularizers=Dropout(0.3), **SAME), BITS),
    "drop connect": (BernoulliRBM(6, regularizers=DropConnect(0.3), **SAME), BITS),
    "noisy weights": (BernoulliRBM(6, regularizers=WeightUncertainty(), **SAME), BITS),
    "sparse": (BernoulliRBM(6, regularizers=SparsityTarget(0.1, 0.5), algorithm="cd", **SAME), 0.7 * BITS),
    "limits": (BernoulliRBM(6, regularizers=[MaxNorm(0.02), Clip(norm=0.05)], **SAME), BITS),
    "centred float64": (BernoulliRBM(6, centered=True, dtype=np.float64, optimizer=Adam(), **SAME), BITS),
    "inputs drawn": (BernoulliRBM(6, centered=True, stochastic_input=True, **SAME), 0.7 * BITS),
    "states drawn": (IsingRBM(6, centered=True, hidden_statistics="sampled", **SAME), 2 * BITS - 1),
    "one temperature": (BernoulliRBM(6, temperature=2.0, **SAME), BITS),
    "learned by columns": (
        GaussianRBM(6, sigma="learned", scaling="variance", learning_rate=0.01, optimizer=Adam(), **SAME),
        3 * REALS + 5,
    ),
    "missing": (SoftmaxRBM(5, n_categories=3, **SAME), np.where(CLASSES == 1, np.nan, CLASSES)),
    "tempered reals": (
        RBM(4, visible="gaussian", hidden="ising", algorithm=Tempering(3, n_steps=2), learning_rate=0.01, **SAME),
        REALS,
    ),
    "counts": (RBM(5, visible="binomial(3)", hidden="relu", learning_rate=0.01, **SAME), COUNTS),
}


#: trained in whole passes in float32, in the order of the CPU
SAME_BITS = {"bits", "grey", "spins", "potts", "gaussian", "softmax"}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_estimators(name):
    estimator, X = ESTIMATORS[name]
    fits = {}
    for device in ("cuda", "cpu"):
        rbm = type(estimator)(**{**estimator.get_params(deep=False), "device": device})
        fits[device] = rbm.fit(X)
    got, wanted = fits["cuda"], fits["cpu"]
    for attribute in ("components_", "intercept_hidden_", "intercept_visible_"):
        compared = (
            np.testing.assert_array_equal if name in SAME_BITS else partial(np.testing.assert_allclose, atol=2e-5)
        )
        compared(getattr(got, attribute), getattr(wanted, attribute))
    for method in ("transform", "free_energy", "gibbs", "reconstruct"):
        np.testing.assert_allclose(getattr(got, method)(X[:4]), getattr(wanted, method)(X[:4]), atol=1e-3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gibbs_leaves_the_exact_distribution(dtype):
    model = small_model(dtype)
    _, hs, p = exact_joint(model)
    n = N_CHAINS if dtype == np.float32 else N_CHAINS // 4
    start = np.random.default_rng(2).choice(len(p), n, p=p)
    state = ChainState(7, pack(hs[start]))
    visible = Gibbs(2).step(state, model.parameters, model.units, 2024, get_backend("cuda"))
    mean, error = expected_variation(p, n)
    assert total_variation(visible, state.chains, p) < mean + 4 * error


def test_tempering_is_that_of_the_cpu():
    model = small_model(np.float32)
    got, wanted = (
        temper(model, 4, 1, n_chains=1, burn_in=2, sampler=Tempering(3), random_state=1, device=device)
        for device in ("cuda", "cpu")
    )
    for name in ("visible", "hidden"):
        np.testing.assert_array_equal(getattr(got, name), getattr(wanted, name))


def test_log_partition():
    model = small_model(np.float32)
    got, wanted = (likelihood.log_partition(model, method="exact", device=device) for device in ("cuda", "cpu"))
    assert abs(got.value - wanted.value) < 1e-6 * max(1, abs(wanted.value))


@pytest.mark.parametrize("name", ["centred", "deviations", "fast weights", "missing", "tempered"])
def test_composed_fits_go_on_and_are_cut_off(name):
    """What is on the device is brought back for callbacks, the next fit, and a single update."""
    estimator, X = ESTIMATORS[name]
    fits = {}
    for device in ("cuda", "cpu"):
        seen = []

        def on_batch(run, seen=seen):
            run.state.parameters.visible_bias[0] += 0.125
            seen.append(run.batches_done)

        rbm = clone(estimator).set_params(device=device, warm_start=True, callbacks=[EveryBatch(on_batch)])
        rbm.fit(X).fit(X).set_params(callbacks=()).partial_fit(X[:7])
        fits[device] = rbm, seen
    (got, of_got), (wanted, of_wanted) = fits["cuda"], fits["cpu"]
    assert of_got == of_wanted and len(of_got) == 2 * -(-len(X) // rbm.batch_size)
    np.testing.assert_allclose(got.components_, wanted.components_, atol=5e-5)
    np.testing.assert_allclose(got.intercept_visible_, wanted.intercept_visible_, atol=5e-5)


@pytest.mark.parametrize("options", [dict(centered=True), dict(algorithm="fpcd"), dict(regularizers=Dropout(0.2))])
def test_composed_fits_that_diverge_keep_the_last_finite_parameters(options):
    passes = {}
    for device in ("cuda", "cpu"):
        same = dict(batch_size=15, n_iter=1, random_state=0, warm_start=True, optimizer=SGD(momentum=0.99))
        rbm = BernoulliRBM(4, device=device, **same, **options).fit(BITS)
        with pytest.raises(DivergenceError):
            rbm.set_params(learning_rate=3e38, n_iter=4).fit(BITS)
        passes[device] = rbm.history_["epoch"]
        assert np.isfinite(rbm.components_).all() and np.isfinite(rbm.intercept_visible_).all()
        rbm.set_params(learning_rate=1e-3, n_iter=1).fit(BITS)
        assert np.isfinite(rbm.components_).all()
    assert passes["cuda"] == passes["cpu"]


def test_several_fits():
    got, wanted = (
        fit_many(variants(BernoulliRBM(5, batch_size=12, n_iter=1, device=device), random_state=range(2)), BITS)
        for device in ("cuda", "cpu")
    )
    for g, w in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(g.components_, w.components_)


def test_large_weights_take_dense_products():
    model = Model(np.full((4, 5), 900.0, np.float32), np.zeros(5, np.float32), np.full(4, -2000.0, np.float32))
    states = np.random.default_rng(1).integers(0, 2, (6, 5))
    got, wanted = (get_backend(d).means("bernoulli", pack(states), *model.parameters[::2]) for d in ("cuda", "cpu"))
    np.testing.assert_allclose(got, wanted, atol=1e-6)


@pytest.mark.parametrize("view", [lambda X: X[::-1][:1], lambda X: X[3][None], lambda X: X[4:5, ::-1]])
@pytest.mark.parametrize("name", ["bits", "grey", "gaussian", "spins"])
def test_one_row_of_any_view(name, view):
    """NumPy calls one row contiguous whatever its strides are, which must not reach the device."""
    estimator, X = ESTIMATORS[name]
    found = {}
    for device in ("cuda", "cpu"):
        rbm = type(estimator)(**{**estimator.get_params(deep=False), "device": device}).fit(X)
        features = rbm.transform(view(X))
        rbm.partial_fit(view(X))
        found[device] = features, rbm.components_, rbm.score_samples(view(X))
    for got, wanted in zip(found["cuda"], found["cpu"], strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["gaussian", "centred"])
@pytest.mark.parametrize("devices", [("cuda", "cpu"), ("cpu", "cuda"), ("cuda", "cuda")], ids="-".join)
def test_a_run_may_be_cut_off_on_one_device_and_go_on_on_another(name, devices, tmp_path):
    estimator, X = ESTIMATORS[name]

    class Cut(Callback):
        told_last = True

        def wants_rest(self, run):
            return run.state.chains.updates >= 1

        def on_rest(self, run):
            raise ZeroDivisionError

    first, second = (clone(estimator).set_params(device=device, n_iter=3, batch_size=7) for device in devices)
    with pytest.raises(ZeroDivisionError):
        first.set_params(callbacks=[Checkpoint(tmp_path, "1 minibatch"), Cut()]).fit(X)
    second.fit(X, resume=tmp_path)
    wanted = clone(estimator).set_params(device=devices[1], n_iter=3, batch_size=7).fit(X)
    compared = np.testing.assert_array_equal if name in SAME_BITS else np.testing.assert_allclose
    tolerance = {} if name in SAME_BITS else dict(atol=5e-5)
    compared(second.components_, wanted.components_, **tolerance)
    assert second.n_iter_ == 3


@pytest.mark.parametrize("kind", ["bits", "gaussian"])
def test_a_process_of_several_may_have_a_device(kind, monkeypatch):
    """What it shares with others has the bits of the CPU where gradients are sums of integers."""
    monkeypatch.setattr(sharing, "LEAST_WORK", 0)
    rng = np.random.default_rng(0)
    options = dict(n_components=8, batch_size=20, n_iter=1, random_state=0)
    make = {
        "bits": (BernoulliRBM, (rng.random((40, 20)) < 0.3).astype(np.float32)),
        "gaussian": (GaussianRBM, rng.normal(size=(40, 5)).astype(np.float32)),
    }[kind]
    alone = make[0](**options, device="cpu").fit(make[1])
    shared = rehearse(1, lambda comm: fit(make[0](**options, device="cuda"), make[1], comm=comm))[0]
    np.testing.assert_allclose(shared.components_, alone.components_, atol=0 if kind == "bits" else 1e-6)
