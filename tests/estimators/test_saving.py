"""Model files: written in one step whoever else writes, read back whatever was recorded; likelihoods by default."""

import os
import stat
import subprocess
import sys
import threading

import numpy as np
import pytest

import fastrbm
from fastrbm import RBM, BernoulliRBM, GaussianRBM, IsingRBM, callbacks, load
from fastrbm.likelihood import partition
from model_files import parts_of, put_together

BITS = (np.random.default_rng(0).random((60, 8)) < 0.4).astype(np.float64)
OPTIONS = dict(n_components=4, n_iter=2, random_state=0)


@pytest.fixture
def rbm():
    return BernoulliRBM(**OPTIONS).fit(BITS)


# -- the file ----------------------------------------------------------------------------------------------------------


def test_a_users_file_beside_the_model_is_untouched(rbm, tmp_path):
    other = tmp_path / "model.npz.part"
    other.write_text("mine")
    rbm.save(tmp_path / "model.npz")
    assert other.read_text() == "mine" and sorted(p.name for p in tmp_path.iterdir()) == ["model.npz", other.name]


def test_readers_meet_whole_files_while_others_write(rbm, tmp_path):
    path = rbm.save(tmp_path / "model.npz")
    program = (
        "import sys, numpy as np; from fastrbm import load\n"
        "model = load(sys.argv[1])\n"
        "for _ in range(40): model.save(sys.argv[1])\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", program, str(path)]) for _ in range(2)]
    loads = 0
    while loads < 20 or any(writer.poll() is None for writer in writers):
        np.testing.assert_array_equal(load(path).components_, rbm.components_)
        loads += 1
    assert [writer.wait() for writer in writers] == [0, 0]
    assert [p.name for p in tmp_path.iterdir()] == ["model.npz"]


