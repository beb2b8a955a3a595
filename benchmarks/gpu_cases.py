"""The lines of `gpu_check` that are measured: agreement of device and CPU, and times against PyTorch.

Both sides are timed in turn, warm, by clocks read after the device has finished: the peer's replays of a captured
graph, and of fastrbm epochs of one `fit` after its first (``history_["seconds"]``, which ends with a read from the
device), so that what happens once a fit is in neither. A line whose quality is worse than the peer's FAILS whatever its
time.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from fastrbm import Model
from fastrbm._kernels import Parameters as KernelParameters
from fastrbm._kernels import get_backend, pack
from fastrbm._kernels.draws import Draw, Stream
from fastrbm.likelihood import log_partition
from fastrbm.likelihood._result import log_mean

from . import quality
from .data import Images, load_images
from .gpu_compare import Check, compare
from .gpu_exercise import UNITS
from .ours import FastRBM
from .peers import Parameters, Training, torch_cuda_peer
from .peers.cupy_peer import CuPy
from .peers.jax_peer import Jax
from .protocol import (
    FAILED,
    MET,
    MISSED,
    PASSED,
    RAN,
    SKIPPED,
    Judgement,
    Measure,
    Row,
    Timing,
    judge,
    timed_row,
)
from .report import cores

#: Least tolerance of the pseudo-likelihood after an epoch, as in `benchmarks.cases`.
_NOISE = {"cd": 0.01, "pcd": 0.03}
#: Relative difference of log Z that device and CPU may have.
_LOG_Z_ERROR = 1e-6
#: Seconds that the exact sum is to take, and is given.
_SUM_TARGET, _SUM_PATIENCE = 15.0, 45.0

#: name of a line -> (training, target against fp32)
TRAININGS: dict[str, tuple[Training, float | None]] = {
    "cd-h1024-b1024": (Training(1024, 1024, 1, 0.1, "cd"), 2.0),
    "cd-h256-b256": (Training(256, 256, 1, 0.1, "cd"), 2.0),
    "pcd-h256-b256": (Training(256, 256, 1, 0.02, "pcd"), None),
}
MEASURED = (*TRAININGS, "gibbs", "ais", "exact")
AGREEMENT = "agreement"


#: a side that times itself: the number of the round -> (seconds, result)
Side = Callable[[int], tuple[float, Any]]


def _graph(precision: str) -> str:
    return f"PyTorch, graph, {precision}"


def _clocked(run: Callable[[int], Any], seed: int) -> tuple[float, Any]:
    """Seconds of a call whose result is on the host, and the result."""
    begin = time.perf_counter()
    found = run(seed)
    return time.perf_counter() - begin, found


class Deadline:
    """Says how much time is left.

    Parameters
    ----------
    seconds : float
        From now on.
    """

    def __init__(self, seconds: float):
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds left, at least 0."""
        return max(0.0, self._end - time.monotonic())


def in_turn(
    peer: Callable[[int], tuple[float, Any]],
    ours: Callable[[int], tuple[float, Any]],
    rounds: int,
    deadline: Deadline,
) -> Timing:
    """Call two sides in turn that time themselves, the order swapped every round, for as long as there is time.

    They are called with the number of the round, which serves as seed, and return (seconds, result). A round before the
    first one is there to warm up: it compiles kernels and is not counted.
    """
    found: dict[str, list[tuple[float, Any]]] = {"peer": [], "ours": []}
    sides = [("peer", peer), ("ours", ours)]
    for number in range(-1, rounds):
        began = time.monotonic()
        for side, call in sides if number % 2 == 0 else reversed(sides):
            measured = call(max(0, number))
            if number >= 0:
                found[side].append(measured)
        if number >= 0 and deadline.left() < time.monotonic() - began:
            break
    seconds, results = ([tuple(x[k] for x in found[side]) for side in ("peer", "ours")] for k in (0, 1))
    return Timing(*seconds, *results)


