"""The recipes of the page on the design, walked: what is added there by a file is added here by a test.

Optimiser rules of the kernels, regularisers, kernels and instruction sets cannot be added from outside; the page names
the tests that hold them, and `test_the_page_names_tests_that_exist` that these are there.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

import fastrbm
from fastrbm import RBM, BernoulliRBM, Model, likelihood, units
from fastrbm._estimator.files import Stored
from fastrbm._estimator.fitting import Fitting
from fastrbm._estimator.sampling import Sampling
from fastrbm._estimator.scoring import Scoring
from fastrbm._kernels import Backend, Rule, get_backend, rules
from fastrbm._kernels.cpu import partition, runtime
from fastrbm._kernels.reference import ReferenceBackend
from fastrbm.likelihood import exact
from fastrbm.optimizers import Optimizer
from fastrbm.samplers import Population, PopulationSampler
from fastrbm.units import _base as registry

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "design.rst"
X = (np.random.default_rng(5).random((24, 7)) < 0.5).astype(np.float32)


def devices():
    """Backends of this machine; the simulator stands for a device."""
    yield "reference"
    yield "cpu"
    if os.environ.get("NUMBA_ENABLE_CUDASIM") == "1":
        try:
            import numba_cuda  # noqa: F401
        except ImportError:
            return
        yield "cuda"


DEVICES = list(devices())


# -- a unit type ------------------------------------------------------------------------------------------------------


class Ternary(units.Unit):
    """Values -1, 0 and 1: T(x) = x, cgf = log(1 + 2 cosh(theta))."""

    name = "ternary"
    support = (-1.0, 0.0, 1.0)
    domain = "-1, 0 and 1 only"

    def _powers(self, theta):
        top = np.abs(theta)
        return np.exp(-theta - top), np.exp(-top), np.exp(theta - top), top

    def cgf(self, theta):
        low, middle, high, top = self._powers(theta)
        return top + np.log(low + middle + high)

    def mean(self, theta):
        low, middle, high, _ = self._powers(theta)
        return (high - low) / (low + middle + high)

    def sample(self, theta, u):
        low, middle, high, _ = self._powers(theta)
        at = u * (low + middle + high)
        return np.where(at < low, -1, np.where(at < low + middle, 0, 1)).astype(theta.dtype)


@pytest.fixture
def ternary(monkeypatch):
    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))
    return units._base.register(Ternary).name


@pytest.mark.parametrize("device", DEVICES)
def test_unit_type(ternary, device):
    rows = np.random.default_rng(1).integers(-1, 2, (20, 5)).astype(np.float32)
    rbm = RBM(3, visible=ternary, hidden=ternary, n_iter=2, batch_size=8, device=device, random_state=0).fit(rows)
    same = clone(rbm).set_params(device="reference").fit(rows)
    assert_allclose(rbm.components_, same.components_, rtol=1e-4, atol=1e-6)
    assert set(np.unique(rbm.sample(8, 3, random_state=1))) <= {-1.0, 0.0, 1.0}
    # the states that can be listed, listed
    states = registry.get_unit(ternary).states(0, 3**5, 5)
    assert_allclose(rbm.log_partition().value, np.logaddexp.reduce(-rbm.free_energy(states)), rtol=1e-5)


def test_unit_type_refuses_what_is_none_of_its_states(ternary):
    with pytest.raises(ValueError, match="X must hold -1, 0 and 1 only for 'ternary' visible units, got 2"):
        RBM(3, visible=ternary).fit(np.full((3, 2), 2.0))
    with pytest.raises(ValueError, match="stochastic_input must be False for visible units 'ternary'"):
        RBM(3, visible=ternary, stochastic_input=True).fit(np.zeros((3, 2)))


# -- a rule of an optimiser -------------------------------------------------------------------------------------------


class SignDescent(Optimizer):
    """Steps of one size, along the signs of the gradient."""

    def rule(self):
        return Rule("sign")


@pytest.fixture
def sign(monkeypatch):
    def arithmetic(update, value, slots, g):
        value += value.dtype.type(update.rate) * np.sign(g)

    monkeypatch.setitem(rules.RULES, "sign", arithmetic)
    return SignDescent()


@pytest.mark.parametrize("device", DEVICES)
def test_rule(sign, device):
    rbm = BernoulliRBM(4, optimizer=sign, n_iter=2, batch_size=8, learning_rate=2.0**-6, device=device, random_state=0)
    steps = (rbm.fit(X).intercept_visible_) * 2**6
    assert_array_equal(steps, np.round(steps))
    assert np.abs(steps).max() > 1
    same = clone(rbm).set_params(device="reference").fit(X)
    assert_allclose(rbm.components_, same.components_, atol=1e-6)


def test_rule_that_is_nowhere_is_refused_by_name():
    with pytest.raises(ValueError, match="rule must be one of .*'sgd'.*got 'sign'"):
        BernoulliRBM(4, optimizer=SignDescent(), device="cpu").fit(X)


# -- a sampler --------------------------------------------------------------------------------------------------------


class Independent(PopulationSampler):
    """New states at every step, by listing the states of the hidden layer."""

    def init(self, n_chains, parameters, units, seed):
        return Listed(n_chains, 0, np.zeros((n_chains, len(parameters.hidden_bias)), parameters.weights.dtype))

    def continues(self, population, n_chains):
        return isinstance(population, Listed) and population.n_chains == n_chains

    def step(self, state, parameters, units, seed, backend, n_rounds=1):
        model = Model(*parameters, *units)
        weights = exact.state_log_weights(exact.choose(model, "hidden"), backend)
        total = np.cumsum(np.exp(weights - weights.max()))
        rng = np.random.default_rng([seed % 2**32, state.step])
        chosen = np.searchsorted(total, rng.random(state.n_chains) * total[-1]).astype(np.uint64)
        state.hidden = (
            units_of(units[1]).states_at(chosen, len(parameters.hidden_bias)).astype(parameters.weights.dtype)
        )
        state.step += 1
        draw = fastrbm._kernels.draws.Draw(seed, state.step, fastrbm._kernels.draws.Stream.VISIBLE)
        return backend.samples(
            units[0], state.hidden, parameters.weights, parameters.visible_bias, draw, transpose=True
        )


class Listed(Population):
    name = "listed"

    def __init__(self, n_chains, step, hidden):
        self.n_chains, self.step, self.hidden = n_chains, step, hidden

    @property
    def model_chains(self):
        return self.hidden

    def numbers(self):
        return {"n_chains": self.n_chains, "step": self.step}

    def arrays(self):
        return {"hidden": self.hidden}

    @classmethod
    def restore(cls, numbers, arrays, n_hidden):
        return cls(hidden=arrays["hidden"], **numbers)


units_of = registry.get_unit


@pytest.mark.parametrize("device", DEVICES)
def test_sampler(device):
    given = {"n_iter": 3, "batch_size": 12, "n_chains": 40, "random_state": 0, "device": device}
    rbm = BernoulliRBM(3, algorithm=Independent(), **given).fit(X)
    assert rbm.h_samples_.shape == (40, 3)
    same = clone(rbm).set_params(device="reference").fit(X)
    assert_allclose(rbm.components_, same.components_, atol=1e-5)
    # a run that is continued goes on with its population
    longer = clone(rbm).set_params(n_iter=6).fit(X)
    assert_array_equal(rbm.set_params(warm_start=True).fit(X).components_, longer.components_)


def test_sampler_is_refused_by_name():
    with pytest.raises(ValueError, match="hidden_statistics must be 'mean' with algorithm=Independent"):
        BernoulliRBM(3, algorithm=Independent(), hidden_statistics="sampled").fit(X)
    with pytest.raises(ValueError, match="algorithm"):
        BernoulliRBM(3, algorithm="independent").fit(X)


def test_sampler_in_a_model_file(monkeypatch, tmp_path):
    monkeypatch.setitem(fastrbm.samplers.POPULATIONS, "listed", Listed)
    rbm = BernoulliRBM(3, algorithm=Independent(), n_iter=2, warm_start=True, random_state=0).fit(X)
    with pytest.raises(ValueError, match="algorithm cannot be stored"):
        rbm.save(tmp_path / "a.npz")
    path = rbm.set_params(algorithm="pcd").save(tmp_path / "a.npz")
    again = fastrbm.load(path).set_params(algorithm=Independent())
    assert_array_equal(again.fit(X).components_, rbm.set_params(algorithm=Independent()).fit(X).components_)


# -- an estimator -----------------------------------------------------------------------------------------------------


class CountRBM(Fitting, Scoring, Sampling, Stored):
    """Rows of whole numbers up to `most`."""

    def __init__(self, n_components=8, *, most=3, **options):
        super().__init__(n_components, **options)
        self.most = most

    @property
    def units(self):
        return f"binomial({self.most})", "bernoulli"


def test_estimator():
    rows = np.random.default_rng(2).integers(0, 4, (30, 5)).astype(np.float32)
    rbm = CountRBM(2, n_iter=2, learning_rate=0.01, random_state=0)
    assert {"most", "learning_rate", "device"} <= rbm.get_params().keys()
    same = RBM(2, visible="binomial(3)", n_iter=2, learning_rate=0.01, random_state=0).fit(rows)
    assert_array_equal(clone(rbm).fit(rows).components_, same.components_)
    assert GridSearchCV(rbm, {"n_components": [2, 3]}, cv=2).fit(rows).best_score_ < 0
    with pytest.raises(ValueError, match="X must hold"):
        CountRBM(2, most=2).fit(rows)


# -- a backend --------------------------------------------------------------------------------------------------------


class Plain(Backend):
    """The methods that a backend must provide, and no other."""

    name = "plain"

    def __init__(self, seconds=None):
        self.seconds = seconds

    inputs, means, samples = ReferenceBackend.inputs, ReferenceBackend.means, ReferenceBackend.samples
    draw_bits, moments = ReferenceBackend.draw_bits, ReferenceBackend.moments
    free_energy, pseudo_likelihood = ReferenceBackend.free_energy, ReferenceBackend.pseudo_likelihood

    def seconds_for_states(self, units, n_states, n_other, dtype):
        own = super().seconds_for_states(units, n_states, n_other, dtype)
        return own if self.seconds is None else self.seconds


def test_backend(monkeypatch):
    """Composed forms do the rest: a fit, chains, annealing, exact sums."""
    rbm = BernoulliRBM(3, n_iter=2, batch_size=8, random_state=0, device="reference").fit(X)
    with monkeypatch.context() as patched:
        patched.setattr("fastrbm._estimator.base.get_backend", lambda *_: Plain())
        patched.setattr("fastrbm.likelihood.partition.get_backend", lambda *_: Plain())
        other = clone(rbm).fit(X)
        drawn = other.sample(5, 4, random_state=1)
        log_z = [float(other.log_partition(m, n_chains=20, n_temperatures=20)) for m in ("exact", "mais")]
    assert_array_equal(other.components_, rbm.components_)
    assert_array_equal(drawn, rbm.sample(5, 4, random_state=1))
    assert log_z == [float(rbm.log_partition(m, n_chains=20, n_temperatures=20)) for m in ("exact", "mais")]


@pytest.mark.parametrize("kind", [("bernoulli", "bernoulli"), ("ising", "bernoulli"), ("relu", "bernoulli")])
def test_backend_says_how_long_an_exact_sum_takes(monkeypatch, kind):
    rng = np.random.default_rng(0)
    model = Model(0.1 * rng.normal(size=(12, 50)), np.zeros(50), np.zeros(12), *kind)
    for seconds, refused in ((1e9, True), (0.1, False)):
        monkeypatch.setattr("fastrbm.likelihood.partition.get_backend", lambda *_, seconds=seconds: Plain(seconds))
        if refused:
            with pytest.raises(ValueError, match=r"an exact sum over the 2\^12 states .* would take about 31.7 years"):
                likelihood.log_partition(model, "exact", device="cuda")
        else:
            found = likelihood.log_partition(model, "exact", device="cuda")
            assert_allclose(
                float(found), float(exact.log_partition(exact.choose(model), get_backend("reference"))), rtol=1e-6
            )
    assert exact.choose(model).seconds(Plain(2.5)) == 2.5


# -- an instruction set, a kernel, a regulariser: tests that the page names ------------------------------------------


@pytest.mark.skipif(not PAGE.is_file(), reason="the documentation is not beside the tests")
def test_the_page_names_tests_that_exist():
    named = re.findall(r"``(tests/[\w/]+\.py)(?:::(\w+))?``", PAGE.read_text())
    assert len({path for path, _ in named}) >= 6
    for path, test in named:
        assert (ROOT / path).is_file(), path
        assert not test or f"def {test}(" in (ROOT / path).read_text(), f"{path}::{test}"


@pytest.mark.skipif(not PAGE.is_file(), reason="the documentation is not beside the tests")
def test_the_page_names_files_that_exist():
    text = PAGE.read_text()
    for path in set(re.findall(r"``((?:src|benchmarks|docs)/[\w/.]+|setup\.py|pyproject\.toml)``", text)):
        assert (ROOT / path).exists(), path
    for path in set(re.findall(r"``((?:_\w+|units|samplers|likelihood|init|datasets)/[\w/.]+)``", text)):
        assert (ROOT / "src" / "fastrbm" / path).exists(), path
    names = {p.name for p in (ROOT / "src").rglob("*")}
    for name in set(re.findall(r"``(\w+\.(?:h|c|py|pyx|pxd))``", text)) - {"setup.py"}:
        assert name in names, name


def test_instruction_sets_of_the_build_are_those_of_the_dispatch():
    if not (ROOT / "setup.py").is_file():
        pytest.skip("the sources are not beside the tests")
    built = re.search(r"^TARGETS = \{(.*?)^\}", (ROOT / "setup.py").read_text(), re.DOTALL | re.MULTILINE)
    names = re.findall(r'^    "(\w+)":', built.group(1), re.MULTILINE)
    listed = (ROOT / "src/fastrbm/_kernels/cpu/src/teams/choose.c").read_text()
    assert names and all(f"frbm_table_{name}" in listed for name in names)
    assert set(runtime.extension.TARGETS) == set(names) == set(partition.RATES)
    unknown = subprocess.run(
        [sys.executable, "-c", "import fastrbm._kernels.cpu"],
        env=os.environ | {"FASTRBM_CPU": "abacus"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert unknown.returncode and all(name in unknown.stderr for name in ("abacus", "baseline"))
