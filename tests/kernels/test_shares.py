"""Minibatches that are shared out among processes: the bits of one that does them alone."""

import numpy as np
import pytest

from fastrbm._kernels import ChainState, GreyLevels, TrainingPlan, sharing
from fastrbm._kernels.contract import values_of
from fastrbm._kernels.cpu import CpuBackend, runtime
from fastrbm._kernels.draws import Draw
from fastrbm._kernels.ranks import RankError, agree, all_do, share_of
from fastrbm._kernels.sharing import SharingBackend
from fastrbm.distributed import rehearse
from kernel_cases import RULES, UNITS, bits, grey, model

SPINS = [("ising", "bernoulli"), ("bernoulli", "ising"), ("ising", "ising")]


@pytest.fixture(autouse=True)
def share_all(monkeypatch):
    monkeypatch.setattr(runtime, "WORK_PER_THREAD", 1)
    monkeypatch.setattr(sharing, "LEAST_WORK", 0)


class Alone:
    """A process without others."""

    rank, size, separate = 0, 1, False

    def gather(self, x):
        return [x]

    def join(self, rows, counts):
        pass


def train(backend, rows, *, persistent=True, sweeps=2, rule="l2", units=UNITS, size=64, n_chains=70, hidden=150,
          sampled=False, stochastic=False, outgrown=False):  # fmt: skip
    """Parameters, slots and chains after some minibatches of rows in a shuffled order."""
    update, n_slots = RULES[rule]
    parameters = model(rows.shape[1], hidden, np.float32, scale=0.1)
    if outgrown:
        parameters.weights[:2] = 600
    slots = [parameters.zeros_like() for _ in range(max(n_slots, int(update.momentum > 0)))]
    plan = TrainingPlan(7, size, persistent, sweeps, 0.1, update.momentum, stochastic, update.rule, sampled)
    state = ChainState(100, values_of(units[1], bits(n_chains, hidden, density=0.1), np.dtype(np.float32)))
    if not persistent:
        state.chains = None
    order = np.random.default_rng(0).permutation(rows.shape[0])
    backend.train(parameters, slots, rows, order, plan, units, state)
    chains = [] if state.chains is None else [getattr(state.chains, "words", state.chains)]
    return [*parameters, *(x for slot in slots for x in slot), *chains, np.array([state.step, state.updates])]


def assert_shared(rows, ranks=(1, 2, 3, 5), n_threads=1, **options):
    wanted = train(CpuBackend(n_threads), rows, **options)
    for n in ranks:
        results = rehearse(n, lambda comm: train(SharingBackend(CpuBackend(n_threads), comm), rows, **options))
        for result in results:
            for got, x in zip(result, wanted, strict=True):
                np.testing.assert_array_equal(got, x)


@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("sampled", [False, True])
def test_minibatches_have_the_bits_of_one_process(target, persistent, sampled):
    assert_shared(bits(300, 137), persistent=persistent, sampled=sampled)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("persistent", [False, True])
def test_all_rules(rule, persistent):
    assert_shared(bits(200, 45), ranks=(2, 3), rule=rule, persistent=persistent, hidden=70)


@pytest.mark.parametrize("units", SPINS)
@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize("rule", ["l2", "adam"])
def test_spins(units, sampled, rule):
    assert_shared(bits(200, 45), ranks=(2, 3), units=units, sampled=sampled, rule=rule)


def test_groups_of_hidden_units():
    assert_shared(bits(200, 45), ranks=(2, 3), units=("bernoulli", "onehot(5)"), persistent=False)


@pytest.mark.parametrize("n_threads", [2, 3])
def test_teams_of_threads(n_threads):
    assert_shared(bits(300, 500), ranks=(2,), n_threads=n_threads, hidden=600)


@pytest.mark.parametrize("hidden,visible", [(1, 1), (63, 3), (65, 1025), (700, 800)])
@pytest.mark.parametrize("size,n_chains", [(1, 1), (33, 40), (130, 3)])
def test_odd_sizes(hidden, visible, size, n_chains):
    rows = bits(140, visible)
    assert_shared(rows, ranks=(2, 4), hidden=hidden, size=size, n_chains=n_chains)
    assert_shared(rows, ranks=(2,), hidden=hidden, size=size, persistent=False)


@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize("rule", ["sgd", "adam"])
def test_grey_levels(target, persistent, sampled, rule):
    rows = GreyLevels(np.random.default_rng(0).integers(0, 256, (300, 137), dtype=np.uint8))
    assert_shared(rows, ranks=(2, 3), persistent=persistent, sampled=sampled, rule=rule)
    assert_shared(rows, ranks=(5,), n_threads=2, persistent=persistent, sampled=sampled, rule=rule, size=290)


def test_rows_that_are_drawn_as_bits():
    assert_shared(grey(200, 45, np.float32), stochastic=True)


