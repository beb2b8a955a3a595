"""Every family of CUDA kernels once, at sizes of several blocks, against the CPU kernels: what sanitizers watch.

``python -m fastrbm.benchmarks.gpu_check --exercise`` runs it; at the size "tiny" it is a test on Numba's simulator.
Where the CPU kernels have the same integers, bits are compared, elsewhere values within rounding.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import numpy as np

from fastrbm._kernels import ChainState, GreyLevels, Parameters, Phase, Rule, TrainingPlan, Update, as_dense, pack
from fastrbm._kernels.bits import PackedBits
from fastrbm._kernels.contract import Backend
from fastrbm._kernels.cpu import CpuBackend
from fastrbm._kernels.draws import Draw, Stream
from fastrbm._kernels.reference import ReferenceBackend

from .gpu_compare import Check, compare, ties

UNITS = ("bernoulli", "bernoulli")
ADDRESS = Draw(seed=2**63 + 5, step=2**40 + 3, stream=Stream.HIDDEN, first_chain=2**32 - 3)
#: rule and the slots it needs
RULES: dict[str, tuple[Rule, int]] = {
    "sgd": (Rule(l2=0.05), 0),
    "momentum": (Rule(l1=0.1), 1),
    "nesterov": (Rule("nesterov", clip=0.1), 1),
    "rmsprop": (Rule("rmsprop", 0.9, 1e-4), 2),
    "adam": (Rule("adam", 0.99, 1e-4), 2),
    "amsgrad": (Rule("amsgrad", 0.99, 1e-4), 3),
}

Families = list[tuple[str, Callable[[], Iterator[Check]]]]


class Size(NamedTuple):
    """How large the models are."""

    rows: int
    visible: int
    hidden: int
    summed: int  #: hidden units of the exact sum


#: several blocks in each direction with odd ends for a device; what the simulator does in seconds
SIZES = {"small": Size(300, 405, 170, 14), "tiny": Size(9, 35, 6, 4)}


@contextmanager
def using_tile(tile: Any) -> Iterator[None]:
    """Within the block all kernels use one shape of blocks, which the size of the problem chooses otherwise."""
    package = "fastrbm._kernels.cuda."
    modules: list[Any] = [
        x for name, x in sys.modules.items() if name.startswith(package) and hasattr(x, "choose_tile")
    ]
    before = [module.choose_tile for module in modules]
    for module in modules:
        module.choose_tile = lambda *_: tile
    try:
        yield
    finally:
        for module, choose in zip(modules, before, strict=True):
            module.choose_tile = choose


@contextmanager
def no_memory_for_rows() -> Iterator[None]:
    """Within the block rows count as larger than the memory of the device and come in pieces of one minibatch."""
    from fastrbm._kernels.cuda import training

    before = training.SHARE_OF_MEMORY, training.CHUNK_BYTES
    training.SHARE_OF_MEMORY, training.CHUNK_BYTES = 0.0, 1
    try:
        yield
    finally:
        training.SHARE_OF_MEMORY, training.CHUNK_BYTES = before


class Exercise:
    """The families, and the random arrays that they work on.

    Parameters
    ----------
    size : Size
    """

    def __init__(self, size: Size):
        from fastrbm._kernels.cuda.backend import CudaBackend

        self.size = size
        self.cuda: Any = CudaBackend()
        self.cpu, self.reference = CpuBackend(1), ReferenceBackend()
        self._rng = np.random.default_rng(0)

    def model(self, dtype: Any = np.float32, scale: float = 0.2, hidden: int | None = None) -> Parameters:
        """Return random parameters."""
        n_visible, n_hidden = self.size.visible, hidden or self.size.hidden
        shapes: tuple[Any, ...] = ((n_hidden, n_visible), n_visible, n_hidden)
        return Parameters(*(self._rng.normal(0, scale, shape).astype(dtype) for shape in shapes))

    def bits(self, n: int, n_units: int) -> PackedBits:
        """Return random bits."""
        return pack(self._rng.random((n, n_units)) < 0.4)

    def grey(self, n: int, n_units: int) -> np.ndarray:
        """Return random numbers in [0, 1)."""
        return self._rng.random((n, n_units)).astype(np.float32)

    # -- families: each yields checks ------------------------------------------------------------------------------

    def layers(self) -> Iterator[Check]:
        """Layers of bits in both directions."""
        weights, a, b = self.model()
        for name, states, bias, transpose in (
            ("hidden", self.bits(self.size.rows, self.size.visible), b, False),
            ("visible", self.bits(self.size.rows, self.size.hidden), a, True),
        ):

            def three(backend: Backend, states: Any = states, bias: Any = bias, transpose: bool = transpose) -> Any:
                same = dict(transpose=transpose)
                return (
                    backend.inputs(states, weights, bias, **same),
                    backend.means("bernoulli", states, weights, bias, **same),
                    backend.samples("bernoulli", states, weights, bias, ADDRESS, **same),
                )

            yield compare(f"{name} layer: inputs, means, bits", three(self.cuda), three(self.cpu))
        grey = self.grey(self.size.rows, self.size.visible)
        yield compare("bits of grey rows", self.cuda.draw_bits(grey, ADDRESS), self.cpu.draw_bits(grey, ADDRESS))

    def dense(self) -> Iterator[Check]:
        """Layers of real states and of float64."""
        for dtype, allowed in ((np.float32, 1e-5), (np.float64, 1e-12)):
            weights, _, b = self.model(dtype)
            states = self.grey(self.size.rows, self.size.visible).astype(dtype)
            got, wanted = (
                (x.inputs(states, weights, b), x.means("bernoulli", states, weights, b))
                for x in (self.cuda, self.reference)
            )
            yield compare(f"real states, {np.dtype(dtype)}", got, wanted, allowed)
            drawn, expected = (
                x.samples("bernoulli", states, weights, b, ADDRESS).dense(np.uint8) for x in (self.cuda, self.reference)
            )
            yield ties(f"bits drawn by them, {np.dtype(dtype)}", drawn != expected)

    def chains(self) -> Iterator[Check]:
        """Gibbs sweeps in one cooperative launch."""
        parameters, start = self.model(), self.bits(self.size.rows, self.size.hidden)
        results = [x.run_chains(start, parameters, UNITS, ADDRESS, 2) for x in (self.cuda, self.cpu)]
        yield compare("Gibbs chains", *results)

    def _run(
        self, backend: Backend, rows: Any, plan: TrainingPlan, n_slots: int, parameters: Parameters, units: Any = UNITS
    ) -> Any:
        parameters = parameters.copy()
        slots = [parameters.zeros_like() for _ in range(n_slots)]
        n_chains = max(1, plan.batch_size - 3)
        chains = pack(np.zeros((n_chains, self.size.hidden))) if plan.persistent else None
        state = ChainState(2**40 + 100, chains, updates=3)
        order = np.random.default_rng(1).permutation(len(rows))
        backend.train(parameters, slots, rows, order, plan, units, state)
        return parameters, slots, [] if state.chains is None else state.chains, state.step, state.updates

    def _trained(self, name: str, rows: Any, plan: TrainingPlan, n_slots: int, allowed: float = 0.0) -> Check:
        parameters = self.model(rows.dtype if isinstance(rows, np.ndarray) else np.float32, scale=0.1)
        results = [self._run(x, rows, plan, n_slots, parameters) for x in (self.cuda, self.cpu)]
        return compare(name, *results, allowed)

    def training(self) -> Iterator[Check]:
        """Runs of minibatches in one cooperative launch: phases by kind, and every rule."""
        rows = self.bits(self.size.rows, self.size.visible)
        grey = self.grey(self.size.rows, self.size.visible)
        plan = TrainingPlan(7 | 9 << 40, max(2, self.size.rows // 2 - 1), False, 1, 0.1, 0.0, False)
        kinds: dict[str, tuple[Any, dict[str, Any]]] = {
            "CD-2": (rows, dict(n_sweeps=2)),
            "PCD-1": (rows, dict(persistent=True)),
            "CD-1 of sampled states": (rows, dict(sampled_hidden=True)),
            "PCD-1 of drawn grey rows": (grey, dict(persistent=True, stochastic_input=True)),
        }
        for name, (data, options) in kinds.items():
            yield self._trained(name, data, plan._replace(**options), 0)
        for name, (rule, n_slots) in RULES.items():
            yield self._trained(f"CD-1 by {name}", rows, plan._replace(rule=rule, momentum=0.5, rate=0.05), n_slots)

    def other_units(self) -> Iterator[Check]:
        """The same of spins and of classes, whose groups may end within a word."""
        n, n_visible = self.size.rows, self.size.visible // 5 * 5
        plan = TrainingPlan(7 | 9 << 40, max(2, n // 2 - 1), False, 2, 0.1, 0.5, False)
        parameters = self.model(scale=0.1)
        groups = np.zeros((n, n_visible // 5, 5), np.bool_)
        chosen = np.random.default_rng(4).integers(5, size=(n, n_visible // 5, 1))
        np.put_along_axis(groups, chosen, True, 2)
        rows = {"onehot(5)": pack(groups.reshape(n, -1)), "ising": self.bits(n, self.size.visible)}
        for visible, hidden in (("ising", "ising"), ("ising", "onehot"), ("onehot(5)", "bernoulli")):
            mine = parameters
            if visible == "onehot(5)":
                weights = np.ascontiguousarray(parameters.weights[:, :n_visible])
                mine = Parameters(weights, parameters.visible_bias[:n_visible].copy(), parameters.hidden_bias)
            for change in (dict(), dict(persistent=True, n_sweeps=1), dict(sampled_hidden=True)):
                results = [
                    self._run(x, rows[visible], plan._replace(**change), 1, mine, (visible, hidden))
                    for x in (self.cuda, self.cpu)
                ]
                yield compare(f"{visible} and {hidden}, {change or 'means'}", *results)

    def short_weights(self) -> Iterator[Check]:
        """Weights of 16 bits: layers, chains, and a run of minibatches."""
        from fastrbm._kernels.cuda.backend import CudaBackend

        backends = CudaBackend(precision="fast"), CpuBackend(precision="fast")
        parameters, rows = self.model(), self.bits(self.size.rows, self.size.visible)
        (weights, _, b), start = parameters, self.bits(self.size.rows, self.size.hidden)
        layers = [
            (x.means("bernoulli", rows, weights, b), x.samples("bernoulli", rows, weights, b, ADDRESS))
            for x in backends
        ]
        yield compare("layer of short weights: means, bits", *layers)
        chains = [x.run_chains(start, parameters, UNITS, ADDRESS, 2) for x in backends]
        yield compare("Gibbs chains by short weights", *chains)
        plan, parameters = TrainingPlan(7, max(2, self.size.rows // 2), True, 1, 0.1, 0.5, False), self.model(scale=0.1)
        trained = [self._run(x, rows, plan, 1, parameters) for x in backends]
        yield compare("PCD-1 by short weights", *trained)

    def streaming(self) -> Iterator[Check]:
        """Rows that come in pieces, copied while the device works."""
        plan = TrainingPlan(7, max(2, self.size.rows // 4), True, 1, 0.1, 0.0, False)
        with no_memory_for_rows():
            yield self._trained("PCD-1 of streamed rows", self.bits(self.size.rows, self.size.visible), plan, 0)

    def grey_rows(self) -> Iterator[Check]:
        """Runs of minibatches of real rows in one cooperative launch."""
        plan = TrainingPlan(7, max(2, self.size.rows // 2), False, 1, 0.1, 0.5, False)
        grey = self.grey(self.size.rows, self.size.visible)
        yield self._trained("CD-1 of grey rows", grey, plan, 1)
        yield self._trained("PCD-1 of grey rows", grey, plan._replace(persistent=True), 1)
        levels = GreyLevels(np.rint(255 * grey).astype(np.uint8))
        yield self._trained("CD-1 of grey levels", levels, plan, 1)
        yield self._trained("PCD-1 of grey levels", levels, plan._replace(persistent=True), 1)
        parameters = self.model(scale=0.1)
        for hidden, change in (("bernoulli", dict(n_sweeps=2)), ("onehot", dict(persistent=True))):
            mine = plan._replace(rate=0.01, **change)
            results = [self._run(x, grey, mine, 1, parameters, ("gaussian", hidden)) for x in (self.cuda, self.cpu)]
            yield compare(f"Gaussian and {hidden} neurons", *results)

    def composed(self) -> Iterator[Check]:
        """Minibatches in float64, composed of products, means and steps."""
        plan = TrainingPlan(7, max(2, self.size.rows // 2), False, 1, 0.1, 0.5, False)
        grey = self.grey(self.size.rows, self.size.visible).astype(np.float64)
        yield self._trained("CD-1 in float64", grey, plan, 1, 5e-3)

    def gradients(self) -> Iterator[Check]:
        """Gradients of bits and one step along them."""
        n, m, (_, n_visible, n_hidden, _) = self.size.rows, self.size.rows // 2 + 1, self.size
        for counted in (False, True):
            hidden = self.bits if counted else self.grey
            data, model = (Phase(self.bits(k, n_visible), hidden(k, n_hidden)) for k in (n, m))
            got, wanted = (x.gradient(data, model, np.float32) for x in (self.cuda, self.cpu))
            yield compare(f"gradient of {'bits' if counted else 'means'}", got, wanted)
            start, results = self.model(), []
            for backend in (self.cuda, self.cpu):
                values, slot = start.copy(), start.zeros_like()
                backend.gradient_step(values, [slot], data, model, Update(Rule(), 0.25, 0.9))
                results.append((values, slot))
            yield compare(f"step along the gradient of {'bits' if counted else 'means'}", *results)

    def scores(self) -> Iterator[Check]:
        """Free energies and pseudo-likelihoods."""
        parameters = self.model()
        rows = self.bits(min(self.size.rows, 40), self.size.visible)
        for name in ("free_energy", "pseudo_likelihood"):
            got, wanted = (getattr(x, name)("bernoulli", rows, parameters) for x in (self.cuda, self.reference))
            yield compare(name.replace("_", " "), got, wanted, 1e-5)

    def partition(self) -> Iterator[Check]:
        """Exact sums in both precisions, with and without the weights of states."""
        for dtype, allowed in ((np.float32, 2e-6), (np.float64, 1e-10)):
            parameters = self.model(dtype, hidden=self.size.summed)
            got, wanted = (np.empty(1 << self.size.summed) for _ in range(2))
            total = self.reference.log_partition_sum(parameters, UNITS, log_weights=wanted)
            sums = [
                self.cuda.log_partition_sum(parameters, UNITS, dtype=dtype, log_weights=weights)
                for weights in (None, got)
            ]
            yield compare(f"exact log Z, {np.dtype(dtype)}", sums, [total, total], allowed)
            yield compare(f"terms of log Z, {np.dtype(dtype)}", got, wanted, 10 * allowed)

    def packing(self) -> Iterator[Check]:
        """Rows that lie on the device: packed, converted, gathered, unpacked."""
        from fastrbm._kernels.cuda.memory import DeviceBits, allocate, download, take_rows, upload
        from fastrbm._kernels.cuda.packing import float_rows, pack_checked, unpack_into

        bits = self.bits(self.size.rows, self.size.visible)
        for dtype in (np.uint8, np.float32, np.float64):
            flags, packed = pack_checked(upload(bits.dense(dtype)))
            yield compare(f"packing of {np.dtype(dtype)}", (flags, packed.to_host()), (0, bits))
        images = self._rng.integers(0, 256, bits.shape).astype(np.uint8)
        converted = download(float_rows(upload(images), np.float32, 1 / 255))
        yield compare("rows as floats", converted, images * np.float32(1 / 255), 1e-6)
        chosen = np.arange(len(bits))[::-2].astype(np.int64)
        yield compare("gathered rows", download(take_rows(upload(images), chosen)), images[chosen])
        out = allocate("states", bits.shape, np.bool_)
        unpack_into(DeviceBits.from_host(bits), out)
        yield compare("unpacked bits", download(out), bits.dense(np.bool_))

    def annealing(self) -> Iterator[Check]:
        """Several temperatures of annealing in one cooperative launch, either layer summed out."""
        for sum_out, n_units in (("hidden", self.size.visible), ("visible", self.size.hidden)):
            parameters, bases = self.model(), tuple(0.3 * x for x in self.model()[1:])
            start, betas, results = self.bits(self.size.rows, n_units), np.linspace(0, 1, 5), []
            for backend in (self.cuda, self.cpu):
                log_weights, draw = np.zeros(len(start)), ADDRESS._replace(first_chain=0)
                states = backend.anneal(start, parameters, UNITS, bases, sum_out, betas, draw, log_weights)
                results.append((states, log_weights))
            yield compare(f"annealing, {sum_out} layer summed out", *results)

    def lean(self) -> Iterator[Check]:
        """Gibbs sweeps by less than whole products."""
        from fastrbm._kernels.cuda.backend import CudaBackend

        calm = self.model(scale=0.02)  # units that mostly stay as they are
        biases = (np.where(x > 0, 5, -5).astype(x.dtype) for x in calm[1:])
        start = self.bits(self.size.rows, self.size.hidden)
        for name, parameters in (("", self.model()), (" of calm units", Parameters(calm.weights, *biases))):
            wanted = self.cpu.run_chains(start, parameters, UNITS, ADDRESS, 4)
            for strategy in ("delta", "bounds", "lcd", "lowbit"):
                got = CudaBackend(strategy=strategy).run_chains(start, parameters, UNITS, ADDRESS, 4)
                yield compare(f"Gibbs chains{name}, {strategy}", got, wanted)

    def units(self) -> Iterator[Check]:
        """Formulas of spins, classes and normal units, which are the device's for states that lie there."""
        from fastrbm._kernels.cuda.memory import DeviceBits, download

        def on_host(x: Any) -> np.ndarray:
            return x.to_host().dense(np.float32) if isinstance(x, DeviceBits) else download(x)

        weights, _, b = self.model()
        states = self.bits(self.size.rows, self.size.visible)
        there = DeviceBits.from_host(states)
        for unit in ("ising", "onehot", "gaussian"):
            got = on_host(self.cuda.means(unit, there, weights, b))
            wanted = self.cpu.means(unit, states, weights, b)
            yield compare(f"means of {unit} units", got, wanted, 1e-6 if unit == "ising" else 0.0)
            drawn = on_host(self.cuda.samples(unit, there, weights, b, ADDRESS))
            wanted = self.cpu.samples(unit, states, weights, b, ADDRESS)
            yield compare(f"draws of {unit} units", as_dense(drawn, np.float32), as_dense(wanted, np.float32))

    def with_tiles(self) -> Families:
        """Families whose kernels come in two shapes of blocks."""
        names = (
            "layers", "chains", "training", "other_units", "short_weights", "grey_rows", "gradients", "annealing",
            "lean",
        )  # fmt: skip
        return [(name, getattr(self, name)) for name in names]

    def without_tiles(self) -> Families:
        """The others."""
        names = ("dense", "units", "composed", "streaming", "scores", "partition", "packing")
        return [(name, getattr(self, name)) for name in names]


