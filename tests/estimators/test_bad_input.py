"""Bad input: a clear error that names the argument, what came and what is allowed."""

import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.exceptions import NotFittedError

import fastrbm
from fastrbm import L2, SGD, BernoulliRBM, DivergenceError, GaussianRBM, IsingRBM, Model, callbacks, compat
from fastrbm._estimator import io

GOOD = (np.arange(40).reshape(10, 4) % 3 == 0).astype(np.float64)


def spoiled(value, dtype=np.float64):
    x = GOOD.astype(dtype)
    x[3, 2] = value
    return x


BAD_DATA = {
    "NaN": (spoiled(np.nan), "NaN"),
    "float32 NaN": (spoiled(np.nan, np.float32), "NaN"),
    "infinity": (spoiled(np.inf), "infinity"),
    "negative infinity": (spoiled(-np.inf, np.float32), "infinity"),
    "negative": (spoiled(-0.25), r"values in \[0, 1\].*got values from -0.25 to 1"),
    "above range": (spoiled(7.5), r"values in \[0, 1\].*to 7.5"),
    "above range int": (spoiled(3, np.int64), r"values in \[0, 1\].*to 3"),
    "negative int": (spoiled(-3, np.int32), r"values in \[0, 1\].*from -3"),
    "float images": (GOOD * 255.0, r"values in \[0, 1\].*to 255"),
    "sparse above range": (sp.csr_matrix(spoiled(2.0)), r"values in \[0, 1\].*to 2"),
    "sparse negative": (sp.csc_matrix(spoiled(-2.0)), r"values in \[0, 1\].*from -2"),
    "sparse NaN": (sp.csr_matrix(spoiled(np.nan)), "NaN"),
    "sparse infinity": (sp.csr_matrix(spoiled(np.inf)), "infinity"),
    "zero rows": (np.empty((0, 4)), r"0 sample\(s\)"),
    "zero columns": (np.empty((4, 0)), r"0 feature\(s\)"),
    "1-D": (np.ones(4), "2D array, got 1D array"),
    "3-D": (np.ones((2, 2, 2)), "dim 3"),
    "0-D": (np.float64(1), "2D array, got scalar"),
    "complex": (GOOD + 1j, "Complex data not supported"),
    "strings": (np.array([["a", "b"], ["c", "d"]]), "dtype|convert"),
    "objects": (np.array([[object(), 1], [2, 3]], dtype=object), "float"),
    "None": (None, "Expected 2D array"),
    "dates": (np.zeros((3, 2), "datetime64[s]"), "numeric|datetime"),
}


@pytest.mark.parametrize("method", ["fit", "partial_fit", "fit_transform"])
@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_training_data(case, method):
    data, message = BAD_DATA[case]
    with pytest.raises((ValueError, TypeError), match=message):
        getattr(BernoulliRBM(2, n_iter=1, out_of_range="error"), method)(data)


@pytest.mark.parametrize("method", ["transform", "gibbs", "reconstruct", "reconstruction_error", "partial_fit"])
@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data_for_a_fitted_model(case, method):
    rbm = BernoulliRBM(2, n_iter=1, random_state=0, out_of_range="error").fit(GOOD)
    before = rbm.components_.copy()
    data, message = BAD_DATA[case]
    with pytest.raises((ValueError, TypeError), match=f"{message}|features"):
        getattr(rbm, method)(data)
    np.testing.assert_array_equal(rbm.components_, before)


@pytest.mark.parametrize("case", BAD_DATA)
def test_a_fit_that_fails_on_its_data_keeps_the_earlier_one(case):
    rbm = BernoulliRBM(2, n_iter=2, random_state=0, warm_start=False, out_of_range="error").fit(GOOD)
    before = rbm.transform(GOOD)
    with pytest.raises((ValueError, TypeError)):
        rbm.fit(BAD_DATA[case][0])
    np.testing.assert_array_equal(rbm.transform(GOOD), before)
    rbm.partial_fit(GOOD)


