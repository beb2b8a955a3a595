"""What `test_mpi` starts under mpirun: fits of the rows of all processes, and a hash of what came out."""

import hashlib
import os
import sys
import time

import numpy as np

from fastrbm import BernoulliRBM, GaussianRBM, IsingRBM, distributed
from fastrbm._kernels import sharing
from fastrbm.callbacks import Callback, Checkpoint
from fastrbm.distributed import MPIRanks
from fastrbm.optimizers import SGD, Adam, RMSprop

rng = np.random.default_rng(0)
BITS = (rng.random((600, 130)) < 0.3).astype(np.float32)
GREY = rng.random((600, 130)).astype(np.float32)
SAME = dict(n_components=200, batch_size=100, n_iter=2, random_state=0, n_threads=1)
RULES = {
    "plain": SGD(),
    "momentum": SGD(momentum=0.5),
    "nesterov": SGD(momentum=0.5, nesterov=True),
    "rmsprop": RMSprop(),
    "rmsprop with momentum": RMSprop(momentum=0.5),
    "adam": Adam(),
    "amsgrad": Adam(amsgrad=True),
}


def fits():
    for algorithm in ("cd", "pcd"):
        for name, rule in RULES.items():
            yield f"{algorithm} {name}", BernoulliRBM(algorithm=algorithm, optimizer=rule, **SAME), BITS
    yield "spins", IsingRBM(**SAME), 2 * BITS - 1
    yield "levels", BernoulliRBM(dtype=np.float32, **SAME), np.rint(255 * GREY).astype(np.uint8)
    yield "gaussian", GaussianRBM(learning_rate=0.01, **SAME), GREY


def hashed(rbm):
    parts = (rbm.components_, rbm.intercept_visible_, rbm.intercept_hidden_, getattr(rbm, "h_samples_", np.empty(0)))
    return hashlib.blake2b(b"".join(x.tobytes() for x in parts), digest_size=8).hexdigest()


class Slow(Callback):
    """Passes take a tenth of a second, and the first says when one is done."""

    def on_epoch_end(self, run):
        time.sleep(0.1)
        if run.ranks.rank == 0:
            print("pass", run.state.epoch, flush=True)


class Die(Callback):
    """One process is killed in a pass."""

    def on_epoch_end(self, run):
        if run.ranks.rank == 1 and run.state.epoch == 3:
            os.kill(os.getpid(), 9)


class Fail(Callback):
    """One process fails alone."""

    def on_epoch_end(self, run):
        if run.ranks.rank == 1 and run.state.epoch == 2:
            raise ZeroDivisionError("only here")


def main(what, folder=None):
    sharing.LEAST_WORK = 1 << 16
    ranks = MPIRanks()

    def own(X):
        return np.array_split(X, ranks.size)[ranks.rank]

    if what == "fits":
        for name, rbm, X in fits():
            distributed.fit(rbm, own(X), comm=ranks)
            if ranks.rank == 0:
                print(name, hashed(rbm))
        return
    more = {"long": [Slow()], "die": [Slow(), Die()], "fail": [Fail()]}.get(what, [])
    checkpoint = [] if folder is None else [Checkpoint(folder, "1 pass")]
    n_iter = 8 if what in ("alone", "resume") else 1000
    rbm = BernoulliRBM(200, batch_size=100, n_iter=n_iter, random_state=0, callbacks=[*more, *checkpoint])
    distributed.fit(rbm, own(BITS), comm=ranks, resume=folder if what == "resume" else None)
    if ranks.rank == 0:
        print(hashed(rbm), rbm.n_iter_)


if __name__ == "__main__":
    main(*sys.argv[1:])
