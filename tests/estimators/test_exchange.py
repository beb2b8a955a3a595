"""Models in the forms of other libraries, and back."""

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.neural_network import BernoulliRBM as Original

import fastrbm
from fastrbm import RBM, BernoulliRBM, GaussianRBM, IsingRBM, SoftmaxRBM
from fastrbm.exchange import (
    from_hdf5,
    from_safetensors,
    from_sklearn,
    from_state_dict,
    to_hdf5,
    to_safetensors,
    to_sklearn,
    to_state_dict,
)
from fastrbm.samplers import Tempering

rng = np.random.default_rng(0)
BITS = (rng.random((60, 8)) < 0.4).astype(np.float64)
SAME = dict(n_iter=2, random_state=0)
MODELS = {
    "bits": (BernoulliRBM(4, optimizer="adam", **SAME), BITS),
    "float64": (BernoulliRBM(4, dtype=np.float64, **SAME), BITS),
    "tempered": (BernoulliRBM(4, algorithm=Tempering(3), n_chains=6, **SAME), BITS),
    "spins": (IsingRBM(4, **SAME), 2 * BITS - 1),
    "gaussian": (GaussianRBM(4, sigma="learned", **SAME), rng.normal(size=(60, 8))),
    "classes": (SoftmaxRBM(4, **SAME), rng.integers(0, 3, (60, 4)).astype(float)),
    "counts": (RBM(4, visible="binomial(3)", hidden="relu", learning_rate=0.001, **SAME), rng.integers(0, 4, (60, 8))),
}


def fitted(name):
    estimator, X = MODELS[name]
    return type(estimator)(**estimator.get_params(deep=False)).fit(X), X


@pytest.mark.parametrize("form", ["safetensors", "hdf5"])
@pytest.mark.parametrize("name", MODELS)
def test_files_of_others_hold_all_that_training_goes_on_with(name, form, tmp_path):
    module, write, read = {
        "safetensors": ("safetensors", to_safetensors, from_safetensors), "hdf5": ("h5py", to_hdf5, from_hdf5),
    }[form]  # fmt: skip
    pytest.importorskip(module)
    rbm, X = fitted(name)
    path = write(rbm, tmp_path / "model")
    loaded = read(path)
    assert type(loaded) is type(rbm) and repr(loaded) == repr(rbm) and loaded.history_ == rbm.history_
    for one in (rbm, loaded):
        one.set_params(warm_start=True).fit(X)
    for attribute in ("components_", "intercept_hidden_", "intercept_visible_"):
        np.testing.assert_array_equal(getattr(loaded, attribute), getattr(rbm, attribute))


