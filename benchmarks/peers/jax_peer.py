"""JAX: written by hand, on the CPU or a device, and the packages that sample Boltzmann machines with it.

XLA takes its threads when the process starts, as many as there are processors, so these peers run on all of them or
not at all. The first call of a shape compiles and is a warm-up of the protocol, with the number of steps as an
argument of the program, so that timed calls compile nothing.
"""

from __future__ import annotations

import importlib
import os
from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np

from . import Availability, Parameters, Training


class _OnJax:
    """What the peers on JAX have in common."""

    module = "jax"
    shuffles = True
    #: chains that a comparison gives this peer, its time taken for all in proportion; None: all of them
    most_chains: int | None = None

    def __init__(self, name: str, platform: str = "cpu") -> None:
        self.name, self.platform = name, platform

    def available(self) -> Availability:
        """Say whether it can run here."""
        try:
            import jax

            importlib.import_module(self.module)
        except ImportError as error:
            return Availability(False, f"not installed: {error}")
        if jax.default_backend() != self.platform:
            wanted = f"set JAX_PLATFORMS={'cpu' if self.platform == 'cpu' else 'cuda'}"
            return Availability(False, f"JAX computes on {jax.default_backend()!r}: {wanted}")
        return Availability(True)

    def asarray(self, x: Any) -> Any:
        """Array of the device."""
        import jax.numpy

        return jax.numpy.asarray(x)

    def supports(self, training: Training) -> Availability:
        """Say whether it has this algorithm."""
        return Availability(False, f"{self.name} samples, and is not written to train")

    def version(self) -> str:
        """Return the version of the package."""
        return version(self.module)

    def _check(self, threads: int) -> None:
        if self.platform != "cpu":
            return
        available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        if threads != available:
            raise ValueError(f"XLA takes all {available} processors of the process, and cannot be given {threads}")


class Jax(_OnJax):
    """One compiled loop: products and draws of a sweep are fused as far as XLA does."""

    def __init__(self, name: str, platform: str = "cpu") -> None:
        super().__init__(name, platform)
        self._compiled: dict[Any, Any] = {}

    def supports(self, training: Training) -> Availability:
        """Say whether it has this algorithm."""
        if training.algorithm not in ("cd", "pcd"):
            return Availability(False, f"not written for algorithm {training.algorithm!r}")
        return Availability(True)

    def transform(self, parameters: Parameters, X: np.ndarray, *, threads: int) -> np.ndarray:
        """Return p(h = 1 | v) of every row."""
        self._check(threads)
        return np.asarray(self._once("transform", _means)(X, parameters.W.T, parameters.b))

    def gibbs(self, parameters: Parameters, V: np.ndarray, n_steps: int, *, seed: int, threads: int) -> np.ndarray:
        """Return the visible states after n_steps sweeps from the rows of V."""
        import jax

        self._check(threads)
        return np.asarray(self._once("gibbs", _sweeps)(parameters, V, n_steps, jax.random.key(seed, impl="rbg")))

    def fit_epochs(self, X: np.ndarray, training: Training, *, seed: int, threads: int) -> Parameters:
        """Train from scratch; see `Peer`."""
        import jax

        self._check(threads)
        epoch = self._once(("epoch", training.algorithm, training.k, training.batch), partial(_epoch, training))
        key = jax.random.key(seed, impl="rbg")
        n_hidden, n_visible = training.n_hidden, X.shape[1]
        W = 0.01 * jax.random.normal(key, (n_hidden, n_visible), np.float32)
        state = (W, np.zeros(n_hidden, np.float32), np.zeros(n_visible, np.float32))
        chains = np.zeros((training.batch, n_hidden), np.float32)
        for number in range(training.n_epochs):
            state, chains = epoch(state, chains, X, training.rate, jax.random.fold_in(key, number + 1))
        return Parameters(*(np.asarray(value) for value in state))

    def _once(self, name: Any, function: Any) -> Any:
        import jax

        if name not in self._compiled:
            self._compiled[name] = jax.jit(function)
        return self._compiled[name]


def _means(X, W, bias):
    import jax

    return jax.nn.sigmoid(X @ W + bias)


def _drawn(key, means):
    import jax

    return (jax.random.uniform(key, means.shape) < means).astype(np.float32)


def _sweep(W, b, a, V, key):
    import jax

    k_hidden, k_visible = jax.random.split(key)
    H = _drawn(k_hidden, _means(V, W.T, b))
    return _drawn(k_visible, _means(H, W, a))


def _sweeps(parameters, V, n_steps, key):
    import jax

    W, b, a = parameters

    def one(step, V):
        return _sweep(W, b, a, V, jax.random.fold_in(key, step))

    return jax.lax.fori_loop(0, n_steps, one, V)


