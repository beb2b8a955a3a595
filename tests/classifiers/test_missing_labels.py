"""Labels that are missing, and types that are none, are errors that name the argument; for every classifier."""

import numpy as np
import pytest
from sklearn.base import clone

from fastrbm import BernoulliRBM
from fastrbm.classifiers import DiscriminativeRBM, FreeEnergyClassifier, RBMClassifier
from fastrbm.deep import DBNAutoencoder, DBNClassifier, DeepBeliefNetwork, DeepBoltzmannMachine

X = np.random.default_rng(0).random((20, 4))
RBM = BernoulliRBM(2, n_iter=1)
STACK = DeepBeliefNetwork([3], rbm=RBM)
CLASSIFIERS = [
    RBMClassifier(RBM),
    FreeEnergyClassifier(RBM),
    DiscriminativeRBM(2, n_iter=1),
    DBNClassifier(STACK, n_iter=1),
]


@pytest.mark.parametrize("model", CLASSIFIERS, ids=lambda model: type(model).__name__)
@pytest.mark.parametrize("dtype", ["object", "Int64", "string"])
def test_missing_labels_of_tables_are_named(model, dtype):
    pd = pytest.importorskip("pandas")
    values = ["a", "b"] if dtype == "string" else [0, 1]
    y = pd.Series(values * 9 + [pd.NA, values[1]], dtype=dtype)
    with pytest.raises(ValueError, match="y must have a label for every row, got <NA> at row 18: leave these rows out"):
        clone(model).fit(X, y)
    clone(model).fit(X[:18], y[:18] if dtype != "object" else y[:18].astype(int))


@pytest.mark.parametrize("model", CLASSIFIERS, ids=lambda model: type(model).__name__)
@pytest.mark.parametrize("missing", [None, np.nan])
def test_missing_labels_of_lists_are_named(model, missing):
    y = np.array(["a", "b"] * 8 + [missing, "a", missing, "b"], dtype=object)
    for labels in (y, y.tolist()):
        with pytest.raises(ValueError, match=f"y must have a label for every row, got {missing} at row 16 and 1 other"):
            clone(model).fit(X, labels)


def test_missing_labels_of_rows_held_out_are_named():
    model = DBNClassifier(STACK, n_iter=1)
    with pytest.raises(ValueError, match="y_val must have a label for every row"):
        model.fit(X, ["a", "b"] * 10, X_val=X, y_val=[None, *["a"] * 19])


@pytest.mark.parametrize("dtype", ["abc", "int32", np.float16, 5, [1]])
@pytest.mark.parametrize(
    "model",
    [RBM, DiscriminativeRBM(2), DBNClassifier(STACK), DBNAutoencoder(STACK), DeepBoltzmannMachine([3, 2])],
    ids=lambda model: type(model).__name__,
)
def test_types_that_parameters_cannot_have_are_named(model, dtype):
    with pytest.raises(ValueError, match="dtype must be None, numpy.float32 or numpy.float64, got"):
        clone(model).set_params(dtype=dtype).fit(X, np.arange(20) % 2)
