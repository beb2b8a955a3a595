"""A machine of features and labels: exact probabilities, gradients, training, what it refuses."""

import itertools
import pickle
import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import logsumexp
from sklearn.datasets import load_digits, load_wine
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, minmax_scale
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastrbm import DivergenceError, likelihood
from fastrbm._kernels import get_backend, pack
from fastrbm._kernels.draws import Key
from fastrbm._kernels.rules import Rule, Update
from fastrbm.classifiers import DiscriminativeRBM
from fastrbm.classifiers._labelled import LabelledTraining, Machine, Objective, Parameters


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return (X / 16).astype(np.float32), y


def machine(n_features=6, n_hidden=4, n_classes=3, seed=0, scale=0.7, dtype=np.float64):
    rng = np.random.default_rng(seed)

    def normal(*shape):
        return rng.normal(0, scale, shape).astype(dtype)

    features = Parameters(normal(n_hidden, n_features), normal(n_features), normal(n_hidden))
    return Machine(features, Parameters(normal(n_classes, n_hidden), np.zeros(n_hidden, dtype), normal(n_classes)))


def joint_log_weights(m, rows):
    """Logs of exp(-energy) summed over the hidden states by listing them, shape (n_rows, n_classes)."""
    weights, b, c = m.features
    hidden = np.array(list(itertools.product((0.0, 1.0), repeat=len(c))))
    found = np.empty((len(rows), len(m.classes.hidden_bias)))
    for n, v in enumerate(rows):
        for y in range(found.shape[1]):
            minus_energy = hidden @ (c + weights @ v + m.classes.weights[y]) + b @ v + m.classes.hidden_bias[y]
            found[n, y] = logsumexp(minus_energy)
    return found


def log_conditional(m, rows, labels, shares):
    joint = joint_log_weights(m, rows)
    return float((joint - logsumexp(joint, axis=1, keepdims=True))[np.arange(len(rows)), labels] @ shares)


@pytest.mark.parametrize("binary", [True, False])
def test_the_gradient_is_that_of_the_log_probability(binary):
    """Against central differences of the enumerated log p(y | v), to 1e-8."""
    rng = np.random.default_rng(3)
    rows = rng.random((5, 6))
    rows = (rows > 0.5).astype(float) if binary else rows
    labels, shares = np.array([0, 2, 1, 1, 0], np.int32), np.array([0.1, 0.3, 0.2, 0.25, 0.15])
    before = machine()
    run = LabelledTraining(before.copy(), [], Key(0))
    states = pack(rows) if binary else rows
    loss = run.ascend(get_backend("cpu"), Update(Rule("sgd"), 1.0), Objective(1.0, 0.0, 0.0), states, labels, shares)
    assert_allclose(loss, -log_conditional(before, rows, labels, shares), rtol=1e-12)
    worst = 0.0
    for side in (0, 1):
        for part in (0, 1, 2):
            value = before[side][part]
            got = run.machine[side][part] - value
            for at in np.ndindex(value.shape):
                moved = []
                for step in (1e-5, -1e-5):
                    other = before.copy()
                    other[side][part][at] += step
                    moved.append(log_conditional(other, rows, labels, shares))
                worst = max(worst, abs(got[at] - (moved[0] - moved[1]) / 2e-5))
    assert worst < 1e-8


def test_the_generative_gradient_is_contrastive_divergence():
    """Many sweeps from the data: the mean of many steps is the gradient of log p(v, y), by listing all states."""
    m = machine(4, 3, 2, scale=0.5)
    rows = np.array([[1.0, 0, 1, 0], [0, 1, 1, 1]])
    labels, shares = np.array([1, 0], np.int32), np.array([0.5, 0.5])
    visible = np.array(list(itertools.product((0.0, 1.0), repeat=4)))

    def log_joint(of):
        every = joint_log_weights(of, visible)
        return float(joint_log_weights(of, rows)[[0, 1], labels] @ shares - logsumexp(every))

    total, n = None, 4000
    many = np.repeat(rows, n, axis=0)
    run = LabelledTraining(m.copy(), [], Key(5))
    run.ascend(
        get_backend("cpu"), Update(Rule("sgd"), 1.0), Objective(0.0, 1.0, 0.0, 30), pack(many),
        np.repeat(labels, n), np.full(2 * n, 0.5 / n),
    )  # fmt: skip
    for side, part in itertools.product((0, 1), (0, 1, 2)):
        value = m[side][part]
        for at in np.ndindex(value.shape):
            ends = []
            for step in (1e-5, -1e-5):
                other = m.copy()
                other[side][part][at] += step
                ends.append(log_joint(other))
            total = (run.machine[side][part] - value)[at] - (ends[0] - ends[1]) / 2e-5
            assert abs(total) < 0.03, (side, part, at)


