"""Training one minibatch at a time: the gradient is that of the likelihood, and each option does what it says."""

import numpy as np
import pytest

import fastrbm
from fastrbm import (
    L2,
    RBM,
    SGD,
    Adam,
    BernoulliRBM,
    Clip,
    DropConnect,
    Dropout,
    GaussianRBM,
    IsingRBM,
    MaxNorm,
    PottsRBM,
    SoftmaxRBM,
    SparsityTarget,
    WeightUncertainty,
)
from fastrbm._estimator.fitting import Fitting
from fastrbm.init import Normal
from fastrbm.samplers import FastPCD, Tempering
from fastrbm.schedules import Linear
from fastrbm.units import get_unit

RNG = np.random.default_rng(5)
N_VISIBLE, N_HIDDEN = 6, 4
VISIBLE = ["bernoulli", "ising", "onehot(3)", "gaussian", "relu", "binomial(3)", "mixed(gaussian*2,bernoulli*4)"]
HIDDEN = ["bernoulli", "ising", "onehot", "onehot(2)", "gaussian", "relu", "binomial(2)"]
NAMES = ("components_", "intercept_visible_", "intercept_hidden_")


def rows_of(unit, n=40, n_units=N_VISIBLE, seed=1):
    rng = np.random.default_rng(seed)
    return get_unit(unit).sample(rng.normal(0, 0.7, n_units) + np.zeros((n, n_units)), rng.random((n, n_units)))


def exact_pairs():
    """Pairs whose log Z is known and finite."""
    for v in VISIBLE:
        for h in HIDDEN:
            real = [get_unit(u).support is None and not get_unit(u).finite for u in (v, h)]
            if not all(real) or (v, h) == ("gaussian", "gaussian"):
                yield v, h


def slope(estimator, X, array, index, step=1e-5, weights=None):
    """Derivative of the mean log-likelihood in one entry of a fitted array."""
    values, before = [], array[index]
    for sign in (1, -1):
        array[index] = before + sign * step
        values.append(np.average(estimator.log_likelihood(X, method="exact"), weights=weights))
    array[index] = before
    return (values[0] - values[1]) / (2 * step)


def assert_ascends_the_likelihood(make, X, weights=None, more=()):
    """One exact step along the mean gradient, against finite differences at where it started."""
    rate = 1e-3
    start = make(n_iter=0).fit(X, sample_weight=weights)
    moved = make(n_iter=1, learning_rate=rate).fit(X, sample_weight=weights)
    for name in NAMES:
        before, after = getattr(start, name), getattr(moved, name)
        entries = [tuple(e) for e in np.argwhere(np.ones(before.shape))]
        for index in [entries[k] for k in RNG.choice(len(entries), min(5, len(entries)), replace=False)]:
            wanted = slope(start, X, before, index, weights=weights)
            assert (after[index] - before[index]) / rate == pytest.approx(wanted, abs=2e-5), name
    for array, other, factor in more:
        wanted = slope(start, X, array(start), 1, weights=weights)
        assert (other(moved)[1] - array(start)[1]) / (rate * factor) == pytest.approx(wanted, abs=2e-5)


@pytest.mark.parametrize("visible,hidden", list(exact_pairs()))
def test_the_exact_gradient_is_that_of_the_likelihood(visible, hidden):
    X = rows_of(visible)

    def make(**options):
        return RBM(
            N_HIDDEN, visible=visible, hidden=hidden, algorithm="exact", batch_size=100, dtype=np.float64,
            random_state=0, init=Normal(0.2), **options,
        )  # fmt: skip

    assert_ascends_the_likelihood(make, X)


