"""PyTorch written by hand for a CUDA device: an epoch, a Gibbs run, an annealing run is one captured graph each.

What makes it strong:

* rows, states and parameters stay on the device as float32; every operation writes into a buffer that was there before;
* a graph holds all launches of a run, so that nothing but the device's own work is left between them;
* the arithmetic is that of the CPU peer (`TrainingLoop`): products with the bias added, one product for the gradients
  of both phases, one for both hidden inputs of PCD;
* draws in the faster of two ways on the device at hand (`fastest_bits`): PyTorch's own fused kernel, or uniform numbers
  and a comparison.

Everything runs on the CPU as well, without graphs, which is how its arithmetic is tested where there is no device.
A run that is captured is begun again by `reset`; the draws go on from `seed`, as a graph reads the state of the default
generator whenever it is replayed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np

from . import Availability, Parameters, Training
from .torch_peer import AddmmProducts, BernoulliCalls, ShortProducts, TrainingLoop

#: names of PyTorch for the arithmetic of float32 products, by ours; "bf16" has products of bfloat16 besides
PRECISIONS = {"fp32": "highest", "tf32": "high", "bf16": "high"}

#: Runs before a capture: handles and workspaces of libraries are made by the first.
_WARM_UPS = 2


class Compare:
    """Draws 0/1 states by uniform numbers and a comparison."""

    def __init__(self, shape, generator, device="cuda"):
        import torch

        self._noise = torch.empty(shape, device=device)
        self._generator = generator

    def sample(self, P, out):
        """Write 1 where a uniform number is below P, else 0, into out; P stays as it is."""
        import torch

        return torch.lt(self._noise.uniform_(generator=self._generator), P, out=out)


def available(device: str = "cuda") -> Availability:
    """Say whether PyTorch is there, and can use the device."""
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: libraries that are not there
        return Availability(False, f"not installed: {error}")
    if device == "cuda" and not torch.cuda.is_available():
        built = "without CUDA" if torch.version.cuda is None else f"for CUDA {torch.version.cuda}"
        return Availability(False, f"PyTorch {torch.__version__}, built {built}, sees no device")
    return Availability(True)


def version() -> str:
    """Version of PyTorch and of the CUDA it was built for."""
    import torch

    return f"{torch.__version__} (CUDA {torch.version.cuda})"


def set_precision(name: str) -> None:
    """Choose the arithmetic of float32 products that are captured or called from now on: a name in `PRECISIONS`."""
    import torch

    torch.set_float32_matmul_precision(PRECISIONS[name])


def products_of(precision: str) -> type[AddmmProducts]:
    """Return the products of a step in a precision."""
    return ShortProducts if precision == "bf16" else AddmmProducts


def bits_of(kind: str, device: str) -> Callable:
    """Return what makes draws of a kind, "compare" or "fused", for a shape."""
    if kind == "fused":
        return BernoulliCalls
    return lambda shape, generator: Compare(shape, generator, device)


def fastest_bits(device: str = "cuda", shape: tuple[int, int] = (4096, 784), calls: int = 20) -> str:
    """Return which way to draw is faster on the device, "compare" or "fused"."""
    import torch

    P, out = (torch.full(shape, 0.3, device=device) for _ in range(2))
    seconds = {}
    for kind in ("compare", "fused"):
        bits = bits_of(kind, device)(shape, None)
        bits.sample(P, out)
        synchronize(device)
        begin = time.perf_counter()
        for _ in range(calls):
            bits.sample(P, out)
        synchronize(device)
        seconds[kind] = time.perf_counter() - begin
    return min(seconds, key=seconds.__getitem__)


def synchronize(device: str) -> None:
    """Wait for the device."""
    if device == "cuda":
        import torch

        torch.cuda.synchronize()


def captured(work: Callable[[], None]) -> Callable[[], None]:
    """Return what replays the launches of a function that only works on tensors that stay where they are.

    The function runs a few times first, on a stream of its own, as capturing asks for, so what it changes must be set
    again.
    """
    import torch

    beside = torch.cuda.Stream()
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        for _ in range(_WARM_UPS):
            work()
    torch.cuda.current_stream().wait_stream(beside)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    # relaxed: Python may happen to collect arrays of Numba meanwhile, and other modes take freeing them for an error
    with torch.cuda.graph(graph, capture_error_mode="relaxed"):
        work()
    torch.cuda.synchronize()
    return graph.replay


class _Run:
    """A piece of work on a device, captured where it can be; `begin` it with a seed, `go` as often as wanted."""

    def __init__(self, device: str, bits: str = "compare", capture: bool | None = None):
        self.device = device
        self.bits = bits_of(bits, device)
        self._capture = device == "cuda" if capture is None else capture

    def _recorded(self, work: Callable[[], None]) -> Callable[[], None]:
        return captured(work) if self._capture else work

    def _tensors(self, arrays):
        import torch

        return [torch.from_numpy(np.ascontiguousarray(array)).to(self.device) for array in arrays]

    @staticmethod
    def _seed(seed: int) -> None:
        import torch

        torch.manual_seed(seed)  # of the default generators of all devices


class Epochs(_Run):
    """CD-k or PCD-k by epochs.

    Parameters
    ----------
    X : ndarray of float32, shape (n_samples, n_visible)
        Copied to the device once.
    training : Training
    device : {"cuda", "cpu"}
    bits : {"compare", "fused"}
    capture : bool or None
        None: on a CUDA device.
    precision : str
        A name in `PRECISIONS`.
    """

    def __init__(
        self,
        X: np.ndarray,
        training: Training,
        device: str,
        bits: str = "compare",
        capture: bool | None = None,
        precision: str = "fp32",
    ):
        import torch

        super().__init__(device, bits, capture)
        with torch.inference_mode():
            rows = self._tensors([X])[0]
            self.loop = TrainingLoop(rows, training, None, products_of(precision), self.bits, self.bits)
            self._order = torch.randperm(len(X), device=device)
            self._batches = self._recorded(lambda: self.loop.batches(self._order))

    def begin(self, seed: int) -> None:
        """Start from N(0, 0.01^2) weights, zero biases, and chains that are off."""
        import torch

        self._seed(seed)
        with torch.inference_mode():
            model = self.loop.model
            model.W.normal_(0, 0.01)
            for tensor in (model.b, model.a, self.loop.H):
                tensor.zero_()
            model.refresh()

    def go(self) -> None:
        """Do one epoch, in a fresh order."""
        import torch

        with torch.inference_mode():
            self._order.copy_(torch.randperm(len(self._order), device=self.device))
            self._batches()

    def parameters(self) -> Parameters:
        """Return copies on the host."""
        model = self.loop.model
        return Parameters(*(tensor.cpu().numpy().copy() for tensor in (model.W, model.b, model.a)))


class Chains(_Run):
    """Gibbs sampling of many chains that start at given rows.

    Parameters
    ----------
    parameters : Parameters
    V : ndarray of float32, shape (n_chains, n_visible)
    n_steps : int
    device, bits, capture, precision
        As of `Epochs`.
    """

    def __init__(
        self,
        parameters: Parameters,
        V: np.ndarray,
        n_steps: int,
        device: str,
        bits: str = "compare",
        capture: bool | None = None,
        precision: str = "fp32",
    ):
        import torch

        super().__init__(device, bits, capture)
        with torch.inference_mode():
            self.model = products_of(precision)(*self._tensors(parameters))
            kind = getattr(torch, self.model.kind)
            self._start = self._tensors([V])[0].to(kind)
            self.V = self._start.clone()
            self._PV = torch.empty_like(self.V)
            self._PH, self._H = (torch.empty(len(V), len(parameters.b), device=device, dtype=kind) for _ in range(2))
            self._bits_v, self._bits_h = (self.bits(x.shape, None) for x in (self.V, self._H))
            self.n_steps = n_steps
            self._sweeps = self._recorded(self._work)

    def _work(self) -> None:
        for _ in range(self.n_steps):
            self._bits_h.sample(self.model.hidden(self.V, self._PH), self._H)
            self._bits_v.sample(self.model.visible(self._H, self._PV), self.V)

    def begin(self, seed: int) -> None:
        """Put the chains back to their start."""
        import torch

        self._seed(seed)
        with torch.inference_mode():
            self.V.copy_(self._start)

    def go(self) -> None:
        """Do all sweeps."""
        import torch

        with torch.inference_mode():
            self._sweeps()

    def states(self) -> np.ndarray:
        """Return the visible states on the host."""
        return self.V.float().cpu().numpy().copy()


class Annealing(_Run):
    """Annealed importance sampling from the model's own biases without weights, evenly spaced temperatures.

    Chains keep the visible layer, the hidden one is summed out; one product serves weights and draws.

    Parameters
    ----------
    parameters : Parameters
    n_chains, n_temperatures : int
    device, bits, capture
        As of `Epochs`.
    """

    def __init__(
        self, parameters: Parameters, n_chains: int, n_temperatures: int, device: str, bits="compare", capture=None
    ):
        import torch

        super().__init__(device, bits, capture)
        with torch.inference_mode():
            self.W, self.b, self.a = self._tensors(parameters)
            self.V, self._P = (torch.empty(n_chains, len(self.a), device=device) for _ in range(2))
            self._X, self._at, self._soft, self._before, self._H = (
                torch.empty(n_chains, len(self.b), device=device) for _ in range(5)
            )
            self._gain, self.log_weights = (torch.zeros(n_chains, dtype=torch.float64, device=device) for _ in range(2))
            self._bits_v, self._bits_h = (self.bits(x.shape, None) for x in (self.V, self._H))
            self._start = torch.sigmoid(self.a).expand_as(self.V).contiguous()
            self._betas = np.linspace(0, 1, n_temperatures + 1).tolist()
            self._path = self._recorded(self._work)

    def _work(self) -> None:
        import torch

        softplus = torch._C._nn.softplus  # what torch.nn.functional.softplus is, with an output buffer
        self.log_weights.zero_()
        self._bits_v.sample(self._start, self.V)
        for before, beta in zip(self._betas[:-1], self._betas[1:], strict=True):
            torch.mm(self.V, self.W.t(), out=self._X)
            torch.add(self.b, self._X, alpha=before, out=self._at)
            softplus(self._at, out=self._before)
            torch.add(self.b, self._X, alpha=beta, out=self._at)
            softplus(self._at, out=self._soft).sub_(self._before)
            torch.sum(self._soft, 1, dtype=torch.float64, out=self._gain)
            self.log_weights.add_(self._gain)
            self._bits_h.sample(self._at.sigmoid_(), self._H)
            torch.addmm(self.a, self._H, self.W, alpha=beta, out=self._P).sigmoid_()
            self._bits_v.sample(self._P, self.V)

    def begin(self, seed: int) -> None:
        """Start from other draws."""
        self._seed(seed)

    def go(self) -> None:
        """Go along the path."""
        import torch

        with torch.inference_mode():
            self._path()

    def log_weights_of_chains(self) -> np.ndarray:
        """Return log weights plus the log partition sum at the start, (n_chains,)."""
        biases = (tensor.cpu().numpy().astype(np.float64) for tensor in (self.a, self.b))
        start = math.fsum(float(np.logaddexp(0, bias).sum()) for bias in biases)
        return self.log_weights.cpu().numpy() + start
