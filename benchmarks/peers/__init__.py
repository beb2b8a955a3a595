"""The programs that fastrbm is measured against, behind one small interface.

A peer is written in its strongest fair form and knows nothing of timing: :mod:`benchmarks.protocol` calls it.
Every array that goes in or comes out is a C-ordered float32 NumPy array unless a method says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np


class Parameters(NamedTuple):
    """Weights and biases of a Bernoulli RBM with E(v, h) = -a.v - b.h - h.W v."""

    W: np.ndarray  #: weights, (n_hidden, n_visible)
    b: np.ndarray  #: hidden biases, (n_hidden,)
    a: np.ndarray  #: visible biases, (n_visible,)


@dataclass(frozen=True)
class Availability:
    """A yes, or a no with its reason; true in a boolean context when yes."""

    ok: bool
    reason: str = ""

    def __bool__(self) -> bool:
        return self.ok


@dataclass(frozen=True)
class Training:
    """One training run, in the terms that every side understands."""

    n_hidden: int
    batch: int
    n_epochs: int
    rate: float
    algorithm: str = "pcd"  #: "cd" or "pcd"
    k: int = 1  #: Gibbs steps per update
    fast: bool = False  #: fastrbm's approximate products; peers have none
    sampled: bool = False  #: gradients of sampled hidden states; peers take the means, for them the same work


class Peer(Protocol):
    """What a side of a comparison provides."""

    name: str
    shuffles: bool  #: whether training visits the rows in a fresh random order every epoch

    def available(self) -> Availability:
        """Say whether the peer can run here."""

    def supports(self, training: Training) -> Availability:
        """Say whether the peer has this algorithm."""

    def version(self) -> str:
        """Version of the peer's own package."""

    def fit_epochs(self, X: np.ndarray, training: Training, *, seed: int, threads: int) -> Parameters:
        """Train from N(0, 0.01^2) weights and zero biases on rows in [0, 1]."""

    def transform(self, parameters: Parameters, X: np.ndarray, *, threads: int) -> np.ndarray:
        """Return p(h = 1 | v) for every row, (n_samples, n_hidden)."""

    def gibbs(self, parameters: Parameters, V: np.ndarray, n_steps: int, *, seed: int, threads: int) -> np.ndarray:
        """Return the visible states of chains that start at the rows of V, after n_steps full sweeps."""


def training_peers() -> dict[str, Peer]:
    """Return the peers that train, by the name that cases use, installed or not."""
    from .jax_peer import Jax
    from .sklearn_peer import ScikitLearn
    from .torch_peer import BernoulliCalls, OneDnnProducts, ShortProducts, Torch

    peers = (
        ScikitLearn(),
        Torch("torch"),
        Torch("torch-bfloat16", products=ShortProducts),
        Torch("torch-onednn", products=OneDnnProducts),
        Torch("torch-bernoulli", bits=BernoulliCalls),
        Jax("jax"),
    )
    return {peer.name: peer for peer in peers}


def sampling_peers() -> dict[str, Any]:
    """Return those that sample only."""
    from .jax_peer import BlockGibbs, Jaxbm

    return {peer.name: peer for peer in (Jaxbm("jaxbm"), BlockGibbs("thrml", "thrml"), BlockGibbs("hamon", "hamon"))}


def real_peers() -> dict[str, Peer]:
    """Return the peers that train Gaussian visible units."""
    from .torch_peer import Normals, RealOneDnnProducts, RealProducts, Torch

    peers = (
        Torch("torch-gaussian", products=RealProducts, visible=Normals),
        Torch("torch-gaussian-onednn", products=RealOneDnnProducts, visible=Normals),
    )
    return {peer.name: peer for peer in peers}


def likelihood_peers() -> dict[str, Any]:
    """Return those that know partition sums only."""
    from .likelihood_peer import FastNumpySums, RbmsPackage, ScipySums, TorchAnnealing

    return {peer.name: peer for peer in (TorchAnnealing(), RbmsPackage(), ScipySums(), FastNumpySums())}


def all_peers() -> dict[str, Any]:
    """Return every peer."""
    return {**training_peers(), **sampling_peers(), **real_peers(), **likelihood_peers()}
