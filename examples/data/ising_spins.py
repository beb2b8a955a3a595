"""
The couplings of a known spin system
====================================

Spins on a ring of twelve sites are coupled to their neighbours only. A machine is
trained on states of the system and asked which pairs of spins are coupled, and how
strongly.
"""

# %%
# All 4096 states are listed, so the states for training are drawn exactly, without a
# chain.

import itertools

import matplotlib.pyplot as plt
import numpy as np

from fastrbm import IsingRBM
from fastrbm.schedules import Cosine

n, coupling = 12, 0.5
states = np.array(list(itertools.product((-1, 1), repeat=n)), dtype=np.int8)
energy = -coupling * (states * np.roll(states, 1, axis=1)).sum(axis=1)
weight = np.exp(-energy)
rng = np.random.default_rng(0)
X = states[rng.choice(len(states), 20_000, p=weight / weight.sum())]

# %%
# The machine: spins in both layers. The exact gradient is affordable, as the visible
# layer has only 4096 states.

rbm = IsingRBM(
    24,
    algorithm="exact",
    learning_rate=Cosine(0.05, 0.002),
    batch_size=500,
    n_iter=60,
    centered=True,
    random_state=0,
).fit(X)
entropy = np.log(weight.sum()) + (weight * energy).sum() / weight.sum()
reached = rbm.log_likelihood(X).mean()
print(f"log-likelihood {reached:.3f}, at best {-entropy:.3f} nats per state")

# %%
# What the machine says of a pair of spins: the energies of their four settings,
# averaged over the rest of the data.


def pair_coupling(i, j, rows=X[:2000]):
    """Return the coupling of two spins in the energy of the machine."""
    total = 0.0
    for a, b in itertools.product((-1, 1), repeat=2):
        set_rows = rows.copy()
        set_rows[:, i], set_rows[:, j] = a, b
        total -= a * b * rbm.free_energy(set_rows).mean()
    return total / 4


found = np.zeros((n, n))
for i, j in itertools.combinations(range(n), 2):
    found[i, j] = found[j, i] = pair_coupling(i, j)
correlation = np.corrcoef(X.T) - np.eye(n)

# %%
figure, axes = plt.subplots(1, 2, figsize=(8.5, 3.8), layout="constrained")
for ax, matrix, title in (
    (axes[0], correlation, "Correlations: far pairs seem coupled"),
    (axes[1], found, "Couplings of the machine: neighbours only"),
):
    image = ax.imshow(matrix, cmap="RdBu_r", vmin=-0.5, vmax=0.5)
    ax.set(title=title, xlabel="spin", ylabel="spin")
figure.colorbar(image, ax=axes)

neighbours = np.array([found[i, (i + 1) % n] for i in range(n)])
others = np.array(
    [
        found[i, j]
        for i, j in itertools.combinations(range(n), 2)
        if (j - i) not in (1, n - 1)
    ]
)
print(
    f"neighbours: {neighbours.mean():.3f} +- {neighbours.std():.3f} (true {coupling})"
)
print(f"others:     {others.mean():.3f} +- {others.std():.3f} (true 0)")

# %%
# **Take away:** ``IsingRBM`` takes rows of -1 and +1. Correlations mix direct couplings
# with those by way of others; differences of ``free_energy`` separate them, for any
# pair of units.
