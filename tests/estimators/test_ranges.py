"""Values outside [0, 1], and what uint8 values mean."""

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import BernoulliRBM as Original
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

import fastrbm
from fastrbm import RBM, BernoulliRBM, DataRangeWarning, IsingRBM, PottsRBM, compat, fit_many

RNG = np.random.default_rng(0)
GREY = RNG.random((50, 6))
OPTIONS = dict(n_components=4, n_iter=2, random_state=0)
UP = np.nextafter(1, 2)


@pytest.fixture
def silence():
    with warnings.catch_warnings():
        warnings.simplefilter("error", DataRangeWarning)
        yield


# -- rounding ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["warn", "error"])
def test_what_a_scaler_leaves_by_rounding_is_clipped_in_silence(silence, mode):
    seen = 0
    for seed in range(60):
        X = np.random.default_rng(seed).normal(size=(60, 9)) * 10 ** np.random.default_rng(seed).uniform(-6, 6, 9)
        scaled = MinMaxScaler().fit_transform(X)
        seen += scaled.max() > 1 or scaled.min() < 0
        y = np.arange(60) % 2
        pipe = make_pipeline(MinMaxScaler(), BernoulliRBM(3, n_iter=1, out_of_range=mode), LogisticRegression())
        pipe.fit(X, y).predict(X)
    assert seen > 5  # tables that a scaler puts above 1


@pytest.mark.parametrize("cls", [BernoulliRBM, PottsRBM, RBM])
@pytest.mark.parametrize("make", [np.array, sp.csr_matrix, lambda x: [x[:30], x[30:]], lambda x: x.astype(np.float32)])
def test_rounding_changes_no_bit(silence, cls, make):
    for exact in (GREY, (GREY > 0.5).astype(float)):
        exact = np.clip(exact, 0, 1)
        exact[3] = 1.0
        rounded = exact.copy()
        rounded[3] = UP
        rounded[4, 2], exact[4, 2] = -2e-16, 0
        a, b = (cls(**OPTIONS, out_of_range="error", shuffle=False).fit(make(x)) for x in (exact, rounded))
        np.testing.assert_array_equal(a.components_, b.components_)
        np.testing.assert_array_equal(a.transform(make(exact)), a.transform(make(rounded)))


@pytest.mark.parametrize(
    "estimator,X",
    [(IsingRBM(3), 2.0 * (GREY > 0.5) - 1), (RBM(3, visible="binomial(3)"), np.floor(4 * GREY)),
     (RBM(3, visible="onehot(2)"), np.tile([1.0, 0.0], (50, 3))), (RBM(3, visible="relu"), np.floor(4 * GREY))],
)  # fmt: skip
def test_states_that_rounding_has_moved_are_states(silence, estimator, X):
    estimator.set_params(n_iter=1, random_state=0)
    exact = estimator.fit(X).components_.copy()
    moved = np.where(X == 0, -1e-16, X * (1 + 2e-16))
    np.testing.assert_array_equal(estimator.fit(moved).components_, exact)
    X[2, 1] = -0.25 if estimator.units[0] == "relu" else 0.25
    with pytest.raises(ValueError, match="X must hold .* row 2, column 1"):
        estimator.fit(X)


