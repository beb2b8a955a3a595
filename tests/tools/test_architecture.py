"""What the tree promises: no private calls across modules, short signatures, flat estimators, few layers."""

import ast
import inspect
import re
import tomllib
from pathlib import Path

import pytest

import fastrbm
from fastrbm import compat

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "fastrbm"
FILES = sorted(SOURCE.rglob("*.py"))
TREES = {path: ast.parse(path.read_text()) for path in FILES}
#: parameters of a function, a kernel or a C function; constructors of estimators have as many as there are options
MOST_PARAMETERS = 20
MOST_LAYERS = 10
PRIVATE_AT_TOP = {"_checks.py", "_shown.py", "_versions.py"}

pytestmark = pytest.mark.skipif(not SOURCE.is_dir(), reason="the sources are not beside the tests")


def _is_private(name):
    return name.startswith("_") and not name.startswith("__")


def _names_of(tree):
    """All names that a module gives to something, attributes of its objects included."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            names.add(node.attr)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
    return names


NAMES = {path: _names_of(tree) for path, tree in TREES.items()}
OURS = set.union(*NAMES.values())
MODULES = {path.stem if path.stem != "__init__" else path.parent.name for path in FILES} | {"_cpu"}
NAMED_TUPLE = {"_replace", "_asdict", "_fields", "_make"}  # public names that begin with an underscore


def _is_own(value):
    """Whether the private names of this expression are the class's own: self, cls, super(), type(self)."""
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name):
        return value.func.id == "super" or (value.func.id == "type" and all(map(_is_own, value.args)))
    return isinstance(value, ast.Name) and value.id in ("self", "cls")


def private_uses(path):
    """Uses of private names of other modules of the package, as text."""
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Attribute) and _is_private(node.attr) and node.attr not in NAMED_TUPLE:
            foreign = node.attr in OURS and node.attr not in NAMES[path]
            if foreign and not _is_own(node.value):
                yield f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)}"
        elif isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").startswith("fastrbm")):
            for alias in node.names:
                if _is_private(alias.name) and alias.name not in MODULES:
                    yield f"{path.relative_to(ROOT)}:{node.lineno}: from {node.module} import {alias.name}"


def test_no_module_uses_a_private_name_of_another():
    assert not [use for path in FILES for use in private_uses(path)]


def _parameters(node):
    a = node.args
    return len(a.posonlyargs) + len(a.args) + len(a.kwonlyargs) + bool(a.vararg) + bool(a.kwarg)


def test_signatures_are_short():
    long = []
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.Lambda)) and _parameters(node) > MOST_PARAMETERS:
                long.append(f"{path.relative_to(ROOT)}:{node.lineno}: {getattr(node, 'name', 'lambda')}")
    # the constructors that have all options of an estimator
    files = [f"src/fastrbm/{name}.py" for name in ("_estimator/base", "classifiers/discriminative")]
    assert [(entry.split(":")[0], entry.split(": ")[1]) for entry in sorted(long)] == [
        (f, "__init__") for f in files
    ], long


def test_signatures_of_c_are_short():
    heads = re.compile(r"^[A-Za-z_][\w \*]*?\b(\w+)\(([^(){};]*)\)\s*\{", re.MULTILINE)
    found = {}
    for path in (SOURCE / "_kernels" / "cpu").rglob("*.[ch]"):
        if path.name == "_cpu.c":  # made by Cython
            continue
        for name, parameters in heads.findall(path.read_text()):
            found[f"{path.name}: {name}"] = parameters.count(",") + 1
    assert len(found) > 100
    assert not {name: n for name, n in found.items() if n > MOST_PARAMETERS}


def _depth(cls):
    """Length of the longest chain from a class to a base of this package."""
    return max((1 + _depth(base) for base in cls.__bases__ if base.__module__.startswith("fastrbm")), default=0)


@pytest.mark.parametrize("name", ["BernoulliRBM", "GaussianRBM", "IsingRBM", "PottsRBM", "RBM", "SoftmaxRBM"])
def test_estimators_stand_on_siblings_over_one_base(name):
    assert _depth(getattr(fastrbm, name)) <= 2


def test_compatible_estimator_is_one_step_from_the_fast_one():
    assert compat.BernoulliRBM.__bases__ == (fastrbm.BernoulliRBM,)


def test_hooks_of_estimators_are_those_that_the_base_lists():
    from fastrbm._estimator.base import BaseRBM

    listed = set(re.findall(r"^``(_\w+)\(", inspect.getdoc(BaseRBM), re.MULTILINE))
    replaced = set()
    for name in ("BernoulliRBM", "GaussianRBM", "IsingRBM", "PottsRBM", "RBM", "SoftmaxRBM"):
        own = vars(getattr(fastrbm, name))
        replaced |= {key for key, value in own.items() if _is_private(key) and inspect.isfunction(value)}
    inherited = {key for key in replaced if any(key in vars(c) for c in fastrbm.BernoulliRBM.__mro__[1:])}
    assert inherited <= listed, f"hooks that are not in the docstring of BaseRBM: {sorted(inherited - listed)}"


def test_layers_of_imports_are_few():
    with open(ROOT / "pyproject.toml", "rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    (layers,) = (c["layers"] for c in contracts if c["type"] == "layers")
    assert len(layers) <= MOST_LAYERS
    named = {name for layer in layers for name in re.split("[|:]", layer.replace(" ", ""))}
    there = {f"fastrbm.{p.stem}" for p in SOURCE.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    assert there - {"fastrbm.__init__", "fastrbm.__main__"} == named


def test_private_files_at_the_top_are_few():
    assert {path.name for path in SOURCE.glob("_*.py")} - {"__init__.py", "__main__.py"} <= PRIVATE_AT_TOP


@pytest.mark.parametrize("folder", ["_data", "_fit", "_estimator"])
def test_rows_have_a_type(folder):
    untyped = []
    for path in (SOURCE / folder).rglob("*.py"):
        for node in ast.walk(TREES[path]):
            if isinstance(node, ast.arg) and node.arg == "data" and node.annotation is not None:
                untyped += [f"{path.name}:{node.lineno}"] if ast.unparse(node.annotation) == "Any" else []
    assert not untyped


def test_files_are_one_idea_each():
    long = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in FILES}
    assert not {path: n for path, n in long.items() if n > 450}


def test_the_version_is_that_of_the_project_everywhere():
    with open(ROOT / "pyproject.toml", "rb") as file:
        version = tomllib.load(file)["project"]["version"]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert fastrbm.__version__ == version
