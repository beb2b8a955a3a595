"""Fits that are cut off and go on: by exceptions, signals and kills, with the bits of those that are not."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import killed_fit
import numpy as np
import pytest

import fastrbm
from fastrbm import RBM, BernoulliRBM, GaussianRBM, IsingRBM, SoftmaxRBM, fit_many
from fastrbm._estimator import io
from fastrbm.callbacks import Callback, Checkpoint, CheckpointTrajectory, EarlyStopping, PseudoLikelihood, Terminated
from fastrbm.regularizers import Dropout
from fastrbm.samplers import Tempering

rng = np.random.default_rng(0)
BITS = (rng.random((300, 20)) < 0.3).astype(np.float32)
GREY = rng.random((300, 20)).astype(np.float32)
CLASSES = rng.integers(0, 3, (300, 6)).astype(float)
WEIGHTS = rng.random(300)
SAME = dict(batch_size=25, n_iter=5, random_state=0)
FITS = {
    "bits": (BernoulliRBM(9, optimizer="adam", **SAME), BITS, {}),
    "grey": (BernoulliRBM(9, algorithm="cd", **SAME), GREY, {}),
    "levels": (BernoulliRBM(9, input_scale=1 / 255, **SAME), np.rint(255 * GREY).astype(np.uint8), {}),
    "drawn": (BernoulliRBM(9, stochastic_input=True, **SAME), GREY, {}),
    "gaussian": (GaussianRBM(9, sigma="learned", learning_rate=0.01, **SAME), GREY, {}),
    "spins": (IsingRBM(9, **SAME), 2 * BITS - 1, {}),
    "tempered": (BernoulliRBM(9, algorithm=Tempering(3), n_chains=10, **SAME), BITS, {}),
    "fast weights": (BernoulliRBM(9, algorithm="fpcd", **SAME), BITS, {}),
    "centred": (BernoulliRBM(9, centered=True, regularizers=Dropout(0.2), **SAME), BITS, {}),
    "classes": (SoftmaxRBM(9, **SAME), CLASSES, {}),
    "counts": (RBM(9, visible="binomial(4)", hidden="relu", learning_rate=0.001, **SAME), np.rint(4 * GREY), {}),
    "weights of rows": (BernoulliRBM(9, **SAME), BITS, dict(sample_weight=WEIGHTS)),
    "more rows a pass": (BernoulliRBM(9, steps_per_epoch=20, **SAME), BITS, {}),
    "float64": (BernoulliRBM(9, dtype=np.float64, **SAME), BITS, {}),
    "reference": (BernoulliRBM(9, device="reference", **SAME), BITS, {}),
    "pieces": (BernoulliRBM(9, **SAME), [BITS[:110], BITS[110:]], {}),
    "validated": (
        BernoulliRBM(9, validation_fraction=0.2, early_stopping=True, n_iter_no_change=2, **SAME), BITS, {},
    ),
}  # fmt: skip


class Cut(Exception):
    pass


class CutAt(Callback):
    """Ends a fit at a minibatch; checkpoints of the same moment are written before, as they are told first here."""

    told_last = True

    def __init__(self, updates):
        self.updates = updates

    def wants_rest(self, run):
        return run.state.chains.updates >= self.updates

    def on_rest(self, run):
        raise Cut


def made(estimator, **options):
    return type(estimator)(**{**estimator.get_params(deep=False), **options})


def cut_off(estimator, X, folder, at, every="1 minibatch", callbacks=(), **more):
    with pytest.raises(Cut):
        made(estimator, callbacks=[*callbacks, Checkpoint(folder, every), CutAt(at)]).fit(X, **more)


def assert_same(got, wanted):
    for name in ("components_", "intercept_hidden_", "intercept_visible_"):
        np.testing.assert_array_equal(getattr(got, name), getattr(wanted, name))
    assert got.n_iter_ == wanted.n_iter_ and got.history_.keys() == wanted.history_.keys()
    for name, column in wanted.history_.items():
        if name != "seconds":
            np.testing.assert_array_equal(got.history_[name], column, err_msg=name)
    assert getattr(got, "best_iteration_", None) == getattr(wanted, "best_iteration_", None)


@pytest.mark.parametrize("at", [1, 17, 36])
@pytest.mark.parametrize("name", FITS)
def test_a_fit_that_is_cut_off_goes_on_with_its_bits(name, at, tmp_path):
    estimator, X, more = FITS[name]
    cut_off(estimator, X, tmp_path, at, **more)
    assert_same(made(estimator).fit(X, resume=tmp_path, **more), made(estimator).fit(X, **more))


def test_a_fit_may_be_cut_off_again_and_again(tmp_path):
    estimator, X, _ = FITS["bits"]
    cut_off(estimator, X, tmp_path, 5)
    for at in (6, 20, 21, 50):
        cut_off(estimator, X, tmp_path, at, resume=tmp_path)
        assert len(list(tmp_path.iterdir())) == 2
    assert_same(made(estimator).fit(X, resume=tmp_path), made(estimator).fit(X))
    again = made(estimator, callbacks=[Checkpoint(tmp_path, "2 passes")]).fit(X, resume=tmp_path)
    assert_same(again, made(estimator).fit(X))


def test_a_model_that_goes_on_by_warm_start(tmp_path):
    estimator, X, _ = FITS["bits"]
    wanted = made(estimator, warm_start=True).fit(X).fit(X)
    first = (
        made(estimator, warm_start=True).fit(X).set_params(callbacks=[Checkpoint(tmp_path, "1 minibatch"), CutAt(80)])
    )
    with pytest.raises(Cut):
        first.fit(X)
    assert_same(made(estimator).fit(X, resume=tmp_path), wanted)


def test_callbacks_go_on_with_what_they_have_kept(tmp_path):
    estimator, X, _ = FITS["bits"]

    def callbacks():
        return EarlyStopping(PseudoLikelihood(X[:40]), patience=1), CheckpointTrajectory(4)

    wanted = made(estimator, callbacks=list(callbacks())).fit(X)
    cut_off(estimator, X, tmp_path, 30, callbacks=callbacks())
    stop, kept = callbacks()
    assert_same(made(estimator, callbacks=[stop, kept]).fit(X, resume=tmp_path), wanted)
    of_wanted = wanted.callbacks[1]
    assert (kept.updates_, kept.epochs_) == (of_wanted.updates_, of_wanted.epochs_)
    for x, y in zip(kept.models_, of_wanted.models_, strict=True):
        np.testing.assert_array_equal(x.weights, y.weights)
    with pytest.raises(ValueError, match="callbacks must have 1 of EarlyStopping"):
        made(estimator).fit(X, resume=tmp_path)


def test_checkpoints_are_told_after_what_others_have_kept(tmp_path):
    """Wherever they stand in the list."""
    estimator, X, _ = FITS["bits"]
    stop = EarlyStopping(PseudoLikelihood(X[:40]), patience=1)
    made(estimator, n_iter=3, callbacks=[Checkpoint(tmp_path, "1 pass"), stop]).fit(X)
    wanted = made(estimator, callbacks=[EarlyStopping(PseudoLikelihood(X[:40]), patience=1)]).fit(X)
    got = made(estimator, callbacks=[EarlyStopping(PseudoLikelihood(X[:40]), patience=1)]).fit(X, resume=tmp_path)
    assert_same(got, wanted)


def test_models_that_are_trained_together(tmp_path):
    estimators = [made(FITS["bits"][0], random_state=k) for k in range(3)]
    wanted = [made(x).fit(BITS) for x in estimators]
    saving = [made(x, callbacks=[Checkpoint(tmp_path / str(k), "1 minibatch")]) for k, x in enumerate(estimators)]
    for got, right in zip(fit_many(saving, BITS), wanted, strict=True):
        assert_same(got, right)
    for k, right in enumerate(wanted):
        assert_same(made(estimators[k]).fit(BITS, resume=tmp_path / str(k)), right)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


# -- intervals and files -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("every", ["10", 10, "0 s", "1.5 passes", "5 fortnights", "passes", "", None, "-1 s"])
def test_intervals_that_are_none(every, tmp_path):
    with pytest.raises(ValueError, match="every must be a time"):
        Checkpoint(tmp_path, every)


@pytest.mark.parametrize("keep", [1, 0, 2.5])
def test_less_than_two_files_are_not_enough(keep, tmp_path):
    with pytest.raises((ValueError, TypeError), match="keep"):
        Checkpoint(tmp_path, keep=keep)


def test_the_files_that_stay(tmp_path):
    made(FITS["bits"][0], callbacks=[Checkpoint(tmp_path / "a" / "b", "1 pass", keep=3)]).fit(BITS)
    assert [x.name for x in sorted((tmp_path / "a" / "b").iterdir())] == [
        f"checkpoint-{12 * k:012d}.npz" for k in (3, 4, 5)
    ]


def test_parts_of_files_that_were_being_written_are_removed(tmp_path):
    cut_off(FITS["bits"][0], BITS, tmp_path, 9)
    part = tmp_path / ".checkpoint-000000000010.npz.abc123.part"
    part.write_bytes(b"PK")
    made(FITS["bits"][0], callbacks=[Checkpoint(tmp_path)]).fit(BITS, resume=tmp_path)
    assert not part.exists()


def test_a_newest_file_that_is_spoiled_leaves_another(tmp_path):
    cut_off(FITS["bits"][0], BITS, tmp_path, 20)
    older, newest = sorted(tmp_path.iterdir())
    newest.write_bytes(newest.read_bytes()[:1000])
    assert_same(made(FITS["bits"][0]).fit(BITS, resume=tmp_path), made(FITS["bits"][0]).fit(BITS))
    older.write_bytes(b"no zip file")
    with pytest.raises(ValueError, match="resume: no checkpoint can be read"):
        made(FITS["bits"][0]).fit(BITS, resume=tmp_path)


def test_a_full_disk_is_a_warning_and_ends_nothing(tmp_path, monkeypatch):
    write = io.write_model
    failing = []

    def written(path, header, arrays):
        if 15 < int(Path(path).stem.split("-")[1]) < 40:
            failing.append(path)
            raise OSError(28, "No space left on device", str(path))
        return write(path, header, arrays)

    monkeypatch.setattr(io, "write_model", written)
    with pytest.warns(RuntimeWarning, match="no checkpoint could be written .* No space left"):
        got = made(FITS["bits"][0], callbacks=[Checkpoint(tmp_path, "1 pass")]).fit(BITS)
    assert failing and [x.name[-7:-4] for x in sorted(tmp_path.iterdir())] == ["048", "060"]
    assert_same(got, made(FITS["bits"][0]).fit(BITS))


def test_a_folder_that_cannot_be_written_to_is_an_error_before_training(tmp_path):
    place = tmp_path / "file"
    place.write_text("no folder")
    rbm = made(FITS["bits"][0], callbacks=[Checkpoint(place)])
    with pytest.raises(OSError):
        rbm.fit(BITS)
    assert not hasattr(rbm, "components_")


# -- what cannot be gone on with ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changed,X,message",
    [
        (dict(n_components=8), BITS, "n_components must be 9, as in the run that"),
        (dict(learning_rate=0.2), BITS, "learning_rate must be 0.1"),
        (dict(random_state=1), BITS, "random_state must be 0"),
        (dict(optimizer="sgd"), BITS, "optimizer must be 'adam'"),
        (dict(), BITS[:200], r"X must be the data of the run .* is of, \(300, 20\) rows and columns, got \(200, 20\)"),
        (dict(), 1 - BITS, "X must be the data of the run .* the same values"),
        (
            dict(random_stream="sklearn", optimizer="sgd", shuffle=False),
            BITS,
            "resume must be None with random_stream='sklearn'",
        ),
    ],
    ids=str,
)
def test_other_options_and_data_are_refused_and_nothing_is_lost(changed, X, message, tmp_path):
    estimator, _, _ = FITS["bits"]
    cut_off(estimator, BITS, tmp_path, 20)
    rbm = made(estimator).fit(BITS)
    before = rbm.components_.copy()
    rbm.set_params(**changed)
    with pytest.raises(ValueError, match=message):
        rbm.fit(X, resume=tmp_path)
    np.testing.assert_array_equal(rbm.components_, before)
    rbm.set_params(**{name: getattr(estimator, name) for name in changed})
    rbm.transform(BITS)


def test_what_is_no_checkpoint(tmp_path):
    rbm = made(FITS["bits"][0])
    for path in (tmp_path, tmp_path / "nowhere", tmp_path / "nowhere.npz"):
        with pytest.raises(FileNotFoundError, match="resume: there is no checkpoint"):
            rbm.fit(BITS, resume=path)
    model = made(FITS["bits"][0]).fit(BITS).save(tmp_path / "model.npz")
    with pytest.raises(ValueError, match="is a model file, not a checkpoint"):
        rbm.fit(BITS, resume=model)
    cut_off(FITS["bits"][0], BITS, tmp_path / "of bits", 5)
    with pytest.raises(ValueError, match="is of a BernoulliRBM, which is not the IsingRBM"):
        made(FITS["spins"][0]).fit(BITS, resume=tmp_path / "of bits")


def test_a_folder_of_another_run_is_not_written_to(tmp_path):
    cut_off(FITS["bits"][0], BITS, tmp_path, 5)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ValueError, match="has checkpoints of another run: go on with it"):
        made(FITS["bits"][0], callbacks=[Checkpoint(tmp_path)]).fit(BITS)
    assert sorted(tmp_path.iterdir()) == before


def test_fits_that_cannot_be_continued_have_no_checkpoints(tmp_path):
    rbm = BernoulliRBM(9, random_stream="sklearn", shuffle=False, random_state=0, callbacks=[Checkpoint(tmp_path)])
    with pytest.raises(ValueError, match="callbacks must hold no Checkpoint with random_stream='sklearn'"):
        rbm.fit(BITS)


def test_a_checkpoint_is_a_model_file_too(tmp_path):
    cut_off(FITS["bits"][0], BITS, tmp_path, 20)
    loaded = fastrbm.load(sorted(tmp_path.iterdir())[-1])
    assert loaded.transform(BITS).shape == (300, 9)


def test_more_passes_than_the_run_was_to_have(tmp_path):
    cut_off(FITS["bits"][0], BITS, tmp_path, 20)
    assert_same(made(FITS["bits"][0], n_iter=8).fit(BITS, resume=tmp_path), made(FITS["bits"][0], n_iter=8).fit(BITS))


# -- signals and kills ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number,error", [(signal.SIGTERM, Terminated), (signal.SIGINT, KeyboardInterrupt)])
@pytest.mark.parametrize("name", ["bits", "centred"])
def test_signals_are_answered_by_a_checkpoint(name, number, error, tmp_path):
    estimator, X, _ = FITS[name]
    long = made(estimator, n_iter=100_000, callbacks=[Checkpoint(tmp_path, "1 h")])
    handlers = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    threading.Timer(0.5, os.kill, (os.getpid(), number)).start()
    with pytest.raises(error) as raised:
        long.fit(X)
    if error is Terminated:
        assert raised.value.code == 143
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == handlers
    passes = long.n_iter_ + 1
    assert len(list(tmp_path.iterdir())) == 2
    assert_same(made(estimator, n_iter=passes).fit(X, resume=tmp_path), made(estimator, n_iter=passes).fit(X))


def test_another_thread_trains_without_signals(tmp_path):
    found = []
    thread = threading.Thread(
        target=lambda: found.append(made(FITS["bits"][0], callbacks=[Checkpoint(tmp_path, "1 pass")]).fit(BITS))
    )
    thread.start()
    thread.join()
    assert_same(found[0], made(FITS["bits"][0]).fit(BITS))


#: documented in CONTRIBUTING: 50 for a long run
KILLS = int(os.environ.get("FASTRBM_KILLS", "3"))


def _lost(log):
    """Seconds of work that each kill has cost."""
    lines = [(what, int(updates), float(at)) for what, updates, at in map(str.split, log)]
    for k, (what, updates, _) in enumerate(lines):
        before = lines[:k]
        if what == "begin" and k and before[-1][1] > updates:
            reached = next(at for _, u, at in reversed(before) if u <= updates)
            yield before[-1][2] - reached


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL on this system")
@pytest.mark.timeout(600 + 60 * KILLS)
@pytest.mark.parametrize("kind", killed_fit.KINDS)
def test_a_process_that_is_killed_at_random_moments(kind, tmp_path):
    moments, killed = random.Random(kind), 0
    command = [sys.executable, killed_fit.__file__, kind, str(tmp_path)]
    while not (tmp_path / "model.npz").exists():
        process = subprocess.Popen(command)
        lines = (tmp_path / "log").read_text().count("\n") if (tmp_path / "log").exists() else 0
        while process.poll() is None and not (tmp_path / "log").exists():
            time.sleep(0.01)
        while process.poll() is None and (tmp_path / "log").read_text().count("\n") == lines:
            time.sleep(0.01)
        if killed < KILLS:
            time.sleep(moments.uniform(0, 0.5))
            killed += process.poll() is None
            process.kill()
            process.wait()
        else:
            assert process.wait() == 0
    assert killed >= min(KILLS, 1)
    wanted = killed_fit.KINDS[kind]().fit(killed_fit.rows(kind))
    assert_same(fastrbm.load(tmp_path / "model.npz"), wanted)
    # an interval, the time between two answers, and that of writing on a busy machine
    assert max(_lost((tmp_path / "log").read_text().splitlines()), default=0) < killed_fit.EVERY + 1
