"""Counter-based random numbers: every draw is addressed by where it is used.

The generator is Philox4x32 with 10 rounds (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as
1, 2, 3", SC'11). A 128-bit counter and a 64-bit key give four 32-bit words; nothing is carried from one draw to the
next, so results cannot depend on threads, tiles, chunks or on where a run was interrupted.

Ten rounds rather than the seven that already pass the published statistical batteries: it is the variant with
published known-answer vectors, which the tests pin, and its safety margin costs a few per cent of a training epoch.

Counter layout, the same in the C kernels::

    word 0   unit // 4            (the four output words belong to units 4 k .. 4 k + 3)
    word 1   chain
    word 2   step, low 32 bits
    word 3   stream << 24 | step, next 24 bits
"""

from __future__ import annotations

import secrets
from enum import IntEnum
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._checks import is_integer

N_ROUNDS = 10
_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = 0x9E3779B9, 0xBB67AE85
_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)


class Stream(IntEnum):
    """What a draw is for. Values are part of addresses and never change."""

    VISIBLE = 0
    HIDDEN = 1
    INPUT = 2
    WEIGHTS = 3
    SHUFFLE = 4
    FOLD = 5
    START = 6
    SWAP = 7
    DROPOUT = 8
    DROP_CONNECT = 9
    WEIGHT_NOISE = 10
    RESAMPLE = 11
    SPIN_MOVES = 12


class Draw(NamedTuple):
    """Address of one layer's draws: unit ``u`` of chain ``c`` uses (step, stream, first_chain + c, u).

    Attributes
    ----------
    seed : int
        64-bit key.
    step : int
        Gibbs step, 56 bits.
    stream : int
        A `Stream`.
    first_chain : int
        Number of the first chain (row) of the batch.
    """

    seed: int
    step: int
    stream: int
    first_chain: int = 0


def philox4x32(counter: NDArray[np.uint32], key: NDArray[np.uint32], rounds: int = N_ROUNDS) -> NDArray[np.uint32]:
    """Apply the Philox4x32 bijection.

    Parameters
    ----------
    counter : ndarray of uint32, shape (..., 4)
        Counters.
    key : ndarray of uint32, shape (2,)
        Key.
    rounds : int, default=10
        Number of rounds.

    Returns
    -------
    ndarray of uint32, shape (..., 4)
    """
    c0, c1, c2, c3 = (counter[..., i].astype(np.uint64) for i in range(4))
    k0, k1 = int(key[0]), int(key[1])
    for _ in range(rounds):
        product0, product1 = _M0 * c0, _M1 * c2
        c0 = (product1 >> _SHIFT) ^ c1 ^ np.uint64(k0)
        c1 = product1 & _LOW
        c2 = (product0 >> _SHIFT) ^ c3 ^ np.uint64(k1)
        c3 = product0 & _LOW
        k0, k1 = (k0 + _W0) & 0xFFFFFFFF, (k1 + _W1) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], axis=-1).astype(np.uint32)


def split_seed(seed: int) -> NDArray[np.uint32]:
    """Return the two key words of a 64-bit seed, low word first."""
    return np.array([seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF], dtype=np.uint32)


