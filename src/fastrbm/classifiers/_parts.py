"""What classifiers share: machines by default, rows and labels as they are checked, seeds of the parts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_y, check_array, check_consistent_length, validate_data

from .._data.chunks import ChunkSource, source_of
from .._data.device import is_device_array
from .._data.ranges import InputScale
from .._data.tables import as_array
from .._estimator.fitting import Fitting
from .._kernels.draws import Key
from ..estimators import BernoulliRBM, GaussianRBM
from ..init import FanIn


class Parts:
    """Options of parts that are left to the classifier: ``rbm__n_components`` works while ``rbm`` is None.

    It does for rows of 0 and 1 or grey ones: others have a machine of other options.

    A class over this one says in `_default` which machine it takes for bits and grey rows, and may say in `_part` what
    is made of the value of another option that is no object.
    """

    rbm: Any

    def _default(self, grey: bool = True) -> Any:
        """The machine for rows of 0 and 1 or grey ones, or that for real ones."""
        return density_rbm() if grey else density_gaussian_rbm()

    def _part(self, name: str, value: Any) -> Any:
        """The object that the value of an option stands for; None for options that are no parts."""
        return self._default() if name == "rbm" and value is None else None

    def _machine(self, given: Any, x: Any) -> Any:
        """Unfitted copy of the machine that was given, or the one for these rows, whose results are arrays."""
        self._check_made(x)
        rbm = self._default(is_grey(x)) if given is None else clone(given)
        return rbm.set_output(transform="default")

    def _check_made(self, x: Any) -> None:
        """Raise ValueError where options made a machine of bits take the place of None, and rows are real."""
        if self.rbm is not None and self.rbm is getattr(self, "_made", {}).get("rbm") and not is_grey(x):
            raise ValueError(
                "rbm must be given where values of X are outside [0, 1] and options of it are set (rbm__...), which "
                f"are those of a {type(self.rbm).__name__} otherwise: pass rbm=GaussianRBM(sigma='data')"
            )

    def set_params(self, **params: Any) -> Any:
        """Set options by their names, those of parts too: ``rbm__n_components``.

        Where the part is left to the classifier, it becomes the object that the classifier would take for 0/1 and grey
        rows; `fit` refuses others then.

        Parameters
        ----------
        **params

        Returns
        -------
        self
        """
        for name in {key.partition("__")[0] for key in params if "__" in key}:
            made = self._part(name, params.get(name, getattr(self, name, None)))
            if made is not None:
                params[name] = made
                self._made = {**getattr(self, "_made", {}), name: made}
        return super().set_params(**params)  # type: ignore[misc]


# -- machines ---------------------------------------------------------------------------------------------------------


def feature_rbm() -> BernoulliRBM:
    """A machine whose features separate classes, for rows of 0 and 1 or grey ones."""
    return BernoulliRBM(
        500,
        algorithm="cd",
        learning_rate=0.05,
        n_iter=20,
        init=FanIn(2.5),
        visible_bias="data",
        stochastic_input=True,
    )


def density_rbm() -> BernoulliRBM:
    """A machine whose free energies tell rows like those that it knows from others."""
    return BernoulliRBM(100, algorithm="cd", learning_rate=0.1, n_iter=100, visible_bias="data")


def feature_gaussian_rbm() -> GaussianRBM:
    """A machine whose features separate classes, for real data of any scale."""
    return GaussianRBM(500, sigma="data", algorithm="cd", learning_rate=0.001, n_iter=20, init=FanIn(1.0))


def density_gaussian_rbm() -> GaussianRBM:
    """A machine whose free energies tell rows from others, for real data of any scale."""
    return GaussianRBM(100, sigma="data", algorithm="cd", learning_rate=0.01, n_iter=100)


def is_grey(x: Any) -> bool:
    """Whether all values are in [0, 1], those of uint8 images divided by 255; NaN and sparse rows pass for such."""
    if not isinstance(x, np.ndarray) or x.dtype.kind == "b":
        return True
    scale = InputScale()
    scale.look(x)
    return not (float(x.min()) < 0 or float(x.max()) * scale.factor(x) > 1)


def check_rbm(given: Any) -> None:
    """Raise TypeError unless it is None or a machine that can be fitted."""
    if given is not None and (isinstance(given, type) or not isinstance(given, Fitting)):
        raise TypeError(f"rbm must be None or an estimator of fastrbm, such as BernoulliRBM(), got {given!r}")


def machine_of(part: Any, n_features: int) -> Any:
    """A part of a model file that must be a machine of so many columns."""
    if not isinstance(part, Fitting) or part.n_features_in_ != n_features:
        raise ValueError(f"a machine of {n_features} columns is wanted, got {part!r}")
    return part.set_output(transform="default")


def takes_sparse(given: Any) -> bool:
    """Whether a machine takes sparse rows."""
    return given is None or (isinstance(given, Fitting) and given.units[0] == "bernoulli")


def weighted(weights: NDArray[Any] | None, rows: Any = slice(None)) -> dict[str, Any]:
    """Arguments of `fit`; none without weights, as not every machine takes some."""
    return {} if weights is None else {"sample_weight": weights[rows]}


def seeded(part: Any, key: Key, number: int) -> Any:
    """The same estimator with seeds for all that is random in it."""
    names = [name for name in sorted(part.get_params()) if name == "random_state" or name.endswith("__random_state")]
    # scikit-learn's draws have seeds of 32 bits
    wide = isinstance(part, Fitting) and getattr(part, "random_stream", None) != "sklearn"
    seeds = {name: key.fold_in(number).fold_in(k).seed for k, name in enumerate(names)}
    return part.set_params(**{name: seed if wide else seed % 2**32 for name, seed in seeds.items()})


# -- rows and labels --------------------------------------------------------------------------------------------------


def table_of(estimator: Any, X: Any, *, sparse: bool, reset: bool) -> Any:
    """Numeric array or CSR matrix of two dimensions; the machine looks at its values.

    Parameters
    ----------
    estimator : RBMClassifier or another class of this folder
        Gets ``n_features_in_`` and ``feature_names_in_`` with `reset`, or is asked for them.
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
    sparse : bool
        Whether sparse matrices are taken.
    reset : bool
    """
    name = type(estimator).__name__
    if is_device_array(X):
        raise TypeError(f"X must be on the host for {name}, got an array on a device: copy it (.get(), .cpu())")
    if isinstance(source_of(X), ChunkSource):
        raise TypeError(
            f"X must be one table for {name}, got {type(X).__name__} of pieces: put them together "
            "(numpy.concatenate), or fit the RBM to the pieces and a classifier to its features"
        )
    x = check_array(
        as_array(X, sparse),
        accept_sparse=("csr", "csc") if sparse else False,
        dtype="numeric",
        ensure_all_finite=False,
        estimator=estimator,
        input_name="X",
    )
    validate_data(estimator, X if hasattr(X, "columns") else x, skip_check_array=True, reset=reset)
    if hasattr(x, "tocsr"):
        x = x.tocsr()
    if x.dtype.kind not in "buif":
        raise ValueError(f"X must be numeric, got dtype {x.dtype}")
    return x


def labels_of(estimator: Any, y: Any, x: Any) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.intp]]:
    """Labels of rows, the classes in order, and which class each row has; ValueError unless there are two or more."""
    if y is None:
        raise ValueError(
            f"{type(estimator).__name__} requires y to be passed, but the target y is None: pass one label for each row"
        )
    y = _check_y(y, multi_output=False, y_numeric=False, estimator=estimator)
    check_classification_targets(y)
    check_consistent_length(x, y)
    classes, index = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"y must hold at least two classes, got one class: {classes.tolist()[0]!r}")
    return y, classes, index


def check_weighted_classes(
    classes: NDArray[Any], index: NDArray[np.intp], weights: NDArray[Any] | None, *, every: bool
) -> None:
    """Raise ValueError unless at least two classes, or every one, have rows that count."""
    if weights is None:
        return
    there = np.bincount(index, weights=weights, minlength=len(classes)) > 0
    if there.sum() < 2 or (every and not there.all()):
        wanted = "each class" if every else "at least two classes"
        raise ValueError(
            f"sample_weight must be above 0 for some row of {wanted}, got weights of 0 alone for class "
            f"{classes[~there].tolist()[0]!r}"
        )
