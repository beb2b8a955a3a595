"""Every constructor option of every estimator does something: changing it changes what comes out."""

import numpy as np
import pytest

import fastrbm
from fastrbm import (
    L1,
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
    LearnedSigma,
    MaxNorm,
    PottsRBM,
    RMSprop,
    SoftmaxRBM,
    SparsityTarget,
    WeightUncertainty,
    compat,
)
from fastrbm.samplers import FastPCD, Tempering
from fastrbm.schedules import Constant, Cosine, Exponential, Linear, Step, Switch

RNG = np.random.default_rng(0)
BITS = (RNG.random((90, 12)) < RNG.random(12)).astype(np.float32)
GREY = RNG.random((90, 12)).astype(np.float32)
REAL = RNG.normal(size=(90, 12)).astype(np.float32) * np.linspace(0.5, 2, 12, dtype=np.float32)
CODES = RNG.integers(0, 3, (90, 6)).astype(np.float32)

ESTIMATORS = {
    "BernoulliRBM": (BernoulliRBM, BITS),
    "compat.BernoulliRBM": (compat.BernoulliRBM, BITS),
    "IsingRBM": (IsingRBM, 2 * BITS - 1),
    "PottsRBM": (PottsRBM, BITS),
    "RBM": (RBM, BITS),
    "GaussianRBM": (GaussianRBM, REAL),
    "SoftmaxRBM": (SoftmaxRBM, CODES),
}
BASE = dict(n_components=6, learning_rate=0.05, batch_size=15, n_iter=3, random_state=3)


def parameters_of(estimator, X):
    estimator.fit(X)
    return np.concatenate([np.ravel(estimator.components_), estimator.intercept_visible_, estimator.intercept_hidden_])


def changes_the_fit(cls, X, name, value, **others):
    options = BASE | others
    one, other = parameters_of(cls(**options), X), parameters_of(cls(**options | {name: value}), X)
    return one.shape != other.shape or one.dtype != other.dtype or (one != other).any()


# weights of a size at which exchanges are refused now and then
MIXING = {"algorithm": "pt", "init": fastrbm.init.Normal(1.0), "visible_bias": "data"}
#: option -> values that change the fitted parameters, each with further options that both sides have
FITS = {
    "n_components": [(5, {})],
    "learning_rate": [(0.1, {}), *((s, {}) for s in (Linear(0.05, 0.01), Exponential(0.05, 0.01), Cosine(0.05)))],
    "batch_size": [(10, {}), (Linear(15, 30), {}), (Step(15, 2, 1), {}), (lambda epoch, n: 15 + epoch, {})],
    "n_iter": [(4, {})],
    "steps_per_epoch": [(2, {}), (20, {})],
    "random_state": [(4, {})],
    "algorithm": [
        ("cd", {}), ("fpcd", {}), ("pt", {}), ("exact", {}), (FastPCD(rate=0.5), {"algorithm": "fpcd"}),
        (FastPCD(decay=0.5), {"algorithm": "fpcd"}), (Tempering(4), {"algorithm": "pt"}),
        (Tempering(betas=[0, 0.5, 1]), {"algorithm": "pt"}), (Tempering(n_steps=2), {"algorithm": "pt"}),
        (Tempering(adapt=False), MIXING), (Tempering(base="model"), MIXING),
    ],
    "n_gibbs_steps": [(2, {}), (Switch(1, 3), {}), (2, {"algorithm": "pt"})],
    "n_chains": [(20, {}), (20, {"algorithm": "pt"})],
    "hidden_statistics": [("sampled", {})],
    "optimizer": [
        ("rmsprop", {}), ("adam", {}), (SGD(0.5), {}), (SGD(Linear(0, 0.9)), {}),
        (SGD(0.5, nesterov=True), {"optimizer": SGD(0.5)}),
        (RMSprop(decay=0.5), {"optimizer": "rmsprop"}), (RMSprop(momentum=0.5), {"optimizer": "rmsprop"}),
        (RMSprop(epsilon=0.1), {"optimizer": "rmsprop"}), (Adam(beta1=0.5), {"optimizer": "adam"}),
        (Adam(beta2=0.5), {"optimizer": "adam"}), (Adam(epsilon=0.1), {"optimizer": "adam"}),
        (Adam(amsgrad=True), {"optimizer": Adam(beta2=0.3)}),
    ],
    "regularizers": [
        ((L1(0.1),), {}), ((L2(0.1),), {}), ([L2(0.1)], {}), ((MaxNorm(0.02),), {}), ((Dropout(0.3),), {}),
        ((DropConnect(0.3),), {}), ((SparsityTarget(),), {}), ((WeightUncertainty(0.05),), {}),
        ((Clip(value=1e-3),), {}), ((Clip(norm=1e-3),), {}),
        ((SparsityTarget(target=0.3),), {"regularizers": (SparsityTarget(),)}),
        ((SparsityTarget(strength=0.5),), {"regularizers": (SparsityTarget(),)}),
        ((SparsityTarget(decay=0.1),), {"regularizers": (SparsityTarget(),)}),
        ((WeightUncertainty(prior=0.1),), {"regularizers": (WeightUncertainty(),)}),
    ],
    "centered": [(True, {})],
    "init": [("xavier", {}), (fastrbm.init.Normal(0.1), {})],
    "visible_bias": [("data", {})],
    "shuffle": [(False, {})],
    "warm_start": [],
    "validation_fraction": [(0.2, {})],
    "early_stopping": [],
    "dtype": [(np.float64, {})],
    "device": [],
}  # fmt: skip
#: what each estimator has besides, or cannot have
OWN = {
    "BernoulliRBM": {"temperature": [(2.0, {})], "init": [("lc", {})]},
    "IsingRBM": {"temperature": [(2.0, {})], "init": [("lc", {})]},
    "PottsRBM": {"temperature": [(2.0, {})]},
    "RBM": {
        "temperature": [(2.0, {})],
        "visible": [("onehot(3)", {"out_of_range": "allow"}), ("mixed(binomial(2)*6,bernoulli*6)", {})],
        "hidden": [("ising", {}), ("onehot(2)", {}), ("gaussian", {}), ("relu", {}), ("binomial(2)", {})],
    },
    "GaussianRBM": {
        "sigma": [
            (2.0, {}), ("data", {}), ("learned", {"sigma": "data"}), (np.linspace(1, 2, 12), {}),
            (LearnedSigma(initial=1.0), {"sigma": "learned"}), (LearnedSigma(rate=0.5), {"sigma": "learned"}),
        ],
        "scaling": [("variance", {"sigma": 2.0})],
        "hidden": [("ising", {})],
    },
    "SoftmaxRBM": {
        "temperature": [(2.0, {})], "n_categories": [(4, {})], "conditional": [(True, {})], "hidden": [("ising", {})],
        "algorithm": [("pcd", {})],
    },
}  # fmt: skip
SKLEARN_STREAM = {"shuffle", "random_stream", "out_of_range"}  # defaults of compat.BernoulliRBM


