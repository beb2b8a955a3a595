"""The command ``fastrbm``: train, evaluate, sample, demo, bench and info.

Heavy imports wait until a command needs them, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import math
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from . import data as _cli_data

__all__ = ["main"]

# ArithmeticError is divergence, RuntimeError a device that is not there
_EXPECTED = (ValueError, TypeError, OSError, ImportError, MemoryError, ArithmeticError, RuntimeError)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments after the program's name; those of the process if left out.

    Returns
    -------
    int
        0 when all went well, 1 after an error that is reported on stderr, 130 when interrupted. Wrong usage
        raises ``SystemExit(2)``.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    # argparse keeps options before the first positional for itself, so the suite's own are cut off here
    own = arguments[: arguments.index("bench") + 1] if "bench" in arguments[:2] else arguments
    options = _parser().parse_args(own)
    options.arguments = arguments[len(own) :]
    try:
        status = options.command(options)
        sys.stdout.flush()  # so that a closed pipe is noticed here
    except KeyboardInterrupt:
        print("fastrbm: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes once more
        return 1
    except _EXPECTED as error:
        if options.traceback:
            raise
        print(f"fastrbm: error: {error or type(error).__name__}", file=sys.stderr)
        return 1
    return status or 0


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    """Shows defaults, except where there is nothing to show."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default is None or action.default is False:
            return action.help
        return super()._get_help_string(action)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(2, f"fastrbm: error: {message}\n")


def _whole(least: int) -> Any:
    def convert(text: str) -> int:
        number = int(text)
        if number < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}, got {text}")
        return number

    convert.__name__ = "whole number"  # argparse names it when int() fails
    return convert


def _rate(text: str) -> float:
    number = float(text)
    if not (number > 0 and math.isfinite(number)):
        raise argparse.ArgumentTypeError(f"must be positive, got {text}")
    return number


def _momentum(text: str) -> float:
    number = float(text)
    if not 0 <= number < 1:
        raise argparse.ArgumentTypeError(f"must be from 0 to below 1, got {text}")
    return number


def _share(text: str) -> float:
    number = float(text)
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"must be from 0 to 1, got {text}")
    return number


_rate.__name__ = _momentum.__name__ = _share.__name__ = "number"

# what `fastrbm info --kernels` asks for: type, default, meaning
_SIZES: dict[str, tuple[Any, Any, str]] = {
    "visible": (_whole(1), 784, "visible units"),
    "hidden": (_whole(1), 256, "hidden units"),
    "batch-size": (_whole(1), 256, "rows of a minibatch, or chains"),
    "density": (_share, 0.3, "share of active units"),
}


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="fastrbm", description="Fast restricted Boltzmann machines.")
    parser.add_argument("--version", action=_Version)
    parser.add_argument("--traceback", action="store_true", help="show where an error came from")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_train(commands)
    _add_evaluate(commands)
    _add_sample(commands)
    _add_demo(commands)
    info = commands.add_parser("info", help="print versions, instruction set and threads")
    info.add_argument("--kernels", action="store_true", help="say which kernels would be picked for the sizes given")
    for name, (convert, default, meaning) in _SIZES.items():
        info.add_argument(f"--{name}", type=convert, help=f"with --kernels: {meaning} ({default})")
    info.set_defaults(command=_info)
    bench = commands.add_parser("bench", help="measure against scikit-learn and PyTorch")
    bench.set_defaults(command=_bench)
    return parser


class _Version(argparse.Action):
    """Prints the version, importing the package only then."""

    def __init__(self, option_strings: Sequence[str], dest: str, **_: Any) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, help="print the version and exit")

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        import fastrbm

        print(f"fastrbm {fastrbm.__version__}")
        parser.exit()