def words(draw: Draw, n_chains: int, n_units: int) -> NDArray[np.uint32]:
    """Words of one layer's draws, shape (n_chains, n_units)."""
    blocks = -(-n_units // 4)
    counter = np.empty((n_chains, blocks, 4), dtype=np.uint32)
    counter[..., 0] = np.arange(blocks, dtype=np.uint32)
    counter[..., 1] = (draw.first_chain + np.arange(n_chains, dtype=np.uint64)).astype(np.uint32)[:, None]
    counter[..., 2] = draw.step & 0xFFFFFFFF
    counter[..., 3] = (int(draw.stream) << 24) | ((draw.step >> 32) & 0xFFFFFF)
    return philox4x32(counter, split_seed(draw.seed)).reshape(n_chains, 4 * blocks)[:, :n_units]


def uniforms(draw: Draw, n_chains: int, n_units: int, dtype: Any = np.float32) -> NDArray[Any]:
    """Uniforms in the open interval (0, 1), shape (n_chains, n_units).

    float32: the middles of 2**23 equal cells, exact in that type. float64: the middles of 2**32 cells of the same
    words, so both precisions make the same decision except within 2**-24 of a tie.
    """
    w = words(draw, n_chains, n_units)
    if np.dtype(dtype) == np.float32:
        return ((w >> np.uint32(9)).astype(np.float32) + np.float32(0.5)) * np.float32(2.0**-23)
    return (w.astype(np.float64) + 0.5) * 2.0**-32


@lru_cache(maxsize=256)  # training asks for the same ones in every minibatch
def _folded(seed: int, number: int) -> int:
    w = words(Draw(seed, number, Stream.FOLD), 1, 2)[0]
    return int(w[0]) | int(w[1]) << 32


class Key:
    """A 64-bit seed and what is derived from it.

    Parameters
    ----------
    seed : int
        Any non-negative integer below 2**64.
    """

    __slots__ = ("seed",)
    seed: int

    def __init__(self, seed: int):
        if not is_integer(seed) or not 0 <= seed < 2**64:
            raise ValueError(f"seed must be an integer in [0, 2**64), got {seed!r}")
        self.seed = int(seed)

    def __repr__(self) -> str:
        return f"Key({self.seed})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and other.seed == self.seed

    def __hash__(self) -> int:
        return hash(("Key", self.seed))

    def __reduce__(self) -> tuple[type[Key], tuple[int]]:
        return Key, (self.seed,)

    @classmethod
    def from_random_state(cls, random_state: Any) -> Key:
        """Key of a scikit-learn style ``random_state``.

        None draws one from the operating system, an int is the seed itself, a NumPy ``RandomState`` or
        ``Generator`` gives (and consumes) 64 bits.
        """
        cls.check(random_state)
        if isinstance(random_state, Key):
            return random_state
        if random_state is None:
            return cls(secrets.randbits(64))
        if random_state is np.random or isinstance(random_state, np.random.RandomState):
            from sklearn.utils import check_random_state

            source = check_random_state(random_state)  # the generator behind numpy.random itself
            low, high = source.randint(0, 2**32, size=2, dtype=np.uint64)  # noqa: NPY002
            return cls(int(low) | int(high) << 32)
        if isinstance(random_state, np.random.Generator):
            return cls(int(random_state.integers(0, 2**64, dtype=np.uint64)))
        return cls(int(random_state))

    @staticmethod
    def check(random_state: Any) -> None:
        """Raise ValueError unless `from_random_state` takes it."""
        if random_state is None or random_state is np.random:
            return
        if isinstance(random_state, (Key, np.random.RandomState, np.random.Generator)):
            return
        if not is_integer(random_state) or not 0 <= random_state < 2**64:
            raise ValueError(
                "random_state must be None, an integer in [0, 2**64), a numpy RandomState or Generator, "
                f"got {random_state!r}"
            )

    def fold_in(self, number: int) -> Key:
        """Derive the key of independent draws, one for every `number` in [0, 2**56)."""
        return Key(_folded(self.seed, int(number)))

    def at(self, step: int, stream: Stream, first_chain: int = 0) -> Draw:
        """Address draws of this key."""
        return Draw(self.seed, int(step), int(stream), int(first_chain))

    def permutation(self, n: int, number: int) -> NDArray[np.int64]:
        """Permutation of range(n), one for every `number` (epoch).

        The order of n 64-bit words of NumPy's Philox bit generator, whose raw stream NumPy guarantees; its counter is
        addressed by `number`, so no epoch depends on those before it.
        """
        raw = np.random.Philox(key=self.seed, counter=[0, 0, number, int(Stream.SHUFFLE)]).random_raw(n)
        order = np.argsort(raw)  # five times as fast as a stable sort, and the same unless two words are equal
        words_in_order = raw[order]
        if (words_in_order[1:] == words_in_order[:-1]).any():
            order = np.argsort(raw, kind="stable")
        return order.astype(np.int64, copy=False)

    def normal(self, shape: tuple[int, int], scale: float) -> NDArray[np.float64]:
        """Normal draws of the given standard deviation (inverse distribution function), shape (rows, columns)."""
        from scipy.special import ndtri

        return scale * ndtri(uniforms(self.at(0, Stream.WEIGHTS), shape[0], shape[1], np.float64))
