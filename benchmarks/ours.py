"""fastrbm through its public API, behind the interface that the peers have."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from .peers import Availability, Parameters, Training


class FastRBM:
    """The side under test, called as a user would call it."""

    name = "fastrbm"
    shuffles = True

    def __init__(self, device: str = "cpu") -> None:
        self.device = device

    def available(self) -> Availability:
        """Say whether it can run here."""
        try:
            import fastrbm  # noqa: F401
        except ImportError as error:
            return Availability(False, f"not installed: {error}")
        return Availability(True)

    def supports(self, training: Training) -> Availability:
        """Say whether it has this algorithm."""
        return Availability(True)

    def version(self) -> str:
        """Return the version of the package."""
        from importlib.metadata import version

        return version("fastrbm")

    def unfitted(self, training: Training, seed: int, threads: int, shuffle: bool = True):
        """Return an estimator that is about to do this run."""
        from fastrbm import BernoulliRBM

        return BernoulliRBM(
            n_components=training.n_hidden,
            learning_rate=training.rate,
            batch_size=training.batch,
            n_iter=training.n_epochs,
            random_state=seed,
            algorithm=training.algorithm,
            n_gibbs_steps=training.k,
            precision="fast" if training.fast else "full",
            hidden_statistics="sampled" if training.sampled else "mean",
            shuffle=shuffle,
            n_threads=threads,
            device=self.device,
        )

    def fit_seeds(
        self, X: np.ndarray, training: Training, seeds: Iterable[int], threads: int, at_once: bool
    ) -> np.ndarray:
        """Return the weights of a model for each seed, fitted by `fastrbm.fit_many` or one after another."""
        from fastrbm import fit_many

        models = [self.unfitted(training, seed, threads) for seed in seeds]
        if at_once:
            fit_many(models, X)
        else:
            for model in models:
                model.fit(X)
        return np.stack([model.components_ for model in models])

    def fit_epochs(
        self, X: np.ndarray, training: Training, *, seed: int, threads: int, shuffle: bool = True
    ) -> Parameters:
        """Train from scratch; see `Peer`."""
        model = self.unfitted(training, seed, threads, shuffle).fit(X)
        return Parameters(model.components_, model.intercept_hidden_, model.intercept_visible_)

    def _fitted(self, parameters: Parameters, seed: int, threads: int):
        from fastrbm import BernoulliRBM

        model = BernoulliRBM(n_components=len(parameters.b), random_state=seed, n_threads=threads, device=self.device)
        model.components_ = parameters.W
        model.intercept_hidden_, model.intercept_visible_ = parameters.b, parameters.a
        model.n_features_in_, model.input_scale_ = len(parameters.a), 1.0
        return model

    def transform(self, parameters: Parameters, X: np.ndarray, *, threads: int) -> np.ndarray:
        """Return p(h = 1 | v) of every row."""
        return self._fitted(parameters, 0, threads).transform(X)

    def ais(self, parameters: Parameters, n_chains: int, n_temperatures: int, *, seed: int, threads: int) -> np.ndarray:
        """Return log weights plus the log partition sum at the start; the path of the peers."""
        from fastrbm._kernels import get_backend
        from fastrbm._kernels.draws import Key
        from fastrbm.likelihood import paths

        model = self._fitted(parameters, seed, threads).model_
        bases = paths.bases_of(model, "biases", None)
        path = paths.Path(model, bases, "hidden", get_backend(self.device, threads), Key(seed))
        betas = paths.temperatures(path, "linear", n_temperatures)
        return path.anneal(path.start(n_chains, 0), betas, paths.FORWARD)[0] + path.log_start

    def partition(self, W: np.ndarray, b: np.ndarray, a: np.ndarray, *, threads: int) -> float:
        """Return log Z by a sum over the states of the hidden layer."""
        from fastrbm import Model
        from fastrbm.likelihood import log_partition

        return float(log_partition(Model(W, a, b), "exact", n_threads=threads, device=self.device))

    def gibbs(self, parameters: Parameters, V: np.ndarray, n_steps: int, *, seed: int, threads: int) -> np.ndarray:
        """Return the visible states after n_steps sweeps from the rows of V."""
        model = self._fitted(parameters, seed, threads)
        return model.sample(len(V), n_steps, init=V, random_state=seed)
