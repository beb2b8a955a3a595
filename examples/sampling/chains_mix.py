"""
Chains that mix, and chains that do not
=======================================

A Gibbs chain forgets its start as fast as it crosses between the modes of the model.
Here is a machine with two modes that no Gibbs chain leaves, what diagnostics say of it,
and how tempering crosses.
"""

# %%
# Rows are noisy copies of two opposite patterns. The machine that learns them has two
# deep wells.

import matplotlib.pyplot as plt
import numpy as np

from fastrbm import BernoulliRBM
from fastrbm.analysis import chain_health
from fastrbm.samplers import Tempering, temper
from fastrbm.schedules import Cosine

rng = np.random.default_rng(0)
pattern = rng.random(24) < 0.5
X = np.where(rng.random((2000, 1)) < 0.6, pattern, ~pattern) ^ (
    rng.random((2000, 24)) < 0.02
)
rbm = BernoulliRBM(
    8,
    algorithm="exact",
    learning_rate=Cosine(0.1, 0.002),
    batch_size=100,
    n_iter=300,
    visible_bias="data",
    random_state=0,
).fit(X)

# %%
# How near a state is to the first pattern, along chains of 1000 sweeps. Half of them
# start in each well. ``gibbs`` does one sweep.

n_chains, n_steps = 8, 1000
state = np.where(np.arange(n_chains)[:, None] % 2, pattern, ~pattern)
overlap = np.empty((n_chains, n_steps))
for step in range(n_steps):
    state = rbm.gibbs(state)
    overlap[:, step] = (state == pattern).mean(axis=1)
gibbs_health = chain_health(overlap)
print(gibbs_health)

# %%
# Parallel tempering lets states heat up, cross, and cool down again, and leaves the
# distribution as it is.

found = temper(
    rbm.model_,
    8 * n_steps,
    1,
    n_chains=n_chains,
    sampler=Tempering(n_temperatures=10),
    random_state=0,
)
crossing = (found.visible == pattern).mean(axis=1).reshape(n_steps, n_chains).T
print(chain_health(crossing))
print(f"{found.round_trips} journeys to the hottest temperature and back")

# %%
tempered_health = chain_health(crossing)
titles = (
    f"Gibbs: every chain stays where it began (R-hat {gibbs_health.r_hat.max():.1f})",
    f"Tempering: both wells are visited (R-hat {tempered_health.r_hat.max():.3f})",
)
figure, axes = plt.subplots(2, 1, figsize=(8, 4), sharex=True, layout="constrained")
for ax, traces, title in zip(axes, (overlap, crossing), titles, strict=True):
    for chain in range(3):
        ax.plot(traces[chain], linewidth=0.7)
    ax.set(title=title, ylabel="overlap", ylim=(-0.05, 1.05))
axes[1].set_xlabel("sweep, or round")

# %%
# Which share of the probability is in the first well? The machine is small enough to
# know: the sum over its 256 hidden states is exact.

exact = rbm.log_partition("exact", probabilities=True)
hidden = (np.arange(256)[:, None] >> np.arange(8) & 1).astype(float)
near = (rbm.model_.mean_visible(hidden) > 0.5) == pattern
share = np.exp(exact.log_probabilities)[near.mean(axis=1) > 0.5].sum()
print(f"exact {share:.3f}, tempering {(crossing > 0.5).mean():.3f}")
print(f"Gibbs {(overlap > 0.5).mean():.3f}, as the chains were started")

# %%
# **Take away:** start chains apart and look at R-hat, which
# `fastrbm.analysis.chain_health` computes: below 1.01 they agree. Where Gibbs chains do
# not mix, `fastrbm.samplers.temper` draws samples that say themselves whether they can
# be trusted.
