"""
The kernels in a loop of your own
=================================

Research needs rules that no library has. ``Model`` is the machine without the training:
its means, energies and free energies come from the native kernels, and the loop around
them is yours.
"""

# %%
# A model is three arrays. Here the loop is contrastive divergence in which each hidden
# unit sees a window of 4 x 4 pixels only, which is no option of the estimators.

import matplotlib.pyplot as plt
import numpy as np

from fastrbm import BernoulliRBM, Model, datasets, plot
from fastrbm.likelihood import log_partition

digits = datasets.load_digits()
X = datasets.binarize(digits.images, "threshold").astype(np.float32)
corners = [(row, column) for row in range(5) for column in range(5)]


def windows(n_hidden, side=4):
    """Return which pixels each hidden unit may see: windows by turns."""
    seen = np.zeros((n_hidden, *digits.shape), dtype=np.float32)
    for unit in range(n_hidden):
        row, column = corners[unit % len(corners)]
        seen[unit, row : row + side, column : column + side] = 1
    return seen.reshape(n_hidden, -1)


def train(seen, rate=0.1, n_iter=60, seed=0):
    """Return a model trained by CD-1, with weights only where a unit sees."""
    rng = np.random.default_rng(seed)

    def draw(means):
        return (rng.random(means.shape, dtype=np.float32) < means).astype(np.float32)

    weights = 0.01 * rng.standard_normal(seen.shape, dtype=np.float32) * seen
    mean = X.mean(axis=0).clip(0.01, 0.99)
    visible, hidden = np.log(mean / (1 - mean)), np.zeros(len(seen), dtype=np.float32)
    for _ in range(n_iter):
        for rows in np.array_split(rng.permutation(X), len(X) // 50):
            model = Model(weights, visible, hidden)
            h = model.mean_hidden(rows)
            v = draw(model.mean_visible(draw(h)))
            h_model = model.mean_hidden(v)
            weights = weights + rate * seen * (h.T @ rows - h_model.T @ v) / len(rows)
            visible = visible + rate * (rows - v).mean(axis=0)
            hidden = hidden + rate * (h - h_model).mean(axis=0)
    return Model(weights, visible, hidden)


everywhere, local = train(np.ones((50, 64), dtype=np.float32)), train(windows(50))

# %%
# Both are models like any other: free energies, samples and partition sums are those of
# the package.

figure, axes = plt.subplots(1, 2, figsize=(10, 4.4), layout="constrained")
for ax, model, name in (
    (axes[0], everywhere, "Units that see all"),
    (axes[1], local, "Units with windows"),
):
    log_z = log_partition(
        model, "smc", n_chains=200, n_temperatures=300, random_state=0
    )
    nats = -model.free_energy(X).mean() - log_z.value
    n_weights = np.count_nonzero(model.weights)
    print(f"{name}: {n_weights} weights, {nats:.2f} nats per image")
    plot.plot_filters(
        model.weights,
        digits.shape,
        columns=10,
        title=f"{name}: {n_weights} weights, {nats:.1f} nats",
        ax=ax,
    )

# %%
# An estimator takes parameters that are set by hand, and has all its methods at once.

rbm = BernoulliRBM(len(local.weights), random_state=0)
rbm.components_, rbm.intercept_visible_, rbm.intercept_hidden_ = (
    local.weights,
    local.visible_bias,
    local.hidden_bias,
)
plot.plot_samples(
    rbm.reconstruct(rbm.sample(24, 1000)),
    digits.shape,
    columns=12,
    title="Samples of the model with windows",
)

# %%
# **Take away:** build a ``Model`` for each set of weights, it costs nothing but the
# check of its arrays. What the estimators can do by themselves (:doc:`/training`) is
# faster there, as whole passes are one native call.
