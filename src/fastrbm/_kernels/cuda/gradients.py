"""Gradients and the rules of optimisers on the device."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bits import are_bits
from ..contract import Parameters, Phase
from ..rules import Rule, Update
from .arrays import DeviceArray
from .dense import product, transposed
from .devices import kept_per_device
from .kernels.arguments import Rows, RuleNumbers, Slots, Statistics
from .kernels.elementwise import (
    ascend_kernel,
    difference_kernel,
    outside_kernel,
)
from .kernels.gradient import MEAN_SCALE, MODEL_COUNT, make_gradient_kernel
from .kernels.layer import fragments_kernel, transpose_kernel
from .kernels.scalar import ONE
from .kernels.tiles import fragment_size
from .launching import Kernels, choose_tile, launch_all, launch_strided, launch_tiles, nothing, rows_of
from .layers import Layers
from .memory import (
    DeviceBits,
    bits_on_device,
    download,
    empty,
    flat,
    on_device,
    on_host,
    to_device,
    upload,
    zeros,
)
from .quantise import magnitude_shift

GRADIENT = Kernels(make_gradient_kernel)
#: rules with two running means
ADAM_LIKE = ("adam", "amsgrad")
#: counts of drawn states share 32 bits in the gradient
MOST_COUNTED = (1 << 16) - 1
_PLAIN = Update(Rule(), 1.0)  # leaves the gradient in zeros


def rule_of(update: Update, n_slots: int, scales: NDArray[np.float32] | None = None, stream: Any = 0) -> RuleNumbers:
    """Give a rule to kernels, with the factors of Adam's running means: `scales` by update, or those of this one."""
    rule = update.rule
    numbers = update.rate, update.momentum, rule.decay, rule.epsilon, rule.l1, rule.l2, rule.clip
    if rule.kind not in ADAM_LIKE:
        there = _held((1.0, 1.0), (1, 2))
    elif scales is None:
        there = _held(tuple(update.scales()), (1, 2))
    else:
        there = upload(scales, stream)
    return RuleNumbers(rule.number, n_slots, _held(numbers, (len(numbers),)), there)


@kept_per_device(64)
def _held(numbers: tuple[float, ...], shape: tuple[int, ...]) -> Any:
    """Numbers on the device that many launches take, and none changes."""
    return upload(np.array(numbers, dtype=np.float32).reshape(shape))


@kept_per_device(8)
def _equal_shares(n: int, dtype: Any) -> Any:
    """Shares of n rows on the device, shape (1, n)."""
    return upload(np.full((1, n), 1 / n, dtype=dtype))


def slots_of(arrays: Iterable[Any]) -> Slots:
    """Values and the slots that they have, device arrays of any shape, as kernels take them."""
    return Slots(*([flat(x) for x in arrays] + [nothing(np.float32)] * 3)[:4])


