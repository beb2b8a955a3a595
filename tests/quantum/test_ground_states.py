"""Hamiltonians, energies, gradients and searches against dense matrices and free fermions."""

import numpy as np
import pytest
from test_wavefunction import KINDS, wave

from fastrbm import DivergenceError
from fastrbm.quantum import (
    Heisenberg,
    RBMWaveFunction,
    TransverseFieldIsing,
    estimate_energy,
    exact_ground_state,
    find_ground_state,
    free_fermion_energy,
)
from fastrbm.quantum.energies import batch_of, tangent_of
from fastrbm.schedules import Linear

X, Y, Z = np.array([[0, 1], [1, 0]]), np.array([[0, -1j], [1j, 0]]), np.diag([-1, 1])  # the first state is spin -1


def operator(n_sites, *factors):
    """Product of matrices at sites."""
    out = np.eye(1)
    for site in range(n_sites):
        out = np.kron(out, dict(factors).get(site, np.eye(2)))
    return out


def dense(h):
    """The Hamiltonian by Kronecker products, over the states of its magnetisation."""
    n = h.n_sites
    bonds = [(i, (i + 1) % n) for i in range(n if h.periodic else n - 1)]
    if isinstance(h, TransverseFieldIsing):
        total = sum(-h.coupling * operator(n, (i, Z), (j, Z)) for i, j in bonds)
        return total - h.field * sum(operator(n, (i, X)) for i in range(n))
    sign = -1 if h.marshall else 1
    parts = ((Z, 1), (X, sign), (Y, sign))
    total = sum(h.coupling * sign * operator(n, (i, part), (j, part)) for i, j in bonds for part, sign in parts)
    here = np.array([bin(number).count("1") == n // 2 for number in range(2**n)])
    return total[here][:, here].real


HAMILTONIANS = [
    TransverseFieldIsing(6, 0.7),
    TransverseFieldIsing(5, 1.3, coupling=-0.4, periodic=False),
    Heisenberg(6),
    Heisenberg(6, marshall=False),
    Heisenberg(4, coupling=0.5, periodic=False),
]


@pytest.mark.parametrize("h", HAMILTONIANS, ids=repr)
@pytest.mark.parametrize("parameters", ["real", "complex"])
def test_local_energies_are_those_of_the_matrix(h, parameters):
    matrix, states = dense(h), h.states()
    assert len(states) == h.n_states()
    np.testing.assert_allclose(h.to_sparse().toarray(), matrix, atol=1e-14)
    psi = wave(h.n_sites, parameters=parameters)
    amplitude = np.exp(psi.log_psi(states))
    np.testing.assert_allclose(h.local_energies(psi, states), matrix @ amplitude / amplitude, rtol=1e-11, atol=1e-11)
    found = estimate_energy(psi, h, method="exact")
    norm = np.vdot(amplitude, amplitude).real
    energy = np.vdot(amplitude, matrix @ amplitude).real / norm
    assert found.energy == pytest.approx(energy, rel=1e-12)
    square = np.vdot(matrix @ amplitude, matrix @ amplitude).real / norm
    assert found.variance == pytest.approx(square - energy**2, rel=1e-9)


def all_states(psi, h):
    states = h.states()
    return batch_of(psi.kernel(h.moves), h, states, h.diagonal(states), True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("h", [TransverseFieldIsing(4, 0.7), Heisenberg(4)], ids=repr)
def test_gradients_of_the_energy_against_differences(kind, h):
    psi = wave(4, **kind)
    batch = all_states(psi, h)
    found = 2 * tangent_of(psi, batch).adjoint(batch.errors)
    step = 1e-4
    for k in range(psi.n_parameters):
        for unit in (1, 1j) if psi.dtype == complex else (1,):
            change = np.zeros(psi.n_parameters, psi.dtype)
            change[k] = unit * step
            e = [all_states(psi.with_parameters(psi.parameters + m * change), h).energy for m in (-2, -1, 1, 2)]
            slope = (e[0] - 8 * e[1] + 8 * e[2] - e[3]) / (12 * step)
            assert (found[k] * np.conj(unit)).real == pytest.approx(slope, abs=1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_tangents_without_and_with_their_matrix(kind):
    psi, h = wave(6, **kind), TransverseFieldIsing(6, 1.0)
    batch = all_states(psi, h)
    tangent = tangent_of(psi, batch)
    raw = psi.log_derivatives(batch.spins)
    x = np.sqrt(batch.weights)[:, None] * (raw - batch.weights @ raw)
    rng = np.random.default_rng(0)
    v, u = rng.normal(size=psi.n_parameters), rng.normal(size=len(x))
    for found, right in (
        (tangent.dense(), x),
        (tangent.gram(), x @ x.conj().T),
        (tangent.apply(v), x @ v),
        (tangent.adjoint(u), x.conj().T @ u),
    ):
        np.testing.assert_allclose(found, right, atol=1e-12)


@pytest.mark.parametrize("n_states", [10, 64])  # fewer than parameters, and more
@pytest.mark.parametrize("kind", KINDS)
def test_solvers_agree(kind, n_states):
    from fastrbm.quantum._derivatives import natural_gradient

    psi, h = wave(6, **kind), TransverseFieldIsing(6, 1.0)
    states = h.states()[:n_states]
    tangent = tangent_of(psi, batch := batch_of(psi.kernel(h.moves), h, states, h.diagonal(states), True))
    x = tangent.dense()
    right = np.linalg.solve(x.conj().T @ x + 1e-2 * np.eye(x.shape[1]), x.conj().T @ batch.errors)
    for solver in ("direct", "cg"):
        np.testing.assert_allclose(natural_gradient(tangent, batch.errors, 1e-2, solver, None), right, atol=1e-6)


@pytest.mark.parametrize(
    ("n_sites", "field", "coupling"), [(8, 1, 1), (9, 0.4, 1), (5, 2, 1), (6, -0.7, -1), (3, 1, 0.5)]
)
def test_free_fermions_are_the_exact_ground_state(n_sites, field, coupling):
    exact = exact_ground_state(TransverseFieldIsing(n_sites, field, coupling))
    assert exact.energy == pytest.approx(free_fermion_energy(n_sites, field, coupling), rel=1e-12)


def test_exact_ground_states():
    for h in (Heisenberg(10), Heisenberg(10, marshall=False), TransverseFieldIsing(8, 1.0)):
        found = exact_ground_state(h)
        np.testing.assert_allclose(h.to_sparse() @ found.amplitudes, found.energy * found.amplitudes, atol=1e-7)
    assert exact_ground_state(Heisenberg(10)).energy == pytest.approx(
        exact_ground_state(h0 := Heisenberg(10, marshall=False)).energy
    )
    assert h0.n_states() == 252


def test_a_chain_of_12_sites_to_1e_5():
    psi = RBMWaveFunction(12, alpha=4, symmetric=True, random_state=0)
    before = psi.parameters
    h, exact = TransverseFieldIsing(12, 1.0), free_fermion_energy(12, 1.0)
    found = find_ground_state(psi, h, learning_rate=0.1, n_iterations=150, random_state=0)
    assert abs(estimate_energy(found.wave_function, h, method="exact").energy / exact - 1) < 1e-5
    assert abs(found.energy - exact) < 4 * found.standard_error + 1e-5 * abs(exact)
    assert found.health is not None and found.health.n_steps == 100
    assert all(len(values) == 150 for values in found.history.values())
    np.testing.assert_array_equal(psi.parameters, before)


@pytest.mark.parametrize("marshall", [True, False])
def test_heisenberg_chains(marshall):
    h = Heisenberg(8, marshall=marshall)
    psi = RBMWaveFunction(8, alpha=3, parameters="complex", symmetric=marshall, scale=0.2, random_state=1)
    found = find_ground_state(psi, h, method="exact", learning_rate=0.03, n_iterations=250)
    assert found.standard_error == 0
    assert found.energy == pytest.approx(exact_ground_state(h).energy, rel=1e-3)
    assert found.energy >= exact_ground_state(h).energy - 1e-9


def test_searches_depend_on_the_seed_alone():
    h, found = TransverseFieldIsing(9, 1.0), []
    for n_threads in (1, 2, 3):
        psi = RBMWaveFunction(9, 11, random_state=0, n_threads=n_threads)
        result = find_ground_state(psi, h, n_iterations=4, n_chains=40, n_final_samples=4, random_state=5)
        found.append((result.energy, result.standard_error, result.wave_function.parameters))
    for energy, error, parameters in found[1:]:
        assert (energy, error) == found[0][:2]
        np.testing.assert_array_equal(parameters, found[0][2])


@pytest.mark.parametrize("solver", ["direct", "cg"])
def test_callbacks_and_schedules(solver):
    seen = []

    def callback(progress):
        seen.append(progress)
        return len(seen) == 3

    psi, h = RBMWaveFunction(6, 5, random_state=0), TransverseFieldIsing(6, 1.0)
    options = {"learning_rate": Linear(0.1, 0.01), "shift": Linear(0.1, 0.01), "solver": solver, "random_state": 0}
    found = find_ground_state(psi, h, n_chains=30, n_final_samples=4, callback=callback, **options)
    assert [progress.iteration for progress in seen] == [0, 1, 2]
    np.testing.assert_array_equal([progress.energy for progress in seen], found.history["energy"])
    np.testing.assert_array_equal(seen[-1].wave_function.parameters, found.wave_function.parameters)


def test_what_goes_wrong_is_said():
    psi, h = RBMWaveFunction(6, 5, random_state=0), TransverseFieldIsing(6, 1.0)
    for options, words in (
        ({"method": "guess"}, "method must be"), ({"solver": "lu"}, "solver must be"), ({"rule": "a"}, "rule must be"),
        ({"n_iterations": 0}, "n_iterations must be"), ({"learning_rate": 0}, "learning_rate must be positive"),
        ({"shift": -1}, "shift must be"), ({"n_final_samples": 3}, "n_final_samples must be"),
        ({"learning_rate": Linear(0.1, 0.0)}, "learning_rate must be"), ({"random_state": "x"}, "random_state"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=words):
            find_ground_state(psi, h, **options)
    with pytest.raises(ValueError, match="6 sites, the Hamiltonian has 5"):
        find_ground_state(psi, TransverseFieldIsing(5, 1.0))
    with pytest.raises(TypeError, match="wave_function must be"):
        find_ground_state(h, h)
    with pytest.raises(TypeError, match="hamiltonian must be"):
        estimate_energy(psi, psi)
    with pytest.raises(ValueError, match="n_samples must be"):
        estimate_energy(psi, h, n_samples=2)
    with pytest.raises(ValueError, match="only the states of a ring"):
        find_ground_state(RBMWaveFunction(6, alpha=1, symmetric=True), TransverseFieldIsing(6, 1.0, periodic=False))
    with pytest.warns(UserWarning, match="marshall=True"):
        find_ground_state(psi, Heisenberg(6, marshall=False), n_iterations=1, n_chains=8, n_final_samples=4)
    far = psi.with_parameters(np.full(psi.n_parameters, 100.0))
    with pytest.raises(DivergenceError, match="before step 0"):
        find_ground_state(far, h)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: TransverseFieldIsing(2, 1.0), "n_sites must be"),
        (lambda: TransverseFieldIsing(6, np.nan), "field must be"),
        (lambda: TransverseFieldIsing(6, 1.0, periodic=1), "periodic must be"),
        (lambda: Heisenberg(7), "n_sites must be even"),
        (lambda: Heisenberg(6, np.inf), "coupling must be"),
        (lambda: exact_ground_state(TransverseFieldIsing(17, 1.0)), "16 sites at most"),
        (lambda: TransverseFieldIsing(21, 1.0).states(), "20 sites at most"),
        (lambda: free_fermion_energy(7, 1.0, -1.0), "n_sites must be even"),
        (lambda: TransverseFieldIsing(4, 1.0).diagonal([[1, 0, 1, 1]]), "spins"),
    ],
)
def test_bad_hamiltonians(call, words):
    with pytest.raises(ValueError, match=words):
        call()
