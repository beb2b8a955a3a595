"""PyTorch written by hand for speed: no autograd, no allocation in the loop, few and large products.

What makes it strong, each point measured on the CPU:

* ``addmm`` with the bias and an output buffer, ``sigmoid_`` in place, under ``torch.inference_mode``;
* data and model rows of a batch lie in one buffer, so that the gradient of both phases is one product which
  reads and writes W once, and PCD computes both hidden inputs in one product as well;
* sampling compares 32 random bits with the scaled probability: ``torch.bernoulli`` is serial and took 7 times
  as long, ``uniform_`` and a comparison 1.4 times (`Bits` and, for comparison, `BernoulliCalls`);
* the shuffled rows are gathered batch by batch, while they are still in cache.
"""

from __future__ import annotations

import numpy as np

from . import Availability, Parameters, Training

_TWO_32 = 4294967296.0


class AddmmProducts:
    """The three products of a step by ``torch.addmm``, which uses the BLAS that PyTorch was built with."""

    kind = "float32"  #: of states and means

    def __init__(self, W, b, a):
        self.W, self.b, self.a = W, b, a

    def refresh(self):
        """Take over parameters that were changed from outside: these are used as they are."""

    def hidden(self, V, out):
        """Write sigmoid(b + V W^T) into out."""
        import torch

        return torch.addmm(self.b, V, self.W.t(), out=out).sigmoid_()

    def visible(self, H, out):
        """Write sigmoid(a + H W) into out."""
        import torch

        return torch.addmm(self.a, H, self.W, out=out).sigmoid_()

    def add_outer(self, P, V, scale):
        """Add scale * P^T V to W."""
        self.W.addmm_(P.t(), V, alpha=scale)

    def add_sums(self, P, V, signs, scale):
        """Add scale * P^T signs and scale * V^T signs to the biases."""
        self.b.addmv_(P.t(), signs, alpha=scale)
        self.a.addmv_(V.t(), signs, alpha=scale)


class ShortProducts(AddmmProducts):
    """Products of bfloat16: states are exact in it, means and gradients are rounded; parameters are kept in float32."""

    kind = "bfloat16"

    def __init__(self, W, b, a):
        super().__init__(W, b, a)
        self._short = [value.bfloat16() for value in (W, b, a)]

    def hidden(self, V, out):
        """Write sigmoid(b + V W^T) into out."""
        import torch

        W, b, _ = self._short
        return torch.addmm(b, V, W.t(), out=out).sigmoid_()

    def visible(self, H, out):
        """Write sigmoid(a + H W) into out."""
        import torch

        W, _, a = self._short
        return torch.addmm(a, H, W, out=out).sigmoid_()

    def add_sums(self, P, V, signs, scale):
        """Add scale * P^T signs and scale * V^T signs to the biases."""
        self.b.add_(P.t() @ signs, alpha=scale)
        self.a.add_(V.t() @ signs, alpha=scale)

    def add_outer(self, P, V, scale):
        """Add scale * P^T V to W, which ends an update."""
        self.W.add_(P.t() @ V, alpha=scale)
        self.refresh()

    def refresh(self):
        """Round parameters that were changed."""
        for short, value in zip(self._short, (self.W, self.b, self.a), strict=True):
            short.copy_(value)


class RealProducts(AddmmProducts):
    """Gaussian visible units of variance 1: their layer is its mean."""

    def visible(self, H, out):
        """Write a + H W into out."""
        import torch

        return torch.addmm(self.a, H, self.W, out=out)


class OneDnnProducts(AddmmProducts):
    """The same through a private oneDNN operator, with the sigmoid fused.

    ``addmm`` goes to MKL, which leaves AVX-512 unused on processors that are not Intel's; oneDNN uses it. The
    operator is no public API, so this form is reported beside the ordinary one.
    """

    @staticmethod
    def _linear(X, weight, bias, activation):
        import torch

        return torch.ops.mkldnn._linear_pointwise(X, weight, bias, activation, [], "")

    def hidden(self, V, out):
        """Write sigmoid(b + V W^T) into out."""
        return out.copy_(self._linear(V, self.W, self.b, "sigmoid"))

    def visible(self, H, out):
        """Write sigmoid(a + H W) into out."""
        return out.copy_(self._linear(H, self.W.t(), self.a, "sigmoid"))

    def add_outer(self, P, V, scale):
        """Add scale * P^T V to W."""
        self.W.add_(self._linear(P.t(), V.t(), None, "none"), alpha=scale)


