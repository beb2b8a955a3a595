"""Search of hyperparameters on held-out rows, with Optuna.

Needs ``pip install "fastrbm[tuning]"``. Trials that diverge or fail are counted and the search goes on; trials that are
behind are ended early; a search in a file goes on where it stopped, in several processes if you like.
"""

from .search import Search
from .spaces import default_space, register_space

__all__ = ["Search", "default_space", "register_space"]