def test_rows_without_labels_follow_log_p_of_the_features():
    m = machine(4, 3, 2, scale=0.5)
    rows = np.array([[1.0, 0, 1, 0], [0, 1, 1, 1]])
    visible = np.array(list(itertools.product((0.0, 1.0), repeat=4)))

    def log_marginal(of):
        every = joint_log_weights(of, visible)
        return float(logsumexp(joint_log_weights(of, rows), axis=1).mean() - logsumexp(every))

    n = 4000
    run = LabelledTraining(m.copy(), [], Key(5))
    run.ascend(
        get_backend("cpu"), Update(Rule("sgd"), 1.0), Objective(0.0, 0.0, 1.0, 30), pack(rows),
        np.array([0, 1], np.int32), np.full(2, 0.5), pack(np.repeat(rows, n, axis=0)),
    )  # fmt: skip
    for side, part in itertools.product((0, 1), (0, 1, 2)):
        value = m[side][part]
        for at in np.ndindex(value.shape):
            ends = []
            for step in (1e-5, -1e-5):
                other = m.copy()
                other[side][part][at] += step
                ends.append(log_marginal(other))
            assert abs((run.machine[side][part] - value)[at] - (ends[0] - ends[1]) / 2e-5) < 0.03


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_probabilities_are_those_of_the_joint_model(dtype):
    rng = np.random.default_rng(0)
    X, y = (rng.random((60, 6)) < 0.5).astype(float), rng.integers(0, 3, 60)
    rbm = DiscriminativeRBM(5, n_iter=30, batch_size=10, learning_rate=0.3, dtype=dtype, random_state=0).fit(X, y)
    both = np.array([np.concatenate([row, np.eye(3)[c]]) for row in X for c in range(3)])
    log_p = likelihood.log_likelihood(rbm.model_, both).reshape(60, 3)
    wanted = np.exp(log_p - logsumexp(log_p, axis=1, keepdims=True))
    tolerance = 1e-5 if dtype == np.float32 else 1e-12
    assert_allclose(rbm.predict_proba(X), wanted, atol=tolerance)
    assert_allclose(np.exp(rbm.predict_log_proba(X)), wanted, atol=tolerance)
    assert_allclose(np.exp(rbm.decision_function(X)), wanted, atol=tolerance)
    free = rbm.free_energy(X) + logsumexp(log_p, axis=1)
    assert np.ptp(free) < 1e-4  # log Z
    posterior = rbm.model_.hidden_means(both) if hasattr(rbm.model_, "hidden_means") else None
    x = X @ rbm.components_.T.astype(float) + rbm.intercept_hidden_
    means = 1 / (1 + np.exp(-(x[:, None] + rbm.class_components_)))
    assert posterior is None or posterior.shape == (180, 5)
    assert_allclose(rbm.transform(X), np.einsum("nc,ncj->nj", wanted, means), atol=1e-5)


@pytest.mark.parametrize("objective,least", [("discriminative", 0.89), ("hybrid", 0.89), ("generative", 0.85)])
@pytest.mark.parametrize("binary", [True, False])
def test_digits_are_learned(digits, objective, least, binary):
    X, y = digits
    X = X > 0.5 if binary else X
    options = {"n_iter": 40, "batch_size": 20, "learning_rate": 0.1, "optimizer": "sgd"}
    rbm = DiscriminativeRBM(100, objective=objective, random_state=0, **options).fit(X[:1300], y[:1300])
    assert rbm.score(X[1300:], y[1300:]) > (least - 0.04 if binary else least)
    if objective != "generative":
        assert rbm.history_["loss"][-1] < 0.2 * rbm.history_["loss"][0]