@pytest.mark.parametrize("kind", ["bits", "levels", "drawn"])
def test_sums_are_added_in_native_calls(kind):
    """Two blocks a minibatch of layers of two megabytes of integers, the second of which is summed meanwhile."""
    sizes, levels = [], kind == "levels"

    class Counting(Alone):
        def start_add(self, x):
            sizes.append(x.size)
            return lambda: None

    rows = {"bits": bits(100, 700), "drawn": grey(100, 700, np.float32)}
    rows["levels"] = GreyLevels(np.full((100, 700), 77, np.uint8))
    train(SharingBackend(CpuBackend(1), Counting()), rows[kind], hidden=800, stochastic=kind == "drawn")
    blocks = 4 if levels else 2
    assert len(sizes) == 2 * blocks
    assert sum(sizes) == 2 * (-(-(1 + 2 * 700 + 800) // 16) * 16 + 800 * 700 * (1 + levels))


def test_strategies():
    def backend(strategy):
        return CpuBackend(1, strategy)

    rows = bits(200, 45)
    for strategy in ("delta", "bounds", "lcd", "lowbit"):
        wanted = train(backend(strategy), rows, sweeps=4)
        for result in rehearse(3, lambda comm, s=strategy: train(SharingBackend(backend(s), comm), rows, sweeps=4)):
            for got, x in zip(result, wanted, strict=True):
                np.testing.assert_array_equal(got, x)


def test_weights_that_outgrow_fixed_point_are_trained_by_other_kernels():
    assert_shared(bits(130, 45), ranks=(2, 3), outgrown=True, rule="sgd")


@pytest.mark.parametrize("kind", ["grey", "float64"])
def test_real_numbers_do_not_depend_on_the_number_of_processes(kind):
    rows = grey(150, 45, np.float32)
    results = [rehearse(n, lambda comm: train(SharingBackend(CpuBackend(1), comm), rows)) for n in (1, 2, 3)]
    for result in (x for each in results for x in each):
        for got, x in zip(result, results[0][0], strict=True):
            np.testing.assert_array_equal(got, x)


def test_single_kernels_have_the_bits_of_one_process():
    inner = CpuBackend(1)
    parameters = model(45, 150, np.float32, scale=0.3)
    weights, visible_bias, hidden_bias = parameters
    rows, chains, draw = bits(130, 45), bits(70, 150), Draw(3, 5, 0, 11)
    betas, units = np.linspace(0, 1, 20), ("bernoulli", "bernoulli")

    def kernels(backend):
        logs = np.zeros(len(rows))
        bases = np.zeros(45, np.float32), np.zeros(150, np.float32)
        kept = backend.anneal(rows, parameters, units, bases, "hidden", betas, draw, logs)
        visible, hidden = backend.run_chains(chains, parameters, units, draw, 3)
        return [
            backend.inputs(rows, weights, hidden_bias),
            backend.means("bernoulli", chains, weights, visible_bias, transpose=True),
            backend.samples("bernoulli", rows, weights, hidden_bias, draw).words,
            backend.samples("gaussian", chains, weights, visible_bias, draw, transpose=True),
            kept.words, logs, visible.words, hidden.words,
        ]  # fmt: skip

    wanted = kernels(inner)
    for n in (2, 3):
        for result in rehearse(n, lambda comm: kernels(SharingBackend(inner, comm))):
            for got, x in zip(result, wanted, strict=True):
                np.testing.assert_array_equal(got, x)


def test_a_failing_sum_ends_the_run_with_its_error():
    class Failing(Alone):
        calls = 0

        def start_add(self, x):
            self.calls += 1
            if self.calls == 3:
                raise OSError("the network is gone")
            return lambda: None

    with pytest.raises(OSError, match="the network is gone"):
        train(SharingBackend(CpuBackend(2), Failing()), bits(300, 45))


def test_shares_are_whole_multiples_in_order():
    class Of:
        rank, size = 0, 3

    assert share_of(1024, Of, 32) == [352, 352, 320]
    assert share_of(40, Of, 32) == [32, 8, 0]
    assert share_of(5, Of, 32) == [5, 0, 0]


def test_what_fails_on_one_process_fails_on_all():
    def script(comm):
        def action():
            if comm.rank == 1:
                raise TypeError("no such rows")
            return comm.rank

        with pytest.raises(TypeError, match="no such rows" if comm.rank == 1 else "process 1: no such rows"):
            all_do(comm, action)

        def other():
            if comm.rank == 2:
                raise ZeroDivisionError("oh")

        with pytest.raises(ZeroDivisionError if comm.rank == 2 else RankError):
            all_do(comm, other)
        assert all_do(comm, lambda: comm.rank) == comm.rank
        assert agree(comm, comm.rank == 2) and not agree(comm, False)
        return True

    assert rehearse(3, script) == [True] * 3
    assert agree(None, True)


def test_a_rehearsal_raises_what_a_thread_raised():
    def script(comm):
        if comm.rank == 1:
            raise KeyError("here")
        comm.gather(1)

    with pytest.raises(KeyError, match="here"):
        rehearse(3, script)
    with pytest.raises(ValueError, match="n must be a positive integer"):
        rehearse(0, script)
