"""Options of `fastrbm train` are those of the estimators: names, values, objects, defaults."""

import inspect

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import fastrbm
from cli_cases import KINDS, assert_fails, run, train_arguments
from fastrbm import schedules
from fastrbm._cli import literals, options, spelling
from fastrbm.init import Normal
from fastrbm.samplers import FastPCD

MADE = []


@pytest.fixture
def made(monkeypatch, tmp_path):
    """Estimators that commands fit: options as they come to `fit`, which does nothing."""
    MADE.clear()

    def fit(self, X, y=None, sample_weight=None):
        MADE.append((self.get_params(deep=False), X))
        raise ValueError("seen")

    for name in options.MODELS:
        monkeypatch.setattr(getattr(fastrbm, name), "fit", fit)
    np.save(tmp_path / "bits.npy", np.array([[0, 1, 1], [1, 0, 0]]))

    def train(*argv, data=tmp_path / "bits.npy"):
        assert run("train", data, "--out", tmp_path / "m.npz", "--quiet", *argv) == 1
        return MADE.pop()[0]

    return train


#: for every option of every estimator a text and the value it stands for
VALUES = {
    "n_components": ("7", 7),
    "learning_rate": ("Linear(0.2, stop=0.1)", ("Linear", {"start": 0.2, "stop": 0.1})),
    "batch_size": ("Switch(10, 20)", ("Switch", {"before": 10, "after": 20, "at": 0.6})),
    "n_iter": ("3", 3),
    "steps_per_epoch": ("4", 4),
    "random_state": ("5", 5),
    "algorithm": ("tempering(n_temperatures=4)", ("Tempering", None)),
    "n_gibbs_steps": ("6", 6),
    "n_chains": ("none", None),
    "strategy": ("dense", "dense"),
    "precision": ("fast", "fast"),
    "hidden_statistics": ("sampled", "sampled"),
    "optimizer": ("adam(beta1=0.5, amsgrad=true)", ("Adam", {"beta1": 0.5, "beta2": 0.999, "amsgrad": True})),
    "regularizers": ("L2(1e-3), Clip(norm=2)", None),
    "init": ("Normal(0.1)", ("Normal", None)),
    "visible_bias": ("zeros", "zeros"),
    "temperature": ("1.5", 1.5),
    "random_stream": ("philox", "philox"),
    "validation_fraction": ("0.25", 0.25),
    "early_stopping": ("pseudo_likelihood", "pseudo_likelihood"),
    "n_iter_no_change": ("2", 2),
    "tol": ("0.01", 0.01),
    "scoring": ("pseudo_likelihood", "pseudo_likelihood"),
    "device": ("reference", "reference"),
    "n_threads": ("1", 1),
    "dtype": ("float64", "float64"),
    "out_of_range": ("allow", "allow"),
    "sigma": ("LearnedSigma(rate=0.2)", ("LearnedSigma", {"rate": 0.2, "initial": "data"})),
    "scaling": ("variance", "variance"),
    "hidden": ("onehot(4)", "onehot(4)"),
    "visible": ("mixed(gaussian*2,bernoulli*1)", "mixed(gaussian*2,bernoulli*1)"),
    "n_categories": ("3", 3),
}
FLAGS = ("centered", "stochastic_input", "shuffle", "conditional")
NOT_ON_THE_COMMAND_LINE = {"verbose", "callbacks", "warm_start"}


def test_every_option_of_every_estimator_is_there():
    for name in options.MODELS:
        own = set(inspect.signature(getattr(fastrbm, name)).parameters) - NOT_ON_THE_COMMAND_LINE
        table = options.table()
        assert own == {option for option in table if name in table[option].owners}
        assert own - set(VALUES) - set(FLAGS) <= {"input_scale"}


def test_every_option_says_what_it_is():
    for option in options.table().values():
        assert option.meaning and option.kind, option.name


