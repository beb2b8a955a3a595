"""Any table in, the same table out: containers of rows by methods of estimators."""

import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from fastrbm import BernoulliRBM, GaussianRBM, IsingRBM, SoftmaxRBM, callbacks

pl = pytest.importorskip("polars", reason="polars is not installed: pip install polars")
pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install pyarrow")

RNG = np.random.default_rng(0)
BITS = (RNG.random((60, 8)) < 0.4).astype(np.float64)
BITS[0], BITS[1] = 0, 1
NAMES = [f"pixel{i}" for i in range(8)]


def frame(X, dtype):
    return pd.DataFrame(X.astype(np.int64), columns=NAMES).astype(dtype)


def of_module(name, make):
    def build(X):
        module = pytest.importorskip(name, reason=f"{name} is not installed: pip install {name}")
        return make(module, X)

    return build


def on_disk(X):
    h5py = pytest.importorskip("h5py", reason="h5py is not installed: pip install h5py")
    file = (
        h5py.File.in_memory()
        if hasattr(h5py.File, "in_memory")
        else h5py.File("x", "w", driver="core", backing_store=0)
    )
    return file.create_dataset("X", data=X)


def mapped(X):
    import tempfile

    with tempfile.NamedTemporaryFile(suffix=".npy") as file:
        np.save(file, X)
        file.flush()
        return np.load(file.name, mmap_mode="r")


def strided(X):
    wide = np.zeros((2 * len(X), 3 * X.shape[1]))
    wide[::2, ::3] = X
    return wide[::2, ::3]


DENSE = {
    "C order": np.ascontiguousarray,
    "column order": np.asfortranarray,
    "strided": strided,
    "reversed": lambda X: X[::-1, ::-1].copy()[::-1, ::-1],
    "read-only": lambda X: np.frombuffer(X.tobytes()).reshape(X.shape),
    "uint8": lambda X: X.astype(np.uint8),
    "uint8 column order": lambda X: np.asfortranarray(X.astype(np.uint8)),
    "bool": lambda X: X.astype(bool),
    "bool column order": lambda X: np.asfortranarray(X.astype(bool)),
    "int8": lambda X: X.astype(np.int8),
    "int64": lambda X: X.astype(np.int64),
    "float16": lambda X: X.astype(np.float16),
    "float32": lambda X: X.astype(np.float32),
    "float32 column order": lambda X: np.asfortranarray(X.astype(np.float32)),
    "longdouble": lambda X: X.astype(np.longdouble),
    "big-endian float64": lambda X: X.astype(">f8"),
    "big-endian float32": lambda X: X.astype(">f4"),
    "big-endian int16": lambda X: X.astype(">i2"),
    "objects": lambda X: X.astype(object),
    "list": lambda X: X.tolist(),
    "tuple": lambda X: tuple(map(tuple, X.tolist())),
    "masked array": lambda X: np.ma.masked_array(X),
    "memmap": mapped,
    "pandas": lambda X: frame(X, float),
    "pandas uint8": lambda X: frame(X, np.uint8),
    "pandas bool": lambda X: frame(X, bool),
    "pandas Int64": lambda X: frame(X, "Int64"),
    "pandas UInt8": lambda X: frame(X, "UInt8"),
    "pandas Float32": lambda X: frame(X, "Float32"),
    "pandas boolean": lambda X: frame(X, "boolean"),
    "pandas category": lambda X: frame(X, "category"),
    "pandas sparse": lambda X: frame(X, pd.SparseDtype(float, 0)),
    "pandas sparse and dense": lambda X: frame(X, float).astype({NAMES[0]: pd.SparseDtype(float, 0)}),
    "pandas pyarrow": lambda X: frame(X, "double[pyarrow]"),
    "pandas mixed": lambda X: frame(X, float).astype({NAMES[0]: "Int64", NAMES[1]: "category", NAMES[2]: "boolean"}),
    "pandas without names": lambda X: pd.DataFrame(X),
    "polars": lambda X: pl.DataFrame(X, schema=NAMES),
    "polars mixed": lambda X: pl.DataFrame(X, schema=NAMES).cast({NAMES[0]: pl.Boolean, NAMES[1]: pl.UInt8}),
    "pyarrow": lambda X: pa.table({name: X[:, i] for i, name in enumerate(NAMES)}),
    "xarray": of_module("xarray", lambda xarray, X: xarray.DataArray(X, dims=("row", "pixel"))),
    "dask": of_module("dask.array", lambda dask, X: dask.from_array(X, chunks=(25, 8))),
    "torch": of_module("torch", lambda torch, X: torch.tensor(X)),
    "torch float32": of_module("torch", lambda torch, X: torch.tensor(X, dtype=torch.float32)),
    "torch bool": of_module("torch", lambda torch, X: torch.tensor(X) > 0),
    "h5py": on_disk,
    "chunks": lambda X: [X[:20], X[20:50], X[50:]],
}
SPARSE = {
    f"sparse {kind}": (lambda X, kind=kind: getattr(sp, kind)(X))
    for kind in (
        "csr_matrix", "csc_matrix", "coo_matrix", "bsr_matrix", "dia_matrix", "lil_matrix", "dok_matrix",
        "csr_array", "csc_array", "coo_array",
    )
}  # fmt: skip
SPARSE["sparse uint8"] = lambda X: sp.csr_matrix(X.astype(np.uint8))
SPARSE["sparse bool"] = lambda X: sp.csr_matrix(X.astype(bool))


