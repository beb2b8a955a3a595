"""scikit-learn in everything but the clock: same draws, same tolerance for unusual input, and a patch."""

from __future__ import annotations

from typing import Any

from . import estimators


class BernoulliRBM(estimators.BernoulliRBM):
    """`fastrbm.BernoulliRBM` with scikit-learn's draws, order of rows and tolerance as defaults.

    Reproduces the fit of ``sklearn.neural_network.BernoulliRBM`` to rounding. For speed use `fastrbm.BernoulliRBM`.
    Parameters, attributes and methods are those of the base class; only defaults differ (``random_stream="sklearn"``,
    ``shuffle=False``, ``out_of_range="allow"``).
    """

    def __init__(
        self,
        n_components: int = 256,
        *,
        learning_rate: float = 0.1,
        batch_size: int = 10,
        n_iter: int = 10,
        verbose: int = 0,
        random_state: Any = None,
        algorithm: str = "pcd",
        n_gibbs_steps: int = 1,
        n_chains: int | None = None,
        strategy: str = "auto",
        precision: str = "full",
        hidden_statistics: str = "mean",
        optimizer: Any = "sgd",
        regularizers: Any = (),
        random_stream: str = "sklearn",
        stochastic_input: bool = False,
        shuffle: bool = False,
        warm_start: bool = False,
        validation_fraction: float = 0.0,
        early_stopping: bool | str = False,
        n_iter_no_change: int = 5,
        tol: float = 0.0,
        scoring: str = "pseudo_likelihood",
        callbacks: Any = (),
        device: str = "auto",
        n_threads: int | None = None,
        dtype: Any = None,
        out_of_range: str = "allow",
    ):
        super().__init__(
            n_components,
            learning_rate=learning_rate,
            batch_size=batch_size,
            n_iter=n_iter,
            verbose=verbose,
            random_state=random_state,
            algorithm=algorithm,
            n_gibbs_steps=n_gibbs_steps,
            n_chains=n_chains,
            strategy=strategy,
            precision=precision,
            hidden_statistics=hidden_statistics,
            optimizer=optimizer,
            regularizers=regularizers,
            random_stream=random_stream,
            stochastic_input=stochastic_input,
            shuffle=shuffle,
            warm_start=warm_start,
            validation_fraction=validation_fraction,
            early_stopping=early_stopping,
            n_iter_no_change=n_iter_no_change,
            tol=tol,
            scoring=scoring,
            callbacks=callbacks,
            device=device,
            n_threads=n_threads,
            dtype=dtype,
            out_of_range=out_of_range,
        )


_original: Any = None


def patch_sklearn(compatible: bool = False) -> None:
    """Make ``sklearn.neural_network.BernoulliRBM`` this package's, for code that imports it from now on.

    Parameters
    ----------
    compatible : bool, default=False
        True takes `fastrbm.compat.BernoulliRBM` (same draws, same numbers), False the fast `fastrbm.BernoulliRBM`.
    """
    import sklearn.neural_network
    from sklearn.neural_network import _rbm

    global _original
    if not isinstance(compatible, bool):
        raise TypeError(f"compatible must be True or False, got {compatible!r}")
    if _original is None:
        _original = sklearn.neural_network.BernoulliRBM
    replacement = BernoulliRBM if compatible else estimators.BernoulliRBM
    sklearn.neural_network.BernoulliRBM = _rbm.BernoulliRBM = replacement


def unpatch_sklearn() -> None:
    """Undo `patch_sklearn`; nothing happens if it was not called."""
    import sklearn.neural_network
    from sklearn.neural_network import _rbm

    global _original
    if _original is not None:
        sklearn.neural_network.BernoulliRBM = _rbm.BernoulliRBM = _original
        _original = None
