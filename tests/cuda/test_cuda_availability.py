"""Whether a CUDA device is there, why not, and that nobody pays who does not ask."""

import importlib.machinery
import os
import re
import subprocess
import sys
from contextlib import nullcontext
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from fastrbm import BernoulliRBM
from fastrbm._kernels import cpu, get_backend
from fastrbm._kernels.cuda import availability

pytest.importorskip("numba_cuda")


def python(code, **environment):
    env = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA")} | environment
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_neither_import_nor_an_automatic_fit_touches_numba():
    python(
        "import sys, numpy as np, fastrbm\n"
        "fastrbm.BernoulliRBM()\n"
        "assert 'numba' not in sys.modules and 'cupy' not in sys.modules\n"
        "x = np.random.default_rng(0).random((20, 9)) < 0.5\n"
        "rbm = fastrbm.BernoulliRBM(3, n_iter=1).fit(x)\n"
        "rbm.transform(x), rbm.sample(2), rbm.score_samples(x), rbm.log_partition()\n"
        "assert not {'numba', 'numba_cuda', 'cupy'} & set(sys.modules)\n"
    )


def test_works_without_numba_cuda():
    """Neither Numba nor numba-cuda can be found: the CPU does everything, and "cuda" says what to install."""
    hide = (
        "import sys, importlib.abc\n"
        "class Hidden(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name.split('.')[0] in HIDDEN: raise ModuleNotFoundError(name)\n"
        "import importlib.util\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *a: None if name.split('.')[0] in HIDDEN else find(name, *a)\n"
        "sys.meta_path.insert(0, Hidden())\n"
        "import numpy as np, fastrbm\n"
        "x = np.random.default_rng(0).random((20, 9)) < 0.5\n"
        "fastrbm.BernoulliRBM(3, n_iter=1).fit(x)\n"
        "try: fastrbm.BernoulliRBM(3, device='cuda').fit(x)\n"
        "except RuntimeError as error: print(error)\n"
    )
    nothing = python("HIDDEN = {'numba', 'numba_cuda', '_numba_cuda_redirector'}\n" + hide)
    assert "device='cuda' cannot be used: numba-cuda is not installed (pip install \"fastrbm[cuda]\")" in nothing
    old = python("HIDDEN = {'numba_cuda'}\n" + hide)
    assert "only Numba's own CUDA target is installed" in old and "fastrbm[cuda]" in old


def test_numba_cuda_must_be_what_numba_cuda_means(monkeypatch):
    other = ModuleType("numba.cuda")
    other.__spec__ = importlib.machinery.ModuleSpec("numba.cuda", None)
    other.implementation = "Built-in"
    monkeypatch.setitem(sys.modules, "numba.cuda", other)
    reason = availability.package_reason()
    assert "'Built-in'" in reason and "_numba_cuda_redirector" in reason


@pytest.mark.parametrize("kind", [RuntimeError, ImportError, OSError])
def test_an_import_that_fails_for_any_reason_is_one(kind, monkeypatch):
    def missing(name, *_):
        raise kind("Failure finding\n  libcudart.so.13")

    monkeypatch.setattr(importlib, "import_module", missing)
    reason = availability.package_reason()
    assert reason.startswith("numba-cuda cannot be imported: Failure finding libcudart.so.13 (pip install")


def driver(**changes):
    """A driver with one device that can be used."""

    facts = dict(initialization_error=None, lib=object(), count=1, version=(13, 0), capability=(9, 0)) | changes
    device = SimpleNamespace(name="Imagined 1", compute_capability=facts["capability"])

    def count():
        if isinstance(facts["count"], Exception):
            raise facts["count"]
        return facts["count"]

    made = SimpleNamespace(
        initialization_error=facts["initialization_error"],
        ensure_initialized=lambda: None,
        get_device_count=count,
        get_version=lambda: facts["version"],
        get_active_context=lambda: nullcontext(SimpleNamespace(devnum=None)),
        get_device=lambda number: device,
    )
    if facts["lib"] is not None:
        made.lib = facts["lib"]
    return made


