"""Means and draws of layers other than Bernoulli ones, from their natural parameters on the device."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...units import OneHot, Unit
from ..draws import Draw
from .devices import kept_per_device
from .kernels.classes import CLASSES
from .kernels.normal import COEFFICIENTS
from .kernels.units import DRAWS, counts_kernel, rectified_kernel, spin_means_kernel
from .launching import address, launch_strided
from .memory import upload


@kept_per_device(16)
def normal_coefficients() -> Any:
    """Those of normal draws, on the current device."""
    return upload(COEFFICIENTS.ravel())


def means_in_place(unit: Unit, theta: Any) -> bool:
    """Put means in place of natural parameters, a dense device array; False if there is no kernel for the unit type."""
    if unit.name == "ising":
        launch_strided(spin_means_kernel, theta.size, theta)
    elif isinstance(unit, OneHot):
        _classes(unit, theta, None)
    elif unit.name in ("relu", "binomial"):
        _weighted(unit, theta, None)
    elif unit.name != "gaussian":
        return False
    return True


def draws_in_place(unit: Unit, theta: Any, draw: Draw) -> bool:
    """Put drawn values in place of natural parameters; False if there is no kernel for the unit type."""
    if unit.name in ("ising", "gaussian"):
        kernel = DRAWS[np.dtype(theta.dtype)]
        launch_strided(
            kernel, theta.size // 4 + 1, theta, unit.name == "gaussian", normal_coefficients(), address(draw)
        )
        return True
    if isinstance(unit, OneHot):
        _classes(unit, theta, draw)
        return True
    if unit.name in ("relu", "binomial"):
        _weighted(unit, theta, draw)
        return True
    return False


def _weighted(unit: Unit, theta: Any, draw: Draw | None) -> None:
    """Means or draws of units whose values are not all as likely without weights."""
    how = draw is not None, theta.dtype == np.float64, address(draw or Draw(0, 0, 0))
    if unit.name == "relu":
        launch_strided(rectified_kernel, theta.size, theta, *how)
    else:
        launch_strided(counts_kernel, theta.size, theta, *unit.parameters, *how)


def _classes(unit: OneHot, theta: Any, draw: Draw | None) -> None:
    unit.check_width(theta.shape[1])
    size = unit.n_classes or theta.shape[1]
    where = address(draw or Draw(0, 0, 0))
    launch_strided(CLASSES[np.dtype(theta.dtype)], theta.size // size, theta, size, draw is not None, where)
