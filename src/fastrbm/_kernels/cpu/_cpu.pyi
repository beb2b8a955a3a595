# Signatures of the extension module; contracts in _cpu.pyx and src/*.h.
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..contract import ChainState, Parameters, TrainingPlan
from ..draws import Draw
from ..ranks import Share
from ..rules import Update

TARGETS: tuple[str, ...]
COUNTERS: tuple[str, ...]
CONSTANTS: dict[str, float]
RULE_NUMBERS: dict[str, int]
STRATEGY_NUMBERS: dict[str, int]
STREAM_NUMBERS: dict[str, int]

class Poller:
    def __init__(self, on_batch: Callable[[], None] | None = None) -> None: ...
    def reraise(self) -> None: ...

class WatchedRange:
    lost: bool
    def __init__(self, first: int, last: int) -> None: ...
    def release(self) -> None: ...

class FixedWeights:
    exponent: int
    n_hidden: int
    n_visible: int
    def __init__(self, n_hidden: int, n_visible: int, transposed: bool, n_threads: int) -> None: ...
    def dense(self) -> NDArray[np.int32]: ...
    def fill(self, weights: NDArray[np.float32]) -> bool: ...

class Filters:
    def __init__(
        self,
        strategy: str,
        fixed: FixedWeights,
        chunk: int,
        bases: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None,
    ) -> None: ...
    def prepare(self) -> None: ...
    def counters(self) -> dict[str, int]: ...

class Ladder:
    def __init__(
        self, n_temperatures: int, n_hidden: int, n_visible: int, transposed: bool, limbs: bool = False
    ) -> None: ...
    def fill(
        self,
        weights: NDArray[np.float32],
        visible_bias: NDArray[np.float32],
        hidden_bias: NDArray[np.float32],
        base: NDArray[np.float32],
        betas: NDArray[np.float64],
        n_threads: int,
    ) -> bool: ...
    def exchange(
        self,
        hidden: NDArray[np.uint64],
        marks: NDArray[np.int8],
        first: int,
        log_u: NDArray[np.float64],
        hidden_out: NDArray[np.uint64],
        marks_out: NDArray[np.int8],
        log_ratio: NDArray[np.float64],
        accepted: NDArray[np.int64],
        n_threads: int,
    ) -> None: ...
    def run_chains(
        self,
        hidden: NDArray[np.uint64],
        visible_out: NDArray[np.uint64],
        hidden_out: NDArray[np.uint64],
        draw: Draw,
        n_sweeps: int,
        n_threads: int,
    ) -> None: ...

class Training:
    def __init__(
        self,
        parameters: Parameters,
        slots: Sequence[Parameters],
        plan: TrainingPlan,
        units: tuple[str, str],
        n_updates: int,
        n_rows: int,
        chains: NDArray[np.uint32] | None,
        n_chains: int,
        dense: bool,
        transposed: bool,
        n_threads: int,
        strategy: str = "dense",
        bases: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None,
        int16: bool = False,
        levels: bool = False,
        share: Share | None = None,
    ) -> None: ...
    @property
    def outgrown(self) -> bool: ...
    def counters(self) -> dict[str, int] | None: ...
    def run(
        self,
        rows: NDArray[np.uint64] | None,
        dense: NDArray[np.float32] | None,
        order: NDArray[np.int64],
        state: ChainState,
        on_batch: Callable[[], None] | None,
        levels: NDArray[np.uint8] | None = None,
    ) -> int: ...

class PartitionSum:
    def __init__(
        self,
        high: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.uint64]],
        middle: tuple[NDArray[Any], NDArray[np.float64], NDArray[np.int64], NDArray[np.uint64]],
        low: tuple[NDArray[Any], NDArray[np.float64], NDArray[np.int64], NDArray[np.uint64]],
        start: NDArray[np.float64],
        stops: NDArray[np.int64],
        block_bits: int,
        log_weights: NDArray[np.float64] | None = None,
    ) -> None: ...
    def run(
        self, n_threads: int, on_progress: Callable[[int, int], None] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]: ...

