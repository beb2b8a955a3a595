"""Partition sums of others: annealing in hand-written PyTorch and in rbms, exact sums in NumPy and SciPy."""

from __future__ import annotations

import numpy as np

from . import Availability, Parameters, Training
from .torch_peer import AddmmProducts, Bits


class _LikelihoodPeer:
    """What the sides below have in common: they train nothing."""

    name: str
    module: str
    shuffles = False

    def available(self) -> Availability:
        """Say whether it can run here."""
        import importlib.util

        missing = [m for m in (self.module, "threadpoolctl") if importlib.util.find_spec(m) is None]
        return Availability(not missing, f"not installed: {', '.join(missing)}" if missing else "")

    def supports(self, training: Training) -> Availability:
        """Say whether it has this algorithm."""
        return Availability(False, "likelihoods only")

    def version(self) -> str:
        """Return the version of the package."""
        from importlib.metadata import version

        return version(self.module)


class TorchAnnealing(_LikelihoodPeer):
    """The same annealing by hand: one product serves weights and draws, buffers are reused, draws as in `Bits`."""

    name, module = "torch-ais", "torch"

    def ais(self, parameters: Parameters, n_chains: int, n_temperatures: int, *, seed: int, threads: int) -> np.ndarray:
        """Return log weights plus the log partition sum at the start, (n_chains,).

        From the model's own biases without weights, evenly spaced temperatures, hidden layer summed out.
        """
        import torch
        from torch.nn.functional import softplus

        torch.set_num_threads(threads)
        with torch.inference_mode():
            W, b, a = map(torch.from_numpy, parameters)
            model = AddmmProducts(W, b, a)
            generator = torch.Generator().manual_seed(seed)
            V, H = torch.empty(n_chains, len(a)), torch.empty(n_chains, len(b))
            P, X = torch.empty_like(V), torch.empty_like(H)
            bits_v, bits_h = Bits(V.shape, generator), Bits(H.shape, generator)
            bits_v.sample(torch.sigmoid(a).expand_as(V), V)
            log_weights = torch.zeros(n_chains, dtype=torch.float64)
            betas = np.linspace(0, 1, n_temperatures + 1)
            for before, beta in zip(betas[:-1], betas[1:], strict=True):
                torch.mm(V, W.t(), out=X)
                log_weights += softplus(torch.add(b, X, alpha=float(beta))).sum(1)
                log_weights -= softplus(torch.add(b, X, alpha=float(before))).sum(1)
                bits_h.sample(torch.add(b, X, alpha=float(beta), out=X).sigmoid_(), H)
                torch.addmm(a, H, model.W, alpha=float(beta), out=P).sigmoid_()
                bits_v.sample(P, V)
            start = softplus(a.double()).sum() + softplus(b.double()).sum()
            return (log_weights + start).numpy()


class RbmsPackage(_LikelihoodPeer):
    """``rbms``: its annealing from the independent model, called as its own scripts do."""

    name, module = "rbms", "rbms"

    def ais(self, parameters: Parameters, n_chains: int, n_temperatures: int, *, seed: int, threads: int) -> np.ndarray:
        """Return its estimate of the log partition sum, (1,): it keeps its weights to itself."""
        import torch
        from rbms.bernoulli_bernoulli.classes import BBRBM
        from rbms.partition_function.ais import compute_partition_function_ais

        torch.set_num_threads(threads)
        torch.manual_seed(seed)
        W, b, a = map(torch.from_numpy, parameters)
        model = BBRBM(weight_matrix=W.t().contiguous(), vbias=a, hbias=b)
        return np.array([compute_partition_function_ais(n_chains, n_temperatures + 1, model)])


class ScipySums(_LikelihoodPeer):
    """An exact sum as it is usually written: ``logaddexp`` over units, ``logsumexp`` over states."""

    name, module = "scipy", "scipy"

    def softplus(self, x: np.ndarray) -> np.ndarray:
        """Return log(1 + e^x)."""
        return np.logaddexp(0, x)

    def partition(self, W: np.ndarray, b: np.ndarray, a: np.ndarray, *, threads: int) -> float:
        """Return log Z by a sum over the states of the hidden layer."""
        from scipy.special import logsumexp
        from threadpoolctl import threadpool_limits

        n = len(b)
        with threadpool_limits(threads):
            # blocks of 128 states stay in cache
            terms = []
            for first in range(0, 2**n, 128):
                h = ((np.arange(first, min(first + 128, 2**n))[:, None] >> np.arange(n)) & 1).astype(W.dtype)
                terms.append(h @ b + self.softplus(h @ W + a).sum(axis=1))
            return float(logsumexp(np.concatenate(terms)))


class FastNumpySums(ScipySums):
    """The same with the fastest softplus that NumPy offers: vectorised exp and log."""

    name, module = "numpy-fast", "numpy"

    def softplus(self, x: np.ndarray) -> np.ndarray:
        """Return log(1 + e^x)."""
        e = np.abs(x)
        np.negative(e, out=e)
        np.exp(e, out=e)
        e += 1
        np.log(e, out=e)
        return np.add(e, np.maximum(x, 0), out=e)
