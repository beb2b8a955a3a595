"""A call that fails leaves an estimator as it was; parameters set by hand are checked, and used."""

import copy
import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.neural_network import BernoulliRBM as Original

from fastrbm import (
    RBM,
    SGD,
    Adam,
    BernoulliRBM,
    GaussianRBM,
    IsingRBM,
    PottsRBM,
    SoftmaxRBM,
    callbacks,
    compat,
    fit_many,
)

RNG = np.random.default_rng(0)
BITS = (RNG.random((40, 6)) < 0.4).astype(np.float64)
OPTIONS = dict(n_components=4, n_iter=2, random_state=0)

ESTIMATORS = {
    "BernoulliRBM": (BernoulliRBM(**OPTIONS), BITS),
    "momentum": (BernoulliRBM(**OPTIONS, optimizer=SGD(momentum=0.9)), BITS),
    "float64": (BernoulliRBM(**OPTIONS, dtype=np.float64), BITS),
    "warm": (BernoulliRBM(**OPTIONS, warm_start=True, optimizer="adam"), BITS),
    "tempered": (BernoulliRBM(**OPTIONS, warm_start=True, algorithm="pt"), BITS),
    "exact": (BernoulliRBM(**OPTIONS, algorithm="exact"), BITS),
    "compat": (compat.BernoulliRBM(**OPTIONS), BITS),
    "IsingRBM": (IsingRBM(**OPTIONS), 2 * BITS - 1),
    "PottsRBM": (PottsRBM(**OPTIONS, algorithm="em", learning_rate=0.5), BITS),
    "GaussianRBM": (GaussianRBM(**OPTIONS, sigma="data"), RNG.normal(size=(40, 6))),
    "learned": (GaussianRBM(**OPTIONS, sigma="learned", warm_start=True), RNG.normal(size=(40, 6))),
    "SoftmaxRBM": (SoftmaxRBM(**OPTIONS), np.floor(3 * RNG.random((40, 6)))),
    "warm SoftmaxRBM": (SoftmaxRBM(**OPTIONS, warm_start=True), np.floor(3 * RNG.random((40, 6)))),
    "RBM": (RBM(**OPTIONS, visible="binomial(3)", hidden="relu"), np.floor(4 * RNG.random((40, 6)))),
}


class Refuses(callbacks.Callback):
    def on_fit_begin(self, run):
        raise RuntimeError("not today")


def spoiled(X, value):
    X = X.copy()
    X[3, 2] = value
    return X


FAILURES = {
    "NaN": lambda rbm, X: rbm.fit(spoiled(X, np.inf)),
    "all NaN": lambda rbm, X: rbm.fit(X * np.nan if not isinstance(rbm, SoftmaxRBM) else X * np.inf),
    "infinite": lambda rbm, X: rbm.partial_fit(spoiled(X, np.inf)),
    "strings": lambda rbm, X: rbm.fit([["a", "b"]]),
    "no rows": lambda rbm, X: rbm.fit(X[:0]),
    "one dimension": lambda rbm, X: rbm.fit(X[0]),
    "iterator": lambda rbm, X: rbm.fit(iter([X])),
    "chunks of other widths": lambda rbm, X: rbm.fit([X, X[:, 1:]]),
    "weights of a wrong length": lambda rbm, X: rbm.fit(X, sample_weight=np.ones(3)),
    "negative weights": lambda rbm, X: rbm.fit(X, sample_weight=-np.ones(len(X))),
    "weights of zero": lambda rbm, X: rbm.fit(X, sample_weight=np.zeros(len(X))),
    "weights in partial_fit": lambda rbm, X: rbm.partial_fit(X, sample_weight=np.ones(3)),
    "width": lambda rbm, X: rbm.partial_fit(X[:, :3]),
    "option": lambda rbm, X: rbm.set_params(learning_rate=-1.0).fit(X),
    "excluded option": lambda rbm, X: rbm.set_params(algorithm="cd", n_chains=3).fit(X),
    "init": lambda rbm, X: rbm.set_params(init=np.zeros((2, 2))).fit(X),
    "hidden units": lambda rbm, X: rbm.set_params(n_components=9).partial_fit(X),
    "callback": lambda rbm, X: rbm.set_params(callbacks=[Refuses()]).fit(X),
    "callbacks that restore": lambda rbm, X: rbm.set_params(
        callbacks=[callbacks.EarlyStopping(callbacks.ReconstructionError(X), False), Refuses()]
    ).fit(X),
    "no row to train on": lambda rbm, X: rbm.set_params(validation_fraction=0.99, algorithm="cd").fit(X[:2]),
    "device": lambda rbm, X: rbm.set_params(device="cuda:7").fit(X),
    "one of many": lambda rbm, X: fit_many([rbm, BernoulliRBM(2, callbacks=[Refuses()])], X),
}
WITHOUT_WEIGHTS = ("weights of a wrong length", "negative weights", "weights of zero", "weights in partial_fit")


