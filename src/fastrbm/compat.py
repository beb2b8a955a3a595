"""scikit-learn in everything but the clock: same draws, same tolerance for unusual input, and a patch."""

from __future__ import annotations

from typing import Any

from . import estimators


class BernoulliRBM(estimators.BernoulliRBM):
    """`fastrbm.BernoulliRBM` with scikit-learn's draws, order of rows and tolerance as defaults.

    Reproduces the fit of ``sklearn.neural_network.BernoulliRBM`` to rounding. For speed use `fastrbm.BernoulliRBM`.
    Parameters, attributes and methods are those of the base class; only defaults differ (``random_stream="sklearn"``,
    ``shuffle=False``, ``input_scale=1.0``, ``out_of_range="allow"``).
    """

    def __init__(
        self,
        n_components: int = 256,
        *,
        random_stream: str = "sklearn",
        shuffle: bool = False,
        input_scale: float | str = 1.0,
        out_of_range: str = "allow",
        **options: Any,
    ):
        super().__init__(
            n_components,
            random_stream=random_stream,
            shuffle=shuffle,
            input_scale=input_scale,
            out_of_range=out_of_range,
            **options,
        )

    def fit(self, X: Any, y: Any = None) -> Any:
        """Do what `fastrbm.BernoulliRBM.fit` does, without weights of rows, which scikit-learn's does not have."""
        return super().fit(X, y)

    def partial_fit(self, X: Any, y: Any = None) -> Any:  # type: ignore[override]
        """Do what `fastrbm.BernoulliRBM.partial_fit` does, without weights of rows."""
        return super().partial_fit(X, y)


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
