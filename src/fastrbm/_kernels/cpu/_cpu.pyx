# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Parallel regions around the C workers: threads, buffers, the GIL and interrupts.

Every function takes its thread count; callers (``__init__.py``) decide it. Arrays are checked by their typed
signatures, and shapes, strides and index ranges by `require`: a mistake is a ValueError, also under ``python -O``.
"""

from cpython.exc cimport PyErr_CheckSignals
from cython.parallel cimport parallel, prange, threadid
from libc.math cimport ldexp, rint
from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

import numpy as np

from ...units import get_unit
from ..strategies import COUNTERS

ctypedef fused floating:
    float
    double

ctypedef fused pixel:
    uint8_t
    float
    double

cdef const frbm_table *TABLE = NULL

TARGETS = ("amx", "avx512", "avx2", "neon_i8mm", "neon", "baseline", "amx_emulated", "amx_plain")
#: of these, what is there for tests: never chosen unless asked for
TEST_TARGETS = ("amx_emulated", "amx_plain")
#: numbers of src/include/constants.h that Python needs
CONSTANTS = {
    "LANES": FRBM_LANES,
    "LARGEST_EXPONENT": FRBM_LARGEST_EXPONENT,
    "MEAN_SCALE": FRBM_MEAN_SCALE,
    "PARTITION_LANES": FRBM_PARTITION_LANES,
    "SMALLEST_EXPONENT": FRBM_SMALLEST_EXPONENT,
    "TURNED_ROWS": FRBM_TURNED_ROWS,
}
RULE_NUMBERS = {
    "sgd": FRBM_SGD, "nesterov": FRBM_NESTEROV, "rmsprop": FRBM_RMSPROP, "adam": FRBM_ADAM, "amsgrad": FRBM_AMSGRAD,
}
STRATEGY_NUMBERS = {
    "dense": FRBM_DENSE, "delta": FRBM_DELTA, "bounds": FRBM_LANDMARKS, "lcd": FRBM_LCD, "lowbit": FRBM_INT16,
}
STREAM_NUMBERS = {"visible": FRBM_VISIBLE, "hidden": FRBM_HIDDEN, "input": FRBM_INPUT}
cdef size_t LARGE_BYTES = 4 << 20  # from here on NumPy asks for huge pages


# ---- processor -------------------------------------------------------------------------------------------

def supported_targets():
    """Instruction sets this build and processor have, best first."""
    return [name for name in selectable_targets() if name not in TEST_TARGETS]


def selectable_targets():
    """The same, and those for tests that can run here."""
    return [name for name in TARGETS if frbm_select(name.encode()) != NULL]


def is_possible(str name not None):
    """Whether an instruction set is one of this architecture."""
    return bool(frbm_is_possible(name.encode()))


def is_built(str name not None):
    """Whether this build has an instruction set, whatever the processor."""
    return bool(frbm_is_built(name.encode()))


def select_target(str name not None):
    """Use the kernels of one instruction set from now on."""
    global TABLE
    cdef const frbm_table *table = frbm_select(name.encode())
    if table == NULL:
        raise ValueError(f"instruction set must be one of {selectable_targets()} on this machine, got {name!r}")
    TABLE = table


def allow_vpopcnt(bint allow):
    """Let AVX-512 kernels count bits by AVX512_VPOPCNTDQ, the default; whether they do, which takes a processor with it."""
    return bool(frbm_allow_vpopcnt(allow))


def allow_vnni(bint allow):
    """Let AVX-512 kernels add products of 16 bits in one operation, as `allow_vpopcnt` does for its instructions."""
    return bool(frbm_allow_vnni(allow))


def rehearse_crew(int every):
    """Let teams lose a member every so many minibatches, and call it again (0: stop), as if others took processors.

    Returns how often members were called again since the last time.
    """
    return frbm_crew_rehearse(every)


allow_vpopcnt(True)
allow_vnni(True)


def has_openmp():
    """Whether the extension was built with OpenMP."""
    return bool(frbm_has_openmp())


def max_threads():
    """Threads OpenMP would use for a region started here (1 without OpenMP)."""
    return frbm_max_threads()


# ---- interrupts ------------------------------------------------------------------------------------------

cdef class Poller:
    """Runs Python signal handlers, and `on_batch`, at most every 50 ms of a native run."""

    cdef object on_batch
    cdef object error
    cdef double last

    def __init__(self, on_batch=None):
        self.on_batch = on_batch
        self.error = None
        self.last = _now()

    cdef int check(self) noexcept:
        try:
            PyErr_CheckSignals()
            if self.on_batch is not None:
                self.on_batch()
            return 0
        except BaseException as error:
            self.error = error
            return 1

    def reraise(self):
        """Raise what a handler raised, if any."""
        if self.error is not None:
            raise self.error


cdef double _now() noexcept nogil:
    cdef timespec t
    clock_gettime(CLOCK_MONOTONIC, &t)
    return <double>t.tv_sec + 1e-9 * <double>t.tv_nsec


cdef int _poll(void *context) noexcept nogil:
    cdef double now = _now()
    if now - (<Poller>context).last < 0.05:
        return 0
    with gil:
        (<Poller>context).last = now
        return (<Poller>context).check()


# ---- memory ----------------------------------------------------------------------------------------------

def aligned(size_t n, dtype, bint clear=False):
    """One-dimensional array that starts on a cache line."""
    item = np.dtype(dtype).itemsize
    raw = (np.zeros if clear else np.empty)(n * item + 64, dtype=np.uint8)
    offset = -<uintptr_t>raw.ctypes.data % 64
    return raw[offset : offset + n * item].view(dtype)


cdef class Memory:
    """Bytes from a cache line on, for as long as this lives: NumPy's arrays take a microsecond longer to make."""

    cdef void *start
    cdef void *block
    cdef object large

    def __cinit__(self, size_t n_bytes, bint clear=False):
        cdef uint8_t[::1] view
        if n_bytes >= LARGE_BYTES:
            self.large = view = aligned(n_bytes, np.uint8, clear)
            self.start = &view[0]
            return
        self.block = calloc(n_bytes + 64, 1) if clear else malloc(n_bytes + 64)
        if self.block == NULL:
            raise MemoryError()
        self.start = <void *>_up(<size_t>self.block, 64)

    def __dealloc__(self):
        free(self.block)


