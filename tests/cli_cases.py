"""What the tests of the command line share: running it, and a small table for every estimator."""

import numpy as np

from fastrbm._cli import main as cli


def run(*argv):
    """Exit status of a command, wrong usage included."""
    try:
        return cli.main([str(part) for part in argv])
    except SystemExit as stopped:
        return stopped.code


def assert_fails(capsys, message, *argv, status=1):
    """One line on stderr (below the usage), the status, nothing that looks like a traceback."""
    capsys.readouterr()
    assert run(*argv) == status
    captured = capsys.readouterr()
    errors = [line for line in captured.err.splitlines() if line.startswith("fastrbm: error: ")]
    assert len(errors) == 1 and message in errors[0], captured.err
    assert "Traceback" not in captured.err + captured.out
    return errors[0]


_RNG = np.random.default_rng(0)
BITS = (_RNG.random((40, 6)) < 0.4).astype(np.int64)

#: estimator and its options, rows it takes, type of its samples, and values these may have
KINDS = {
    "BernoulliRBM": ([], BITS, np.uint8, {0, 1}),
    "IsingRBM": ([], 2 * BITS - 1, np.int8, {-1, 1}),
    "GaussianRBM": (["--learning-rate", "0.01"], 3 * _RNG.normal(size=(40, 6)) + 5, np.float32, None),
    "PottsRBM": ([], BITS, np.uint8, {0, 1}),
    "SoftmaxRBM": ([], _RNG.integers(0, 3, (40, 6)), np.uint8, {0, 1, 2}),
    "RBM binomial(3)": (["--visible", "binomial(3)"], _RNG.integers(0, 4, (40, 6)), np.uint8, {0, 1, 2, 3}),
    "RBM onehot": (["--visible", "onehot"], np.eye(6)[_RNG.integers(0, 6, 40)], np.uint8, {0, 1}),
    "RBM relu": (
        ["--visible", "relu", "--visible-bias", "zeros", "--learning-rate", "0.001"],
        np.abs(_RNG.normal(size=(40, 6))),
        np.float32,
        None,
    ),
    "RBM mixed": (
        ["--visible", "mixed(gaussian*3,bernoulli*3)", "--learning-rate", "0.01"],
        np.hstack([_RNG.normal(size=(40, 3)), BITS[:, :3]]),
        np.float32,
        None,
    ),
}


def train_arguments(kind):
    """Arguments after DATA that train a small machine of a kind."""
    model, options = kind.split()[0], KINDS[kind][0]
    return ["--model", model, "--components", 4, "--epochs", 2, "--batch-size", 10, *options]