def fits():
    for name, (_, _) in ESTIMATORS.items():
        if name == "compat.BernoulliRBM":
            continue
        table = {k: [*FITS.get(k, ()), *OWN[name].get(k, ())] for k in FITS | OWN[name]}
        for option, values in table.items():
            for value, others in values:
                if name == "SoftmaxRBM" and option in ("algorithm", "n_chains") and value == "cd":
                    continue
                yield pytest.param(
                    name, option, value, others, id="-".join((name, option, getattr(value, "__name__", str(value))))
                )


@pytest.mark.parametrize("name,option,value,others", list(fits()))
def test_options_of_training_change_the_fit(name, option, value, others):
    cls, X = ESTIMATORS[name]
    if name == "SoftmaxRBM" and "algorithm" not in others and option in ("n_chains",):
        others = others | {"algorithm": "pcd"}
    if name == "GaussianRBM":
        others = {"learning_rate": 0.01} | others
    assert changes_the_fit(cls, X, option, value, **others)


# ---- options that do not change parameters change something else -----------------------------------------------


def test_warm_start_goes_on():
    once, twice = (BernoulliRBM(**BASE, warm_start=w).fit(BITS).fit(BITS) for w in (False, True))
    assert once.n_iter_ == 3 and twice.n_iter_ == 6
    np.testing.assert_array_equal(twice.components_, BernoulliRBM(**BASE | {"n_iter": 6}).fit(BITS).components_)


def test_early_stopping_and_its_patience_and_gain():
    options = BASE | dict(validation_fraction=0.3, learning_rate=2.0, n_iter=12)
    passes = [
        len(BernoulliRBM(**options | extra).fit(BITS).history_["epoch"])
        for extra in (
            {},
            {"early_stopping": True, "n_iter_no_change": 1},
            {"early_stopping": True, "n_iter_no_change": 4},
            {"early_stopping": True, "n_iter_no_change": 4, "tol": 50.0},
        )
    ]
    assert (
        passes[0] == 12 > passes[2] > passes[1] and passes[3] == 5
    )  # the first pass is a gain, the next four are none
    history = BernoulliRBM(**options, early_stopping="pseudo_likelihood").fit(BITS).history_
    assert "validation_pseudo_likelihood" in history