def test_rows_without_labels_help(digits):
    """Thirty labels: with the other rows the machine is better, on the mean of five seeds."""
    X, y = digits
    X = X > 0.5
    gains = []
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(X))
        few, others, held = order[:30], order[30:1200], order[1200:]
        options = dict(n_iter=200, batch_size=30, learning_rate=0.1, random_state=seed)
        alone = DiscriminativeRBM(50, **options).fit(X[few], y[few])
        both = DiscriminativeRBM(50, unlabelled_weight=0.3, **options).fit(X[few], y[few], unlabelled=X[others])
        gains.append(both.score(X[held], y[held]) - alone.score(X[held], y[held]))
    assert np.mean(gains) > 0.01, gains


@pytest.mark.parametrize("objective", ["discriminative", "hybrid", "generative"])
@pytest.mark.parametrize("binary", [True, False])
def test_same_bits_for_any_number_of_threads(digits, objective, binary):
    X, y = digits
    X = X > 0.5 if binary else X
    fits = [
        DiscriminativeRBM(33, objective=objective, n_iter=2, batch_size=64, random_state=1, n_threads=n).fit(
            X[:500], y[:500], unlabelled=X[500:800]
        )
        for n in (1, 3)
    ]
    for name in ("components_", "intercept_hidden_", "intercept_visible_", "class_components_", "intercept_classes_"):
        assert_array_equal(getattr(fits[0], name), getattr(fits[1], name))
    assert_array_equal(fits[0].predict_proba(X), fits[1].predict_proba(X))


def test_whole_weights_are_repetitions_and_zero_is_absence(digits):
    X, y = digits[0][:60] > 0.5, digits[1][:60]
    weight = np.where(np.arange(60) < 40, 1.0, 0.0)
    options = dict(n_iter=3, batch_size=20, random_state=0)
    weighted = DiscriminativeRBM(8, **options).fit(X, y, 2 * weight)
    repeated = DiscriminativeRBM(8, **options).fit(np.repeat(X[:40], 2, axis=0), np.repeat(y[:40], 2))
    assert_array_equal(weighted.components_, repeated.components_)
    # weights that are no whole numbers count as they are, up to rounding
    options |= dict(batch_size=200, shuffle=False, objective="discriminative")
    halves = DiscriminativeRBM(8, **options).fit(X, y, weight / 2 + 0.25)
    quarters = DiscriminativeRBM(8, **options).fit(np.vstack([X, X[:40], X[:40]]), np.concatenate([y, y[:40], y[:40]]))
    assert_allclose(halves.intercept_classes_, quarters.intercept_classes_, atol=1e-5)


def test_held_out_rows_stop_the_fit_and_the_best_parameters_come_back(digits):
    X, y = digits[0][:300], digits[1][:300]
    rbm = DiscriminativeRBM(
        64, n_iter=400, batch_size=20, learning_rate=0.5, validation_fraction=0.3, early_stopping=True, random_state=0
    ).fit(X, y)
    scores = rbm.history_["validation_log_probability"]
    assert rbm.n_iter_ == len(scores) < 400 and len(rbm.history_["validation_accuracy"]) == rbm.n_iter_
    assert int(np.argmax(scores)) + 1 == rbm.n_iter_ - rbm.n_iter_no_change
    again = DiscriminativeRBM(**(rbm.get_params() | {"n_iter": int(np.argmax(scores)) + 1})).fit(X, y)
    assert_array_equal(again.components_, rbm.components_)


def test_labels_of_any_type_and_warm_starts(digits):
    X, y = digits[0][:200], np.array([f"digit {k}" for k in digits[1][:200]])
    options = dict(n_iter=20, batch_size=20, learning_rate=0.2, optimizer="sgd", random_state=0)
    rbm = DiscriminativeRBM(30, warm_start=True, **options).fit(X, y)
    assert set(rbm.predict(X)) <= set(y) and rbm.score(X, y) > 0.8
    before = rbm.components_.copy()
    rbm.fit(X, y)
    assert not np.array_equal(rbm.components_, before) and rbm.score(X, y) > 0.9
    with pytest.raises(ValueError, match="y must hold classes of the first call"):
        rbm.fit(X, np.where(y == "digit 3", "other", y))
    assert_array_equal(pickle.loads(pickle.dumps(rbm)).predict_proba(X), rbm.predict_proba(X))


