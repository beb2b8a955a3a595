"""Draws digits.png, the picture of the README, beside itself: ``python docs/digits.py`` trains the machine, too."""

from pathlib import Path

import matplotlib.pyplot as plt

from fastrbm import BernoulliRBM, datasets, plot
from fastrbm.schedules import Cosine


def main() -> None:
    """Train on scikit-learn's digits and draw forty of the machine's own beside forty of theirs."""
    digits = datasets.load_digits()
    X = datasets.binarize(digits.images, "threshold")
    rbm = BernoulliRBM(128, learning_rate=Cosine(0.1, 0.002), batch_size=50, n_iter=300)
    rbm.set_params(n_chains=500, visible_bias="data", random_state=0).fit(X)
    drawn = rbm.reconstruct(rbm.sample(40, n_steps=2000))
    figure, axes = plt.subplots(1, 2, figsize=(8, 2.7), layout="constrained")
    rows = (
        (X[:40], "Forty digits that the machine has seen"),
        (drawn, "Forty digits drawn from it, which nobody wrote"),
    )
    for ax, (images, title) in zip(axes, rows, strict=True):
        plot.plot_samples(images, digits.shape, columns=8, title=title, ax=ax)
    figure.savefig(Path(__file__).with_suffix(".png"), dpi=100, pil_kwargs={"optimize": True})


if __name__ == "__main__":
    main()