@pytest.mark.parametrize("method", ["score_samples", "free_energy"])
@pytest.mark.parametrize("case", [k for k in BAD_DATA if "range" not in k and "negative" != k.split()[-1]])
def test_bad_data_for_scores(case, method):
    rbm = BernoulliRBM(2, n_iter=1, random_state=0).fit(GOOD)
    data, message = BAD_DATA[case]
    if case in ("float images", "negative int"):
        assert np.isfinite(getattr(rbm, method)(data)).all()
    else:
        with pytest.raises((ValueError, TypeError), match=f"{message}|features"):
            getattr(rbm, method)(data)


@pytest.mark.parametrize(
    "method",
    ["transform", "gibbs", "reconstruct", "score_samples", "free_energy", "partial_fit", "reconstruction_error"],
)
def test_wrong_number_of_features(method):
    rbm = BernoulliRBM(2, n_iter=1).fit(GOOD)
    with pytest.raises(ValueError, match="X has 3 features, but BernoulliRBM is expecting 4 features"):
        getattr(rbm, method)(GOOD[:, :3])


@pytest.mark.parametrize(
    "call",
    [
        lambda r: r.transform(GOOD),
        lambda r: r.score_samples(GOOD),
        lambda r: r.free_energy(GOOD),
        lambda r: r.gibbs(GOOD),
        lambda r: r.sample(),
        lambda r: r.reconstruct(GOOD),
        lambda r: r.save("never-written.npz"),
        lambda r: r.model_,
    ],
)
def test_unfitted(call):
    with pytest.raises(NotFittedError):
        call(BernoulliRBM())


BAD_OPTIONS = [
    ("n_components", [0, -3, 2.5, "many", None, True, np.nan]),
    ("learning_rate", [0, -0.1, "fast", None, np.nan, np.inf]),
    ("batch_size", [0, -1, 1.5, None, "10"]),
    ("n_iter", [-1, 2.5, None, "ten"]),
    ("verbose", [-1, "loud"]),
    ("random_state", [-1, 1.5, "seed", 2**64]),
    ("algorithm", ["sml", None, 3]),
    ("n_gibbs_steps", [0, -2, 1.5, "k"]),
    ("n_chains", [0, -1, 2.5, "many"]),
    (
        "optimizer",
        ["adagrad", None, 0.9, SGD(momentum=1.0), SGD(momentum=-0.1), SGD(momentum="much"), SGD(momentum=np.nan)],
    ),
    ("strategy", ["fast", None, 3]),
    ("precision", ["half", None, 16]),
    ("hidden_statistics", ["means", None, True]),
    ("validation_fraction", [-0.1, 1.0, "some", None]),
    ("early_stopping", ["soon", None, 2]),
    ("n_iter_no_change", [0, 1.5, None]),
    ("tol", [-1e-3, "small", None]),
    ("scoring", ["accuracy", None]),
    ("regularizers", ["l2", None, 0.1, (0.1,), [L2]]),
    ("random_stream", ["mt19937", None]),
    ("stochastic_input", ["yes", None, 2]),
    ("shuffle", ["yes", None, 2]),
    ("warm_start", ["yes", None]),
    ("callbacks", ["print", 3, None, (3,), (callbacks.ProgressBar,)]),
    ("device", ["gpu", "tpu", "", None]),
    ("n_threads", [0, 1.5, "all"]),
    ("dtype", ["f2", np.float16, int, "double trouble", 3.5]),
    ("out_of_range", ["clip", None, True]),
]


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("name,value", [(n, v) for n, values in BAD_OPTIONS for v in values], ids=str)
def test_bad_options(name, value, method):
    pattern = "momentum" if isinstance(value, SGD) else name
    with pytest.raises((ValueError, TypeError), match=pattern):
        getattr(BernoulliRBM(**({"n_components": 2} | {name: value})), method)(GOOD)