def supported_targets() -> list[str]: ...
def selectable_targets() -> list[str]: ...
def is_possible(name: str) -> bool: ...
def is_built(name: str) -> bool: ...
def select_target(name: str) -> None: ...
def allow_vpopcnt(allow: bool) -> bool: ...
def rehearse_crew(every: int) -> int: ...
def allow_vnni(allow: bool) -> bool: ...
def has_openmp() -> bool: ...
def max_threads() -> int: ...
def aligned(n: int, dtype: DTypeLike, clear: bool = False) -> NDArray[Any]: ...
def pack_rows(x: NDArray[Any], on: int, out: NDArray[np.uint64], n_threads: int) -> int: ...
def pack_sparse(
    indptr: NDArray[np.int32], indices: NDArray[np.int32], n_units: int, out: NDArray[np.uint64]
) -> None: ...
def transpose_bits(rows: NDArray[np.uint64], n_units: int, out: NDArray[np.uint64], n_threads: int) -> None: ...
def draw_bits(grey: NDArray[np.float32], draw: Draw, out: NDArray[np.uint64], n_threads: int) -> None: ...
def draw_inputs(inputs: NDArray[Any], draw: Draw, out: NDArray[np.uint64], n_threads: int) -> None: ...
def uniform_rows(draw: Draw, out: NDArray[Any], n_threads: int) -> None: ...
def add_normals(inputs: NDArray[np.float32], draw: Draw, n_threads: int) -> None: ...
def onehot_rows(
    inputs: NDArray[np.float32], group: int, draw: Draw | None, out: NDArray[np.uint64] | None, n_threads: int
) -> None: ...
def normal_quantiles(words: NDArray[np.uint32]) -> NDArray[np.float32]: ...
def decide(words: NDArray[np.uint32], inputs: NDArray[Any]) -> NDArray[np.uint8]: ...
def philox_block(draw: Draw, unit_block: int) -> NDArray[np.uint32]: ...
def dense_inputs(
    x: NDArray[Any],
    weights: NDArray[Any],
    bias: NDArray[Any],
    transpose: bool,
    out: NDArray[Any],
    sigmoid: bool,
    n_threads: int,
) -> None: ...
def dense_gradient(
    hidden: NDArray[Any], visible: NDArray[Any], scale: float, out: NDArray[Any], n_threads: int
) -> None: ...
def quantise_weights(
    weights: NDArray[np.float32], transposed: bool, n_threads: int, int16: bool = False
) -> FixedWeights | None: ...
def prefers_rows(n_lanes: float, active: float, int16: bool = False) -> bool: ...
def prefers_tiles(n_lanes: float) -> bool: ...
def costs(n_lanes: float, active: float, int16: bool = False) -> dict[str, float]: ...
def density(rows: NDArray[np.uint64], n_units: int) -> float: ...
def run_rows(
    rows: NDArray[np.uint64] | None,
    weights: FixedWeights,
    bias: NDArray[np.float32],
    transpose: bool,
    n_threads: int,
    means: NDArray[np.float32] | None = None,
    inputs: NDArray[np.float32] | None = None,
    samples: NDArray[np.uint64] | None = None,
    draw: Draw | None = None,
    visible_bias: NDArray[np.float32] | None = None,
    energy: NDArray[np.float64] | None = None,
    filters: Filters | None = None,
    levels: NDArray[np.uint8] | None = None,
) -> None: ...
def run_chains(
    hidden: NDArray[np.uint32],
    visible: NDArray[np.uint32],
    n_chains: int,
    weights: FixedWeights,
    visible_bias: NDArray[np.float32],
    hidden_bias: NDArray[np.float32],
    draw: Draw,
    n_sweeps: int,
    n_threads: int,
    filters: Filters | None = None,
) -> None: ...
def gradient_of_bits(
    data: tuple[NDArray[np.uint64], NDArray[np.uint64] | NDArray[np.float32], NDArray[np.float64] | None],
    model: tuple[NDArray[np.uint64], NDArray[np.uint64] | NDArray[np.float32], NDArray[np.float64] | None] | None,
    parameters: Parameters,
    slots: Sequence[Parameters],
    update: Update,
    n_threads: int,
) -> bool: ...
def ascend(
    update: Update, parameters: Parameters, slots: Sequence[Parameters], gradient: Parameters, n_threads: int
) -> None: ...
def exponentials(x: NDArray[np.float64], top: float, series: tuple[float, ...], out: NDArray[np.float64]) -> None: ...

class LabelTraining:
    def __init__(
        self,
        parameters: Parameters,
        slots: Sequence[Parameters],
        classes: Parameters,
        class_slots: Sequence[Parameters],
        update: Update,
        n_rows: int,
        batch_size: int,
        dense: bool,
        transposed: bool,
        n_threads: int,
        turned: tuple[NDArray[np.float32], list[NDArray[np.float32]]] | None = None,
    ) -> None: ...
    def run(
        self,
        rows: NDArray[np.uint64] | None,
        dense: NDArray[np.float32] | None,
        order: NDArray[np.int64],
        labels: NDArray[np.int32],
        shares: NDArray[np.float32] | None,
        state: ChainState,
    ) -> NDArray[np.float64]: ...

class Labels:
    def __init__(self, inputs: NDArray[np.float32], classes: NDArray[np.float32]): ...
    def scores(self, bias: NDArray[np.float32], scores: NDArray[np.float64], n_threads: int) -> None: ...
    def means(
        self,
        shares: NDArray[np.float32],
        labels: NDArray[np.int32],
        weights: NDArray[np.float32],
        data: NDArray[np.float32],
        model: NDArray[np.float32],
        of_data: NDArray[np.float32],
        of_model: NDArray[np.float32],
        n_threads: int,
    ) -> None: ...

class Wave:
    def __init__(
        self,
        weights: NDArray[np.float64],
        hidden_bias: NDArray[np.float64],
        visible_bias: NDArray[np.float64],
        moves: NDArray[np.int32],
        grow: NDArray[np.float64],
        shrink: NDArray[np.float64],
        linear: NDArray[np.float64],
        n_hidden: int,
    ): ...
    def evaluate(
        self,
        states: NDArray[np.int8],
        log_psi: NDArray[np.float64],
        tanh_theta: NDArray[np.float64] | None,
        ratios: NDArray[np.float64] | None,
        n_threads: int,
    ) -> None: ...
    def sweep(
        self,
        states: NDArray[np.int8],
        draw: Draw,
        n_sweeps: int,
        in_order: bool,
        accepted: NDArray[np.uint32],
        n_threads: int,
    ) -> None: ...

def pseudo_likelihood(
    inputs: NDArray[Any],
    weights: NDArray[Any],
    visible_bias: NDArray[Any],
    bits: NDArray[np.uint64] | None,
    dense: NDArray[Any] | None,
    score: NDArray[np.float64],
    n_threads: int,
) -> None: ...

class Annealing:
    def run(
        self,
        hidden: NDArray[np.uint32],
        visible: NDArray[np.uint32],
        n_chains: int,
        weights: FixedWeights,
        fields: tuple[NDArray[np.float32], ...],
        bases: tuple[NDArray[np.float32], ...],
        sum_hidden: bool,
        betas: NDArray[np.float64],
        draw: Draw,
        log_weights: NDArray[np.float64],
        n_threads: int,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> None: ...