def wide_indices(X):
    x = sp.csr_array(X)
    x.indices, x.indptr = x.indices.astype(np.int64), x.indptr.astype(np.int64)
    return x


SPARSE["sparse int64 indices"] = wide_indices

METHODS = {
    "transform": lambda rbm, X: rbm.transform(X),
    "reconstruct": lambda rbm, X: rbm.reconstruct(X),
    "reconstruction_error": lambda rbm, X: rbm.reconstruction_error(X),
    "score_samples": lambda rbm, X: rbm.score_samples(X),
    "score": lambda rbm, X: rbm.score(X),
    "free_energy": lambda rbm, X: rbm.free_energy(X),
    "log_likelihood": lambda rbm, X: rbm.log_likelihood(X, "exact"),
    "gibbs": lambda rbm, X: rbm.gibbs(X),
    "sample_hidden": lambda rbm, X: rbm.sample_hidden(X, random_state=1),
    "sample": lambda rbm, X: rbm.sample(60, 3, init=X, random_state=1),
}


def fitted_to(rbm, X):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="X (has|does not have valid) feature names")
        return rbm.fit(X)


def compared(rbm, X, given):
    """Results of all methods for the same values in two containers, as arrays."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="X (has|does not have valid) feature names")
        for name, method in METHODS.items():
            results = []
            for x in (X, given):
                rbm._calls = 0
                results.append(np.asarray(method(rbm, x)))
            yield name, *results


@pytest.mark.parametrize("form", [*DENSE, *SPARSE])
def test_all_methods_give_the_same_numbers_for_every_container(form):
    given = {**DENSE, **SPARSE}[form](BITS)
    options = dict(n_components=5, n_iter=2, random_state=0, batch_size=7)
    rbm = fitted_to(BernoulliRBM(**options, shuffle=False), BITS)
    other = fitted_to(BernoulliRBM(**options, shuffle=False), given)
    for name in ("components_", "intercept_visible_", "intercept_hidden_"):
        np.testing.assert_array_equal(getattr(other, name), getattr(rbm, name), err_msg=name)
    for name, wanted, got in compared(rbm, BITS, given):
        np.testing.assert_allclose(got, wanted, rtol=1e-6, err_msg=name)
        assert got.dtype.kind == wanted.dtype.kind, name
    if form not in ("chunks", "dask", "h5py"):
        fitted_to(
            BernoulliRBM(**options, validation_fraction=0.2, early_stopping="pseudo_likelihood", verbose=0), given
        )
        rbm.partial_fit(given)


@pytest.mark.parametrize("form", [form for form in DENSE if form not in ("uint8", "bool") and "categ" not in form])
@pytest.mark.parametrize("cls", [GaussianRBM, IsingRBM, SoftmaxRBM])
def test_estimators_of_other_units_take_every_dense_container(form, cls):
    X = 2 * BITS - 1 if cls is IsingRBM else BITS
    if cls is IsingRBM and any(word in form for word in ("uint8", "UInt8", "bool", "mixed")):
        pytest.skip("spins of -1 have no place in these types")
    given = DENSE[form](X)
    rbm = fitted_to(cls(3, n_iter=1, random_state=0, batch_size=7, shuffle=False), X)
    other = fitted_to(cls(3, n_iter=1, random_state=0, batch_size=7, shuffle=False), given)
    np.testing.assert_array_equal(other.components_, rbm.components_)
    for name in ("transform", "reconstruct", "free_energy"):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="X (has|does not have valid) feature names")
            got = getattr(rbm, name)(given)
        np.testing.assert_allclose(got, getattr(rbm, name)(X), rtol=1e-5, err_msg=name)


# -- the type of results -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "form,dtype",
    [("pandas Float32", "f4"), ("pandas Int64", "f8"), ("torch float32", "f4"), ("torch", "f8"), ("polars", "f8"),
     ("float16", "f8"), ("big-endian float32", "f4"), ("pandas bool", "f4"), ("pandas uint8", "f4")],
)  # fmt: skip
def test_results_have_the_float_type_of_the_values(form, dtype):
    given = DENSE[form](BITS)
    rbm = fitted_to(BernoulliRBM(3, n_iter=1, random_state=0), given)
    assert rbm.transform(given).dtype == dtype and rbm.reconstruct(given).dtype == dtype


@pytest.mark.parametrize("kind", ["pandas", "polars"])
@pytest.mark.parametrize("estimator", [BernoulliRBM(3), GaussianRBM(3), SoftmaxRBM(3), IsingRBM(3)])
def test_set_output_reaches_all_methods_that_return_a_layer(kind, estimator):
    X = pd.DataFrame(2 * BITS - 1 if isinstance(estimator, IsingRBM) else BITS, columns=NAMES, index=range(5, 65))
    rbm = estimator.set_params(n_iter=1, random_state=0).fit(X).set_output(transform=kind)
    cls = {"pandas": pd.DataFrame, "polars": pl.DataFrame}[kind]
    hidden = [f"{type(rbm).__name__.lower()}{i}" for i in range(3)]
    visible = [f"{name}_{k}" for name in NAMES for k in range(2)] if isinstance(rbm, SoftmaxRBM) else NAMES
    for method, names in (
        (rbm.transform, hidden), (rbm.sample_hidden, hidden), (rbm.reconstruct, visible), (rbm.gibbs, visible),
        (lambda _: rbm.sample(4, 2), visible),
    ):  # fmt: skip
        table = method(X)
        assert isinstance(table, cls) and list(table.columns) == names
        if kind == "pandas" and len(table) == len(X):
            assert list(table.index) == list(X.index)
    if isinstance(rbm, SoftmaxRBM):
        assert isinstance(rbm.impute(X), cls) and rbm.predict_proba(X).shape == (60, 8, 2)
    assert np.isfinite(rbm.reconstruction_error(X))
    array = rbm.set_output(transform="default").reconstruct(X)
    assert isinstance(array, np.ndarray)


def test_the_global_setting_of_scikit_learn_reaches_them_too():
    import sklearn

    rbm = BernoulliRBM(3, n_iter=1, random_state=0).fit(BITS)
    with sklearn.config_context(transform_output="pandas"):
        assert list(rbm.sample(2, 2).columns) == [f"x{i}" for i in range(8)]
    assert isinstance(rbm.sample(2, 2), np.ndarray)


def test_names_of_columns_are_kept_from_every_frame():
    for form in ("pandas", "pandas Int64", "polars", "pyarrow"):
        rbm = BernoulliRBM(3, n_iter=1).fit(DENSE[form](BITS))
        assert list(rbm.feature_names_in_) == NAMES, form
    with pytest.raises(ValueError, match="feature names should match"):
        rbm.transform(DENSE["pandas"](BITS)[NAMES[::-1]])


# -- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given,message",
    [
        (lambda: pl.DataFrame(BITS).lazy(), r"lazy .*LazyFrame: compute it first \(.collect"),
        (lambda: pd.DataFrame({"a": ["x", "y"]}), "X must hold numbers, got 'x' in column 'a'.*OneHotEncoder"),
        (lambda: pl.DataFrame({"a": ["1", "y"]}), "X must hold numbers, got 'y' in column 'a'"),
        (lambda: pd.DataFrame({"a": pd.to_datetime(["2020-01-01"])}), "X must hold numbers, got .* in column 'a'"),
        (lambda: pd.DataFrame({"a": pd.array([1, None], dtype="Int64")}), "Input X contains NaN"),
        (lambda: pl.DataFrame({"a": [1.0, None]}), "Input X contains NaN"),
        (lambda: np.ma.masked_array(BITS, BITS > 0), "Input X contains NaN"),
        (lambda: pd.Series([0.0, 1.0]), "Expected.* 2-dimensional|Expected 2D array|1D"),
    ],
)
def test_tables_without_numbers_are_refused_with_a_reason(given, message):
    with pytest.raises((ValueError, TypeError), match=message):
        BernoulliRBM(2).fit(given())


def test_tensors_that_numpy_cannot_read_are_refused_with_a_reason():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    for tensor in (torch.tensor(BITS, requires_grad=True), torch.tensor(BITS, dtype=torch.bfloat16)):
        with pytest.raises(TypeError, match=r"\.detach\(\).*\.cpu\(\).*\.float\(\)"):
            BernoulliRBM(2).fit(tensor)


def test_missing_values_of_frames_are_missing_ratings():
    codes = pd.DataFrame(BITS[:, :3], columns=list("abc")).astype("Int64")
    codes.loc[3, "b"] = pd.NA
    rbm = SoftmaxRBM(2, n_iter=1, random_state=0).fit(codes)
    assert rbm.impute(codes).shape == (60, 3) and not np.isnan(rbm.impute(codes)).any()


@pytest.mark.parametrize(
    "form", ["sparse coo_matrix", "sparse bsr_matrix", "sparse dia_matrix", "pandas Int64", "polars"]
)
@pytest.mark.parametrize("early", [False, "log_likelihood", "pseudo_likelihood", "free_energy_gap"])
def test_rows_are_held_out_of_every_container(form, early):
    given = {**DENSE, **SPARSE}[form](BITS)
    rbm = BernoulliRBM(3, n_iter=2, random_state=0, validation_fraction=0.25, early_stopping=early, verbose=1).fit(
        given
    )
    same = BernoulliRBM(3, n_iter=2, random_state=0, validation_fraction=0.25, early_stopping=early).fit(BITS)
    np.testing.assert_array_equal(rbm.components_, same.components_)
    for name in set(same.history_) - {"seconds"}:
        np.testing.assert_allclose(rbm.history_[name], same.history_[name], rtol=1e-6)


@pytest.mark.parametrize("form", ["pandas Int64", "polars", "sparse coo_matrix", "torch"])
def test_callbacks_score_every_container(form):
    given = {**DENSE, **SPARSE}[form](BITS)
    watch = [callbacks.PseudoLikelihood(given), callbacks.ReconstructionError(given), callbacks.LogLikelihood(given)]
    rbm = BernoulliRBM(3, n_iter=2, random_state=0, callbacks=watch).fit(given)
    assert np.isfinite([rbm.history_[c.name] for c in watch]).all()
