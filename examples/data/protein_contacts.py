"""
Contacts in protein-like sequences
==================================

In families of proteins, positions that touch each other change together. A machine of
one-hot groups (Potts variables) learns a family of sequences that is made here, and
finds the touching pairs among all others.
"""

# %%
# Sequences of 20 letters from an alphabet of 6. Ten pairs of positions prefer equal
# letters, half of them strongly. Strong contacts hand on what they know, so that
# positions which never touch are correlated more than those of a weak contact.

import itertools

import matplotlib.pyplot as plt
import numpy as np

from fastrbm import SoftmaxRBM
from fastrbm.schedules import Cosine

rng = np.random.default_rng(1)
length, letters, n_sequences = 20, 6, 4000
contacts = [
    (0, 7),
    (7, 14),
    (14, 3),
    (3, 10),
    (10, 17),
    (1, 12),
    (12, 19),
    (19, 5),
    (5, 16),
    (16, 8),
]
strengths = [2.0] * 5 + [1.0] * 5
neighbours = {site: [] for site in range(length)}
for (first, second), strength in zip(contacts, strengths, strict=True):
    neighbours[first].append((second, strength))
    neighbours[second].append((first, strength))
fields = 0.5 * rng.normal(size=(length, letters))
rows = np.arange(n_sequences)
family = rng.integers(letters, size=(n_sequences, length))
for _sweep in range(200):
    for site in range(length):
        energy = np.tile(fields[site], (n_sequences, 1))
        for other, strength in neighbours[site]:
            energy[rows, family[:, other]] += strength
        family[:, site] = (energy + rng.gumbel(size=energy.shape)).argmax(
            axis=1
        )  # a draw from the softmax
print("".join("ACDEFG"[letter] for letter in family[0]), "is the first of", n_sequences)

# %%
# Hidden units of two values, one softmax group for each position.

rbm = SoftmaxRBM(
    40,
    n_categories=letters,
    learning_rate=Cosine(0.2, 0.005),
    batch_size=50,
    n_iter=100,
    visible_bias="data",
    random_state=0,
).fit(family)
print("weights, hidden units by letters at positions:", rbm.components_.shape)

# %%
# How strongly do two positions hold each other? The free energies of all pairs of
# letters, over a sample of sequences, with the part of either position alone taken out;
# the Frobenius norm sums them up, as is usual for proteins.


def hold(i, j, sample=family[:200]):
    """Return the strength between two positions."""
    table = np.empty((letters, letters))
    for a, b in itertools.product(range(letters), repeat=2):
        changed = sample.copy()
        changed[:, i], changed[:, j] = a, b
        table[a, b] = -rbm.free_energy(changed).mean()
    table -= table.mean(axis=0) + table.mean(axis=1, keepdims=True) - table.mean()
    return np.linalg.norm(table)


onehot = np.eye(letters)[family].reshape(n_sequences, -1)
covariance = np.cov(onehot.T).reshape(length, letters, length, letters)
correlated = np.linalg.norm(covariance, axis=(1, 3)) * (1 - np.eye(length))
held = np.zeros((length, length))
for i, j in itertools.combinations(range(length), 2):
    held[i, j] = held[j, i] = hold(i, j)

# %%
figure, axes = plt.subplots(1, 2, figsize=(9, 4.2), layout="constrained")
pairs = list(itertools.combinations(range(length), 2))
true = {tuple(sorted(pair)) for pair in contacts}
for ax, matrix, name in (
    (axes[0], correlated, "Covariance"),
    (axes[1], held, "The machine"),
):
    best = sorted(pairs, key=lambda pair: -matrix[pair])[: len(contacts)]
    right = sum(pair in true for pair in best)
    ax.imshow(matrix, cmap="Greys")
    ax.scatter(
        *np.array(sorted(true)).T[::-1],
        s=60,
        facecolors="none",
        edgecolors="#c0392b",
        label="contact",
    )
    ax.set(
        title=f"{name}: {right} of its first {len(contacts)} pairs are contacts",
        xlabel="position",
        ylabel="position",
    )
axes[0].legend(loc="upper right")

# %%
# **Take away:** free energies tell direct from indirect, as long as contacts are strong
# enough for the number of sequences: with weak ones of 0.8 in place of 1 the machine
# finds one of the five. Sequences are columns of categories for ``SoftmaxRBM``; gaps
# can be a category or NaN. ``PottsRBM`` is another thing: one hidden unit of many
# states, which sorts rows into clusters.