@pytest.mark.parametrize(
    "changes,message",
    [
        (dict(lib=None, initialization_error="driver library cannot be found."), "no NVIDIA driver: libcuda"),
        (dict(lib=None, initialization_error="error during load: bad ELF"), "cannot be loaded .*bad ELF"),
        (dict(lib=None, initialization_error="CUDA is disabled, NUMBA_DISABLE_CUDA=1"), "NUMBA_DISABLE_CUDA=1"),
        (dict(count=0), "a driver but no device; CUDA_VISIBLE_DEVICES='7' may hide it"),
        (dict(initialization_error="cuInit results in CUDA_ERROR_NO_DEVICE (100)"), "a driver but no device"),
        (dict(initialization_error="CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"), "cannot be initialised: .*DRIVER_MISMATCH"),
        (dict(initialization_error="CUDA_ERROR_NOT_INITIALIZED"), "cannot be initialised: .*'spawn'"),
        (dict(count=RuntimeError("CUDA initialized before forking")), "cannot be initialised: .*'spawn'"),
        (dict(version=(12, 4)), r"driver is too old: it supports CUDA 12.4, .* toolkit is CUDA 13.0"),
        (dict(capability=(7, 5)), r"device is too old: Imagined 1 \(compute capability 7.5\), and 8.0 is needed"),
        (dict(), None),
    ],
)
def test_reasons_are_told_apart(changes, message, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    monkeypatch.setattr(availability, "initialised_in", None)
    one = driver(**changes)
    reason = availability.driver_reason(one) or availability.device_reason(one, (13, 0))
    if message is None:
        assert reason is None and availability.initialised_in == os.getpid()
    else:
        assert re.search(message, reason), reason


def test_a_forked_child_is_told_to_spawn(monkeypatch):
    monkeypatch.setattr(availability, "initialised_in", os.getpid() + 1)
    with pytest.raises(RuntimeError, match=r"forked .*get_context\('spawn'\)"):
        get_backend("cuda")


def test_the_simulator_is_a_device_but_not_a_real_one():
    if os.environ.get("NUMBA_ENABLE_CUDASIM") != "1":
        pytest.skip("this run is on a device")
    assert availability.why_not() is None
    assert availability.simulated() and not availability.is_real()
    assert availability.describe().startswith("simulator")


def test_no_device_has_a_reason_and_a_description():
    out = python(
        "from fastrbm._kernels.cuda import availability as a\nprint(a.why_not())\nprint(a.describe())\n",
        NUMBA_DISABLE_CUDA="1",
    ).splitlines()
    assert "NUMBA_DISABLE_CUDA=1" in out[0] and out[1] == f"none: {out[0]}"


def test_auto_takes_the_device_for_large_work_only(monkeypatch):
    x = np.random.default_rng(0).random((20, 9)) < 0.5
    asked = []
    monkeypatch.setattr(availability, "is_real", lambda: bool(asked.append(1)))
    BernoulliRBM(4, n_iter=1, batch_size=5).fit(x)
    assert not asked
    monkeypatch.setattr(availability, "AUTO_WORK", 4 * 9 * 5 + 1)
    BernoulliRBM(4, n_iter=1, batch_size=5).fit(x)
    get_backend("auto")
    assert not asked
    monkeypatch.setattr(availability, "AUTO_WORK", 4 * 9 * 5)
    BernoulliRBM(4, n_iter=1, batch_size=5).fit(x)
    assert asked
    assert isinstance(get_backend("auto", work=lambda: 1000), cpu.CpuBackend)


@pytest.mark.only_on("device")
def test_the_device_is_described():
    assert "compute capability" in availability.describe() and "GiB" in availability.describe()
    assert availability.is_real()


@pytest.mark.only_on("device")
def test_a_child_forked_after_use_is_told_to_spawn():
    out = python(
        "import os, sys\n"
        "from fastrbm._kernels.cuda import availability as a\n"
        "assert a.why_not() is None\n"
        "sys.stdout.flush()\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    print(a.why_not(), flush=True)\n"
        "    os._exit(0)\n"
        "os.waitpid(child, 0)\n"
    )
    assert "spawn" in out