def attributes(rbm):
    """Everything that an estimator holds, but for its options."""
    return {name: value for name, value in vars(rbm).items() if name not in rbm.get_params(deep=False)}


def same(a, b, at=""):
    assert type(a) is type(b), at
    if isinstance(a, np.ndarray):
        assert a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes(), at
    elif isinstance(a, dict):
        assert list(a) == list(b), at
        for name in a:
            same(a[name], b[name], f"{at}.{name}")
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), at
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            same(x, y, f"{at}[{i}]")
    elif isinstance(a, np.random.RandomState):
        same(a.get_state(), b.get_state(), at)
    elif hasattr(a, "__dict__"):
        same(vars(a), vars(b), at)
    else:
        assert a == b, at


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_call_that_fails_leaves_everything_as_it_was(name, failure):
    rbm, X = ESTIMATORS[name]
    rbm = copy.deepcopy(rbm).fit(X)
    if name == "compat" and failure in WITHOUT_WEIGHTS:
        pytest.skip("takes no weights of rows, as scikit-learn's does not")
    if name == "compat" and failure == "hidden units":
        pytest.skip("goes on with the hidden units it has, as scikit-learn's does")
    if failure == "init" and rbm.warm_start:
        pytest.skip("goes on from the parameters it has")
    before, features = copy.deepcopy(attributes(rbm)), rbm.transform(X)
    options = rbm.get_params(deep=False)
    with pytest.raises((ValueError, TypeError, RuntimeError)):
        FAILURES[failure](rbm, X)
    same(attributes(rbm), before)
    rbm.set_params(**options)
    np.testing.assert_array_equal(rbm.transform(X), features)
    twin, _ = ESTIMATORS[name]
    twin = copy.deepcopy(twin).fit(X)
    for model in (rbm, twin):
        model.fit(X)
    np.testing.assert_array_equal(rbm.components_, twin.components_)


@pytest.mark.parametrize("failure", [f for f in FAILURES if f not in ("width", "hidden units")])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_first_fit_that_fails_leaves_nothing(name, failure):
    rbm, X = ESTIMATORS[name]
    rbm = copy.deepcopy(rbm)
    if name == "compat" and failure in WITHOUT_WEIGHTS:
        pytest.skip("takes no weights of rows, as scikit-learn's does not")
    with pytest.raises((ValueError, TypeError, RuntimeError)):
        FAILURES[failure](rbm, X)
    assert not attributes(rbm)


# -- parameters set by hand --------------------------------------------------------------------------------------------


def by_hand(rbm, n_hidden=3, n_visible=6, dtype=np.float64):
    rng = np.random.default_rng(1)
    rbm.components_ = rng.normal(size=(n_hidden, n_visible)).astype(dtype)
    rbm.intercept_hidden_ = rng.normal(size=n_hidden).astype(dtype)
    rbm.intercept_visible_ = rng.normal(size=n_visible).astype(dtype)
    return rbm


