"""Model files of stacks and fine-tuned networks."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator

import fastrbm
from cli_cases import assert_fails, run
from fastrbm import BernoulliRBM, GaussianRBM
from fastrbm.deep import DBNAutoencoder, DBNClassifier, DeepBeliefNetwork, DeepBoltzmannMachine, Flip, Shift
from fastrbm.optimizers import SGD
from fastrbm.schedules import Cosine
from model_files import parts_of, put_together

X, y = load_digits(return_X_y=True)
X, y = X[:200] / 16, y[:200]
NAMES = np.array([f"digit {k}" for k in range(10)], dtype=object)
STACK = DeepBeliefNetwork([GaussianRBM(12, sigma="data", n_iter=2), 6], rbm=BernoulliRBM(n_iter=2), random_state=1)
FROZEN = FrozenEstimator(DeepBeliefNetwork([12, 6], random_state=1).fit(X))

CASES = [
    (STACK, y),
    (DeepBeliefNetwork([8]), y),
    (DBNClassifier(STACK, n_iter=2, random_state=0, learning_rate=Cosine(0.01), optimizer=SGD(0.9)), y),
    (DBNClassifier(FROZEN, n_iter=2, dtype=np.float64, augment=[Flip((8, 8)), Shift((8, 8))]), NAMES[y]),
    (DBNClassifier(n_iter=1, pretrain=False, activation="relu", validation_fraction=0.2), y > 4),
    (DeepBoltzmannMachine([8, 5, 3], n_iter=1, pretrain_iter=1, random_state=0), y),
    (DBNAutoencoder(STACK, n_iter=2), y),
    (DBNAutoencoder(FROZEN, n_iter=2, pretrain=False), y),
]


@pytest.mark.parametrize(("estimator", "labels"), CASES)
def test_what_is_loaded_is_what_was_saved(estimator, labels, tmp_path):
    estimator.fit(X, labels)
    path = estimator.save(tmp_path / "model.npz")
    loaded = fastrbm.load(path)
    assert type(loaded) is type(estimator)
    for method in ("transform", "predict", "predict_proba", "reconstruct"):
        if hasattr(estimator, method):
            np.testing.assert_array_equal(getattr(loaded, method)(X), getattr(estimator, method)(X))
    assert str(loaded.get_params(deep=False).get("optimizer")) == str(estimator.get_params().get("optimizer"))
    assert getattr(loaded, "history_", None) == getattr(estimator, "history_", None)
    if hasattr(estimator, "sample"):
        np.testing.assert_array_equal(loaded.sample(3, 5), estimator.sample(3, 5))
    else:
        assert isinstance(loaded.dbn, FrozenEstimator) == (estimator.dbn is FROZEN and estimator.pretrain)
    if isinstance(estimator, DBNClassifier):
        assert loaded.classes_.dtype == estimator.classes_.dtype
    if estimator.random_state is not None:  # a fit from the start has the same bits
        again, other = (one.fit(X, labels).save(tmp_path / f"{k}.npz") for k, one in enumerate((loaded, estimator)))
        with np.load(again) as a, np.load(other) as b:
            assert a.files == b.files
            assert all(np.array_equal(a[key], b[key]) for key in a.files if key not in ("header", "checksum"))


def test_options_that_have_no_file(tmp_path):
    model = DBNClassifier(FROZEN, n_iter=1, augment=lambda rows, draws: rows).fit(X, y)
    with pytest.raises(ValueError, match="augment cannot be stored in a model file"):
        model.save(tmp_path / "model.npz")
    assert not list(tmp_path.iterdir())


def test_nothing_is_saved_before_a_fit(tmp_path):
    for estimator in (DeepBeliefNetwork(), DBNClassifier(), DBNAutoencoder()):
        with pytest.raises(Exception, match="not fitted"):
            estimator.save(tmp_path / "model.npz")


@pytest.mark.parametrize("what", ["weights_0", "classes", "centre", "dbn/rbm0/components_", "header"])
def test_damaged_files_are_told(what, tmp_path):
    path = DBNClassifier(FROZEN, n_iter=1).fit(X, y).save(tmp_path / "model.npz")
    header, arrays = parts_of(path)
    if what == "header":
        del header["own"]
    else:
        arrays[what] = arrays[what][:-1]
    put_together(path, header, arrays)
    with pytest.raises(ValueError, match="damaged model file"):
        fastrbm.load(path)


@pytest.mark.parametrize(
    ("key", "value"), [("sizes", [64, 8, 5]), ("sizes", [64, 8, 3, 5]), ("input_scale", 0), ("seed", -1)]
)
def test_damaged_deep_machines_are_told(key, value, tmp_path):
    path = DeepBoltzmannMachine([8, 5, 3], n_iter=1, pretrain_iter=1).fit(X).save(tmp_path / "model.npz")
    header, arrays = parts_of(path)
    header["own"][key] = value
    put_together(path, header, arrays)
    with pytest.raises(ValueError, match="damaged model file"):
        fastrbm.load(path)


@pytest.mark.parametrize("estimator", [DeepBeliefNetwork([4, 2]), DBNClassifier(FROZEN, n_iter=1)])
def test_the_command_shows_it_and_says_where_it_takes_single_machines(estimator, tmp_path, capsys):
    path = estimator.fit(X, y).save(tmp_path / "model.npz")
    np.save(tmp_path / "x.npy", X)
    message = f"MODEL must be the file of one RBM, {path} holds a {type(estimator).__name__}"
    assert run("info", path) == 0
    shown = capsys.readouterr().out
    part = "dbn: DeepBeliefNetwork" if isinstance(estimator, DBNClassifier) else "rbm1: BernoulliRBM: 4 bernoulli"
    assert f"{type(estimator).__name__}: 64 columns" in shown and part in shown
    assert_fails(capsys, message, "evaluate", path, tmp_path / "x.npy", status=1)
