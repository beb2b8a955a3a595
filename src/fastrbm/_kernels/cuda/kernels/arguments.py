"""What kernels and their phases are given: tuples whose fields have names, and the types that a kernel is compiled for.

A kernel's parameters are annotated by the types below, or by a tuple of them. `signature_of` reads the annotations, so
that what a kernel takes is said in one place. A tuple costs nothing: the compiler takes its fields as parameters of
their own. What costs registers now and then is a device function that returns one, where the loop around it is long
(`landmarks.py`, `annealing.py`); there a tuple is made where it is used.

Arrays are flat and C-contiguous where nothing else is said. `n` counts rows: samples or chains.
"""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple, get_type_hints

from numba import types

Long = Annotated[int, types.int64]
Flag = Annotated[bool, types.boolean]
Real = Annotated[Any, types.float32]
Words = Annotated[Any, types.uint32[::1]]
Fragments = Annotated[Any, types.uint64[::1]]
Integers = Annotated[Any, types.int32[::1]]
Longs = Annotated[Any, types.int64[::1]]
Reals = Annotated[Any, types.float32[::1]]
ByteRows = Annotated[Any, types.uint8[:, ::1]]
RealRows = Annotated[Any, types.float32[:, ::1]]
Doubles = Annotated[Any, types.float64[::1]]


def tuple_type(kind: Any, *fields: Any) -> Any:
    """Numba's type of a named tuple with fields of these types, or of those it is annotated with."""
    if not fields:
        hints = get_type_hints(kind, include_extras=True)
        fields = tuple(_type_of(hints[name]) for name in kind.__annotations__)
    return types.BaseTuple.from_types(fields, kind)


def _type_of(hint: Any) -> Any:
    return hint.__metadata__[0] if hasattr(hint, "__metadata__") else tuple_type(hint)


def signature_of(kernel: Any) -> Any:
    """Types that a kernel is compiled for: those its parameters are annotated with."""
    return types.void(*map(_type_of, get_type_hints(kernel.py_func, include_extras=True).values()))


class Address(NamedTuple):
    """Where the draws of one layer at one step come from.

    Attributes
    ----------
    seed_low, seed_high, step_low : int
        32 bits each.
    step_high : int
        ``stream << 24 | step >> 32``.
    first_chain : int
        Row r of the layer draws for chain ``first_chain + r``.
    """

    seed_low: Long
    seed_high: Long
    step_low: Long
    step_high: Long
    first_chain: Long


class Draws(NamedTuple):
    """Where the draws of steps ``step``, ``step + 1``, ... come from; `scalar.address_at` makes an `Address` of it."""

    seed_low: Long
    seed_high: Long
    step: Long
    first_chain: Long


class Rows(NamedTuple):
    """Rows of packed bits.

    Attributes
    ----------
    words : array of uint32
    order : array of int64
        Row r is number ``order[first + r]`` of `words`, or ``first + r`` where `order` is empty.
    first, n : int
        Rows 0 .. n - 1 are used.
    pitch : int
        Words of a row.
    """

    words: Words
    order: Longs
    first: Long
    n: Long
    pitch: Long


class GreyRows(NamedTuple):
    """Rows of float32, ``values[row, neuron]``; `order`, `first` and `n` are as in `Rows`."""

    values: RealRows
    order: Longs
    first: Long
    n: Long


class Weights(NamedTuple):
    """What gives the inputs of a layer, ``bias + quantum[0] * sum of integers``.

    Attributes
    ----------
    fragments : array of uint64
        The integers, in the order of the tensor cores (`tiles.py`).
    bias : array of float32, shape (n_neurons,)
    quantum : array of one float32
        What the integer 1 is worth.
    n_steps : int
        Groups of 32 inputs.
    n_neurons : int
    """

    fragments: Fragments
    bias: Reals
    quantum: Reals
    n_steps: Long
    n_neurons: Long


class Model(NamedTuple):
    """Weights into both layers, in the order of the tensor cores, with one quantum."""

    to_hidden: Fragments
    to_visible: Fragments
    hidden_bias: Reals
    visible_bias: Reals
    quantum: Reals


class Chains(NamedTuple):
    """States of `n` chains, rows of packed bits that change in place; `order` is empty: rows are as they come."""

    hidden: Words
    visible: Words
    order: Longs
    n: Long


class Flips(NamedTuple):
    """What sums that follow the flips of their inputs are made of.

    Attributes
    ----------
    integers : array of int32
        ``integers[input * n_neurons + neuron]``: the weights.
    sums : array of int32
        ``sums[chain * n_neurons + neuron]``: changed in place.
    """

    integers: Integers
    sums: Integers


class Coarse(NamedTuple):
    """16 bits of the weights into a layer, in the order of the tensor cores, and shifts by neuron (`lowbit.py`)."""

    fragments: Fragments
    shifts: Integers


class Landmark(NamedTuple):
    """An earlier state of a layer's inputs, and what is known of it (`landmarks.py`).

    Attributes
    ----------
    words : array of uint32
        The state in one of two halves of the rows.
    integers, sums
        As in `Flips`: the sums are those of the landmark.
    """

    words: Words
    integers: Integers
    sums: Integers


class Norms(NamedTuple):
    """Of the integers of each visible, then each hidden neuron: the sum of their squares, and the largest magnitude."""

    squares: Longs
    largest: Integers


class Quantised(NamedTuple):
    """Weights beside what is derived from them: see `quantise.QuantisedWeights` of the host's side."""

    weights: Reals
    n_hidden: Long
    n_visible: Long
    to_hidden: Fragments
    to_visible: Fragments
    quantum: Reals
    control: Integers
    shift: Long


