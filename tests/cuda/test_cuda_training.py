"""Training on the simulated device: the bits of the CPU kernels for every rule, phase and way the data come."""

import numpy as np
import pytest

from fastrbm import BernoulliRBM, DivergenceError
from fastrbm._kernels import ChainState, TrainingPlan, as_dense, pack
from fastrbm._kernels.contract import values_of
from fastrbm._kernels.cpu import CpuBackend
from fastrbm.callbacks import Callback
from fastrbm.optimizers import SGD
from kernel_cases import RULES, UNITS, bits, grey, levels, model

pytest.importorskip("numba_cuda", reason="numba-cuda is not installed")
CudaBackend = pytest.importorskip("fastrbm._kernels.cuda.backend").CudaBackend
training = pytest.importorskip("fastrbm._kernels.cuda.training")
memory = pytest.importorskip("fastrbm._kernels.cuda.memory")

SHAPE = (37, 20)


def run(
    backend, kind="bits", persistent=False, sweeps=1, rule="l2", sampled=False, n=24, batch=16, units=UNITS,
    dtype=np.float32, scale=0.1, on_batch=None, rows=None, momentum=0.5, start=None,
):  # fmt: skip
    parameters = model(*SHAPE, dtype, scale=scale) if start is None else start.copy()
    update, n_slots = RULES[rule]
    slots = [parameters.zeros_like() for _ in range(max(n_slots, int(momentum > 0)))]
    if rows is None:
        rows = bits(n, SHAPE[0]) if kind == "bits" else grey(n, SHAPE[0], dtype)
    plan = TrainingPlan(
        7 | 9 << 40, batch, persistent, sweeps, 0.1, momentum, kind == "stochastic", update.rule, sampled
    )
    chains = values_of(units[1], bits(9, SHAPE[1], density=0.1), np.dtype(dtype)) if persistent else None
    state = ChainState(2**40 + 100, chains, updates=3)
    order = np.random.default_rng(0).permutation(n)
    backend.train(parameters, slots, rows, order, plan, units, state, on_batch)
    return parameters, slots, state


def assert_same(got, wanted):
    for g, w in zip([got[0], *got[1]], [wanted[0], *wanted[1]], strict=True):
        for x, y in zip(g, w, strict=True):
            np.testing.assert_array_equal(x, y)
    assert (got[2].step, got[2].updates) == (wanted[2].step, wanted[2].updates)
    if wanted[2].chains is not None:
        for x in (got[2].chains, wanted[2].chains):
            assert type(x) is type(wanted[2].chains)
        np.testing.assert_array_equal(as_dense(got[2].chains, np.float32), as_dense(wanted[2].chains, np.float32))


@pytest.mark.parametrize("rule", RULES)
def test_every_rule(rule):
    assert_same(run(CudaBackend(), rule=rule), run(CpuBackend(1), rule=rule))


@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize("persistent,sweeps", [(False, 2), (True, 1), (True, 2)])
@pytest.mark.parametrize("kind", ["bits", "stochastic"])
def test_every_phase(kind, persistent, sweeps, sampled):
    same = dict(kind=kind, persistent=persistent, sweeps=sweeps, sampled=sampled)
    assert_same(run(CudaBackend(), **same), run(CpuBackend(1), **same))


OTHER_UNITS = [
    ("ising", "bernoulli"), ("bernoulli", "ising"), ("ising", "ising"), ("bernoulli", "onehot"),
    ("bernoulli", "onehot(5)"), ("ising", "onehot(4)"), ("onehot", "bernoulli"),
]  # fmt: skip


def classes_of_rows(n):
    """Rows of which one neuron is on, as of a single group."""
    rows = np.zeros((n, SHAPE[0]))
    rows[np.arange(n), np.random.default_rng(3).integers(SHAPE[0], size=n)] = 1
    return pack(rows)


@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize("persistent,sweeps", [(False, 2), (True, 1), (True, 2)])
@pytest.mark.parametrize("units", OTHER_UNITS, ids="-".join)
def test_every_phase_of_other_units(units, persistent, sweeps, sampled, monkeypatch):
    """In whole passes, of one launch each: minibatches composed of single kernels are for other rows."""
    rows = classes_of_rows(24) if units[0] == "onehot" else None
    same = dict(units=units, persistent=persistent, sweeps=sweeps, sampled=sampled, rows=rows)
    wanted = run(CpuBackend(1), **same)
    monkeypatch.setattr(training.TrainingSession, "compose", None)
    assert_same(run(CudaBackend(), **same), wanted)


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_of_spins(rule):
    same = dict(rule=rule, units=("ising", "ising"), n=20)
    assert_same(run(CudaBackend(), **same), run(CpuBackend(1), **same))


