"""Parameters that were set by hand, or come from a file that is mapped, are trained on like any others."""

import copy

import joblib
import numpy as np
import pytest
from numpy.testing import assert_array_equal

import fastrbm
from fastrbm import Adam, BernoulliRBM, GaussianRBM, IsingRBM, PottsRBM, SoftmaxRBM
from fastrbm.regularizers import WeightUncertainty

BITS = (np.random.default_rng(0).random((20, 6)) < 0.4).astype(float)
OPTIONS = {
    "pcd": {"algorithm": "pcd"},
    "pt": {"algorithm": "pt"},
    "fpcd": {"algorithm": "fpcd"},
    "cd": {"algorithm": "cd"},
    "exact": {"algorithm": "exact"},
    "all": {"optimizer": Adam(), "centered": True, "regularizers": WeightUncertainty(), "algorithm": "pcd"},
}
ESTIMATORS = {
    "bernoulli": (BernoulliRBM(8), BITS),
    "ising": (IsingRBM(8), 2 * BITS - 1),
    "potts": (PottsRBM(8), BITS),
    "learned": (GaussianRBM(8, sigma="learned"), BITS),
    "softmax": (SoftmaxRBM(8), BITS),
}


def fitted(name, options):
    rbm, X = ESTIMATORS[name]
    return copy.deepcopy(rbm).set_params(random_state=0, n_iter=2, **OPTIONS[options]).fit(X), X


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_model_that_is_mapped_is_trained_on_to_the_same_bits(name, options, tmp_path):
    rbm, X = fitted(name, options)
    joblib.dump(rbm, tmp_path / "model")
    mapped = [joblib.load(tmp_path / "model", mmap_mode="r") for _ in range(2)]
    assert not mapped[0].components_.flags.writeable
    wanted = copy.deepcopy(rbm).set_params(warm_start=True).fit(X)
    assert_array_equal(mapped[0].set_params(warm_start=True).fit(X).components_, wanted.components_)
    assert_array_equal(mapped[1].partial_fit(X).components_, copy.deepcopy(rbm).partial_fit(X).components_)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("name", ESTIMATORS)
def test_training_goes_on_after_hidden_units_were_taken_away(name, options, tmp_path):
    rbm, X = fitted(name, options)
    rbm.components_, rbm.intercept_hidden_ = rbm.components_[::2].copy(), rbm.intercept_hidden_[::2].copy()
    rbm.set_params(warm_start=True)
    before, kept = rbm.transform(X), rbm.components_.copy()
    saved = fastrbm.load(rbm.save(tmp_path / "pruned.npz"))
    assert_array_equal(saved.transform(X), before)
    for method in ("fit", "partial_fit"):
        with pytest.raises(ValueError, match="n_components and the features of X must stay"):
            getattr(rbm, method)(X)
        assert_array_equal(rbm.transform(X), before)
    rbm.set_params(n_components=4, n_iter=0).fit(X)
    assert_array_equal(rbm.components_, kept)
    rbm.set_params(n_iter=2).fit(X)
    assert_array_equal(saved.set_params(n_components=4).fit(X).components_, rbm.components_)
    rbm.partial_fit(X)
    assert rbm.components_.shape[0] == 4 and (rbm.components_ != kept).any()
    assert fastrbm.load(rbm.save(tmp_path / "model.npz")).sample(2, 3).shape == (2, rbm.components_.shape[1])


@pytest.mark.parametrize("kind", [int, bool, np.float16, np.float32, np.float64, ">f8", list])
@pytest.mark.parametrize(
    "rows", [BITS, BITS.astype(np.uint8), BITS.astype(bool), BITS.astype("f4")], ids=lambda x: x.dtype.name
)
def test_parameters_by_hand_may_have_any_type(kind, rows):
    values = np.ones((2, 6)), np.zeros(6), np.zeros(2)
    found = {}
    for dtype in (float, kind):
        rbm = BernoulliRBM(2, random_state=0)
        arrays = [x.tolist() if dtype is list else x.astype(dtype) for x in values]
        rbm.components_, rbm.intercept_visible_, rbm.intercept_hidden_ = arrays
        found[dtype] = rbm.transform(rows), rbm.reconstruct(rows), rbm.gibbs(rows), rbm.score_samples(rows)
        rbm.partial_fit(rows)
        found[dtype] += (rbm.components_,)
    for got, wanted in zip(found[kind], found[float], strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5)


WRONG = {
    "temperature": [0, -1.0, None, "x", np.nan, np.zeros(2)],
    "input_scale": [0, -1.0, None, "x", np.nan, np.inf, np.zeros(2)],
    "out_of_range": ["x", None, 1, np.zeros(2)],
    "random_stream": ["x", None, np.zeros(2)],
    "device": ["x", None, np.zeros(2)],
    "strategy": ["x", None, np.zeros(2)],
    "precision": ["x", None, np.zeros(2)],
    "n_threads": [0, 1.5, "x", (1,), np.zeros(2)],
    "scaling": ["x", None, 1, np.zeros(2)],
    "sigma": ["x", None, -1.0, [1.0, 2.0], {}],
}


@pytest.mark.parametrize("option", WRONG)
@pytest.mark.parametrize("by_hand", [True, False], ids=["by hand", "fitted"])
@pytest.mark.parametrize("cls", [BernoulliRBM, GaussianRBM, fastrbm.compat.BernoulliRBM])
def test_options_that_were_set_to_nonsense_are_named_by_every_method(cls, by_hand, option):
    if not hasattr(cls(), option):
        pytest.skip("no option of this estimator")
    if not by_hand and option == "sigma":
        pytest.skip("the fit has found it")
    for value in WRONG[option]:
        rbm = cls(2, n_iter=1, random_state=0)
        if by_hand:
            rbm.components_, rbm.intercept_visible_, rbm.intercept_hidden_ = np.ones((2, 6)), np.zeros(6), np.zeros(2)
        else:
            rbm.fit(BITS)
        rbm.set_params(**{option: value})
        for name in ("transform", "reconstruct", "gibbs", "sample_hidden", "free_energy", "score"):
            with pytest.raises(ValueError, match=option):
                getattr(rbm, name)(BITS)
        with pytest.raises(ValueError, match=option):
            rbm.sample(2, 3)
        if value is None or option not in ("device", "strategy", "precision"):  # which the model has none of
            with pytest.raises(ValueError, match=option):
                rbm.model_  # noqa: B018