@pytest.mark.parametrize("name", [n for n in VALUES if n in options.table()])
@pytest.mark.parametrize("long", [False, True])
def test_values_reach_the_estimator(made, name, long):
    """By the command's own spelling and by that of Python."""
    text, wanted = VALUES[name]
    option = options.table()[name]
    needed = {"dtype": ["--strategy", "dense"], "early_stopping": ["--validation-fraction", "0.5"]}.get(name, [])
    if name in ("hidden", "n_categories"):
        needed = ["--components", "4"]
    if name == "algorithm":
        needed = ["--chains", "10"]
    flag = spelling.flags_of(name)[-1 if long else 0]
    seen = made("--model", option.owners[0], *needed, flag, text)[name]
    if name == "regularizers":
        assert [type(x).__name__ for x in seen] == ["L2", "Clip"] and seen[0].strength == 1e-3 and seen[1].norm == 2
    elif isinstance(wanted, tuple):
        assert type(seen).__name__ == wanted[0]
        assert all(seen.get_params()[key] == value for key, value in (wanted[1] or {}).items())
    else:
        assert seen == wanted and type(seen) is type(wanted)


@pytest.mark.parametrize("name", FLAGS)
def test_flags_reach_the_estimator(made, name):
    flag, owner = spelling.flag_of(name), options.table()[name].owners[0]
    assert made("--model", owner, flag)[name] is True
    assert made("--model", owner, "--no-" + flag[2:])[name] is False
    assert made("--model", owner)[name] is inspect.signature(getattr(fastrbm, owner)).parameters[name].default


def test_early_stopping_is_a_flag_too(made):
    assert made("--early-stopping", "--validation-fraction", "0.5")["early_stopping"] is True
    assert made("--no-early-stopping")["early_stopping"] is False


@pytest.mark.parametrize("model", options.MODELS)
def test_defaults_are_the_commands_or_the_estimators(made, model):
    seen = made("--model", model)
    parameters = inspect.signature(getattr(fastrbm, model)).parameters
    chosen = options.defaults_for(model, {})
    assert chosen["batch_size"] == 64 and chosen["random_state"] == 0
    assert ("n_chains" in chosen) == (model != "SoftmaxRBM")  # which starts chains at the data
    for name, value in seen.items():
        if name not in NOT_ON_THE_COMMAND_LINE:
            assert repr(value) == repr(chosen.get(name, parameters[name].default)), name


@pytest.mark.parametrize(
    "argv",
    [
        ["--algorithm", "cd"],
        ["--algorithm", "exact"],
        ["--algorithm", "pt"],
        ["--algorithm", "gibbs(3)"],
        ["--algorithm", "gibbs(3, persistent=false)"],
        ["--algorithm", "fpcd"],
        ["--random-stream", "sklearn", "--no-shuffle"],
        ["--model", "PottsRBM", "--algorithm", "em"],
        ["--model", "GaussianRBM", "--sigma", "learned"],
        ["--model", "RBM", "--visible", "relu"],
        ["--model", "SoftmaxRBM", "--algorithm", "pcd"],
        ["--model", "RBM", "--hidden", "gaussian", "--algorithm", "cd"],
        ["--optimizer", "adam", "--centered"],
    ],
)
def test_defaults_leave_room_for_what_is_asked(made, argv):
    """The command's defaults never exclude an option that is given."""
    made(*argv)


def test_old_spellings(made):
    seen = made("--components", 9, "--epochs", 2, "--gibbs-steps", 3, "--chains", 4, "--seed", 5, "--threads", 1)
    names = ("n_components", "n_iter", "n_gibbs_steps", "n_chains", "random_state", "n_threads")
    assert [seen[name] for name in names] == [9, 2, 3, 4, 5, 1]
    assert made("--momentum", 0.5)["optimizer"].momentum == 0.5
    momentum = made("--momentum", 0.5, "--optimizer", "rmsprop(decay=0.8)")["optimizer"]
    assert (momentum.momentum, momentum.decay) == (0.5, 0.8)


