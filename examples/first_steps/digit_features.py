"""
Features for a classifier
=========================

A machine learns what digits are made of without seeing a label. A logistic regression
on its features makes far fewer mistakes than one on the pixels.
"""

# %%
# Seven tenths of the digits to learn from, the rest to be tested on.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastrbm import BernoulliRBM, datasets, plot
from fastrbm.schedules import Cosine

digits = datasets.load_digits()
X_train, X_test, y_train, y_test = train_test_split(
    digits.images, digits.labels, test_size=0.3, random_state=0, stratify=digits.labels
)

# %%
# The machine takes the bytes as they are: grey levels are probabilities of ink, and
# ``stochastic_input`` draws from them anew in each pass. The rate falls along a cosine.

rbm = BernoulliRBM(
    300,
    algorithm="cd",
    learning_rate=Cosine(0.1, 0.005),
    batch_size=16,
    n_iter=400,
    stochastic_input=True,
    visible_bias="data",
    random_state=0,
)
rbm.fit(X_train)
strongest = np.argsort(-np.linalg.norm(rbm.components_, axis=1))[:60]
plot.plot_filters(
    rbm.components_[strongest],
    digits.shape,
    columns=15,
    title="What the 60 strongest hidden units look for: strokes",
)

# %%
# One classifier on the pixels, one on the features. A pipeline does both steps; here
# the machine is fitted already.

on_pixels = make_pipeline(
    StandardScaler(), LogisticRegression(C=0.03, max_iter=500)
).fit(X_train, y_train)
on_features = make_pipeline(StandardScaler(), LogisticRegression(C=0.03, max_iter=500))
on_features.fit(rbm.transform(X_train), y_train)
guesses = {
    "pixels": on_pixels.predict(X_test),
    "features": on_features.predict(rbm.transform(X_test)),
}
for name, guess in guesses.items():
    print(f"on {name}: {(guess != y_test).sum()} mistakes in {len(y_test)} test images")

# %%
figure, axes = plt.subplots(1, 2, figsize=(10, 4.8), layout="constrained")
for ax, (name, guess) in zip(axes, guesses.items(), strict=True):
    plot.plot_confusion_matrix(
        y_test, guess, title=f"On {name}: {(guess != y_test).sum()} mistakes", ax=ax
    )

# %%
# **Take away:** ``transform`` gives the means of the hidden units, which any estimator
# of scikit-learn takes. `fastrbm.classifiers.RBMClassifier` does both steps in one, and
# `fastrbm.classifiers.DiscriminativeRBM` trains a machine for the labels themselves.
