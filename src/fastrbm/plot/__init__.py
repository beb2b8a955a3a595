"""Pictures of what a machine has learnt, what it does with data, and how well.

Matplotlib is needed only when one of these functions runs. A figure that is made here is one of ``pyplot``: notebooks
show it, and so does ``plt.show()``; close many of them by `close`. Threads, and programs without ``pyplot``, draw on
axes of their own ``matplotlib.figure.Figure``, as ``ax``.
"""

from ._classes import plot_activations, plot_confusion_matrix, plot_embedding, plot_hidden_states
from ._curves import plot_curves, plot_distributions
from ._figures import close, save_png
from ._machines import plot_filters, plot_learning_curve, plot_samples

__all__ = [
    "close",
    "plot_activations",
    "plot_confusion_matrix",
    "plot_curves",
    "plot_distributions",
    "plot_embedding",
    "plot_filters",
    "plot_hidden_states",
    "plot_learning_curve",
    "plot_samples",
    "save_png",
]