def test_arrays_come_from_files(made, tmp_path):
    np.save(tmp_path / "w.npy", np.arange(6.0).reshape(2, 3))
    assert_array_equal(made("--components", 2, "--init", tmp_path / "w.npy")["init"], np.arange(6.0).reshape(2, 3))
    assert made("--model", "GaussianRBM", "--sigma", "1, 2, 0.5")["sigma"] == (1, 2, 0.5)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--sigma", "1"], "--sigma is an option of GaussianRBM, not of BernoulliRBM"),
        (["--model", "IsingRBM", "--visible", "relu"], "--visible is an option of RBM, not of IsingRBM"),
        (["--algorithm", "cd", "--chains", "5"], "--chains must be None with --algorithm cd"),
        (["--optimizer", "adam(beta3=1)"], "Adam takes beta1, beta2, epsilon, amsgrad, got adam(beta3=1)"),
        (["--optimizer", "adam(beta2=2)"], "beta2 must be a finite number in [0, 1)"),
        (["--optimizer", "adam", "--momentum", "0.5"], "Adam has none"),
        (["--optimizer", "eve()"], "must be one of adam, rmsprop, sgd or an object such as Adam(beta1=0.5)"),
        (["--learning-rate", "Exponential(-1, 0.1)"], "start must be a positive finite number"),
        (["--regularizers", "L2(-1)"], "strength must be a finite number of at least 0"),
        (["--regularizers", "L2(__import__('os').getpid())"], "cannot read"),
        (["--model", "RBM", "--visible", "tanh"], "--visible"),
        (["--early-stopping"], "--validation-fraction must be above 0"),
        (["--dtype", "int8"], "--dtype must be"),
        (["--epochs", "true"], "--epochs/--n-iter: must be"),
        (["--init", "absent.npy"], "absent.npy"),
    ],
)
def test_options_that_cannot_be_used_are_wrong_usage(tmp_path, capsys, argv, message):
    """Found before the data are looked at."""
    assert_fails(capsys, message, "train", tmp_path / "absent.npy", "--out", tmp_path / "m.npz", *argv, status=2)


@pytest.mark.parametrize("kind", KINDS)
def test_every_estimator_trains(tmp_path, capsys, kind):
    np.save(tmp_path / "d.npy", KINDS[kind][1])
    assert run("train", tmp_path / "d.npy", "--out", tmp_path / "m.npz", *train_arguments(kind)) == 0
    out = capsys.readouterr().out
    assert "d.npy: 40 rows, 6 columns" in out and "2 epochs in" in out and "wrote" in out
    machine = fastrbm.load(tmp_path / "m.npz")
    assert type(machine).__name__ == kind.split()[0] and machine.n_iter_ == 2


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-0.5", -0.5),
        ("1e-3", 1e-3),
        ("none", None),
        ("True", True),
        ("data", "data"),
        ("gibbs-cd", "gibbs-cd"),
        ("onehot(5)", "onehot(5)"),
        ("mixed(gaussian*3,bernoulli*2)", "mixed(gaussian*3,bernoulli*2)"),
        ("1, 2", (1, 2)),
        ("'a b'", "a b"),
        ("a.b", "a.b"),
        ("open('x')", "open('x')"),
        ("(", "("),
        ("", ""),
    ],
)
def test_literals(text, value):
    assert literals.read(text) == value and type(literals.read(text)) is type(value)


def test_objects():
    cosine = literals.read("cosine(0.1)")
    assert isinstance(cosine, schedules.Cosine) and (cosine.start, cosine.stop) == (0.1, 0.0)
    assert isinstance(literals.read("pt"), str) and isinstance(literals.read("fpcd()"), FastPCD)
    assert isinstance(literals.read("normal(0.1)"), Normal)
    nested = literals.read("SGD(momentum=Linear(0.5, 0.9), nesterov=true)")
    assert isinstance(nested.momentum, schedules.Linear) and nested.nesterov is True


@pytest.mark.parametrize("text", ["L2(x.y)", "L2(1 + 1)", "SGD(**{})", "SGD(open('x'))", "L2(lambda: 1)", "L2({})"])
def test_nothing_is_evaluated(text):
    with pytest.raises(ValueError):
        literals.read(text)