def test_verbose_prints(capsys):
    BernoulliRBM(**BASE, verbose=1).fit(BITS)
    GaussianRBM(**BASE | {"learning_rate": 0.01}, verbose=1).fit(REAL)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6 and "pseudo-likelihood" in lines[0] and "reconstruction-error" in lines[3]


def test_scoring_chooses_the_score():
    rbm = BernoulliRBM(**BASE).fit(BITS)
    pseudo, exact = rbm.score_samples(BITS).mean(), rbm.log_likelihood(BITS).mean()
    wanted = {"auto": pseudo, "pseudo_likelihood": pseudo, "log_likelihood": exact}
    for name, value in wanted.items():
        assert rbm.set_params(scoring=name).score(BITS) == pytest.approx(value)
    real = GaussianRBM(**BASE | {"learning_rate": 0.01}).fit(REAL)
    assert real.score(REAL) == pytest.approx(real.log_likelihood(REAL).mean())
    assert real.set_params(scoring="pseudo_likelihood").score(REAL) == pytest.approx(real.score_samples(REAL).mean())


def test_callbacks_are_called():
    seen = []
    BernoulliRBM(**BASE, callbacks=(lambda run: seen.append(run.state.epoch),)).fit(BITS)
    assert seen == [1, 2, 3]


def test_grey_rows_by_stochastic_input_and_out_of_range():
    assert changes_the_fit(BernoulliRBM, GREY, "stochastic_input", True)
    assert changes_the_fit(IsingRBM, 2 * GREY - 1, "stochastic_input", True, out_of_range="allow")
    for cls, X in ((BernoulliRBM, 2 * GREY), (IsingRBM, GREY), (RBM, 2 * GREY)):
        with pytest.raises(ValueError, match="X must hold"):
            cls(**BASE, out_of_range="error").fit(X)
        cls(**BASE, out_of_range="allow").fit(X)


def test_kernel_options_reach_the_kernels():
    rbm = BernoulliRBM(**BASE, n_threads=2, device="cpu", strategy="delta", precision="fast")
    backend = rbm._backend()
    assert (backend.name, backend.n_threads, backend.strategy, backend.int16) == ("cpu", 2, "delta", True)
    assert BernoulliRBM(device="reference")._backend().name == "reference"
    wide = (RNG.random((60, 300)) < 0.3).astype(np.float32)
    assert changes_the_fit(BernoulliRBM, wide, "precision", "fast", learning_rate=0.5, n_iter=6)
    fitted = BernoulliRBM(**BASE).fit(BITS)
    counted = []
    for strategy in ("dense", "delta"):
        with fastrbm.count_work() as work:
            fitted.set_params(strategy=strategy).sample(8, 20, random_state=0)
        counted.append(work["products"] if work else None)
    assert counted[0] != counted[1]


def test_the_stream_of_scikit_learn_is_another():
    assert changes_the_fit(BernoulliRBM, BITS, "random_stream", "sklearn", shuffle=False)
    assert changes_the_fit(compat.BernoulliRBM, BITS, "random_stream", "philox")
    with pytest.raises(ValueError, match="shuffle must be False"):
        compat.BernoulliRBM(**BASE, shuffle=True).fit(BITS)


def test_a_constant_schedule_is_the_number():
    for name, value in (("learning_rate", 0.05), ("batch_size", 15), ("n_gibbs_steps", 1)):
        assert not changes_the_fit(BernoulliRBM, BITS, name, Constant(value))
    assert not changes_the_fit(BernoulliRBM, BITS, "optimizer", SGD(Constant(0.5)), optimizer=SGD(0.5))


TESTED_ELSEWHERE = {
    "warm_start", "early_stopping", "n_iter_no_change", "tol", "verbose", "scoring", "callbacks", "stochastic_input",
    "out_of_range", "input_scale", "strategy", "precision", "n_threads", "device", "random_stream",
}  # fmt: skip


@pytest.mark.parametrize("name", ESTIMATORS)
def test_no_option_is_forgotten_here(name):
    options = set(ESTIMATORS[name][0]().get_params(deep=False))
    tested = {k for k, v in FITS.items() if v} | {k for k, v in OWN.get(name, {}).items() if v} | TESTED_ELSEWHERE
    refused = {"GaussianRBM": {"temperature"}, "compat.BernoulliRBM": {"temperature"}}.get(name, set())
    assert options - tested - refused == set()


def test_a_temperature_is_refused_where_it_would_change_the_units():
    with pytest.raises(ValueError, match="temperature must be 1 for units"):
        GaussianRBM(**BASE, temperature=2.0).fit(REAL)
