"""Draws without a seed go on from call to call; those with one are the same; a call that fails uses none up."""

import numpy as np
import pytest

from fastrbm import RBM, BernoulliRBM, GaussianRBM, IsingRBM, PottsRBM, SoftmaxRBM, compat
from fastrbm.deep import DeepBeliefNetwork, DeepBoltzmannMachine
from fastrbm.quantum import RBMWaveFunction

X = (np.random.default_rng(0).random((40, 12)) < 0.5).astype(np.float64)
SHORT = {"n_iter": 1, "random_state": 0}


def waves(**options):
    return RBMWaveFunction(12, alpha=1, random_state=0, **options)


MACHINES = {
    "BernoulliRBM": lambda: BernoulliRBM(5, **SHORT).fit(X),
    "IsingRBM": lambda: IsingRBM(5, **SHORT).fit(2 * X - 1),
    "PottsRBM": lambda: PottsRBM(5, **SHORT).fit(np.eye(12)[:8]),
    "RBM": lambda: RBM(5, **SHORT).fit(X),
    "GaussianRBM": lambda: GaussianRBM(5, **SHORT).fit(X),
    "SoftmaxRBM": lambda: SoftmaxRBM(5, **SHORT).fit(X.astype(int)),
    "compat": lambda: compat.BernoulliRBM(5, **SHORT).fit(X),
    "DeepBeliefNetwork": lambda: DeepBeliefNetwork([6, 5], rbm=BernoulliRBM(n_iter=1), random_state=0).fit(X),
    "DeepBoltzmannMachine": lambda: DeepBoltzmannMachine([6, 5], n_iter=1, pretrain_iter=1, random_state=0).fit(X),
}
FUNCTIONS = {
    "real": waves,
    "complex": lambda: waves(parameters="complex"),
    "symmetric, other parameters": lambda: (lambda psi: psi.with_parameters(psi.parameters))(waves(symmetric=True)),
}
DRAWS = {name: (make, lambda one, **seed: one.sample(20, 3, **seed)) for name, make in MACHINES.items()} | {
    f"wave function, {name}": (make, lambda psi, **seed: psi.sample(20, **seed)) for name, make in FUNCTIONS.items()
}


@pytest.mark.parametrize("name", DRAWS)
def test_draws_go_on(name):
    make, draw = DRAWS[name]
    one, other = make(), make()
    first, second, third = (draw(one) for _ in range(3))
    assert (first != second).any() and (second != third).any() and (first != third).any()
    np.testing.assert_array_equal(draw(other), first)
    np.testing.assert_array_equal(draw(other, random_state=7), draw(one, random_state=7))
    np.testing.assert_array_equal(draw(other), second)  # a call with a seed is not one of them


@pytest.mark.parametrize("name", DRAWS)
def test_a_call_that_fails_uses_no_draws_up(name):
    make, draw = DRAWS[name]
    one = make()
    for options in ({"n_samples": 0}, {"n_samples": 3, "random_state": "x"}):
        with pytest.raises((ValueError, TypeError)):
            one.sample(**options)
    np.testing.assert_array_equal(draw(one), draw(make()))


@pytest.mark.parametrize("name", MACHINES)
def test_hidden_draws_and_single_steps_go_on(name):
    machine = MACHINES[name]()
    rows = {"IsingRBM": 2 * X - 1, "PottsRBM": np.eye(12)[:8], "SoftmaxRBM": X.astype(int)}.get(name, X)
    for method in ("sample_hidden", "gibbs"):
        if hasattr(machine, method):
            draw = getattr(machine, method)
            assert (draw(rows) != draw(rows)).any()