def _epoch(training, state, chains, X, rate, key):
    """Visit every whole batch once, in a fresh order."""
    import jax

    batch = training.batch
    n_batches = len(X) // batch
    k_order, key = jax.random.split(key)
    order = jax.random.permutation(k_order, len(X))[: n_batches * batch].reshape(n_batches, batch)

    def update(carry, at):
        (W, b, a), chains, number = carry
        k_first, k_sweeps, k_visible, k_last = jax.random.split(jax.random.fold_in(key, number), 4)
        V = X[at]
        P = _means(V, W.T, b)
        H = _drawn(k_first, P) if training.algorithm == "cd" else chains
        model_v = _drawn(k_visible, _means(H, W, a))
        for step in range(1, training.k):
            model_v = _sweep(W, b, a, model_v, jax.random.fold_in(k_sweeps, step))
        model_p = _means(model_v, W.T, b)
        scale = rate / batch
        W = W + scale * (P.T @ V - model_p.T @ model_v)
        b = b + scale * (P - model_p).sum(axis=0)
        a = a + scale * (V - model_v).sum(axis=0)
        chains = _drawn(k_last, model_p) if training.algorithm == "pcd" else chains
        return ((W, b, a), chains, number + 1), None

    (state, chains, _), _ = jax.lax.scan(update, (state, chains, 0), order)
    return state, chains


class Jaxbm(_OnJax):
    """``jaxbm``: its chain of a restricted machine, vectorised over chains as its documentation does."""

    module = "jaxbm"

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._compiled: dict[int, Any] = {}

    def gibbs(self, parameters: Parameters, V: np.ndarray, n_steps: int, *, seed: int, threads: int) -> np.ndarray:
        """Return the visible states after n_steps sweeps from the rows of V."""
        import jax
        from jaxbm import RBM_chain

        self._check(threads)
        if n_steps not in self._compiled:

            def chain(key, v, h, W, a, b):
                return RBM_chain(key, v, h, W, a, b, None, steps=n_steps, spin=False, in_jit=True)[0]

            self._compiled[n_steps] = jax.jit(jax.vmap(chain, in_axes=(0, 0, 0, None, None, None)))
        # its units are on with the sigmoid of twice the field; it begins with the visible layer
        W, b, a = (0.5 * value for value in parameters)
        key = jax.random.key(seed)
        H = _drawn(key, _means(V, parameters.W.T, parameters.b))
        keys = jax.random.split(jax.random.fold_in(key, 1), len(V))
        return np.asarray(self._compiled[n_steps](keys, V, H, W.T, a, b))


class BlockGibbs(_OnJax):
    """``thrml``, or ``hamon``, which grew out of it: block Gibbs sampling of any graph, here of that of two layers.

    An edge is an object of Python, and each chain gathers its neighbours' states edge by edge, so that a program is
    built once for given weights and few chains are timed.
    """

    most_chains = 16

    def __init__(self, name: str, module: str) -> None:
        super().__init__(name)
        self.module = module
        self._programs: dict[int, Any] = {}
        self._compiled: dict[int, Any] = {}

    def _program(self, parameters: Parameters) -> Any:
        """Two layers of spins with the distribution of the bits."""
        import jax.numpy as jnp

        held = self._programs.get(id(parameters.W))
        if held is not None:
            return held[1]
        pgm, models, blocks = (
            importlib.import_module(f"{self.module}.{part}") for part in ("pgm", "models.ising", "block_management")
        )
        W, b, a = parameters
        hidden, visible = ([pgm.SpinNode() for _ in bias] for bias in (b, a))
        edges = [(h, v) for h in hidden for v in visible]
        biases = np.concatenate([b / 2 + W.sum(axis=1) / 4, a / 2 + W.sum(axis=0) / 4])
        model = models.IsingEBM(
            hidden + visible, edges, jnp.asarray(biases), jnp.asarray(W.ravel() / 4), jnp.asarray(1.0)
        )
        program = models.IsingSamplingProgram(model, [blocks.Block(hidden), blocks.Block(visible)], [])
        self._programs[id(W)] = W, program
        return program

    def gibbs(self, parameters: Parameters, V: np.ndarray, n_steps: int, *, seed: int, threads: int) -> np.ndarray:
        """Return the visible states after n_steps sweeps from the rows of V."""
        import equinox as eqx
        import jax

        self._check(threads)
        sampling = importlib.import_module(f"{self.module}.block_sampling")
        if n_steps not in self._compiled:

            def chains(program, keys, hidden, visible):
                def one(key, h, v):
                    last = sampling.SamplingSchedule(n_warmup=n_steps, n_samples=1, steps_per_sample=1)
                    block = program.gibbs_spec.free_blocks[1]
                    return sampling.sample_states(key, program, last, [h, v], [], [block])[0][0]

                return jax.vmap(one)(keys, hidden, visible)

            self._compiled[n_steps] = eqx.filter_jit(chains)
        keys = jax.random.split(jax.random.key(seed), len(V))
        hidden = np.zeros((len(V), len(parameters.b)), dtype=bool)
        states = self._compiled[n_steps](self._program(parameters), keys, hidden, V.astype(bool))
        return np.asarray(states).astype(np.float32)
