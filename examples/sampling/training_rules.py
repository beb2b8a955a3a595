"""
Five ways to train, on one plot
===============================

Algorithms differ in where they take the model's half of the gradient from. With eight
hidden units all likelihoods are exact, so the plot shows the algorithms and nothing
else. Bands are the range over four seeds.
"""

# %%
# Bars and stripes: all images of 4 x 4 pixels whose rows, or whose columns, are each of
# one colour. No model can have more than the negative entropy of these images.

import itertools

import matplotlib.pyplot as plt
import numpy as np

from fastrbm import BernoulliRBM, Tempering
from fastrbm.callbacks import LogLikelihood

lines = np.array(list(itertools.product((0, 1), repeat=4)), dtype=np.uint8)
bars = np.repeat(lines[:, None, :], 4, axis=1)
X = np.concatenate((bars, bars.transpose(0, 2, 1))).reshape(32, 16)
shares = np.unique(X, axis=0, return_counts=True)[1] / len(X)
best = (shares * np.log(shares)).sum()

# %%
# Same weights to start from, same rate, all images in each minibatch, 32 chains.

rules = {
    "exact gradient": dict(algorithm="exact"),
    "parallel tempering": dict(algorithm=Tempering(5), n_chains=32),
    "CD-10": dict(algorithm="cd", n_gibbs_steps=10),
    "CD-1": dict(algorithm="cd"),
    "PCD-1": dict(algorithm="pcd", n_chains=32),
}
curves = {}
for name, options in rules.items():
    fits = []
    for seed in range(4):
        watch = LogLikelihood(X, method="exact", every=100)
        rbm = BernoulliRBM(
            8, learning_rate=0.2, batch_size=32, n_iter=3000, random_state=seed
        )
        rbm.set_params(callbacks=watch, **options)
        fits.append(rbm.fit(X).history_["log_likelihood"][99::100])
    curves[name] = np.array(fits)

# %%
# CD-1 stops far below: it follows another function than the likelihood. Ten sweeps make
# that error smaller. PCD-1 has no such error, but at this rate
# its 32 chains do not keep up. Chains at five temperatures do.

figure, ax = plt.subplots(figsize=(7.5, 4), layout="constrained")
updates = np.arange(100, 3001, 100)
for name, curve in curves.items():
    (line,) = ax.plot(updates, curve.mean(axis=0), label=name)
    ax.fill_between(
        updates, curve.min(axis=0), curve.max(axis=0), color=line.get_color(), alpha=0.2
    )
ax.axhline(best, color="0.5", linestyle="--", linewidth=1)
ax.annotate(
    "entropy of the data", (100, best), xytext=(0, 3), textcoords="offset points"
)
ax.set(xlabel="updates", ylabel="nats an image", ylim=(-9, -3))
ax.set_title("Exact log-likelihood: how near each algorithm comes")
ax.legend(loc="lower right", ncols=2)

# %%
# **Take away:** CD is biased, the less the more sweeps it takes. PCD is not, as long as
# its chains keep up: smaller or falling rates, more chains. Tempering keeps up where
# plain chains do not, and costs a sweep for each temperature.
