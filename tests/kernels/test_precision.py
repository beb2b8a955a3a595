"""What trades exactness for speed: weights of 16 bits, and gradients of sampled hidden states."""

import numpy as np
import pytest
from scipy.special import expit, logsumexp

from fastrbm import BernoulliRBM
from fastrbm._kernels import ChainState, Parameters, Rule, TrainingPlan, pack
from fastrbm._kernels import cpu as cpu_package
from fastrbm._kernels.cpu import CpuBackend
from fastrbm._kernels.draws import Draw, Stream
from kernel_cases import TARGETS

UNITS = ("bernoulli", "bernoulli")
# (rows, visible, hidden): around the 15 inputs of a word, the 32 lanes of a register, the 6 outputs of a tile, the 315
# inputs and 1024 lanes of a block
SIZES = [
    (1, 1, 1),
    (5, 14, 2),
    (31, 15, 6),
    (33, 16, 7),
    (64, 30, 13),
    (97, 47, 65),
    (128, 315, 33),
    (40, 316, 130),
    (1100, 90, 64),
]


def model(n_visible, n_hidden, scale=0.3, seed=0):
    rng = np.random.default_rng(seed)
    shapes = ((n_hidden, n_visible), (n_visible,), (n_hidden,))
    return Parameters(*(rng.normal(0, scale, s).astype(np.float32) for s in shapes))


def bits(n, n_units, seed=1, density=0.3):
    return pack(np.random.default_rng(seed).random((n, n_units)) < density)


def rounded(weights):
    """The weights as "fast" has them: multiples of 2^-e, e the largest for which 16 bits hold every sum."""
    w = weights.astype(np.float64)
    largest = max(np.abs(w).sum(axis=0).max(), np.abs(w).sum(axis=1).max())
    for e in range(14, 5, -1):
        if largest * 2**e + max(w.shape) / 2 < 2**15:
            return np.round(w * 2**e) / 2**e
    return w


@pytest.mark.parametrize("n,n_visible,n_hidden", SIZES)
@pytest.mark.parametrize("scale", [1e-4, 0.3, 2.0])
def test_means_are_those_of_rounded_weights(target, n, n_visible, n_hidden, scale):
    weights, a, b = model(n_visible, n_hidden, scale)
    v, h = bits(n, n_visible), bits(n, n_hidden, seed=2)
    cpu = CpuBackend(2, precision="fast")
    w = rounded(weights)
    wanted = expit(v.dense(np.float64) @ w.T + b)
    np.testing.assert_allclose(cpu.means("bernoulli", v, weights, b), wanted, atol=3e-6)
    wanted = expit(h.dense(np.float64) @ w + a)
    np.testing.assert_allclose(cpu.means("bernoulli", h, weights, a, transpose=True), wanted, atol=3e-6)


def everything(n_threads, n, n_visible, n_hidden, strategy="dense"):
    parameters, cpu = model(n_visible, n_hidden), CpuBackend(n_threads, strategy, "fast")
    weights, a, b = parameters
    v, h = bits(n, n_visible), bits(n, n_hidden, seed=2)
    draw = Draw(1, 2, Stream.HIDDEN)
    out = [
        cpu.means("bernoulli", v, weights, b),
        cpu.samples("bernoulli", v, weights, b, draw).words,
        *(x.words for x in cpu.run_chains(h, parameters, UNITS, draw, 3)),
    ]
    state = ChainState(0, bits(9, n_hidden, density=0.1))
    plan = TrainingPlan(3, 40, True, 2, 0.1, 0.5, False, Rule(l2=0.01))
    cpu.train(parameters, [parameters.zeros_like()], v, np.random.default_rng(0).permutation(n), plan, UNITS, state)
    return [*out, *parameters, state.chains.words]


@pytest.mark.parametrize("n,n_visible,n_hidden", SIZES)
def test_same_bits_for_targets_threads_and_strategies(n, n_visible, n_hidden):
    before, results = cpu_package.current_target(), []
    try:
        for name in TARGETS:
            cpu_package.use_target(name)
            results += [everything(n_threads, n, n_visible, n_hidden) for n_threads in (1, 2, 3)]
            results += [everything(2, n, n_visible, n_hidden, s) for s in ("delta", "bounds", "lcd", "lowbit")]
    finally:
        cpu_package.use_target(before)
    for other in results[1:]:
        for got, wanted in zip(other, results[0], strict=True):
            np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("scale", [30.0, 400.0, 1e5])
def test_large_weights_are_used_in_full(target, scale):
    weights, _, b = model(60, 20, scale)
    v = bits(30, 60)
    full, fast = (CpuBackend(1, precision=p).means("bernoulli", v, weights, b) for p in ("full", "fast"))
    np.testing.assert_array_equal(full, fast)


