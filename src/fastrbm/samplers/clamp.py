"""Visible units that are held fixed while a chain runs."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .._kernels import PackedBits, pack
from .._kernels.bits import n_words


def clamp_masks(clamp: ArrayLike | None, n_samples: int, n_features: int) -> tuple[PackedBits, PackedBits] | None:
    """(units held, their states) as bits."""
    if clamp is None:
        return None
    values = np.asarray(clamp, dtype=np.float64)
    if values.shape not in ((n_features,), (n_samples, n_features)):
        raise ValueError(f"clamp must have shape ({n_features},) or ({n_samples}, {n_features}), got {values.shape}")
    values = np.broadcast_to(values, (n_samples, n_features))
    free = np.isnan(values)
    if not (free | (values == 0) | (values == 1)).all():
        raise ValueError("clamp must hold 0, 1 or NaN (free), got other values")
    return pack(~free), pack(np.where(free, 0, values))


def hold(visible: PackedBits, held: tuple[PackedBits, PackedBits] | None) -> PackedBits:
    """Set the held units of `visible` to their states."""
    if held is None:
        return visible
    mask, states = held
    assert visible.words.shape[1] == n_words(visible.n_units)
    return PackedBits((visible.words & ~mask.words) | states.words, visible.n_units)