def test_pieces_of_data_are_passed_over_once_each(digits):
    X, y = digits[0][:400], digits[1][:400]
    options = dict(batch_size=20, learning_rate=0.2, optimizer="adam", random_state=0, validation_fraction=0.2)
    options |= dict(learning_rate=0.005)
    rbm = DiscriminativeRBM(40, **options)
    with pytest.raises(ValueError, match="classes must be given in the first call"):
        rbm.partial_fit(X[:100], y[:100])
    rbm.partial_fit(X[:5], y[:5], classes=range(10))
    for _ in range(15):
        for first in range(0, 400, 100):
            rbm.partial_fit(X[first : first + 100], y[first : first + 100])
    assert rbm.n_iter_ == 1 and rbm.score(X, y) > 0.9
    with pytest.raises(ValueError, match="classes must be those of the first call"):
        rbm.partial_fit(X, y, classes=range(9))
    # passes of `fit` and of `partial_fit` over all rows are the same
    options |= dict(validation_fraction=0.0)
    whole = DiscriminativeRBM(40, n_iter=3, **options).fit(X, y)
    pieces = DiscriminativeRBM(40, **options)
    for _ in range(3):
        pieces.partial_fit(X, y, classes=range(10))
    assert_array_equal(whole.components_, pieces.components_)
    assert_array_equal(
        pickle.loads(pickle.dumps(pieces)).partial_fit(X, y).components_, pieces.partial_fit(X, y).components_
    )


def test_it_works_in_pipelines_and_searches(digits):
    X, y = digits[0][:300] * 100 - 3, digits[1][:300]
    pipeline = make_pipeline(MinMaxScaler(clip=True), DiscriminativeRBM(40, n_iter=10, batch_size=20, random_state=0))
    search = GridSearchCV(pipeline, {"discriminativerbm__learning_rate": [1e-4, 0.2]}, cv=2).fit(X, y)
    assert search.best_params_ == {"discriminativerbm__learning_rate": 0.2}


@pytest.mark.parametrize(
    "options,message",
    [
        ({"objective": "best"}, "objective must be one of"),
        ({"generative_weight": -1}, "generative_weight must be"),
        ({"unlabelled_weight": np.nan}, "unlabelled_weight must be"),
        ({"learning_rate": 0}, "learning_rate must be"),
        ({"early_stopping": True}, "validation_fraction must be above 0"),
        ({"validation_fraction": 1.0}, "validation_fraction must be"),
        ({"device": "cuda"}, "device must be"),
        ({"dtype": "int8"}, "dtype must be"),
        ({"n_components": 0}, "n_components must be"),
        ({"out_of_range": "clip"}, "out_of_range must be"),
        ({"random_state": -1}, "random_state must be"),
    ],
)
def test_bad_options_are_named_and_nothing_changes(digits, options, message):
    rbm = DiscriminativeRBM(8, n_iter=1, random_state=0).fit(digits[0][:50], digits[1][:50])
    before = dict(vars(rbm)) | options
    rbm.set_params(**options)
    with pytest.raises(ValueError, match=message):
        rbm.fit(digits[0][:40], digits[1][:40])
    assert vars(rbm).keys() == before.keys() and all(vars(rbm)[k] is before[k] for k in before)