def test_training_goes_on_when_weights_outgrow_16_bits():
    v, p = bits(200, 30), model(30, 12, 0.01)
    state = ChainState(0, bits(20, 12))
    plan = TrainingPlan(3, 20, True, 1, 80.0, 0.0, False)
    CpuBackend(2, precision="fast").train(p, (), v, np.arange(200), plan, UNITS, state)
    assert np.abs(p.weights).sum(axis=1).max() > 512
    assert np.isfinite(p.weights).all()


def test_scores_stay_exact():
    parameters, v = model(40, 9), bits(50, 40)
    for name in ("free_energy", "pseudo_likelihood"):
        full, fast = (getattr(CpuBackend(1, precision=p), name)("bernoulli", v, parameters) for p in ("full", "fast"))
        np.testing.assert_array_equal(full, fast)


def log_likelihood(rbm, X):
    w, a, b = (x.astype(np.float64) for x in (rbm.components_, rbm.intercept_visible_, rbm.intercept_hidden_))
    h = (np.arange(2 ** len(b))[:, None] >> np.arange(len(b))) & 1
    log_z = logsumexp(h @ b + np.logaddexp(0, h @ w + a).sum(axis=1))
    return float((X @ a + np.logaddexp(0, X @ w.T + b).sum(axis=1)).mean() - log_z)


@pytest.fixture(scope="module")
def binary_digits():
    from sklearn.datasets import load_digits

    return (load_digits().data > 7).astype(np.float32)


@pytest.mark.parametrize("algorithm", ["cd", "pcd"])
@pytest.mark.parametrize("options", [dict(precision="fast"), dict(hidden_statistics="sampled")], ids=str)
def test_the_likelihood_reached_is_unchanged(binary_digits, algorithm, options):
    """Mean exact log-likelihood over seeds: within four standard errors and 0.15 nats, or better.

    CD-1 of sampled states ends about 0.4 nats above CD-1 of means, "fast" within the noise.
    """

    def reached(**options):
        return np.array([
            log_likelihood(
                BernoulliRBM(
                    10, n_iter=40, batch_size=64, learning_rate=0.1, algorithm=algorithm, random_state=seed, **options
                ).fit(binary_digits),
                binary_digits,
            )
            for seed in range(16)
        ])  # fmt: skip

    full, other = reached(), reached(**options)
    error = np.sqrt((full.var(ddof=1) + other.var(ddof=1)) / len(full))
    assert full.mean() > log_likelihood(BernoulliRBM(10, n_iter=0).fit(binary_digits), binary_digits) + 15
    lost = full.mean() - other.mean()
    assert lost < min(4 * error, 0.15), (full.mean(), other.mean(), error)
    if options == dict(precision="fast"):
        assert lost > -min(4 * error, 0.15), (full.mean(), other.mean(), error)


@pytest.mark.parametrize("device", ["cpu", "reference"])
@pytest.mark.parametrize("algorithm", ["cd", "pcd"])
def test_sampled_gradients_are_right_on_average(binary_digits, device, algorithm):
    """One step from the same start over many seeds: the mean of both kinds of gradient agrees."""
    X = binary_digits[:128]

    def steps(kind):
        out = []
        for seed in range(60):
            rbm = BernoulliRBM(
                6, n_iter=0, batch_size=128, learning_rate=1.0, algorithm=algorithm, hidden_statistics=kind,
                random_state=seed, device=device,
            ).fit(X)  # fmt: skip
            rbm.components_ = np.random.default_rng(0).normal(0, 0.3, (6, 64)).astype(np.float32)
            rbm.intercept_visible_ = np.zeros(64, np.float32)
            rbm.intercept_hidden_ = np.linspace(-1, 1, 6, dtype=np.float32)
            before = [x.copy() for x in (rbm.components_, rbm.intercept_visible_, rbm.intercept_hidden_)]
            rbm.partial_fit(X)
            after = (rbm.components_, rbm.intercept_visible_, rbm.intercept_hidden_)
            out.append(np.concatenate([(x - y).ravel() for x, y in zip(after, before, strict=True)]))
        return np.array(out, dtype=np.float64)

    mean, sampled = steps("mean"), steps("sampled")
    # the same seed draws the same visible states for both, so differences are taken seed by seed
    difference = mean - sampled
    visible_bias = slice(6 * 64, 6 * 64 + 64)
    assert np.all(difference[:, visible_bias] == 0)
    difference = np.delete(difference, visible_bias, axis=1)
    z = difference.mean(axis=0) / (difference.std(axis=0, ddof=1) / np.sqrt(len(difference)))
    assert np.abs(z).max() < 5
    assert 0.8 < np.sqrt(np.mean(z**2)) < 1.2  # the spread over seeds explains the difference
    weights = slice(0, 6 * 64)
    assert sampled.var(axis=0)[weights].mean() > 1.1 * mean.var(axis=0)[weights].mean()
