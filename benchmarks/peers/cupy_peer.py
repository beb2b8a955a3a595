"""CuPy: arrays of a device, written by hand, one call for each operation; NumPy in its place where tests have none."""

from __future__ import annotations

import importlib
from importlib.metadata import version
from typing import Any

import numpy as np

from . import Availability, Parameters, Training


class CuPy:
    """Products by cuBLAS, draws by the library's generator.

    Parameters
    ----------
    module : str
        "cupy", or "numpy", whose functions it shares.
    """

    shuffles = True

    def __init__(self, module: str = "cupy") -> None:
        self.name, self.module = "CuPy", module

    def available(self) -> Availability:
        """Say whether it can run here."""
        try:
            xp = importlib.import_module(self.module)
            if self.module == "cupy":
                xp.zeros(1)
        except ImportError as error:
            return Availability(False, f"not installed: {error}")
        except Exception as error:  # of the driver, of which CuPy has classes of its own
            return Availability(False, f"CuPy has no device: {error}")
        return Availability(True)

    def supports(self, training: Training) -> Availability:
        """Say whether it has this algorithm."""
        if training.algorithm not in ("cd", "pcd"):
            return Availability(False, f"not written for algorithm {training.algorithm!r}")
        return Availability(True)

    def version(self) -> str:
        """Return the version of the package."""
        return version(self.module)

    def asarray(self, x: Any) -> Any:
        """Array of the device."""
        return importlib.import_module(self.module).asarray(x)

    def _run(self, seed: int) -> _Run:
        return _Run(importlib.import_module(self.module), seed)

    def transform(self, parameters: Parameters, X: Any, *, threads: int) -> np.ndarray:
        """Return p(h = 1 | v) of every row."""
        run = self._run(0)
        W, b, _ = map(self.asarray, parameters)
        return run.on_host(run.means(self.asarray(X), W.T, b))

    def gibbs(self, parameters: Parameters, V: Any, n_steps: int, *, seed: int, threads: int) -> np.ndarray:
        """Return the visible states after n_steps sweeps from the rows of V."""
        run = self._run(seed)
        W, b, a = map(self.asarray, parameters)
        V = self.asarray(V)
        for _ in range(n_steps):
            V = run.drawn(run.means(run.drawn(run.means(V, W.T, b)), W, a))
        return run.on_host(V)

    def fit_epochs(self, X: Any, training: Training, *, seed: int, threads: int) -> Parameters:
        """Train from scratch; see `Peer`."""
        run, batch = self._run(seed), training.batch
        rng, X = np.random.default_rng(seed), self.asarray(X)
        state = tuple(
            map(
                self.asarray,
                (
                    (0.01 * rng.standard_normal((training.n_hidden, X.shape[1]))).astype(np.float32),
                    np.zeros(training.n_hidden, np.float32), np.zeros(X.shape[1], np.float32),
                ),
            )
        )  # fmt: skip
        chains = self.asarray(np.zeros((batch, training.n_hidden), np.float32))
        for _ in range(training.n_epochs):
            order = self.asarray(rng.permutation(len(X)))
            for first in range(0, len(X) // batch * batch, batch):
                state, chains = run.update(training, state, chains, X[order[first : first + batch]])
        return Parameters(*map(run.on_host, state))


class _Run:
    """Functions of one library and its generator."""

    def __init__(self, xp: Any, seed: int) -> None:
        self.xp, self.rng = xp, xp.random.default_rng(seed)

    def means(self, X: Any, W: Any, bias: Any) -> Any:
        x = X @ W
        x += bias
        return 1 / (1 + self.xp.exp(-x))

    def drawn(self, means: Any) -> Any:
        return (self.rng.random(means.shape, dtype=np.float32) < means).astype(np.float32)

    def update(self, training: Training, state: Any, chains: Any, V: Any) -> tuple[Any, Any]:
        """One minibatch."""
        W, b, a = state
        P = self.means(V, W.T, b)
        H = self.drawn(P) if training.algorithm == "cd" else chains
        for step in range(training.k):
            model_v = self.drawn(self.means(H, W, a))
            model_p = self.means(model_v, W.T, b)
            if step < training.k - 1 or training.algorithm == "pcd":
                H = self.drawn(model_p)
        scale = np.float32(training.rate / len(V))
        W += scale * (P.T @ V - model_p.T @ model_v)
        b += scale * (P - model_p).sum(axis=0)
        a += scale * (V - model_v).sum(axis=0)
        return (W, b, a), H

    def on_host(self, x: Any) -> np.ndarray:
        return x if isinstance(x, np.ndarray) else self.xp.asnumpy(x)
