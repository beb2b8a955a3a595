"""A fit with checkpoints, as a program that may be killed: ``killed_fit.py KIND FOLDER``.

It goes on where an earlier one was cut off, notes how far it is in FOLDER/log, and leaves FOLDER/model.npz.
"""

import sys
import time
from pathlib import Path

import numpy as np

from fastrbm import BernoulliRBM, GaussianRBM
from fastrbm.callbacks import Callback, Checkpoint
from fastrbm.samplers import Tempering

EVERY = 0.1  # seconds from one checkpoint to the next
SAME = dict(batch_size=64, random_state=0, n_threads=2)
KINDS = {
    "bits": lambda: BernoulliRBM(64, n_iter=150, optimizer="adam", learning_rate=0.001, **SAME),
    "grey": lambda: BernoulliRBM(64, n_iter=100, algorithm="cd", **SAME),
    "gaussian": lambda: GaussianRBM(64, n_iter=80, learning_rate=0.001, sigma="learned", **SAME),
    "tempered": lambda: BernoulliRBM(48, n_iter=12, algorithm=Tempering(4), n_chains=32, **SAME),
}


def rows(kind):
    values = np.random.default_rng(0).random((3000, 120)).astype(np.float32)
    return values if kind in ("grey", "gaussian") else (values < 0.3).astype(np.float32)


class Log(Callback):
    """Notes updates and the time."""

    def __init__(self, path):
        self.path = path

    def _note(self, what, run):
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{what} {run.state.chains.updates} {time.time()}\n")

    def on_fit_begin(self, run):
        self._note("begin", run)

    def on_batch(self, run):
        self._note("at", run)


def main(kind, folder):
    folder = Path(folder)
    saved = folder / "checkpoints"
    rbm = KINDS[kind]().set_params(callbacks=[Log(folder / "log"), Checkpoint(saved, every=f"{EVERY} s")])
    rbm.fit(rows(kind), resume=saved if any(saved.glob("checkpoint-*.npz")) else None)
    rbm.save(folder / "model.npz")


if __name__ == "__main__":
    main(*sys.argv[1:])
