"""Wave functions: log psi, ratios and derivatives against enumeration, chains against |psi|^2."""

import numpy as np
import pytest
from scipy import stats

from fastrbm.likelihood import log_partition
from fastrbm.quantum import Heisenberg, RBMWaveFunction, TransverseFieldIsing

KINDS = [
    {"parameters": parameters, "symmetric": symmetric, "biases": biases}
    for parameters in ("real", "complex")
    for symmetric in (False, True)
    for biases in (False, True)
]  # fmt: skip


def wave(n_sites=5, seed=1, size=0.3, **kind):
    psi = RBMWaveFunction(n_sites, alpha=2, random_state=seed, **kind)
    rng = np.random.default_rng(seed)
    vector = rng.normal(0, size, psi.n_parameters)
    if psi.dtype == complex:
        vector = vector + 1j * rng.normal(0, size, psi.n_parameters)
    return psi.with_parameters(vector)


def amplitudes(psi, states):
    """psi as a sum over the hidden spins."""
    hidden = TransverseFieldIsing(psi.n_hidden, 1.0).states()
    exponents = states @ psi.weights.T @ hidden.T + hidden @ psi.hidden_bias
    return np.exp(states @ psi.visible_bias) * np.exp(exponents).sum(axis=1)


@pytest.mark.parametrize("kind", KINDS)
def test_psi_and_ratios_are_sums_over_hidden_spins(kind):
    psi = wave(**kind)
    states = TransverseFieldIsing(5, 1.0).states()
    right = amplitudes(psi, states)
    np.testing.assert_allclose(np.exp(psi.log_psi(states)), right, rtol=1e-12)
    for flips in ([[0], [3], [4]], [[0, 1], [4, 2], [1, 3]]):
        sites = np.array(flips)
        for column, pair in enumerate(sites):
            turned = states.copy()
            turned[:, pair] *= -1
            found = psi.flip_ratios(states, sites if sites.shape[1] == 2 else sites[:, 0])[:, column]
            np.testing.assert_allclose(found, amplitudes(psi, turned) / right, rtol=1e-11)
    np.testing.assert_array_equal(psi.flip_ratios(states), psi.flip_ratios(states, range(5)))