class Drawn(NamedTuple):
    """Where drawn states go: ``words`` as `PackedBits` has them, words of 32 bits."""

    words: Words


class Outputs(NamedTuple):
    """Where a layer goes: drawn states, the two operands of the gradient's product, or rows of float32.

    Attributes
    ----------
    words : array of uint32
        Drawn states.
    planes : array of uint32
        Drawn states by neuron: ``planes[neuron * pitch + group]`` holds 32 rows a word.
    pitch : int
    first_group : int
        Group of the first row, in planes and in fragments.
    means : array of uint64
        Means, or drawn states, times `scale` as integers, in the order of the tensor cores with rows as inputs.
    n_steps : int
        Groups of rows that `means` has room for.
    scale : float32
    totals : array of int32, shape (n_neurons,)
        Grows by the sums of these integers.
    rows : array of float32
        Means or inputs, ``rows[row, neuron]``.
    """

    words: Words
    planes: Words
    pitch: Long
    first_group: Long
    means: Fragments
    n_steps: Long
    scale: Real
    totals: Integers
    rows: RealRows


class Slots(NamedTuple):
    """Values that a rule changes, and its running means of their gradients; a slot it has not is of length 1."""

    values: Reals
    first: Reals
    second: Reals
    third: Reals


class RuleNumbers(NamedTuple):
    """A rule of an optimiser.

    Attributes
    ----------
    kind : int
        `fastrbm._kernels.rules.Rule.number`.
    n_slots : int
    numbers : array of float32
        Rate, momentum and so on: `rules.py` has their places.
    adam : array of float32, shape (n_updates, 2)
        What Adam's two running means are multiplied with, by update.
    """

    kind: Long
    n_slots: Long
    numbers: Reals
    adam: RealRows


class Statistics(NamedTuple):
    """What a gradient is made of: data and model beside each other, so that one sum has both.

    Attributes
    ----------
    planes : array of uint32
        Visible bits by neuron, as `Outputs` has them.
    pitch : int
    order : array of int64
        Empty: visible neurons are as they come.
    means : array of uint64
        Hidden integers, as in `Outputs`.
    totals : array of int32, shape (n_hidden,)
        Their sums.
    n_data, n_model : int
        Samples of each.
    data_share, model_share : float32
        ``1 / n_data`` and ``-1 / n_model``.
    counted : bool
        The integers count drawn states: data in the low half, model in the high one.
    """

    planes: Words
    pitch: Long
    order: Longs
    means: Fragments
    totals: Integers
    n_data: Long
    n_model: Long
    data_share: Real
    model_share: Real
    counted: Flag


class GreyBatch(NamedTuple):
    """A minibatch of grey rows, and what its positive phase leaves for the gradient.

    Attributes
    ----------
    values, order, first, n
        As in `GreyRows`; of bytes for exact sums.
    means : array of float32, or of int32
        ``means[row * n_hidden + hidden]``: hidden means times their share, or 2^30 times that.
    parts_of_means : array of float32
        Their sums in parts (`grey.note_parts`).
    sums_of_rows : array of float64
        ``sums_of_rows[visible * groups + group]``, a group being 32 rows, or all of them where they are float32.
    groups : int
    totals : array of int32, shape (n_hidden,)
        Grows by the sums of integer means.
    """

    values: RealRows
    order: Longs
    first: Long
    n: Long
    means: Reals
    parts_of_means: Reals
    sums_of_rows: Doubles
    groups: Long
    totals: Integers


class Fixed(NamedTuple):
    """What the integers of weights are: one is worth `quantum`, and they are multiples of 2^16 if `short`."""

    quantum: Real
    short: Flag


class Magnitudes(NamedTuple):
    """Where sums of magnitudes of weights go, in steps of ``1 / scale`` (`quantise.py`)."""

    scale: Real
    sums: Words


class BothBatches(NamedTuple):
    """Real rows of the data and of the model: two `GreyBatch`."""

    data: Any
    model: Any


class GreyTiles(NamedTuple):
    """Shared memory for the products of grey rows: sums, and both factors by input (`grey.shared_shapes`)."""

    sums: Any
    left: Any
    right: Any


class OtherUnits(NamedTuple):
    """Layers of spins or of classes in a training pass, and what their states and gradients are made of.

    Attributes
    ----------
    visible_spins, hidden_spins : bool
        Bits x stand for spins 2 x - 1.
    visible_classes, hidden_classes : int
        Neurons of a group of which one is on, 0 for a layer without groups.
    scale : float32
        2 for each layer of spins.
    sums : array of int32, shape (n_hidden + n_visible,)
        Of the fixed-point weights into hidden, then into visible neurons, where the inputs are spins; else zeros.
    hidden_bias, visible_bias : array of float32
        Of the bits.
    quantum : array of one float32
        What the integer 1 is worth for the bits.
    deltas : array of float32, shape (n_hidden + n_visible,)
        Means of the data's bits, less those of the model's, of hidden, then of visible neurons.
    inputs : array of float32, shape (n, n_neurons)
        Inputs of classes, then their means times a scale.
    chosen : array of int32
        ``chosen[row * n_groups + group]``: the neuron that is on, counted from the first of its group.
    """

    visible_spins: Flag
    hidden_spins: Flag
    visible_classes: Long
    hidden_classes: Long
    scale: Real
    sums: Integers
    hidden_bias: Reals
    visible_bias: Reals
    quantum: Reals
    deltas: Reals
    inputs: RealRows
    chosen: Integers
