"""A file that becomes shorter under a memory map: an OSError, the parameters from before, and a process that lives."""

import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_array_equal

from fastrbm import BernoulliRBM, GaussianRBM, SoftmaxRBM, fit_many
from fastrbm._kernels.maps import watch
from fastrbm.callbacks import Callback
from fastrbm.classifiers import DiscriminativeRBM, RBMOutlierDetector
from fastrbm.deep import DeepBeliefNetwork
from fastrbm.likelihood import log_likelihood

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGBUS"), reason="a mapped file cannot be cut on this platform")
WIDTH, N_ROWS = 256, 400
ROWS = (np.random.default_rng(0).random((N_ROWS, WIDTH)) < 0.3).astype(np.float32)
HALF = N_ROWS // 2 * WIDTH * 4
SAME = dict(batch_size=50, n_iter=3, random_state=0)


def mapped(path, rows=ROWS):
    np.save(path, rows)
    return np.load(path, mmap_mode="r")


class Cut(Callback):
    """Cuts a file to its half after a pass."""

    def __init__(self, path, after=1):
        self.path, self.after = path, after

    def on_epoch_end(self, run):
        self.weights = run.state.parameters.weights.copy()
        if run.done == self.after:
            os.truncate(self.path, HALF)


ESTIMATORS = {
    "bits": lambda **o: BernoulliRBM(8, **SAME, **o),
    "composed": lambda **o: BernoulliRBM(8, centered=True, **SAME, **o),
    "reals": lambda **o: GaussianRBM(8, **SAME, **o),
    "grey": lambda **o: BernoulliRBM(8, stochastic_input=True, **SAME, **o),
    "categories": lambda **o: SoftmaxRBM(4, n_categories=2, **SAME, **o),
    "sklearn's draws": lambda **o: BernoulliRBM(8, random_stream="sklearn", shuffle=False, **SAME, **o),
}


def data_for(kind):
    return 0.5 * ROWS + 0.25 if kind == "grey" else ROWS


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_a_fit_that_a_file_is_cut_under_keeps_the_last_whole_pass(kind, tmp_path):
    path = tmp_path / "x.npy"
    cut = Cut(path)
    rbm = ESTIMATORS[kind](callbacks=[cut])
    with pytest.raises(OSError, match=r"x\.npy.* became shorter while it was in use.*map it anew"):
        rbm.fit(mapped(path, data_for(kind)))
    assert rbm.n_iter_ == 1
    assert_array_equal(rbm.components_, cut.weights)
    again = ESTIMATORS[kind]().fit(mapped(path, data_for(kind)))
    assert_array_equal(again.components_, ESTIMATORS[kind]().fit(data_for(kind)).components_)


