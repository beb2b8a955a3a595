"""Every block of code in the README and in the pages runs as it stands, or is checked and says why it does not run.

A page is one script: its blocks run in their order, in a folder of their own, with the names of `names` and what the
page itself defines, also in blocks that only this test sees (``.. invisible-code-block: python``). Commands of blocks
of ``sh`` are parsed, and those of `RUN` run, on the files of `fill`. A comment before a block,
``.. skip: next if(True, reason="needs a GPU")``, says why it does not run; it is compiled or parsed all the same.
"""

import re
import shlex
import textwrap
import warnings
from importlib.util import find_spec
from pathlib import Path
from unittest import SkipTest

import numpy as np
import pytest
from sklearn.datasets import load_digits

import fastrbm
from fastrbm import datasets
from fastrbm._cli.main import COMMANDS, main, make_parser

pytest.importorskip("sybil")
from sybil import Document
from sybil.parsers import markdown, rest

CHECKOUT = Path(__file__).resolve().parents[2]
PAGES = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").glob("*.rst"))]
#: commands that run; the others take minutes and are parsed
RUN = ("train", "evaluate", "sample", "transform", "info")
#: other languages of blocks, which nothing runs
SHOWN = ("text", "yaml", "bibtex")


def commands(block):
    """Arguments of each line that calls ``fastrbm``, whatever launches it."""
    for line in block.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words[:3] == ["python", "-m", "fastrbm"]:
            yield words[3:]
        elif "fastrbm" in words and words[0] != "pip":
            yield words[words.index("fastrbm") + 1 :]


def parse(block):
    """Let the parsers of the commands read a block."""
    for words in commands(block):
        own = words[:1] if words[:1] == ["bench"] else words
        options = make_parser(own).parse_args(own)
        assert options.module.__name__.endswith(f".{words[0]}")
        if words[0] == "bench":
            from fastrbm.benchmarks.run import parser

            parser().parse_args(words[1:])


def run(example):
    parse(example.parsed)
    for words in commands(example.parsed):
        if words[0] in RUN:
            assert main(words) == 0, f"{example.path}, line {example.line}: {shlex.join(words)}"


PARSERS = {
    ".md": [markdown.PythonCodeBlockParser(), markdown.CodeBlockParser("sh", run), markdown.SkipParser()],
    ".rst": [
        rest.DocTestParser(),
        rest.PythonCodeBlockParser(),
        rest.CodeBlockParser("sh", run),
        rest.SkipParser(),
    ],
}


def read(path):
    return Document.parse(str(path), *PARSERS[path.suffix])


def names():
    """What pages take for given: rows of bits, their labels, and a machine that was fitted to them."""
    bunch = load_digits()
    X = (bunch.data[:100] > 7).astype(np.uint8)
    rbm = fastrbm.BernoulliRBM(16, n_iter=50, visible_bias="data", random_state=0).fit(X)
    return {"find_spec": find_spec, "np": np, "X": X, "y": bunch.target[:100], "rbm": rbm}


def fill(folder, monkeypatch):
    """Files of the names in the pages, and digits for the images of the named sets, which may be absent here."""
    given = names()
    for name in ("rows.npy", "big.npy"):
        np.save(folder / name, given["X"])
    np.savetxt(folder / "rows.csv", given["X"], fmt="%d", delimiter=",")
    stand_in = datasets.Dataset(given["X"] * np.uint8(255), given["y"].astype(np.int64), (8, 8), "fashion-mnist")
    monkeypatch.setattr(datasets, "load_fashion_mnist", lambda *_, **__: stand_in)


def evaluate(page, namespace):
    """Run the examples of a page, and return the reasons of those that do not run by their lines."""
    document = read(page)
    document.namespace.update(namespace)
    reasons = {}
    for example in document.examples():
        try:
            example.evaluate()
        except SkipTest as reason:
            reasons[example.line] = str(reason)
            if example.region.evaluator is run:
                parse(example.parsed)
            elif isinstance(example.parsed, str):
                compile(example.parsed, str(page), "exec")
    return reasons


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_blocks_run(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    fill(tmp_path, monkeypatch)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reasons = evaluate(page, names())
    if reasons:
        with capsys.disabled():
            print("".join(f"\n{page.name}, line {line}: not run, {reason}" for line, reason in reasons.items()))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_block_escapes(page):
    """Each has a language, and each of Python or sh is found by the parsers."""
    text = page.read_text(encoding="utf-8")
    if page.suffix == ".md":
        languages = re.findall(r"(?m)^```(\w*)$", text)[::2]
    else:
        languages = re.findall(r"(?m)^ *\.\. (?:invisible-)?code-block::? ?(\w*)$", text)
        bare = [line for line in re.findall(r"(?m)^ *(?!\.\. ).*::$", text)]
        assert not bare, f"blocks without a language: {bare}"
    assert set(languages) <= {"python", "sh", *SHOWN}
    found = [example for example in read(page).examples() if isinstance(example.parsed, str)]
    assert len(found) == sum(language in ("python", "sh") for language in languages)


RST = """
.. code-block:: LANGUAGE

    BLOCK
"""


@pytest.mark.parametrize(
    "language,block,error",
    [
        ("python", "absent(X)", NameError),
        ("python", "rbm.transform(X[:, :3])", ValueError),
        ("sh", "fastrbm train rows.npy --out model.npz --absent 3", SystemExit),
        ("sh", "mpirun -n 2 fastrbm absent", SystemExit),
        ("sh", "fastrbm bench --absent", SystemExit),
        ("sh", "fastrbm tune rows.npy --trials none --out model.npz", SystemExit),
        ("sh", "fastrbm train absent.npy --out model.npz", AssertionError),
    ],
)
@pytest.mark.parametrize("suffix", [".md", ".rst"])
def test_broken_blocks_are_found(suffix, language, block, error, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fill(tmp_path, monkeypatch)
    page = tmp_path / f"page{suffix}"
    form = RST if suffix == ".rst" else "```LANGUAGE\nBLOCK\n```\n"
    page.write_text("Page\n====\n" + form.replace("LANGUAGE", language).replace("BLOCK", block))
    with pytest.raises(error):
        evaluate(page, names())


def test_blocks_that_do_not_run_are_read(tmp_path):
    page = tmp_path / "page.rst"
    skip = '\n.. skip: next if(True, reason="needs a GPU")\n'
    page.write_text(f"Page\n====\n{skip}" + RST.replace("LANGUAGE", "python").replace("BLOCK", "absent(3)"))
    assert evaluate(page, {}) == {6: "needs a GPU"}
    page.write_text(page.read_text().replace("absent(3)", "absent(3"))
    with pytest.raises(SyntaxError):
        evaluate(page, {})
    page.write_text(page.read_text().replace("python", "sh").replace("absent(3", "fastrbm train --absent"))
    with pytest.raises(SystemExit):
        evaluate(page, {})
    assert list(commands(textwrap.dedent("pip install fastrbm\nfastrbm \\\n  info # this"))) == [["info"]]


@pytest.mark.skipif(len(PAGES) < 2, reason="docs/ is only in the checkout")
def test_every_command_is_in_the_pages():
    blocks = [example.parsed for page in PAGES for example in read(page).examples() if example.region.evaluator is run]
    assert {words[0] for block in blocks for words in commands(block)} == set(COMMANDS)
