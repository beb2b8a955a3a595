"""What tempering and trajectory tempering share: chains of a ladder of distributions, and a round of exchanges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .._kernels import Backend
from .._kernels.contract import States
from .._kernels.draws import Draw, Stream
from .._kernels.ladders import Ladder, count_trips


@dataclass
class RungState:
    """Chains of all rungs of a ladder; those of the model that is sampled are at the last one.

    Row ``rung * n_chains + chain`` of `hidden` is a chain of that rung; those with the same number `chain` exchange
    states among themselves only.
    """

    step: int
    hidden: States
    swap_accepts: NDArray[np.int64]
    swap_tries: NDArray[np.int64]
    round_trips: int
    round: int
    marks: NDArray[np.int8]

    @property
    def n_rungs(self) -> int:
        """Number of distributions."""
        return len(self.swap_tries) + 1

    @property
    def n_chains(self) -> int:
        """Number of chains of each rung."""
        return len(self.marks) // self.n_rungs

    @property
    def swap_rates(self) -> NDArray[np.float64]:
        """Share of exchanges accepted with the next rung, NaN where none was tried."""
        with np.errstate(invalid="ignore"):
            return self.swap_accepts / self.swap_tries

    def at(self, rung: int) -> States:
        """Hidden states of the chains of a rung; -1 for those of the model that is sampled."""
        first = range(self.n_rungs)[rung] * self.n_chains
        return self.hidden[first : first + self.n_chains]

    def count_anew(self) -> None:
        """Forget the exchanges and journeys so far."""
        self.swap_accepts[:] = 0
        self.swap_tries[:] = 0
        self.round_trips = 0
        self.marks[:] = 0

    def exchange(self, ladder: Ladder, seed: int, backend: Backend) -> tuple[slice, NDArray[np.float64] | None]:
        """Try the pairs whose turn it is; return which, and the logs of their ratios, None where there is no pair."""
        n, n_pairs, first = self.n_chains, len(self.swap_tries), self.round % 2
        turn, log_ratio = slice(first, None, 2), None
        if first < n_pairs:
            draw = Draw(seed, self.step, Stream.SWAP, first * n)
            u = backend.uniforms(draw, (n_pairs - first) * n, 1, np.float64).reshape(-1, n)[::2]
            self.hidden, self.marks, log_ratio, accepted = ladder.exchange(self.hidden, self.marks, first, np.log(u))
            self.swap_accepts[turn] += accepted
            self.swap_tries[turn] += n
        self.round_trips += count_trips(self.marks[:n], self.marks[-n:])
        return turn, log_ratio

    def sweep(self, ladder: Ladder, seed: int, n_steps: int) -> States:
        """Do Gibbs sweeps of all rungs, which end the round; return the last visible states of the last rung."""
        visible, self.hidden = ladder.run_chains(self.hidden, Draw(seed, self.step, Stream.VISIBLE), n_steps)
        self.step += n_steps
        self.round += 1
        return visible
