"""The experiments by name, and what runs them."""

from __future__ import annotations

import difflib
import importlib.util
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from .. import _versions
from ._report import Report
from ._settings import Settings, settings_of

__all__ = ["EXPERIMENTS", "Experiment", "run", "run_all"]


class Experiment(NamedTuple):
    """An experiment: its title, and where it was published."""

    title: str
    source: str


EXPERIMENTS: dict[str, Experiment] = {
    "fashion-mnist": Experiment(
        "Fashion-MNIST: classifiers on features of a machine, and the best machine",
        "Wells, Gerstenberger, *Restricted Boltzmann Machines: Theory of RBMs and Applications* (2025).",
    ),
    "digits": Experiment(
        "Digits of scikit-learn: the pipeline of its guide, searched over a grid",
        "scikit-learn's user guide, *Restricted Boltzmann Machine features for digit classification*.",
    ),
    "generative-789": Experiment(
        "Digits 7, 8 and 9 of MNIST: exact likelihoods of small machines",
        "Bellavia, Belli, Lera, Maida, *Generative Capabilities of RBMs on MNIST* (2025).",
    ),
    "mnist-likelihood": Experiment(
        "Binarised MNIST: test likelihood of 500 and of 16 hidden units",
        "Salakhutdinov, Murray, *On the Quantitative Analysis of Deep Belief Networks*, ICML 2008; "
        "the tutorial of PyDeep for 16 hidden units.",
    ),
    "bars-and-stripes": Experiment(
        "Bars and stripes, 3 x 3: how near chains come to the best likelihood there is",
        "MacKay, *Information Theory, Inference, and Learning Algorithms* (2003), section 43.1; "
        "Fischer, Igel, *Empirical Analysis of the Divergence of Gibbs Sampling Based Learning Algorithms for RBMs*, "
        "ICANN 2010.",
    ),
    "lc-init": Experiment(
        "Initial weights from the layer correlation, without data",
        "The dataset-free initialisation at the maximum of the layer correlation: its table of scales, its toy "
        "experiment, and growth of the likelihood on MNIST.",
    ),
    "lcd": Experiment(
        "LCD: bounds and delta products inside contrastive divergence",
        "Ning, Pittman, Shen, *LCD: A Fast Contrastive Divergence Based Algorithm for Restricted Boltzmann Machine*, "
        "Neural Networks 108 (2018).",
    ),
    "autoencoder": Experiment(
        "Autoencoder 784-100-30-100-784: a deep belief network unrolled, against random first weights",
        "Hinton, Salakhutdinov, *Reducing the Dimensionality of Data with Neural Networks*, Science 313 (2006); "
        "Hjorth-Jensen, lecture notes, University of Oslo (2025).",
    ),
    "quantum-ising": Experiment(
        "Ground states of spin chains by a machine as wave function",
        "Carleo, Troyer, *Solving the quantum many-body problem with artificial neural networks*, Science 355 (2017).",
    ),
    "ratings": Experiment(
        "Ratings: a machine of one-hot visible units against matrix factorisation",
        "Salakhutdinov, Mnih, Hinton, *Restricted Boltzmann Machines for Collaborative Filtering*, ICML 2007.",
    ),
    "anomaly": Experiment(
        "Network anomalies by free energy, and what becomes of them on another network",
        "Fiore, Palmieri, Castiglione, De Santis, *Network anomaly detection with the restricted Boltzmann machine*, "
        "Neurocomputing 122 (2013).",
    ),
}


def run(
    name: str,
    *,
    quick: bool = False,
    seeds: int | Iterable[int] = 3,
    out: str | os.PathLike[str] | None = None,
    data: str | os.PathLike[str] | None = None,
    n_threads: int | None = None,
) -> Report:
    """Run an experiment and write its report.

    Parameters
    ----------
    name : str
        One of `EXPERIMENTS`.
    quick : bool, default=False
        The short form: less than a minute, offline.
    seeds : int or iterable of int, default=3
        How many repetitions, with seeds 0, 1, ...; or which seeds.
    out : path-like, optional
        Folder for ``report.md``, ``report.json`` and pictures; made if missing. Without it nothing is written.
    data : path-like, optional
        Folder with the files of MNIST and Fashion-MNIST.
    n_threads : int, optional
        All processors if left out.

    Returns
    -------
    Report

    Raises
    ------
    ValueError
        If there is no such experiment, or another argument is none of these.
    ImportError
        If the experiment needs a package that is not installed; the message says how to get it.
    fastrbm.datasets.DatasetNotFoundError
        If its data cannot be found.
    OSError
        If `out` cannot be written.
    """
    experiment = _experiment(name)
    return _run(name, experiment, settings_of(quick, seeds, data, n_threads), None if out is None else Path(out))


def run_all(
    *,
    quick: bool = False,
    seeds: int | Iterable[int] = 3,
    out: str | os.PathLike[str] | None = None,
    data: str | os.PathLike[str] | None = None,
    n_threads: int | None = None,
    on_report: Callable[[Report], None] | None = None,
) -> list[Report]:
    """Run every experiment and write one report of them all.

    Parameters
    ----------
    quick, seeds, out, data, n_threads
        As of `run`; each experiment has a folder of its own in `out`, and ``report.md`` there has them all.
    on_report : callable, optional
        Called with each report as soon as it is there.

    Returns
    -------
    list of Report
        Those of experiments that could not be run, for want of a package or of data, hold a note that says so.
    """
    settings = settings_of(quick, seeds, data, n_threads)
    folder = None if out is None else Path(out)
    reports = []
    for name, experiment in EXPERIMENTS.items():
        own = None if folder is None else folder / name
        try:
            report = _run(name, experiment, settings, own)
        except (ImportError, FileNotFoundError) as error:
            report = Report(name, experiment.title, experiment.source, own, settings.quick)
            report.note(f"Left out: {error}")
            report.write()
        reports.append(report)
        if folder is not None:  # each time: nothing of what is there is lost if a later one ends in an error
            text = "# Published experiments, run again\n\n" + "\n".join(r.markdown(2, f"{r.name}/") for r in reports)
            (folder / "report.md").write_text(text, encoding="utf-8")
        if on_report is not None:
            on_report(report)
    return reports


def _experiment(name: Any) -> Experiment:
    if name not in EXPERIMENTS:
        near = difflib.get_close_matches(str(name), EXPERIMENTS, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"name must be one of {', '.join(EXPERIMENTS)}; got {name!r}; {hint}".rstrip("; "))
    return EXPERIMENTS[name]


def _run(name: str, experiment: Experiment, settings: Settings, folder: Path | None) -> Report:
    # before hours of work, not after them
    if importlib.util.find_spec("matplotlib") is None:
        raise ImportError('reports have pictures, which need matplotlib: pip install "fastrbm[plot]"')
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    report = Report(name, experiment.title, experiment.source, folder, settings.quick)
    module = importlib.import_module(f".{name.replace('-', '_')}", __package__)
    start, cpu = time.perf_counter(), time.process_time()
    module.run(settings, report)
    facts = _versions.collect()
    report.facts = {
        "seeds": ", ".join(map(str, settings.seeds)),
        "time": f"{time.perf_counter() - start:.1f} s ({time.process_time() - cpu:.1f} s of processors)",
        "processor": facts["processor"],
        "threads": settings.n_threads or facts["threads by default"],
        **{key: facts[key] for key in ("instruction set", "fastrbm", "numpy", "scikit-learn", "python")},
    }
    report.write()
    return report