@pytest.mark.parametrize(
    "options,message",
    [
        (dict(algorithm="cd", n_chains=5), "n_chains must be None with algorithm='cd'"),
        (dict(random_stream="sklearn"), "shuffle must be False with random_stream='sklearn'"),
        (dict(random_stream="sklearn", shuffle=False, algorithm="cd"), "algorithm must be 'pcd'"),
        (dict(random_stream="sklearn", shuffle=False, n_gibbs_steps=2), "n_gibbs_steps must be 1"),
        (dict(random_stream="sklearn", shuffle=False, n_chains=3), "n_chains must be None"),
        (dict(random_stream="sklearn", shuffle=False, stochastic_input=True), "stochastic_input must be False"),
        (dict(random_stream="sklearn", shuffle=False, optimizer=SGD(0.5)), "optimizer must be plain 'sgd'"),
        (dict(random_stream="sklearn", shuffle=False, regularizers=[L2(0.5)]), "regularizers must be empty"),
        (dict(random_stream="sklearn", shuffle=False, hidden_statistics="sampled"), "hidden_statistics must be 'mean'"),
        (dict(random_stream="sklearn", shuffle=False, precision="fast"), "precision must be 'full'"),
        (dict(early_stopping=True), "validation_fraction must be above 0 with early_stopping"),
        (dict(early_stopping="likelihood", validation_fraction=0.1), "early_stopping"),
        (dict(algorithm="exact", n_gibbs_steps=3), "n_gibbs_steps must be 1 with algorithm='exact'"),
        (dict(dtype=np.float64, precision="fast"), "precision must be 'full' with dtype=float64"),
        (dict(device="reference", precision="fast"), "precision must be 'full' with device='reference'"),
        (dict(regularizers=(L2(-1.0),)), "strength must be a finite number"),
        (dict(regularizers=(L2(np.nan),)), "strength must be a finite number"),
    ],
)
def test_options_that_exclude_each_other(options, message):
    with pytest.raises(ValueError, match=message):
        BernoulliRBM(2, **options).fit(GOOD)


def test_continuing_with_another_shape_or_type():
    rbm = BernoulliRBM(2, n_iter=1, warm_start=True).fit(GOOD)
    with pytest.raises(ValueError, match="n_components"):
        rbm.set_params(n_components=3).fit(GOOD)
    with pytest.raises(ValueError, match="dtype must stay float32"):
        rbm.set_params(n_components=2, dtype=np.float64).fit(GOOD)
    with pytest.raises(ValueError, match="features"):
        rbm.set_params(dtype=None).fit(GOOD[:, :3])


@pytest.mark.parametrize(
    "options,message",
    [
        (dict(n_samples=0), "n_samples must be a positive integer, got 0"),
        (dict(n_samples=2.0), "n_samples"),
        (dict(n_steps=-1), "n_steps must be a positive integer, got -1"),
        (dict(temperature=0), "temperature must be a positive finite number, got 0"),
        (dict(temperature=np.nan), "temperature"),
        (dict(clamp=[1, 0]), r"clamp must have shape \(4,\)"),
        (dict(clamp=[0.5, 1, 0, 1]), "clamp must hold 0 and 1 only or NaN .free., got 0.5 in row 0, column 0"),
        (dict(init=GOOD), r"init must have n_samples=1 rows, got 10"),
        (dict(init=GOOD[:1, :2]), "features"),
        (dict(random_state="x"), "random_state"),
    ],
)
def test_bad_sampling_arguments(options, message):
    rbm = BernoulliRBM(2, n_iter=1, random_state=0).fit(GOOD)
    with pytest.raises(ValueError, match=message):
        rbm.sample(**options)


