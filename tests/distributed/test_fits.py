"""Fits whose rows several processes hold: what is learned does not depend on how many there are."""

import os

import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from fastrbm import RBM, BernoulliRBM, GaussianRBM, IsingRBM, PottsRBM, SoftmaxRBM
from fastrbm._data import chunks
from fastrbm._kernels import sharing
from fastrbm.callbacks import Callback, Checkpoint, EarlyStopping, PseudoLikelihood
from fastrbm.classifiers import RBMClassifier
from fastrbm.distributed import fit, rehearse
from fastrbm.regularizers import L2, Dropout
from fastrbm.samplers import Tempering

rng = np.random.default_rng(0)
BITS = (rng.random((300, 20)) < 0.3).astype(np.float32)
GREY = rng.random((300, 20)).astype(np.float32)
CLASSES = rng.integers(0, 3, (300, 6)).astype(float)
SAME = dict(n_components=70, batch_size=50, n_iter=3, random_state=0)


@pytest.fixture(autouse=True)
def share_all(monkeypatch):
    monkeypatch.setattr(sharing, "LEAST_WORK", 0)


def parts(X, n, cuts=None):
    """Rows of n processes, of uneven sizes."""
    ends = [0, *(cuts or [round(len(X) * ((k + 1) / n) ** 1.5) for k in range(n - 1)]), X.shape[0]]
    return [X[a:b] for a, b in zip(ends, ends[1:], strict=False)]


def fitted(make, pieces, **more):
    """The estimators of all processes."""
    return rehearse(len(pieces), lambda comm: fit(make(), pieces[comm.rank], comm=comm, **more))


def assert_same(got, wanted):
    for name in ("components_", "intercept_hidden_", "intercept_visible_"):
        np.testing.assert_array_equal(getattr(got, name), getattr(wanted, name))
    chains = getattr(wanted, "h_samples_", None)
    if chains is not None:
        np.testing.assert_array_equal(got.h_samples_, chains)
    assert got.input_scale_ == wanted.input_scale_ and got.n_features_in_ == wanted.n_features_in_


#: fits of which every process has the bits of one that has all rows in its memory
EXACT = {
    "pcd": (lambda: BernoulliRBM(**SAME), BITS),
    "cd": (lambda: BernoulliRBM(algorithm="cd", n_gibbs_steps=2, optimizer="adam", **SAME), BITS),
    "levels": (lambda: BernoulliRBM(dtype=np.float32, **SAME), np.rint(255 * GREY).astype(np.uint8)),
    "drawn": (lambda: BernoulliRBM(stochastic_input=True, optimizer="rmsprop", **SAME), GREY),
    "spins": (lambda: IsingRBM(**SAME), 2 * BITS - 1),
    "in order": (lambda: BernoulliRBM(shuffle=False, visible_bias="data", **SAME), BITS),
    "regularised": (lambda: BernoulliRBM(regularizers=[L2(0.01), Dropout(0.3)], **SAME), BITS),
    "centred": (lambda: BernoulliRBM(centered=True, **SAME), BITS),
    "fast weights": (lambda: BernoulliRBM(algorithm="fpcd", **SAME), BITS),
    "tempered": (lambda: BernoulliRBM(algorithm=Tempering(3), n_chains=20, **SAME), BITS),
    "sampled": (lambda: BernoulliRBM(hidden_statistics="sampled", **SAME), BITS),
}  # fmt: skip
#: and others, whose real numbers are multiplied by other kernels where rows are shared
NEAR = {
    "grey": (lambda: BernoulliRBM(**SAME), GREY),
    "gaussian": (lambda: GaussianRBM(sigma="learned", learning_rate=0.01, **SAME), GREY),
    "classes": (lambda: SoftmaxRBM(n_categories=3, **SAME), CLASSES),
    "potts": (lambda: PottsRBM(**SAME), BITS),
    "counts": (lambda: RBM(visible="binomial(4)", learning_rate=0.001, **SAME), np.rint(4 * GREY)),
    "float64": (lambda: BernoulliRBM(dtype=np.float64, **SAME), BITS),
    "missing": (
        lambda: SoftmaxRBM(n_categories=3, algorithm="cd", **SAME),
        np.where(rng.random((300, 6)) < 0.1, np.nan, CLASSES),
    ),
}


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("n", [1, 2, 4])
def test_bits_are_those_of_one_process(name, n):
    make, X = EXACT[name]
    alone = make().fit(X)
    for rbm in fitted(make, parts(X, n)):
        assert_same(rbm, alone)


@pytest.mark.parametrize("name", NEAR)
def test_real_numbers_do_not_depend_on_the_number_of_processes(name):
    make, X = NEAR[name]
    alone = make().fit(X)
    first = fitted(make, [X])[0]
    np.testing.assert_allclose(first.components_, alone.components_, atol=1e-3)
    for n in (2, 3):
        for rbm in fitted(make, parts(X, n)):
            assert_same(rbm, first)


