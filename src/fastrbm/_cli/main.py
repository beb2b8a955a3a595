"""The command ``fastrbm``: one module for each command.

Heavy imports wait until a command needs them, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

from . import messages
from .arguments import Help, Parser, UsageError, say

__all__ = ["COMMANDS", "main", "make_parser"]

#: commands and the modules of their options and work
COMMANDS = {
    "train": "fit a machine and write it to a file",
    "tune": "search the options of an estimator and write the best model to a file",
    "evaluate": "score a trained machine: likelihood, pseudo-likelihood, reconstruction",
    "sample": "draw samples from a trained machine",
    "transform": "write the features of data: the means of the hidden units",
    "info": "print what a model file holds; or versions, instruction set and threads",
    "demo": "train on images, score, time and draw",
    "reproduce": "run published experiments again and report both figures",
    "bench": "measure against scikit-learn and PyTorch",
}
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
    parser = make_parser(own)
    options = parser.parse_args(own)
    options.arguments = arguments[len(own) :]
    try:
        with messages.plain_warnings():
            status = options.module.command(options)
        sys.stdout.flush()  # so that a closed pipe is noticed here
    except KeyboardInterrupt:
        say("interrupted")
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes once more
        return 1
    except UsageError as error:
        options.parser.error(str(error))
    except _EXPECTED as error:
        if options.traceback:
            raise
        say(f"error: {messages.told(error) or _named(error)}")
        return 1
    return status or 0


def _named(error: BaseException) -> str:
    return "out of memory" if isinstance(error, MemoryError) else type(error).__name__


def make_parser(arguments: Sequence[str] = tuple(COMMANDS)) -> argparse.ArgumentParser:
    """Make the parser; the options of commands that are not among the arguments are left out."""
    parser = Parser(prog="fastrbm", description="Fast restricted Boltzmann machines.")
    parser.add_argument("--version", action=_Version)
    parser.add_argument("--traceback", action="store_true", help="show where an error came from")
    commands: Any = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, meaning in COMMANDS.items():
        if name not in arguments:
            commands.add_parser(name, help=meaning)
            continue
        module = importlib.import_module(f".{name}", __package__)
        own = commands.add_parser(name, help=meaning, description=module.DESCRIPTION, formatter_class=Help)
        module.add_arguments(own)
        own.set_defaults(module=module, parser=own)
    return parser


class _Version(argparse.Action):
    """Prints the version, importing the package only then."""

    def __init__(self, option_strings: Sequence[str], dest: str, **_: Any) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, help="print the version and exit")

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        """Print and leave."""
        import fastrbm

        print(f"fastrbm {fastrbm.__version__}")
        parser.exit()


if __name__ == "__main__":
    sys.exit(main())
