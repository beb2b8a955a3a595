"""scikit-learn's BernoulliRBM on float32 input, as a user would call it."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from . import Availability, Parameters, Training


class ScikitLearn:
    """The estimator that fastrbm replaces: PCD-1 only, rows in the order given."""

    name = "scikit-learn"
    shuffles = False

    def available(self) -> Availability:
        """Say whether it can run here."""
        try:
            import sklearn.neural_network  # noqa: F401
            import threadpoolctl  # noqa: F401
        except ImportError as error:
            return Availability(False, f"not installed: {error}")
        return Availability(True)

    def supports(self, training: Training) -> Availability:
        """Say whether it has this algorithm."""
        if training.algorithm != "pcd" or training.k != 1:
            return Availability(False, "scikit-learn has PCD-1 only")
        return Availability(True)

    def version(self) -> str:
        """Return the version of the package."""
        import sklearn

        return sklearn.__version__

    @cached_property
    def _pools(self):
        # Looking the loaded libraries up takes milliseconds, which would count against this peer if it were
        # done on every call; setting their thread number takes microseconds.
        import scipy.linalg.blas  # noqa: F401
        import sklearn.neural_network  # noqa: F401
        from threadpoolctl import ThreadpoolController

        return ThreadpoolController()

    def _fitted(self, parameters: Parameters, seed: int):
        from sklearn.neural_network import BernoulliRBM

        model = BernoulliRBM(n_components=parameters.W.shape[0])
        model.components_ = parameters.W
        model.intercept_hidden_, model.intercept_visible_ = parameters.b, parameters.a
        model.n_features_in_ = parameters.W.shape[1]
        model.random_state_ = np.random.RandomState(seed)
        return model

    def fit_epochs(self, X: np.ndarray, training: Training, *, seed: int, threads: int) -> Parameters:
        """Train from scratch; see `Peer`."""
        from sklearn.neural_network import BernoulliRBM

        model = BernoulliRBM(
            n_components=training.n_hidden,
            learning_rate=training.rate,
            batch_size=training.batch,
            n_iter=training.n_epochs,
            random_state=seed,
        )
        with self._pools.limit(limits=threads):
            model.fit(X)
        return Parameters(model.components_, model.intercept_hidden_, model.intercept_visible_)

    def transform(self, parameters: Parameters, X: np.ndarray, *, threads: int) -> np.ndarray:
        """Return p(h = 1 | v) of every row."""
        with self._pools.limit(limits=threads):
            return self._fitted(parameters, 0).transform(X)

    def gibbs(self, parameters: Parameters, V: np.ndarray, n_steps: int, *, seed: int, threads: int) -> np.ndarray:
        """Return the visible states after n_steps sweeps from the rows of V."""
        model = self._fitted(parameters, seed)
        with self._pools.limit(limits=threads):
            for _ in range(n_steps):
                # scikit-learn returns booleans, which would make the next product fall out of BLAS.
                V = model.gibbs(V).astype(np.float32)
        return V
