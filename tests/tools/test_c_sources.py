"""The C sources of the CPU kernels: each header can be used alone."""

import ast
import platform
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "src" / "fastrbm" / "_kernels" / "cpu" / "src"
if not SOURCES.exists():
    pytest.skip("the C sources are only in the checkout", allow_module_level=True)
HEADERS = sorted(SOURCES.rglob("*.h"))


def of_setup(name):
    """Value of a constant of setup.py, which cannot be imported."""
    for node in ast.parse((ROOT / "setup.py").read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return ast.literal_eval(node.value)
    raise LookupError(name)


TARGETS = of_setup("TARGETS")
HERE = {"x86_64": "x86", "AMD64": "x86", "aarch64": "arm64", "arm64": "arm64"}.get(platform.machine(), "")


def compiler():
    named = (sysconfig.get_config_var("CC") or "cc").split()[0]
    return shutil.which(named) or shutil.which("cc")


def knows(flags):
    """Whether the compiler takes the flags of a target; setup.py leaves out "amx" where it does not."""
    command = [compiler(), "-fsyntax-only", *flags, "-xc", "-"]
    return subprocess.run(command, input="", capture_output=True, text=True, check=False).returncode == 0


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("header", HEADERS, ids=lambda path: path.name)
def test_a_header_includes_what_it_needs(header, target, tmp_path):
    if compiler() is None:
        pytest.skip("there is no C compiler here")
    architecture, flags, macros = TARGETS[target]
    if architecture not in ("any", HERE):
        pytest.skip(f"{target} is an instruction set of {architecture}")
    if not knows(flags):
        pytest.skip(f"the C compiler here does not know the flags of {target}")
    source = tmp_path / "alone.c"
    source.write_text(f'#include "{header}"\n')
    done = subprocess.run(
        [
            compiler(), "-fsyntax-only", "-std=c11", "-Wall", "-Werror", "-Wno-unused-function", "-Wno-unused-variable",
            "-Wno-unused-const-variable", "-Wno-psabi", *flags, *(f"-D{name}" for name, _ in macros),
            f"-I{SOURCES / 'include'}", str(source),
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