class Gradients(Layers):
    """The part of the backend that changes parameters."""

    def gradient_step(
        self, parameters: Parameters, slots: Sequence[Parameters], data: Phase, model: Phase, update: Update
    ) -> None:
        """See `Backend.gradient_step`: in one launch for bits and equal shares."""
        if not self._step_of_bits(parameters, slots, data, model, update):
            super().gradient_step(parameters, slots, data, model, update)

    def _step_of_bits(
        self, parameters: Parameters, slots: Sequence[Parameters], data: Phase, model: Phase, update: Update
    ) -> bool:
        weights = parameters.weights
        n, m = data.hidden.shape[0], model.hidden.shape[0]
        n_hidden, n_visible = weights.shape
        counted = are_bits(data.hidden)
        fit = (
            update.rule.native and weights.dtype == np.float32 and magnitude_shift(n_hidden, n_visible) >= 0 and n and m
        )
        fit = fit and (max(n, m) <= MOST_COUNTED if counted else True)
        if not fit or not all(
            are_bits(p.visible) and p.shares is None and are_bits(p.hidden) == counted
            and (counted or _within_one(p.hidden)) for p in (data, model)
        ):  # fmt: skip
            return False
        groups = [-(-k // 32) for k in (n, m)]
        n_steps, none = sum(groups), nothing(np.int64, 0)
        pitch = n_steps + n_steps % 2  # products read words in pairs
        planes = zeros(n_visible * pitch, np.uint32)
        means = zeros(fragment_size(n_hidden, 32 * n_steps), np.uint64)
        totals = zeros(n_hidden, np.int32)
        for phase, size, first, count, sign in ((data, n, 0, 1, 1), (model, m, groups[0], MODEL_COUNT, -1)):
            launch_strided(
                transpose_kernel, 32 * -(-n_visible // 32) * -(-size // 32), rows_of(bits_on_device(phase.visible)),
                Rows(planes, none, 0, n_visible, pitch), first,
            )  # fmt: skip
            hidden = self.dense_values(phase.hidden, np.float32)
            scale = np.float32(count) if counted else np.float32(sign * MEAN_SCALE) / np.float32(size)
            items = 32 * -(-size // 32) * 4 * -(-n_hidden // 32)
            launch_all(fragments_kernel, items, hidden, scale, n_steps, first, means, totals)
        devices = [[to_device(x) for x in values] for values in (parameters, *slots)]
        statistics = Statistics(
            planes, pitch, none, means, totals, n, m, np.float32(1) / np.float32(n), -np.float32(1) / np.float32(m),
            counted,
        )  # fmt: skip
        tile = choose_tile(n_visible, n_hidden)
        launch_tiles(
            GRADIENT[tile], tile, n_visible, n_hidden, statistics, *map(slots_of, zip(*devices, strict=True)),
            rule_of(update, len(slots)), ONE, zeros(n_hidden + n_visible + 1, np.uint32),
        )  # fmt: skip
        _bring_back(devices, (parameters, *slots))
        return True

    def gradient(self, data: Phase, model: Phase, dtype: Any) -> Parameters:
        """See `Backend.gradient`."""
        there = on_device(data.hidden) or isinstance(data.hidden, DeviceBits)
        out = _zeros_for(data, dtype, zeros if there else np.zeros)
        if self._step_of_bits(out, (), data, model, _PLAIN):
            return out
        real = np.dtype(dtype).type
        mine, scale = self._sums(data, dtype)
        others, other_scale = self._sums(model, dtype)
        for at, (x, y) in enumerate(zip(mine, others, strict=True)):
            # only the coincidences are to be divided by the number of rows
            factors = (real(scale), real(other_scale)) if at == 0 else (real(1), real(1))
            launch_strided(difference_kernel, x.size, x, factors[0], y, factors[1])
        return self._shaped(mine, data.hidden)

    def moments(self, phase: Phase, dtype: Any) -> Parameters:
        """See `Backend.moments`."""
        sums, scale = self._sums(phase, dtype)
        real = np.dtype(dtype).type
        launch_strided(difference_kernel, sums[0].size, sums[0], real(scale), sums[0], real(0))
        return self._shaped(sums, phase.hidden)

    def _sums(self, phase: Phase, dtype: Any) -> tuple[list[Any], float]:
        """Sum coincidences h v, to be multiplied with the number given, and average both layers, as dense rows."""
        n = phase.hidden.shape[0]
        v, h = (self.dense_values(x, dtype) for x in (phase.visible, phase.hidden))
        shares = None if phase.shares is None else to_device(phase.shares)
        if shares is not None:
            shares = DeviceArray(shares).astype(dtype, copy=False)
        row = _equal_shares(n, dtype) if shares is None else shares.array.reshape(1, n)
        means = [product(row, x, empty((1, x.shape[1]), dtype)) for x in (v, h)]
        if shares is not None:
            h = (DeviceArray(h) * shares[:, None]).array
        coincidences = product(transposed(h), v, empty((h.shape[1], v.shape[1]), dtype))
        return [coincidences, *means], 1 / n if shares is None else 1.0

    def _shaped(self, sums: list[Any], given: Any) -> Parameters:
        coincidences, visible, hidden = sums
        return Parameters(*(self._given_back(x, given) for x in (coincidences, flat(visible), flat(hidden))))

    def ascend(self, parameters: Parameters, slots: Sequence[Parameters], gradient: Parameters, update: Update) -> None:
        """See `Backend.ascend`; float64 as the contract has it."""
        if parameters.weights.dtype != np.float32 or not update.rule.native:
            hosts = [Parameters(*map(on_host, values)) for values in (parameters, *slots, gradient)]
            super().ascend(hosts[0], hosts[1:-1], hosts[-1], update)
            for host, values in zip(hosts, (parameters, *slots), strict=False):
                for x, value in zip(host, tuple[Any, ...](values), strict=True):
                    if x is not value:
                        value.copy_to_device(x)
            return
        for i, (value, g) in enumerate(zip(parameters, gradient, strict=True)):
            arrays = [to_device(value), *(to_device(slot[i]) for slot in slots)]
            if not (on_device(g) and g.dtype == np.float32):  # NumPy would take one of the device to the host and back
                g = to_device(np.ascontiguousarray(g, dtype=np.float32))
            launch_strided(ascend_kernel, value.size, rule_of(update, len(slots)), i == 0, slots_of(arrays), flat(g))
            _bring_back([[x] for x in arrays], [[value], *([slot[i]] for slot in slots)])


def _within_one(hidden: Any) -> bool:
    """Whether sums of means as integers fit."""
    if not on_device(hidden):
        return bool((np.abs(hidden) <= 1).all())
    flag = zeros(1, np.int32)
    launch_strided(outside_kernel, hidden.size, hidden, flag)
    return not download(flag)[0]


def _zeros_for(phase: Phase, dtype: Any, make: Callable[[Any, Any], Any]) -> Parameters:
    shape = phase.hidden.shape[1], phase.visible.shape[1]
    return Parameters(make(shape, dtype), make(shape[1], dtype), make(shape[0], dtype))


def _bring_back(devices: Sequence[Sequence[Any]], hosts: Sequence[Sequence[Any]]) -> None:
    """Copy what changed to the arrays of the host."""
    for copies, values in zip(devices, hosts, strict=True):
        for copy, value in zip(copies, values, strict=True):
            if copy is not value:
                value[...] = download(copy)