@pytest.mark.parametrize("scaling", ["sigma", "variance"])
@pytest.mark.parametrize("hidden", ["bernoulli", "ising", "onehot"])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_exact_gradient_of_learned_deviations(scaling, hidden, weighted):
    X = rows_of("gaussian") * np.linspace(0.5, 2, N_VISIBLE)
    weights = RNG.random(len(X)) if weighted else None

    def make(**options):
        return GaussianRBM(
            N_HIDDEN, sigma=fastrbm.LearnedSigma(np.linspace(0.6, 1.5, N_VISIBLE), rate=0.5), scaling=scaling,
            hidden=hidden, algorithm="exact", batch_size=100, dtype=np.float64, random_state=0, init=Normal(0.3),
            **options,
        )  # fmt: skip

    def get(estimator):
        """Parameters of the standardised rows, and log variances."""
        weights, visible, hidden = (np.array(getattr(estimator, name)) for name in NAMES)
        extras = estimator._state.extras
        sigma, offset = np.exp(0.5 * extras["log_variance"]), extras["offset"]
        weights = weights / sigma if scaling == "variance" else weights
        return [
            weights, (visible - offset) / sigma, hidden + weights @ (offset / sigma), np.array(extras["log_variance"])
        ]  # fmt: skip

    def put(estimator, values):
        """The same parameters shown; a change of the variances leaves the shown weights and visible biases."""
        weights, visible, hidden, log_variance = values
        extras = estimator._state.extras
        sigma, offset = np.exp(0.5 * extras["log_variance"]), extras["offset"]
        extras["log_variance"][...] = log_variance
        now = np.exp(0.5 * log_variance)
        shown = weights * sigma if scaling == "variance" else weights
        estimator.components_[...] = shown
        estimator.intercept_visible_[...] = offset + sigma * visible
        at_work = shown / now if scaling == "variance" else shown
        estimator.intercept_hidden_[...] = hidden - at_work @ (offset / now)

    rate = 1e-3
    start = make(n_iter=0).fit(X, sample_weight=weights)
    moved = make(n_iter=1, learning_rate=rate).fit(X, sample_weight=weights)
    before, after = get(start), get(moved)
    shown = [np.array(getattr(start, name)) for name in NAMES]
    for part, (old, new) in enumerate(zip(before, after, strict=True)):
        if part < 3:  # as they would be had the variances stayed
            moved._state.extras["log_variance"][...] = before[3]
            sigma, offset = np.exp(0.5 * before[3]), moved._state.extras["offset"]
            now = np.exp(0.5 * after[3])
            at_work = moved.components_ / now if scaling == "variance" else moved.components_
            new = [
                moved.components_ / sigma if scaling == "variance" else moved.components_,
                (moved.intercept_visible_ - offset) / sigma,
                moved.intercept_hidden_ + at_work @ (offset / now),
            ][part]
        for index in [tuple(e) for e in np.argwhere(np.ones(old.shape))][:: 5 if part == 0 else 2]:
            values = []
            for sign in (1, -1):
                changed = [x.copy() for x in before]
                changed[part][index] += sign * 1e-5
                put(start, changed)
                values.append(np.average(start.log_likelihood(X, method="exact"), weights=weights))
                start._state.extras["log_variance"][...] = before[3]
                for name, x in zip(NAMES, shown, strict=True):
                    getattr(start, name)[...] = x
            wanted = (values[0] - values[1]) / 2e-5
            factor = 0.5 if part == 3 else 1.0
            assert (new[index] - old[index]) / (rate * factor) == pytest.approx(wanted, abs=2e-4), (part, index)


@pytest.mark.parametrize("cls,unit", [(BernoulliRBM, "bernoulli"), (IsingRBM, "ising"), (PottsRBM, "bernoulli")])
def test_the_exact_gradient_at_a_temperature_and_with_weights(cls, unit):
    X, weights = rows_of(unit), RNG.random(40)

    def make(**options):
        return cls(
            N_HIDDEN, temperature=1.7, algorithm="exact", batch_size=100, dtype=np.float64, random_state=0,
            init=Normal(0.5), **options,
        )  # fmt: skip

    assert_ascends_the_likelihood(make, X, weights)


# ---- the model's half -------------------------------------------------------------------------------------------

CHAINS = {
    "pcd": dict(algorithm="pcd", n_gibbs_steps=30, n_chains=6000),
    "pcd sampled": dict(algorithm="pcd", n_gibbs_steps=30, n_chains=6000, hidden_statistics="sampled"),
    "cd": dict(algorithm="cd", n_gibbs_steps=30),
    "pt": dict(algorithm=Tempering(4, adapt=False), n_gibbs_steps=30, n_chains=6000),
}


@pytest.mark.parametrize("chains", CHAINS)
@pytest.mark.parametrize(
    "visible,hidden",
    [("bernoulli", "bernoulli"), ("ising", "ising"), ("bernoulli", "onehot"), ("gaussian", "bernoulli"),
     ("onehot(3)", "ising"), ("binomial(3)", "binomial(2)"), ("relu", "bernoulli"), ("bernoulli", "gaussian"),
     ("mixed(gaussian*2,bernoulli*4)", "onehot(2)")],
)  # fmt: skip
def test_chains_find_the_gradient(visible, hidden, chains):
    X = np.repeat(rows_of(visible, 60), 100, axis=0)

    def moved(**options):
        rbm = RBM(
            N_HIDDEN, visible=visible, hidden=hidden, batch_size=6000, n_iter=1, learning_rate=1.0, random_state=0,
            init=Normal(0.2), **options,
        )  # fmt: skip
        start = RBM(**rbm.get_params(deep=False) | {"n_iter": 0}).fit(X)
        rbm.fit(X)
        return [getattr(rbm, name) - getattr(start, name) for name in NAMES]

    for got, wanted in zip(moved(**CHAINS[chains]), moved(algorithm="exact"), strict=True):
        # states and their products have deviations of about 1; of 70 entries one is beyond 4 now and then
        np.testing.assert_allclose(got, wanted, atol=5 * 1.6 / np.sqrt(6000))


