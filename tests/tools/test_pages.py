"""Examples are complete, and built pages are looked through for what a build does not warn of."""

import ast
import html
import importlib
import pkgutil
import re
import runpy
from pathlib import Path

import pytest

import fastrbm
from fastrbm._cli.main import COMMANDS

CHECKOUT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((CHECKOUT / "examples").rglob("*.py"))
CHECK = CHECKOUT / "docs" / "check_pages.py"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_say_what_they_show(path):
    text = path.read_text(encoding="utf-8")
    title, rule, empty, *what = ast.get_docstring(ast.parse(text)).splitlines()
    assert set(rule) == {"="} and len(rule) == len(title) and not empty
    assert " ".join(what).count(". ") >= 1  # two sentences at least
    assert "title=" in text or "set_title" in text  # pictures say what is seen
    assert text.rstrip().splitlines()[-1].startswith("# ") and "\n# **Take away:** " in text


@pytest.mark.skipif(not CHECK.exists(), reason="docs/ is only in the checkout")
@pytest.mark.parametrize(
    "body,fault",
    [
        ("<table><tr><td> </td></tr></table>", "empty cell"),
        ("<table><tr><td><ul><li>x</li></ul></td></tr></table>", "holds a list"),
        ("<table><tr><td><ol><li>x</li></ol></td></tr></table>", "holds a list"),
        (r"<p>\(a + b\)</p>", "raw TeX"),
        (r"<p>half: \frac{1}{2}</p>", "raw TeX"),
        ('<a href="absent.html">there</a>', "absent.html leads nowhere"),
        ('<a href="page.html#absent">there</a>', "page.html#absent leads nowhere"),
        ('<img src="absent.png">', "absent.png is not there"),
        ('<script src="https://cdn.example.org/x.js"></script>', "fetches https://cdn.example.org/x.js"),
        ('<link rel="stylesheet" href="//cdn.example.org/x.css">', "fetches //cdn.example.org/x.css"),
    ],
)
def test_faults_of_pages_are_found(body, fault, tmp_path):
    faults = runpy.run_path(str(CHECK))["faults"]
    page = tmp_path / "page.html"
    page.write_text(f"<html><body>{body}</body></html>")
    (found,) = faults(tmp_path)
    assert found.startswith("page.html: ") and fault in found


@pytest.mark.skipif(not CHECK.exists(), reason="docs/ is only in the checkout")
def test_good_pages_pass(tmp_path):
    faults = runpy.run_path(str(CHECK))["faults"]
    (tmp_path / "there.png").touch()
    (tmp_path / "page.html").write_text(
        '<table><tr><td><img src="there.png?v=1"></td><td>-</td></tr></table><pre>\\frac</pre>'
        '<p id="top"><a href="#top">up</a><a href="page.html#top">up</a></p>'
        '<a href="https://example.org">elsewhere</a><link rel="canonical" href="https://example.org">'
    )
    assert list(faults(tmp_path)) == []
    (tmp_path / "page.html").unlink()
    assert list(faults(tmp_path)) == [f"{tmp_path}: no pages"]


@pytest.mark.skipif(not CHECK.exists(), reason="docs/ is only in the checkout")
def test_every_public_name_has_a_page():
    listed = set(re.findall(r"(?m)^   ([A-Za-z_][\w.]*)$", (CHECK.parent / "api.rst").read_text(encoding="utf-8")))
    pages = {id(pkgutil.resolve_name(f"fastrbm.{name}")) for name in listed}
    names = (module.name for module in pkgutil.iter_modules(fastrbm.__path__) if not module.name.startswith("_"))
    modules = [importlib.import_module(f"fastrbm.{name}") for name in names if name != "benchmarks"]
    public = [getattr(fastrbm, name) for name in fastrbm.__all__ if name != "__version__"]
    public += [getattr(module, name) for module in modules for name in getattr(module, "__all__", ())]
    missing = {
        f"{value.__module__}.{value.__qualname__}" for value in public if callable(value) and id(value) not in pages
    }
    assert not missing