def test_bad_data_are_named(digits):
    X, y = digits[0][:50], digits[1][:50]
    rbm = DiscriminativeRBM(8, n_iter=1, random_state=0)
    for args, kwargs, message in (
        ((X, np.zeros(50)), {}, "y must have at least two classes, got one class"),
        ((X, y[:40]), {}, "inconsistent numbers of samples"),
        ((X, y + 0.5), {}, "Unknown label type"),
        ((X * np.nan, y), {}, "NaN"),
        ((X, y, np.zeros(50)), {}, "at least one non-zero"),
        ((X, y), {"unlabelled": X[:, :9]}, "9 features"),
    ):
        with pytest.raises(ValueError, match=message):
            rbm.fit(*args, **kwargs)
        assert not hasattr(rbm, "components_") and not hasattr(rbm, "classes_")
    with pytest.raises(ValueError, match="out_of_range|should hold values|must hold"):
        DiscriminativeRBM(8, n_iter=1, out_of_range="error").fit(X * 2, y)


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_native_passes_are_those_of_composed_minibatches(digits, monkeypatch, binary, weighted):
    """To the tolerance of float32, with what is told of each pass; also where weights outgrow the kernels."""
    X, y = digits[0][:330], digits[1][:330]
    X = X > 0.5 if binary else X
    weight = 0.5 + np.arange(330) % 3 if weighted else None
    options = dict(objective="discriminative", n_iter=4, batch_size=20, learning_rate=0.1, random_state=0)
    options |= dict(validation_fraction=0.1, optimizer="sgd")
    native = DiscriminativeRBM(40, **options).fit(X, y, weight)
    before, ascended = LabelledTraining.ascend_many, []

    def in_turn(self, *args):
        ascended.append(len(ascended) % 2)
        return np.empty(0) if ascended[-1] else before(self, *args[:4], args[4][:40], args[5][:40],
                                                       None if args[6] is None else args[6][:40], args[7])  # fmt: skip

    monkeypatch.setattr(LabelledTraining, "ascend_many", in_turn)
    mixed = DiscriminativeRBM(40, **options).fit(X, y, weight)
    assert len(ascended) > 10
    monkeypatch.setattr(LabelledTraining, "ascend_many", lambda *_: np.empty(0))
    composed = DiscriminativeRBM(40, **options).fit(X, y, weight)
    for other in (mixed, composed):
        assert other._training.updates == native._training.updates and other._training.step == native._training.step
        for name in ("components_", "intercept_hidden_", "class_components_", "intercept_classes_"):
            assert_allclose(getattr(native, name), getattr(other, name), atol=2e-6)
        assert_array_equal(native.intercept_visible_, other.intercept_visible_)
        for name in ("loss", "validation_log_probability"):
            assert_allclose(native.history_[name], other.history_[name], rtol=1e-5)


def test_defaults_do_for_small_tables():
    """Labels see all hidden units move alike, which plain steps of a usual rate do not survive."""
    X, y = load_wine(return_X_y=True)
    X = minmax_scale(X)
    scores = [
        DiscriminativeRBM(random_state=seed).fit(X[seed::2], y[seed::2]).score(X[1 - seed :: 2], y[1 - seed :: 2])
        for seed in (0, 1)
    ]
    assert min(scores) > 0.9


def test_minus_one_is_a_class_and_that_is_said(digits):
    X, y = digits[0][:60], digits[1][:60]
    with pytest.warns(UserWarning, match="unlabelled="):
        DiscriminativeRBM(5, n_iter=1).fit(X, np.where(y > 4, -1, y))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        DiscriminativeRBM(5, n_iter=1).fit(X, np.where(y > 4, -1, 1))


def test_names_of_columns_raise_no_warning(digits):
    pd = pytest.importorskip("pandas")
    table = pd.DataFrame(digits[0][:50]).add_prefix("pixel ")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rbm = DiscriminativeRBM(5, n_iter=1).fit(table, digits[1][:50], unlabelled=table)
        rbm.predict(table)
        rbm.transform(table)
    with pytest.raises(ValueError, match="feature names"):
        rbm.predict(table.rename(columns={"pixel 0": "other"}))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_divergence_is_an_error_and_the_last_finite_parameters_stay(digits):
    rbm = DiscriminativeRBM(8, n_iter=50, learning_rate=1e39, objective="generative", optimizer="sgd", random_state=0)
    with pytest.raises(DivergenceError, match="Lower learning_rate"):
        rbm.fit(digits[0][:100], digits[1][:100])
    assert np.isfinite(rbm.components_).all()


@parametrize_with_checks([DiscriminativeRBM(16, n_iter=60, batch_size=10, random_state=0)])
def test_scikit_learn_checks(estimator, check):
    check(estimator)