def test_threads_may_write_to_one_name(rbm, tmp_path):
    path = tmp_path / "model.npz"
    threads = [threading.Thread(target=rbm.save, args=(path,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert load(path).n_iter_ == 2 and len(list(tmp_path.iterdir())) == 1


def test_permissions_and_links_are_kept(rbm, tmp_path):
    path, link = tmp_path / "model.npz", tmp_path / "latest.npz"
    rbm.save(path)
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask
    path.chmod(0o640)
    link.symlink_to(path)
    assert rbm.save(link) == link
    assert link.is_symlink() and stat.S_IMODE(path.stat().st_mode) == 0o640
    np.testing.assert_array_equal(load(link).components_, rbm.components_)


def test_folders_and_devices_are_refused(rbm, tmp_path):
    for path in (tmp_path, "/dev/null"):
        with pytest.raises(ValueError, match="path must be a file"):
            rbm.save(path)
    assert not list(tmp_path.iterdir())
    with pytest.raises(FileNotFoundError):
        rbm.save(tmp_path / "nowhere" / "model.npz")


def test_a_save_that_fails_leaves_the_earlier_file_and_nothing_else(rbm, tmp_path):
    path = rbm.save(tmp_path / "model.npz")
    before = path.read_bytes()
    rbm.history_["odd"] = [object()]
    with pytest.raises(TypeError, match="history_ must hold numbers"):
        rbm.save(path)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["model.npz"]


# -- what is in it -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.float32(1.5), np.int64(3), np.array(2.5), True, 1, np.float16(0.5)])
def test_metrics_of_any_number_type_are_saved(tmp_path, value):
    rbm = BernoulliRBM(**OPTIONS, callbacks=lambda run: run.record("metric", value)).fit(BITS)
    assert load(rbm.save(tmp_path / "model.npz")).history_["metric"] == [float(value)] * 2


class Mine(BernoulliRBM):
    """An estimator of somebody else."""

    def __init__(self, extra=1, **options):
        super().__init__(**options)
        self.extra = extra


@pytest.mark.parametrize("made", [lambda: Mine(7, **OPTIONS), lambda: type("Local", (GaussianRBM,), {})(**OPTIONS)])
def test_estimators_of_others_are_saved_and_loaded(tmp_path, made):
    rbm = made().fit(BITS)
    again = load(rbm.save(tmp_path / "model.npz"))
    assert type(again) is type(rbm) and getattr(again, "extra", 7) == 7
    np.testing.assert_array_equal(again.transform(BITS), rbm.transform(BITS))


def test_a_class_that_is_not_imported_is_named(tmp_path):
    path = Mine(**OPTIONS).fit(BITS).save(tmp_path / "model.npz")
    program = f"import fastrbm; fastrbm.load({str(path)!r})"
    failed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path)
    assert "ValueError" in failed.stderr and "'Mine'" in failed.stderr and "import the module" in failed.stderr


def test_a_model_of_another_width_than_its_option_is_sampled(rbm):
    assert rbm.set_params(n_components=50).sample(3, 2).shape == (3, 8)


# -- likelihoods that nobody asked for ---------------------------------------------------------------------------------


@pytest.mark.parametrize("hidden", ["relu", "gaussian", "binomial(3)", "onehot(2)", "ising", "onehot", "bernoulli"])
@pytest.mark.parametrize("visible", ["bernoulli", "ising"])
@pytest.mark.parametrize("width", [8, 40])
def test_what_held_out_rows_are_scored_by_is_decided_before_training(hidden, visible, width):
    X = (np.random.default_rng(0).random((60, width)) < 0.4).astype(float)
    X = 2 * X - 1 if visible == "ising" else X
    options = dict(n_iter=2, learning_rate=0.001, random_state=0, validation_fraction=0.2)
    for early in (False, True):
        rbm = RBM(40, visible=visible, hidden=hidden, early_stopping=early, **options).fit(X)
        assert rbm.n_iter_ == 2
        assert np.isfinite(rbm.history_["validation_log_likelihood"][-1])


def test_a_likelihood_that_cannot_be_found_is_refused_before_training():
    X = (np.random.default_rng(0).random((60, 40)) < 0.4).astype(float)
    for rbm in (
        RBM(40, hidden="relu", callbacks=callbacks.LogLikelihood(X, method="exact")),
        RBM(40, hidden="relu", callbacks=callbacks.LogLikelihood(0.5 * X)),
    ):
        with pytest.raises(ValueError, match="states|0 and 1 only"):
            rbm.fit(X)
        assert not hasattr(rbm, "components_")


def test_sums_of_minutes_are_not_started_without_being_asked_for(monkeypatch):
    rbm = GaussianRBM(12, n_iter=1, random_state=0).fit(BITS)
    value = rbm.log_partition().value
    monkeypatch.setattr(partition, "PATIENCE", 0.0)
    estimated = rbm.log_partition()
    assert estimated.method == "smc" and abs(estimated.value - value) < 0.1
    done = []
    assert rbm.log_partition("exact", progress=lambda *at: done.append(at)).value == value and done
    monkeypatch.undo()
    assert IsingRBM(4, n_iter=1).fit(2 * BITS - 1).log_partition().method == "exact"


def test_an_interrupt_ends_an_exact_sum():
    def interrupt(done, total):
        raise KeyboardInterrupt

    rbm = GaussianRBM(18, n_iter=1, random_state=0).fit(BITS)
    with pytest.raises(KeyboardInterrupt):
        rbm.log_partition("exact", progress=interrupt)
    assert fastrbm.likelihood.log_partition(rbm.model_).stderr == 0


@pytest.mark.parametrize("name", ["components_", "intercept_visible_", "intercept_hidden_"])
def test_what_cannot_be_loaded_is_not_saved(rbm, tmp_path, name):
    getattr(rbm, name)[...] = np.nan
    with pytest.raises(ValueError, match=f"{name} must be finite to be saved"):
        rbm.save(tmp_path / "model.npz")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "history", [None, 1, [[1]], {"epoch": 3}, {"epoch": [1], "seconds": None}, "x"], ids=lambda value: repr(value)
)
def test_a_history_that_is_none_is_damage_or_begins_anew(tmp_path, history):
    rbm = BernoulliRBM(3, n_iter=1, random_state=0).fit(np.eye(4))
    header, arrays = parts_of(rbm.save(tmp_path / "model.npz"))
    put_together(tmp_path / "other.npz", header | {"history": history}, arrays)
    if history is None:
        again = fastrbm.load(tmp_path / "other.npz").set_params(warm_start=True).fit(np.eye(4))
        assert again.history_["epoch"] == [2]
    else:
        with pytest.raises(ValueError, match="history must hold lists by names"):
            fastrbm.load(tmp_path / "other.npz")


def test_bytes_that_the_readers_of_archives_know_no_answer_to_are_damage(tmp_path):
    raw = BernoulliRBM(3, n_iter=1, random_state=0).fit(np.eye(4)).save(tmp_path / "model.npz").read_bytes()
    rng = np.random.default_rng(0)
    for place in [raw.index(b"PK\x01\x02") + 6, *rng.integers(0, len(raw), 200)]:  # the first: a version of zip files
        broken = bytearray(raw)
        broken[place] = 255 - broken[place]
        (tmp_path / "broken.npz").write_bytes(broken)
        try:
            fastrbm.load(tmp_path / "broken.npz")
        except ValueError as error:
            assert "broken.npz" in str(error)