@pytest.mark.parametrize("units", [("ising", "ising"), ("bernoulli", "onehot")], ids="-".join)
def test_other_units_in_any_number_of_launches(units, monkeypatch):
    same = dict(units=units, persistent=True, rule="adam", kind="stochastic", n=40)
    monkeypatch.setattr(training, "_WORK_OF_LAUNCH", 1)
    assert_same(run(CudaBackend(), **same), run(CpuBackend(1), **same))


@pytest.mark.parametrize("rule", ["momentum", "adam"])
@pytest.mark.parametrize("persistent", [False, True])
def test_grey_rows(persistent, rule):
    """Products in the order of the CPU's, by fused operations."""
    same = dict(kind="grey", persistent=persistent, rule=rule, n=61, batch=40)
    assert_same(run(CudaBackend(), **same), run(CpuBackend(1), **same))


@pytest.mark.parametrize("persistent,sweeps", [(False, 2), (True, 1), (True, 2)])
@pytest.mark.parametrize("hidden", ["bernoulli", "onehot", "onehot(5)"])
def test_gaussian_rows(hidden, persistent, sweeps, monkeypatch):
    same = dict(units=("gaussian", hidden), kind="grey", persistent=persistent, sweeps=sweeps, n=61, batch=40)
    wanted = run(CpuBackend(1), **same)
    monkeypatch.setattr(training.TrainingSession, "compose", None)
    assert_same(run(CudaBackend(), **same), wanted)


@pytest.mark.parametrize("same", [
    dict(kind="grey", sampled=True),
    dict(dtype=np.float64), dict(units=("bernoulli", "ising"), kind="grey"),
    dict(units=("onehot", "ising"), rows=classes_of_rows(20)),
    dict(units=("gaussian", "bernoulli"), kind="grey", sampled=True), dict(units=("gaussian", "ising"), kind="grey"),
])  # fmt: skip
def test_real_rows_and_other_units_are_close(same):
    got, wanted = run(CudaBackend(), **same, n=20), run(CpuBackend(1), **same, n=20)
    for g, w in zip(got[0], wanted[0], strict=True):
        np.testing.assert_allclose(g, w, atol=2e-6)


@pytest.mark.parametrize("persistent", [False, True])
def test_real_rows_in_any_number_of_launches_and_pieces(persistent, monkeypatch):
    same = dict(kind="grey", persistent=persistent, rule="adam")
    whole = run(CudaBackend(), **same)
    monkeypatch.setattr(training, "_WORK_OF_LAUNCH", 1)
    assert_same(run(CudaBackend(), **same), whole)
    monkeypatch.setattr(training, "SHARE_OF_MEMORY", 0.0)
    monkeypatch.setattr(training, "CHUNK_BYTES", 1)
    assert_same(run(CudaBackend(), **same), whole)


@pytest.mark.parametrize("same", [
    dict(persistent=True, sweeps=2), dict(rule="adam"), dict(units=("ising", "ising"), persistent=True),
    dict(units=("bernoulli", "onehot(5)")), dict(kind="grey"), dict(rows=levels(24, SHAPE[0]), persistent=True),
], ids=str)  # fmt: skip
def test_weights_of_16_bits(same):
    got, wanted = run(CudaBackend(precision="fast"), **same), run(CpuBackend(1, precision="fast"), **same)
    assert_same(got, wanted)
    full = run(CpuBackend(1), **same)
    assert any((x != y).any() for x, y in zip(got[0], full[0], strict=True))


def test_weights_that_outgrow_16_bits(monkeypatch):
    """A launch whose products leave out half of the bytes ends there, and others go on."""
    shapes, launch = [], training.PASS.launch_cooperative

    def launched(tile, *arguments, **more):
        shapes.append(tile.limbs)
        launch(tile, *arguments, **more)

    monkeypatch.setattr(training.PASS, "launch_cooperative", launched)
    start = model(*SHAPE, scale=2.0)
    # data are on where the model, by its biases, is off: the sum grows, and passes 512 in a minibatch
    start.weights[0], start.visible_bias[:] = 509 / SHAPE[0], -40
    same = dict(rule="sgd", batch=5, n=40, start=start)
    got, wanted = run(CudaBackend(precision="fast"), **same), run(CpuBackend(1, precision="fast"), **same)
    assert_same(got, wanted)
    assert shapes == [2, 4]