cdef class LaidOut:
    """Zeros for the layouts of src/teams/layout.c."""

    cdef uint8_t[::1] bytes
    cdef void *start
    cdef size_t size

    def __init__(self, size_t size):
        self.bytes = aligned(size, np.uint8, True)
        self.start, self.size = &self.bytes[0], size

    def __dealloc__(self):
        frbm_give_back(self.start, self.size)


cdef int require(bint right, str what) except -1:
    """Raise ValueError unless an argument is as the C kernels need it; asserts would be gone under ``python -O``."""
    if not right:
        raise ValueError(f"{what} must fit the other arguments of this kernel in shape, layout and range")
    return 0


cdef int require_rows(Py_ssize_t n, Py_ssize_t width, const Py_ssize_t *strides, Py_ssize_t item, str what) except -1:
    """Raise ValueError unless rows are contiguous and one after another."""
    if (width > 1 and strides[1] != item) or (n > 1 and strides[0] < width * item) or strides[0] % item:
        raise ValueError(f"{what}: rows must be contiguous and one after another in memory")
    return 0


cdef size_t _up(size_t n, size_t multiple) noexcept nogil:
    return (n + multiple - 1) // multiple * multiple


cdef void _set_draw(frbm_draw *out, draw) except *:
    out.key[0] = <uint32_t>(draw.seed & 0xFFFFFFFF)
    out.key[1] = <uint32_t>(draw.seed >> 32)
    out.step = draw.step
    out.stream = <uint32_t>draw.stream
    out.first_chain = <uint32_t>(draw.first_chain & 0xFFFFFFFF)


# ---- bits ------------------------------------------------------------------------------------------------

def pack_rows(const pixel[:, :] x not None, int on, uint64_t[:, ::1] out not None, int n_threads):
    """Pack dense rows; ``on`` is the value of a set bit (1, or 255 for images).

    Returns 1 (some value is neither 0 nor `on`) | 2 (some float is outside [0, 1] or not a number).
    """
    cdef Py_ssize_t n = x.shape[0], width = x.shape[1], i
    cdef int flags = 0
    if n and width and x.strides[1] != sizeof(pixel):
        raise ValueError("rows must be contiguous")
    require(out.shape[0] == n and out.shape[1] * 64 >= width, "out")
    for i in prange(n, nogil=True, num_threads=n_threads, schedule="static"):
        if pixel is uint8_t:
            flags |= TABLE.pack_u8(&x[i, 0], width, <uint8_t>on, &out[i, 0])
        elif pixel is float:
            flags |= TABLE.pack_f32(&x[i, 0], width, &out[i, 0])
        else:
            flags |= TABLE.pack_f64(&x[i, 0], width, &out[i, 0])
    return flags


