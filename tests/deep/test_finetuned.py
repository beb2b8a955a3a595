"""Fine-tuned classifiers and autoencoders: what they start from, seeds, held-out rows, options."""

import hashlib
import pickle
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import minmax_scale
from sklearn.utils.class_weight import compute_class_weight

from fastrbm import RBM, BernoulliRBM, DataRangeWarning, DivergenceError, GaussianRBM, IsingRBM, SoftmaxRBM
from fastrbm._kernels import cpu
from fastrbm.deep import DBNAutoencoder, DBNClassifier, DeepBeliefNetwork, Flip, Shift
from fastrbm.optimizers import SGD, RMSprop
from fastrbm.schedules import Cosine
from kernel_cases import TARGETS

X, y = load_digits(return_X_y=True)
X, y = X[:600] / 16, y[:600]
REAL = X * np.linspace(1, 50, 64) + 7
DBN = DeepBeliefNetwork([40, 20], rbm=BernoulliRBM(algorithm="cd", n_iter=2, visible_bias="data"))
GAUSS = DeepBeliefNetwork([GaussianRBM(40, sigma="data", n_iter=2, learning_rate=0.01), 20])
STILL = {"learning_rate": 1e-30, "n_iter": 1, "optimizer": "sgd"}


@pytest.mark.parametrize(("dbn", "rows"), [(DBN, X), (GAUSS, REAL), (DBN, np.rint(X * 255).astype(np.uint8))])
def test_hidden_layers_start_as_the_stack(dbn, rows):
    model = DBNClassifier(dbn, dtype=np.float64, random_state=0, **STILL).fit(rows, y)
    x = (rows - rows.mean(axis=0)) / np.where(rows.std(axis=0) > 0, rows.std(axis=0), 1) if dbn is GAUSS else rows
    x = rows / 255 if rows.dtype == np.uint8 else x
    for weights, bias in zip(model.coefs_[:-1], model.intercepts_[:-1], strict=True):
        x = 1 / (1 + np.exp(-(x @ weights + bias)))
    np.testing.assert_allclose(x, model.dbn_.transform(rows), atol=2e-5)