@pytest.mark.parametrize("cls", [BernoulliRBM, IsingRBM])
@pytest.mark.parametrize("algorithm", ["cd", "pcd"])
@pytest.mark.parametrize("extra", [{}, {"optimizer": "adam"}, {"regularizers": (L2(0.05),), "n_gibbs_steps": 3}])
def test_steps_do_what_fused_training_does(cls, algorithm, extra, monkeypatch):
    X = rows_of("ising" if cls is IsingRBM else "bernoulli", 300, 40)
    options = dict(n_components=20, algorithm=algorithm, batch_size=30, n_iter=3, random_state=2) | extra
    fused = cls(**options).fit(X)
    monkeypatch.setattr(Fitting, "_fused", lambda *_: False)
    general = cls(**options).fit(X)
    for name in NAMES:
        np.testing.assert_allclose(
            getattr(fused, name), getattr(general, name), atol=2e-3 if "optimizer" in extra else 2e-5
        )
    if algorithm == "pcd":
        assert (fused.h_samples_ != general.h_samples_).mean() < 0.01


@pytest.mark.parametrize(
    "cls,unit,temperature",
    [(BernoulliRBM, "bernoulli", 1.0), (BernoulliRBM, "bernoulli", 2.5), (IsingRBM, "ising", 2.5),
     (GaussianRBM, "gaussian", 1.0)],
)  # fmt: skip
def test_visible_biases_from_data_give_their_means(cls, unit, temperature):
    X, weights = rows_of(unit, 400), RNG.random(400)
    rbm = cls(3, visible_bias="data", init=Normal(0.0), n_iter=0, temperature=temperature).fit(X, sample_weight=weights)
    np.testing.assert_allclose(rbm.reconstruct(X[:1])[0], np.average(X, axis=0, weights=weights), atol=1e-5)


# ---- regularisers -----------------------------------------------------------------------------------------------


def fitted(*regularizers, X=None, **options):
    options = dict(n_components=N_HIDDEN, batch_size=20, n_iter=3, random_state=0, learning_rate=0.1) | options
    return BernoulliRBM(**options, regularizers=regularizers).fit(rows_of("bernoulli") if X is None else X)


def test_max_norm_limits_the_rows():
    free, held = fitted(init=Normal(1.0)), fitted(MaxNorm(0.8), init=Normal(1.0))
    lengths = np.linalg.norm(held.components_, axis=1)
    assert (np.linalg.norm(free.components_, axis=1) > 1).all() and (lengths <= 0.8 * (1 + 1e-6)).all()


def test_clipping_the_norm_scales_the_whole_gradient():
    options = dict(n_iter=1, batch_size=40)
    start, free = fitted(**options | {"n_iter": 0}), fitted(**options)
    held = fitted(Clip(norm=1e-2), **options)
    steps = [np.concatenate([np.ravel(getattr(m, n) - getattr(start, n)) for n in NAMES]) for m in (free, held)]
    assert np.linalg.norm(steps[1]) == pytest.approx(0.1 * 1e-2, rel=1e-3)
    np.testing.assert_allclose(steps[1] / np.linalg.norm(steps[1]), steps[0] / np.linalg.norm(steps[0]), atol=1e-4)


def test_clipping_values_limits_entries():
    options = dict(n_iter=1, batch_size=40)
    start, held = fitted(**options | {"n_iter": 0}), fitted(Clip(value=1e-3), **options)
    moves = [np.abs(getattr(held, n) - getattr(start, n)).max() for n in NAMES]
    assert max(moves) == pytest.approx(1e-4, rel=1e-3)


def test_absent_weights_do_not_move():
    options = dict(n_iter=1, batch_size=40, n_components=50)
    start, moved = fitted(**options | {"n_iter": 0}), fitted(DropConnect(0.7), **options)
    same = (start.components_ == moved.components_).mean()
    assert abs(same - 0.7) < 5 * np.sqrt(0.21 / same.size / 300)


