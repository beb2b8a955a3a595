"""
An existing scikit-learn script, unchanged
==========================================

A script that was written for scikit-learn's ``BernoulliRBM`` takes one more line to run
on fastrbm. Here the same function runs before and after that line, and the time of both
is measured.
"""

# %%
# The script: features of binary digits for a logistic regression, as in scikit-learn's
# own example.

import time
import warnings

from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

warnings.simplefilter("ignore", ConvergenceWarning)
X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(
    (X > 7).astype("float32"), y, test_size=0.3, random_state=0
)


def script():
    """Train and return the seconds of the machine and the accuracy of the whole."""
    from sklearn.neural_network import BernoulliRBM

    rbm = BernoulliRBM(n_components=256, learning_rate=0.05, n_iter=20, random_state=0)
    model = make_pipeline(rbm, LogisticRegression(max_iter=300))
    start = time.perf_counter()
    rbm.fit(X_train)
    seconds = time.perf_counter() - start
    return seconds, model.fit(X_train, y_train).score(X_test, y_test)


before, accuracy_before = script()

# %%
# The one line. From here on, whoever imports scikit-learn's machine gets this
# package's.

import fastrbm

fastrbm.patch_sklearn()
after, accuracy_after = script()
fastrbm.unpatch_sklearn()

print(f"scikit-learn: {before:.2f} s, accuracy {accuracy_before:.3f}")
print(f"fastrbm:      {after:.2f} s, accuracy {accuracy_after:.3f}")

# %%
# Both sides, as bars.

import matplotlib.pyplot as plt

figure, (left, right) = plt.subplots(1, 2, figsize=(7, 2.4), layout="constrained")
names, colours = ["scikit-learn", "fastrbm"], ["#9aa5b1", "#0b5c8a"]
left.barh(names, [before, after], color=colours)
left.set(title="Seconds of 20 passes (shorter is better)", xlabel="seconds")
right.barh(names, [accuracy_before, accuracy_after], color=colours)
right.set(title="Accuracy of the classifier on top", xlim=(0.8, 1), yticks=[])
for axes in (left, right):
    axes.spines[["top", "right"]].set_visible(False)

# %%
# **Take away:** the features are as good and come sooner.
# ``fastrbm.patch_sklearn(compatible=True)`` also repeats the random draws of
# scikit-learn, so that the very numbers of an old experiment come back. In new code,
# import ``fastrbm.BernoulliRBM`` and take minibatches of 64 rows or more, which are
# faster still.