@pytest.mark.parametrize(("dbn", "rows"), [(DBN, X), (GAUSS, REAL)])
def test_autoencoder_starts_as_the_stack_up_and_down(dbn, rows):
    model = DBNAutoencoder(dbn, dtype=np.float64, random_state=0, **STILL).fit(rows)
    np.testing.assert_allclose(model.transform(rows), model.dbn_.transform(rows), atol=2e-5)
    np.testing.assert_allclose(model.reconstruct(rows), model.dbn_.reconstruct(rows), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("optimizer", ["adam", SGD(0.9, nesterov=True), RMSprop()])
def test_same_seed_same_bits_for_any_threads(dtype, optimizer):
    options = {"hidden_dropout": 0.3, "input_dropout": 0.1, "augment": [Shift((8, 8)), Flip((8, 8))], "n_iter": 3}
    options |= {"learning_rate": Cosine(0.002), "weight_decay": 0.1, "dtype": dtype, "optimizer": optimizer}
    fits = [DBNClassifier(DBN, random_state=5, n_threads=n, **options).fit(X, y) for n in (1, 2)]
    for a, b in zip(fits[0].coefs_, fits[1].coefs_, strict=True):
        assert a.dtype == dtype
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(fits[0].predict_proba(X), pickle.loads(pickle.dumps(fits[1])).predict_proba(X))
    other = DBNClassifier(DBN, random_state=6, **options).fit(X, y)
    assert (other.coefs_[0] != fits[0].coefs_[0]).any()


def test_every_instruction_set_has_the_same_bits():
    before, found = cpu.current_target(), {}
    options = {"hidden_dropout": 0.3, "weight_decay": 0.1, "n_iter": 2, "random_state": 0}
    try:
        for target in TARGETS:
            cpu.use_target(target)
            found[target] = hashlib.sha256()
            for activation, dtype in (("auto", np.float32), ("relu", np.float32), ("tanh", np.float64)):
                model = DBNClassifier(DBN, activation=activation, dtype=dtype, **options).fit(X, y)
                for array in (*model.coefs_, *model.intercepts_):
                    found[target].update(np.ascontiguousarray(array).tobytes())
    finally:
        cpu.use_target(before)
    assert len({digest.hexdigest() for digest in found.values()}) == 1


@pytest.mark.parametrize("pretrain", [True, False])
@pytest.mark.parametrize("activation", ["auto", "relu", "tanh"])
def test_classifier_learns(pretrain, activation):
    model = DBNClassifier(DBN, pretrain=pretrain, activation=activation, n_iter=60, batch_size=20, random_state=0)
    model.fit(X, y)
    assert model.score(X, y) > (0.85 if activation == "auto" else 0.99)
    assert (model.dbn_ is None) == (not pretrain)
    assert model.history_["loss"][-1] < 0.3 * model.history_["loss"][0]
    proba = model.predict_proba(X)
    assert proba.shape == (600, 10) and np.allclose(proba.sum(axis=1), 1, atol=1e-12)
    np.testing.assert_allclose(np.exp(model.predict_log_proba(X)), proba)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_other_activations_start_with_sums_of_variance_1(activation):
    auto, other = (
        DBNClassifier(DBN, activation=a, dtype=np.float64, random_state=0, **STILL).fit(X, y)
        for a in ("auto", activation)
    )
    x = X
    for weights, bias, given in zip(other.coefs_[:-1], other.intercepts_[:-1], auto.coefs_[:-1], strict=True):
        assert np.corrcoef(weights.ravel(), given.ravel())[0, 1] == pytest.approx(1)  # scaled
        sums = x @ weights + bias
        np.testing.assert_allclose(sums.mean(axis=0), 0, atol=1e-12)
        assert sums.var() == pytest.approx(1)
        x = np.maximum(sums, 0) if activation == "relu" else np.tanh(sums)


def test_fitted_stack_is_used_as_it_is():
    dbn = clone(DBN).set_params(random_state=0).fit(X)
    before = [rbm.components_.copy() for rbm in dbn.rbms_]
    model = clone(DBNClassifier(FrozenEstimator(dbn), random_state=0, **STILL)).fit(X, y)
    np.testing.assert_array_equal(model.coefs_[0].T, before[0])
    model.set_params(learning_rate=0.01, optimizer="adam").fit(X, y)
    for rbm, weights in zip(dbn.rbms_, before, strict=True):
        np.testing.assert_array_equal(rbm.components_, weights)
    random = DBNClassifier(FrozenEstimator(dbn), pretrain=False, random_state=0, **STILL).fit(X, y)
    assert [w.shape for w in random.coefs_] == [w.shape for w in model.coefs_]
    assert (random.coefs_[0].T != before[0]).any()
    with pytest.raises(ValueError, match="64 columns of the dbn"):
        DBNClassifier(FrozenEstimator(dbn)).fit(X[:, :9], y)


def test_held_out_rows_are_scored_and_the_best_pass_is_kept():
    model = DBNClassifier(
        DBN, pretrain=False, learning_rate=0.03, n_iter=40, early_stopping=True, n_iter_no_change=3, random_state=0
    ).fit(X[:300], y[:300], X_val=X[300:], y_val=y[300:])
    accuracy = model.history_["validation_accuracy"]
    assert model.n_iter_ == len(accuracy) < 40
    assert model.n_iter_ - model.best_iteration_ == 3
    assert (
        model.score(X[300:], y[300:])
        == pytest.approx(max(accuracy))
        == pytest.approx(accuracy[model.best_iteration_ - 1])
    )


def test_rows_held_out_by_a_share_train_nothing():
    model = DBNClassifier(DBN, validation_fraction=0.2, n_iter=2, random_state=0).fit(X, y)
    assert len(model.history_["validation_loss"]) == 2
    # other values of the rows held out make no difference to the parameters
    changed, split = X.copy(), model_split(0.2)
    changed[split] = 1 - changed[split]
    other = DBNClassifier(DBN, validation_fraction=0.2, n_iter=2, random_state=0).fit(changed, y)
    np.testing.assert_array_equal(model.coefs_[0], other.coefs_[0])
    assert model.history_["validation_loss"] != other.history_["validation_loss"]


def model_split(fraction):
    """Rows that a classifier of seed 0 holds out."""
    from fastrbm._data.split import Split
    from fastrbm._kernels.draws import Key

    return Split.of(len(X), fraction, Key(0).fold_in(2)).held_out


@pytest.mark.parametrize(("dbn", "rows"), [(DBN, X), (GAUSS, REAL)])
@pytest.mark.parametrize("pretrain", [True, False])
def test_autoencoder_learns(dbn, rows, pretrain):
    model = DBNAutoencoder(dbn, pretrain=pretrain, n_iter=30, batch_size=20, random_state=0).fit(rows[:500])
    first = DBNAutoencoder(dbn, pretrain=pretrain, n_iter=1, batch_size=20, random_state=0).fit(rows[:500])
    assert model.score(rows[500:]) > first.score(rows[500:])
    found = model.inverse_transform(model.transform(rows[500:]))
    assert found.shape == (100, 64)
    scale = 1 if dbn is DBN else np.where(rows[:500].std(axis=0) > 0, rows[:500].std(axis=0), 1)
    assert np.square((found - rows[500:]) / scale).mean() == pytest.approx(model.reconstruction_error(rows[500:]), 1e-3)


def test_linear_code():
    dbn = DeepBeliefNetwork([30, RBM(5, hidden="gaussian", learning_rate=0.005, n_iter=2)])
    model = DBNAutoencoder(dbn, n_iter=5, random_state=0, activation="relu").fit(X)
    codes = model.transform(X)
    assert codes.shape == (600, 5) and codes.min() < 0 and codes.max() > 1


def test_uint8_images_are_divided_at_prediction_too():
    images = np.rint(X * 255).astype(np.uint8)
    for pretrain in (True, False):
        model = DBNClassifier(DBN, n_iter=2, pretrain=pretrain, random_state=0).fit(images, y)
        np.testing.assert_allclose(model.predict_proba(images), model.predict_proba(images / 255), atol=1e-5)


def test_values_outside_the_range_are_told():
    with pytest.warns(DataRangeWarning):
        model = DBNClassifier(DBN, n_iter=1, pretrain=False).fit(2 * X, y)
    with pytest.warns(DataRangeWarning):
        model.predict(2 * X)


def test_divergence_keeps_the_last_finite_parameters():
    model = DBNAutoencoder(GAUSS, optimizer="sgd", learning_rate=1e4, activation="relu", n_iter=5, random_state=0)
    with pytest.raises(DivergenceError, match="learning_rate"):
        model.fit(REAL)
    assert all(np.isfinite(w).all() for w in model.coefs_)


@pytest.mark.parametrize(("dbn", "rows"), [(DBN, X), (GAUSS, REAL)])
@pytest.mark.parametrize("options", [{}, {"pretrain": False, "activation": "relu"}, {"class_weight": "balanced"}])
def test_whole_weights_are_repetitions_and_the_order_of_rows_makes_no_difference(dbn, rows, options):
    rows, labels = rows[:200], y[:200]
    times = np.random.default_rng(0).integers(0, 4, 200)
    model = DBNClassifier(dbn, n_iter=3, random_state=0, **options)
    weighted = clone(model).fit(rows, labels, sample_weight=times)
    repeated = np.random.default_rng(1).permutation(np.repeat(np.arange(200), times))
    other = clone(model).fit(rows[repeated], labels[repeated])
    np.testing.assert_allclose(other.predict_proba(rows), weighted.predict_proba(rows), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(other.history_["loss"], weighted.history_["loss"], rtol=1e-5)
    assert not np.allclose(clone(model).fit(rows, labels).predict_proba(rows), weighted.predict_proba(rows), rtol=1e-2)


def test_weights_are_those_of_the_loss():
    """One minibatch, by finite numbers: the step of weighted rows is the weighted mean of the steps of single ones."""
    rows, labels = X[:6], np.array([0, 1, 2, 0, 1, 2])
    still = DBNClassifier(
        DBN, pretrain=False, optimizer="sgd", n_iter=1, batch_size=6, dtype=np.float64, random_state=0
    )
    before = clone(still).set_params(learning_rate=1e-30).fit(rows, labels).coefs_

    def step(weight):
        after = clone(still).set_params(learning_rate=1.0).fit(rows, labels, sample_weight=weight).coefs_
        return [b - a for a, b in zip(before, after, strict=True)]

    weight = np.array([0.5, 2.5, 1.25, 0.1, 0.2, 3.0])
    pairs = [step(np.where(np.arange(6) // 3 == k, weight, 0)) for k in (0, 1)]
    shares = weight.reshape(2, 3).sum(axis=1) / weight.sum()
    for whole, first, second in zip(step(weight), *pairs, strict=True):
        np.testing.assert_allclose(whole, shares[0] * first + shares[1] * second, atol=1e-12)


@pytest.mark.parametrize("stack", [True, False])
def test_balanced_classes_count_alike(stack):
    """As with weights of rows by scikit-learn's rule, and better for a rare class."""
    keep = np.flatnonzero((y == 3) | ((y == 8) & (np.arange(600) < 60)))
    rows, labels = X[keep], y[keep]
    model = DBNClassifier(DBN, pretrain=stack, n_iter=8, random_state=0)
    of_classes = compute_class_weight("balanced", classes=np.array([3, 8]), y=labels)
    balanced = clone(model).set_params(class_weight="balanced").fit(rows, labels)
    by_hand = clone(model).set_params(class_weight={3: of_classes[0], 8: of_classes[1]}).fit(rows, labels)
    np.testing.assert_array_equal(balanced.predict_proba(rows), by_hand.predict_proba(rows))
    plain = clone(model).fit(rows, labels)
    assert balanced.predict_proba(rows)[:, 1].mean() > plain.predict_proba(rows)[:, 1].mean()
    alone = clone(model).set_params(class_weight={3: 0}).fit(rows, labels)
    assert alone.predict(rows).tolist() == [8] * len(rows)


@pytest.mark.parametrize("labels", [y, y == 3], ids=["ten", "two"])
def test_decision_function_is_that_of_the_probabilities(labels):
    model = DBNClassifier(DBN, n_iter=2, random_state=0).fit(X, labels)
    p, found = model.predict_proba(X), model.decision_function(X)
    if p.shape[1] == 2:
        assert found.shape == (600,)
        np.testing.assert_allclose(found, np.log(p[:, 1] / p[:, 0]), rtol=1e-6, atol=1e-6)
        np.testing.assert_array_equal(found > 0, model.predict(X))
    else:
        np.testing.assert_allclose(np.exp(found), p)


@pytest.mark.parametrize(
    ("options", "weight", "message"),
    [
        ({"class_weight": "equal"}, None, "class_weight must be None, 'balanced' or a dict of labels, got 'equal'"),
        ({"class_weight": {77: 1}}, None, "class_weight must have labels of y.*got 77"),
        ({"class_weight": {0: -1}}, None, "class_weight of 0 must be"),
        ({"class_weight": dict.fromkeys(range(10), 0)}, None, "class_weight must be above 0"),
        ({}, np.zeros(600), "[Ss]ample.weight"),
        ({}, np.ones(3), "sample_weight"),
    ],
)
def test_weights_that_cannot_be_used_are_named(options, weight, message):
    model = DBNClassifier(DBN, n_iter=1, random_state=0)
    with pytest.raises(ValueError, match=message):
        model.set_params(**options).fit(X, y, weight)
    assert not hasattr(model, "classes_")


@pytest.mark.parametrize("pretrain", [True, False])
@pytest.mark.parametrize("activation", ["auto", "relu"])
@pytest.mark.parametrize("cls", [DBNClassifier, DBNAutoencoder])
def test_a_loss_that_ends_far_above_the_start_is_said(cls, activation, pretrain):
    model = cls(DBN, pretrain=pretrain, activation=activation, n_iter=3, learning_rate=1e3, random_state=0)
    with pytest.warns(ConvergenceWarning, match="loss of its last pass.*smaller learning_rate"):
        model.fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        model.set_params(learning_rate=0.001).fit(X, y)


def test_search_over_the_stack():
    search = GridSearchCV(
        DBNClassifier(n_iter=2, random_state=0).set_params(dbn__rbm__n_iter=1), {"dbn__layers": [[10], [20, 10]]}, cv=2
    ).fit(X[:200], y[:200])
    assert len(search.best_estimator_.coefs_) in (2, 3)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"dbn": BernoulliRBM()}, TypeError, "dbn must be None or a DeepBeliefNetwork"),
        ({"pretrain": "yes"}, ValueError, "pretrain must be True or False"),
        ({"activation": "elu"}, ValueError, "activation must be one of"),
        ({"hidden_dropout": 1.0}, ValueError, "hidden_dropout must be"),
        ({"input_dropout": -0.1}, ValueError, "input_dropout must be"),
        ({"optimizer": "lbfgs"}, ValueError, "optimizer must be one of"),
        ({"learning_rate": 0}, ValueError, "learning_rate must be"),
        ({"weight_decay": -1}, ValueError, "weight_decay must be"),
        ({"batch_size": 0}, ValueError, "batch_size must be"),
        ({"n_iter": 0}, ValueError, "n_iter must be"),
        ({"validation_fraction": 1.0}, ValueError, "validation_fraction must be"),
        ({"early_stopping": True}, ValueError, "early_stopping needs rows"),
        ({"early_stopping": "f1"}, ValueError, "early_stopping must be"),
        ({"n_iter_no_change": 0}, ValueError, "n_iter_no_change must be"),
        ({"dtype": np.float16}, ValueError, "dtype must be"),
        ({"n_threads": 0}, ValueError, "n_threads"),
        ({"random_state": "x"}, ValueError, "random_state"),
        ({"dbn": DeepBeliefNetwork([SoftmaxRBM(3)])}, ValueError, "no SoftmaxRBM"),
        ({"dbn": DeepBeliefNetwork([RBM(4, hidden="onehot")])}, ValueError, "dbn must be of machines"),
    ],
)
@pytest.mark.parametrize("cls", [DBNClassifier, DBNAutoencoder])
def test_options_that_cannot_be_used(cls, options, error, message):
    rows = (X > 0.5).astype(np.int64)
    model = cls(DeepBeliefNetwork([5]), n_iter=1, random_state=0).fit(rows, y)
    before = model.coefs_
    with pytest.raises(error, match=message):
        model.set_params(**options).fit(rows, y)
    assert model.coefs_ is before


@pytest.mark.parametrize(
    ("augment", "error", "message"),
    [
        (3, TypeError, "augment must be"),
        ([Flip], TypeError, "augment must be"),
        (Shift((8, 9)), ValueError, "rows of 64 pixels are no images"),
        (Shift((8, 8), 8), ValueError, "pixels must be"),
        (lambda rows, draws: rows[:1], ValueError, "augment must return rows of the shape"),
        (lambda rows, draws: rows * np.nan, ValueError, "augment must return finite numbers"),
    ],
)
def test_augment_that_cannot_be_used(augment, error, message):
    model = DBNClassifier(DBN, pretrain=False, n_iter=1).fit(X, y)
    before = model.coefs_
    with pytest.raises(error, match=message):
        model.set_params(augment=augment).fit(X, y)
    assert model.coefs_ is before


def test_schedule_that_ends_below_0_is_told_before_training():
    model = DBNClassifier(DBN, pretrain=False, n_iter=3).fit(X, y)
    before = model.coefs_
    with pytest.raises(ValueError, match="learning_rate must be .* for epoch 2 of 3"):
        model.set_params(learning_rate=lambda epoch, n_epochs: 0.1 if epoch < 2 else -1.0).fit(X, y)
    assert model.coefs_ is before


def test_loss_that_does_not_fit_the_units():
    with pytest.raises(ValueError, match="loss must be one of"):
        DBNAutoencoder(DBN, loss="hinge").fit(X)
    with pytest.raises(ValueError, match="loss must be 'auto' or 'squared_error'"):
        DBNAutoencoder(GAUSS, loss="cross_entropy").fit(REAL)
    assert DBNAutoencoder(DBN, loss="squared_error", n_iter=1).fit(X).score(X) > -0.2


def test_rows_held_out_that_do_not_fit():
    model = DBNClassifier(DBN, pretrain=False, n_iter=1)
    with pytest.raises(ValueError, match="X_val and y_val must be given together"):
        model.fit(X, y, X_val=X)
    with pytest.raises(ValueError, match="y_val must have one label of y"):
        model.fit(X, y, X_val=X, y_val=y + 1)
    with pytest.raises(ValueError, match="validation_fraction must be 0 with X_val"):
        model.set_params(validation_fraction=0.1).fit(X, y, X_val=X, y_val=y)


def test_augmentations_do_what_they_say():
    rows, draws = np.arange(12.0)[None].repeat(200, axis=0), np.random.default_rng(0)
    image = rows[0].reshape(3, 4)
    flipped = Flip((3, 4))(rows, draws).reshape(-1, 3, 4)
    assert {one.tobytes() for one in flipped} == {image.tobytes(), image[:, ::-1].tobytes()}
    shifted = Shift((3, 4))(rows, draws).reshape(-1, 3, 4)
    wanted = set()
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            padded = np.pad(image, 1)
            wanted.add(padded[1 - down : 4 - down, 1 - right : 5 - right].tobytes())
    assert {one.tobytes() for one in shifted} == wanted
    # colours move together
    for change, of_colours in ((Flip((3, 4)), Flip((3, 4), 3)), (Shift((3, 4)), Shift((3, 4), channels=3))):
        alone = change(rows, np.random.default_rng(1))
        three = of_colours(np.hstack([rows, rows + 100, -rows]), np.random.default_rng(1)).reshape(200, 3, 12)
        np.testing.assert_array_equal(three[:, 0], alone)
        np.testing.assert_array_equal(three[:, 2], -alone)
    with pytest.raises(ValueError, match="3 images of shape .* have 36"):
        Flip((3, 4), 3)(rows, draws)


def test_spins_have_tanh():
    spins = np.where(X > 0.5, 1, -1)
    dbn = DeepBeliefNetwork([IsingRBM(20, n_iter=2), IsingRBM(10, n_iter=2, out_of_range="allow")])
    model = DBNClassifier(dbn, dtype=np.float64, random_state=0, **STILL).fit(spins, y)
    h = spins
    for weights, bias in zip(model.coefs_[:-1], model.intercepts_[:-1], strict=True):
        h = np.tanh(h @ weights + bias)
    np.testing.assert_allclose(h, model.dbn_.transform(spins), atol=1e-5)


def test_verbose_prints_a_line_each_pass(capsys):
    DBNClassifier(DBN, pretrain=False, n_iter=2, verbose=1).fit(minmax_scale(X), y)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and lines[1].startswith("[DBNClassifier] pass 2, seconds")
