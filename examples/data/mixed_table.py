"""
A table of numbers and categories, filled in
============================================

One machine models the columns of a table together, whatever they hold. Given some of
them, it draws the others: entries that are missing, the species from measures, and
measures from a species.
"""

# %%
# The irises of scikit-learn: four measures, standardised, and the species as three
# units of which one is on.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_iris
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from fastrbm import RBM
from fastrbm.schedules import Cosine

iris = load_iris()
scaler = StandardScaler()
table = np.hstack([scaler.fit_transform(iris.data), np.eye(3)[iris.target]])
train, test, kind_train, kind_test = train_test_split(
    table, iris.target, test_size=0.3, random_state=0, stratify=iris.target
)

# %%
# ``mixed`` puts units of several kinds side by side, each times the columns that it
# takes: four real numbers in four columns, a group of three categories in three. The
# machine is trained on complete rows. Standard deviations of what is left within a
# species are below 1, so the measures are scaled up for units of variance 1.

zoom = np.r_[np.full(4, 3.0), np.ones(3)]
rbm = RBM(
    50,
    visible="mixed(gaussian*4,onehot(3)*3)",
    learning_rate=Cosine(0.02, 0.0005),
    batch_size=15,
    n_iter=1000,
    visible_bias="data",
    random_state=0,
)
rbm.fit(train * zoom)

# %%
# Missing entries: three in ten of the new rows are taken away, a species as a whole. In
# ``clamp`` NaN is a free unit, so that each row is drawn given the entries that it has.
# The mean of several draws is the best guess; a single draw errs more, and scatters as
# the data do. The usual way, the mean of the column, is what a guess has to beat.

rng = np.random.default_rng(0)
gone = rng.random((len(test), 5)) < 0.3
holes = np.where(gone[:, [0, 1, 2, 3, 4, 4, 4]], np.nan, test)
n_draws = 50
draws = rbm.sample(
    n_draws * len(test), 200, clamp=np.tile(holes * zoom, (n_draws, 1)), random_state=0
)
draws = draws.reshape(n_draws, *test.shape) / zoom
filled = draws.mean(axis=0)  # entries that are there are kept


def error(guess):
    """Root of the mean square over the measures that were taken away."""
    return np.sqrt(np.mean((guess - test)[:, :4][gone[:, :4]] ** 2))


print("error in standard deviations of the columns:")
print(f"  means of the columns   {error(train.mean(axis=0)):.2f}")
print(f"  means of 50 draws      {error(filled):.2f}")
print(f"  single draws           {np.mean([error(draw) for draw in draws]):.2f}")
found = filled[:, 4:].argmax(axis=1) == kind_test
print(f"  species: {found[gone[:, 4]].sum()} of {gone[:, 4].sum()} are right")

# %%
# Species from measures: of the three ways to complete a row, the one of the smallest
# free energy is the most probable.

completed = np.repeat(test[None], 3, axis=0)
completed[:, :, 4:] = np.eye(3)[:, None, :]
guess = np.argmin([rbm.free_energy(rows * zoom) for rows in completed], axis=0)
right = (guess == kind_test).mean()
print(f"species from measures: {right:.1%} of {len(test)} new flowers are right")

# %%
# Measures from the species: hold the group, leave the measures free (NaN), and draw
# flowers.

figure, axes = plt.subplots(
    1, 2, figsize=(9, 3.8), sharex=True, sharey=True, layout="constrained"
)
for kind, name in enumerate(iris.target_names):
    clamp = np.r_[np.full(4, np.nan), np.eye(3)[kind]]
    drawn = scaler.inverse_transform(
        (rbm.sample(60, 300, clamp=clamp, random_state=kind) / zoom)[:, :4]
    )
    measured = iris.data[iris.target == kind]
    axes[0].scatter(measured[:, 0], measured[:, 2], s=14, label=name)
    axes[1].scatter(drawn[:, 0], drawn[:, 2], s=14)
axes[0].set(
    title="Flowers that were measured",
    xlabel="sepal length, cm",
    ylabel="petal length, cm",
)
axes[1].set(
    title="Flowers that the machine draws for a species", xlabel="sepal length, cm"
)
axes[0].legend()

# %%
# **Take away:** ``RBM(visible="mixed(...)")`` and ``sample(clamp=)`` answer any
# question of the kind *these columns given those*, and fill in a table whose rows have
# different holes by the means of some draws. Columns that are all categories are
# simpler with ``SoftmaxRBM``, which takes NaN itself.
