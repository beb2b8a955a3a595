"""Memory of training passes that is kept from one to the next: what a minibatch leaves for its gradient."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..bits import n_words
from .kernels.gaussian import GaussianScratch
from .kernels.grey import PARTS
from .kernels.tiles import fragment_size
from .kernels.training import TrainingScratch
from .launching import nothing
from .memory import flat, upload, zeros
from .other_units import UnitLayers
from .quantise import QuantisedWeights
from .units import normal_coefficients


class Scratch:
    """Device arrays by name; what is in them belongs to the minibatch before."""

    def __init__(self) -> None:
        self._held: dict[str, Any] = {}

    def of(self, name: str, shape: tuple[int, ...], dtype: Any) -> Any:
        """Array of a shape, of zeros when it is new."""
        held = self._held.get(name)
        if held is None or held.shape != shape:
            self._held.pop(name, None)
            held = self._held[name] = zeros(shape, dtype)
        return held

    def bits(self, name: str, n: int, n_neurons: int) -> Any:
        """Rows of packed bits."""
        return self.of(name, (n, 2 * n_words(n_neurons)), np.uint32)

    def of_gradient(
        self, weights: QuantisedWeights, batch: int, n_model: int, is_grey: bool, exact: bool
    ) -> TrainingScratch:
        """Operands of gradients of bits and of grey rows."""
        n_hidden, n_visible, row_groups = weights.n_hidden, weights.n_visible, -(-batch // 32)
        groups = row_groups + -(-n_model // 32)
        pitch = groups + groups % 2  # products read words in pairs
        grey = [nothing(np.float32), nothing(np.int32), nothing(np.float32), nothing(np.float64)]
        if is_grey:
            means = self.of("grey means", (batch * n_hidden,), np.int32 if exact else np.float32)
            grey = [
                *((grey[0], means) if exact else (means, grey[1])),
                self.of("parts of means", (PARTS * n_hidden,), np.float32),
                self.of("sums of rows", (n_visible * row_groups,), np.float64),
            ]
        return TrainingScratch(
            self.of("planes", (n_visible * pitch,), np.uint32), pitch,
            self.of("means", (fragment_size(n_hidden, 32 * groups),), np.uint64),
            self.of("totals", (n_hidden,), np.int32), *grey,
        )  # fmt: skip

    def of_gaussian(self, weights: QuantisedWeights, layers: UnitLayers, batch: int, n_model: int) -> GaussianScratch:
        """Operands of gradients with Gaussian visible states."""
        n_hidden, n_visible = weights.n_hidden, weights.n_visible
        data, model = (
            self.of(f"means of {name}", (n, n_hidden), np.float32) for name, n in (("data", batch), ("model", n_model))
        )
        part_size, n_classes = PARTS * max(n_hidden, n_visible), layers.classes[1]
        order = self._held.get("order")
        if order is None or order.size != n_model:
            order = self._held["order"] = upload(np.arange(n_model))
        chosen = nothing(np.int32)
        if n_classes:
            chosen = self.of("chosen", (max(batch, n_model) * (n_hidden // n_classes),), np.int32)
        return GaussianScratch(
            flat(data), flat(model), data, model, self.of("model rows", (n_model, n_visible), np.float32), order,
            self.of("parts", (4 * part_size,), np.float32), part_size, normal_coefficients(), n_classes, chosen,
        )  # fmt: skip