@pytest.mark.parametrize("form", ["safetensors", "hdf5"])
def test_files_that_are_damaged_or_foreign(form, tmp_path):
    module, write, read = {
        "safetensors": ("safetensors", to_safetensors, from_safetensors), "hdf5": ("h5py", to_hdf5, from_hdf5),
    }[form]  # fmt: skip
    pytest.importorskip(module)
    rbm, X = fitted("bits")
    path = write(rbm, tmp_path / "model")
    whole = bytearray(path.read_bytes())
    wanted = rbm.transform(X)
    for place in range(0, len(whole), max(1, len(whole) // 300)):
        broken = whole.copy()
        broken[place] ^= 0xFF
        path.write_bytes(broken)
        try:
            np.testing.assert_array_equal(read(path).transform(X), wanted)
        except ValueError as error:
            assert "path: " in str(error)
    for content in (b"", b"no file of a model", bytes(whole[: len(whole) // 2])):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="path: "):
            read(path)
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "nowhere")
    fastrbm_file = rbm.save(tmp_path / "model.npz")
    with pytest.raises(ValueError, match="path: "):
        read(fastrbm_file)


def test_hdf5_files_that_unpack_or_link(tmp_path):
    h5py = pytest.importorskip("h5py")
    path = to_hdf5(fitted("bits")[0], tmp_path / "model.h5")
    with h5py.File(path, "a") as file:
        del file["arrays/components_"]
        file.create_dataset("arrays/components_", (10**6, 10**6), np.float32, compression="gzip", chunks=(1000, 1000))
    with pytest.raises(ValueError, match="components_ is packed"):
        from_hdf5(path)
    with h5py.File(path, "a") as file:
        del file["arrays/components_"]
        file["arrays/components_"] = h5py.ExternalLink("other.h5", "/x")
    with pytest.raises(ValueError, match="components_ is no array of the file"):
        from_hdf5(path)


def test_safetensors_of_other_models(tmp_path):
    save = pytest.importorskip("safetensors.numpy").save_file
    save({"weight": np.ones((2, 3), np.float32)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="has no model of fastrbm"):
        from_safetensors(tmp_path / "other.safetensors")


# -- scikit-learn --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_to_scikit_learn(dtype):
    rbm = BernoulliRBM(4, dtype=dtype, learning_rate=0.05, batch_size=20, **SAME).fit(BITS)
    made = to_sklearn(rbm)
    assert type(made) is Original and made.components_.dtype == dtype and not np.shares_memory(
        made.components_, rbm.components_
    )  # fmt: skip
    assert (made.learning_rate, made.batch_size, made.n_iter, made.random_state) == (0.05, 20, 2, 0)
    np.testing.assert_allclose(made.transform(BITS), rbm.transform(BITS), atol=1e-6)
    assert made.gibbs(BITS).shape == BITS.shape and np.isfinite(made.score_samples(BITS)).all()
    assert list(made.get_feature_names_out()) == [f"bernoullirbm{k}" for k in range(4)]
    made.partial_fit(BITS)


def test_from_scikit_learn():
    theirs = Original(5, learning_rate=0.05, n_iter=3, random_state=1).fit(BITS)
    rbm = from_sklearn(theirs, n_threads=1)
    assert type(rbm) is BernoulliRBM and rbm.n_threads == 1
    assert (rbm.n_components, rbm.learning_rate, rbm.n_iter, rbm.random_state) == (5, 0.05, 3, 1)
    np.testing.assert_allclose(rbm.transform(BITS), theirs.transform(BITS), atol=1e-6)
    np.testing.assert_array_equal(to_sklearn(rbm).components_, theirs.components_)
    rbm.partial_fit(BITS)
    unfitted = from_sklearn(Original(7))
    assert unfitted.n_components == 7 and not hasattr(unfitted, "components_")


def test_what_scikit_learn_has_no_machine_for():
    with pytest.raises(TypeError, match="rbm must be a BernoulliRBM, as scikit-learn has no other, got IsingRBM"):
        to_sklearn(IsingRBM(2))
    with pytest.raises(NotFittedError):
        to_sklearn(BernoulliRBM(2))
    with pytest.raises(ValueError, match="temperature must be 1"):
        to_sklearn(BernoulliRBM(2, temperature=2.0, n_iter=1).fit(BITS))
    for other in (BernoulliRBM(2), 3, None):
        with pytest.raises(TypeError, match="machine must be a BernoulliRBM of scikit-learn"):
            from_sklearn(other)


# -- PyTorch -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bits", "float64", "spins"])
def test_state_dicts(name):
    pytest.importorskip("torch")
    rbm, X = fitted(name)
    state = to_state_dict(rbm)
    assert list(state) == ["weight", "hidden_bias", "visible_bias"] and tuple(state["weight"].shape) == (4, 8)
    made = from_state_dict(state, MODELS[name][0])
    np.testing.assert_array_equal(made.transform(X), rbm.transform(X))


def test_state_dicts_of_gaussian_machines():
    pytest.importorskip("torch")
    rbm, X = fitted("gaussian")
    made = from_state_dict(to_state_dict(rbm), GaussianRBM(1))
    np.testing.assert_allclose(made.transform(X), rbm.transform(X), atol=1e-6)


def test_arrays_in_the_place_of_tensors():
    rbm, X = fitted("bits")
    state = dict(weight=rbm.components_, hidden_bias=rbm.intercept_hidden_, visible_bias=rbm.intercept_visible_)
    np.testing.assert_array_equal(from_state_dict(state, BernoulliRBM(1)).transform(X), rbm.transform(X))
    with pytest.raises(ValueError, match="state must have"):
        from_state_dict({"weight": state["weight"]}, BernoulliRBM(1))
    with pytest.raises(ValueError, match="weights must have shape"):
        from_state_dict(state | {"hidden_bias": np.ones(3, np.float32)}, BernoulliRBM(1))
    with pytest.raises(ValueError, match="finite floats"):
        from_state_dict(state | {"hidden_bias": np.full(4, np.nan, np.float32)}, BernoulliRBM(1))


@pytest.mark.parametrize("package,call", [
    ("safetensors.numpy", lambda rbm, path: to_safetensors(rbm, path)),
    ("safetensors", lambda _, path: from_safetensors(path)),
    ("h5py", lambda rbm, path: to_hdf5(rbm, path)), ("h5py", lambda _, path: from_hdf5(path)),
    ("torch", lambda rbm, _: to_state_dict(rbm)),
])  # fmt: skip
def test_packages_that_are_not_installed_are_named(package, call, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(ImportError, match=r'pip install "fastrbm\['):
        call(fitted("bits")[0], tmp_path / "x")


def test_only_machines_are_written(tmp_path):
    pytest.importorskip("h5py")
    with pytest.raises(TypeError, match="rbm must be an RBM of fastrbm"):
        to_hdf5(Original(2), tmp_path / "x")
    assert not list(tmp_path.iterdir()) and hasattr(fastrbm, "load")