class RealOneDnnProducts(OneDnnProducts):
    """Both."""

    def visible(self, H, out):
        """Write a + H W into out."""
        return out.copy_(self._linear(H, self.W.t(), self.a, "none"))


class Normals:
    """Draws normal states around their means."""

    def __init__(self, shape, generator):
        self._generator = generator

    def sample(self, P, out):
        """Write P plus standard normal draws into out."""
        return out.normal_(generator=self._generator).add_(P)


class Bits:
    """Draws 0/1 states from probabilities with two 32-bit numbers per call of the 64-bit generator."""

    def __init__(self, shape, generator):
        import torch

        n_words = (shape[0] * shape[1] + 1) // 2
        self._words = torch.empty(n_words, dtype=torch.int64)
        self._halves = self._words.view(torch.int32)[: shape[0] * shape[1]].view(shape)
        self._noise = torch.empty(shape)
        self._scaled = torch.empty(shape)
        self._generator = generator

    def sample(self, P, out):
        """Write 1 where a uniform number is below P, else 0, into out; P stays as it is."""
        import torch

        self._words.random_(-(2**63), None, generator=self._generator)
        self._noise.copy_(self._halves)
        torch.mul(P, _TWO_32, out=self._scaled).sub_(_TWO_32 / 2)
        return torch.lt(self._noise, self._scaled, out=out)


class BernoulliCalls:
    """Draws 0/1 states the way most programs are written, by ``torch.bernoulli``."""

    def __init__(self, shape, generator):
        self._generator = generator

    def sample(self, P, out):
        """Write draws from the probabilities P into out."""
        import torch

        return torch.bernoulli(P, generator=self._generator, out=out)


class Torch:
    """PyTorch on the CPU: CD-k and PCD-k, transform and Gibbs sampling of many chains."""

    shuffles = True

    def __init__(self, name, products=AddmmProducts, bits=Bits, visible=None):
        self.name = name
        self._products, self._bits, self._visible = products, bits, visible or bits

    def available(self) -> Availability:
        """Say whether it can run here."""
        try:
            import torch
        except ImportError as error:
            return Availability(False, f"not installed: {error}")
        if issubclass(self._products, OneDnnProducts):
            has_operator = hasattr(torch.ops.mkldnn, "_linear_pointwise")
            if not (torch.backends.mkldnn.is_available() and has_operator):
                return Availability(False, "this build of PyTorch has no oneDNN linear operator")
        if issubclass(self._products, ShortProducts) and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
            return Availability(False, "PyTorch has no products of bfloat16 for this processor")
        return Availability(True)

    def supports(self, training: Training) -> Availability:
        """Say whether it has this algorithm."""
        if training.algorithm not in ("cd", "pcd"):
            return Availability(False, f"not written for algorithm {training.algorithm!r}")
        return Availability(True)

    def version(self) -> str:
        """Return the version of the package."""
        import torch

        return torch.__version__

    def fit_epochs(self, X: np.ndarray, training: Training, *, seed: int, threads: int) -> Parameters:
        """Train from scratch; see `Peer`."""
        import torch

        torch.set_num_threads(threads)
        with torch.inference_mode():
            generator = torch.Generator().manual_seed(seed)
            loop = TrainingLoop(torch.from_numpy(X), training, generator, self._products, self._bits, self._visible)
            for _ in range(training.n_epochs):
                loop.epoch()
        return Parameters(*(tensor.numpy() for tensor in (loop.model.W, loop.model.b, loop.model.a)))

    def transform(self, parameters: Parameters, X: np.ndarray, *, threads: int) -> np.ndarray:
        """Return p(h = 1 | v) of every row."""
        import torch

        torch.set_num_threads(threads)
        with torch.inference_mode():
            model = self._products(*map(torch.from_numpy, parameters))
            dtype = getattr(torch, model.kind)
            out = torch.empty(len(X), len(parameters.b), dtype=dtype)
            return model.hidden(torch.from_numpy(X).to(dtype), out).float().numpy()

    def gibbs(self, parameters: Parameters, V: np.ndarray, n_steps: int, *, seed: int, threads: int) -> np.ndarray:
        """Return the visible states after n_steps sweeps from the rows of V."""
        import torch

        torch.set_num_threads(threads)
        # Blocks of chains whose states stay in cache beat one pass over all of them.
        block = 1024
        with torch.inference_mode():
            model = self._products(*map(torch.from_numpy, parameters))
            states = torch.from_numpy(V).to(getattr(torch, model.kind), copy=True)
            generator = torch.Generator().manual_seed(seed)
            for start in range(0, len(V), block):
                _sweep(model, states[start : start + block], n_steps, generator, self._bits)
            return states.float().numpy()


