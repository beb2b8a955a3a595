"""How an experiment is run."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import datasets

__all__ = ["Settings"]


@dataclass(frozen=True)
class Settings:
    """How an experiment is run.

    Attributes
    ----------
    quick : bool
        The short form: less than a minute, data that scikit-learn ships or that are generated, nothing is downloaded.
        Its figures show that the experiment works, and are not to be compared with published ones.
    seeds : tuple of int
        What is random is repeated with each of them.
    data : str, path-like or None
        Folder with the files of MNIST and Fashion-MNIST; None looks in the usual places and downloads them if need be.
    n_threads : int or None
        All processors if None.
    """

    quick: bool = False
    seeds: tuple[int, ...] = (0, 1, 2)
    data: str | os.PathLike[str] | None = None
    n_threads: int | None = None

    def mnist(self, subset: str) -> datasets.Dataset:
        """MNIST's images and labels: "train", "test" or "all"."""
        return datasets.load_mnist(subset, path=self.data)

    def fashion_mnist(self, subset: str) -> datasets.Dataset:
        """Fashion-MNIST's images and labels: "train", "test" or "all"."""
        return datasets.load_fashion_mnist(subset, path=self.data)

    def rng(self, seed: int) -> np.random.Generator:
        """Make the generator of one repetition, for what the experiment itself draws."""
        return np.random.default_rng((seed, 0x0F457))


def settings_of(quick: Any, seeds: Any, data: Any, n_threads: Any) -> Settings:
    """Check what a user gave and make the settings of it; a count of seeds is 0, 1, ..."""
    from .._checks import check_integer

    if isinstance(seeds, (str, bytes)) or not (hasattr(seeds, "__iter__") or hasattr(seeds, "__index__")):
        raise TypeError(f"seeds must be a count or a sequence of integers; got {seeds!r}")
    if hasattr(seeds, "__iter__"):
        chosen = tuple(check_integer("seeds", seed, 0) for seed in seeds)
        if not chosen or len(set(chosen)) < len(chosen):
            raise ValueError(f"seeds must be at least one integer, each of them once; got {seeds!r}")
    else:
        chosen = tuple(range(check_integer("seeds", seeds, 1)))
    if n_threads is not None:
        n_threads = check_integer("n_threads", n_threads, 1)
    return Settings(bool(quick), chosen, data, n_threads)