CALLS = {
    "transform": lambda rbm, X: rbm.transform(X),
    "reconstruct": lambda rbm, X: rbm.reconstruct(X),
    "reconstruction_error": lambda rbm, X: rbm.reconstruction_error(X),
    "free_energy": lambda rbm, X: rbm.free_energy(X),
    "score": lambda rbm, X: rbm.score(X),
    "log_likelihood": lambda rbm, X: rbm.log_likelihood(X, "exact"),
    "gibbs": lambda rbm, X: rbm.gibbs(X),
    "sample_hidden": lambda rbm, X: rbm.sample_hidden(X),
    "sample": lambda rbm, X: rbm.sample(5, 3),
    "sample from rows": lambda rbm, X: rbm.sample(5, 3, init=X[:5]),
    "sample with a clamp": lambda rbm, X: rbm.sample(5, 3, clamp=np.where(np.arange(X.shape[1]) < 2, X[0], np.nan)),
    "hot": lambda rbm, X: rbm.sample(5, 3, temperature=2.0),
    "model_": lambda rbm, X: rbm.model_,
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    "rbm,X",
    [(BernoulliRBM(), BITS), (compat.BernoulliRBM(), BITS), (PottsRBM(), BITS), (IsingRBM(), 2 * BITS - 1),
     (GaussianRBM(), BITS), (RBM(visible="binomial(3)"), BITS), (BernoulliRBM(dtype=np.float64), sp.csr_matrix(BITS)),
     (SoftmaxRBM(n_categories=2), BITS[:, :3])],
)  # fmt: skip
def test_parameters_set_by_hand_are_used(rbm, X, call):
    rbm = by_hand(copy.deepcopy(rbm))
    if call == "hot" and rbm.units[0] in ("gaussian", "binomial(3)"):
        pytest.skip("the units have a base measure")
    if call == "sample with a clamp" and (sp.issparse(X) or isinstance(rbm, SoftmaxRBM)):
        pytest.skip("clamps are rows of visible units")
    if call == "sample from rows" and isinstance(rbm, SoftmaxRBM):
        pytest.skip("starts are rows of visible units")
    got = CALLS[call](rbm, X)
    if isinstance(got, np.ndarray):
        assert np.isfinite(got).all()
    assert not hasattr(rbm, "n_features_in_")


def test_they_give_what_scikit_learn_gives():
    ours, theirs = by_hand(BernoulliRBM()), by_hand(Original())
    np.testing.assert_allclose(ours.transform(BITS), theirs.transform(BITS), rtol=1e-12)
    np.testing.assert_allclose(ours.free_energy(BITS), theirs._free_energy(BITS), rtol=1e-12)


def test_a_model_set_by_hand_is_trained_on_and_saved(tmp_path):
    import fastrbm

    rbm = by_hand(BernoulliRBM(3, random_state=0))
    again = fastrbm.load(rbm.save(tmp_path / "model.npz"))
    np.testing.assert_array_equal(again.transform(BITS), rbm.transform(BITS))
    before = rbm.components_.copy()
    rbm.partial_fit(BITS)
    assert 0 < np.abs(rbm.components_ - before).max() < 1


