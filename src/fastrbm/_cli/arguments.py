"""What the parsers of all commands share."""

from __future__ import annotations

import argparse
import math
import sys
from typing import Any, NoReturn


class UsageError(Exception):
    """Options that cannot be used: status 2."""


class Help(argparse.ArgumentDefaultsHelpFormatter):
    """Shows defaults, except where there is nothing to show."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default is None or action.default is False:
            return action.help
        return super()._get_help_string(action)


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line after the usage."""

    def __init__(self, *args: Any, **options: Any) -> None:
        options.setdefault("allow_abbrev", False)
        super().__init__(*args, **options)

    def error(self, message: str) -> NoReturn:
        """Report wrong usage and exit with status 2."""
        self.exit(2, f"{_one_line(self.format_usage())}fastrbm: error: {message}\n")


def _one_line(usage: str) -> str:
    """Usage of a command with many options without them."""
    return usage if usage.count("\n") < 12 else usage.split(" [", 1)[0] + " ... (--help lists the options)\n"


def whole(least: int) -> Any:
    """Type of options that are whole numbers of at least this."""

    def convert(text: str) -> int:
        number = int(text)
        if number < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}, got {text}")
        return number

    convert.__name__ = "whole number"  # argparse names it when int() fails
    return convert


def positive(text: str) -> float:
    """Type of options that are positive finite numbers."""
    number = float(text)
    if not (number > 0 and math.isfinite(number)):
        raise argparse.ArgumentTypeError(f"must be positive, got {text}")
    return number


def share(text: str) -> float:
    """Type of options from 0 to 1."""
    number = float(text)
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"must be from 0 to 1, got {text}")
    return number


def below_one(text: str) -> float:
    """Type of options from 0 to below 1."""
    number = float(text)
    if not 0 <= number < 1:
        raise argparse.ArgumentTypeError(f"must be from 0 to below 1, got {text}")
    return number


positive.__name__ = share.__name__ = below_one.__name__ = "number"

BINARIZE = ("bernoulli", "threshold", "otsu")


def add_data(parser: argparse.ArgumentParser, subset: str) -> None:
    """Options that say what is read from DATA."""
    group = parser.add_argument_group("data", "what is read from DATA, and how")
    add = group.add_argument
    add("--subset", choices=("train", "test", "all"), default=subset, help="of mnist and fashion-mnist")
    add("--data-dir", metavar="DIR", help="folder with the files of mnist or fashion-mnist")
    add("--columns", metavar="LIST", help="columns to use: names or numbers from 0, ranges as 0:63, or all; a,b,5:9")
    add("--drop", metavar="LIST", help="columns to leave out, written like --columns")
    add("--label", metavar="COLUMN", help="column with labels: left out (transform writes it beside the features)")
    add("--header", action=argparse.BooleanOptionalAction, help="whether a text file begins with names of columns")
    add("--index", action=argparse.BooleanOptionalAction, help="whether the first column numbers or names the rows")
    add("--scale", type=positive, metavar="X", help="divide all values by X: 255 for grey values 0..255")
    add("--binarize", choices=BINARIZE, help="turn values in [0, 1] or images into bits")


def add_machine(parser: argparse.ArgumentParser) -> None:
    """Options of commands that use a model."""
    parser.add_argument("--seed", type=whole(0), default=0, metavar="N", help="the same seed gives the same numbers")
    parser.add_argument("--threads", type=whole(1), metavar="N", help="all processors if not given")


def say(text: str) -> None:
    """Print one line for the user beside the results: on stderr."""
    print(f"fastrbm: {text}", file=sys.stderr, flush=True)
