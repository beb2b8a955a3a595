"""What is drawn, as random numbers: uniform to the ends of the scale, independent of neighbours in every direction."""

import itertools

import numpy as np
import pytest
from scipy.stats import chi2

from fastrbm._kernels.cpu.runtime import extension as _cpu
from fastrbm._kernels.draws import Draw, Stream, words

BASE = Draw(12345, 2**32 - 2, Stream.HIDDEN, 100)
N_CHAINS, N_UNITS = 1024, 1024
#: of a right generator one test in a million fails; the numbers here are always the same
LEVEL = 1e-6


def assert_as_expected(counts, expected):
    """Chi-squared test of counts."""
    counts, expected = np.asarray(counts, float).ravel(), np.broadcast_to(expected, np.size(counts)).astype(float)
    statistic = ((counts - expected) ** 2 / expected).sum()
    assert LEVEL < chi2.cdf(statistic, counts.size - 1) < 1 - LEVEL


def assert_independent(first, second, bits=4):
    """The highest bits of two sets of words, and their lowest, hold every pair of values equally often."""
    for shift in (32 - bits, 9):  # the lowest that float32 uniforms have
        a, b = ((w.ravel() >> np.uint32(shift)) & np.uint32(2**bits - 1) for w in (first, second))
        counts = np.bincount((a << np.uint32(bits)) | b, minlength=4**bits)
        assert_as_expected(counts, a.size / 4**bits)


@pytest.mark.parametrize("stream", [Stream.VISIBLE, Stream.HIDDEN, Stream.INPUT])
def test_words_are_uniform_in_buckets_of_every_size(stream):
    w = words(BASE._replace(stream=stream), N_CHAINS, N_UNITS).ravel()
    for bits in (1, 4, 8, 12):
        assert_as_expected(np.bincount(w >> np.uint32(32 - bits), minlength=2**bits), w.size / 2**bits)
        low = w >> np.uint32(9) & np.uint32(2**bits - 1)
        assert_as_expected(np.bincount(low, minlength=2**bits), w.size / 2**bits)


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_ends_of_the_scale_and_of_buckets_are_as_likely_as_the_middle(bits):
    """Within the first, the middle and the last bucket the finer bits are uniform, and so many words are there."""
    w = np.concatenate([words(BASE._replace(step=s), 2 * N_CHAINS, N_UNITS).ravel() for s in range(4)])
    high, low = w >> np.uint32(32 - bits), (w >> np.uint32(28 - bits)) & np.uint32(15)
    for bucket in (0, 2 ** (bits - 1) - 1, 2 ** (bits - 1), 2**bits - 1):
        inside = low[high == bucket]
        expected = w.size / 2**bits
        assert abs(len(inside) - expected) < 5 * np.sqrt(expected)
        assert_as_expected(np.bincount(inside, minlength=16), len(inside) / 16)


def test_units_of_a_block_are_independent():
    """The four words of one counter, in pairs, and units of neighbouring blocks."""
    w = words(BASE, N_CHAINS, N_UNITS)
    for a, b in itertools.combinations(range(4), 2):
        assert_independent(w[:, a::4], w[:, b::4])
    for distance in (1, 4, 16, 32, 512):
        assert_independent(w[:, :-distance], w[:, distance:])


def test_chains_are_independent():
    w = words(BASE, N_CHAINS, N_UNITS)
    for distance in (1, 2, 4, 8, 16, 512):
        assert_independent(w[:-distance], w[distance:])


@pytest.mark.parametrize(
    "other",
    [{"step": BASE.step + 1}, {"step": BASE.step + 2}, {"stream": Stream.VISIBLE}, {"seed": BASE.seed + 1}],
    ids=["next step", "step of 33 bits", "stream", "seed"],
)
def test_steps_streams_and_seeds_are_independent(other):
    assert_independent(words(BASE, N_CHAINS, N_UNITS), words(BASE._replace(**other), N_CHAINS, N_UNITS))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_states_are_on_as_often_as_their_means_say(target, dtype):
    """Probabilities from 2^-14 to 1 - 2^-14: so many units are on, and two neighbours no more often than chance."""
    for power in (-14, -8, -4, -1):
        p = 2.0**power
        for x, mean in ((np.log(p / (1 - p)), p), (-np.log(p / (1 - p)), 1 - p)):
            out = np.empty((N_CHAINS, N_UNITS // 64), np.uint64)
            _cpu.draw_inputs(np.full((N_CHAINS, N_UNITS), x, dtype), BASE, out, 1)
            bits = np.unpackbits(out.view(np.uint8), axis=1, bitorder="little").astype(float)
            n, variance = bits.size, mean * (1 - mean)
            assert abs(bits.sum() - n * mean) < 5 * np.sqrt(n * variance)
            for sums in (bits.sum(axis=0), bits.sum(axis=1)):  # of units, of chains: spread like binomial counts
                spread = ((sums - sums.size * mean) ** 2).sum() / (sums.size * variance)
                assert LEVEL < chi2.cdf(spread, sums.size) < 1 - LEVEL
            centered = bits - mean
            for a, b in ((centered[:, 1:], centered[:, :-1]), (centered[1:], centered[:-1])):
                assert abs((a * b).sum()) < 5 * variance * np.sqrt(a.size) + 3