def test_symmetric_functions_are_the_same_for_all_translations():
    psi, states = wave(symmetric=True), TransverseFieldIsing(5, 1.0).states()
    for by in range(5):
        np.testing.assert_allclose(psi.log_psi(np.roll(states, by, axis=1)), psi.log_psi(states), rtol=1e-12)
    np.testing.assert_allclose(wave(biases=False).log_psi(states), wave(biases=False).log_psi(-states), rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_derivatives_against_differences(kind):
    psi, states = wave(**kind), TransverseFieldIsing(5, 1.0).states()[::3]
    found, step = psi.log_derivatives(states), 1e-5
    assert found.shape == (len(states), psi.n_parameters)
    for k in range(psi.n_parameters):
        change = np.zeros(psi.n_parameters)
        change[k] = step
        up, down = (psi.with_parameters(psi.parameters + sign * change).log_psi(states) for sign in (1, -1))
        np.testing.assert_allclose(found[:, k], np.log(np.exp(up - down)) / (2 * step), atol=1e-8)


@pytest.mark.parametrize("rule", ["heat-bath", "metropolis"])
@pytest.mark.parametrize("magnetisation", [None, 0])
@pytest.mark.parametrize("parameters", ["real", "complex"])
def test_chains_visit_states_as_the_square_of_psi(rule, magnetisation, parameters):
    psi = wave(6, parameters=parameters, size=0.2)
    states = (TransverseFieldIsing(6, 1.0) if magnetisation is None else Heisenberg(6)).states()
    p = np.exp(2 * psi.log_psi(states).real)
    # the last states of many chains are independent
    drawn = psi.sample(1, n_chains=20000, n_burn_in=60, rule=rule, magnetisation=magnetisation, random_state=3)
    places = 2 ** np.arange(5, -1, -1)
    counts = np.bincount((drawn[:, 0] > 0) @ places, minlength=64)[(states > 0) @ places]
    assert counts.sum() == 20000
    assert stats.chisquare(counts, 20000 * p / p.sum()).pvalue > 1e-3


def test_samples_depend_on_the_seed_alone():
    psi = wave(7)
    first = psi.sample(5, n_chains=40, random_state=0)
    for n_threads in (1, 2, 3):
        other = RBMWaveFunction(7, alpha=2, random_state=9, n_threads=n_threads).with_parameters(psi.parameters)
        np.testing.assert_array_equal(other.sample(5, n_chains=40, random_state=0), first)
    assert (psi.sample(5, n_chains=40, random_state=1) != first).any()
    np.testing.assert_array_equal(psi.sample(3, n_chains=40, n_burn_in=102, random_state=0), first[:, 2:])


def test_the_square_is_a_machine_of_the_package():
    psi, states = wave(6), TransverseFieldIsing(6, 1.0).states()
    model = psi.as_model()
    logs = 2 * psi.log_psi(states)
    np.testing.assert_allclose(-model.free_energy(states), logs, rtol=1e-12)
    wanted = np.log(np.exp(logs - logs.max()).sum()) + logs.max()
    assert log_partition(model).value == pytest.approx(wanted, rel=1e-10)
    with pytest.raises(ValueError, match="needs real parameters"):
        wave(parameters="complex").as_model()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (((0, 3), {}), "n_sites must be a positive integer"),
        (((4,), {}), "one of n_hidden and alpha"),
        (((4, 4), {"alpha": 1}), "one of n_hidden and alpha"),
        (((4, 0), {}), "n_hidden must be"),
        (((4, 6), {"symmetric": True}), "multiple of n_sites = 4"),
        (((4, 6), {"parameters": "quaternions"}), "'real' or 'complex'"),
        (((4, 6), {"scale": -1}), "scale must be"),
        (((4, 6), {"biases": 1}), "biases must be"),
        (((4, 6), {"n_threads": 0}), "n_threads must be"),
        (((4, 6), {"random_state": -1}), "random_state must be"),
    ],
)
def test_bad_options(arguments, words):
    positional, named = arguments
    with pytest.raises(ValueError, match=words):
        RBMWaveFunction(*positional, **named)


@pytest.mark.parametrize(
    ("states", "words"),
    [
        ([[1, -1, 1]], "shape"),
        ([[0, 1, 1, 0, 1]], "2 \\* bits - 1"),
        ([[True, False, True, True, True]], "2 \\* bits - 1"),
        ([[1, np.nan, 1, 1, 1]], "spins of -1 and \\+1"),
        (np.zeros((2, 5), np.int8), "spins of -1 and \\+1"),
    ],
)
def test_bad_states(states, words):
    for method in ("log_psi", "flip_ratios", "log_derivatives"):
        with pytest.raises(ValueError, match=words):
            getattr(wave(), method)(states)


def test_bad_arguments_of_methods():
    psi, state = wave(), np.ones((1, 5), np.int8)
    for sites in ([5], [-1], [0.5], [[0, 1, 2]], []):
        with pytest.raises(ValueError, match="sites must"):
            psi.flip_ratios(state, sites)
    for moves in ([[0, 0, 1]], [[0, 1, 0]], [[7, -1, 0]], [0, 1, 2], [[0.0, 1.0, 1.0]]):
        with pytest.raises(ValueError, match="moves must"):
            psi.move_ratios(state, moves)
    with pytest.raises(ValueError, match="sites must"):
        psi.flip_ratios(state, [[1, 1]])
    for vector, words in ((np.ones(3), "shape"), (1j * psi.parameters, "real"), (np.nan * psi.parameters, "finite")):
        with pytest.raises(ValueError, match=words):
            psi.with_parameters(vector)
    for option in ({"rule": "glauber"}, {"n_chains": 0}, {"magnetisation": 0}, {"n_burn_in": -1}, {"n_sweeps": 0}):
        with pytest.raises(ValueError, match=next(iter(option))):
            psi.sample(1, **option)
