"""Examples are complete, and built pages are looked through for what a build does not warn of."""

import ast
import importlib
import pkgutil
import re
import runpy
from pathlib import Path

import pytest

import fastrbm

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
