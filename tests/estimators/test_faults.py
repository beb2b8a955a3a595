"""What goes wrong around a fit: memory that ends, readers that raise, threads that meet; and nothing that piles up."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from fastrbm import BernoulliRBM, GaussianRBM
from fastrbm._kernels.cpu.runtime import default_threads, has_openmp, n_processors

X = (np.random.default_rng(0).random((300, 20)) < 0.3).astype(np.float32)
SAME = dict(batch_size=30, n_iter=2, random_state=0)


def python(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc to count descriptors and threads")
def test_two_hundred_fits_leave_no_memory_threads_or_descriptors():
    code = """
import gc, os, tempfile
import numpy as np
from fastrbm import BernoulliRBM, GaussianRBM, IsingRBM, load
from fastrbm.callbacks import Checkpoint
from fastrbm.samplers import Tempering
bits = (np.random.default_rng(0).random((400, 60)) < 0.3).astype(np.float32)
same = dict(batch_size=50, n_iter=1, n_threads=2)
folder = tempfile.mkdtemp()

def one(k):
    BernoulliRBM(20, algorithm=["cd", "pcd", Tempering(3)][k % 3], **same).fit(bits).transform(bits)
    GaussianRBM(20, **same).fit(bits).sample(5, 2)
    IsingRBM(20, **same).fit(2 * bits - 1).save(folder + "/m.npz")
    load(folder + "/m.npz").free_energy(2 * bits - 1)
    BernoulliRBM(20, callbacks=[Checkpoint(f"{folder}/{k}", "1 pass")], **same).fit(iter_rows)

def iter_rows():
    yield bits[:300]
    yield bits[300:]

def taken():
    gc.collect()
    pages = int(open("/proc/self/statm").read().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE"), len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))

for k in range(40):
    one(k)
before = taken()
for k in range(40, 90):
    one(k)
print(*(b - a for a, b in zip(before, taken())))
"""
    memory, descriptors, threads = map(int, python(code))
    assert descriptors == 0 and threads == 0
    assert memory < 4_000_000, "200 fits more took memory for good"


@pytest.mark.skipif(sys.platform != "linux", reason="limits of the address space are Linux's")
def test_memory_that_ends_is_a_memory_error_and_no_more():
    code = """
import resource
import numpy as np
from fastrbm import BernoulliRBM
X = (np.random.default_rng(0).random((200, 2000)) < 0.3).astype(np.float32)
wanted = BernoulliRBM(8, n_iter=1, random_state=0).fit(X).components_.copy()
taken = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + 150_000_000,) * 2)
large = BernoulliRBM(30_000, n_iter=1, random_state=0)
for attempt in range(3):
    try:
        large.fit(X)
    except MemoryError as error:
        assert str(error)
    else:
        raise SystemExit("it fitted")
    assert not hasattr(large, "components_")
assert (BernoulliRBM(8, n_iter=1, random_state=0).fit(X).components_ == wanted).all()
print("done")
"""
    assert python(code) == ["done"]


@pytest.mark.parametrize("at", [1, 2, 5])
def test_readers_that_raise_leave_what_was_learned(at):
    calls = []

    def rows():
        calls.append(1)
        yield X[:150]
        if len(calls) > at:
            raise OSError("the disk is gone")
        yield X[150:]

    rbm = BernoulliRBM(5, **{**SAME, "n_iter": 9})
    with pytest.raises(OSError, match="the disk is gone"):
        rbm.fit(rows)
    if hasattr(rbm, "components_"):
        assert np.isfinite(rbm.components_).all() and rbm.transform(X).shape == (300, 5)
    whole = BernoulliRBM(5, **SAME).fit(X)
    np.testing.assert_array_equal(rbm.set_params(n_iter=2).fit(X).components_, whole.components_)


def test_threads_that_fit_one_estimator_do_not_break_it():
    """What they leave is of one of them, or mixed; the next fit is right."""
    rbm, errors = BernoulliRBM(5, **SAME), []

    def fit():
        for _ in range(20):
            try:
                rbm.fit(X)
                rbm.transform(X)
            except Exception as error:
                errors.append(error)

    threads = [threading.Thread(target=fit) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(isinstance(error, (AttributeError, ValueError)) for error in errors), errors
    wanted = BernoulliRBM(5, **SAME).fit(X)
    np.testing.assert_array_equal(rbm.fit(X).components_, wanted.components_)


@pytest.mark.parametrize(
    "make", [lambda k: BernoulliRBM(5 + k, **SAME), lambda k: GaussianRBM(5 + k, learning_rate=0.01, **SAME)]
)
def test_threads_that_fit_estimators_of_their_own_have_the_bits_of_one(make):
    found = {}

    def fit(k):
        found[k] = make(k).fit(X)

    for _ in range(5):
        threads = [threading.Thread(target=fit, args=(k,)) for k in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for k in range(6):
            np.testing.assert_array_equal(found[k].components_, make(k).fit(X).components_)


def test_limits_of_thread_pools_are_kept_and_change_no_bit():
    """Those that a library sets for a while, by threadpoolctl."""
    wanted = BernoulliRBM(5, **SAME).fit(X)
    before = default_threads()
    for n_threads in (1, 2):
        with threadpool_limits(n_threads):
            if has_openmp():
                assert default_threads() == min(n_threads, n_processors())
            limited = BernoulliRBM(5, **SAME).fit(X)
        np.testing.assert_array_equal(limited.components_, wanted.components_)
        np.testing.assert_array_equal(limited.transform(X), wanted.transform(X))
    assert default_threads() == before