WRONG = {
    "hidden bias": lambda rbm: setattr(rbm, "intercept_hidden_", rbm.intercept_hidden_[:-1]),
    "visible bias": lambda rbm: setattr(rbm, "intercept_visible_", rbm.intercept_visible_[:-1]),
    "weights": lambda rbm: setattr(rbm, "components_", rbm.components_[:-1]),
    "transposed": lambda rbm: setattr(rbm, "components_", rbm.components_.T),
    "flat": lambda rbm: setattr(rbm, "components_", rbm.components_.ravel()),
    "a matrix of biases": lambda rbm: setattr(rbm, "intercept_hidden_", rbm.intercept_hidden_[:, None]),
    "text": lambda rbm: setattr(rbm, "components_", rbm.components_.astype(str)),
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("call", CALLS)
def test_arrays_that_do_not_fit_are_refused_with_their_shapes(call, wrong):
    for rbm in (by_hand(BernoulliRBM()), BernoulliRBM(**OPTIONS).fit(BITS)):
        WRONG[wrong](rbm)
        with pytest.raises(ValueError, match="components_, intercept_visible_ and intercept_hidden_ must"):
            CALLS[call](rbm, BITS)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("name", ESTIMATORS)
def test_hidden_units_can_be_taken_away(name, call):
    rbm, X = ESTIMATORS[name]
    rbm = copy.deepcopy(rbm).fit(X)
    keep = [0, 2, 3]
    rbm.components_, rbm.intercept_hidden_ = rbm.components_[keep], rbm.intercept_hidden_[keep]
    if call == "score" and name == "RBM":
        pytest.skip("ReLU units have no list of states")
    if call in ("hot", "sample with a clamp", "sample from rows") and (
        isinstance(rbm, (GaussianRBM, SoftmaxRBM)) or name == "RBM"
    ):
        pytest.skip("not for these units")
    if call == "log_likelihood" and name == "RBM":
        pytest.skip("ReLU units have no list of states")
    got = CALLS[call](rbm, X)
    if call in ("transform", "sample_hidden"):
        assert got.shape == (len(X), 3) and len(rbm.get_feature_names_out()) == 3


@pytest.mark.parametrize("name", ESTIMATORS)
def test_options_set_after_a_fit_leave_the_fitted_width(name):
    rbm, X = ESTIMATORS[name]
    rbm = copy.deepcopy(rbm).fit(X)
    wanted = rbm.sample(4, 3, random_state=0)
    np.testing.assert_array_equal(rbm.set_params(n_components=50).sample(4, 3, random_state=0), wanted)
    if isinstance(rbm, SoftmaxRBM):
        wanted = rbm.predict_proba(X)
        np.testing.assert_array_equal(rbm.set_params(n_categories=7).predict_proba(X), wanted)


def test_an_estimator_of_an_earlier_pickle_is_read():
    rbm = BernoulliRBM(**OPTIONS).fit(BITS)
    state = rbm.__getstate__() | {"_n_features_out": 4}
    again = pickle.loads(pickle.dumps(rbm))
    again.__setstate__(state)
    np.testing.assert_array_equal(again.transform(BITS), rbm.transform(BITS))


# -- names that users of scikit-learn call -----------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [BernoulliRBM, compat.BernoulliRBM])
def test_rows_of_one_dimension_are_as_in_scikit_learn(cls):
    ours, theirs = by_hand(cls(random_state=0)), by_hand(Original(random_state=0))
    v, h = BITS[0], np.array([1.0, 0, 1])
    np.testing.assert_allclose(ours._mean_hiddens(v), theirs._mean_hiddens(v))
    for name, x in (("_sample_hiddens", v), ("_sample_visibles", h)):
        got, wanted = (getattr(m, name)(x, np.random.RandomState(0)) for m in (ours, theirs))
        np.testing.assert_array_equal(got, wanted)
    if cls is compat.BernoulliRBM:
        np.testing.assert_array_equal(ours.gibbs(v), theirs.gibbs(v))
    np.testing.assert_allclose(ours._free_energy(BITS), theirs._free_energy(BITS))


@pytest.mark.parametrize("name", ["gibbs", "_free_energy", "transform", "sample_hidden", "reconstruct"])
def test_rows_of_one_dimension_are_refused_elsewhere(name):
    rbm = by_hand(BernoulliRBM())
    with pytest.raises(ValueError, match="Expected 2D array, got 1D array"):
        getattr(rbm, name)(BITS[0])
    with pytest.raises(ValueError, match=r"h must have shape \(n_samples, 3\), got \(4,\)"):
        rbm._sample_visibles(np.ones(4), np.random.RandomState(0))


@pytest.mark.parametrize("cls", [GaussianRBM, IsingRBM, SoftmaxRBM, PottsRBM, RBM])
def test_private_names_of_scikit_learn_are_absent_where_they_would_be_wrong(cls):
    for name in ("_mean_hiddens", "_sample_hiddens", "_sample_visibles", "_free_energy"):
        assert not hasattr(cls(), name)
    with pytest.raises(ValueError, match="random_stream='sklearn'"):
        cls(random_stream="sklearn", shuffle=False, **({"hidden": "ising"} if cls is RBM else {})).fit(BITS)


def test_adam_is_untouched_by_a_failed_continuation():
    rbm = BernoulliRBM(**OPTIONS, optimizer=Adam(), warm_start=True).fit(BITS)
    slots = [x.copy() for slot in rbm._state.slots for x in slot]
    with pytest.raises(ValueError):
        rbm.set_params(optimizer="sgd", init=3).fit(BITS)
    for before, now in zip(slots, (x for slot in rbm._state.slots for x in slot), strict=True):
        np.testing.assert_array_equal(now, before)