@pytest.mark.parametrize("cls", [BernoulliRBM, compat.BernoulliRBM])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_divergence_keeps_the_last_finite_parameters(cls, dtype):
    huge = dtype(1e15 if dtype == np.float32 else 1e150)
    x = np.random.default_rng(0).random((40, 4)).astype(dtype)
    rbm = cls(3, n_iter=2, random_state=0, dtype=dtype, out_of_range="allow").fit(x)
    assert rbm.n_iter_ == 2
    rbm.set_params(learning_rate=float(huge))
    x *= huge
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        with pytest.raises(DivergenceError, match=r"epoch \d+; .*Lower learning_rate"):
            rbm.fit(x)
    assert issubclass(DivergenceError, FloatingPointError)
    for name in ("components_", "intercept_hidden_", "intercept_visible_"):
        assert np.isfinite(getattr(rbm, name)).all()
    assert np.isfinite(rbm.transform(x)).all()


def test_divergence_in_partial_fit_names_it():
    rbm = BernoulliRBM(3, random_state=0, out_of_range="allow")
    x = np.random.default_rng(0).random((40, 4))
    before = rbm.partial_fit(x).components_.copy()
    with pytest.raises(DivergenceError, match="partial_fit"):
        rbm.set_params(learning_rate=1e30).partial_fit(x * 1e15)
    np.testing.assert_array_equal(rbm.components_, before)
    rbm.set_params(learning_rate=0.1).partial_fit(x)
    assert (rbm.components_ != before).any()


def test_interrupt_leaves_a_usable_model():
    x = np.random.default_rng(0).random((500, 30)) < 0.5

    def interrupt(run):
        if run.state.epoch == 2:
            raise KeyboardInterrupt

    rbm = BernoulliRBM(8, n_iter=5, random_state=0, callbacks=(interrupt,))
    with pytest.raises(KeyboardInterrupt):
        rbm.fit(x)
    two = BernoulliRBM(8, n_iter=2, random_state=0).fit(x)
    np.testing.assert_array_equal(rbm.components_, two.components_)
    np.testing.assert_array_equal(rbm.h_samples_, two.h_samples_)
    assert rbm.n_iter_ == 2 and rbm.transform(x).shape == (500, 8)


@pytest.mark.parametrize(
    "arrays,message",
    [
        ((np.ones(3), np.ones(3), np.ones(3)), "weights must be a non-empty 2-dimensional"),
        ((np.ones((2, 3)), np.ones(2), np.ones(2)), r"weights must have shape .* = \(2, 2\)"),
        ((np.full((2, 3), np.nan), np.ones(3), np.ones(2)), "weights must be finite"),
        ((np.ones((2, 3)), np.ones(3), np.ones(2), "spin"), "unit must be one of"),
    ],
)
def test_bad_models(arrays, message):
    with pytest.raises(ValueError, match=message):
        Model(*arrays)


def test_bad_model_files(tmp_path):
    with pytest.raises(FileNotFoundError):
        fastrbm.load(tmp_path / "nothing.npz")
    junk = tmp_path / "junk.npz"
    junk.write_bytes(b"no zip file")
    with pytest.raises(ValueError, match="junk.npz is not a fastrbm model file"):
        fastrbm.load(junk)
    np.savez(tmp_path / "other.npz", x=np.ones(3))
    with pytest.raises(ValueError, match="not a fastrbm model file"):
        fastrbm.load(tmp_path / "other.npz")
    good = BernoulliRBM(2, n_iter=1).fit(GOOD).save(tmp_path / "good.npz")
    cut = tmp_path / "cut.npz"
    cut.write_bytes(good.read_bytes()[:-200])
    with pytest.raises(ValueError, match="cut.npz is not a fastrbm model file"):
        fastrbm.load(cut)
    io.write_model(tmp_path / "new.npz", {"version": 99}, {})
    with pytest.raises(ValueError, match="format version 99"):
        fastrbm.load(tmp_path / "new.npz")


