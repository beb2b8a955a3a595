# ---- dense products by BLAS ------------------------------------------------------------------------------

cdef void _gemm(floating *a, floating *b, floating *c, int m, int n, int k, int lda, int ldb, int ldc, bint ta, bint tb, floating alpha,
                floating beta) noexcept nogil:
    cdef char *opa = b"T" if ta else b"N"
    cdef char *opb = b"T" if tb else b"N"
    if floating is float:
        sgemm(opa, opb, &m, &n, &k, &alpha, a, &lda, b, &ldb, &beta, c, &ldc)
    else:
        dgemm(opa, opb, &m, &n, &k, &alpha, a, &lda, b, &ldb, &beta, c, &ldc)


def dense_inputs(const floating[:, :] x not None, const floating[:, ::1] weights not None, const floating[::1] bias not None, bint transpose,
                 floating[:, ::1] out not None, bint sigmoid, int n_threads):
    """out = bias + x @ weights.T (or @ weights), then the float32 sigmoid if asked for.

    BLAS must be limited to one thread by the caller: the slices here are the parallelism.
    """
    cdef Py_ssize_t n = x.shape[0], n_in = x.shape[1], n_out = out.shape[1]
    cdef Py_ssize_t n_slices = (n + BLAS_ROWS - 1) // BLAS_ROWS, s, i, j, first, here
    if n == 0:
        return
    require_rows(n, n_in, x.strides, sizeof(floating), "x")
    require(out.shape[0] == n, "out")
    require(weights.shape[1 - transpose] == n_in and weights.shape[0 + transpose] == n_out == bias.shape[0], "weights and bias")
    cdef int ldx = max(x.strides[0] // sizeof(floating), n_in)
    cdef int ldw = weights.shape[1]
    for s in prange(n_slices, nogil=True, num_threads=n_threads, schedule="dynamic"):
        first = s * BLAS_ROWS
        here = n - first if n - first < BLAS_ROWS else BLAS_ROWS
        for i in range(first, first + here):
            for j in range(n_out):
                out[i, j] = bias[j]
        _gemm(<floating *>&weights[0, 0], <floating *>&x[first, 0], &out[first, 0], n_out, here, n_in, ldw, ldx, n_out,
              not transpose, False, <floating>1.0, <floating>1.0)
        if floating is float:
            if sigmoid:
                TABLE.sigmoid(&out[first, 0], here * n_out)


def dense_gradient(const floating[:, ::1] hidden not None, const floating[:, :] visible not None, floating scale, floating[:, ::1] out not None, int n_threads):
    """out += scale * hidden.T @ visible, by fixed slices of hidden units (BLAS single-threaded as above)."""
    cdef Py_ssize_t n = hidden.shape[0], n_hidden = out.shape[0], n_visible = out.shape[1]
    cdef Py_ssize_t n_slices = (n_hidden + 63) // 64, s
    if n == 0:
        return
    require_rows(n, n_visible, visible.strides, sizeof(floating), "visible")
    require(hidden.shape[1] == n_hidden and visible.shape[0] == n and visible.shape[1] == n_visible, "hidden and visible")
    cdef int ldv = max(visible.strides[0] // sizeof(floating), n_visible)
    for s in prange(n_slices, nogil=True, num_threads=n_threads, schedule="dynamic"):
        _gemm(<floating *>&visible[0, 0], <floating *>&hidden[0, 64 * s], &out[64 * s, 0], n_visible,
              n_hidden - 64 * s if n_hidden - 64 * s < 64 else 64, n, ldv, n_hidden, n_visible, False, True, scale,
              <floating>1.0)


# ---- products of bits ------------------------------------------------------------------------------------

def run_rows(const uint64_t[:, ::1] rows not None, FixedWeights weights not None, const float[::1] bias not None, bint transpose,
             int n_threads, float[:, ::1] means=None, float[:, ::1] inputs=None, uint64_t[:, ::1] samples=None,
             draw=None, const float[::1] visible_bias=None, double[::1] energy=None, Filters filters=None):
    """One layer given packed rows of the other; see frbm_rows in src/include/workers.h for the outputs."""
    cdef frbm_rows r
    memset(&r, 0, sizeof(r))
    cdef Py_ssize_t n = rows.shape[0]
    if n == 0:
        return
    r.table = TABLE
    r.rows = &rows[0, 0]
    r.row_words, r.n_rows = rows.shape[1], n
    r.coef, r.bias, r.quantum, r.int16 = weights.f.weights, &bias[0], 1 / weights.f.scale, weights.f.int16
    r.n_out, r.n_in = weights.n_hidden, weights.n_visible
    r.out_stride, r.in_stride = weights.f.ld, 1
    if transpose:
        r.n_out, r.n_in, r.out_stride, r.in_stride = r.n_in, r.n_out, r.in_stride, r.out_stride
    require(bias.shape[0] == <Py_ssize_t>r.n_out and rows.shape[1] * 64 >= <Py_ssize_t>r.n_in, "bias and rows")
    if means is not None:
        require(means.shape[0] == n and means.shape[1] == <Py_ssize_t>r.n_out, "means")
        r.means = &means[0, 0]
    if inputs is not None:
        require(inputs.shape[0] == n and inputs.shape[1] == <Py_ssize_t>r.n_out, "inputs")
        r.inputs = &inputs[0, 0]
    if samples is not None:
        require(samples.shape[0] == n and samples.shape[1] * 64 >= <Py_ssize_t>r.n_out, "samples")
        r.samples, r.sample_words = &samples[0, 0], samples.shape[1]
        _set_draw(&r.draw, draw)
    if energy is not None:
        require(visible_bias is not None and visible_bias.shape[0] >= <Py_ssize_t>r.n_in and energy.shape[0] == n, "visible_bias and energy")
        r.visible_bias, r.energy = &visible_bias[0], &energy[0]
    # pieces small enough to share out, large enough (1024 rows) to spread the cost of the tables
    r.chunk = min(1024, max(64, _up((n + n_threads - 1) // n_threads, 64)))
    if filters is not None:
        require(filters.fits(weights) and samples is not None and means is None and inputs is None and energy is None, "filters")
        r.filters, r.work, r.side = &filters.f, filters.work, &filters.f.visible if transpose else &filters.f.hidden
        r.chunk = filters.f.chunk
        n_threads = min(n_threads, FRBM_MOST_THREADS)
    cdef size_t stride = _up(frbm_rows_scratch(&r), 16)
    cdef Memory scratch = Memory(sizeof(float) * stride * n_threads)
    _run_rows(&r, n_threads, <float *>scratch.start, stride)


cdef void _run_rows(frbm_rows *r, int n_threads, float *scratch, size_t stride) noexcept:
    """One layer by a team; one thread enters no parallel region, which takes longer than small layers."""
    cdef int thread
    r.team.ticket, r.team.n_threads = 0, 1
    if n_threads == 1:
        with nogil:
            frbm_run_rows(r, 0, scratch)
        return
    with nogil, parallel(num_threads=n_threads):
        thread = threadid()
        r.team.n_threads = frbm_team_size()
        frbm_run_rows(r, thread, scratch + thread * stride)


# ---- exponentials ----------------------------------------------------------------------------------------

def exponentials(const double[::1] x not None, double top, series, double[::1] out not None):
    """e^(x - top) as `fastrbm._kernels.exponentials.exponentials` has it, by the same operations."""
    cdef double c[16]
    cdef Py_ssize_t i
    cdef int n = len(series), k
    cdef double t, whole, p
    require(out.shape[0] == x.shape[0] and 0 < n <= 16, "out")
    for k in range(n):
        c[k] = series[k]
    with nogil:
        for i in range(x.shape[0]):
            t = (x[i] - top) * 1.4426950408889634
            t = -1000.0 if t < -1000.0 else t  # a NaN stays one
            whole = rint(t)
            p = c[0]
            for k in range(1, n):
                p = p * (t - whole) + c[k]
            out[i] = ldexp(p, <int>whole)


# ---- pseudo-likelihood -----------------------------------------------------------------------------------

cdef Py_ssize_t TABLE_ROWS = 8  # rows for which tables of e^W are worth their making
cdef size_t PSEUDO_BYTES = 4 << 20  # of scratch, about


def pseudo_likelihood(const floating[:, ::1] inputs not None, const floating[:, ::1] weights not None, const floating[::1] visible_bias not None,
                      const uint64_t[:, ::1] bits, const floating[:, :] dense, double[::1] score not None, int n_threads):
    """score[s] += sum_i log p(v_i | rest) for rows of bits, or dense ones of any values; see src/tiles/pseudo.inc.c."""
    cdef frbm_pseudo p
    memset(&p, 0, sizeof(p))
    cdef Py_ssize_t n = score.shape[0], n_hidden = weights.shape[0], n_visible = weights.shape[1], padded, blocks, b, j
    if n == 0 or n_visible == 0:
        return
    require(inputs.shape[0] == n and inputs.shape[1] == n_hidden, "inputs")
    require(visible_bias.shape[0] == n_visible, "visible_bias")
    p.inputs, p.visible_bias, p.score = &inputs[0, 0], &visible_bias[0], &score[0]
    p.weights, p.n_visible, p.n_hidden = &weights[0, 0], n_visible, n_hidden
    if bits is not None:
        require(bits.shape[0] == n and bits.shape[1] * 64 >= n_visible, "bits")
        p.rows, p.row_words = &bits[0, 0], bits.shape[1]
    else:
        require(dense is not None and dense.shape[0] == n and dense.shape[1] == n_visible, "dense")
        require_rows(n, n_visible, dense.strides, sizeof(floating), "dense")
        p.dense, p.dense_ld = &dense[0, 0], dense.strides[0] // sizeof(floating)
    dtype = np.float32 if floating is float else np.float64
    cdef size_t table = n_hidden * _up(n_visible, FRBM_LANES) if n >= TABLE_ROWS else 0
    cdef floating[::1] tail = aligned(n_hidden * FRBM_LANES, dtype), reach = aligned(n_hidden, dtype)
    cdef floating[::1] tables = aligned((2 if bits is not None else 3) * table, dtype)
    cdef frbm_pseudo_tables to
    memset(&to, 0, sizeof(to))
    to.tail, to.reach = &tail[0], &reach[0]
    if table:
        to.raise_ = &tables[0]
        if bits is None:
            to.scaled = &tables[2 * table]
    p.tail, p.reach, p.raise_, p.scaled = to.tail, to.reach, to.raise_, to.scaled
    padded = _up(n_hidden, 16) + 16
    cdef size_t each = padded * (3 * sizeof(floating) + 2 * sizeof(uint32_t))
    cdef Py_ssize_t block = max(1, min(FRBM_PSEUDO_BLOCK, (n + n_threads - 1) // n_threads, PSEUDO_BYTES // each))
    blocks = (n + block - 1) // block
    cdef size_t stride = _up(each * block, 64)
    cdef Memory scratch = Memory(stride * n_threads)
    for j in prange(n_hidden, nogil=True, num_threads=n_threads):
        if floating is float:
            TABLE.pseudo_tables_f32(&p, j, &to)
        else:
            TABLE.pseudo_tables_f64(&p, j, &to)
    for b in prange(blocks, nogil=True, num_threads=n_threads, schedule="dynamic"):
        if floating is float:
            TABLE.pseudo_block_f32(&p, b * block, min(block, n - b * block), <uint8_t *>scratch.start + threadid() * stride)
        else:
            TABLE.pseudo_block_f64(&p, b * block, min(block, n - b * block), <uint8_t *>scratch.start + threadid() * stride)