def pack_sparse(const int32_t[::1] indptr not None, const int32_t[::1] indices not None, Py_ssize_t n_units, uint64_t[:, ::1] out not None):
    """Set the listed bits of each CSR row in `out`, which holds zeros."""
    cdef Py_ssize_t row, k
    cdef bint right = True
    require(indptr.shape[0] == out.shape[0] + 1 and out.shape[1] * 64 >= n_units, "indptr and out")
    require(indptr[0] >= 0 and indptr[out.shape[0]] <= indices.shape[0], "indptr")
    for row in range(out.shape[0]):
        right &= indptr[row] <= indptr[row + 1]
    require(right, "indptr")
    for k in range(indices.shape[0]):
        right &= 0 <= indices[k] < n_units
    require(right, "indices")
    with nogil:
        for row in range(out.shape[0]):
            for k in range(indptr[row], indptr[row + 1]):
                out[row, indices[k] >> 6] |= (<uint64_t>1) << (indices[k] & 63)


def transpose_bits(const uint64_t[:, ::1] rows not None, int n_units, uint64_t[:, ::1] out not None, int n_threads):
    """Sample-major bits to unit-major bits, out of shape (n_units, ceil(n_samples / 64))."""
    cdef Py_ssize_t n = rows.shape[0], blocks = (n + 31) // 32, ld = 64 * rows.shape[1], b
    cdef uint32_t[:, ::1] planes = np.zeros((2 * ((blocks + 1) // 2), ld), dtype=np.uint32)
    require(out.shape[0] == n_units and out.shape[1] * 64 >= n and rows.shape[1] * 64 >= n_units, "out")
    for b in prange(blocks, nogil=True, num_threads=n_threads):
        TABLE.gather(&rows[32 * b, 0], rows.shape[1], NULL, n - 32 * b if n - 32 * b < 32 else 32, n_units, NULL, 0,
                     &planes[b, 0], ld)
    view = np.asarray(planes)[:, :n_units]
    np.asarray(out)[...] = view[0::2].T.astype(np.uint64) | view[1::2].T.astype(np.uint64) << np.uint64(32)


def draw_bits(const float[:, ::1] grey not None, draw, uint64_t[:, ::1] out not None, int n_threads):
    """Bits set with probability `grey`."""
    cdef Py_ssize_t n = grey.shape[0], blocks = (n + 31) // 32, b
    cdef frbm_draw address
    require(out.shape[0] == n and out.shape[1] * 64 >= grey.shape[1], "out")
    _set_draw(&address, draw)
    cdef size_t ld = _up(n, FRBM_LANES), planes_ld = 64 * out.shape[1]
    words = aligned(2 * out.shape[1] * ld, np.uint32)
    cdef uint32_t *to = <uint32_t *><uintptr_t>words.ctypes.data
    cdef Memory planes = Memory(sizeof(uint32_t) * (ld // 32) * planes_ld)
    for b in prange(blocks, nogil=True, num_threads=n_threads):
        TABLE.draw_rows(&grey[0, 0], grey.shape[1], NULL, n, grey.shape[1], b, &address, to, ld,
                        <uint32_t *>planes.start, planes_ld)
    np.asarray(out).view(np.uint32)[...] = words.reshape(-1, ld)[:, :n].T


def draw_inputs(const floating[:, ::1] inputs not None, draw, uint64_t[:, ::1] out not None, int n_threads):
    """States of Bernoulli units with the given natural parameters."""
    cdef Py_ssize_t n = inputs.shape[0], width = inputs.shape[1], blocks = (n + 31) // 32, b
    cdef frbm_draw address
    cdef frbm_draw *mine
    _set_draw(&address, draw)
    require(out.shape[0] == n and out.shape[1] * 64 >= width, "out")
    for b in prange(blocks, nogil=True, num_threads=n_threads):
        _draw_block(&inputs[32 * b, 0], sizeof(floating) == 8, width, n - 32 * b if n - 32 * b < 32 else 32, &address,
                    32 * b, &out[32 * b, 0], out.shape[1])


cdef void _draw_block(const void *inputs, int is_double, size_t width, size_t n, const frbm_draw *base, size_t first,
                      uint64_t *out, size_t row_words) noexcept nogil:
    cdef frbm_draw draw = base[0]
    draw.first_chain += <uint32_t>first
    TABLE.draw_inputs(inputs, is_double, width, n, width, &draw, out, row_words)


def uniform_rows(draw, floating[:, ::1] out not None, int n_threads):
    """Fill with the uniforms of `fastrbm._kernels.draws.uniforms`, bit for bit."""
    cdef Py_ssize_t n = out.shape[0], width = out.shape[1], blocks = (n + 31) // 32, b
    cdef frbm_draw address
    _set_draw(&address, draw)
    if width == 0 or n == 0:
        return
    if n_threads == 1:
        _uniform_block(&out[0, 0], sizeof(floating) == 8, width, n, &address, 0)
        return
    for b in prange(blocks, nogil=True, num_threads=n_threads):
        _uniform_block(&out[32 * b, 0], sizeof(floating) == 8, width, n - 32 * b if n - 32 * b < 32 else 32, &address, 32 * b)


cdef void _uniform_block(void *out, int is_double, size_t width, size_t n, const frbm_draw *base,
                         size_t first) noexcept nogil:
    cdef frbm_draw draw = base[0]
    draw.first_chain += <uint32_t>first
    TABLE.uniform_rows(out, is_double, width, n, width, &draw)


def add_normals(float[:, ::1] inputs not None, draw, int n_threads):
    """States of Gaussian units with the given natural parameters, in their place."""
    cdef Py_ssize_t n = inputs.shape[0], width = inputs.shape[1], blocks = (n + 31) // 32, b
    cdef frbm_draw address
    _set_draw(&address, draw)
    if width == 0:
        return
    for b in prange(blocks, nogil=True, num_threads=n_threads):
        _normal_block(&inputs[32 * b, 0], width, n - 32 * b if n - 32 * b < 32 else 32, &address, 32 * b)


cdef void _normal_block(float *inputs, size_t width, size_t n, const frbm_draw *base, size_t first) noexcept nogil:
    cdef frbm_draw draw = base[0]
    draw.first_chain += <uint32_t>first
    TABLE.add_normals(inputs, width, n, width, &draw)


def onehot_rows(float[:, ::1] inputs not None, size_t group, draw, uint64_t[:, ::1] out, int n_threads):
    """One-hot units in groups: means in place of their inputs or, with a draw, states as bits in `out`."""
    cdef Py_ssize_t n = inputs.shape[0], width = inputs.shape[1], blocks = (n + 31) // 32, b
    cdef frbm_draw address
    cdef bint drawn = draw is not None
    if width == 0:
        return
    require(group > 0 and width % group == 0, "group")
    if drawn:
        require(out is not None and out.shape[0] == n and out.shape[1] * 64 >= width, "out")
        _set_draw(&address, draw)
    cdef size_t stride = _up(32 * width + _up(width, 32), 16)
    cdef Memory scratch = Memory(sizeof(float) * stride * n_threads)
    for b in prange(blocks, nogil=True, num_threads=n_threads):
        _onehot_block(&inputs[32 * b, 0], n - 32 * b if n - 32 * b < 32 else 32, width, group,
                      &address if drawn else NULL, 32 * b, &out[32 * b, 0] if drawn else NULL,
                      out.shape[1] if drawn else 0, <float *>scratch.start + threadid() * stride)


cdef void _onehot_block(float *inputs, size_t n, size_t width, size_t group, const frbm_draw *base, size_t first,
                        uint64_t *out, size_t row_words, float *scratch) noexcept nogil:
    cdef frbm_draw draw
    if base == NULL:
        TABLE.onehot_rows(inputs, n, width, group, NULL, NULL, 0, scratch)
        return
    draw = base[0]
    draw.first_chain += <uint32_t>first
    TABLE.onehot_rows(inputs, n, width, group, &draw, out, row_words, scratch)


def normal_quantiles(const uint32_t[::1] words not None):
    """Normal quantiles of the float32 uniforms of words, a multiple of 16: what tests look at."""
    require(words.shape[0] % 16 == 0, "words")
    cdef float[::1] out = np.empty(words.shape[0], dtype=np.float32)
    if words.shape[0]:
        TABLE.normal_quantiles(&words[0], words.shape[0], &out[0])
    return np.asarray(out)


def decide(const uint32_t[::1] words not None, const floating[::1] inputs not None):
    """What decides on units from words and inputs, a multiple of 16, as tests look at it.

    Bit 0 whether the unit is on, bit 1 whether the first step says so, bit 2 where that says nothing.
    """
    require(words.shape[0] % 16 == 0, "words")
    require(inputs.shape[0] == words.shape[0], "inputs")
    cdef uint8_t[::1] out = np.empty(words.shape[0], dtype=np.uint8)
    if words.shape[0]:
        TABLE.decide(&words[0], &inputs[0], sizeof(floating) == 8, words.shape[0], &out[0])
    return np.asarray(out)


def philox_block(draw, uint32_t unit_block):
    """Words of 16 chains and the 4 units of a block, shape (4, 16): pins the C stream in tests."""
    cdef frbm_draw address
    _set_draw(&address, draw)
    cdef uint32_t[::1] out = np.empty(64, dtype=np.uint32)
    TABLE.philox(&out[0], unit_block, address.first_chain, &address)
    return np.asarray(out).reshape(4, 16)


include "_weights.pxi"
include "_filters.pxi"
include "_layers.pxi"
include "_chains.pxi"
include "_tempering.pxi"
include "_gradients.pxi"
include "_training.pxi"
include "_label_training.pxi"
include "_partition.pxi"
include "_waves.pxi"
include "_maps.pxi"
