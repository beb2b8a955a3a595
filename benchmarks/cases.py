"""The lines of the table: what is done, against whom, with which target.

A case is data; `Bench.run` turns it into a `Row`. Targets are ratios on the machine the table is made on.
"""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from fastrbm.likelihood._result import log_mean

from . import chains, isolated, labelled, quality, units
from .data import Images, load_images
from .ours import FastRBM
from .peers import Parameters, Peer, Training, all_peers
from .peers.likelihood_peer import ScipySums
from .protocol import (
    ERROR,
    PAUSE,
    SKIPPED,
    Judgement,
    Measure,
    Row,
    Timing,
    alternate,
    judge,
    timed_row,
)

# One seed more or less moves the pseudo-likelihood after one epoch by 0.1 to 1 % under CD-1 and by 0.5 to 4 %
# under PCD-1 (scikit-learn and PyTorch alike, learning rates below); `judge` adds what the run itself shows.
_CD_NOISE, _PCD_NOISE = 0.01, 0.03
_RECONSTRUCTION_NOISE = 0.03

# A quick run stops after about eight updates, while the parameters still move far with each of them: one seed
# more or less is then 6 % on either side, and the ends of 16 seeds are 20 % apart. It tells training from
# garbage and no more.
_QUICK_NOISE = 0.3

#: Errors of a probability in float32 up to here, thirty units in the last place, are rounding.
_ROUNDING = 2e-6


@dataclass(frozen=True)
class Case:
    """One line of the table before it is run."""

    name: str
    work: str
    peer: str
    target: float | None
    kind: str  #: which method of `Bench` runs it
    rows: str = "binary"  #: "binary" or "grey"
    training: Training | None = None
    n_hidden: int = 256
    n_chains: int = 0  #: of chains that are sampled
    data: str | None = None  #: source of the rows where it isn't the run's


def _training_case(
    peer: str,
    algorithm: str,
    batch: int,
    n_hidden: int,
    rate: float,
    target: float | None,
    rows: str = "binary",
    fast: bool = False,
    sampled: bool = False,
) -> Case:
    training = Training(
        n_hidden=n_hidden, batch=batch, n_epochs=1, rate=rate, algorithm=algorithm, fast=fast, sampled=sampled
    )
    shades = "" if rows == "binary" else f"-{rows}"
    options = [word for word, on in (("fast", fast), ("sampled", sampled)) if on]
    return Case(
        name="-".join([f"train{shades}", *options, f"{algorithm}1-h{n_hidden}-b{batch}-{peer}"]),
        work=", ".join([f"{algorithm.upper()}-1 epoch, {rows} rows, 784x{n_hidden}, batch {batch}", *options]),
        peer=peer,
        target=target,
        kind="train",
        rows=rows,
        training=training,
        n_hidden=n_hidden,
    )


def _training_cases() -> list[Case]:
    cases = []
    # (batch, rate of CD, rate of PCD, target against scikit-learn, against PyTorch). PCD is given the smaller
    # rates: with large ones its likelihood swings from batch to batch and says little after one epoch.
    table: tuple[tuple[int, float, float, float, float | None], ...] = (
        (256, 0.1, 0.02, 10.0, 8.0),
        (64, 0.05, 0.02, 11.0, None),
        (10, 0.01, 0.01, 12.0, None),
    )
    for batch, cd_rate, pcd_rate, target_sklearn, target_torch in table:
        cases += [
            _training_case("scikit-learn", "cd", batch, 256, cd_rate, target_sklearn),
            _training_case("scikit-learn", "pcd", batch, 256, pcd_rate, target_sklearn),
            _training_case("torch", "cd", batch, 256, cd_rate, target_torch),
            _training_case("torch", "pcd", batch, 256, pcd_rate, target_torch),
        ]
    for n_hidden, batch, rate in ((1664, 945, 0.05), (3824, 711, 0.02)):
        cases.append(_training_case("torch", "cd", batch, n_hidden, rate, 6.0))
    # What other choices than the default are worth, on the lines they are meant for.
    cases += [
        _training_case("torch", "cd", 256, 256, 0.1, None, fast=True),
        _training_case("torch", "cd", 256, 256, 0.1, None, sampled=True),
        _training_case("torch", "cd", 256, 256, 0.1, 8.0, fast=True, sampled=True),
        _training_case("scikit-learn", "pcd", 256, 256, 0.02, 10.0, fast=True, sampled=True),
        _training_case("scikit-learn", "pcd", 64, 256, 0.02, 11.0, fast=True, sampled=True),
        _training_case("torch", "cd", 945, 1664, 0.05, 6.0, fast=True, sampled=True),
        _training_case("torch", "cd", 711, 3824, 0.02, 6.0, fast=True, sampled=True),
    ]
    # Other forms of the PyTorch peer, faster and slower ones, and JAX: no target speaks of them, for orientation.
    for variant in ("torch-bfloat16", "torch-onednn", "torch-bernoulli", "jax"):
        cases.append(_training_case(variant, "cd", 256, 256, 0.1, None))
    for variant in ("torch-bfloat16", "torch-onednn"):
        cases.append(_training_case(variant, "cd", 945, 1664, 0.05, None))
    cases.append(_training_case("scikit-learn", "pcd", 256, 256, 0.02, 4.0, rows="grey"))
    return cases