@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_weights_that_outgrow_fixed_point():
    wanted, got = (run(backend, scale=300.0) for backend in (CpuBackend(1), CudaBackend()))
    assert np.abs(wanted[0].weights).max() > 512
    for g, w in zip(got[0], wanted[0], strict=True):
        np.testing.assert_allclose(g, w, atol=1e-3)


def test_launches_of_any_number_of_minibatches(monkeypatch):
    monkeypatch.setattr(training, "_WORK_OF_LAUNCH", 1)
    calls = []
    got = run(CudaBackend(), rule="adam", n=40, on_batch=lambda: calls.append(1))
    assert_same(got, run(CpuBackend(1), rule="adam", n=40))
    assert len(calls) == 3


def test_an_exception_leaves_whole_minibatches(monkeypatch):
    monkeypatch.setattr(training, "_WORK_OF_LAUNCH", 1)
    states = {}
    for name, backend in (("cuda", CudaBackend()), ("cpu", CpuBackend(1))):
        parameters, state = model(*SHAPE, scale=0.1), ChainState(0, None)

        def stop(state=state):
            if state.updates == 2:
                raise KeyboardInterrupt

        plan = TrainingPlan(7, 16, False, 1, 0.1, 0.0, False)
        rows, order = bits(60, SHAPE[0]), np.arange(60)
        if name == "cuda":
            with pytest.raises(KeyboardInterrupt):
                backend.train(parameters, (), rows, order, plan, UNITS, state, stop)
        else:
            backend.train(parameters, (), rows, order[:32], plan, UNITS, state)
        states[name] = parameters, (), state
    assert_same(states["cuda"], states["cpu"])


@pytest.mark.parametrize("kind", ["bits", "stochastic"])
def test_rows_that_do_not_fit_are_streamed(kind, monkeypatch):
    monkeypatch.setattr(training, "SHARE_OF_MEMORY", 0.0)
    monkeypatch.setattr(training, "CHUNK_BYTES", 1)
    same = dict(kind=kind, n=40)
    assert_same(run(CudaBackend(), **same), run(CpuBackend(1), **same))


def test_rows_on_the_device():
    rows = bits(40, SHAPE[0])
    assert_same(run(CudaBackend(), rows=memory.DeviceBits.from_host(rows)), run(CpuBackend(1), rows=rows))


def test_arrays_stay_on_the_device_within_the_block():
    backend = CudaBackend()
    parameters, state = model(*SHAPE, scale=0.1), ChainState(0, bits(9, SHAPE[1]))
    before = parameters.weights.copy()
    plan = TrainingPlan(7, 16, True, 1, 0.1, 0.0, False)
    rows, order = bits(32, SHAPE[0]), np.arange(32)
    with backend.resident(parameters, (), state) as resident:
        for _ in range(2):
            backend.train(parameters, (), rows, order, plan, UNITS, state)
        np.testing.assert_array_equal(parameters.weights, before)
        assert resident.is_finite()
        kept = resident.snapshot()
        resident.settle()
        after = parameters.weights.copy()
        assert (after != before).any()
        backend.train(parameters, (), rows, order, plan, UNITS, state)
        resident.restore(kept)
    np.testing.assert_array_equal(parameters.weights, after)
    wanted, cpu_state = model(*SHAPE, scale=0.1), ChainState(0, bits(9, SHAPE[1]))
    for _ in range(2):
        CpuBackend(1).train(wanted, (), rows, order, plan, UNITS, cpu_state)
    np.testing.assert_array_equal(after, wanted.weights)


# -- estimators ----------------------------------------------------------------------------------------------------


def fitted(X, device, **options):
    return BernoulliRBM(9, batch_size=16, n_iter=2, random_state=0, device=device, **options).fit(X)


