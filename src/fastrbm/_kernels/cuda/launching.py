"""How kernels are launched: shapes of blocks for a problem, and grids that are resident as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ..datatypes import LARGEST
from ..draws import Draw
from .availability import device_name
from .devices import current, kept_per_device
from .kernels.arguments import Address, Draws, Rows, signature_of
from .kernels.elementwise import not_usable_kernel
from .kernels.target import SIMULATED, cuda, launch
from .kernels.tiles import LARGE, SMALL, WIDTH, Tile
from .memory import DeviceBits, download, flat, zeros
from .tuning import tuned

THREADS = 4 if SIMULATED else 256


@kept_per_device(64)
def n_processors() -> int:
    """Multiprocessors of the current device."""
    return 1 if SIMULATED else int(cuda.get_current_device().MULTIPROCESSOR_COUNT)


@kept_per_device(64)
def _large_from() -> float:
    """Large tiles for each multiprocessor of the current device from which they are the better ones."""
    return 1.0 if SIMULATED else tuned(device_name()).large_from


def choose_tile(n_rows: int, n_columns: int) -> Tile:
    """Large tiles read weights less often; small ones keep all processors busy where there are few."""
    large = -(-n_rows // LARGE.rows) * -(-n_columns // WIDTH)
    return LARGE if large >= _large_from() * n_processors() else SMALL


def launch_tiles(kernel: Any, tile: Tile, n_rows: int, n_columns: int, *arguments: Any) -> None:
    """Launch a kernel whose blocks walk over tiles."""
    blocks = 1 if SIMULATED else -(-n_rows // tile.rows) * -(-n_columns // WIDTH)
    launch(kernel, max(1, blocks), tile.threads, *arguments)


def most_tiles(tile: Tile, n_rows: int, n_hidden: int, n_visible: int) -> int:
    """Tiles of the phase that has most."""
    layers = -(-n_rows // tile.rows) * -(-max(n_hidden, n_visible) // WIDTH)
    return max(layers, -(-n_visible // tile.rows) * -(-n_hidden // WIDTH))


def launch_all(kernel: Any, n_items: int, *arguments: Any) -> None:
    """Launch a kernel with a thread for each item."""
    launch(kernel, max(1, -(-n_items // THREADS)), THREADS, *arguments)


def launch_strided(kernel: Any, n_items: int, *arguments: Any) -> None:
    """Launch a kernel whose threads go over items in strides of the grid."""
    blocks = 1 if SIMULATED else max(1, min(-(-n_items // THREADS), 16 * n_processors()))
    launch(kernel, blocks, THREADS, *arguments)


class Kernels:
    """Kernels of both tiles, made when first used.

    Parameters
    ----------
    make : callable
        Makes a kernel for a `Tile`.
    """

    def __init__(self, make: Callable[[Tile], Any]):
        self.make = make
        self._made: dict[Tile, Any] = {}
        self._blocks: dict[tuple[int, Tile], int] = {}

    def __getitem__(self, tile: Tile) -> Any:
        if tile not in self._made:
            self._made[tile] = self.make(tile)
        return self._made[tile]

    def launch_cooperative(self, tile: Tile, tiles: int, *arguments: Any, stream: Any = 0) -> None:
        """Launch with all blocks resident, at most one for each of the most tiles that a phase has."""
        kernel = self[tile]
        here = current(), tile
        if here not in self._blocks:
            if SIMULATED:
                self._blocks[here] = 1  # it has no barrier of a grid
            else:
                compiled = kernel.compile(signature_of(kernel).args)
                self._blocks[here] = int(compiled.max_cooperative_grid_blocks(tile.threads))
        # other types than those of the signature would be another kernel, of which fewer blocks may fit
        given = map(_plain, arguments)
        launch(kernel, max(1, min(self._blocks[here], tiles)), tile.threads, *given, stream=stream)


def _plain(argument: Any) -> Any:
    """Turn integers of NumPy into those of Python, of tuples as well."""
    if isinstance(argument, tuple):
        return type(argument)(*map(_plain, argument))
    return int(argument) if isinstance(argument, np.integer) else argument


@kept_per_device(256)
def nothing(dtype: Any, shape: Any = 1) -> Any:
    """Array that stands in a tuple for what a call has not; of int64 and length 0: rows as they come."""
    return zeros(shape, dtype)


def rows_of(bits: DeviceBits) -> Rows:
    """All rows of a layer of bits."""
    return Rows(flat(bits.words), nothing(np.int64, 0), 0, len(bits), int(bits.words.shape[1]))


def address(draw: Draw) -> Address:
    """Turn the address of a layer's draws into what kernels take."""
    high = int(draw.stream) << 24 | (draw.step >> 32 & 0xFFFFFF)
    return Address(draw.seed & 0xFFFFFFFF, draw.seed >> 32, draw.step & 0xFFFFFFFF, high, draw.first_chain)


def draws_from(draw: Draw) -> Draws:
    """Addresses of a step and of those after it, as kernels take them."""
    return Draws(draw.seed & 0xFFFFFFFF, draw.seed >> 32, draw.step, draw.first_chain)


def are_finite(arrays: Iterable[Any]) -> bool:
    """Whether all values of device arrays are, and small enough to be added up (`LARGEST`); reads one flag."""
    flag = zeros(1, np.int32)
    for x in arrays:
        if x.size:
            most = x.dtype.type(LARGEST[x.dtype.itemsize])
            launch_strided(not_usable_kernel, x.size, flat(x), most, flag)
    return not download(flag)[0]