METHODS = ["transform", "reconstruct", "free_energy", "score_samples", "gibbs", "sample_hidden", "partial_fit", "fit"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_methods_of_cut_rows_return_nothing(method, when, tmp_path, monkeypatch):
    rbm = GaussianRBM(8, **SAME).fit(ROWS)
    before = rbm.components_.copy()
    x = mapped(tmp_path / "x.npy")
    if when == "before":
        os.truncate(tmp_path / "x.npy", HALF)
    else:
        wrapped = GaussianRBM._wrap

        def wrap(self, *given):
            found = wrapped(self, *given)
            os.truncate(tmp_path / "x.npy", HALF)
            return found

        monkeypatch.setattr(GaussianRBM, "_wrap", wrap)
    with pytest.raises(OSError, match="became shorter"):
        getattr(rbm, method)(x)
    assert_array_equal(rbm.components_, before)
    monkeypatch.undo()
    with pytest.raises(OSError, match="became shorter"):  # whatever is in the map now
        rbm.transform(x)
    assert rbm.transform(ROWS).shape == (N_ROWS, 8)


def test_zeros_that_were_read_are_never_taken_for_rows(tmp_path):
    """The file is whole again, and the map is not."""
    x = mapped(tmp_path / "x.npy")
    rbm = GaussianRBM(8, callbacks=[Cut(tmp_path / "x.npy")], **SAME)
    with pytest.raises(OSError, match="became shorter"):
        rbm.fit(x)
    np.save(tmp_path / "x.npy", ROWS)
    with pytest.raises(OSError, match="became shorter"):
        rbm.transform(x[:10])
    rbm.transform(mapped(tmp_path / "x.npy"))


def test_a_file_that_ends_within_a_page_is_seen_without_a_signal(tmp_path):
    path, rows = tmp_path / "x.npy", ROWS[:, :10].copy()
    x = mapped(path, rows[:3])
    os.truncate(path, os.path.getsize(path) - 8)
    with pytest.raises(OSError, match="became shorter"):
        BernoulliRBM(3, **SAME).fit(x)


def sparse(path):
    whole = sp.csr_matrix(ROWS)
    np.save(path, whole.data)
    whole.data = np.load(path, mmap_mode="r")
    return whole


def buffered(path):
    ROWS.tofile(path)
    import mmap

    with open(path, "rb") as file:
        held = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return np.frombuffer(held, np.float32).reshape(N_ROWS, WIDTH)


def in_arrow(path):
    pa = pytest.importorskip("pyarrow")
    ROWS.tofile(path)
    return np.frombuffer(pa.memory_map(str(path)).read_buffer(), np.float32).reshape(N_ROWS, WIDTH)


FORMS = {
    "memmap": mapped,
    "array": lambda path: np.asarray(mapped(path)),
    "part": lambda path: mapped(path)[::-1, 1:],
    "frame": lambda path: pytest.importorskip("pandas").DataFrame(mapped(path), copy=False),
    "sparse": sparse,
    "buffer": buffered,
    "arrow": in_arrow,
    "chunks": lambda path: [mapped(path)[:100], mapped(path)[100:]],
    "function": lambda path: (lambda whole: lambda: iter([whole[:100], whole[100:]]))(mapped(path)),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_rows_is_watched(form, tmp_path, monkeypatch):
    path = tmp_path / "x.npy"
    x = FORMS[form](path)
    wrapped = BernoulliRBM._wrap

    def wrap(self, X, *given):
        os.truncate(path, 1000)
        return wrapped(self, X, *given)

    monkeypatch.setattr(BernoulliRBM, "_wrap", wrap)
    rbm = BernoulliRBM(3, **SAME)
    with pytest.raises(OSError, match="became shorter"):
        rbm.fit(x)
    assert not hasattr(rbm, "components_")


def test_a_memory_map_of_tensors_is_watched(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    ROWS.tofile(tmp_path / "x")
    x = torch.from_file(str(tmp_path / "x"), size=ROWS.size).reshape(N_ROWS, WIDTH)
    rbm = GaussianRBM(8, callbacks=[Cut(tmp_path / "x")], **SAME)
    with pytest.raises(OSError, match="became shorter"):
        rbm.fit(x)


LABELS = np.arange(N_ROWS) % 2
OTHERS = {
    "discriminative": lambda: DiscriminativeRBM(4, n_iter=2, random_state=0),
    "outliers": lambda: RBMOutlierDetector(BernoulliRBM(4, **SAME)),
    "belief": lambda: DeepBeliefNetwork([BernoulliRBM(4, **SAME), BernoulliRBM(3, **SAME)]),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_estimators_that_are_made_of_others_are_what_they_were(kind, tmp_path, monkeypatch):
    path = tmp_path / "x.npy"
    made = OTHERS[kind]().fit(ROWS, LABELS)
    before = dict(vars(made))
    from fastrbm._data.bits import VisibleData

    init = VisibleData.__init__

    def cut(self, *given, **options):
        if path.exists():
            os.truncate(path, 1000)
        init(self, *given, **options)

    monkeypatch.setattr(VisibleData, "__init__", cut)
    with pytest.raises(OSError, match="became shorter"):
        made.fit(mapped(path), LABELS)
    assert vars(made) == before


def test_functions_and_many_fits(tmp_path, monkeypatch):
    rbm = BernoulliRBM(8, **SAME).fit(ROWS)
    x = mapped(tmp_path / "x.npy")
    os.truncate(tmp_path / "x.npy", HALF)
    with pytest.raises(OSError, match="became shorter"):
        log_likelihood(rbm, x)
    with pytest.raises(OSError, match="became shorter"):
        rbm.log_likelihood(x)
    x = mapped(tmp_path / "y.npy")
    many = [GaussianRBM(8, callbacks=[Cut(tmp_path / "y.npy")], **SAME), GaussianRBM(8, **SAME)]
    with pytest.raises(OSError, match="became shorter"):
        fit_many(many, x)


def test_two_fits_in_threads_fail_each_for_its_own_file(tmp_path):
    ends, start = {}, threading.Barrier(3)

    def fit(name, callbacks):
        start.wait()
        try:
            ends[name] = GaussianRBM(8, callbacks=callbacks, **SAME | {"n_iter": 20}).fit(x[name]).components_
        except OSError as error:
            ends[name] = error

    x = {name: mapped(tmp_path / f"{name}.npy") for name in "abc"}
    cuts = {"a": [Cut(tmp_path / "a.npy", 3)], "b": [Cut(tmp_path / "b.npy", 5)], "c": []}
    threads = [threading.Thread(target=fit, args=item) for item in cuts.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert "a.npy" in str(ends["a"]) and "b.npy" in str(ends["b"])
    assert_array_equal(ends["c"], GaussianRBM(8, **SAME | {"n_iter": 20}).fit(ROWS).components_)


def child(code, *given):
    return subprocess.run(
        [sys.executable, "-c", BEGIN + code, *map(str, given)], capture_output=True, text=True, timeout=120
    )


BEGIN = """
import ctypes, faulthandler, gc, os, signal, sys
import numpy as np
from fastrbm import GaussianRBM
path = sys.argv[1]
rows = np.random.default_rng(0).normal(size=(400, 256)).astype(np.float32)

def mapped(name=path):
    np.save(name, rows)
    return np.load(name, mmap_mode="r")

def cut(name=path):
    os.truncate(name, 1000)

def same(X, **options):
    return GaussianRBM(4, batch_size=50, n_iter=2, random_state=0, **options).fit(X)

def cut_fit(name=path):
    x = mapped(name)
    try:
        same(x, callbacks=[lambda run: cut(name)])
    except OSError as error:
        return "became shorter" in str(error)

libc = ctypes.CDLL(None)
class Action(ctypes.Structure):
    _fields_ = [("handler", ctypes.c_void_p), ("rest", ctypes.c_char * 256)]

def handler():
    now = Action()
    assert libc.sigaction(int(signal.SIGBUS), None, ctypes.byref(now)) == 0
    return now.handler
"""


def test_the_handler_from_before_is_there_again(tmp_path):
    done = child(
        """
before = handler()
assert cut_fit() and handler() == before
faulthandler.enable()
other = handler()
assert other != before and cut_fit() and handler() == other
x = mapped()
def look(run):
    assert handler() != other
same(x, callbacks=[look])
assert handler() == other
faulthandler.disable()
assert handler() == before
print("done")
""",
        tmp_path / "x.npy",
    )
    assert done.stdout == "done\n", done.stderr


@pytest.mark.parametrize("with_faulthandler", [False, True])
@pytest.mark.parametrize("how", ["elsewhere", "sent"])
def test_a_bus_error_elsewhere_still_ends_the_process(how, with_faulthandler, tmp_path):
    done = child(
        f"""
if {with_faulthandler}:
    faulthandler.enable()
import resource
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
x, other = mapped(), mapped(path + ".other.npy")
os.truncate(path + ".other.npy", 1000)

def fault(run):
    print("now", flush=True)
    if {how!r} == "sent":
        os.kill(os.getpid(), signal.SIGBUS)
    else:
        other.sum()

same(x, callbacks=[fault])
print("alive")
""",
        tmp_path / "x.npy",
    )
    assert done.returncode == -signal.SIGBUS and done.stdout == "now\n"
    assert ("Bus error" in done.stderr) == with_faulthandler


def test_a_handler_of_the_process_hears_of_others(tmp_path):
    """As one in C does that mends a range of its own."""
    done = child(
        """
heard = []
Handler = ctypes.CFUNCTYPE(None, ctypes.c_int)

@Handler
def own(number):
    heard.append(number)

libc.signal.restype = ctypes.c_void_p
libc.signal(int(signal.SIGBUS), own)
x = mapped()
same(x, callbacks=[lambda run: os.kill(os.getpid(), signal.SIGBUS)])
assert heard == 2 * [int(signal.SIGBUS)], heard
assert handler() == ctypes.cast(own, ctypes.c_void_p).value
assert cut_fit() and len(heard) == 2
print("done")
""",
        tmp_path / "x.npy",
    )
    assert done.stdout == "done\n", done.stderr


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc to count descriptors")
def test_descriptors_and_maps_do_not_grow(tmp_path):
    done = child(
        """
def taken():
    gc.collect()
    return len(os.listdir("/proc/self/fd")), len(open("/proc/self/maps").readlines())

def chunks():
    for k in range(300):
        yield np.load(path + ".part.npy", mmap_mode="r")[k : k + 2]

np.save(path + ".part.npy", rows)
most = []
def look(run):
    most.append(len(os.listdir("/proc/self/fd")))
for k in range(20):
    assert cut_fit()
same(chunks, callbacks=[look])
before = taken()
for k in range(60):
    assert cut_fit()
same(chunks, callbacks=[look])
after = taken()
assert max(most) < before[0] + 10, most
print(after[0] - before[0], after[1] - before[1] < 10)
""",
        tmp_path / "x.npy",
    )
    assert done.stdout == "0 True\n", done.stderr


def test_outside_of_a_call_nothing_is_watched(tmp_path):
    x = mapped(tmp_path / "x.npy")
    assert watch(x) is x
    os.truncate(tmp_path / "x.npy", HALF)
    with pytest.raises(OSError, match="became shorter"):
        BernoulliRBM(3, **SAME).fit(x)