def test_rows_of_any_container():
    alone = BernoulliRBM(**SAME).fit(BITS)
    names = [f"c{i}" for i in range(20)]
    frame = pd.DataFrame(BITS, columns=names)
    for X in (sp.csr_array(BITS), frame, np.asfortranarray(BITS)):
        pieces = [X[:120], X[120:]] if not hasattr(X, "iloc") else [X.iloc[:120], X.iloc[120:]]
        for rbm in fitted(lambda: BernoulliRBM(**SAME), pieces):
            assert_same(rbm, alone)
            assert not hasattr(X, "iloc") or list(rbm.feature_names_in_) == names


def test_a_process_may_have_no_rows():
    alone = BernoulliRBM(**SAME).fit(BITS)
    for pieces in ([BITS[:0], BITS], [BITS, BITS[:0]], [BITS[:1], BITS[:0], BITS[1:]]):
        for rbm in fitted(lambda: BernoulliRBM(**SAME), pieces):
            assert_same(rbm, alone)


@pytest.mark.parametrize("read", [1 << 11, 2 << 20])  # many blocks, and one window
def test_rows_on_disk(read, tmp_path, monkeypatch):
    monkeypatch.setattr(chunks, "READ_BYTES", read)
    paths = [tmp_path / f"{k}.h5" for k in range(3)]
    with h5py.File(tmp_path / "all.h5", "w") as file:
        file["X"] = BITS
    pieces = parts(BITS, 3)
    for path, piece in zip(paths, pieces, strict=True):
        with h5py.File(path, "w") as file:
            file["X"] = piece
    with h5py.File(tmp_path / "all.h5") as file:
        alone = BernoulliRBM(**SAME).fit(file["X"])
    files = [h5py.File(path) for path in paths]
    try:
        for rbm in fitted(lambda: BernoulliRBM(**SAME), [file["X"] for file in files]):
            assert_same(rbm, alone)
    finally:
        for file in files:
            file.close()


@pytest.mark.parametrize("shuffle", [False, True])
def test_streams(shuffle):
    def make():
        return BernoulliRBM(shuffle=shuffle, **SAME)

    cut = [BITS[:70], BITS[70:100], BITS[100:100], BITS[100:210], BITS[210:]]
    alone = make().fit(cut)
    pieces = [cut[:2], cut[2:4], cut[4:]]
    for rbm in fitted(make, pieces):
        assert_same(rbm, alone)
    made = [(lambda p=p: iter(p)) for p in pieces]
    for rbm in fitted(make, made):
        assert_same(rbm, alone)


def test_levels_of_all_processes_decide_the_scale():
    X = np.rint(255 * GREY).astype(np.uint8)
    X[:100] = X[:100] > 127  # those of the first process look like bits
    alone = BernoulliRBM(**SAME).fit(X)
    assert alone.input_scale_ == 1 / 255
    for rbm in fitted(lambda: BernoulliRBM(**SAME), [X[:100], X[100:]]):
        assert_same(rbm, alone)


def test_longer_and_shorter_passes():
    def make():
        return BernoulliRBM(steps_per_epoch=9, **SAME)

    alone = make().fit(BITS)
    for rbm in fitted(make, parts(BITS, 3)):
        assert_same(rbm, alone)


def test_a_seed_of_the_operating_system_is_shared():
    options = SAME | dict(random_state=None)
    first, second = fitted(lambda: BernoulliRBM(**options), parts(BITS, 2))
    assert_same(second, first)


# -- callbacks and checkpoints -------------------------------------------------------------------------------------


class Cut(Exception):
    pass


class CutAt(Callback):
    told_last = True

    def __init__(self, updates):
        self.updates = updates

    def wants_rest(self, run):
        return run.state.chains.updates >= self.updates

    def on_rest(self, run):
        raise Cut


@pytest.mark.parametrize("name", ["pcd", "cd", "drawn", "tempered", "spins", "grey", "gaussian"])
@pytest.mark.parametrize("at", [1, 8, 13])
def test_a_run_that_was_cut_off_goes_on_with_any_number_of_processes(name, at, tmp_path):
    make, X = (EXACT | NEAR)[name]

    def made(*callbacks):
        return make().set_params(callbacks=list(callbacks))

    with pytest.raises(Cut):
        fitted(lambda: made(Checkpoint(tmp_path, "1 minibatch"), CutAt(at)), parts(X, 3))
    wanted = fitted(made, [X])[0]
    for n in (1, 2, 4):
        for rbm in fitted(made, parts(X, n), resume=tmp_path):
            assert_same(rbm, wanted)


def test_one_process_that_is_asked_to_end_ends_all(tmp_path):
    """What a signal does: one process asks, all rest after the same minibatch, and the first writes."""

    class AskAt(Callback):
        def __init__(self, checkpoint):
            self.checkpoint = checkpoint

        def on_epoch_end(self, run):
            if run.ranks.rank == 1:
                self.checkpoint.ask(15)

    def script(comm):
        checkpoint = Checkpoint(tmp_path, "1 h")
        rbm = BernoulliRBM(callbacks=[AskAt(checkpoint), checkpoint], **SAME)
        with pytest.raises(SystemExit) as error:
            fit(rbm, parts(BITS, 3)[comm.rank], comm=comm)
        return error.value.code

    assert rehearse(3, script) == [143] * 3
    for rbm in fitted(lambda: BernoulliRBM(**SAME), parts(BITS, 2), resume=tmp_path):
        assert_same(rbm, BernoulliRBM(**SAME).fit(BITS))