def _add_train(commands: Any) -> None:
    train = commands.add_parser(
        "train",
        help="fit a machine and write it to a file",
        description="Fit a Bernoulli RBM to images or other data and write the model to a file.",
        formatter_class=_Help,
    )
    add = train.add_argument
    add("data", metavar="DATA", help="digits, mnist, fashion-mnist, or a .npy, .npz or .csv file")
    add("--out", metavar="FILE", required=True, help="where to write the model (.npz)")
    add("--components", type=_whole(1), default=256, metavar="N", help="hidden units")
    add("--learning-rate", type=_rate, default=0.1, metavar="X", help="step size")
    add("--batch-size", type=_whole(1), default=10, metavar="N", help="rows per step")
    add("--epochs", type=_whole(0), default=10, metavar="N", help="passes over the data")
    add("--algorithm", choices=("pcd", "cd"), default="pcd", help="persistent or fresh chains")
    add("--gibbs-steps", type=_whole(1), default=1, metavar="N", help="Gibbs steps per update")
    add("--chains", type=_whole(1), metavar="N", help="persistent chains; the batch size if not given")
    add("--momentum", type=_momentum, default=0.0, metavar="X", help="of the gradient steps")
    add("--seed", type=_whole(0), default=0, metavar="N", help="the same seed gives the same model")
    add("--threads", type=_whole(1), metavar="N", help="all processors if not given")
    add("--stochastic-input", action="store_true", help="draw bits from grey values anew at each use")
    add("--hidden-statistics", choices=("mean", "sampled"), default="mean", help="what gradients take of hidden units")
    add("--precision", choices=("full", "fast"), default="full", help="fast: weights of 16 bits in the products")
    add("--binarize", choices=("bernoulli", "threshold", "otsu"), help="turn the data into bits once")
    add("--dtype", choices=("float32", "float64"), help="arithmetic; float32 if not given")
    add("--device", choices=("auto", "cpu", "cuda", "reference"), default="auto", help="which kernels")
    add("--data-dir", metavar="DIR", help="folder with the files of mnist or fashion-mnist")
    add("--quiet", action="store_true", help="print nothing")
    train.set_defaults(command=_train)


def _add_evaluate(commands: Any) -> None:
    evaluate = commands.add_parser(
        "evaluate",
        help="score a trained machine: likelihood, pseudo-likelihood, reconstruction",
        description="Score a model file on data: log-likelihood by an exact or annealed partition sum, "
        "pseudo-likelihood and reconstruction error.",
        formatter_class=_Help,
    )
    add = evaluate.add_argument
    add("model", metavar="MODEL", help="a file written by fastrbm train")
    add("data", metavar="DATA", help="digits, mnist, fashion-mnist, or a .npy, .npz or .csv file")
    add("--subset", choices=("train", "test"), default="test", help="of mnist and fashion-mnist")
    add("--binarize", choices=("bernoulli", "threshold", "otsu"), help="turn the data into bits; needed for grey data")
    add("--method", choices=("auto", "exact", "ais", "mais", "reverse", "bracket"), default="auto", help="of log Z")
    add("--chains", type=_whole(1), default=1000, metavar="N", help="of the annealed estimates, each way")
    add("--temperatures", type=_whole(1), default=1000, metavar="N", help="of the annealed estimates")
    add("--stderr", type=_rate, metavar="X", help="add chains until the standard error of log Z is at most this")
    add("--seed", type=_whole(0), default=0, metavar="N", help="the same seed gives the same estimate")
    add("--threads", type=_whole(1), metavar="N", help="all processors if not given")
    add("--data-dir", metavar="DIR", help="folder with the files of mnist or fashion-mnist")
    add("--json", action="store_true", help="print one JSON object")
    evaluate.set_defaults(command=_evaluate)


def _evaluate(options: argparse.Namespace) -> None:
    from . import evaluate as _cli_evaluate

    _cli_evaluate.run(options)


def _add_sample(commands: Any) -> None:
    sample = commands.add_parser(
        "sample",
        help="draw samples from a trained machine",
        description="Draw visible states from a model file by Gibbs sampling.",
        formatter_class=_Help,
    )
    add = sample.add_argument
    add("model", metavar="MODEL", help="a file written by fastrbm train")
    add("--out", metavar="FILE", required=True, help=".npy (bits as uint8) or .png (their probabilities as grey)")
    add("--n", type=_whole(1), default=100, metavar="N", help="how many")
    add("--steps", type=_whole(1), default=1000, metavar="N", help="Gibbs steps for each")
    add("--seed", type=_whole(0), default=0, metavar="N", help="the same seed gives the same samples")
    add("--shape", type=_whole(1), nargs=2, metavar=("H", "W"), help="of one image; square if not given")
    sample.set_defaults(command=_sample)


def _add_demo(commands: Any) -> None:
    demo = commands.add_parser(
        "demo",
        help="train on images, score, time and draw",
        description="Train on the digits, and on Fashion-MNIST if its files are at hand; compare "
        "features with raw pixels and speed with scikit-learn; write pictures and models.",
        formatter_class=_Help,
    )
    demo.add_argument("--out", metavar="DIR", default="fastrbm-demo", help="folder for pictures and models")
    demo.add_argument("--quick", action="store_true", help="smaller: a few seconds instead of a minute")
    demo.add_argument("--threads", type=_whole(1), metavar="N", help="all processors if not given")
    demo.set_defaults(command=_demo)


def _check_target(path: str, endings: Sequence[str]) -> Path:
    """Find out before the work, not after it, that the result has nowhere to go."""
    target = Path(path)
    if target.suffix not in endings:
        raise ValueError(f"--out must end in {' or '.join(endings)}; got {path}")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"--out: the folder {target.parent} does not exist")
    return target


