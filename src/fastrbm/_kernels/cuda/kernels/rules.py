"""The optimiser's rules on the device: the arithmetic of the CPU kernels (src/rules.h) in the same order."""

from __future__ import annotations

from .scalar import ONE, ZERO
from .target import add, device, div, mul, root

#: kinds of `Rule`, by number
SGD, NESTEROV, RMSPROP, ADAM, AMSGRAD = range(5)
#: places in the array of a rule's numbers
RATE, MOMENTUM, DECAY, EPSILON, L1, L2, CLIP = range(7)


@device
def ascend(kind, n_slots, rule, adam, update, penalised, values, first, second, third, at, g):
    """Change ``values[at]`` and its slots by a rule and the gradient g."""
    value = values[at]
    rate, momentum = rule[RATE], rule[MOMENTUM]
    if penalised:
        if rule[L2] != ZERO:
            g = add(g, -mul(rule[L2], value))
        if rule[L1] != ZERO:
            if value > ZERO:
                g = add(g, -rule[L1])
            elif value < ZERO:
                g = add(g, rule[L1])
    most = rule[CLIP]
    if most > ZERO:
        if g < -most:
            g = -most
        if g > most:
            g = most
    if kind >= ADAM:
        mean = add(mul(momentum, first[at]), mul(add(ONE, -momentum), g))
        square = add(mul(rule[DECAY], second[at]), mul(add(ONE, -rule[DECAY]), mul(g, g)))
        first[at] = mean
        second[at] = square
        if kind == AMSGRAD:
            if third[at] >= square:
                square = third[at]
            third[at] = square
        below = add(root(mul(square, adam[update, 1])), rule[EPSILON])
        value = add(value, div(mul(rate, mul(mean, adam[update, 0])), below))
    elif kind == RMSPROP:
        square = add(mul(rule[DECAY], first[at]), mul(add(ONE, -rule[DECAY]), mul(g, g)))
        first[at] = square
        change = div(mul(rate, g), add(root(square), rule[EPSILON]))
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
