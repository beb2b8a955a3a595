# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Parallel regions around the C workers: threads, buffers, the GIL and interrupts.

Every function takes its thread count; callers (``__init__.py``) decide it. Arrays are checked by their typed
signatures; shapes are the caller's business and asserted here where a mistake would write out of bounds.
"""

from cpython.exc cimport PyErr_CheckSignals
from cython.parallel cimport parallel, prange, threadid
from libc.math cimport exp, log1p, fabs
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t, uintptr_t
from libc.string cimport memset
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec
from scipy.linalg.cython_blas cimport dgemm, sgemm

import numpy as np

ctypedef fused real:
    float
    double

ctypedef fused pixel:
    uint8_t
    float
    double

cdef const frbm_table *TABLE = NULL

TARGETS = ("avx512", "avx2", "baseline")
cdef Py_ssize_t BLAS_ROWS = 512  # rows of one BLAS call: fixed, so that results do not depend on the thread count


# ---- processor -------------------------------------------------------------------------------------------

def supported_targets():
    """Instruction sets this build and processor have, best first."""
    return [name for name in TARGETS if frbm_select(name.encode()) != NULL]


def select_target(str name not None):
    """Use the kernels of one instruction set from now on."""
    global TABLE
    cdef const frbm_table *table = frbm_select(name.encode())
    if table == NULL:
        raise ValueError(f"instruction set must be one of {supported_targets()} on this machine, got {name!r}")
    TABLE = table


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


cdef size_t _up(size_t n, size_t multiple) noexcept nogil:
    return (n + multiple - 1) // multiple * multiple


cdef void _set_draw(frbm_draw *out, draw) except *:
    out.key[0] = <uint32_t>(draw.seed & 0xFFFFFFFF)
    out.key[1] = <uint32_t>(draw.seed >> 32)
    out.step = draw.step
    out.stream = <uint32_t>draw.stream
    out.first_chain = <uint32_t>(draw.first_chain & 0xFFFFFFFF)


# ---- bits ------------------------------------------------------------------------------------------------

def pack_rows(const pixel[:, :] x, int on, uint64_t[:, ::1] out, int n_threads):
    """Pack dense rows; ``on`` is the value of a set bit (1, or 255 for images).

    Returns 1 (some value is neither 0 nor `on`) | 2 (some float is outside [0, 1] or not a number).
    """
    cdef Py_ssize_t n = x.shape[0], width = x.shape[1], i
    cdef int flags = 0
    if n and width and x.strides[1] != sizeof(pixel):
        raise ValueError("rows must be contiguous")
    assert out.shape[0] == n and out.shape[1] * 64 >= width
    for i in prange(n, nogil=True, num_threads=n_threads, schedule="static"):
        if pixel is uint8_t:
            flags |= TABLE.pack_u8(&x[i, 0], width, <uint8_t>on, &out[i, 0])
        elif pixel is float:
            flags |= TABLE.pack_f32(&x[i, 0], width, &out[i, 0])
        else:
            flags |= TABLE.pack_f64(&x[i, 0], width, &out[i, 0])
    return flags


def pack_sparse(const int32_t[::1] indptr, const int32_t[::1] indices, uint64_t[:, ::1] out):
    """Set the listed bits of each CSR row in `out`, which holds zeros."""
    cdef Py_ssize_t row, k
    with nogil:
        for row in range(out.shape[0]):
            for k in range(indptr[row], indptr[row + 1]):
                out[row, indices[k] >> 6] |= (<uint64_t>1) << (indices[k] & 63)


def transpose_bits(const uint64_t[:, ::1] rows, int n_units, uint64_t[:, ::1] out, int n_threads):
    """Sample-major bits to unit-major bits, out of shape (n_units, ceil(n_samples / 64))."""
    cdef Py_ssize_t n = rows.shape[0], blocks = (n + 31) // 32, ld = 64 * rows.shape[1], b
    cdef uint32_t[:, ::1] planes = np.zeros((2 * ((blocks + 1) // 2), ld), dtype=np.uint32)
    assert out.shape[0] == n_units and out.shape[1] * 64 >= n and rows.shape[1] * 64 >= n_units
    for b in prange(blocks, nogil=True, num_threads=n_threads):
        TABLE.gather(&rows[32 * b, 0], rows.shape[1], NULL, n - 32 * b if n - 32 * b < 32 else 32, n_units, NULL, 0,
                     &planes[b, 0], ld)
    view = np.asarray(planes)[:, :n_units]
    np.asarray(out)[...] = view[0::2].T.astype(np.uint64) | view[1::2].T.astype(np.uint64) << np.uint64(32)


def draw_bits(const float[:, ::1] grey, draw, uint64_t[:, ::1] out, int n_threads):
    """Bits set with probability `grey`."""
    cdef Py_ssize_t n = grey.shape[0], blocks = (n + 31) // 32, b
    cdef frbm_draw address
    _set_draw(&address, draw)
    cdef size_t ld = _up(n, FRBM_LANES), planes_ld = 64 * out.shape[1]
    cdef uint32_t[::1] words = aligned(2 * out.shape[1] * ld, np.uint32)
    cdef uint32_t[::1] planes = aligned((ld // 32) * planes_ld, np.uint32)
    for b in prange(blocks, nogil=True, num_threads=n_threads):
        TABLE.draw_rows(&grey[0, 0], grey.shape[1], NULL, n, grey.shape[1], b, &address, &words[0], ld, &planes[0],
                        planes_ld)
    np.asarray(out).view(np.uint32)[...] = np.asarray(words).reshape(-1, ld)[:, :n].T


def draw_inputs(const real[:, ::1] inputs, draw, uint64_t[:, ::1] out, int n_threads):
    """States of Bernoulli units with the given natural parameters."""
    cdef Py_ssize_t n = inputs.shape[0], width = inputs.shape[1], blocks = (n + 31) // 32, b
    cdef frbm_draw address
    cdef frbm_draw *mine
    _set_draw(&address, draw)
    assert out.shape[0] == n and out.shape[1] * 64 >= width
    for b in prange(blocks, nogil=True, num_threads=n_threads):
        _draw_block(&inputs[32 * b, 0], sizeof(real) == 8, width, n - 32 * b if n - 32 * b < 32 else 32, &address,
                    32 * b, &out[32 * b, 0], out.shape[1])


cdef void _draw_block(const void *inputs, int is_double, size_t width, size_t n, const frbm_draw *base, size_t first,
                      uint64_t *out, size_t row_words) noexcept nogil:
    cdef frbm_draw draw = base[0]
    draw.first_chain += <uint32_t>first
    TABLE.draw_inputs(inputs, is_double, width, n, width, &draw, out, row_words)


def philox_block(draw, uint32_t unit_block):
    """Words of 16 chains and the 4 units of a block, shape (4, 16): pins the C stream in tests."""
    cdef frbm_draw address
    _set_draw(&address, draw)
    cdef uint32_t[::1] out = np.empty(64, dtype=np.uint32)
    TABLE.philox(&out[0], unit_block, address.first_chain, &address)
    return np.asarray(out).reshape(4, 16)


# ---- dense products by BLAS ------------------------------------------------------------------------------

cdef void _gemm(real *a, real *b, real *c, int m, int n, int k, int lda, int ldb, int ldc, bint ta, bint tb, real alpha,
                real beta) noexcept nogil:
    cdef char *opa = b"T" if ta else b"N"
    cdef char *opb = b"T" if tb else b"N"
    if real is float:
        sgemm(opa, opb, &m, &n, &k, &alpha, a, &lda, b, &ldb, &beta, c, &ldc)
    else:
        dgemm(opa, opb, &m, &n, &k, &alpha, a, &lda, b, &ldb, &beta, c, &ldc)


def dense_inputs(const real[:, :] x, const real[:, ::1] weights, const real[::1] bias, bint transpose,
                 real[:, ::1] out, bint sigmoid, int n_threads):
    """out = bias + x @ weights.T (or @ weights), then the float32 sigmoid if asked for.

    BLAS must be limited to one thread by the caller: the slices here are the parallelism.
    """
    cdef Py_ssize_t n = x.shape[0], n_in = x.shape[1], n_out = out.shape[1]
    cdef Py_ssize_t n_slices = (n + BLAS_ROWS - 1) // BLAS_ROWS, s, i, j, first, here
    if n == 0:
        return
    if x.strides[1] != sizeof(real):
        raise ValueError("rows must be contiguous")
    assert weights.shape[1 - transpose] == n_in and weights.shape[0 + transpose] == n_out == bias.shape[0]
    cdef int ldx = max(x.strides[0] // sizeof(real), n_in)
    cdef int ldw = weights.shape[1]
    for s in prange(n_slices, nogil=True, num_threads=n_threads, schedule="dynamic"):
        first = s * BLAS_ROWS
        here = n - first if n - first < BLAS_ROWS else BLAS_ROWS
        for i in range(first, first + here):
            for j in range(n_out):
                out[i, j] = bias[j]
        _gemm(<real *>&weights[0, 0], <real *>&x[first, 0], &out[first, 0], n_out, here, n_in, ldw, ldx, n_out,
              not transpose, False, <real>1.0, <real>1.0)
        if real is float:
            if sigmoid:
                TABLE.sigmoid(&out[first, 0], here * n_out)


def dense_gradient(const real[:, ::1] hidden, const real[:, :] visible, real scale, real[:, ::1] out, int n_threads):
    """out += scale * hidden.T @ visible, by fixed slices of hidden units (BLAS single-threaded as above)."""
    cdef Py_ssize_t n = hidden.shape[0], n_hidden = out.shape[0], n_visible = out.shape[1]
    cdef Py_ssize_t n_slices = (n_hidden + 63) // 64, s
    if visible.strides[1] != sizeof(real):
        raise ValueError("rows must be contiguous")
    assert hidden.shape[1] == n_hidden and visible.shape[0] == n and visible.shape[1] == n_visible
    cdef int ldv = max(visible.strides[0] // sizeof(real), n_visible)
    for s in prange(n_slices, nogil=True, num_threads=n_threads, schedule="dynamic"):
        _gemm(<real *>&visible[0, 0], <real *>&hidden[0, 64 * s], &out[64 * s, 0], n_visible,
              n_hidden - 64 * s if n_hidden - 64 * s < 64 else 64, n, ldv, n_hidden, n_visible, False, True, scale,
              <real>1.0)


# ---- products of bits ------------------------------------------------------------------------------------

def run_rows(const uint64_t[:, ::1] rows, const float[:, ::1] weights, const float[::1] bias, bint transpose,
             int n_threads, float[:, ::1] means=None, float[:, ::1] inputs=None, uint64_t[:, ::1] samples=None,
             draw=None, const float[::1] visible_bias=None, double[::1] energy=None, double[::1] score=None,
             const float[:, ::1] raising=None, const float[:, ::1] lowering=None, size_t strip=1):
    """One layer given packed rows of the other; see frbm_rows in src/workers.h for the outputs."""
    cdef frbm_rows r
    memset(&r, 0, sizeof(r))
    cdef Py_ssize_t n = rows.shape[0]
    r.table = TABLE
    r.rows = &rows[0, 0]
    r.row_words, r.n_rows = rows.shape[1], n
    r.coef, r.bias = &weights[0, 0], &bias[0]
    r.n_out, r.n_in = weights.shape[0 + transpose], weights.shape[1 - transpose]
    r.out_stride = 1 if transpose else weights.shape[1]
    r.in_stride = weights.shape[1] if transpose else 1
    assert bias.shape[0] == <Py_ssize_t>r.n_out and rows.shape[1] * 64 >= <Py_ssize_t>r.n_in
    if means is not None:
        assert means.shape[0] == n and means.shape[1] == <Py_ssize_t>r.n_out
        r.means = &means[0, 0]
    if inputs is not None:
        assert inputs.shape[0] == n and inputs.shape[1] == <Py_ssize_t>r.n_out
        r.inputs = &inputs[0, 0]
    if samples is not None:
        assert samples.shape[0] == n and samples.shape[1] * 64 >= <Py_ssize_t>r.n_out
        r.samples, r.sample_words = &samples[0, 0], samples.shape[1]
        _set_draw(&r.draw, draw)
    if energy is not None or score is not None:
        assert visible_bias.shape[0] >= <Py_ssize_t>r.n_in
        r.visible_bias = &visible_bias[0]
    if energy is not None:
        assert energy.shape[0] == n
        r.energy = &energy[0]
    if score is not None:
        assert score.shape[0] == n and raising.shape[1] == lowering.shape[1] == visible_bias.shape[0]
        assert visible_bias.shape[0] % FRBM_LANES == 0
        r.score, r.raise_, r.lower = &score[0], &raising[0, 0], &lowering[0, 0]
        r.ratio_ld, r.strip = raising.shape[1], strip
    # pieces small enough to share out, large enough (1024 rows) to spread the cost of the tables
    r.chunk = min(1024, max(64, _up((n + n_threads - 1) // n_threads, 64)))
    cdef size_t stride = _up(frbm_rows_scratch(&r), 16)
    cdef float[::1] scratch = aligned(stride * n_threads, np.float32)
    cdef int thread
    with nogil, parallel(num_threads=n_threads):
        thread = threadid()
        r.team.n_threads = frbm_team_size()
        frbm_run_rows(&r, thread, &scratch[thread * stride])


def run_chains(uint32_t[:, ::1] hidden, uint32_t[:, ::1] visible, int n_chains, const float[:, ::1] weights,
               const float[::1] visible_bias, const float[::1] hidden_bias, draw, int n_sweeps, int n_threads):
    """Gibbs sweeps of chains held as words (lane stride = second dimension, a multiple of 64), in place."""
    cdef frbm_chains c
    memset(&c, 0, sizeof(c))
    assert hidden.shape[1] == visible.shape[1] and hidden.shape[1] % FRBM_LANES == 0 and n_chains <= hidden.shape[1]
    assert hidden.shape[0] * 32 >= weights.shape[0] and visible.shape[0] * 32 >= weights.shape[1]
    poller = Poller()
    c.table = TABLE
    c.weights, c.bias_hidden, c.bias_visible = &weights[0, 0], &hidden_bias[0], &visible_bias[0]
    c.n_hidden, c.n_visible = weights.shape[0], weights.shape[1]
    c.hidden, c.visible = &hidden[0, 0], &visible[0, 0]
    c.n_chains, c.ld, c.n_sweeps = n_chains, hidden.shape[1], n_sweeps
    _set_draw(&c.draw, draw)
    c.poll, c.poll_context = &_poll, <void *>poller
    c.chunk = min(512, max(64, _up((n_chains + n_threads - 1) // n_threads, 64)))
    cdef size_t stride = FRBM_SCRATCH_FLOATS
    cdef float[::1] scratch = aligned(stride * n_threads, np.float32)
    cdef int thread
    with nogil, parallel(num_threads=n_threads):
        thread = threadid()
        c.team.n_threads = frbm_team_size()
        frbm_run_chains(&c, thread, &scratch[thread * stride])
    poller.reraise()


# ---- training --------------------------------------------------------------------------------------------

cdef class Training:
    """Buffers and arguments of frbm_train; see src/workers.h."""

    cdef frbm_training t
    cdef list keep

    cdef uint32_t *words(self, size_t n):
        cdef uint32_t[::1] view = aligned(n + 1, np.uint32, True)
        self.keep.append(view)
        return &view[0]

    cdef float *floats(self, size_t n):
        cdef float[::1] view = aligned(n + 1, np.float32)
        self.keep.append(view)
        return &view[0]

    def __init__(self, parameters, velocity, plan, size_t n_rows, uint32_t[:, ::1] chains, size_t n_chains, bint grey):
        self.keep = []
        memset(&self.t, 0, sizeof(self.t))
        self._set_parameters(*parameters)
        if velocity is not None:
            self._set_velocity(*velocity)
        cdef frbm_training *t = &self.t
        cdef bint dense = grey and not plan.stochastic_input
        cdef size_t batch = min(<size_t>plan.batch_size, n_rows)
        t.batch_size, t.n_sweeps, t.persistent = plan.batch_size, plan.n_sweeps, plan.persistent
        t.stochastic_input = grey and plan.stochastic_input
        t.key[0], t.key[1] = plan.seed & 0xFFFFFFFF, plan.seed >> 32
        t.rate, t.momentum = plan.rate, plan.momentum
        t.sgemm = <frbm_sgemm>sgemm
        t.row_words = (t.n_visible + 63) // 64
        t.visible_ld = 64 * t.row_words
        t.data_ld = _up(batch, FRBM_LANES)
        t.n_chains = n_chains if plan.persistent else batch
        t.chain_ld = _up(t.n_chains, FRBM_LANES)
        if plan.persistent:
            assert chains.shape[1] == <Py_ssize_t>t.chain_ld and chains.shape[0] * 32 >= <Py_ssize_t>t.n_hidden
            self.keep.append(chains)
            t.chains = &chains[0, 0]
        else:
            t.hidden_words = self.words((t.n_hidden + 31) // 32 * t.chain_ld)
        if dense:
            t.inputs = self.floats(t.n_hidden * t.data_ld)
            t.grey_batch = self.floats(batch * t.n_visible)
        else:
            t.data_words = self.words(2 * t.row_words * t.data_ld)
            t.data_planes = self.words(t.data_ld // 32 * t.visible_ld)
        t.visible_words = self.words(2 * t.row_words * t.chain_ld)
        t.visible_planes = self.words(t.chain_ld // 32 * t.visible_ld)
        t.data_means = self.floats(t.n_hidden * t.data_ld)
        t.model_means = self.floats(t.n_hidden * t.chain_ld)

    def _set_parameters(self, float[:, ::1] weights, float[::1] visible_bias, float[::1] hidden_bias):
        self.keep += [weights, visible_bias, hidden_bias]
        self.t.n_hidden, self.t.n_visible = weights.shape[0], weights.shape[1]
        assert visible_bias.shape[0] == weights.shape[1] and hidden_bias.shape[0] == weights.shape[0]
        self.t.weights, self.t.bias_visible = &weights[0, 0], &visible_bias[0]
        self.t.bias_hidden = &hidden_bias[0]

    def _set_velocity(self, float[:, ::1] weights, float[::1] visible_bias, float[::1] hidden_bias):
        self.keep += [weights, visible_bias, hidden_bias]
        assert weights.shape[0] == <Py_ssize_t>self.t.n_hidden and weights.shape[1] == <Py_ssize_t>self.t.n_visible
        self.t.velocity, self.t.velocity_visible = &weights[0, 0], &visible_bias[0]
        self.t.velocity_hidden = &hidden_bias[0]

    def run(self, const uint64_t[:, ::1] rows, const float[:, ::1] grey, const int64_t[::1] order, state, on_batch,
            int n_threads):
        """Do the minibatches of `order`; ``state.step`` is advanced by what was done, also on an interrupt."""
        cdef frbm_training *t = &self.t
        cdef Py_ssize_t limit = rows.shape[0] if rows is not None else grey.shape[0]
        assert order.shape[0] == 0 or (np.min(order) >= 0 and np.max(order) < limit)
        if rows is not None:
            assert rows.shape[1] == <Py_ssize_t>t.row_words
            t.rows = &rows[0, 0]
        else:
            assert grey.shape[1] == <Py_ssize_t>t.n_visible
            t.grey = &grey[0, 0]
        poller = Poller(on_batch)
        t.table = TABLE
        t.order, t.n_rows, t.step, t.batches_done = &order[0], order.shape[0], state.step, 0
        t.poll, t.poll_context = &_poll, <void *>poller
        memset(&t.team, 0, sizeof(t.team))
        cdef size_t stride = _up(frbm_training_scratch(t), 16)
        cdef float[::1] scratch = aligned(stride * n_threads, np.float32)
        cdef int thread
        with nogil, parallel(num_threads=n_threads):
            thread = threadid()
            t.team.n_threads = frbm_team_size()
            frbm_train(t, thread, &scratch[thread * stride])
        state.step = t.step
        poller.reraise()


def gradient_step(const uint64_t[:, ::1] data, float[:, ::1] data_means, const uint64_t[:, ::1] model,
                  float[:, ::1] model_means, float[:, ::1] weights, float[::1] hidden_bias, float[:, ::1] velocity,
                  float[::1] hidden_velocity, float rate, float momentum, int n_threads):
    """Weights and hidden biases from packed states and unit-major, scaled means (model_means negative)."""
    cdef frbm_gradient g
    memset(&g, 0, sizeof(g))
    cdef size_t words = data.shape[1], ld = 64 * words, n = data.shape[0], m = model.shape[0]
    assert model.shape[1] == data.shape[1] and <Py_ssize_t>ld >= weights.shape[1]
    assert data_means.shape[0] == model_means.shape[0] == weights.shape[0] == hidden_bias.shape[0]
    assert data_means.shape[1] == <Py_ssize_t>n and model_means.shape[1] == <Py_ssize_t>m
    cdef uint32_t[::1] planes = aligned((_up(n, 32) + _up(m, 32)) // 32 * ld, np.uint32)
    cdef uint32_t *second = &planes[0] + _up(n, 32) // 32 * ld
    TABLE.gather(&data[0, 0], words, NULL, n, weights.shape[1], NULL, 0, &planes[0], ld)
    TABLE.gather(&model[0, 0], words, NULL, m, weights.shape[1], NULL, 0, second, ld)
    g.positive.bits, g.positive.stride, g.positive.n_inputs = &planes[0], ld, n
    g.positive.coef, g.positive.out_stride, g.positive.in_stride = &data_means[0, 0], n, 1
    g.negative.bits, g.negative.stride, g.negative.n_inputs = second, ld, m
    g.negative.coef, g.negative.out_stride, g.negative.in_stride = &model_means[0, 0], m, 1
    g.weights, g.bias, g.n_visible, g.rate, g.momentum = &weights[0, 0], &hidden_bias[0], weights.shape[1], rate, momentum
    if velocity is not None:
        g.velocity, g.bias_velocity = &velocity[0, 0], &hidden_velocity[0]
    cdef Py_ssize_t n_hidden = weights.shape[0], tiles = (n_hidden + 11) // 12, tile
    cdef size_t stride = FRBM_SCRATCH_FLOATS
    cdef float[::1] scratch = aligned(stride * n_threads, np.float32)
    for tile in prange(tiles, nogil=True, num_threads=n_threads, schedule="dynamic"):
        TABLE.gradient_rows(&g, 12 * tile, n_hidden - 12 * tile if n_hidden - 12 * tile < 12 else 12,
                            &scratch[threadid() * stride])


# ---- pseudo-likelihood of dense rows ---------------------------------------------------------------------

def pseudo_grey(const float[:, ::1] v, const float[:, ::1] inputs, const float[:, ::1] weights,
                const float[::1] visible_bias, int n_visible, double[::1] score, size_t strip, int n_threads):
    """score[s] += sum_i log p(v_i | rest) for rows in [0, 1]; v, weights, visible_bias padded to 64 units."""
    cdef frbm_pseudo p
    memset(&p, 0, sizeof(p))
    assert v.shape[1] == weights.shape[1] == visible_bias.shape[0] and v.shape[1] % FRBM_LANES == 0
    assert inputs.shape[0] == v.shape[0] == score.shape[0] and inputs.shape[1] == weights.shape[0]
    p.raise_, p.lower, p.ld, p.grey = &weights[0, 0], &weights[0, 0], weights.shape[1], &v[0, 0]
    p.visible_bias, p.inputs, p.unit_stride, p.sample_stride = &visible_bias[0], &inputs[0, 0], 1, inputs.shape[1]
    p.n_visible, p.n_hidden, p.strip, p.score = n_visible, weights.shape[0], strip, &score[0]
    cdef Py_ssize_t n = v.shape[0], blocks = (n + FRBM_PSEUDO_BLOCK - 1) // FRBM_PSEUDO_BLOCK, b
    cdef size_t stride = 2 * FRBM_PSEUDO_BLOCK * p.n_hidden
    cdef float[::1] scratch = aligned(stride * n_threads, np.float32)
    for b in prange(blocks, nogil=True, num_threads=n_threads, schedule="dynamic"):
        TABLE.pseudo_block(&p, b * FRBM_PSEUDO_BLOCK,
                           n - b * FRBM_PSEUDO_BLOCK if n - b * FRBM_PSEUDO_BLOCK < FRBM_PSEUDO_BLOCK
                           else FRBM_PSEUDO_BLOCK, &scratch[threadid() * stride])


cdef double _softplus(double x) noexcept nogil:
    return (x if x > 0 else 0) + log1p(exp(-fabs(x)))


def pseudo_any(const real[:, :] v, const real[:, ::1] inputs, const real[:, ::1] weights,
               const real[::1] visible_bias, double[::1] score, int n_threads):
    """score[s] = sum_i log p(v_i | rest) by softplus differences in float64: any values, any size of weights."""
    cdef Py_ssize_t n = v.shape[0], n_visible = weights.shape[1], n_hidden = weights.shape[0], s
    assert inputs.shape[0] == n and inputs.shape[1] == n_hidden and v.shape[1] == n_visible and score.shape[0] == n
    cdef double[:, ::1] before = np.empty((n_threads, n_hidden))
    for s in prange(n, nogil=True, num_threads=n_threads, schedule="dynamic"):
        score[s] = _pseudo_row(v, inputs, weights, visible_bias, s, &before[threadid(), 0])


cdef double _pseudo_row(const real[:, :] v, const real[:, ::1] inputs, const real[:, ::1] weights,
                        const real[::1] visible_bias, Py_ssize_t s, double *before) noexcept nogil:
    cdef Py_ssize_t i, j
    cdef double total = 0, flip, gain
    for j in range(weights.shape[0]):
        before[j] = _softplus(inputs[s, j])
    for i in range(weights.shape[1]):
        flip = 1 - 2 * <double>v[s, i]
        gain = flip * visible_bias[i]
        for j in range(weights.shape[0]):
            gain += _softplus(inputs[s, j] + flip * weights[j, i]) - before[j]
        total -= _softplus(gain)
    return total