@pytest.mark.parametrize(
    "options",
    [
        dict(),
        dict(algorithm="cd", optimizer="adam", shuffle=False),
        dict(algorithm="cd", stochastic_input=True),
        dict(validation_fraction=0.25, early_stopping=True),
        dict(steps_per_epoch=2, visible_bias="data"),
    ],
    ids=str,
)
def test_a_fit_is_that_of_the_cpu(options):
    X = bits(28, 21).dense(np.float32) * (0.7 if "stochastic_input" in options else 1)
    got, wanted = (fitted(X, device, **options) for device in ("cuda", "cpu"))
    for name in ("components_", "intercept_hidden_", "intercept_visible_"):
        np.testing.assert_array_equal(getattr(got, name), getattr(wanted, name))
    if hasattr(wanted, "h_samples_"):
        np.testing.assert_array_equal(got.h_samples_, wanted.h_samples_)
    binary = bits(5, 21).dense(np.float32)
    np.testing.assert_array_equal(got.transform(binary), wanted.transform(binary))
    np.testing.assert_array_equal(got.gibbs(binary), wanted.gibbs(binary))


def test_callbacks_see_and_may_change_what_the_device_has():
    X = bits(28, 21).dense(np.float32)

    def fit(device):
        seen = []

        def look(run):
            seen.append(run.estimator.components_.copy())
            run.state.parameters.visible_bias[:] += 0.25

        return fitted(X, device, callbacks=[look]), seen

    (got, got_seen), (wanted, wanted_seen) = fit("cuda"), fit("cpu")
    for g, w in zip(got_seen, wanted_seen, strict=True):
        np.testing.assert_array_equal(g, w)
    np.testing.assert_array_equal(got.intercept_visible_, wanted.intercept_visible_)


@pytest.mark.parametrize("algorithm", ["cd", "pcd"])
def test_callbacks_between_minibatches(algorithm, monkeypatch):
    monkeypatch.setattr(training, "_WORK_OF_LAUNCH", 1)
    X = bits(28, 21).dense(np.float32)

    class Look(Callback):
        def on_batch(self, run):
            run.state.parameters.hidden_bias[:] += 0.125
            seen.append(run.estimator.components_.copy())

    fits = []
    for device in ("cuda", "reference"):
        seen = []
        fits.append((fitted(X, device, algorithm=algorithm, callbacks=[Look()]), seen))
    (got, got_seen), (wanted, wanted_seen) = fits
    assert len(got_seen) == len(wanted_seen) == 4
    for g, w in zip([*got_seen, got.components_], [*wanted_seen, wanted.components_], strict=True):
        np.testing.assert_allclose(g, w, atol=1e-6)
    if algorithm == "pcd":
        np.testing.assert_array_equal(got.h_samples_, wanted.h_samples_)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_divergence_keeps_the_last_finite_parameters():
    X = bits(28, 21).dense(np.float32)
    rbm = BernoulliRBM(
        9, batch_size=8, n_iter=3, learning_rate=3e38, optimizer=SGD(momentum=0.99), random_state=0, device="cuda"
    )
    with pytest.raises(DivergenceError, match="last usable"):
        rbm.fit(X)
    assert np.isfinite(rbm.components_).all()


def test_going_on_and_partial_fit():
    X = bits(20, 21).dense(np.float32)
    results = []
    for device in ("cuda", "cpu"):
        rbm = fitted(X, device, warm_start=True)
        rbm.fit(X)
        rbm.partial_fit(X[:10])
        results.append(rbm.components_)
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("n,batch", [(40, 16), (70, 33)])
@pytest.mark.parametrize("persistent,sweeps,rule", [(False, 2, "l2"), (True, 1, "adam")])
def test_levels_are_those_of_the_cpu(persistent, sweeps, rule, n, batch, monkeypatch):
    same = dict(rows=levels(n, SHAPE[0]), n=n, batch=batch, persistent=persistent, sweeps=sweeps, rule=rule)
    wanted = run(CpuBackend(1), **same)
    assert_same(run(CudaBackend(), **same), wanted)
    monkeypatch.setattr(training, "_WORK_OF_LAUNCH", 1)
    monkeypatch.setattr(training, "SHARE_OF_MEMORY", 0.0)
    monkeypatch.setattr(training, "CHUNK_BYTES", 1)
    assert_same(run(CudaBackend(), **same), wanted)


@pytest.mark.parametrize(
    "same", [dict(sampled=True), dict(kind="stochastic"), dict(scale=300.0), dict(dtype=np.float64)]
)
@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_levels_where_no_pass_has_them_are_close(same):
    rows = levels(40, SHAPE[0])
    got, wanted = (run(backend, rows=rows, n=40, **same) for backend in (CudaBackend(), CpuBackend(1)))
    for g, w in zip(got[0], wanted[0], strict=True):
        np.testing.assert_allclose(g, w, atol=1e-3 if same.get("scale") else 2e-6)
