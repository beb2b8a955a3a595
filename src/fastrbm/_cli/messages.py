"""What Python says, in terms of the command line; bars of progress."""

from __future__ import annotations

import importlib.util
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from . import spelling
from .arguments import say

_QUIET_UNTIL = 1.0  # seconds; work that is done by then shows no bar
#: Python's remedies and the command's
_WORDS = (
    (re.compile(r" ?\(fastrbm\.datasets\.binarize\)"), " (--binarize threshold)"),
    (re.compile(r"fastrbm\.datasets\.binarize"), "--binarize threshold"),
    (re.compile(r",? or take the pseudo-likelihood, score_samples of a single machine"), ""),
    (re.compile(r"^(path|X): "), ""),
    (re.compile(r"^X (?=must|has|should|contains)"), "DATA "),
    (re.compile(r"\bInput X\b"), "DATA"),
    (re.compile(r"`(\w+)`"), r"\1"),
    (re.compile(r"\(MinMaxScaler\(clip=True\), [^)]*\)"), "(--scale)"),
    (re.compile(r"\bby path= or\b"), "by --data-dir or"),
    (re.compile(r"\bnumpy\.(?=float)"), ""),
)
_PAIR = re.compile(r"\b([a-z]\w*)=('[^']*'|\"[^\"]*\"|[\w.+-]*\([^()]*\)|[\w.+-]*\w)")
_SUBJECT = re.compile(r"(?<![-\w.])([a-z]\w*)(?= must |: )")
_NAME = re.compile(r"(?<![-\w.=])'?([a-z]\w*_\w+)\b'?(?!\w*[(.=])")


def in_cli_terms(text: str) -> str:
    """One line without names of Python: options are spelled as the command has them."""
    text = " ".join(str(text).split())
    for pattern, words in _WORDS:
        text = pattern.sub(words, text)

    def pair(match: re.Match[str]) -> str:
        name, value = match[1], match[2].strip("'\"")
        if not spelling.is_option(name):
            return match[0]
        flag = spelling.flag_of(name)
        if value in ("True", "False"):
            return flag if value == "True" else f"--no-{flag[2:]}"
        return f"{flag} {value}"

    text = _PAIR.sub(pair, text)
    for names in (_SUBJECT, _NAME):
        text = names.sub(lambda m: spelling.flag_of(m[1]) if spelling.is_option(m[1]) else m[0], text)
    return text


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Within the block every warning is one line on stderr, the same one once."""
    shown: set[str] = set()

    def show(message: Any, category: type[Warning], *_: Any, **__: Any) -> None:
        text = in_cli_terms(str(message))
        if text not in shown:
            shown.add(text)
            say(f"warning: {text}")

    with warnings.catch_warnings():
        for ignored in (DeprecationWarning, PendingDeprecationWarning, FutureWarning, ImportWarning, ResourceWarning):
            warnings.simplefilter("ignore", ignored)
        # everything that is for users is shown, whatever was shown before in this process
        for wanted in (UserWarning, RuntimeWarning):
            warnings.simplefilter("always", wanted)
        warnings.showwarning = show
        yield


def has_bars(quiet: bool) -> bool:
    """Whether progress is shown: on a terminal, where tqdm is installed."""
    return not quiet and sys.stderr.isatty() and importlib.util.find_spec("tqdm") is not None


def bar_options(description: str) -> dict[str, Any]:
    """Options of tqdm: a bar that comes where work takes more than a second, and goes with it."""
    return {"desc": description, "leave": False, "delay": _QUIET_UNTIL, "file": sys.stderr}


@contextmanager
def progress(description: str, quiet: bool) -> Iterator[Callable[[int, int], None] | None]:
    """Make a function of (done, total) that moves a bar; None where none is shown."""
    if not has_bars(quiet):
        yield None
        return
    from tqdm import tqdm

    with tqdm(
        **bar_options(description), miniters=1, bar_format="{desc} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}"
    ) as bar:

        def move(done: int, total: int) -> None:
            if bar.total != total or done < bar.n:  # the next stage
                bar.total, bar.n, bar.last_print_n = total, 0, 0
            bar.update(done - bar.n)

        yield move
