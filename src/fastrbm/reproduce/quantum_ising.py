"""Ground states of spin chains: energies beside exact ones, over sizes and fields, and NetKet's where it is there."""

from __future__ import annotations

import importlib
import time
from typing import Any, NamedTuple

import numpy as np

from .. import plot
from .._versions import collect
from ..quantum import (
    GroundState,
    Heisenberg,
    RBMWaveFunction,
    TransverseFieldIsing,
    estimate_energy,
    exact_ground_state,
    find_ground_state,
    free_fermion_energy,
)
from ._report import Report
from ._settings import Settings

__all__ = ["run"]

FIELDS = (0.25, 0.5, 0.75, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0)
N_CHAINS, N_SAMPLES = 512, 2


class Search(NamedTuple):
    """Sizes and settings of searches at field 1, chosen on seeds that are not those of the report."""

    n_sites: int
    alpha: int
    learning_rate: float
    n_iterations: int
    target: float | None


SEARCHES = (Search(12, 4, 0.1, 200, 1e-5), Search(40, 4, 0.05, 200, 1e-4), Search(64, 4, 0.05, 200, None))
QUICK = (Search(8, 2, 0.1, 80, None), Search(12, 2, 0.1, 80, None))


def run(settings: Settings, report: Report) -> None:
    """Search at the critical field, over fields, on Heisenberg's chain, and by NetKet."""
    for search in QUICK if settings.quick else SEARCHES:
        _critical(settings, report, search)
    _fields(settings, report)
    _heisenberg(settings, report)
    if settings.quick:
        report.note("NetKet is compared with in the long form.")
    else:
        _netket(settings, report)


def _search(settings: Settings, search: Search, field: float, seed: int) -> tuple[GroundState, float]:
    """One search, and its seconds."""
    start = time.perf_counter()
    psi = RBMWaveFunction(
        search.n_sites, alpha=search.alpha, symmetric=True, random_state=seed, n_threads=settings.n_threads
    )
    found = find_ground_state(
        psi,
        TransverseFieldIsing(search.n_sites, field),
        n_iterations=search.n_iterations,
        learning_rate=search.learning_rate,
        n_chains=N_CHAINS,
        n_samples=N_SAMPLES,
        random_state=seed,
    )
    return found, time.perf_counter() - start


def _critical(settings: Settings, report: Report, search: Search) -> None:
    n = search.n_sites
    exact = free_fermion_energy(n, 1.0)
    errors, bars, seconds = [], [], []
    for seed in settings.seeds:
        found, took = _search(settings, search, 1.0, seed)
        energy, bar = found.energy, found.standard_error
        if n <= 12:  # the error of the state, without that of samples
            energy, bar = estimate_energy(found.wave_function, TransverseFieldIsing(n, 1.0), method="exact").energy, 0.0
        errors.append(abs(energy / exact - 1))
        bars.append(bar / abs(exact))
        seconds.append(took)
    report.row(
        f"{n} sites, g = 1, relative error of the energy",
        errors,
        target=search.target,
        better="lower",
        seconds=float(np.median(seconds)),
        digits=6,
    )
    report.value(f"critical_{n}", {"errors": errors, "standard_errors": bars, "seconds": seconds})
    how = f"{search.alpha} hidden units a site, translations shared, {search.n_iterations} steps"
    if n <= 12:
        report.note(f"{n} sites: {how}; the error is that of the sum over all {2**n} states.")
    else:
        report.note(
            f"{n} sites: {how}; energies by {N_CHAINS} chains of 100 states, standard error "
            f"{max(bars):.1e} of the energy at most, truth by free fermions."
        )


def _fields(settings: Settings, report: Report) -> None:
    search = Search(10, 2, 0.1, 60, None) if settings.quick else Search(20, 4, 0.05, 200, None)
    fields = FIELDS[1::3] if settings.quick else FIELDS
    n, seed, curves = search.n_sites, settings.seeds[0], {}
    rows: list[list[Any]] = []
    for field in fields:
        found, took = _search(settings, search, field, seed)
        exact = free_fermion_energy(n, field)
        error = abs(found.energy / exact - 1)
        rows.append([field, exact / n, found.energy / n, error, found.standard_error / abs(exact), f"{took:.1f} s"])
        steps = np.arange(1, len(found.history["energy"]) + 1)
        curves[f"g = {field:g}"] = (steps, np.abs(found.history["energy"] / exact - 1))
    header = ["field g", "exact, a site", "here, a site", "relative error", "standard error of it", "time"]
    report.table(f"{n} sites over the field", header, rows)
    report.value("fields", rows)
    figure = plot.plot_curves(curves, x="step", y="relative error of the energy", log_x=True, log_y=True)
    report.picture("steps", figure, f"Energy of each step beside the exact one, {n} sites; single steps have noise.")
    many = np.linspace(0.05, 2.2, 60)
    energies = {
        "exact": (many, [free_fermion_energy(n, g) / n for g in many]),
        "machine": ([row[0] for row in rows], [row[2] for row in rows]),
    }
    figure = plot.plot_curves(energies, x="field g", y="energy a site")
    report.picture("fields", figure, f"Energy a site over the field, {n} sites.")


