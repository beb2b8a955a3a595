"""Golden cases of classifiers, deep stacks and wave functions; `golden_cases` has those of single machines."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fastrbm
from fastrbm import classifiers, deep, quantum

Groups = dict[str, list[Any]]

N_ROWS, N_VISIBLE, N_HIDDEN, N_CLASSES = 60, 37, 12, 3


def labelled(grey: bool = False) -> tuple[NDArray[Any], NDArray[Any]]:
    """Noisy copies of a prototype of each class, and the classes."""
    rng = np.random.default_rng([2026, 20])
    labels = rng.integers(N_CLASSES, size=N_ROWS)
    prototypes = rng.random((N_CLASSES, N_VISIBLE)) < 0.4
    rows = (prototypes[labels] ^ (rng.random((N_ROWS, N_VISIBLE)) < 0.1)).astype(np.float32)
    return (0.8 * rows + 0.1 if grey else rows).astype(np.float32), labels


def _discriminative(objective: str, grey: bool) -> Groups:
    rows, labels = labelled(grey)
    machine = classifiers.DiscriminativeRBM(
        N_HIDDEN, objective=objective, learning_rate=0.1, batch_size=16, n_iter=3, optimizer="sgd", random_state=7
    ).fit(rows, labels)
    return {
        "parameters": [
            machine.components_, machine.intercept_hidden_, machine.class_components_, machine.intercept_classes_
        ],
        "probabilities": [machine.predict_proba(rows)],
    }  # fmt: skip


def _machine() -> Any:
    return fastrbm.BernoulliRBM(N_HIDDEN, batch_size=16, n_iter=2)


def _free_energies() -> Groups:
    rows, labels = labelled()
    machine = classifiers.FreeEnergyClassifier(_machine(), random_state=7).fit(rows, labels)
    return {"probabilities": [machine.predict_proba(rows)]}


def _outliers() -> Groups:
    rows, _ = labelled()
    detector = classifiers.RBMOutlierDetector(_machine(), random_state=7).fit(rows)
    return {"scores": [detector.score_samples(rows), detector.predict(rows)]}


def _fine_tuned() -> Groups:
    rows, labels = labelled(True)
    stack = deep.DeepBeliefNetwork([_machine(), fastrbm.BernoulliRBM(8, batch_size=16, n_iter=2)])
    network = deep.DBNClassifier(stack, n_iter=3, batch_size=16, hidden_dropout=0.2, random_state=7).fit(rows, labels)
    return {"probabilities": [network.predict_proba(rows)]}


def _boltzmann() -> Groups:
    rows, _ = labelled()
    machine = deep.DeepBoltzmannMachine((N_HIDDEN, 8), n_iter=3, pretrain_iter=2, batch_size=16, random_state=7)
    return {"means": [machine.fit(rows).transform(rows)]}


def _ground_state() -> Groups:
    chain = quantum.TransverseFieldIsing(6, field=1.0)
    psi = quantum.RBMWaveFunction(6, alpha=2, parameters="complex", random_state=7)
    found = quantum.find_ground_state(psi, chain, n_iterations=3, n_chains=32, n_final_samples=5, random_state=7)
    spins = np.where(np.arange(2**6)[:, None] >> np.arange(6) & 1, 1, -1)
    psi = found.wave_function.log_psi(spins)
    return {"energies": [np.asarray(found.energy)], "log psi": [psi.real, psi.imag]}


CASES: dict[str, Callable[[], Groups]] = {
    **{
        f"cpu/discriminative/{objective}-{'grey' if grey else 'bits'}": partial(_discriminative, objective, grey)
        for objective in ("generative", "discriminative", "hybrid")
        for grey in (False, True)
    },
    "cpu/classifiers/free-energy": _free_energies,
    "cpu/classifiers/outliers": _outliers,
    "cpu/deep/classifier": _fine_tuned,
    "cpu/deep/boltzmann": _boltzmann,
    "cpu/quantum/complex": _ground_state,
}
