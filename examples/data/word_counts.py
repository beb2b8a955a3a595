"""
Counts of words
===============

Texts as counts of words: here, the descriptions of all estimators of scikit-learn.
Hidden units become topics, and texts with similar topics are about similar things.
"""

# %%
# 200 words, counted up to 7 times in a text.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.utils.discovery import all_estimators

from fastrbm import RBM
from fastrbm.schedules import Cosine

found = [
    (name, kind.__doc__, kind.__module__.split(".")[1])
    for name, kind in all_estimators()
    if kind.__doc__
]
names, texts, families = (list(column) for column in zip(*found, strict=True))
vectorizer = CountVectorizer(
    stop_words="english",
    token_pattern=r"(?u)\b[a-z]{4,}\b",
    min_df=10,
    max_df=0.5,
    max_features=200,
)
counts = np.minimum(vectorizer.fit_transform(texts).toarray(), 7)
words = vectorizer.get_feature_names_out()
zeros = np.mean(counts == 0)
print(f"{len(texts)} texts, {len(words)} words, {zeros:.0%} of the counts are 0")

# %%
# A count up to 7 is a binomial unit: seven coins of the same kind.

rbm = RBM(
    20,
    visible="binomial(7)",
    algorithm="cd",
    learning_rate=Cosine(0.02, 0.001),
    batch_size=20,
    n_iter=600,
    visible_bias="data",
    random_state=0,
).fit(counts)
topics = rbm.transform(counts)

# %%
# Words that a hidden unit favours most, of the units that differ most from text to
# text.

varied = np.argsort(-topics.std(axis=0))[:6]
for unit in varied:
    print(" ".join(words[k] for k in np.argsort(-rbm.components_[unit])[:9]))

# %%
# Texts near each other in topics: the nearest of some.

unit_length = topics / np.linalg.norm(topics, axis=1, keepdims=True)
for name in ("KMeans", "RandomForestClassifier", "Lasso", "PCA"):
    nearest = np.argsort(-unit_length @ unit_length[names.index(name)])[1:4]
    print(f"{name}: {', '.join(names[k] for k in nearest)}")

# %%
shown = ["cluster", "ensemble", "linear_model", "decomposition"]
order = [k for family in shown for k, own in enumerate(families) if own == family]
figure, ax = plt.subplots(figsize=(9, 3.6), layout="constrained")
image = ax.imshow(topics[order].T, aspect="auto", cmap="Blues", vmin=0, vmax=1)
edges = np.cumsum([0] + [families.count(family) for family in shown])
for edge in edges[1:-1]:
    ax.axvline(edge - 0.5, color="black", linewidth=1)
ax.set_xticks((edges[:-1] + edges[1:]) / 2, shown)
ax.set(
    title="Topics of texts: each family of estimators has its own pattern",
    ylabel="hidden unit",
)
figure.colorbar(image, label="mean of the unit")

# %%
# **Take away:** counts are ``visible="binomial(n)"``, rates and intensities that have
# no upper end are ``"relu"``. Large and sparse matrices of zeros and ones go to
# ``BernoulliRBM`` as they are.
