"""
Runs in MLflow
==============

A callback writes options, curves, the model file and pictures of a fit to MLflow,
whatever it is set to. Here that is a file in a temporary folder.
"""

# %%
# Three fits, three runs.

import logging
import os
import tempfile
from pathlib import Path

logging.getLogger("alembic").setLevel(logging.WARNING)
logging.getLogger("mlflow").setLevel(logging.WARNING)

from fastrbm import BernoulliRBM, datasets
from fastrbm.callbacks import LogLikelihood
from fastrbm.tracking import MLflowCallback

digits = datasets.load_digits()
X = datasets.binarize(digits.images, "threshold")
folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
before = os.getcwd()
os.chdir(folder.name)
store = f"sqlite:///{Path(folder.name, 'mlflow.db')}"
for rate in (0.01, 0.1, 1.0):
    callbacks = [
        LogLikelihood(X[:300]),
        MLflowCallback("digits", tracking_uri=store, image_shape=digits.shape),
    ]
    BernoulliRBM(
        12,
        learning_rate=rate,
        batch_size=50,
        n_iter=20,
        callbacks=callbacks,
        random_state=0,
    ).fit(X)

# %%
# What MLflow has of them. ``mlflow ui`` shows the same in a browser.

import matplotlib.pyplot as plt
from mlflow import MlflowClient

client = MlflowClient(tracking_uri=store)
experiment = client.get_experiment_by_name("digits")
figure, ax = plt.subplots(figsize=(7, 3.2), layout="constrained")
for run in reversed(client.search_runs([experiment.experiment_id])):
    curve = client.get_metric_history(run.info.run_id, "log_likelihood")
    ax.plot(
        [point.step for point in curve],
        [point.value for point in curve],
        label=run.data.params["learning_rate"],
    )
    files = [entry.path for entry in client.list_artifacts(run.info.run_id)]
    rate = run.data.params["learning_rate"]
    print(f"rate {rate}: {run.info.status}, {len(run.data.params)} options, {files}")
ax.set(
    title="Log-likelihood of three runs, read back from MLflow",
    xlabel="pass",
    ylabel="nats per image",
)
ax.legend(title="learning rate")

os.chdir(before)
folder.cleanup()

# %%
# **Take away:** one callback, nothing else to change. A store that cannot be reached is
# a warning, and training goes on. The callback among those of a `fastrbm.tuning.Search`
# makes a run of every trial.