def test_dropped_units_learn_from_the_rows_that_have_them():
    # without weights half of the units are on; a third of those are left
    options = dict(n_iter=1, batch_size=3000, X=np.ones((3000, N_VISIBLE), dtype=np.float32), init=Normal(1e-9))
    free, third = fitted(**options), fitted(Dropout(2 / 3), **options)
    for rbm, wanted in ((free, 1 / 2), (third, 1 / 6)):
        np.testing.assert_allclose(rbm.h_samples_.mean(axis=0), wanted, atol=5 * np.sqrt(0.25 / 3000))
    # a unit learns v from the rows that have it: the weights' gradient is a third, that of the visible biases is not
    ratio = third.components_.mean() / free.components_.mean()
    assert abs(ratio - 1 / 3) < 0.05 and abs(third.intercept_visible_.mean() / free.intercept_visible_.mean() - 1) < 0.1
    for algorithm in ("exact", "pt"):
        with pytest.raises(ValueError, match="regularizers must not hold Dropout"):
            fitted(Dropout(0.5), algorithm=algorithm)


def test_sparsity_pulls_activations_to_the_target():
    X = rows_of("bernoulli", 200)
    free, sparse = (fitted(*r, X=X, n_iter=60) for r in ((), (SparsityTarget(0.1, strength=1.0),)))
    assert free.transform(X).mean() > 0.3
    np.testing.assert_allclose(sparse.transform(X).mean(axis=0), 0.1, atol=0.06)


def test_weights_that_nothing_is_known_of_go_to_the_prior():
    # visible units that are never on: the likelihood does not depend on their weights
    X = np.zeros((4, N_VISIBLE), dtype=np.float32)
    X[:, 0] = [0, 1, 0, 1]
    rbm = BernoulliRBM(
        N_HIDDEN, regularizers=(WeightUncertainty(initial=0.05, prior=0.7),), batch_size=4, n_iter=3000,
        learning_rate=0.1, random_state=0, init=Normal(0.3),
    ).fit(X)  # fmt: skip
    assert rbm.weight_deviation_.shape == rbm.components_.shape
    unseen = rbm.weight_deviation_[:, 1:]
    np.testing.assert_allclose(unseen, 0.7, atol=0.15)
    assert np.abs(rbm.components_[:, 1:]).mean() < 0.25