def test_unknown_public_names():
    with pytest.raises(AttributeError, match="no attribute 'RBN'"):
        fastrbm.RBN  # noqa: B018
    assert set(fastrbm.__all__) <= set(dir(fastrbm))
    for name in fastrbm.__all__:
        assert getattr(fastrbm, name) is not None


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_weights_whose_sum_is_infinite_are_refused(method):
    from fastrbm import BernoulliRBM

    X = np.eye(4)
    rbm = BernoulliRBM(2, n_iter=1)
    with pytest.raises(ValueError, match="sample_weight must have a finite sum, got values up to 1e\\+308"):
        getattr(rbm, method)(X, sample_weight=np.full(4, 1e308))
    getattr(rbm, method)(X, sample_weight=np.full(4, 1e300))
    assert np.isfinite(rbm.components_).all()


@pytest.mark.parametrize(
    "option,wrong",
    [("learning_rate", -1.0), ("n_components", True), ("batch_size", 0), ("algorithm", "no"), ("n_threads", True)],
)
def test_options_that_were_good_are_looked_at_again_when_they_change(option, wrong):
    """Good options are remembered by their values and types: True is not 1."""
    from fastrbm import BernoulliRBM

    rbm = BernoulliRBM(1, n_iter=1, n_threads=1, batch_size=1)
    for _ in range(3):
        rbm.partial_fit(np.eye(4))
    right = rbm.get_params()[option]
    for value in (wrong, right, wrong):
        rbm.set_params(**{option: value})
        if value is right:
            rbm.partial_fit(np.eye(4))
            continue
        with pytest.raises((ValueError, TypeError), match=option):
            rbm.partial_fit(np.eye(4))


def test_plain_tables_are_still_looked_at():
    """Rows that need no check by scikit-learn skip it, and only those."""
    from fastrbm import BernoulliRBM

    rbm = BernoulliRBM(2, n_iter=1).fit(np.eye(4))
    for wrong in (np.ones((2, 3)), np.ones(4), np.full((2, 4), np.nan), np.ones((2, 4), complex), np.ones((0, 4))):
        with pytest.raises(ValueError):
            rbm.transform(wrong)


def test_a_missing_folder_and_a_scale_are_named(tmp_path):
    with pytest.warns(fastrbm.DataRangeWarning, match=r"input_scale=1/16\)"):
        rbm = BernoulliRBM(2, n_iter=1, random_state=0).fit(16 * GOOD)
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere for m\.npz"):
        rbm.save(tmp_path / "nowhere" / "m.npz")


@pytest.mark.parametrize("kind", [BernoulliRBM, GaussianRBM, IsingRBM])
@pytest.mark.parametrize("method", ["fit", "transform", "free_energy"])
@pytest.mark.parametrize("value, what", [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")])
def test_values_that_are_not_finite_are_found(kind, method, value, what):
    X = pd.DataFrame(np.where(np.random.default_rng(0).random((3000, 70)) < 0.5, -1.0, 1.0))
    X.columns = [f"pixel {k}" for k in range(70)]
    if kind is BernoulliRBM:
        X = (X > 0).astype(float)
    rbm = kind(2, n_iter=1, random_state=0).fit(X)
    X.iloc[2990, 33], X.iloc[2995, 1] = value, value
    with pytest.raises(ValueError, match=rf"contains {what}.* in row 2990, column 33 \('pixel 33'\)") as caught:
        getattr(rbm, method)(X)
    assert ("sample(clamp=rows)" in str(caught.value)) == (what == "NaN")
    if kind is BernoulliRBM:
        with pytest.raises(ValueError, match=rf"contains {what}.* in row 2990, column 33"):
            getattr(rbm, method)(sp.csr_array(X.to_numpy()))
    elif kind is IsingRBM:
        return
    with pytest.raises(ValueError, match=rf"contains {what}.* in row 2990, column 33"):
        getattr(rbm, method)(X.to_numpy(np.float32))
