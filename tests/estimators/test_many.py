"""Many models at once: the same bits as one after another, whatever they are and whoever trains them."""

import os
import signal
import threading

import numpy as np
import pytest
import scipy.sparse as sp

import fastrbm
from fastrbm import BernoulliRBM, DivergenceError, GaussianRBM, IsingRBM, SoftmaxRBM, fit_many
from fastrbm._data.bits import VisibleData
from fastrbm._estimator.fitting import Fitting
from fastrbm.callbacks import Callback
from fastrbm.many import variants

FITTED = ("components_", "intercept_visible_", "intercept_hidden_", "h_samples_", "n_iter_", "input_scale_")


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(0)
    return (rng.random((300, 20)) < np.linspace(0.1, 0.9, 20)).astype(np.float32)


def rbm(**options):
    return BernoulliRBM(**{"n_components": 9, "n_iter": 3, "batch_size": 16, "random_state": 0, **options})


def assert_same_fits(many, single):
    for i, (a, b) in enumerate(zip(many, single, strict=True)):
        for name in FITTED:
            assert hasattr(a, name) == hasattr(b, name), (i, name)
            if hasattr(a, name):
                np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=f"{name} of model {i}")
        assert a.history_["epoch"] == b.history_["epoch"]
        assert a.history_.keys() == b.history_.keys()


ALL_KINDS = [
    {},
    {"random_state": 1},
    {"algorithm": "cd"},
    {"algorithm": "cd", "n_gibbs_steps": 3, "strategy": "delta"},
    {"n_components": 70, "batch_size": 33},
    {"learning_rate": 0.01, "optimizer": "adam"},
    {"n_iter": 7, "shuffle": False},
    {"n_iter": 0},
    {"dtype": np.float64},
    {"hidden_statistics": "sampled"},
    {"visible_bias": "data"},
    {"out_of_range": "allow"},
    {"validation_fraction": 0.2, "early_stopping": True, "n_iter": 9},
    # not done by the kernels alone
    {"centered": True},
    {"algorithm": "pt"},
    {"algorithm": "exact", "n_components": 4},
    {"random_stream": "sklearn", "shuffle": False},
]


@pytest.mark.parametrize("n_threads", [1, 2, 3, None])
def test_the_same_bits_as_one_after_another(X, n_threads):
    many = fit_many([rbm(n_threads=n_threads, **options) for options in ALL_KINDS], X)
    assert_same_fits(many, [rbm(**options).fit(X) for options in ALL_KINDS])


@pytest.mark.parametrize("form", ["grey", "uint8", "sparse", "spins"])
def test_the_same_bits_for_every_form_of_data(X, form):
    cls = IsingRBM if form == "spins" else BernoulliRBM
    data = {"grey": 0.9 * X, "uint8": (255 * X).astype(np.uint8), "sparse": sp.csr_matrix(X), "spins": 2 * X - 1}[form]
    models = [cls(5, n_iter=2, random_state=k) for k in range(3)]
    assert_same_fits(fit_many(models, data), [cls(5, n_iter=2, random_state=k).fit(data) for k in range(3)])


def test_estimators_of_other_units_take_part(X):
    def models():
        options = {"n_components": 5, "n_iter": 2, "random_state": 0, "learning_rate": 0.01}
        return [GaussianRBM(**options), BernoulliRBM(**options), SoftmaxRBM(n_categories=2, **options)]

    assert_same_fits(fit_many(models(), X), [m.fit(X) for m in models()])


def test_sample_weights_are_for_all(X):
    weight = np.arange(len(X)) % 3.0
    assert_same_fits(
        fit_many(variants(rbm(), random_state=[0, 1]), X, sample_weight=weight),
        [rbm(random_state=k).fit(X, sample_weight=weight) for k in (0, 1)],
    )


def test_data_are_packed_once_for_those_who_read_them_alike(X, monkeypatch):
    made = []
    init = VisibleData.__init__

    def counted(self, *args, **kwargs):
        made.append(self)
        init(self, *args, **kwargs)

    monkeypatch.setattr(VisibleData, "__init__", counted)
    fit_many([*variants(rbm(), random_state=range(5), algorithm=["cd", "pcd"]), rbm(centered=True)], X)
    assert len(made) == 1
    fit_many([rbm(), rbm(dtype=np.float64), rbm(out_of_range="allow")], X)
    assert len(made) == 4


def test_training_goes_on(X):
    options = {"warm_start": True, "algorithm": "pcd"}
    many = variants(rbm(**options), random_state=range(3))
    for _ in range(2):
        fit_many(many, X)
    assert_same_fits(many, [rbm(random_state=k, algorithm="pcd", n_iter=6).fit(X) for k in range(3)])


class Log(Callback):
    def __init__(self):
        self.events, self.threads = [], set()

    def _log(self, what, run):
        self.events.append((what, run.state.epoch))
        self.threads.add(threading.get_ident())

    def on_fit_begin(self, run):
        self._log("begin", run)

    def on_batch(self, run):
        self.threads.add(threading.get_ident())

    def on_epoch_end(self, run):
        self._log("epoch", run)
        run.record("metric", 10 * run.state.epoch)
        if run.estimator.random_state == 1 and run.state.epoch == 2:
            run.stop()

    def on_fit_end(self, run):
        self._log("end", run)


