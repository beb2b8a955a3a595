"""BernoulliRBM: forms of data, types, options, learning, and the methods of a fitted model."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from scipy.special import expit
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

import fastrbm
from fastrbm import L2, SGD, BernoulliRBM


def fitted(X, **options):
    options = dict(n_components=20, n_iter=3, batch_size=32, random_state=1) | options
    return BernoulliRBM(**options).fit(X)


def assert_same_fit(a, b):
    for name in ("components_", "intercept_hidden_", "intercept_visible_"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
    if hasattr(a, "h_samples_"):
        np.testing.assert_array_equal(a.h_samples_, b.h_samples_)


# ---- forms of data ---------------------------------------------------------------------------------------


def memory_mapped(X, tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, X)
    return np.load(path, mmap_mode="r")


BINARY_FORMS = {
    "float64": lambda X, _: X.astype(np.float64),
    "uint8": lambda X, _: X.astype(np.uint8),
    "bool": lambda X, _: X.astype(bool),
    "int64": lambda X, _: X.astype(np.int64),
    "float16": lambda X, _: X.astype(np.float16),
    "uint8 images": lambda X, _: (X * 255).astype(np.uint8),
    "fortran": lambda X, _: np.asfortranarray(X),
    "strided": lambda X, _: np.repeat(np.repeat(X, 2, axis=1), 2, axis=0)[::2, ::2],
    "memory map": memory_mapped,
    "pandas": lambda X, _: pd.DataFrame(X),
    "csr": lambda X, _: sp.csr_matrix(X),
    "csc": lambda X, _: sp.csc_matrix(X),
    "csr array": lambda X, _: sp.csr_array(X),
    "csr uint8": lambda X, _: sp.csr_matrix(X.astype(np.uint8)),
    "csr bool": lambda X, _: sp.csr_matrix(X.astype(bool)),
    "csr with stored zeros": lambda X, _: stored_zeros(X),
    "csr very sparse rows": lambda X, _: sp.csr_matrix(X),
    "list": lambda X, _: X.tolist(),
}


def stored_zeros(X):
    x = sp.csr_matrix(X + 1.0)
    x.data -= 1.0
    return x


@pytest.mark.parametrize("form", BINARY_FORMS)
@pytest.mark.parametrize("algorithm", ["pcd", "cd"])
def test_binary_data_give_the_same_bits_in_every_form(binary_digits, tmp_path, form, algorithm):
    X = binary_digits[:300]
    other = BINARY_FORMS[form](X, tmp_path)
    a, b = fitted(X, algorithm=algorithm), fitted(other, algorithm=algorithm)
    assert_same_fit(a, b)
    np.testing.assert_allclose(a.transform(X), b.transform(other), rtol=1e-6)
    np.testing.assert_array_equal(a.score_samples(X), b.score_samples(other))
    np.testing.assert_array_equal(a.free_energy(X), b.free_energy(other))
    np.testing.assert_array_equal(a.gibbs(X), b.gibbs(other))


GREY_FORMS = {
    "float64": lambda X, _: X.astype(np.float64),
    "fortran": lambda X, _: np.asfortranarray(X),
    "strided": lambda X, _: np.repeat(X, 2, axis=1)[:, ::2],
    "memory map": memory_mapped,
    "pandas": lambda X, _: pd.DataFrame(X),
    "csr": lambda X, _: sp.csr_matrix(X),
    "csc": lambda X, _: sp.csc_matrix(X),
}


@pytest.mark.parametrize("form", GREY_FORMS)
@pytest.mark.parametrize("stochastic", [False, True])
def test_grey_data_give_the_same_bits_in_every_form(digits, tmp_path, form, stochastic):
    X = digits[:300].astype(np.float32)  # sixteenths: exact in float32
    other = GREY_FORMS[form](X, tmp_path)
    a, b = fitted(X, stochastic_input=stochastic), fitted(other, stochastic_input=stochastic)
    assert_same_fit(a, b)
    np.testing.assert_allclose(a.transform(X), b.transform(other), rtol=1e-6)
    np.testing.assert_allclose(a.score_samples(X), b.score_samples(other), rtol=1e-6)


def test_uint8_images_are_scaled_once_and_remembered(digits):
    images = np.round(digits * 255).astype(np.uint8)
    a = fitted(images)
    assert a.input_scale_ == 1 / 255
    b = fitted((images * np.float32(1 / 255)).astype(np.float32))
    assert b.input_scale_ == 1
    # products of bytes are exact, those of floats are rounded
    np.testing.assert_allclose(a.components_, b.components_, atol=1e-5)
    np.testing.assert_allclose(a.transform(images), b.transform(images / 255), atol=1e-6)
    # a dark batch later on is still read as 0..255, a black one without a word
    dark = np.arange(64, dtype=np.uint8)[None] % 3
    np.testing.assert_allclose(a.transform(dark), a.transform(dark / 255), atol=1e-6)
    np.testing.assert_allclose(a.transform(0 * dark), a.transform(0.0 * dark), atol=1e-6)
    # bools are 0 and 1 whatever uint8 values mean
    on = images > 100
    np.testing.assert_allclose(a.score_samples(on), a.score_samples(on.astype(float)))
    np.testing.assert_allclose(a.score_samples(sp.csr_matrix(on)), a.score_samples(on.astype(float)))
    assert fitted(on.astype(np.uint8)).input_scale_ == 1
    sparse = fitted(sp.csr_matrix(images))
    assert sparse.input_scale_ == 1 / 255
    assert_same_fit(a, sparse)


def test_verbose_takes_data_frames_without_a_warning(binary_digits, capsys, recwarn):
    frame = pd.DataFrame(binary_digits[:50]).add_prefix("pixel")
    fitted(frame, verbose=1, n_iter=2)
    out = capsys.readouterr().out.splitlines()
    assert len(out) == 2 and out[1].startswith("[BernoulliRBM] Iteration 2, pseudo-likelihood = -")
    assert not [w for w in recwarn if "feature names" in str(w.message)]


def test_the_input_is_not_modified(digits):
    X = digits.copy()
    fitted(X)
    np.testing.assert_array_equal(X, digits)


# ---- types -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype,out", [("f4", "f4"), ("f8", "f8"), ("i8", "f8"), ("u1", "f4"), ("?", "f4")])
def test_transform_returns_the_float_type_of_its_input(binary_digits, dtype, out):
    X = binary_digits[:50].astype(dtype)
    rbm = fitted(X)
    assert rbm.transform(X).dtype == out and rbm.reconstruct(X).dtype == out
    assert rbm.components_.dtype == np.float32
    assert rbm.transform(pd.DataFrame(X)).dtype == out


def test_double_path_is_double(digits):
    X = digits[:200]
    rbm = fitted(X, dtype=np.float64)
    assert rbm.components_.dtype == np.float64
    wanted = expit(X @ rbm.components_.T + rbm.intercept_hidden_)
    np.testing.assert_allclose(rbm.transform(X), wanted, rtol=1e-13)
    back = expit(wanted @ rbm.components_ + rbm.intercept_visible_)
    np.testing.assert_allclose(rbm.reconstruct(X), back, rtol=1e-13)
    np.testing.assert_allclose(rbm.reconstruction_error(X), ((X - back) ** 2).mean(), rtol=1e-12)


# ---- invariance ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["pcd", "cd"])
@pytest.mark.parametrize("kind", ["binary", "grey", "stochastic"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_n_threads_agnosticism(digits, monkeypatch, algorithm, kind, dtype):
    from fastrbm._kernels.cpu import runtime

    monkeypatch.setattr(runtime, "WORK_PER_THREAD", 1)
    X = (digits > 0.4) if kind == "binary" else digits
    options = dict(algorithm=algorithm, stochastic_input=kind == "stochastic", dtype=dtype, n_components=70)
    one = fitted(X, n_threads=1, **options)
    for n_threads in (2, 3):
        other = fitted(X, n_threads=n_threads, **options)
        assert_same_fit(one, other)
        for method in ("transform", "score_samples", "free_energy", "gibbs"):
            np.testing.assert_array_equal(
                getattr(other, method)(X), getattr(fitted(X, n_threads=1, **options), method)(X)
            )


def test_chunk_size_agnosticism(digits, monkeypatch):
    images = np.round(digits * 255).astype(np.uint8)
    whole = fitted(images)
    monkeypatch.setattr("fastrbm._data.blocks.BLOCK_BYTES", 1)
    pieces = fitted(images)
    assert_same_fit(whole, pieces)
    np.testing.assert_allclose(whole.transform(images), pieces.transform(images), atol=1e-6)


@pytest.mark.parametrize("algorithm", ["pcd", "cd"])
@pytest.mark.parametrize("through_file", [False, True])
@pytest.mark.parametrize("at", [1, 3, 4])
def test_resume_at_every_epoch_gives_the_same_bits(binary_digits, tmp_path, algorithm, through_file, at):
    options = dict(
        algorithm=algorithm, optimizer=SGD(momentum=0.8), learning_rate=0.02, n_gibbs_steps=2, regularizers=(L2(0.01),)
    )
    whole = fitted(binary_digits, n_iter=5, **options)
    first = fitted(binary_digits, n_iter=at, warm_start=True, **options)
    if through_file:
        first = fastrbm.load(first.save(tmp_path / "model.npz"))
    first.set_params(n_iter=5 - at).fit(binary_digits)
    assert_same_fit(whole, first)
    assert first.n_iter_ == 5 and first.history_["epoch"] == [1, 2, 3, 4, 5]


def test_seeds_matter_and_repeat(binary_digits):
    assert_same_fit(fitted(binary_digits), fitted(binary_digits))
    assert (fitted(binary_digits).components_ != fitted(binary_digits, random_state=2).components_).any()
    rng = np.random.RandomState(0)
    a, b = fitted(binary_digits, random_state=rng), fitted(binary_digits, random_state=rng)
    assert (a.components_ != b.components_).any()
    assert_same_fit(a, fitted(binary_digits, random_state=np.random.RandomState(0)))


@pytest.mark.parametrize("device", ["cpu", "reference"])
def test_backends_agree_on_a_fit(binary_digits, device):
    a = fitted(binary_digits[:200], device="auto", n_iter=2)
    b = fitted(binary_digits[:200], device=device, n_iter=2)
    np.testing.assert_allclose(a.components_, b.components_, atol=1e-5)


# ---- options ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        dict(algorithm="cd"),
        dict(algorithm="exact", n_components=10),
        dict(validation_fraction=0.2),
        dict(n_gibbs_steps=4),
        dict(n_chains=7),
        dict(optimizer=SGD(momentum=0.5)),
        dict(regularizers=(L2(0.02),)),
        dict(stochastic_input=True),
        dict(hidden_statistics="sampled"),
        dict(precision="fast"),
        dict(shuffle=False),
        dict(learning_rate=0.01),
        dict(batch_size=5),
        dict(dtype=np.float64),
        dict(random_stream="sklearn", shuffle=False),
    ],
    ids=str,
)
def test_every_option_changes_the_fit(digits, options):
    base = fitted(digits, n_components=options.get("n_components", 20))
    other = fitted(digits, **options)
    assert np.abs(base.components_ - other.components_).max() > 1e-4 or other.components_.dtype == np.float64


def test_learning_on_digits(digits):
    X = digits.astype(np.float32)
    for options in (dict(), dict(algorithm="cd"), dict(optimizer=SGD(0.5)), dict(stochastic_input=True)):
        rbm = BernoulliRBM(64, n_iter=15, learning_rate=0.06, batch_size=20, random_state=0, **options).fit(X)
        start = BernoulliRBM(64, n_iter=0, random_state=0).fit(X)
        assert start.score_samples(X).mean() < -40
        assert rbm.score_samples(X).mean() > -22, options


def test_momentum_is_a_parameter_of_grid_search(binary_digits):
    rbm = BernoulliRBM(8, n_iter=1, optimizer=SGD(), random_state=0, batch_size=50)
    search = GridSearchCV(
        rbm, {"optimizer__momentum": [0.0, 0.9]}, cv=2, scoring=lambda e, X, y=None: e.score_samples(X).mean()
    ).fit(binary_digits[:200])
    scores = search.cv_results_["mean_test_score"]
    assert scores[0] != scores[1]


def test_pipeline_and_clone(digits):
    from sklearn.linear_model import LogisticRegression

    y = np.arange(len(digits)) % 2
    make_pipeline(BernoulliRBM(10, n_iter=1, random_state=0), LogisticRegression()).fit(digits, y)
    rbm = BernoulliRBM(5, callbacks=(print,), optimizer=SGD(0.3))
    assert clone(rbm).get_params()["optimizer"].momentum == 0.3


def test_partial_fit_takes_any_batch_and_returns_self(digits):
    rbm = BernoulliRBM(16, batch_size=20, random_state=0, n_chains=11)
    for n in (1, 3, 64, 500):
        assert rbm.partial_fit(digits[:n]) is rbm
    assert rbm.h_samples_.shape == (11, 16)
    before = rbm.components_.copy()
    rbm.partial_fit(digits)
    assert (rbm.components_ != before).any()


def test_partial_fit_goes_on_from_a_fit_and_from_weights_set_by_hand(digits):
    rbm = fitted(digits)
    rbm.components_ = np.ones_like(rbm.components_)
    rbm.partial_fit(digits[:10])
    assert 0.5 < rbm.components_.mean() < 1.5


# ---- fitted model ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(digits):
    return BernoulliRBM(32, n_iter=40, batch_size=20, learning_rate=0.03, n_chains=100, random_state=0).fit(
        digits.astype(np.float32)
    )


def test_score_samples_is_the_mean_over_all_flips(trained, binary_digits):
    X = binary_digits[:20].astype(np.float64)
    energy = trained.free_energy(X)
    total = np.zeros(len(X))
    for i in range(X.shape[1]):
        flipped = X.copy()
        flipped[:, i] = 1 - flipped[:, i]
        total -= np.logaddexp(0, energy - trained.free_energy(flipped))
    np.testing.assert_allclose(trained.score_samples(X), total, rtol=1e-5)
    np.testing.assert_allclose(trained.score_samples(X, normalize=True), total / 64, rtol=1e-5)


def test_score_samples_is_on_scikit_learns_scale(trained, digits):
    from sklearn.neural_network import BernoulliRBM as Original

    other = Original(32, n_iter=0, random_state=0).fit(digits)
    for name in ("components_", "intercept_hidden_", "intercept_visible_"):
        setattr(other, name, getattr(trained, name).astype(np.float64))
    noisy = []
    for seed in range(40):
        other.random_state = seed
        noisy.append(other.score_samples(digits).mean())
    error = np.std(noisy) / np.sqrt(len(noisy))
    assert abs(trained.score_samples(digits).mean() - np.mean(noisy)) < 4 * error


def test_samples_look_like_the_data(trained, digits):
    samples = trained.sample(2000, 200)
    assert samples.shape == (2000, 64) and samples.dtype == bool
    assert np.abs(samples.mean(axis=0) - digits.mean(axis=0)).mean() < 0.08
    assert (samples != trained.sample(2000, 200)).any()
    np.testing.assert_array_equal(trained.sample(5, 3, random_state=1), trained.sample(5, 3, random_state=1))


def test_sampling_does_not_depend_on_other_chains(trained):
    np.testing.assert_array_equal(trained.sample(10, 20, random_state=4), trained.sample(300, 20, random_state=4)[:10])


def test_temperature_clamp_and_start(trained, digits):
    hot = trained.sample(3000, 5, temperature=1e6, random_state=0)
    assert abs(hot.mean() - 0.5) < 0.01
    clamp = np.full(64, np.nan)
    clamp[:32] = np.arange(32) % 2
    held = trained.sample(50, 10, clamp=clamp, random_state=0)
    assert (held[:, :32] == clamp[:32].astype(bool)).all() and held[:, 32:].std() > 0
    free = trained.sample(50, 10, clamp=np.full((50, 64), np.nan), random_state=0)
    np.testing.assert_array_equal(free, trained.sample(50, 10, random_state=0))
    near = trained.sample(200, 1, init=digits[:200], random_state=0)
    assert np.abs(near - digits[:200]).mean() < 0.3


def test_a_saved_model_is_the_same_model(trained, digits, tmp_path):
    other = fastrbm.load(trained.save(tmp_path / "m.npz"))
    assert_same_fit(trained, other)
    np.testing.assert_array_equal(trained.transform(digits), other.transform(digits))
    assert other.history_ == trained.history_ and other.get_params() == trained.get_params()
    assert other.get_feature_names_out().tolist() == trained.get_feature_names_out().tolist()


def test_a_scikit_learn_stream_model_can_be_saved(digits, tmp_path):
    rbm = fitted(digits, random_stream="sklearn", shuffle=False)
    other = fastrbm.load(rbm.save(tmp_path / "m.npz"))
    assert_same_fit(rbm, other)
    assert other.components_.dtype == np.float64


def test_model_view(trained, digits):
    model = trained.model_
    np.testing.assert_allclose(model.free_energy(digits[:5]), trained.free_energy(digits[:5].astype(np.float32)))
    np.testing.assert_allclose(model.mean_hidden(digits[:5]), trained.transform(digits[:5].astype(np.float32)))
    model.weights[...] = 0
    assert np.abs(trained.components_).max() > 0


def test_l2_decays_the_weights_and_leaves_the_biases(binary_digits):
    X = binary_digits[:20]

    def one_step(**options):
        rbm = BernoulliRBM(5, learning_rate=0.1, random_state=0, **options).fit(X)
        start = rbm.components_.copy()
        return start, rbm.partial_fit(X)

    start, plain = one_step(n_iter=0)
    _, decayed = one_step(n_iter=0, regularizers=[L2(0.5), L2(0.25)])
    np.testing.assert_allclose(decayed.components_, plain.components_ - 0.1 * 0.75 * start, atol=1e-7)
    np.testing.assert_array_equal(decayed.intercept_visible_, plain.intercept_visible_)
    np.testing.assert_array_equal(decayed.intercept_hidden_, plain.intercept_hidden_)
    assert clone(decayed).get_params()["regularizers"][0].strength == 0.5


# ---- sizes that the data bound ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [{}, {"algorithm": "cd"}, {"algorithm": "pt"}, {"algorithm": "fpcd"}, {"steps_per_epoch": 3}, {"centered": True}],
)
def test_a_batch_size_of_all_the_world_is_one_of_all_rows(binary_digits, options):
    X = binary_digits[:300]
    rows, world = (
        BernoulliRBM(6, n_iter=2, random_state=0, batch_size=n, **options).fit(X).partial_fit(X[:9])
        for n in (300, 10**9)
    )
    np.testing.assert_array_equal(rows.components_, world.components_)
    if options.get("algorithm") != "cd":
        assert world.h_samples_.shape == (300, 6)
    few = BernoulliRBM(6, n_iter=1, batch_size=10**9, random_state=0, **options).partial_fit(X[:3])
    assert getattr(few, "h_samples_", np.empty(0)).shape in ((256, 6), (0,))
    if "steps_per_epoch" not in options:
        chunks = BernoulliRBM(6, n_iter=2, random_state=0, batch_size=10**9, **options).fit([X[:100], X[100:]])
        assert np.isfinite(chunks.components_).all()


def test_chains_stay_while_rows_come_in_pieces_of_any_size(binary_digits):
    rbm = BernoulliRBM(6, batch_size=400, random_state=0)
    for n in (300, 100, 390, 20):
        rbm.partial_fit(binary_digits[:n])
        assert rbm.h_samples_.shape[0] == (390 if n <= 20 or n == 390 else 300)
    assert BernoulliRBM(6, batch_size=10, n_iter=1, n_chains=700).fit(binary_digits[:20]).h_samples_.shape[0] == 700