def all_cases() -> list[Case]:
    """Return every case in the order of the table."""
    cases = _training_cases()
    for rows, target in (("binary", 4.0), ("grey", 1.5)):
        cases.append(
            Case(
                name=f"transform-{rows}-scikit-learn",
                work=f"transform, {rows} rows, 784x256",
                peer="scikit-learn",
                target=target,
                kind="transform",
                rows=rows,
            )
        )
    for peer, goal in (("rbms", 8.0), ("torch-ais", 8.0)):
        work = "annealed importance sampling, 784x500"
        cases.append(Case(f"ais-h500-{peer}", work, peer, goal, "ais", n_hidden=500))
    for peer, goal in (("scipy", 400.0), ("numpy-fast", None)):
        cases.append(Case(f"exact-h20-{peer}", "exact log Z, 784 visible", peer, goal, "partition"))
    for algorithm in ("cd", "pcd"):
        small = Training(n_hidden=64, batch=32, n_epochs=5, rate=0.05, algorithm=algorithm)
        work = f"16 seeds, {algorithm.upper()}-1, {small.n_epochs} epochs of 10000 rows, 784x64, batch 32"
        cases.append(Case(f"many-{algorithm}1-h64-b32", work, "one by one", None, "many", training=small, n_hidden=64))
    others = (chains, units, labelled)
    cases += [Case(**fields) for module in others for fields in module.specifications()]
    cases.append(Case("import", "import fastrbm", "-", 0.5, "import_time"))
    cases.append(Case("memory-fit-scikit-learn", "memory of fit", "scikit-learn", 4.0, "memory"))
    return cases