@dataclass
class Lines:
    """Everything that lines share.

    `device` is where fastrbm works, `torch_device` where PyTorch does: "cpu" for both in tests.
    """

    threads: int
    rounds: int = 7
    quick: bool = False
    device: str = "cuda"
    torch_device: str = "cuda"
    epochs: int = 5  #: timed ones of a round, after one that is not
    n_chains: int = 10000
    n_steps: int = 100
    n_annealed: int = 1000
    n_temperatures: int = 1000
    n_summed: int = 36
    n_rows: int = 60000
    n_hidden: int = 500  #: of the model that chains and sums work on
    drawn: str | None = None  #: how the peer draws, once `bits` has found out

    @cached_property
    def images(self) -> Images:
        """The rows of this run."""
        return load_images(self.n_rows)

    @cached_property
    def model(self) -> Parameters:
        """Parameters trained on the CPU, the same for all sides."""
        training = Training(self.n_hidden, batch=64, n_epochs=2, rate=0.05, algorithm="cd")
        return FastRBM("cpu").fit_epochs(self.images.binary, training, seed=0, threads=self.threads)

    @property
    def ours(self) -> FastRBM:
        """The side under test."""
        return FastRBM(self.device)

    @property
    def bits(self) -> str:
        """How the peer draws: the faster way."""
        if self.drawn is None:
            self.drawn = torch_cuda_peer.fastest_bits(self.torch_device)
        return self.drawn

    # -- agreement -------------------------------------------------------------------------------------------------

    def agreement(self) -> Iterator[Row]:
        """Device and CPU: draws of one step, whole fits, exact log Z."""
        yield _agreement_row("agreement-draws", f"one step from the same states, 784x{self.n_hidden}", self._draws())
        for algorithm in ("cd", "pcd"):
            training = Training(min(256, self.n_hidden), 256, 2, 0.05, algorithm)
            X = self.images.binary[:8192]
            fits = [
                FastRBM(device).fit_epochs(X, training, seed=3, threads=self.threads) for device in (self.device, "cpu")
            ]
            check = compare("parameters", *fits)
            work = f"{algorithm.upper()}-1, 2 epochs of {len(X)} rows, 784x{training.n_hidden}, same seed"
            yield _agreement_row(f"agreement-{algorithm}", work, check)
        n = min(20, self.n_summed)
        sums = [float(log_partition(self._summed(n), "exact", device=x)) for x in (self.device, "cpu")]
        check = compare("log Z", *sums, allowed=_LOG_Z_ERROR)
        yield _agreement_row("agreement-log-z", f"exact log Z, 2^{n} states, {sums[0]:.8g} and {sums[1]:.8g}", check)

    def _draws(self) -> Check:
        W, b, a = self.model
        V = pack(self.images.binary[:4096])
        results = []
        for device in (self.device, "cpu"):
            backend = get_backend(device, self.threads)
            hidden = backend.samples("bernoulli", V, W, b, Draw(5, 7, Stream.HIDDEN))
            visible = backend.samples("bernoulli", hidden, W, a, Draw(5, 7, Stream.VISIBLE), transpose=True)
            results.append((hidden, visible))
        return compare("drawn bits", *results)

    def _summed(self, n: int) -> Model:
        W, b, a = self.model
        return Model(np.ascontiguousarray(W[:n]), a, b[:n])

    # -- times -----------------------------------------------------------------------------------------------------

    def measured(self, name: str, deadline: Deadline) -> Iterator[Row]:
        """Return the rows of a line: of those with peers, one for each precision of PyTorch, for JAX and for CuPy."""
        if name == "exact":
            yield self._exact()
            return
        possible = torch_cuda_peer.available(self.torch_device)
        if not possible:
            yield Row(name, name, "PyTorch CUDA", "-", SKIPPED, possible.reason)
        precisions = [x for x in torch_cuda_peer.PRECISIONS if name != "ais" or x != "bf16"] if possible else []
        for number, precision in enumerate(precisions):
            torch_cuda_peer.set_precision(precision)
            share = Deadline(deadline.left() / (len(precisions) - number + 0.75))  # the rest is for the others
            if name in TRAININGS:
                yield self._training(name, precision, share)
            elif name == "gibbs":
                yield self._gibbs(precision, share)
            else:
                yield self._ais(precision, share)
        if name != "ais":
            on_cpu = self.torch_device == "cpu"
            for peer in (Jax("JAX", "cpu" if on_cpu else "gpu"), CuPy("numpy" if on_cpu else "cupy")):
                yield self._by_hand(name, peer, deadline)

    def _by_hand(self, name: str, peer: Any, deadline: Deadline) -> Row:
        """JAX, compiled before it is timed, or CuPy: its rows and parameters on the device."""
        case, possible = f"{name}-{peer.name.lower()}", peer.available()
        if not possible:
            return Row(case, name, peer.name, "-", SKIPPED, possible.reason)
        if name == "gibbs":
            V, model = peer.asarray(self.images.binary[: self.n_chains]), Parameters(*map(peer.asarray, self.model))

            def run(seed: int) -> np.ndarray:
                return peer.gibbs(model, V, self.n_steps, seed=seed, threads=cores())

            return self._gibbs_against(peer.name, case, None, lambda seed: _clocked(run, seed), deadline)
        training, _ = TRAININGS[name]
        rows = peer.asarray(self._whole_batches(training))
        all_epochs = replace(training, n_epochs=self.epochs)

        def epoch(seed: int) -> tuple[float, Parameters]:
            seconds, found = _clocked(lambda s: peer.fit_epochs(rows, all_epochs, seed=s, threads=cores()), seed)
            return seconds / self.epochs, found

        return self._training_against(peer.name, case, name, None, epoch, deadline)

    def _row(self, name: str, work: str, peer: str, goal: float | None, timing: Timing, judgement: Judgement) -> Row:
        row = timed_row(name, work, peer, goal, timing, judgement, quick=self.quick)
        n = len(timing.ours_seconds)
        return row if row.reason or n >= min(5, self.rounds) else replace(row, reason=f"time for {n} rounds only")

    def _timed(self, run: Any, repeats: int = 1) -> float:
        """Seconds of a call of the peer's work."""
        torch_cuda_peer.synchronize(self.torch_device)
        begin = time.perf_counter()
        for _ in range(repeats):
            run.go()
        torch_cuda_peer.synchronize(self.torch_device)
        return (time.perf_counter() - begin) / repeats

    def _training(self, name: str, precision: str, deadline: Deadline) -> Row:
        training, _ = TRAININGS[name]
        X = self._whole_batches(training)
        run = torch_cuda_peer.Epochs(X, training, self.torch_device, self.bits, precision=precision)

        def peer(seed: int) -> tuple[float, Parameters]:
            run.begin(seed)
            run.go()
            return self._timed(run, self.epochs), run.parameters()

        return self._training_against(_graph(precision), f"{name}-{precision}", name, precision, peer, deadline)

    def _whole_batches(self, training: Training) -> np.ndarray:
        X = self.images.binary
        return X[: len(X) // training.batch * training.batch]  # as everywhere

    def _training_against(
        self, peer_name: str, case: str, name: str, precision: str | None, peer: Side, deadline: Deadline
    ) -> Row:
        training, target = TRAININGS[name]
        X = self._whole_batches(training)

        def ours(seed: int) -> tuple[float, Parameters]:
            model = self.ours.unfitted(replace(training, n_epochs=1 + self.epochs), seed, self.threads).fit(X)
            seconds = statistics.fmean(model.history_["seconds"][1:])
            return seconds, Parameters(model.components_, model.intercept_hidden_, model.intercept_visible_)

        timing = in_turn(peer, ours, self.rounds, deadline)
        held_out = self.images.held_out_binary
        judgement = judge(
            Measure("pseudo-likelihood", "higher", relative=0.3 if self.quick else _NOISE[training.algorithm]),
            *([quality.pseudo_likelihood(x, held_out) for x in side] for side in _results(timing)),
        )
        work = f"{training.algorithm.upper()}-1 epoch, {len(X)} rows, 784x{training.n_hidden}, batch {training.batch}"
        # targets speak of full precision
        return self._row(case, work, peer_name, target if precision == "fp32" else None, timing, judgement)

    def _gibbs(self, precision: str, deadline: Deadline) -> Row:
        V = self.images.binary[: self.n_chains]
        run = torch_cuda_peer.Chains(self.model, V, self.n_steps, self.torch_device, self.bits, precision=precision)

        def peer(seed: int) -> tuple[float, np.ndarray]:
            run.begin(seed)
            return self._timed(run), run.states()

        return self._gibbs_against(_graph(precision), f"gibbs-{precision}", precision, peer, deadline)

    def _gibbs_against(self, peer_name: str, case: str, precision: str | None, peer: Side, deadline: Deadline) -> Row:
        V = self.images.binary[: self.n_chains]
        W, b, a = self.model
        backend = get_backend(self.device, self.threads)
        states: Any = pack(V)
        if self.device == "cuda":
            from fastrbm._kernels.cuda.memory import DeviceBits, synchronize

            states = DeviceBits.from_host(states)
        parameters = KernelParameters(W, a, b)

        def ours(seed: int) -> tuple[float, np.ndarray]:
            begin = time.perf_counter()
            hidden = backend.samples("bernoulli", states, W, b, Draw(seed, 0, Stream.HIDDEN))
            visible, _ = backend.run_chains(hidden, parameters, UNITS, Draw(seed, 1, 0), self.n_steps)
            if self.device == "cuda":
                synchronize()
            seconds = time.perf_counter() - begin
            on_host = visible.to_host() if self.device == "cuda" else visible
            return seconds, on_host.dense(np.float32)

        with backend.holding(W):
            timing = in_turn(peer, ours, self.rounds, deadline)
        energies = [[quality.free_energy(self.model, x) for x in side] for side in _results(timing)]
        # chains are independent: four standard errors of a difference of means
        error = 4 * float(np.std(energies[0][0])) * math.sqrt(2 / (len(V) * len(energies[0])))
        means = [[float(x.mean()) for x in side] for side in energies]
        judgement = judge(Measure("mean free energy", "equal", absolute=error), *means)
        work = f"Gibbs sampling, 784x{len(b)}, {len(V)} chains, {self.n_steps} steps, states on the device"
        return self._row(case, work, peer_name, 2.0 if precision == "fp32" else None, timing, judgement)

    def _ais(self, precision: str, deadline: Deadline) -> Row:
        n, n_temperatures = self.n_annealed, self.n_temperatures
        run = torch_cuda_peer.Annealing(self.model, n, n_temperatures, self.torch_device, self.bits)

        def peer(seed: int) -> tuple[float, np.ndarray]:
            run.begin(seed)
            return self._timed(run), run.log_weights_of_chains()

        def ours(seed: int) -> tuple[float, np.ndarray]:
            begin = time.perf_counter()
            found = self.ours.ais(self.model, n, n_temperatures, seed=seed, threads=self.threads)
            return time.perf_counter() - begin, found

        timing = in_turn(peer, ours, self.rounds, deadline)
        sides = [[log_mean(x).value for x in side] for side in _results(timing)]
        judgement = judge(Measure("log Z", "higher", absolute=30.0 if self.quick else 3.0), *sides)
        work = f"annealed importance sampling, 784x{self.n_hidden}, {n} chains, {n_temperatures} temperatures"
        goal = 2.0 if precision == "fp32" else None
        return self._row(f"ais-{precision}", work, _graph(precision), goal, timing, judgement)

    def _exact(self) -> Row:
        """Wall clock of one exact sum, given up where it would take too long."""
        n = self.n_summed
        log_partition(self._summed(min(n, 16)), "exact", device=self.device)  # compiles
        begin, done = time.perf_counter(), [0, 1 << n]

        def progress(*now: int) -> None:
            done[:] = now
            if time.perf_counter() - begin > _SUM_PATIENCE:
                raise _TooLong

        work, goal = f"exact log Z, 2^{n} states, 784 visible", f"{_SUM_TARGET:g} s"
        try:
            found = log_partition(self._summed(n), "exact", device=self.device, progress=progress)
        except _TooLong:
            needed = (time.perf_counter() - begin) * done[1] / done[0]
            return Row("exact", work, "-", goal, MISSED, f"given up: it would take about {needed:.0f} s")
        seconds = time.perf_counter() - begin
        verdict = RAN if self.quick else MET if seconds <= _SUM_TARGET else MISSED
        return Row("exact", work, "-", goal, verdict, f"log Z {float(found):.8g}", ours_value=seconds)


class _TooLong(Exception):
    """An exact sum has had its time."""


def _results(timing: Timing) -> tuple[Sequence[Any], Sequence[Any]]:
    return timing.peer_results, timing.ours_results


def _agreement_row(name: str, work: str, check: Check) -> Row:
    target = "same bits" if check.allowed == 0 else f"error below {check.allowed:g}"
    said = f"{check.different} of {check.compared} differ, largest error {check.largest:.3g}"
    return Row(name, work, "CPU kernels", target, PASSED if check.ok else FAILED, said)
