"""Data read piece by piece: the bits of data in memory, in little of it, and errors that name the piece."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from fastrbm import BernoulliRBM, GaussianRBM, IsingRBM, SoftmaxRBM, compat, fit_many
from fastrbm._data import chunks as streams
from fastrbm._kernels.draws import Key
from fastrbm.callbacks import Callback

OPTIONS = {"n_components": 7, "n_iter": 3, "random_state": 0, "batch_size": 16, "learning_rate": 0.02}


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(0)
    return (rng.random((300, 20)) < np.linspace(0.1, 0.9, 20)).astype(np.float32)


class Rows:
    """What is known of data on disk: shape, dtype, slices. Anything that wants all of them at once fails."""

    def __init__(self, x, most=10**9):
        self._x, self.shape, self.dtype, self.ndim, self.most = x, x.shape, x.dtype, x.ndim, most
        self.read = []

    def __getitem__(self, rows):
        assert isinstance(rows, slice) and rows.stop - rows.start <= self.most
        self.read.append((rows.start, rows.stop))
        return self._x[rows]

    def __array__(self, *args, **kwargs):
        raise AssertionError("converted as a whole")


def cut(x, *at):
    return [x[a:b] for a, b in zip((0, *at), (*at, x.shape[0]), strict=True)]


def small_blocks(monkeypatch, n_bytes, window=4):
    monkeypatch.setattr(streams, "READ_BYTES", n_bytes)
    monkeypatch.setattr(streams, "WINDOW_BLOCKS", window)


def assert_same(a, b):
    for name in ("components_", "intercept_visible_", "intercept_hidden_", "n_iter_", "input_scale_", "n_features_in_"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
    assert hasattr(a, "h_samples_") == hasattr(b, "h_samples_")
    assert a.history_["epoch"] == b.history_["epoch"]


FORMS = {
    "bits": lambda X: X,
    "float64": lambda X: X.astype(np.float64),
    "grey": lambda X: 0.25 + 0.5 * X,
    "some grey": lambda X: np.where(np.arange(len(X))[:, None] > 200, 0.5 * X, X),
    "uint8": lambda X: (255 * X).astype(np.uint8),
    "late uint8": lambda X: (np.where(np.arange(len(X))[:, None] > 200, 255, 1) * X).astype(np.uint8),
    "bool": lambda X: X.astype(bool),
}


@pytest.mark.parametrize("algorithm", ["cd", "pcd"])
@pytest.mark.parametrize("form", FORMS)
def test_rows_in_their_order_give_the_bits_of_data_in_memory(X, form, algorithm, monkeypatch):
    small_blocks(monkeypatch, 1000)
    x = FORMS[form](X)
    whole = BernoulliRBM(shuffle=False, algorithm=algorithm, **OPTIONS).fit(x)
    for stream in (Rows(x, most=60), cut(x, 1, 18, 18, 220), lambda: iter(cut(x, 250))):
        assert_same(BernoulliRBM(shuffle=False, algorithm=algorithm, **OPTIONS).fit(stream), whole)


CASES = {
    "general path": (BernoulliRBM, {"centered": True}, lambda X: X),
    "stochastic input": (BernoulliRBM, {"stochastic_input": True}, lambda X: 0.7 * X),
    "bias of the data": (BernoulliRBM, {"visible_bias": "data"}, lambda X: X),
    "spins": (IsingRBM, {}, lambda X: 2 * X - 1),
    "gaussian": (GaussianRBM, {"sigma": "data"}, lambda X: X + np.arange(20)),
    "categories": (SoftmaxRBM, {"n_categories": 2}, lambda X: np.where(np.arange(300)[:, None] == 250, np.nan, X)),
    "float64": (BernoulliRBM, {"dtype": np.float64}, lambda X: 0.5 * X),
    "schedule": (BernoulliRBM, {"batch_size": lambda epoch, n_epochs: 10 if epoch < 2 else 23}, lambda X: X),
}


@pytest.mark.parametrize("case", CASES)
def test_any_estimator_trains_on_pieces(X, case, monkeypatch):
    small_blocks(monkeypatch, 1000)
    cls, options, form = CASES[case]
    options, x = {**OPTIONS, "shuffle": False, **options}, form(X)
    whole = cls(**options).fit(x)
    for stream in (Rows(x), cut(x, 11, 200)):
        fitted = cls(**options).fit(stream)
        for name in ("components_", "intercept_visible_", "intercept_hidden_"):
            # sums over blocks of rows are rounded in another order where the data themselves decide a bias
            exact = case not in ("bias of the data", "gaussian")
            np.testing.assert_allclose(
                getattr(fitted, name), getattr(whole, name), rtol=0, atol=0 if exact else 1e-5, err_msg=name
            )


def test_sparse_chunks_and_data_frames(X):
    whole = BernoulliRBM(shuffle=False, **OPTIONS).fit(X)
    assert_same(BernoulliRBM(shuffle=False, **OPTIONS).fit(cut(sp.csr_matrix(X), 100)), whole)
    grey = sp.csr_matrix(np.where(np.arange(300)[:, None] > 120, 0.5 * X, X))
    assert_same(
        BernoulliRBM(shuffle=False, **OPTIONS).fit(cut(grey, 100)), BernoulliRBM(shuffle=False, **OPTIONS).fit(grey)
    )
    frame = pd.DataFrame(X, columns=[f"x{i}" for i in range(20)])
    fitted = BernoulliRBM(shuffle=False, **OPTIONS).fit(cut(frame, 100))
    assert_same(fitted, whole)
    assert list(fitted.feature_names_in_) == list(frame.columns)
    with pytest.raises(ValueError, match=r"chunk 1 of X: The feature names"):
        BernoulliRBM(**OPTIONS).fit([frame, frame.rename(columns={"x3": "y"})])


class Chunks:
    """Can be iterated again and again, and is nothing else."""

    def __init__(self, x):
        self.x = x

    def __iter__(self):
        return iter(cut(self.x, 100, 130))


def test_the_same_chunks_give_the_same_bits_wherever_they_come_from(X):
    def chunks():
        yield from cut(X, 100, 130)

    fits = [BernoulliRBM(**OPTIONS).fit(c) for c in (cut(X, 100, 130), tuple(cut(X, 100, 130)), chunks, Chunks(X))]
    for other in fits[1:]:
        assert_same(other, fits[0])
    threads = BernoulliRBM(n_threads=1, **OPTIONS).fit(chunks)
    assert_same(threads, fits[0])
    assert (BernoulliRBM(shuffle=False, **OPTIONS).fit(chunks).components_ != fits[0].components_).any()


def test_training_goes_on_bit_for_bit(X):
    whole = BernoulliRBM(**{**OPTIONS, "n_iter": 6}).fit(cut(X, 100))
    twice = BernoulliRBM(warm_start=True, **OPTIONS)
    assert_same(twice.fit(cut(X, 100)).fit(lambda: iter(cut(X, 100))), whole)


def numbered(n):
    """Rows that spell their own number."""
    return (np.arange(n)[:, None] >> np.arange(12) & 1).astype(np.uint8)


def rows_of(data, wanted, batch_size=7):
    """Numbers of the rows of a pass, as training gets them."""
    out, sizes = [], []
    for rows, local in data.batches(wanted, batch_size):
        bits = rows[local].dense(np.int64)
        out += (bits << np.arange(12)).sum(axis=1).tolist()
        sizes.append(len(local))
    assert all(size % batch_size == 0 for size in sizes[:-1])
    return out


def data_of(x):
    rbm = BernoulliRBM()
    policy = rbm._scale_policy(fitted=False)
    return rbm._chunked(streams.source_of(x), np.dtype(np.float32), policy, rbm._limits(), reset=True)


def test_a_pass_has_every_row_once_in_an_order_of_its_own(monkeypatch):
    small_blocks(monkeypatch, 12 * 20)
    for data in (data_of(Rows(numbered(1000))), data_of(cut(numbered(1000), 10, 500))):
        orders = [rows_of(data, streams.Pass(Key(3), epoch, 1000)) for epoch in range(3)]
        for order in orders:
            assert sorted(order) == list(range(1000))
        assert orders[0] != orders[1] != orders[2]
        assert rows_of(data, streams.Pass(Key(3), 1, 1000)) == orders[1]
        assert rows_of(data, streams.Pass(Key(4), 1, 1000)) != orders[1]
        assert rows_of(data, streams.Pass(None, 1, 1000)) == list(range(1000))


def test_rows_on_disk_mix_over_windows_and_chunks_do_not(monkeypatch):
    small_blocks(monkeypatch, 12 * 20, window=5)
    rows = np.array(rows_of(data_of(Rows(numbered(1000))), streams.Pass(Key(0), 0, 1000)))
    window = rows[:100]  # 5 blocks of 20 rows
    assert len(set(window // 20)) == 5 and set(np.bincount(window // 20)) <= {0, 20}
    assert np.ptp(window) > 300  # from all over the data
    assert len(set(rows[:20] // 20)) > 2  # the rows of the blocks are mixed
    chunks = rows_of(data_of(cut(numbered(1000), 400)), streams.Pass(Key(0), 0, 1000))
    assert sorted(chunks[:400]) == list(range(400)) and chunks[:400] != sorted(chunks[:400])


def test_rows_of_one_window_are_shuffled_as_in_memory(X):
    assert_same(BernoulliRBM(**OPTIONS).fit(Rows(X)), BernoulliRBM(**OPTIONS).fit(X))
    options = {**OPTIONS, "steps_per_epoch": 40}  # of 16 rows: the rows come more than twice
    assert_same(BernoulliRBM(shuffle=False, **options).fit(Rows(X)), BernoulliRBM(shuffle=False, **options).fit(X))


def test_short_passes_see_other_rows_each_time(monkeypatch):
    small_blocks(monkeypatch, 12 * 20, window=2)
    x = Rows(numbered(1000))
    data = data_of(x)
    x.read.clear()
    seen = [rows_of(data, streams.Pass(Key(0), epoch, 30)) for epoch in range(4)]
    assert len(x.read) == 8  # a window each, not all of the data
    assert len({n for rows in seen for n in rows}) > 60


def test_blocks_follow_the_pieces_that_are_stored():
    class Stored(Rows):
        chunks = (700, 12)

    x = Stored(numbered(4000))
    data_of(x)
    assert {start % 700 for start, _ in x.read} == {0}


class Begin(Callback):
    def __init__(self):
        self.batches = None

    def on_fit_begin(self, run):
        self.batches = run.batches


def test_callbacks_and_verbose_work(X, capsys):
    callback = Begin()
    fitted = BernoulliRBM(verbose=1, callbacks=[callback], **OPTIONS).fit(cut(X, 100))
    assert callback.batches == [19] * 3
    assert len(capsys.readouterr().out.splitlines()) == 3 == len(fitted.history_["pseudo_likelihood"])


def test_many_models_of_one_stream(X):
    models = fit_many([BernoulliRBM(**OPTIONS), BernoulliRBM(**{**OPTIONS, "random_state": 1})], Chunks(X))
    assert_same(models[0], BernoulliRBM(**OPTIONS).fit(Chunks(X)))
    assert_same(models[1], BernoulliRBM(**{**OPTIONS, "random_state": 1}).fit(Chunks(X)))


# -- memory ----------------------------------------------------------------------------------------------------------


def peak_of(fit):
    tracemalloc.start()
    try:
        fit()
        return tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()


def write(out, n_rows, width, grey):
    rng = np.random.default_rng(0)
    for first in range(0, n_rows, 10000):
        block = rng.integers(0, 256 if grey else 2, (10000, width), dtype=np.uint8)
        out[first : first + 10000] = block


QUICK = {"n_components": 2, "n_iter": 1, "batch_size": 1000, "random_state": 0}


@pytest.mark.parametrize("grey", [False, True])
def test_a_dataset_is_never_in_memory(tmp_path, grey):
    h5py = pytest.importorskip("h5py", reason="h5py is not installed: pip install h5py")
    n_rows, width = 150_000, 1000  # 143 MB
    with h5py.File(tmp_path / "x.h5", "w") as file:
        data = file.create_dataset("x", (n_rows, width), np.uint8, chunks=(500, width))
        write(data, n_rows, width, grey)
        fitted = BernoulliRBM(**QUICK)
        # a window of 32 MB, one block, and what is made of them
        assert peak_of(lambda: fitted.fit(data)) < 70
        assert fitted.input_scale_ == (1 / 255 if grey else 1)
        ordered = BernoulliRBM(shuffle=False, **QUICK)
        assert peak_of(lambda: ordered.fit(data)) < 30
        assert_same(ordered, BernoulliRBM(shuffle=False, **QUICK).fit(data[:]))


@pytest.mark.parametrize("grey", [False, True])
def test_a_memory_map_is_never_copied(tmp_path, grey):
    n_rows, width = 150_000, 1000
    data = np.memmap(tmp_path / "x", np.uint8, "w+", shape=(n_rows, width))
    write(data, n_rows, width, grey)
    data = np.memmap(tmp_path / "x", np.uint8, "r", shape=(n_rows, width))
    fitted = BernoulliRBM(**QUICK)
    assert peak_of(lambda: fitted.fit(data)) < 40  # 18 MB of bits
    assert_same(fitted, BernoulliRBM(**QUICK).fit(np.array(data)))


# -- what cannot be read ---------------------------------------------------------------------------------------------


def test_iterators_are_refused_whatever_n_iter(X):
    for n_iter in (1, 3):
        with pytest.raises(ValueError, match="got an iterator.*Pass a function"):
            BernoulliRBM(n_iter=n_iter).fit(iter(cut(X, 100)))


def test_a_function_that_gives_an_old_iterator_is_found(X):
    for options in ({}, {"shuffle": False}, {"verbose": 1}):
        old = iter(cut(X, 100))
        with pytest.raises(ValueError, match="same rows in every pass, got 0 in this one and 300"):
            BernoulliRBM(**options, **OPTIONS).fit(lambda old=old: old)


@pytest.mark.parametrize("n", [200, 290, 310, 500])
def test_passes_of_other_lengths_are_found(X, n):
    lengths = iter([300, n, n])
    Y = np.vstack([X, X])
    with pytest.raises(ValueError, match=rf"got {n} in this one and 300"):
        BernoulliRBM(**OPTIONS).fit(lambda: iter(cut(Y[: next(lengths)], 100)))


BAD_CHUNKS = {
    "width": (lambda X: [X, X[:, 1:]], "chunk 1 of X: X has 19 features, but BernoulliRBM is expecting 20"),
    "range": (lambda X: [X, X, X + 1], r"chunk 2 of X: X must hold values in \[0, 1\]"),
    "nan": (lambda X: [X, np.full_like(X, np.nan)], "chunk 1 of X: Input X contains NaN"),
    "one row": (lambda X: [X, X[0]], "chunk 1 of X: Expected 2D array"),
    "text": (lambda X: [X, "rows"], "chunk 1 of X: "),
    "nothing": (lambda X: [X[:0], X[:0]], "at least one row, got none in its chunks"),
    "no iterator": (lambda X: lambda: 3, "function that returns an iterator over chunks of rows, got 3 from it"),
}


@pytest.mark.parametrize("case", BAD_CHUNKS)
def test_bad_chunks_are_named_and_keep_the_earlier_fit(X, case):
    make, message = BAD_CHUNKS[case]
    fitted = BernoulliRBM(**OPTIONS, out_of_range="error").fit(X)
    before = fitted.components_.copy()
    with pytest.raises((ValueError, TypeError), match=message):
        fitted.fit(make(X))
    np.testing.assert_array_equal(fitted.components_, before)
    assert fitted.n_features_in_ == 20


def test_bad_rows_on_disk_are_named(X, monkeypatch):
    small_blocks(monkeypatch, 80 * 100)
    x = X.copy()
    x[250, 3] = 7
    with pytest.raises(ValueError, match=r"rows 200 to 299 of X: X must hold values in \[0, 1\].*in column 3"):
        BernoulliRBM(**OPTIONS, out_of_range="error").fit(Rows(x))


@pytest.mark.parametrize(
    "options, message",
    [
        (
            {"validation_fraction": 0.1},
            "validation_fraction must be 0 .* kept back and watched .*, got 0.1",
        ),
        ({"steps_per_epoch": 3}, "steps_per_epoch must be None for X in chunks.*got 3"),
    ],
)
def test_options_that_need_all_rows(X, options, message):
    with pytest.raises(ValueError, match=message):
        BernoulliRBM(**options).fit(cut(X, 100))


def test_weights_and_draws_of_scikit_learn_need_all_rows(X):
    with pytest.raises(ValueError, match="sample_weight must be None for X that is read piece by piece"):
        BernoulliRBM().fit(Rows(X), sample_weight=np.ones(300))
    with pytest.raises(ValueError, match="X must be an array with random_stream='sklearn', got chunks"):
        compat.BernoulliRBM().fit(cut(X, 100))


def test_arrays_are_no_streams(X):
    for x in (
        X,
        X.tolist(),
        list(X),
        sp.csr_matrix(X),
        pd.DataFrame(X),
        pd.Series(X[0]),
        "text",
        None,
        3,
        {1: 2},
        [],
        int,
    ):
        assert streams.source_of(x) is None


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_a_list_of_frames_is_chunks(library):
    frames = pytest.importorskip(library)
    make = {"pandas": "DataFrame", "polars": "DataFrame", "pyarrow": "table"}[library]
    x = (np.random.default_rng(0).random((40, 3)) < 0.4).astype(np.float64)
    chunks = [getattr(frames, make)({name: part[:, i] for i, name in enumerate("abc")}) for part in (x[:25], x[25:])]
    rbm = BernoulliRBM(3, random_state=0, n_iter=2).fit(chunks)
    np.testing.assert_array_equal(
        rbm.components_, BernoulliRBM(3, random_state=0, n_iter=2).fit([x[:25], x[25:]]).components_
    )
    assert list(rbm.feature_names_in_) == ["a", "b", "c"]


def test_rows_of_unknown_number_are_named():
    array = pytest.importorskip("dask.array", reason="dask is not installed: pip install dask")
    x = array.from_array(np.eye(6), chunks=(2, 6))
    with pytest.raises(ValueError, match=r"X must have a known shape, got \(nan, 6\).*compute_chunk_sizes"):
        BernoulliRBM(2).fit(x[x[:, 0] > 0])