def test_callbacks_hear_of_their_own_fit_in_the_calling_thread(X):
    models = [rbm(random_state=k, callbacks=[Log()], n_iter=4, n_threads=2) for k in range(3)]
    fit_many(models, X)
    for k, model in enumerate(models):
        log, n = model.callbacks[0], 2 if k == 1 else 4
        assert log.events == [("begin", 0), *(("epoch", e) for e in range(1, n + 1)), ("end", n)]
        assert log.threads == {threading.get_ident()}
        assert model.history_["metric"] == [10 * e for e in range(1, n + 1)]
        assert model.n_iter_ == n


class Batches(Callback):
    def __init__(self, fail=False):
        self.calls, self.fail, self.ended = [], fail, 0

    def on_batch(self, run):
        self.calls.append(threading.get_ident())
        if self.fail:
            raise RuntimeError("enough")

    def on_fit_end(self, run):
        self.ended += 1


def test_callbacks_hear_of_batches_and_may_end_everything():
    X = (np.random.default_rng(1).random((20000, 200)) < 0.3).astype(np.uint8)
    models = [rbm(n_components=512, n_iter=1, n_threads=2, random_state=k, callbacks=[Batches()]) for k in range(3)]
    fit_many(models, X)
    for model in models:
        calls = model.callbacks[0].calls
        assert set(calls) == {threading.get_ident()}
    models[1].set_params(callbacks=[Batches(fail=True)], n_iter=1000)
    with pytest.raises(RuntimeError, match="enough"):
        fit_many(models, X)
    assert [m.callbacks[0].ended for m in models] == [2, 1, 2]
    assert all(np.isfinite(m.components_).all() for m in models)
    assert models[1].n_iter_ == 0 and models[1]._state.chains.updates > 0


def test_a_model_that_diverges_does_not_lose_the_others(X):
    options = [{}, {"learning_rate": 1e39, "callbacks": [Log()]}, {"centered": True}, {"random_state": 3}]
    models = [rbm(**o) for o in options]
    with pytest.raises(DivergenceError, match=r"estimators \[1\] of 4 .* estimators\[1\]: parameters became"):
        fit_many(models, X)
    fitted = (0, 2, 3)
    assert_same_fits([models[i] for i in fitted], [rbm(**options[i]).fit(X) for i in fitted])
    assert np.isfinite(models[1].components_).all() and models[1].n_iter_ < 3
    assert models[1].callbacks[0].events[-1][0] == "end"


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no interval timer on this platform")
def test_an_interrupt_leaves_usable_models():
    X = (np.random.default_rng(1).random((20000, 200)) < 0.3).astype(np.uint8)
    models = variants(rbm(n_components=128, n_iter=1000, n_threads=2), random_state=range(3))
    for model in models:
        model.set_params(callbacks=[Log()])

    def interrupt(number, frame):
        if all(any(event == "epoch" for event, _ in model.callbacks[0].events) for model in models):
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.default_int_handler(number, frame)

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1)
    try:
        with pytest.raises(KeyboardInterrupt):
            fit_many(models, X)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert not [t for t in threading.enumerate() if t.name.startswith("fastrbm")]
    for model in models:
        assert model._state.chains.updates > 0
        assert model.transform(X[:3]).shape == (3, 128)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_forked_child_can_do_it(X):
    fit_many(variants(rbm(n_threads=2), random_state=range(2)), X)
    child = os.fork()
    if child == 0:
        fit_many(variants(rbm(n_threads=2), random_state=range(2)), X)
        os._exit(17)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 17


def test_variants_are_the_product_of_the_lists():
    base = rbm(batch_size=7)
    made = variants(base, random_state=range(2), learning_rate=[0.1, 0.2, 0.3])
    assert [(m.learning_rate, m.random_state) for m in made] == [(r, s) for r in (0.1, 0.2, 0.3) for s in (0, 1)]
    assert all(m.batch_size == 7 and m is not base for m in made)
    assert len(variants(base)) == 1


def test_bad_variants():
    with pytest.raises(ValueError, match="Invalid parameter 'rate'"):
        variants(rbm(), rate=[1])
    for values in (3, "cd"):
        with pytest.raises(TypeError, match="algorithm must be a list of values, got"):
            variants(rbm(), algorithm=values)


def test_bad_estimators(X):
    model = rbm()
    for given, kind, message in (
        ([], ValueError, "at least one RBM, got none"),
        (model, TypeError, "estimators must be a list of RBMs, got BernoulliRBM"),
        ([model, "rbm"], TypeError, "estimators must hold RBMs, got 'rbm' at position 1"),
        ([model, rbm(), model], ValueError, "once, got one at positions 0 and 2"),
    ):
        with pytest.raises(kind, match=message):
            fit_many(given, X)
    assert not hasattr(model, "components_")


def test_bad_options_and_data_are_found_before_anything_is_trained(X):
    models = [rbm(), rbm(learning_rate=-1)]
    with pytest.raises(ValueError, match="learning_rate"):
        fit_many(models, X)
    assert not hasattr(models[0], "components_")
    with pytest.raises(ValueError, match=r"values in \[0, 1\]"):
        fit_many([rbm(out_of_range="error")], X + 1)


def test_public_name():
    assert fastrbm.fit_many is fastrbm.many.fit_many
    assert issubclass(BernoulliRBM, Fitting)
