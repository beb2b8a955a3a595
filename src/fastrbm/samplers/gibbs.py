"""Block Gibbs sampling: contrastive divergence, persistent chains, and free-running chains."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._checks import check_flag, check_integer
from .._kernels import Backend, ChainState, Parameters, pack
from .._kernels.contract import Drawn, States
from .._kernels.draws import Draw, Stream
from ..units import get_unit
from ._base import Sampler


class Gibbs(Sampler):
    """Alternating draws of the two layers.

    As ``algorithm`` of an estimator it stands for "pcd" or "cd" with ``n_gibbs_steps=n_steps``.

    Parameters
    ----------
    n_steps : int, default=1
        Sweeps (v given h, then h given v) per `step`, and per minibatch in training: the k of CD-k and PCD-k.
    persistent : bool, default=True
        In training, whether chains go on from minibatch to minibatch (PCD; Tieleman, ICML 2008) or start at the
        data each time (CD; Hinton, Neural Computation 14, 2002).
    """

    def __init__(self, n_steps: int = 1, persistent: bool = True):
        self.n_steps = n_steps
        self.persistent = persistent

    def validate(self) -> None:
        """Raise ValueError unless the options are usable."""
        check_integer("n_steps", self.n_steps)
        check_flag("persistent", self.persistent)

    def init(
        self, n_chains: int, n_hidden: int, step: int = 0, unit: str = "bernoulli", dtype: Any = np.float32
    ) -> ChainState:
        """Start all chains alike: hidden units off, as in scikit-learn, or the first state of other units."""
        hidden = get_unit(unit)
        if hidden.packed:
            return ChainState(step, pack(np.tile(hidden.first_state(n_hidden), (n_chains, 1))))
        return ChainState(step, np.tile(hidden.first_state(n_hidden).astype(dtype), (n_chains, 1)))

    def init_from_visible(
        self, visible: States, parameters: Parameters, units: tuple[str, str], seed: int, backend: Backend
    ) -> ChainState:
        """Chains whose hidden layer is drawn given the visible states."""
        draw = Draw(seed, 0, Stream.HIDDEN)
        hidden = backend.samples(units[1], visible, parameters.weights, parameters.hidden_bias, draw)
        return ChainState(1, hidden)

    def step(
        self,
        state: ChainState,
        parameters: Parameters,
        units: tuple[str, str],
        seed: int,
        backend: Backend,
    ) -> Drawn:
        """Do `n_steps` sweeps: ``state`` goes on in place, the last visible states are returned."""
        assert state.chains is not None
        draw = Draw(seed, state.step, Stream.VISIBLE)
        visible, state.chains = backend.run_chains(state.chains, parameters, units, draw, self.n_steps)
        state.step += self.n_steps
        return visible