def test_callbacks_that_end_a_fit():
    def make():
        return BernoulliRBM(callbacks=[EarlyStopping(PseudoLikelihood(BITS[:50]), patience=1)], **SAME | {"n_iter": 30})

    alone = make().fit(BITS)
    for rbm in fitted(make, parts(BITS, 2)):
        assert_same(rbm, alone)
        assert rbm.history_["epoch"] == alone.history_["epoch"]


def test_any_process_may_stop_all():
    class StopAt(Callback):
        def on_epoch_end(self, run):
            if run.ranks.rank == 1 and run.done == 2:
                run.stop()

    for rbm in fitted(lambda: BernoulliRBM(callbacks=[StopAt()], **SAME | {"n_iter": 9}), parts(BITS, 3)):
        assert rbm.n_iter_ == 2


# -- what cannot be done -------------------------------------------------------------------------------------------


def refused(make, pieces, kind, untouched=True):
    """The messages on all processes, which all fail."""

    def script(comm):
        rbm = make(comm.rank)
        before = dict(vars(rbm))
        with pytest.raises(kind) as error:
            fit(rbm, pieces[comm.rank], comm=comm)
        assert not untouched or vars(rbm) == before
        return str(error.value)

    return rehearse(len(pieces), script)


def test_bad_rows_of_one_process_are_refused_by_all():
    bad = BITS.copy()
    bad[299, 3] = np.nan
    said = refused(lambda _: BernoulliRBM(**SAME), [bad[:150], bad[150:]], ValueError)
    assert "NaN" in said[1] and said[0].startswith("process 1: ") and "NaN" in said[0]
    said = refused(lambda _: BernoulliRBM(**SAME), [BITS, BITS[:, :7]], ValueError)
    assert "7 features" in said[0] and "7 features" in said[1]
    said = refused(lambda _: BernoulliRBM(**SAME), [BITS, BITS.astype(np.float64)], TypeError)
    assert all("one dtype" in x for x in said)
    said = refused(lambda _: BernoulliRBM(**SAME), [BITS, [BITS]], TypeError)
    assert all("one form" in x for x in said)
    said = refused(lambda _: BernoulliRBM(**SAME), [BITS[:0], BITS[:0]], ValueError)
    assert all("at least one row" in x for x in said)
    said = refused(lambda _: BernoulliRBM(out_of_range="error", **SAME), [BITS, BITS + 3], ValueError)
    assert all("values from 0 to 4" in x or "values from 3 to 4" in x for x in said)


def test_options_must_be_the_same():
    said = refused(lambda rank: BernoulliRBM(**SAME | {"learning_rate": 0.1 + rank}), [BITS, BITS], ValueError)
    assert all("learning_rate must be the same on all processes" in x for x in said)
    made = [[], [PseudoLikelihood(BITS)]]
    said = refused(lambda rank: BernoulliRBM(callbacks=made[rank], **SAME), [BITS, BITS], ValueError)
    assert all("callbacks" in x for x in said)


def test_what_is_read_piece_by_piece_has_no_held_out_rows():
    said = refused(lambda _: BernoulliRBM(validation_fraction=0.1, **SAME), [BITS, BITS], ValueError)
    assert all("validation_fraction" in x for x in said)


def test_a_stream_that_changes_is_refused_by_all():
    calls = []

    def stream():
        calls.append(1)
        return iter([BITS[:100]] if len(calls) < 3 else [BITS[:90]])

    said = refused(lambda _: BernoulliRBM(**SAME), [[BITS], stream], ValueError, untouched=False)
    assert all("same rows in every pass" in x for x in said)


def test_a_file_that_becomes_shorter_on_one_process_is_an_error_of_all(tmp_path):
    rows = np.tile(GREY, (20, 5))
    path = tmp_path / "rows.npy"
    np.save(path, rows)

    class CutFile(Callback):
        def on_epoch_end(self, run):
            if run.ranks.rank == 1 and run.done == 1:
                os.truncate(path, 1000)

    def make(_):
        return BernoulliRBM(callbacks=[CutFile()], **SAME)

    mapped = np.load(path, mmap_mode="r")
    said = refused(make, [rows, mapped], OSError, untouched=False)
    assert all("became shorter" in x for x in said) and said[0].startswith("process 1: ")


def test_only_fits_of_one_unsupervised_model():
    with pytest.raises(TypeError, match="got RBMClassifier"):
        rehearse(1, lambda comm: fit(RBMClassifier(), BITS, comm=comm))
    with pytest.raises(TypeError, match="comm must be None"):
        fit(BernoulliRBM(), BITS, comm=3)


def test_a_callback_that_fails_on_one_process_ends_the_others():
    class FailAt(Callback):
        def on_epoch_end(self, run):
            if run.ranks.rank == 1:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fitted(lambda: BernoulliRBM(callbacks=[FailAt()], **SAME), parts(BITS, 2))