def _heisenberg(settings: Settings, report: Report) -> None:
    rows: list[list[Any]] = []
    for n in (8,) if settings.quick else (10, 12, 14, 16):
        hamiltonian = Heisenberg(n)
        exact = exact_ground_state(hamiltonian).energy
        for parameters in ("real", "complex"):
            start = time.perf_counter()
            psi = RBMWaveFunction(
                n,
                alpha=2,
                symmetric=True,
                parameters=parameters,
                random_state=settings.seeds[0],
                n_threads=settings.n_threads,
            )
            n_iterations = 60 if settings.quick else 300
            found = find_ground_state(
                psi, hamiltonian, learning_rate=0.02, n_iterations=n_iterations, random_state=settings.seeds[0]
            )
            seconds = time.perf_counter() - start
            error, bar = abs(found.energy / exact - 1), found.standard_error / abs(exact)
            rows.append([n, parameters, exact, found.energy, error, bar, f"{seconds:.1f} s"])
    report.value("heisenberg", rows)
    header = ["sites", "parameters", "exact", "here", "relative error", "standard error of it", "time"]
    report.table("Heisenberg's antiferromagnetic ring beside exact diagonalisation, alpha = 2", header, rows)
    worst = max(row[4] for row in rows if row[1] == "complex")
    report.row("Heisenberg, complex parameters, largest relative error", worst, better="lower", digits=6)


def _netket(settings: Settings, report: Report) -> None:
    """The same machine, number of samples, steps and rates in NetKet, by turns with ours."""
    try:
        netket: Any = importlib.import_module("netket")
    except ImportError as error:
        report.note(f"NetKet is not compared with, as it is not installed ({error}): `pip install netket`.")
        return
    rows: list[list[Any]] = []
    for search in SEARCHES[:2]:
        exact = free_fermion_energy(search.n_sites, 1.0)
        ours, theirs = [], []
        for seed in settings.seeds:
            found, seconds = _search(settings, search, 1.0, seed)
            ours.append((abs(found.energy / exact - 1), found.standard_error / abs(exact), seconds, 0.0))
            theirs.append(_by_netket(netket, search, exact, seed))
        for name, figures in (("fastrbm", ours), ("NetKet", theirs)):
            rows.append([search.n_sites, name, *(float(x) for x in np.median(figures, axis=0))])
        if not rows[-1][2] < 1e-2:
            report.note(
                f"At {search.n_sites} sites NetKet's search does not come to the ground state with this rate, as it "
                "does not limit how far a step goes: its time there tells what a step costs, and its error nothing."
            )
        ratio = rows[-1][4] / rows[-2][4]
        report.row(f"{search.n_sites} sites, time of NetKet over ours", ratio, digits=1)
    header = ["sites", "package", "relative error", "standard error of it", "seconds", "of compilation, besides"]
    report.table("Beside NetKet, medians over the seeds", header, rows)
    facts = {"netket": netket.__version__, "processor": collect()["processor"]}
    report.value("netket", {"rows": rows, **facts})
    report.note(
        f"NetKet {netket.__version__}: RBMSymm over translations, MetropolisLocal, {N_CHAINS} chains, "
        f"{N_CHAINS * N_SAMPLES} samples a step, plain stochastic reconfiguration with the same rate and shift, and "
        f"{100 * N_CHAINS} samples for the energy in the end. Its time is that of the search alone, without "
        "compilation and without the last estimate, which ours includes."
    )


def _by_netket(netket: Any, search: Search, exact: float, seed: int) -> tuple[float, float, float, float]:
    """Error, its standard error, seconds of the search after its first step, seconds of the first step."""
    n, steps = search.n_sites, search.n_iterations
    chain = netket.graph.Chain(n, pbc=True)
    space = netket.hilbert.Spin(s=0.5, N=n)
    hamiltonian = netket.operator.IsingJax(hilbert=space, graph=chain, h=1.0, J=-1.0)
    machine = netket.models.RBMSymm(symmetries=chain.translation_group(), alpha=search.alpha, param_dtype=float)
    sampler = netket.sampler.MetropolisLocal(space, n_chains=N_CHAINS)
    state = netket.vqs.MCState(
        sampler, machine, n_samples=N_CHAINS * N_SAMPLES, seed=seed, sampler_seed=seed, n_discard_per_chain=0
    )

    def shift(step: Any) -> Any:
        return 1e-2 * 1e-2 ** (step / (steps - 1))

    driver = netket.driver.VMC(
        hamiltonian,
        netket.optimizer.Sgd(search.learning_rate),
        variational_state=state,
        preconditioner=netket.optimizer.SR(diag_shift=shift),
    )
    start = time.perf_counter()
    driver.run(1, show_progress=False)
    first = time.perf_counter()
    driver.run(steps - 1, show_progress=False)
    took = time.perf_counter() - first
    state.n_samples = 100 * N_CHAINS
    energy = state.expect(hamiltonian)
    error = abs(float(energy.mean.real) / exact - 1)
    return error, float(energy.error_of_mean) / abs(exact), took, first - start
