"""
A likelihood with its error bar
===============================

The probability of an image needs a sum over all states, which is why most programs do
without it. fastrbm has it: exact for small machines, annealed with an error bar for
large ones. This example holds one against the other.
"""

# %%
# Sixteen hidden units have 65 536 states, so the sum can be exact. The annealed
# estimate does not know that.

import matplotlib.pyplot as plt
import numpy as np

from fastrbm import BernoulliRBM, datasets
from fastrbm.schedules import Cosine

digits = datasets.load_digits()
X = datasets.binarize(digits.images, "threshold")
X_train, X_test = X[:1400], X[1400:]

common = dict(
    learning_rate=Cosine(0.1, 0.002),
    batch_size=50,
    n_iter=100,
    visible_bias="data",
    random_state=0,
)
small = BernoulliRBM(16, **common).fit(X_train)
exact = small.log_partition("exact")
print(f"exact      log Z = {exact.value:.4f}")
estimates = {}
for method in ("mais", "smc", "bracket", "tempering"):
    estimates[method] = found = small.log_partition(
        method, n_chains=200, n_temperatures=300, random_state=0
    )
    low, high = found.interval
    print(f"{method:10} log Z = {found.value:.4f}, 95 % from {low:.4f} to {high:.4f}")

# %%
# All intervals hold the exact value.

figure, ax = plt.subplots(figsize=(7, 2.8), layout="constrained")
for row, found in enumerate(estimates.values()):
    low, high = found.interval
    ax.plot(
        [low, high],
        [row, row],
        color="#0b5c8a",
        linewidth=5,
        alpha=0.4,
        solid_capstyle="butt",
    )
    ax.plot(found.value, row, "o", color="#0b5c8a")
ax.axvline(exact.value, color="black", linewidth=1, label="exact")
ax.set(
    title="Four ways to estimate log Z, and the truth",
    xlabel="log Z, nats",
    yticks=range(4),
    ylim=(-0.6, 3.6),
)
ax.set_yticklabels(estimates)
ax.legend(loc="lower right")

# %%
# With log Z known, models can be compared by what they say of rows they have not seen.
# The baseline has no hidden units.

shares = (X_train.mean(axis=0) * len(X_train) + 1) / (len(X_train) + 2)
baseline = (X_test * np.log(shares) + (1 - X_test) * np.log(1 - shares)).sum(axis=1)
scores = {"no hidden\nunits": baseline}
for n in (4, 16, 64, 256):
    rbm = small if n == 16 else BernoulliRBM(n, **common).fit(X_train)
    scores[f"{n}"] = rbm.log_likelihood(X_test)
means = [values.mean() for values in scores.values()]
errors = [1.96 * values.std() / np.sqrt(len(values)) for values in scores.values()]

figure, ax = plt.subplots(figsize=(7, 3), layout="constrained")
ax.errorbar(range(len(means)), means, errors, fmt="o", capsize=4, color="#0b5c8a")
ax.set(
    title="Held-out images: higher is better",
    ylabel="nats per image",
    xlabel="hidden units",
)
ax.set_xticks(range(len(means)), scores)

# %%
# **Take away:** ``rbm.log_likelihood(X)`` is in nats per row and can be compared
# between models. Where an estimate may be far off, ``reliable`` is False and a warning
# says why. `fastrbm.likelihood.log_partition` lists the methods.
