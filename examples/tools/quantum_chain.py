"""
A quantum chain and its transition
==================================

A machine can be a wave function. Here it finds the ground states of the Ising chain in
a transverse field, through the point where the order of the spins melts.
"""

# %%
# Sixteen sites on a ring. For each field the search starts from a small random wave
# function.

import matplotlib.pyplot as plt
import numpy as np

from fastrbm.quantum import (
    RBMWaveFunction,
    TransverseFieldIsing,
    find_ground_state,
    free_fermion_energy,
)

n_sites, fields = 16, (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
found = {}
for field in fields:
    psi = RBMWaveFunction(n_sites, alpha=2, symmetric=True, random_state=0)
    chain = TransverseFieldIsing(n_sites, field=field)
    found[field] = find_ground_state(
        psi, chain, n_iterations=120, learning_rate=0.1, random_state=0
    )

exact = {field: free_fermion_energy(n_sites, field=field) for field in fields}
for field in fields:
    energy = found[field].energy
    error = abs(energy / exact[field] - 1)
    print(f"field {field:4}: energy {energy:.4f}, relative error {error:.0e}")

# %%
# Order in the states that the wave function gives: how alike are spins on opposite
# sides of the ring?

order = []
for field in fields:
    spins = found[field].wave_function.sample(500, random_state=1).astype(float)
    order.append(np.mean(spins * np.roll(spins, n_sites // 2, axis=1)))

figure, axes = plt.subplots(1, 3, figsize=(11, 3.1), layout="constrained")
axes[0].plot(
    fields, [exact[field] / n_sites for field in fields], color="black", label="exact"
)
axes[0].plot(
    fields,
    [found[field].energy / n_sites for field in fields],
    "o",
    color="#0b5c8a",
    label="found",
)
axes[0].set(title="Energy of a site", xlabel="field")
axes[0].legend()
axes[1].plot(fields, order, "o-", color="#0b5c8a")
axes[1].axvline(1, color="grey", linewidth=1, linestyle=":")
axes[1].set(title="Order across the ring melts at field 1", xlabel="field")
for field in (0.5, 1.0, 2.0):
    axes[2].semilogy(
        np.abs(found[field].history["energy"] / exact[field] - 1),
        label=f"field {field}",
        linewidth=1,
    )
axes[2].set(title="Relative error on the way", xlabel="step")
axes[2].legend()

# %%
# **Take away:** `fastrbm.quantum.find_ground_state` takes a wave function and a
# Hamiltonian; ``symmetric=True`` is for rings. Heisenberg chains, and Hamiltonians of
# your own, work the same way: :doc:`/quantum`.
