"""The optimiser's rules on the device: the arithmetic of the CPU kernels (rules.h) in the same order."""

from __future__ import annotations

import numpy as np

from ...rules import ROUNDING as _ROUNDING
from .scalar import ONE, ZERO
from .target import add, device, div, mul, root

#: kinds of `Rule`, by number
SGD, NESTEROV, RMSPROP, ADAM, AMSGRAD = range(5)
#: what a gradient's rounding is below
ROUNDING = np.float32(_ROUNDING[4])
#: places in the array of a rule's numbers
RATE, MOMENTUM, DECAY, EPSILON, L1, L2, CLIP = range(7)


@device
def ascend(rule, update, penalised, slots, at, g):
    """Change value number `at` of `Slots` by `RuleNumbers` and the gradient g; `penalised`: by its penalties, too."""
    values, first, second, third = slots
    kind, n_slots, numbers, adam = rule
    value = values[at]
    rate, momentum = numbers[RATE], numbers[MOMENTUM]
    if penalised:
        if numbers[L2] != ZERO:
            g = add(g, -mul(numbers[L2], value))
        if numbers[L1] != ZERO:
            if value > ZERO:
                g = add(g, -numbers[L1])
            elif value < ZERO:
                g = add(g, numbers[L1])
    most = numbers[CLIP]
    if most > ZERO:
        if g < -most:
            g = -most
        if g > most:
            g = most
    if kind >= RMSPROP and -ROUNDING < g < ROUNDING:
        g = ZERO
    if kind >= ADAM:
        mean = add(mul(momentum, first[at]), mul(add(ONE, -momentum), g))
        square = add(mul(numbers[DECAY], second[at]), mul(add(ONE, -numbers[DECAY]), mul(g, g)))
        first[at] = mean
        second[at] = square
        if kind == AMSGRAD:
            if third[at] >= square:
                square = third[at]
            third[at] = square
        below = add(root(mul(square, adam[update, 1])), numbers[EPSILON])
        value = add(value, div(mul(rate, mul(mean, adam[update, 0])), below))
    elif kind == RMSPROP:
        square = add(mul(numbers[DECAY], first[at]), mul(add(ONE, -numbers[DECAY]), mul(g, g)))
        first[at] = square
        change = div(mul(rate, g), add(root(square), numbers[EPSILON]))
        if n_slots > 1:
            change = add(mul(momentum, second[at]), change)
            second[at] = change
        value = add(value, change)
    elif n_slots > 0:
        change = mul(rate, g)
        velocity = add(mul(momentum, first[at]), change)
        first[at] = velocity
        if kind == NESTEROV:
            velocity = add(mul(momentum, velocity), change)
        value = add(value, velocity)
    else:
        value = add(value, mul(rate, g))
    values[at] = value
    return value
