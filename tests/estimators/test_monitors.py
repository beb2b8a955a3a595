"""Likelihood while training, validation rows, early stopping."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fastrbm import BernoulliRBM
from fastrbm._kernels import cpu
from fastrbm.callbacks import EarlyStopping, FreeEnergyGap, LogLikelihood, PseudoLikelihood
from fastrbm.likelihood import log_partition
from kernel_cases import TARGETS


@pytest.fixture(scope="module")
def digits():
    from sklearn.datasets import load_digits

    return (load_digits().data > 7).astype(np.float32)


def fitted(X, n_components=12, **options):
    defaults = dict(n_iter=8, batch_size=32, learning_rate=0.1, random_state=0)
    return BernoulliRBM(n_components, **(defaults | options)).fit(X)


def test_exact_log_likelihood_is_recorded(digits):
    rbm = fitted(digits, callbacks=[LogLikelihood(digits[:300])])
    assert len(rbm.history_["log_likelihood"]) == 8
    assert_allclose(rbm.history_["log_likelihood"][-1], rbm.log_likelihood(digits[:300]).mean(), rtol=1e-6)
    assert rbm.history_["log_likelihood_stderr"] == [0.0] * 8
    assert rbm.history_["log_likelihood"][-1] > rbm.history_["log_likelihood"][0] + 0.5
    every = fitted(digits, callbacks=[LogLikelihood(digits[:300], every=4)])
    recorded = np.array(every.history_["log_likelihood"])
    assert_array_equal(np.flatnonzero(np.isfinite(recorded)), [3, 7])
    assert_allclose(recorded[[3, 7]], np.array(rbm.history_["log_likelihood"])[[3, 7]])


@pytest.mark.parametrize("algorithm", ["cd", "pcd"])
def test_annealed_estimates_follow_the_exact_values(digits, algorithm):
    watch = [LogLikelihood(digits[:300], "annealed", "mais"), LogLikelihood(digits[:300], "exact", "exact")]
    rbm = fitted(digits, n_iter=40, algorithm=algorithm, callbacks=watch)
    annealed, wanted = (np.array(rbm.history_[name]) for name in ("annealed", "exact"))
    stderr = np.array(rbm.history_["annealed_stderr"])
    assert (stderr > 0).all() and (stderr < 0.1).all()
    z = (annealed - wanted) / stderr
    assert np.abs(z).max() < 5 and 0.6 < np.sqrt(np.mean(z**2)) < 1.5


def test_no_estimate_of_a_model_that_leaps_is_wrong_in_silence(digits):
    """Large steps move the model by many nats from pass to pass: what one estimate has found the next one lacks."""
    held, X = digits[:300], digits[300:]
    rbm = fitted(
        X,
        14,
        n_iter=40,
        batch_size=16,
        learning_rate=0.3,
        algorithm="pcd",
        visible_bias="data",
        callbacks=[LogLikelihood(held, "annealed", "smc"), LogLikelihood(held, "exact", "exact")],
    )
    history = {name: np.array(column) for name, column in rbm.history_.items()}
    wanted = history["exact"]
    assert np.abs(np.diff(wanted)).max() > 4
    held_by = (history["annealed_low"] <= wanted) & (wanted <= history["annealed_high"])
    assert held_by.mean() >= 0.9 and (held_by | (np.abs(history["annealed"] - wanted) < 0.5)).all()


def test_stopping_goes_by_what_is_sure(digits):
    """The lower end of the interval counts: a likelihood known from above alone is no gain."""

    class Given(LogLikelihood):
        def on_epoch_end(self, run):
            value, low = [(-9.0, -9.5), (-2.0, -np.inf), (-8.0, -12.0), (-8.9, -9.1), (-1.0, -np.inf)][run.done - 1]
            run.record(self.name, value)
            run.record(f"{self.name}_low", low)

    assert fitted(digits, n_iter=5, callbacks=[EarlyStopping(Given(digits), patience=9)]).best_iteration_ == 4


def test_monitors_are_reproducible_and_leave_training_alone(digits):
    plain = fitted(digits)
    runs = [fitted(digits, n_threads=n, callbacks=[LogLikelihood(digits[:50], method="mais")]) for n in (1, 2)]
    for rbm in runs:
        assert_array_equal(rbm.components_, plain.components_)
        assert rbm.history_["log_likelihood"] == runs[0].history_["log_likelihood"]


def test_larger_models_are_followed_by_annealing(digits):
    rbm = fitted(digits, 40, n_iter=3, callbacks=[LogLikelihood(digits[:100])])
    bracket = log_partition(rbm, "bracket", n_chains=100, n_temperatures=300, random_state=0)
    assert rbm.history_["log_likelihood_stderr"][-1] > 0
    wanted = rbm.log_likelihood(digits[:100], log_z=bracket).mean()
    assert abs(rbm.history_["log_likelihood"][-1] - wanted) < 0.3


@pytest.mark.parametrize("name", ["log_likelihood", "pseudo_likelihood", "free_energy_gap"])
def test_held_out_rows_are_scored(digits, name):
    rbm = fitted(digits, validation_fraction=0.2, early_stopping=name, n_iter=3)
    column = name if name == "free_energy_gap" else f"validation_{name}"
    assert len(rbm.history_[column]) == 3 and np.isfinite(rbm.history_[column]).all()


def test_held_out_rows_are_not_trained_on(digits):
    from fastrbm._data.split import Split
    from fastrbm._kernels.draws import Key

    split = Split.of(len(digits), 0.25, Key(0))
    assert len(split.held_out) == round(0.25 * len(digits))
    assert_array_equal(np.sort(np.concatenate([split.held_out, split.trained])), np.arange(len(digits)))
    changed = digits.copy()
    changed[split.held_out] = 1 - changed[split.held_out]
    a, b = (fitted(X, validation_fraction=0.25) for X in (digits, changed))
    assert_array_equal(a.components_, b.components_)
    assert a.history_["validation_log_likelihood"] != b.history_["validation_log_likelihood"]
    assert np.abs(a.components_ - fitted(digits).components_).max() > 1e-3


def test_stopping_restores_the_best_parameters(digits):
    """Thirty rows are soon known by heart: the held-out likelihood falls, the run ends and the best model is back."""
    options = dict(
        n_components=8, validation_fraction=0.5, n_iter=2000, batch_size=15, learning_rate=0.1, algorithm="exact"
    )
    rbm = fitted(digits[:60], early_stopping=True, n_iter_no_change=20, **options)
    scores = np.array(rbm.history_["validation_log_likelihood"])
    assert rbm.n_iter_ == len(scores) < 2000
    measured = np.flatnonzero(np.isfinite(scores)) + 1
    assert 2 < len(measured) < len(scores) / 5  # each costs more than several of these passes
    assert rbm.best_iteration_ == np.nanargmax(scores) + 1
    # the first measurement at least 20 passes after the best one ends the run
    assert rbm.n_iter_ == measured[measured >= rbm.best_iteration_ + 20][0]
    assert scores[-1] < np.nanmax(scores)
    again = fitted(digits[:60], **(options | dict(n_iter=int(rbm.best_iteration_))))
    assert_array_equal(rbm.components_, again.components_)


def test_the_gap_of_free_energies_stops_grey_training():
    from sklearn.datasets import load_digits

    X = (load_digits().data / 16)[:200]
    rbm = fitted(X, 64, validation_fraction=0.3, early_stopping=True, n_iter=400, n_iter_no_change=10)
    gap = np.array(rbm.history_["free_energy_gap"])
    assert rbm.best_iteration_ == np.nanargmin(gap) + 1
    assert rbm.n_iter_ < 400


def test_tolerance_counts_gains(digits):
    impatient = fitted(digits, validation_fraction=0.2, early_stopping=True, tol=1e6, n_iter=50, n_iter_no_change=3)
    measured = np.flatnonzero(np.isfinite(impatient.history_["validation_log_likelihood"])) + 1
    assert impatient.best_iteration_ == measured[0]
    assert impatient.n_iter_ == measured[-1] == measured[measured >= measured[0] + 3][0]


class Counting(LogLikelihood):
    """Measures every third pass what the pass is."""

    def on_epoch_end(self, run):
        if run.state.epoch % self.every == 0:
            run.record(self.name, -abs(run.state.epoch - 7.0))


def test_passes_that_are_not_measured_count_for_patience(digits):
    """Values 3: -4, 6: -1, 9: -2, 12: -5, ...: the best is 6, and 12 is the first one 4 passes later."""
    stopping = EarlyStopping(Counting(digits[:9], every=3), patience=4)
    rbm = fitted(digits[:64], n_iter=40, callbacks=[stopping])
    assert rbm.best_iteration_ == 6 and rbm.n_iter_ == 12
    assert_array_equal(np.isfinite(rbm.history_["log_likelihood"]), np.arange(1, 13) % 3 == 0)
    never = fitted(digits[:64], n_iter=4, callbacks=[EarlyStopping(Counting(digits[:9], every=9))])
    assert never.best_iteration_ == never.n_iter_ == 4
    assert_array_equal(never.components_, fitted(digits[:64], n_iter=4).components_)


@pytest.mark.parametrize(
    "options", [{}, {"early_stopping": "pseudo_likelihood"}, {"early_stopping": "free_energy_gap"}]
)
@pytest.mark.parametrize("n_components", [16, 64])
def test_watching_is_a_small_share_of_the_work(digits, options, n_components):
    """By counts, not by time."""
    from fastrbm._estimator.watching import CALL, Pass

    made = dict(n_iter=200, batch_size=10, n_iter_no_change=1000, validation_fraction=0.2) | options
    history = fitted(digits, n_components, **made).history_
    column = next(x for name, x in history.items() if name not in ("epoch", "seconds"))
    assert len(column) == 200 and np.isfinite(column[-1])
    measured = np.isfinite(column).sum()
    work = Pass.of(200, (n_components, 64), 1438, 144, 1, False)
    assert 1 <= measured <= 1 + (0.1 * 200 * work.cost + 1e7) / CALL
    assert measured < 200


def test_verbose_shows_a_fixed_subset_and_all_the_time(digits, capsys, monkeypatch):
    import time

    from fastrbm._estimator.scoring import Scoring

    seen, score = [], Scoring.score_samples

    def slow(self, X, normalize=False):
        seen.append(np.asarray(X).copy())
        time.sleep(0.03)
        return score(self, X, normalize)

    monkeypatch.setattr(BernoulliRBM, "score_samples", slow)
    rbm = fitted(digits, verbose=1, n_iter=5)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(seen) == np.isfinite(rbm.history_["pseudo_likelihood"]).sum()
    assert len(rbm.history_["pseudo_likelihood"]) == 5
    assert len(seen[0]) < len(digits) and all((x == seen[0]).all() for x in seen)
    assert all(float(line.rpartition("= ")[2].rstrip("s")) >= 0.03 for line in lines)
    assert rbm.history_["pseudo_likelihood"][-1] == pytest.approx(score(rbm, seen[0]).mean())


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("target", TARGETS)
def test_what_is_watched_depends_on_no_machine(digits, threads, target):
    options = dict(validation_fraction=0.2, n_iter=30, n_components=20)
    wanted = fitted(digits, n_threads=1, **options).history_["validation_log_likelihood"]
    before = cpu.current_target()
    try:
        cpu.use_target(target)
        got = fitted(digits, n_threads=threads, **options).history_["validation_log_likelihood"]
    finally:
        cpu.use_target(before)
    assert_array_equal(np.isnan(got), np.isnan(wanted))
    assert_allclose(got, wanted, rtol=1e-5)


@pytest.mark.parametrize("kind", ["array", "frame", "sparse", "uint8", "float64"])
def test_forms_of_data(digits, kind):
    import warnings

    import scipy.sparse as sp

    pd = pytest.importorskip("pandas") if kind == "frame" else None
    forms = {
        "array": lambda x: x,
        "frame": lambda x: pd.DataFrame(x, columns=[f"p{i}" for i in range(64)]),
        "sparse": sp.csr_matrix,
        "uint8": lambda x: (255 * x).astype(np.uint8),
        "float64": lambda x: x.astype(np.float64),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rbm = fitted(forms[kind](digits), validation_fraction=0.2, early_stopping=True, n_iter=2)
    assert_array_equal(rbm.components_, fitted(digits, validation_fraction=0.2, n_iter=2).components_)


def test_callbacks_by_hand(digits):
    seen, held = digits[:1000], digits[1000:1400]
    monitors = [
        (LogLikelihood(held), True),
        (PseudoLikelihood(held), True),
        (FreeEnergyGap(held, seen[:400]), False),
    ]
    for monitor, higher in monitors:
        rbm = fitted(seen, n_iter=3, callbacks=[EarlyStopping(monitor, higher, patience=1)])
        assert 1 <= rbm.best_iteration_ <= rbm.n_iter_ <= 3


@pytest.mark.parametrize(
    "make,message",
    [
        (lambda: LogLikelihood([[1]], method="guess"), "method must be one of .*, got 'guess'"),
        (lambda: LogLikelihood([[1]], every=0), "every must be a positive integer, got 0"),
        (lambda: LogLikelihood([[1]], n_chains=1.5), "n_chains must be a positive integer, got 1.5"),
        (lambda: LogLikelihood([[1]], n_temperatures=True), "n_temperatures must be a positive integer, got True"),
        (lambda: EarlyStopping(None, patience=0), "patience must be a positive integer, got 0"),
        (lambda: EarlyStopping(None, min_delta=-1), "min_delta must be a finite number of at least 0, got -1"),
    ],
)
def test_bad_callbacks(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_bad_data_and_options(digits):
    with pytest.raises(ValueError, match="X must hold 0 and 1 only"):
        fitted(digits, callbacks=[LogLikelihood(digits[:5] * 0.5)])
    with pytest.raises(ValueError, match="early_stopping='log_likelihood' needs rows that are states"):
        fitted(digits * 0.5, validation_fraction=0.1, early_stopping="log_likelihood")
    with pytest.raises(ValueError, match="validation_fraction must be above 0 with early_stopping"):
        fitted(digits, early_stopping=True)
    with pytest.raises(ValueError, match="leaves none of 2 rows"):
        fitted(digits[:2], validation_fraction=0.9)
    with pytest.raises(ValueError, match="validation_fraction must be 0"):
        fitted(digits, validation_fraction=0.1, random_stream="sklearn", shuffle=False)
    with pytest.raises(ValueError, match="an exact sum over the"):
        fitted(np.zeros((3, 70)), 60, callbacks=[LogLikelihood(np.zeros((3, 70)), method="exact")])


@pytest.mark.parametrize("options", [{}, {"algorithm": "exact"}, {"centered": True}, {"batch_size": 2000}])
def test_short_passes_are_reported_once(digits, options):
    from fastrbm.callbacks import Callback

    class Counting(Callback):
        def __init__(self):
            self.seen = []

        def on_batch(self, run):
            self.seen.append((run.done, run.batches_done, run.n_batches))

    counting = Counting()
    rbm = fitted(digits[:320], 8, callbacks=[counting], **options)
    assert {done for done, _, _ in counting.seen} == set(range(rbm.n_iter_))
    assert all(0 <= done <= most for _, done, most in counting.seen)
    last = {done: batches for done, batches, _ in counting.seen}
    if not options:  # one native call that is over before anything is said
        assert all(batches > 0 for batches in last.values())


def test_batches_are_counted_within_a_pass_of_bits():
    from fastrbm.callbacks import Callback

    class Progress(Callback):
        def __init__(self):
            self.seen = []

        def on_batch(self, run):
            self.seen.append(run.batches_done)

    X = (np.random.default_rng(0).random((40000, 300)) < 0.3).astype(np.uint8)
    progress = Progress()
    fitted(X, 128, n_iter=1, batch_size=10, n_threads=1, callbacks=[progress])
    assert progress.seen == sorted(progress.seen)
    assert len(progress.seen) > 1 and 0 < progress.seen[0] < 4000