def _sweep(model, V, n_steps, generator, bits):
    """Run n_steps sweeps of the chains in V, in place."""
    import torch

    PV, PH = torch.empty_like(V), torch.empty(len(V), len(model.b), dtype=V.dtype)
    H = torch.empty_like(PH)
    bits_v, bits_h = bits(V.shape, generator), bits(H.shape, generator)
    for _ in range(n_steps):
        bits_h.sample(model.hidden(V, PH), H)
        bits_v.sample(model.visible(H, PV), V)


class TrainingLoop:
    """Buffers and state of a training run, on the device of X; rows beyond the last whole batch are left out."""

    def __init__(self, X, training, generator, products, bits, visible):
        import torch

        batch, n_hidden, n_visible = training.batch, training.n_hidden, X.shape[1]
        self.training, self.generator = training, generator
        dtype = getattr(torch, products.kind)

        def zeros(*shape, dtype=dtype):
            return torch.zeros(*shape, device=X.device, dtype=dtype)

        W = zeros(n_hidden, n_visible, dtype=torch.float32).normal_(0, 0.01, generator=generator)
        self.model = products(W, *(zeros(n, dtype=torch.float32) for n in (n_hidden, n_visible)))
        self.X = X.to(dtype)
        self.V = zeros(2 * batch, n_visible)  # data rows above model rows
        self.P = zeros(2 * batch, n_hidden)
        self.H = zeros(batch, n_hidden)  # under PCD these are the chains
        self.PV = zeros(batch, n_visible)
        self.bits_v = visible((batch, n_visible), generator)
        self.bits_h = bits((batch, n_hidden), generator)
        self.signs = zeros(2 * batch).fill_(1)
        self.signs[batch:] = -1

    def epoch(self):
        """Visit every whole batch once, in a fresh order."""
        import torch

        self.batches(torch.randperm(len(self.X), device=self.X.device, generator=self.generator))

    def batches(self, order):
        """Visit every whole batch of rows once."""
        import torch

        batch = self.training.batch
        step = self._cd_step if self.training.algorithm == "cd" else self._pcd_step
        for start in range(0, len(self.X) - batch + 1, batch):
            torch.index_select(self.X, 0, order[start : start + batch], out=self.V[:batch])
            step()
            self._update()

    def _cd_step(self):
        batch = self.training.batch
        self.model.hidden(self.V[:batch], self.P[:batch])
        self.bits_h.sample(self.P[:batch], self.H)
        self._reconstruct()
        self.model.hidden(self.V[batch:], self.P[batch:])

    def _pcd_step(self):
        self._reconstruct()
        self.model.hidden(self.V, self.P)
        self.bits_h.sample(self.P[self.training.batch :], self.H)

    def _reconstruct(self):
        """Take the chains from hidden states to the k-th visible sample."""
        model_v, model_p = self.V[self.training.batch :], self.P[self.training.batch :]
        for step in range(self.training.k):
            if step:
                self.bits_h.sample(self.model.hidden(model_v, model_p), self.H)
            self.bits_v.sample(self.model.visible(self.H, self.PV), model_v)

    def _update(self):
        scale = self.training.rate / self.training.batch
        self.model.add_sums(self.P, self.V, self.signs, scale)
        self.P[self.training.batch :].neg_()
        self.model.add_outer(self.P, self.V, scale)