def test_fast_weights_decay_and_follow_the_gradient():
    X = rows_of("bernoulli")
    slow = BernoulliRBM(N_HIDDEN, algorithm=FastPCD(0.1, 0.9), batch_size=40, n_iter=1, random_state=0).fit(X)
    fast = slow._state.extras
    moved = slow.intercept_visible_ / 0.1  # the gradient: biases start at 0
    np.testing.assert_allclose(fast["fast_1"], 0.1 * moved, rtol=1e-5)
    before = fast["fast_1"].copy()
    gradient = slow.set_params(warm_start=True).fit(X).intercept_visible_ / 0.1 - moved
    np.testing.assert_allclose(slow._state.extras["fast_1"], 0.9 * before + 0.1 * gradient, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("centered", [False, True])
def test_centred_training_does_not_know_which_value_is_called_one(centered):
    X = rows_of("bernoulli", 60).astype(np.float64)
    W = 0.1 * RNG.normal(size=(3, N_VISIBLE))
    options = dict(
        n_components=3, algorithm="exact", batch_size=60, n_iter=50, dtype=np.float64, random_state=0,
        centered=centered,
    )  # fmt: skip
    one = BernoulliRBM(**options, init=W).fit(X)
    # the flipped model has weights -W and hidden biases W.1 at the start, that is the same p(1 - v)
    other = BernoulliRBM(**options | {"n_iter": 0, "warm_start": True}, init=-W).fit(1 - X)
    other.intercept_hidden_ += W.sum(axis=1)
    other.set_params(n_iter=50).fit(1 - X)
    gap = np.abs(one.log_likelihood(X) - other.log_likelihood(1 - X)).max()
    assert gap < 1e-8 if centered else gap > 1e-3


# ---- weights of rows, schedules, resuming -----------------------------------------------------------------------


def test_rows_of_weight_zero_are_left_out():
    X = rows_of("bernoulli", 80)
    weights = np.r_[np.ones(40), np.zeros(40)]
    with_weights = BernoulliRBM(3, algorithm="exact", random_state=0, n_iter=2, shuffle=False).fit(X, None, weights)
    without = BernoulliRBM(3, algorithm="exact", random_state=0, n_iter=2, shuffle=False).fit(X[:40])
    np.testing.assert_allclose(with_weights.components_, without.components_, atol=1e-6)
    for bad, message in (
        (-weights, "[Nn]egative"),
        (np.zeros(80), "above 0|non-zero"),
        (np.ones(3), "sample_weight.shape"),
    ):
        with pytest.raises(ValueError, match=message):
            BernoulliRBM(3).fit(X, None, bad)
        with pytest.raises(ValueError, match=message):
            BernoulliRBM(3).partial_fit(X, None, bad)


def test_schedules_are_asked_for_each_pass():
    X, asked = rows_of("bernoulli", 40), []

    def rate(epoch, n_epochs):
        asked.append((epoch, n_epochs))
        return 0.1 if epoch < 2 else 0.0

    rbm = BernoulliRBM(3, learning_rate=rate, n_iter=4, random_state=0).fit(X)
    assert sorted(set(asked)) == [(epoch, 4) for epoch in range(4)]
    np.testing.assert_array_equal(rbm.components_, BernoulliRBM(3, n_iter=2, random_state=0).fit(X).components_)
    growing = BernoulliRBM(3, batch_size=Linear(5, 20), n_iter=4, random_state=0).fit(X)
    assert growing._state.chains.updates == sum(-(-40 // n) for n in (5, 10, 15, 20)) and len(growing.h_samples_) == 20
    fixed = BernoulliRBM(3, steps_per_epoch=7, batch_size=10, n_iter=3, random_state=0).fit(X)
    assert fixed._state.chains.updates == 21


RESUMED = {
    "adam": dict(optimizer=Adam(amsgrad=True)),
    "nesterov": dict(optimizer=SGD(0.5, nesterov=True)),
    "centered": dict(centered=True, optimizer="rmsprop"),
    "pt": dict(algorithm="pt", n_chains=7),
    "fpcd": dict(algorithm="fpcd"),
    "exact": dict(algorithm="exact"),
    "regularised": dict(
        regularizers=(Dropout(), DropConnect(), SparsityTarget(), WeightUncertainty(), MaxNorm(1.0), Clip(0.1, 1.0))
    ),
}
MODELS = {
    "bernoulli": (BernoulliRBM, {}, "bernoulli"),
    "ising": (IsingRBM, {}, "ising"),
    "potts": (PottsRBM, {}, "bernoulli"),
    "gaussian": (GaussianRBM, dict(sigma="learned", learning_rate=0.01), "gaussian"),
    "relu": (RBM, dict(visible="relu", hidden="binomial(2)", learning_rate=0.01), "relu"),
}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("options", RESUMED)
def test_a_run_that_was_stored_goes_on_as_if_it_had_not_stopped(model, options, tmp_path):
    cls, own, unit = MODELS[model]
    if unit == "relu" and options == "exact":
        own = own | {"hidden": "bernoulli"}
    X = rows_of(unit)
    whole = cls(**dict(n_components=3, n_iter=4, random_state=1) | own | RESUMED[options]).fit(X)
    half = cls(**dict(n_components=3, n_iter=2, random_state=1, warm_start=True) | own | RESUMED[options]).fit(X)
    again = fastrbm.load(half.save(tmp_path / "half.npz")).fit(X)
    assert again.n_iter_ == 4 and type(again) is cls
    for name in (
        *NAMES,
        *(("sigma_",) if cls is GaussianRBM else ()),
        *(("h_samples_",) if hasattr(whole, "h_samples_") else ()),
    ):
        np.testing.assert_array_equal(getattr(again, name), getattr(whole, name))


@pytest.mark.parametrize("options", RESUMED)
@pytest.mark.parametrize("model", ["bernoulli", "potts", "gaussian"])
def test_threads_do_not_change_a_general_fit(model, options):
    cls, own, unit = MODELS[model]
    X = rows_of(unit, 200, 70)
    if options == "exact":
        own = own | {"n_components": 6}
    fits = [
        cls(**dict(n_components=40, batch_size=64, n_iter=2, random_state=1, n_threads=n) | own | RESUMED[options]).fit(
            X
        )
        for n in (1, 2, 3)
    ]
    for other in fits[1:]:
        for name in NAMES:
            np.testing.assert_array_equal(getattr(other, name), getattr(fits[0], name))


def test_missing_entries_do_not_teach():
    codes = np.random.default_rng(0).integers(0, 3, (50, 4)).astype(float)
    codes[:, 2] = np.nan
    start, rbm = (SoftmaxRBM(5, n_categories=3, n_iter=n, random_state=0, learning_rate=0.1).fit(codes) for n in (0, 5))
    same = start.components_ == rbm.components_
    assert same[:, 6:9].all() and not same[:, :6].any() and not same[:, 9:].any()
    with pytest.raises(ValueError, match="algorithm must be 'cd' for X with missing entries"):
        SoftmaxRBM(5, algorithm="pcd").fit(codes)