# -- values outside ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["fit", "partial_fit", "transform", "reconstruct", "gibbs", "sample_hidden"])
@pytest.mark.parametrize("cls", [BernoulliRBM, PottsRBM, RBM])
def test_one_warning_a_call_with_column_range_and_remedy(method, cls):
    rbm = cls(**OPTIONS).fit(GREY)
    X = GREY.copy()
    X[7, 3], X[9, 4] = 1.5, -0.25
    with pytest.warns(DataRangeWarning) as found:
        getattr(rbm, method)(X)
    assert len(found) == 1 and found[0].filename == __file__
    for text in (cls.__name__, "from -0.25 to 1.5", "column 3", "MinMaxScaler", "input_scale", "out_of_range="):
        assert text in str(found[0].message)
    with pytest.raises(ValueError, match=r"values from -0.25 to 1.5, the first one outside in column 3"):
        getattr(rbm.set_params(out_of_range="error"), method)(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        getattr(rbm.set_params(out_of_range="allow"), method)(X)


def test_the_column_has_its_name():
    pd = pytest.importorskip("pandas")
    with pytest.warns(DataRangeWarning, match=r"column 1 \('age'\)"):
        BernoulliRBM(**OPTIONS).fit(pd.DataFrame({"sex": [0, 1], "age": [0.5, 33]}))


def test_one_warning_for_all_pieces_and_all_models():
    pieces = [GREY, GREY + 1, GREY + 2]
    for call in (
        lambda: BernoulliRBM(**OPTIONS).fit(pieces),
        lambda: fit_many([BernoulliRBM(**OPTIONS), BernoulliRBM(5)], np.vstack(pieces)),
        lambda: BernoulliRBM(**OPTIONS, validation_fraction=0.3, verbose=0).fit(np.vstack(pieces)),
    ):
        with pytest.warns(DataRangeWarning) as found:
            call()
        assert len([w for w in found if w.category is DataRangeWarning]) == 1


def test_values_outside_are_used_as_scikit_learn_uses_them():
    X = 3 * GREY - 1
    with pytest.warns(DataRangeWarning):
        ours = BernoulliRBM(**OPTIONS, random_stream="sklearn", shuffle=False).fit(X)
    theirs = Original(**OPTIONS).fit(X)
    np.testing.assert_allclose(ours.components_, theirs.components_, atol=1e-10)
    with pytest.warns(DataRangeWarning):
        np.testing.assert_allclose(ours.transform(X), theirs.transform(X), atol=1e-10)
    warned, allowed = BernoulliRBM(**OPTIONS), BernoulliRBM(**OPTIONS, out_of_range="allow")
    with pytest.warns(DataRangeWarning):
        warned.fit(X)
    np.testing.assert_array_equal(warned.components_, allowed.fit(X).components_)


# -- what uint8 means --------------------------------------------------------------------------------------------------

IMAGES = RNG.integers(0, 256, (50, 6)).astype(np.uint8)


@pytest.mark.parametrize(
    "name,values",
    [("genotypes", RNG.integers(0, 3, (50, 6))), ("counts", RNG.poisson(2.0, (50, 6))),
     ("ratings", RNG.integers(1, 6, (50, 6))), ("sixteenths", RNG.integers(0, 17, (50, 6)))],
)  # fmt: skip
@pytest.mark.parametrize("make", [np.array, np.asfortranarray, sp.csr_matrix, lambda x: [x[:20], x[20:]]])
def test_uint8_that_is_no_image_is_what_it_is_in_int64(name, values, make):
    with pytest.warns(DataRangeWarning, match="got values from"):
        small = BernoulliRBM(**OPTIONS).fit(make(values.astype(np.uint8)))
    with pytest.warns(DataRangeWarning):
        wide = BernoulliRBM(**OPTIONS).fit(make(values.astype(np.int64)))
    assert small.input_scale_ == 1
    np.testing.assert_array_equal(small.components_, wide.components_)
    with pytest.warns(DataRangeWarning):
        np.testing.assert_allclose(small.transform(make(values.astype(np.uint8))), wide.transform(values), rtol=1e-5)


@pytest.mark.parametrize("values", [IMAGES, IMAGES // 128 * 255, IMAGES // 4, np.where(IMAGES > 128, 255, 0)])
@pytest.mark.parametrize("make", [np.array, np.asfortranarray, sp.csr_matrix, lambda x: [x[:20], x[20:]]])
def test_uint8_images_are_divided_by_255(silence, values, make):
    values = values.astype(np.uint8)
    rbm = BernoulliRBM(**OPTIONS, shuffle=False).fit(make(values))
    same = BernoulliRBM(**OPTIONS, shuffle=False).fit(make((values * np.float32(1 / 255)).astype(np.float32)))
    assert rbm.input_scale_ == 1 / 255
    # products of bytes are exact, those of floats are rounded
    np.testing.assert_allclose(rbm.components_, same.components_, atol=1e-6)
    np.testing.assert_allclose(rbm.transform(make(values)), same.transform(values / 255), rtol=1e-5)


def test_a_column_order_image_can_be_used_for_everything(silence):
    images = np.asfortranarray(IMAGES)
    rbm = BernoulliRBM(**OPTIONS).fit(images)
    for name in ("transform", "reconstruct", "score_samples", "free_energy", "gibbs", "sample_hidden"):
        rbm._calls = 0
        wanted = getattr(rbm, name)(np.ascontiguousarray(images))
        rbm._calls = 0
        np.testing.assert_array_equal(getattr(rbm, name)(images), wanted, err_msg=name)


def test_the_scale_can_be_said(silence):
    values = RNG.integers(0, 17, (50, 6))
    for dtype in (np.uint8, np.int64, np.float32):
        for make in (np.array, sp.csr_matrix, lambda x: [x[:20], x[20:]]):
            rbm = BernoulliRBM(**OPTIONS, input_scale=1 / 16).fit(make(values.astype(dtype)))
            same = BernoulliRBM(**OPTIONS).fit(make(values / 16))
            assert rbm.input_scale_ == 1 / 16
            np.testing.assert_array_equal(rbm.components_, same.components_)
            np.testing.assert_allclose(
                rbm.transform(make(values.astype(dtype))), same.transform(make(values / 16)), 1e-5
            )
    whole = BernoulliRBM(**OPTIONS, input_scale=1.0, out_of_range="allow").fit(IMAGES)
    np.testing.assert_array_equal(
        whole.components_, BernoulliRBM(**OPTIONS, out_of_range="allow").fit(IMAGES.astype(float)).components_
    )


def test_bad_scales_are_refused():
    for value in (0, -1.0, "grey", None, np.inf):
        with pytest.raises(ValueError, match="input_scale"):
            BernoulliRBM(2, input_scale=value).fit(GREY)
    with pytest.raises(ValueError, match="input_scale must be 'auto' for visible units 'ising'"):
        IsingRBM(2, input_scale=0.5).fit(np.sign(GREY - 0.5))


def test_another_scale_than_that_of_the_fit_is_a_warning_that_names_both():
    bits = (IMAGES > 128).astype(np.uint8)
    grey = BernoulliRBM(**OPTIONS).fit(IMAGES)
    with pytest.warns(DataRangeWarning, match=r"uint8 values of 0 and 1.*fitted to uint8 images, divided by 255"):
        features = grey.transform(bits)
    np.testing.assert_allclose(features, grey.transform(bits.astype(np.float32)), rtol=1e-6)
    scaled = BernoulliRBM(**OPTIONS).fit(IMAGES / 255)
    with pytest.warns(DataRangeWarning, match=r"uint8 images, which are divided by 255.*fitted to values in \[0, 1\]"):
        score = scaled.score(IMAGES)
    np.testing.assert_allclose(score, scaled.score(IMAGES / 255), rtol=1e-5)
    with pytest.warns(DataRangeWarning, match=r"got values from 1 to 255.*fitted to uint8 images"):
        grey.transform(IMAGES.astype(float))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        grey.transform(IMAGES)
        grey.transform(np.zeros((3, 6), np.uint8))
        grey.set_params(input_scale=1.0).transform(bits)
    counts = BernoulliRBM(**OPTIONS, out_of_range="allow").fit(IMAGES.astype(float))
    np.testing.assert_allclose(counts.transform(IMAGES), counts.transform(IMAGES.astype(float)), rtol=1e-6)


def test_what_the_fit_has_seen_is_saved(tmp_path):
    for X in (IMAGES, IMAGES.astype(float) * 2, GREY):
        rbm = BernoulliRBM(**OPTIONS, out_of_range="allow").fit(X)
        again = fastrbm.load(rbm.save(tmp_path / "model.npz"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            np.testing.assert_array_equal(again.transform(IMAGES), rbm.transform(IMAGES))


def test_compat_takes_uint8_values_as_scikit_learn_does(silence):
    values = RNG.integers(0, 3, (50, 6)).astype(np.uint8)
    for X in (values, IMAGES // 20):
        ours, theirs = compat.BernoulliRBM(**OPTIONS).fit(X), Original(**OPTIONS).fit(X)
        np.testing.assert_allclose(ours.components_, theirs.components_, atol=1e-10)
        np.testing.assert_allclose(ours.transform(X), theirs.transform(X), atol=1e-10)


@pytest.mark.parametrize("dtype", ["u1", "i8", "u2", "f2", "f4", "f8", ">i4"])
@pytest.mark.parametrize("form", [np.asarray, sp.csr_matrix, np.asfortranarray])
def test_the_same_images_in_any_type_give_the_same_bits(dtype, form):
    if form is sp.csr_matrix and dtype in ("f2", ">i4"):
        pytest.skip("SciPy has no sparse matrices of this type")
    X = np.random.default_rng(0).integers(0, 256, (40, 9)).astype(np.uint8)
    wanted = BernoulliRBM(3, n_iter=2, random_state=0).fit(X)
    got = BernoulliRBM(3, n_iter=2, random_state=0, input_scale=1 / 255).fit(form(X.astype(dtype)))
    np.testing.assert_array_equal(got.components_, wanted.components_)
    np.testing.assert_allclose(got.transform(form(X.astype(dtype))), wanted.transform(X), rtol=1e-3)
