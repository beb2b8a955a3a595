"""PyTorch modules and ONNX files have the outputs of the estimators."""

import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.tree import DecisionTreeClassifier

from fastrbm import RBM, BernoulliRBM, GaussianRBM, IsingRBM, PottsRBM, SoftmaxRBM
from fastrbm.classifiers import RBMClassifier
from fastrbm.deep import DBNAutoencoder, DBNClassifier, DeepBeliefNetwork, to_onnx, to_torch

X, y = load_digits(return_X_y=True)
X, y = X[:300] / 16, y[:300]
IMAGES = np.rint(X * 255).astype(np.uint8)
REAL = X * np.linspace(1, 50, 64) + 7
SPINS = np.where(X > 0.5, 1.0, -1.0)
TWO = np.array(["low", "high"])[(y > 4).astype(int)]
SMALL = BernoulliRBM(12, n_iter=2)
GAUSS = GaussianRBM(12, sigma="data", n_iter=2)
MLP = MLPClassifier((8,), max_iter=5)

CASES = {
    "bernoulli": (SMALL, X, None),
    "images": (SMALL, IMAGES, None),
    "input_scale": (BernoulliRBM(12, n_iter=2, input_scale=1 / 255), 255 * X, None),
    "temperature": (BernoulliRBM(12, n_iter=2, temperature=2.0), X, None),
    "gaussian": (GAUSS, REAL, None),
    "ising": (IsingRBM(12, n_iter=2), SPINS, None),
    "potts": (PottsRBM(12, n_iter=2), X, None),
    "gaussian hidden": (RBM(12, hidden="gaussian", n_iter=2, learning_rate=0.01), X, None),
    "dbn": (DeepBeliefNetwork([GAUSS, 6], random_state=0), REAL, None),
    "dbn classifier": (DBNClassifier(DeepBeliefNetwork([12, 6]), n_iter=2, random_state=0), X, y),
    "dbn classifier, images": (DBNClassifier(DeepBeliefNetwork([12, 6]), n_iter=2, random_state=0), IMAGES, y),
    "dbn classifier, relu": (
        DBNClassifier(DeepBeliefNetwork([GAUSS, 6]), n_iter=2, activation="relu", random_state=0),
        REAL,
        y,
    ),
    "dbn classifier, two classes": (DBNClassifier(DeepBeliefNetwork([6]), n_iter=9, random_state=0), X, TWO),
    "dbn autoencoder": (DBNAutoencoder(DeepBeliefNetwork([12, 6]), n_iter=2, random_state=0), X, None),
    "logistic": (RBMClassifier(SMALL, random_state=0), X, y),
    "logistic, two classes": (RBMClassifier(SMALL, random_state=0), X, TWO),
    "logistic, no scale": (RBMClassifier(GAUSS, scale=False, random_state=0), REAL, y),
    "mlp": (RBMClassifier(SMALL, MLP, random_state=0), X, y),
    "mlp, two classes": (RBMClassifier(SMALL, MLP, features="samples", random_state=0), X, TWO),
}

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def fitted(name):
    estimator, rows, labels = CASES[name]
    estimator.fit(rows, labels)
    wanted = estimator.transform(rows) if labels is None else estimator.predict_proba(rows)
    rows = rows / 255 if rows.dtype == np.uint8 else rows
    return estimator, rows.astype(np.float32), wanted


@pytest.mark.parametrize("name", CASES)
def test_torch_module_has_the_same_outputs(name):
    torch = pytest.importorskip("torch")
    estimator, rows, wanted = fitted(name)
    module = to_torch(estimator)
    assert isinstance(module, torch.nn.Module)
    found = module(torch.from_numpy(rows))
    np.testing.assert_allclose(found.detach().numpy(), wanted, rtol=1e-4, atol=2e-5)
    found.sum().backward()  # it can be trained on


@pytest.mark.parametrize("name", CASES)
def test_onnx_file_has_the_same_outputs(name, tmp_path):
    pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator

    estimator, rows, wanted = fitted(name)
    path = to_onnx(estimator, tmp_path / "model.onnx")
    found, *label = ReferenceEvaluator(str(path)).run(None, {"X": rows})
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=2e-5)
    if label:
        best = np.sort(wanted, axis=1)
        sure = best[:, -1] - best[:, -2] > 1e-4  # elsewhere rounding decides
        assert sure.mean() > 0.99
        np.testing.assert_array_equal(label[0][sure], estimator.predict(CASES[name][1])[sure])
        np.testing.assert_array_equal(label[0], estimator.classes_[found.argmax(axis=1)])
    try:
        import onnxruntime
    except ImportError:
        return
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"X": rows})[0], wanted, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (LogisticRegression(), "estimator must be an RBM"),
        (RBM(4, hidden="relu", n_iter=1), "estimator must have Bernoulli"),
        (RBMClassifier(SMALL, features="means+inputs"), "features must be"),
        (RBMClassifier(SMALL, DecisionTreeClassifier()), "classifier must be"),
    ],
)
def test_what_cannot_be_exported(estimator, message, tmp_path):
    with pytest.raises(TypeError, match=message):
        to_onnx(estimator.fit(X, y), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_categories_cannot_be_exported(tmp_path):
    with pytest.raises(TypeError, match="no SoftmaxRBM"):
        to_onnx(SoftmaxRBM(4, n_iter=1).fit(IMAGES // 64), tmp_path / "model.onnx")


@pytest.mark.parametrize(("module", "function"), [("torch", to_torch), ("onnx", lambda e: to_onnx(e, "model.onnx"))])
def test_missing_packages_have_a_hint(module, function, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=rf'pip install "fastrbm\[{module}\]"'):
        function(BernoulliRBM(4, n_iter=1).fit(X))


def test_labels_of_other_types_have_no_file(tmp_path):
    with pytest.raises(TypeError, match="integers or strings"):
        to_onnx(RBMClassifier(SMALL).fit(X, y + 0.0), tmp_path / "model.onnx")
