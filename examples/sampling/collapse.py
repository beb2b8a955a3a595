"""
When training collapses, and how to see it
==========================================

Persistent chains must keep up with the model. At a rate that is too large for their
number they do not, and samples look all the same. This example makes it happen on
purpose, shows which signs tell, and mends it.
"""

# %%
# Two runs on the same digits. The first has five chains and a constant rate, the second
# many chains and a rate that falls.

import warnings

import matplotlib.pyplot as plt

from fastrbm import BernoulliRBM, datasets, plot
from fastrbm.callbacks import LogLikelihood, PseudoLikelihood, ReconstructionError
from fastrbm.schedules import Cosine

digits = datasets.load_digits()
X = datasets.binarize(digits.images, "threshold")
watched = X[:300]
runs = {
    "five chains": dict(learning_rate=0.3, n_chains=5),
    "mended": dict(learning_rate=Cosine(0.1, 0.005), n_chains=500, visible_bias="data"),
}
fitted = {}
for name, options in runs.items():
    watch = [
        LogLikelihood(watched, method="exact"),
        PseudoLikelihood(watched),
        ReconstructionError(watched),
    ]
    rbm = BernoulliRBM(
        16, batch_size=50, n_iter=100, callbacks=watch, random_state=0, **options
    )
    fitted[name] = rbm.fit(X)

# %%
# The likelihood tells: the first run swings and ends below what it had after one pass.
# Pseudo-likelihood and reconstruction error, which are plotted so often, look fine in
# both.

titles = {
    "log_likelihood": "Log-likelihood: tells",
    "pseudo_likelihood": "Pseudo-likelihood: looks fine",
    "reconstruction_error": "Reconstruction error: looks fine",
}
figure, axes = plt.subplots(1, 3, figsize=(10, 3), layout="constrained")
for ax, (column, title) in zip(axes, titles.items(), strict=True):
    for name, rbm in fitted.items():
        ax.plot(rbm.history_[column], label=name)
    ax.set_title(title, fontsize=10)
    ax.set_xlabel("pass")
axes[0].legend()

# %%
# So do the samples. In the data two images differ in 17 of 64 pixels on average.


def spread(rows):
    """Return in how many pixels two rows differ, on average."""
    means = rows.mean(axis=0)
    return 2 * (means * (1 - means)).sum()


figure, axes = plt.subplots(2, 1, figsize=(9, 3.6), layout="constrained")
for ax, (name, rbm) in zip(axes, fitted.items(), strict=True):
    drawn = rbm.sample(200, 1000, random_state=1)
    differ = f"two samples differ in {spread(drawn):.0f} pixels"
    title = f"{name}: {differ} (data: {spread(X):.0f})"
    plot.plot_samples(
        rbm.reconstruct(drawn), digits.shape, 36, columns=18, title=title, ax=ax
    )

# %%
# Where it is worse still, ``fit`` says so itself.

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    BernoulliRBM(16, learning_rate=2.0, batch_size=10, n_iter=60, random_state=0).fit(X)
print(caught[0].message)

# %%
# **Take away:** watch a likelihood (`fastrbm.callbacks.LogLikelihood`) and look at
# samples. Remedies are a smaller rate or one that falls, larger minibatches, more
# chains, ``visible_bias="data"``, or ``algorithm="pt"``.
