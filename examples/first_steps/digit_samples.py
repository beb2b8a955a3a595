"""
Digits that nobody wrote
========================

A trained machine is a distribution, and ``sample`` draws from it. A temperature makes
the draws bolder or wilder, and clamped pixels are kept while the others are filled in.
"""

# %%
# Training on black and white digits. A rate that falls to nearly nothing and many
# chains make the distribution a good one: the last passes are spent on its shape, not
# on noise.

import matplotlib.pyplot as plt
import numpy as np

from fastrbm import BernoulliRBM, datasets, plot
from fastrbm.schedules import Cosine

digits = datasets.load_digits()
X = datasets.binarize(digits.images, "threshold")
rbm = BernoulliRBM(
    128,
    learning_rate=Cosine(0.1, 0.002),
    batch_size=50,
    n_iter=300,
    n_chains=500,
    visible_bias="data",
    random_state=0,
).fit(X)

# %%
# Each sample is the end of a chain of its own, 2000 steps long. Between states of 0 and
# 1 the means of the pixels say more, so the last step is shown as probabilities
# (``reconstruct``).

samples = rbm.sample(40, 2000, random_state=1)
plot.plot_samples(
    rbm.reconstruct(samples),
    digits.shape,
    columns=10,
    title="Forty digits drawn from the machine",
)

# %%
# Below a temperature of 1 only the most probable digits are left, above it strokes
# dissolve.

figure, axes = plt.subplots(3, 1, figsize=(9, 4.2), layout="constrained")
for ax, temperature in zip(axes, (0.5, 1.0, 1.5), strict=True):
    drawn = rbm.reconstruct(
        rbm.sample(36, 2000, temperature=temperature, random_state=2)
    )
    plot.plot_samples(
        drawn, digits.shape, columns=18, title=f"Temperature {temperature}", ax=ax
    )

# %%
# Inpainting: the upper half of an image is held (numbers), the lower half is free
# (NaN). Several draws show what the machine holds possible.

shown, columns = [2, 3, 5, 8], 8
rows = []
for index in shown:
    held = np.full(X.shape[1], np.nan)
    held[:32] = X[index, :32]
    seen = np.where(np.isnan(held), 0.5, held)
    rows += [
        X[index].astype(float),
        seen,
        *rbm.sample(columns - 2, 1000, clamp=held, random_state=index),
    ]
plot.plot_samples(
    np.array(rows, dtype=float),
    digits.shape,
    columns=columns,
    title="A digit, what is held of it, and six completions",
)

# %%
# **Take away:** ``sample(n, n_steps)`` for new rows, ``temperature=`` to sharpen them,
# ``clamp=`` for missing parts. Whether 2000 steps are enough is a question with an
# answer: :ref:`sphx_glr_gallery_sampling_chains_mix.py`.
