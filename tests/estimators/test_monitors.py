"""Likelihood while training, validation rows, early stopping."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fastrbm import BernoulliRBM
from fastrbm.callbacks import EarlyStopping, FreeEnergyGap, LogLikelihood, PseudoLikelihood
from fastrbm.likelihood import log_partition


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
    assert rbm.best_iteration_ == scores.argmax() + 1 == rbm.n_iter_ - 20
    assert scores[-1] < scores.max()
    again = fitted(digits[:60], **(options | dict(n_iter=int(rbm.best_iteration_))))
    assert_array_equal(rbm.components_, again.components_)


def test_the_gap_of_free_energies_stops_grey_training():
    from sklearn.datasets import load_digits

    X = (load_digits().data / 16)[:200]
    rbm = fitted(X, 64, validation_fraction=0.3, early_stopping=True, n_iter=400, n_iter_no_change=10)
    gap = np.array(rbm.history_["free_energy_gap"])
    assert rbm.best_iteration_ == gap.argmin() + 1
    assert rbm.n_iter_ < 400


def test_tolerance_counts_gains(digits):
    impatient = fitted(digits, validation_fraction=0.2, early_stopping=True, tol=1e6, n_iter=50, n_iter_no_change=3)
    assert impatient.n_iter_ == 4 and impatient.best_iteration_ == 1


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
