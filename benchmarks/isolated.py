"""Measurements that need a fresh interpreter each: import time and memory of `fit`.

Run as a module this file is the child: ``python -m benchmarks.isolated import`` or
``python -m benchmarks.isolated memory SIDE FILE.npy THREADS``. It prints one JSON object.
"""

from __future__ import annotations

import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from .protocol import FAILED, Row, verdict_of

_ROOT = Path(__file__).resolve().parents[1]

#: Modules that only a CUDA computation has a use for.
_CUDA_MODULES = ("cupy", "numba.cuda", "torch")


def child(module: str, *arguments: str, **environment: str) -> Any:
    """Run a module of this package in a fresh interpreter and return the JSON that its last line of output holds.

    Parameters
    ----------
    module : str
        Its name inside the package.
    *arguments : str
        Its command line.
    **environment : str
        Variables set for it beside those of this process.
    """
    # The package is `benchmarks` in a checkout, `fastrbm.benchmarks` where it is installed.
    command = [sys.executable, "-m", f"{__package__}.{module}", *arguments]
    where = _ROOT if __package__ == "benchmarks" else None
    done = subprocess.run(command, cwd=where, env=os.environ | environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join((module, *arguments[:2]))} child failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def peak_memory() -> int:
    """Return the largest resident size this program has had, in bytes."""
    try:
        # Not getrusage: on Linux its figure survives exec, so that a child would start at its parent's peak.
        status = Path("/proc/self/status").read_text()
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def _measure_import() -> dict:
    begin = time.perf_counter()
    import sklearn.neural_network  # noqa: F401

    middle = time.perf_counter()
    import fastrbm

    fastrbm.BernoulliRBM  # noqa: B018 - the attribute access imports what is imported lazily
    end = time.perf_counter()
    maps = Path("/proc/self/maps")
    driver = maps.exists() and "libcuda.so" in maps.read_text()
    loaded = [name for name in _CUDA_MODULES if name in sys.modules]
    return {"base": middle - begin, "ours": end - middle, "cuda": loaded + ["the CUDA driver"] * driver}


def _measure_memory(side: str, path: str, threads: str) -> dict:
    """Return the bytes by which the peak rises while fitting; loading and warming up come before."""
    from threadpoolctl import threadpool_limits

    options: dict[str, Any] = {"n_components": 256, "batch_size": 256, "n_iter": 1, "random_state": 0}
    if side == "fastrbm":
        options["n_threads"] = int(threads)
    module = importlib.import_module("fastrbm" if side == "fastrbm" else "sklearn.neural_network")
    BernoulliRBM = module.BernoulliRBM
    X = np.load(path)
    with threadpool_limits(int(threads)):
        BernoulliRBM(**options).fit(X[:512])
        before = peak_memory()
        BernoulliRBM(**options).fit(X)
    return {"bytes": peak_memory() - before}


def import_row(name: str, rounds: int, limit: float, *, quick: bool = False) -> Row:
    """Time ``import fastrbm`` after NumPy and scikit-learn are there.

    Parameters
    ----------
    name : str
        Name of the case.
    rounds : int
        Number of fresh interpreters; one more comes first, untimed, to write the byte code.
    limit : float
        Seconds allowed.
    quick : bool
        Whether to leave the limit unjudged.
    """
    child("isolated", "import")
    results = [child("isolated", "import") for _ in range(rounds)]
    base = tuple(result["base"] for result in results)
    ours = tuple(result["ours"] for result in results)
    verdict = verdict_of(None, -statistics.median(ours), -limit, quick=quick)
    cuda = results[0]["cuda"]
    return Row(
        case=name,
        work="import, beyond that of numpy and sklearn.neural_network",
        peer="-",
        target=f"<= {limit:g} s",
        verdict=FAILED if cuda else verdict,
        reason=f"importing loads {', '.join(cuda)}" if cuda else "",
        peer_value=statistics.median(base),
        ours_value=statistics.median(ours),
        peer_values=base,
        ours_values=ours,
    )


def memory_row(name: str, X: np.ndarray, rounds: int, target: float, threads: int, *, quick: bool = False) -> Row:
    """Compare the peak of `fit` above the data, one fresh interpreter per side and round.

    Parameters
    ----------
    name : str
        Name of the case.
    X : ndarray of uint8 (n_samples, n_features)
        Rows of zeros and ones.
    rounds : int
        Number of interpreters per side.
    target : float
        Least quotient of scikit-learn's peak and fastrbm's.
    threads : int
        Number of threads of both sides.
    quick : bool
        Whether to leave the target unjudged.
    """
    peaks: dict[str, list[float]] = {"scikit-learn": [], "fastrbm": []}
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "rows.npy")
        np.save(path, X)
        for _ in range(rounds):
            for side, values in peaks.items():
                # A rise of nothing at all would be below what a page shows; count one page.
                values.append(max(child("isolated", "memory", side, path, str(threads))["bytes"], 4096) / 1e6)
    theirs, ours = peaks["scikit-learn"], peaks["fastrbm"]
    ratio = statistics.median(theirs) / statistics.median(ours)
    return Row(
        case=name,
        work=f"peak memory of fit above the data, {X.shape[0]}x{X.shape[1]} uint8, 256 hidden",
        peer="scikit-learn",
        target=f"{target:g}x",
        verdict=verdict_of(None, ratio, target, quick=quick),
        ratio=ratio,
        round_ratios=tuple(peer / own for peer, own in zip(theirs, ours, strict=True)),
        unit="MB",
        peer_value=statistics.median(theirs),
        ours_value=statistics.median(ours),
        peer_values=tuple(theirs),
        ours_values=tuple(ours),
    )


if __name__ == "__main__":
    what, *rest = sys.argv[1:]
    print(json.dumps(_measure_import() if what == "import" else _measure_memory(*rest)))