def _rounds(exercise: Exercise) -> Iterator[tuple[str, str, Any, Callable[[], Iterator[Check]]]]:
    """Yield parts: name, family, shape of blocks or None, and what to do."""
    from fastrbm._kernels.cuda.kernels.tiles import LARGE, SMALL

    for tile, size in {LARGE: "large", SMALL: "small"}.items():  # on the simulator both are one
        yield from ((f"{name}, {size} tile", name, tile, family) for name, family in exercise.with_tiles())
    yield from ((name, name, None, family) for name, family in exercise.without_tiles())


def parts(only: Sequence[str] = ()) -> list[str]:
    """Return the names of all parts, or of those that are named or whose families are."""
    return [part for part, name, *_ in _rounds(Exercise(SIZES["tiny"])) if not only or {part, name}.intersection(only)]


def run(size: str = "small", only: Sequence[str] = ()) -> Iterator[Check]:
    """Do all parts, or those named or of families named, and yield what they say; also after one that breaks."""
    for part, name, tile, family in _rounds(Exercise(SIZES[size])):
        if only and not {part, name}.intersection(only):
            continue
        try:
            with nullcontext() if tile is None else using_tile(tile):
                for check in family():
                    yield check._replace(name=f"{part}: {check.name}")
        except Exception as error:
            said = " ".join(f"{part}: {type(error).__name__}: {error}".split())
            yield Check(said, 1, 1, np.inf, 0.0, broke=True)


def main(size: str = "small", only: Sequence[str] = ()) -> int:
    """Print the checks; 1 if one is wrong."""
    wrong = 0
    for check in run(size, only):
        print(check, flush=True)
        wrong += not check.ok
    print(f"{wrong} wrong" if wrong else "all right")
    sys.stdout.flush()
    return 1 if wrong else 0


def print_lines(size: str = "small", only: Sequence[str] = ()) -> int:
    """Print the checks as JSON, and a line when a part is done; end after one that broke: a new process may go on."""
    for part in parts(only):
        checks = []
        for check in run(size, [part]):
            print(json.dumps(check._asdict() | {"largest": repr(check.largest)}), flush=True)
            checks.append(check)
        print(json.dumps({"done": part}), flush=True)
        if any(check.broke for check in checks):
            return 1
    return 0
