"""The random stream: known answers, addressing, and what keys derive."""

import numpy as np
import pytest

from fastrbm._kernels.draws import Draw, Key, Stream, philox4x32, split_seed, uniforms, words

# Known-answer vectors of Philox4x32-10 published with Random123 (Salmon et al. 2011)
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    (
        (0xFFFFFFFF,) * 4,
        (0xFFFFFFFF,) * 2,
        (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
    ),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize("counter,key,answer", KNOWN)
def test_known_answers(counter, key, answer):
    got = philox4x32(np.array(counter, np.uint32), np.array(key, np.uint32))
    assert tuple(int(x) for x in got) == answer


def test_words_are_addressed_by_their_place():
    draw = Draw(2**40 + 17, 2**33 + 5, Stream.HIDDEN, 10)
    all_words = words(draw, 40, 21)
    np.testing.assert_array_equal(words(draw._replace(first_chain=25), 25, 9), all_words[15:, :9])
    for chain, unit in ((0, 0), (7, 20), (39, 3)):
        counter = [unit // 4, 10 + chain, 5, (1 << 24) | 2]
        one = philox4x32(np.array(counter, np.uint32), split_seed(draw.seed))
        assert one[unit % 4] == all_words[chain, unit]
    others = [
        draw._replace(seed=draw.seed + 1),
        draw._replace(seed=draw.seed ^ 1 << 63),
        draw._replace(step=draw.step + 1),
        draw._replace(step=draw.step + 2**32),
        draw._replace(stream=Stream.VISIBLE),
    ]
    for other in others:
        assert (words(other, 40, 21) != all_words).mean() > 0.99


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_uniforms_are_uniform_and_never_at_the_ends(dtype):
    u = uniforms(Draw(1, 2, 0), 500, 400, dtype)
    assert u.dtype == dtype and u.min() > 0 and u.max() < 1
    n = u.size
    assert abs(u.mean() - 0.5) < 4 / np.sqrt(12 * n)
    counts = np.bincount((u * 100).astype(int).ravel(), minlength=100)
    chi2 = ((counts - n / 100) ** 2 / (n / 100)).sum()
    assert abs(chi2 - 99) < 4 * np.sqrt(2 * 99)
    rows = np.corrcoef(u[:, :-1].ravel(), u[:, 1:].ravel())[0, 1]
    assert abs(rows) < 4 / np.sqrt(n)


def test_both_precisions_use_the_same_word():
    draw = Draw(9, 9, 0)
    difference = uniforms(draw, 50, 50, np.float64) - uniforms(draw, 50, 50, np.float32)
    assert np.abs(difference).max() < 2.0**-23


def test_permutation_is_one_and_is_addressed():
    key = Key(5)
    p = key.permutation(1000, 3)
    np.testing.assert_array_equal(np.sort(p), np.arange(1000))
    np.testing.assert_array_equal(p, Key(5).permutation(1000, 3))
    assert (p != key.permutation(1000, 4)).any() and (p != Key(6).permutation(1000, 3)).any()
    # pinned: the order of an epoch is part of what a seed promises
    np.testing.assert_array_equal(Key(0).permutation(8, 0), [5, 4, 2, 7, 0, 3, 1, 6])


def test_normal_draws_are_normal():
    x = Key(1).normal((300, 301), 0.01)
    assert abs(x.mean()) < 4 * 0.01 / np.sqrt(x.size)
    assert abs(x.std() / 0.01 - 1) < 4 / np.sqrt(2 * x.size)
    np.testing.assert_array_equal(x[:5, :5], Key(1).normal((5, 301), 0.01)[:, :5])


def test_fold_in_gives_distinct_keys():
    assert len({Key(3).fold_in(i) for i in range(1000)} | {Key(3)}) == 1001


def test_from_random_state_accepts_the_usual_forms():
    assert Key.from_random_state(7) == Key(7) == Key.from_random_state(Key(7)) == Key.from_random_state(np.int64(7))
    assert Key.from_random_state(None) != Key.from_random_state(None)
    for make in (np.random.RandomState, np.random.default_rng):
        assert Key.from_random_state(make(3)) == Key.from_random_state(make(3))
        rng = make(3)
        assert Key.from_random_state(rng) != Key.from_random_state(rng)
    assert isinstance(Key.from_random_state(np.random), Key)


@pytest.mark.parametrize("bad", [-1, 2**64, 1.5, "seed", True, [1]])
def test_bad_seeds_are_named(bad):
    with pytest.raises(ValueError, match="random_state must be"):
        Key.from_random_state(bad)


def test_a_permutation_is_the_stable_order_even_of_equal_words(monkeypatch):
    class Coarse:
        def __init__(self, **address):
            self.generator = philox(**address)

        def random_raw(self, n):
            return self.generator.random_raw(n) % np.uint64(self.kinds)

    philox = np.random.Philox
    raw = philox(key=5, counter=[0, 0, 2, int(Stream.SHUFFLE)]).random_raw(3000)
    np.testing.assert_array_equal(Key(5).permutation(3000, 2), np.argsort(raw, kind="stable"))
    Coarse.kinds = 7
    monkeypatch.setattr(np.random, "Philox", Coarse)
    np.testing.assert_array_equal(Key(5).permutation(3000, 2), np.argsort(raw % np.uint64(7), kind="stable"))