@dataclass
class Bench:
    """Everything that cases share: options, data, the sides, and one trained model per size."""

    threads: int
    rounds: int = 5
    quick: bool = False
    gibbs_steps: int = 100
    temperatures: int = 1000
    pause: float = PAUSE
    peers: dict[str, Peer] = field(default_factory=lambda: {**all_peers(), units.PLAIN: units.Plain()})
    ours: FastRBM = field(default_factory=FastRBM)
    _models: dict[int, Parameters] = field(default_factory=dict)

    @cached_property
    def images(self) -> Images:
        """The rows of this run: 60000, or 2048 when quick."""
        return self.images_of("Fashion-MNIST")

    def images_of(self, name: str | None) -> Images:
        """The rows of this run, or as many of another source."""
        return self.images if name is None else load_images(2048 if self.quick else 60000, name)

    def run(self, case: Case) -> Row:
        """Run one case; whatever goes wrong in it becomes its line."""
        if case.peer in self.peers:
            peer = self.peers[case.peer]
            possible = peer.available()
            if possible and case.training is not None:
                possible = peer.supports(case.training)
            if not possible:
                return self._unmeasured(case, SKIPPED, possible.reason)
        method: Callable[[Case], Row] = getattr(self, case.kind)
        try:
            return method(case)
        except Exception as error:  # a broken case must not lose the other lines
            traceback.print_exc()
            return self._unmeasured(case, ERROR, f"{type(error).__name__}: {error}")

    @staticmethod
    def _unmeasured(case: Case, verdict: str, reason: str) -> Row:
        target = "-" if case.target is None else f"{case.target:g}x"
        return Row(case.name, case.work, case.peer, target, verdict, reason)

    def _row(self, case: Case, timing: Timing, judgement: Judgement, work: str = "") -> Row:
        return timed_row(case.name, work or case.work, case.peer, case.target, timing, judgement, quick=self.quick)

    def _rows(self, case: Case) -> np.ndarray:
        return self.images.binary if case.rows == "binary" else self.images.grey

    def model(self, n_hidden: int) -> Parameters:
        """Return parameters trained once per size; both sides of a comparison get the same ones."""
        if n_hidden not in self._models:
            training = Training(n_hidden, batch=64, n_epochs=2, rate=0.05, algorithm="cd")
            self._models[n_hidden] = self.ours.fit_epochs(self.images.binary, training, seed=0, threads=self.threads)
        return self._models[n_hidden]

    def _judge_training(
        self, case: Case, training: Training, peer: Sequence[Parameters], ours: Sequence[Parameters]
    ) -> Judgement:
        if case.rows == "grey":
            noise = _QUICK_NOISE if self.quick else _RECONSTRUCTION_NOISE
            measure = Measure("reconstruction RMSE", "lower", relative=noise)
            held_out, figure = self.images.held_out_grey, quality.reconstruction_error
        else:
            usual = _CD_NOISE if training.algorithm == "cd" else _PCD_NOISE
            noise = _QUICK_NOISE if self.quick else usual
            measure = Measure("pseudo-likelihood", "higher", relative=noise)
            held_out, figure = self.images.held_out_binary, quality.pseudo_likelihood
        return judge(
            measure,
            [figure(parameters, held_out) for parameters in peer],
            [figure(parameters, held_out) for parameters in ours],
        )

    def train(self, case: Case) -> Row:
        """Train both sides from scratch, one seed per round."""
        peer, training, threads = self.peers[case.peer], case.training, self.threads
        assert training is not None
        X = self._rows(case)
        # Whole batches only: scikit-learn would weigh the last, shorter batch against a full set of chains,
        # which is neither the same work nor the same quality.
        X = X[: len(X) // training.batch * training.batch]
        few = X[: 4 * training.batch]
        shuffle = peer.shuffles

        def theirs(X: np.ndarray, seed: int) -> Parameters:
            return peer.fit_epochs(X, training, seed=seed, threads=threads)

        def ours(X: np.ndarray, seed: int) -> Parameters:
            return self.ours.fit_epochs(X, training, seed=seed, threads=threads, shuffle=shuffle)

        timing = alternate(
            lambda seed: theirs(X, seed),
            lambda seed: ours(X, seed),
            self.rounds,
            threads=threads,
            warm_up=(lambda: theirs(few, 0), lambda: ours(few, 0)),
            pause=self.pause,
        )
        judgement = self._judge_training(case, training, timing.peer_results, timing.ours_results)
        return self._row(case, timing, judgement)

    def many(self, case: Case) -> Row:
        """Fit models of 16 seeds at once and one after another; the parameters must be the same bits."""
        training, threads = case.training, self.threads
        assert training is not None
        X = self._rows(case)[:10000]

        def both(X: np.ndarray, at_once: bool) -> Callable[[int], np.ndarray]:
            return lambda seed: self.ours.fit_seeds(X, training, range(16 * seed, 16 * seed + 16), threads, at_once)

        few = X[: 4 * training.batch]
        timing = alternate(
            both(X, False),
            both(X, True),
            self.rounds,
            threads=threads,
            warm_up=(lambda: both(few, False)(0), lambda: both(few, True)(0)),
            pause=self.pause,
        )
        differences = [
            float(np.abs(one - many).max()) for one, many in zip(timing.peer_results, timing.ours_results, strict=True)
        ]
        judgement = judge(Measure("largest difference", "equal"), [0.0] * len(differences), differences)
        return self._row(case, timing, judgement)

    def transform(self, case: Case) -> Row:
        """Compute p(h | v) of all rows with the same parameters."""
        peer, parameters, threads = self.peers[case.peer], self.model(case.n_hidden), self.threads
        X, n_checked = self._rows(case), 1000
        expected = quality.hidden_means(parameters, X[:n_checked])

        def checked(H: np.ndarray) -> np.ndarray:
            return H[:n_checked].copy()

        timing = alternate(
            lambda _: checked(peer.transform(parameters, X, threads=threads)),
            lambda _: checked(self.ours.transform(parameters, X, threads=threads)),
            self.rounds,
            threads=threads,
            warm_up=(
                lambda: peer.transform(parameters, X, threads=threads),
                lambda: self.ours.transform(parameters, X, threads=threads),
            ),
            pause=self.pause,
        )
        measure = Measure("largest error", "lower", absolute=_ROUNDING)
        errors = [
            [float(np.abs(H - expected).max()) for H in side] for side in (timing.peer_results, timing.ours_results)
        ]
        return self._row(case, timing, judge(measure, *errors), f"{case.work}, {len(X)} rows")

    def gibbs(self, case: Case) -> Row:
        """Run many chains on both sides."""
        return chains.gibbs(self, case)

    def ais(self, case: Case) -> Row:
        """Anneal chains along the same path; both sides must find the same log Z."""
        peer, parameters, threads = self.peers[case.peer], self.model(case.n_hidden), self.threads
        n_chains, n_temperatures = (64, 20) if self.quick else (1000, self.temperatures)
        timing = alternate(
            lambda seed: peer.ais(parameters, n_chains, n_temperatures, seed=seed, threads=threads),
            lambda seed: self.ours.ais(parameters, n_chains, n_temperatures, seed=seed, threads=threads),
            self.rounds,
            threads=threads,
            warm_up=(
                lambda: peer.ais(parameters, n_chains, 2, seed=0, threads=threads),
                lambda: self.ours.ais(parameters, n_chains, 2, seed=0, threads=threads),
            ),
            pause=self.pause,
        )
        # On average too low, so higher is better. The model mixes badly: of 12 seeds ours deviate by 2.1 nats, of 8
        # those of PyTorch by 2.8, and few rounds cannot tell that spread.
        allowed = 30.0 if self.quick else 3 * 2.5 * math.sqrt(2 / self.rounds)
        sides = [[log_mean(x).value for x in side] for side in (timing.peer_results, timing.ours_results)]
        judgement = judge(Measure("log Z", "higher", absolute=allowed), *sides)
        return self._row(case, timing, judgement, f"{case.work}, {n_chains} chains, {n_temperatures} temperatures")

    def form(self, case: Case) -> Row:
        """Train another form of ours beside `BernoulliRBM`."""
        return units.form(self, case)

    def labelled(self, case: Case) -> Row:
        """Train a machine with labels on both sides."""
        return labelled.epoch(self, case)

    def real(self, case: Case) -> Row:
        """Train Gaussian visible units on both sides."""
        return units.real(self, case)

    def partition(self, case: Case) -> Row:
        """Sum over all states of 20 hidden units; the peer over 2^14 of them, its time taken for all in proportion."""
        peer, threads = self.peers[case.peer], self.threads
        W, b, a = self.model(case.n_hidden)
        n, n_peer = (10, 6) if self.quick else (20, 14)

        def ours(n: int) -> float:
            return self.ours.partition(np.ascontiguousarray(W[:n]), b[:n], a, threads=threads)

        def theirs(n: int) -> float:
            return float(peer.partition(np.ascontiguousarray(W[:n]), b[:n], a, threads=threads))

        timing = alternate(
            lambda _: theirs(n_peer),
            lambda _: ours(n),
            self.rounds,
            threads=threads,
            warm_up=(lambda: theirs(6), lambda: ours(n)),
            pause=self.pause,
        )
        timing = replace(timing, peer_seconds=tuple(t * 2 ** (n - n_peer) for t in timing.peer_seconds))
        wide = (x.astype(np.float64) for x in (W[:n_peer], b[:n_peer], a))
        exact = ScipySums().partition(*wide, threads=threads)
        errors = [[abs(z / exact - 1) for z in side] for side in (timing.peer_results, [ours(n_peer)])]
        work = f"exact log Z, 2^{n} states, 784 visible (peer: 2^{n_peer} of them)"
        return self._row(case, timing, judge(Measure("relative error", "lower", absolute=2e-6), *errors), work)

    def import_time(self, case: Case) -> Row:
        """Time the import in fresh interpreters."""
        assert case.target is not None
        return isolated.import_row(case.name, self.rounds, case.target, quick=self.quick)

    def memory(self, case: Case) -> Row:
        """Compare peaks of memory in fresh interpreters."""
        assert case.target is not None
        X = (self.images.train > 127).astype(np.uint8)
        # Memory hardly varies from run to run.
        rounds = min(self.rounds, 3)
        return isolated.memory_row(case.name, X, rounds, case.target, self.threads, quick=self.quick)
