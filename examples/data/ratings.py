"""
Ratings with missing entries
============================

People rate few of the films. A ``SoftmaxRBM`` learns from the stars that are there and
predicts the others, as distributions over one to five stars. Hidden ratings tell how
well.
"""

# %%
# The data are made here: 2000 people and 60 films with three hidden tastes, three
# ratings in ten are there.

import matplotlib.pyplot as plt
import numpy as np

from fastrbm import SoftmaxRBM
from fastrbm.schedules import Cosine

rng = np.random.default_rng(0)
n_people, n_films = 2000, 60
taste, theme = rng.normal(size=(n_people, 3)), rng.normal(size=(n_films, 3))
liking = (
    3.2
    + 0.8 * taste @ theme.T
    + 0.5 * rng.normal(size=n_films)
    + 0.3 * rng.normal(size=(n_people, n_films))
)
stars = np.clip(np.rint(liking), 1, 5)
there = rng.random(stars.shape) < 0.3
hidden = there & (rng.random(stars.shape) < 0.1)  # kept back for the test
X = np.where(
    there & ~hidden, stars - 1, np.nan
)  # categories 0..4, NaN where there is no rating
print(f"{np.isfinite(X).sum()} ratings to learn from, {hidden.sum()} to be predicted")

# %%
rbm = SoftmaxRBM(
    30,
    n_categories=5,
    learning_rate=Cosine(0.3, 0.01),
    batch_size=50,
    n_iter=100,
    visible_bias="data",
    random_state=0,
).fit(X)
values = np.arange(1, 6)
predicted = rbm.predict_expected(X, values=values)[hidden]

film_mean = np.broadcast_to(np.nanmean(X, axis=0) + 1, X.shape)[hidden]
truth = stars[hidden]
guesses = {"mean of\nthe film": film_mean, "SoftmaxRBM": predicted}
errors = {
    name: np.sqrt(np.mean((guess - truth) ** 2)) for name, guess in guesses.items()
}
for name, error in errors.items():
    print(f"{' '.join(name.split())}: root mean square error {error:.3f} stars")

# %%
# A distribution says more than its mean. Below, the predictions for four of the hidden
# ratings; the true stars are marked.

figure, axes = plt.subplots(
    1, 5, figsize=(11, 2.6), layout="constrained", width_ratios=[1.6, 1, 1, 1, 1]
)
axes[0].bar(errors.keys(), errors.values(), color=["#9aa5b1", "#0b5c8a"])
axes[0].set_title("Error in stars", fontsize=10)
axes[0].tick_params(axis="x", labelsize=8)
people, films = np.nonzero(hidden)
probabilities = rbm.predict_proba(X)
for ax, k in zip(axes[1:], (2, 30, 52, 71), strict=True):
    bars = ax.bar(values, probabilities[people[k], films[k]], color="#9aa5b1")
    bars[int(truth[k]) - 1].set_color("#0b5c8a")
    ax.set_title(f"person {people[k]}, film {films[k]}", fontsize=9)
    ax.set(xticks=values, ylim=(0, 1))
    if ax is not axes[1]:
        ax.set_yticks([])

# %%
# **Take away:** NaN is a missing entry, and that is all there is to do.
# ``predict_expected`` has the smallest squared error, ``predict_proba`` the whole
# distribution, ``impute`` a complete table.