@pytest.mark.skipif(not CHECK.exists(), reason="docs/ is only in the checkout")
def test_names_become_links_and_formulas_mathml(tmp_path):
    pytest.importorskip("latex2mathml")
    build = pytest.importorskip("sphinx.cmd.build")
    (tmp_path / "conf.py").write_text(
        f"import sys\nsys.path.insert(0, {str(CHECK.parent / '_ext')!r})\n"
        "extensions = ['mathml', 'name_links']\nhtml_math_renderer = 'mathml'\n"
    )
    classes = ".. py:class:: fastrbm.compat.Machine\n\n.. py:class:: fastrbm.Machine\n\n   .. py:method:: fit\n\n"
    (tmp_path / "names.rst").write_text(
        f"Names\n=====\n\n{classes}.. py:function:: fastrbm.load\n\n``load()`` is here.\n"
    )
    (tmp_path / "index.rst").write_text(
        "Page\n====\n\n``Machine(3)``, ``fastrbm.load(path)``, ``compat.Machine``, ``Machine.fit``, ``fit``,\n"
        "``Machine + 1``, :math:`x^2`\n\n.. math:: \\frac{a}{b}\n\n.. toctree::\n\n   names\n"
    )
    assert build.main(["-q", "-W", "-b", "html", str(tmp_path), str(tmp_path / "out")]) == 0
    page = (tmp_path / "out" / "index.html").read_text()
    text = page.split("<math")[0]
    linked = re.findall(r'href="names.html#([\w.]+)"[^>]*><code', text)
    assert linked == ["fastrbm.Machine", "fastrbm.load", "fastrbm.compat.Machine", "fastrbm.Machine.fit"]
    assert page.count("<math") == 2 and "<mfrac>" in page and "frac{" not in page
    (own,) = re.findall(r"<p>(.*) is here", (tmp_path / "out" / "names.html").read_text())
    assert "<code" in own and "<a" not in own  # no link to the page itself


@pytest.mark.skipif(not CHECK.exists(), reason="docs/ is only in the checkout")
def test_options_of_the_command_are_a_page(tmp_path):
    build = pytest.importorskip("sphinx.cmd.build")
    extensions = str(CHECK.parent / "_ext")
    (tmp_path / "conf.py").write_text(
        f"import sys\nsys.path.insert(0, {extensions!r})\nextensions = ['command_options']\n"
    )
    (tmp_path / "index.rst").write_text("Page\n====\n\n.. command-options::\n")
    assert build.main(["-q", "-W", "-b", "html", str(tmp_path), str(tmp_path / "out")]) == 0
    page = (tmp_path / "out" / "index.html").read_text()
    text = html.unescape(re.sub("<[^>]*>", "", page))
    assert re.findall(r'<section id="fastrbm-([a-z]+)"', page) == list(COMMANDS)
    for words in (
        "--learning-rate X",
        "--gibbs-steps, --n-gibbs-steps N",
        "--centered, --no-centered",
        "--resume [MODEL]",
    ):
        assert words in text
    assert "scored in history_," in text and '"10 min" (the default)' in text  # no markup, no typographer's quotes
    assert "\u2013" not in text and "%(" not in text


@pytest.mark.skipif(not CHECK.exists(), reason="docs/ is only in the checkout")
def test_entry_to_cite_is_that_of_the_file():
    fields = dict(re.findall(r'(?m)^(\w+): "?(.*?)"?$', (CHECKOUT / "CITATION.cff").read_text(encoding="utf-8")))
    page = (CHECK.parent / "citation.rst").read_text(encoding="utf-8")
    for name in ("title", "version", "license"):
        assert re.search(rf"(?m)^ +{name} += \{{{re.escape(fields[name])}\}}", page)
    assert fields["version"] == fastrbm.__version__


@pytest.mark.skipif(not CHECK.exists(), reason="docs/ is only in the checkout")
def test_files_that_the_readme_points_at_are_there():
    text = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#]+)\)", text) + re.findall(r"`((?:docs|examples)/[\w./]+)`", text)
    targets += re.findall(r"python ((?:docs|examples)/[\w./]+)", text)
    assert not [target for target in targets if "://" not in target and not (CHECKOUT / target).exists()]
    pictures = [target for target in targets if target.endswith(".png")]
    assert pictures and all((CHECKOUT / picture).stat().st_size < 60_000 for picture in pictures)
