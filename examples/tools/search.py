"""
A search for good options
=========================

``Search`` tries options by Optuna, measures each on rows held back, and stops trials
early that fall behind. The best model is kept as it was trained.
"""

# %%
# Twenty-four trials, four side by side. The likelihood on held-back rows is what
# counts.

import matplotlib.pyplot as plt
import numpy as np

from fastrbm import BernoulliRBM, datasets
from fastrbm.tuning import Search

digits = datasets.load_digits()
X = datasets.binarize(digits.images, "threshold")
space = {
    "learning_rate": (0.003, 1.0, "log"),
    "n_components": [8, 12, 16],
    "batch_size": [10, 50, 200],
}
search = Search(
    BernoulliRBM(n_iter=30, visible_bias="data"), space, n_trials=24, random_state=0
).fit(X)
print(f"{search.best_score_:.2f} nats with {search.best_params_}")

# %%
# Every trial is in ``results_``.

results = search.results_
rates, sizes, scores = (
    np.array(results[column]) for column in ("learning_rate", "batch_size", "score")
)
done = np.array(results["state"]) == "complete"
figure, ax = plt.subplots(figsize=(7, 3.4), layout="constrained")
ax.semilogx(rates[~done], scores[~done], "x", color="#9aa5b1", label="ended early")
for size, colour in ((10, "#0b5c8a"), (50, "#e08e0b"), (200, "#3c8d40")):
    chosen = done & (sizes == size)
    ax.semilogx(
        rates[chosen], scores[chosen], "o", color=colour, label=f"{size} rows a batch"
    )
ax.set(
    title=f"{done.sum()} of {len(done)} trials ran to their ends",
    xlabel="learning rate",
    ylabel="nats per held-back image",
)
ax.legend()

# %%
# **Take away:** the score of the best of many flatters it: measure
# ``search.best_estimator_`` once more on rows of its own. With
# ``storage="search.journal"`` a search goes on after a stop. From the shell: ``fastrbm
# tune``.