def _train(options: argparse.Namespace) -> None:
    from fastrbm import datasets

    target = _check_target(options.out, (".npz",))
    data = _cli_data.load(options.data, options.data_dir)
    rows = data.rows
    if options.binarize is not None:
        rows = datasets.binarize(rows, options.binarize, random_state=options.seed)
    machine = _machine(options)
    start = time.perf_counter()
    machine.fit(rows)
    seconds = time.perf_counter() - start
    machine.save(target)
    if not options.quiet:
        # As floats: a machine trained on grey bytes takes bytes for grey values, not for bits.
        some = datasets.binarize(rows[:: max(1, len(rows) // 1000)], random_state=0).astype("float32")
        score = machine.score_samples(some).mean()
        print(f"{data.name}: {rows.shape[0]} rows of {rows.shape[1]}, {options.components} hidden units")
        print(f"{options.epochs} epochs in {seconds:.2f} s")
        print(f"pseudo-likelihood {score:.2f} nats per row ({len(some)} training rows as bits)")
        print(f"wrote {target}")


def _machine(options: argparse.Namespace) -> Any:
    import numpy as np

    import fastrbm
    from fastrbm import callbacks

    bar = not options.quiet and importlib.util.find_spec("tqdm") is not None
    return fastrbm.BernoulliRBM(
        options.components,
        learning_rate=options.learning_rate,
        batch_size=options.batch_size,
        n_iter=options.epochs,
        verbose=int(not options.quiet and not bar),
        random_state=options.seed,
        algorithm=options.algorithm,
        n_gibbs_steps=options.gibbs_steps,
        n_chains=options.chains,
        optimizer=fastrbm.SGD(momentum=options.momentum) if options.momentum else "sgd",
        stochastic_input=options.stochastic_input,
        precision=options.precision,
        hidden_statistics=options.hidden_statistics,
        callbacks=(callbacks.ProgressBar(),) if bar else (),
        device=options.device,
        n_threads=options.threads,
        dtype=None if options.dtype is None else np.dtype(options.dtype),
    )


def _sample(options: argparse.Namespace) -> None:
    import numpy as np

    import fastrbm

    target = _check_target(options.out, (".npy", ".png"))
    machine = fastrbm.load(options.model)
    size = machine.components_.shape[1]
    shape = tuple(options.shape) if options.shape else (math.isqrt(size),) * 2
    if target.suffix == ".png" and math.prod(shape) != size:
        wrong = "does not fit" if options.shape else "is needed for"
        raise ValueError(f"--shape H W {wrong} a picture of {size} visible units")
    samples = machine.sample(options.n, n_steps=options.steps, random_state=options.seed)
    if target.suffix == ".npy":
        np.save(target, np.asarray(samples).astype(np.uint8))
    else:
        from fastrbm import plot

        grey = machine.reconstruct(samples.astype(np.float32))  # probabilities show more than bits
        plot.save_png(plot.plot_samples(grey, (shape[0], shape[1]), options.n), target)
    print(f"wrote {options.n} samples of {size} to {target}")


def _demo(options: argparse.Namespace) -> None:
    from fastrbm._cli import demo as _cli_demo

    _cli_demo.run(Path(options.out), quick=options.quick, n_threads=options.threads)


def _info(options: argparse.Namespace) -> None:
    import fastrbm

    given = {name: getattr(options, name.replace("-", "_")) for name in _SIZES}
    if not options.kernels:
        if any(value is not None for value in given.values()):
            raise ValueError(f"sizes ({', '.join('--' + name for name in _SIZES)}) need --kernels")
        fastrbm.show_versions()
        return
    from fastrbm._kernels.cpu.strategy import describe
    from fastrbm._kernels.strategies import STRATEGIES

    visible, hidden, batch, density = (
        default if given[name] is None else given[name] for name, (_, default, _) in _SIZES.items()
    )
    print(f"{visible} visible units, {hidden} hidden units, {density:g} of them active")
    for work, choice in describe(visible, hidden, batch, density):
        print(f"  {work:<45}  {choice}")
    print("strategies:")
    for name, meaning in STRATEGIES.items():
        print(f"  {name:<8} {meaning}")


def _bench(options: argparse.Namespace) -> int:
    # Beside src/ in a checkout, fastrbm.benchmarks where the package is installed.
    for name in ("fastrbm.benchmarks.run", "benchmarks.run"):
        try:
            suite = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if not name.startswith(str(error.name)):
                raise
        else:
            return int(suite.main(options.arguments))
    raise ImportError("the benchmark suite is not installed; run this from a checkout, or install the package")


if __name__ == "__main__":
    sys.exit(main())
