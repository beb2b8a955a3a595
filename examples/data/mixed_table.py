"""
A table of numbers and categories, filled in
============================================

One machine models the columns of a table together, whatever they hold. Given some of
them, it draws the others: measures from a species, and the species from measures.
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
# ``mixed`` puts units of several kinds side by side: four real numbers, one group of
# three categories. Standard deviations of what is left within a species are below 1, so
# the measures are scaled up for units of variance 1.

zoom = np.r_[np.full(4, 3.0), np.ones(3)]
rbm = RBM(
    50,
    visible="mixed(gaussian*4,onehot(3)*3)",
    learning_rate=Cosine(0.02, 0.0005),
    batch_size=15,
    n_iter=2000,
    visible_bias="data",
    random_state=0,
)
rbm.fit(train * zoom)

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
# question of the kind *these columns given those*. Columns that are all categories are
# simpler with ``SoftmaxRBM``, which takes NaN itself.
