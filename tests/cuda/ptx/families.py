"""Families of kernels on the emulated device: each compared with the CPU, whatever the device is like.

The families are those that `benchmarks/gpu_exercise.py` runs on real devices.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from .compiled import EMULATION
from .driver import INSTALLED

ROOT = Path(__file__).resolve().parents[3]
if str(ROOT) not in sys.path:  # benchmarks are in the checkout alone
    sys.path.insert(0, str(ROOT))

#: with two shapes of blocks
TILED = ("layers", "chains", "training", "other_units", "short_weights", "grey_rows", "gradients", "annealing", "lean")
OTHERS = ("dense", "units", "composed", "streaming", "scores", "partition", "packing")


def finish() -> None:
    """Do all work that waits in streams."""
    INSTALLED[-1].streams.wait()


@contextmanager
def device(**settings: Any) -> Iterator[None]:
    """Within the block the device has other settings; what the package knows of it is forgotten before and after."""
    from fastrbm._kernels.cuda import launching

    def forget() -> None:
        launching.n_processors.cache_clear()
        for held in gc.get_objects():
            if isinstance(held, launching.Kernels):
                held._blocks.clear()

    finish()
    with EMULATION.set(**settings):
        forget()
        try:
            yield
        finally:
            finish()
            forget()


@contextmanager
def few_blocks() -> Iterator[None]:
    """Within the block kernels that walk over tiles do so with one block for several of them."""
    from fastrbm._kernels.cuda import launching

    def launch_tiles(kernel: Any, tile: Any, n_rows: int, n_columns: int, *arguments: Any) -> None:
        launching.launch(kernel, 2, tile.threads, *arguments)

    package, before = "fastrbm._kernels.cuda.", launching.launch_tiles
    modules: list[Any] = [
        x for name, x in sys.modules.items() if name.startswith(package) and hasattr(x, "launch_tiles")
    ]
    for module in modules:
        module.launch_tiles = launch_tiles
    try:
        yield
    finally:
        for module in modules:
            module.launch_tiles = before


def wrong(family: str, tile: str = "") -> list[str]:
    """Run a family with blocks of a shape ("small", "large"), or of the one the size asks for; say what is wrong.

    Values that differ come first, then problems that the device saw.
    """
    from benchmarks import gpu_exercise

    from fastrbm._kernels.cuda.kernels import tiles

    size = gpu_exercise.Size(rows=70, visible=135, hidden=66, summed=9)
    EMULATION.clear()
    said = []
    try:
        with gpu_exercise.using_tile(getattr(tiles, tile.upper())) if tile else nullcontext():
            said += [str(check) for check in getattr(gpu_exercise.Exercise(size), family)() if not check.ok]
        finish()
    except (RuntimeError, ValueError) as error:
        said.append(f"{type(error).__name__}: {error}")
    return said + [f"{kernel}: {text} ({n} times)" for (kernel, text), n in EMULATION.harmful().items()]
