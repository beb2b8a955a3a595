# ---- dense products by BLAS ------------------------------------------------------------------------------

cdef void _gemm(floating *a, floating *b, floating *c, int m, int n, int k, int lda, int ldb, int ldc, bint ta, bint tb, floating alpha,
                floating beta) noexcept nogil:
    cdef char *opa = b"T" if ta else b"N"
    cdef char *opb = b"T" if tb else b"N"
    if floating is float:
        sgemm(opa, opb, &m, &n, &k, &alpha, a, &lda, b, &ldb, &beta, c, &ldc)
    else:
        dgemm(opa, opb, &m, &n, &k, &alpha, a, &lda, b, &ldb, &beta, c, &ldc)


def dense_inputs(const floating[:, :] x, const floating[:, ::1] weights, const floating[::1] bias, bint transpose,
                 floating[:, ::1] out, bint sigmoid, int n_threads):
    """out = bias + x @ weights.T (or @ weights), then the float32 sigmoid if asked for.

    BLAS must be limited to one thread by the caller: the slices here are the parallelism.
    """
    cdef Py_ssize_t n = x.shape[0], n_in = x.shape[1], n_out = out.shape[1]
    cdef Py_ssize_t n_slices = (n + BLAS_ROWS - 1) // BLAS_ROWS, s, i, j, first, here
    if n == 0:
        return
    if x.strides[1] != sizeof(floating):
        raise ValueError("rows must be contiguous")
    assert weights.shape[1 - transpose] == n_in and weights.shape[0 + transpose] == n_out == bias.shape[0]
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


def dense_gradient(const floating[:, ::1] hidden, const floating[:, :] visible, floating scale, floating[:, ::1] out, int n_threads):
    """out += scale * hidden.T @ visible, by fixed slices of hidden units (BLAS single-threaded as above)."""
    cdef Py_ssize_t n = hidden.shape[0], n_hidden = out.shape[0], n_visible = out.shape[1]
    cdef Py_ssize_t n_slices = (n_hidden + 63) // 64, s
    if visible.strides[1] != sizeof(floating):
        raise ValueError("rows must be contiguous")
    assert hidden.shape[1] == n_hidden and visible.shape[0] == n and visible.shape[1] == n_visible
    cdef int ldv = max(visible.strides[0] // sizeof(floating), n_visible)
    for s in prange(n_slices, nogil=True, num_threads=n_threads, schedule="dynamic"):
        _gemm(<floating *>&visible[0, 0], <floating *>&hidden[0, 64 * s], &out[64 * s, 0], n_visible,
              n_hidden - 64 * s if n_hidden - 64 * s < 64 else 64, n, ldv, n_hidden, n_visible, False, True, scale,
              <floating>1.0)


# ---- products of bits ------------------------------------------------------------------------------------

def run_rows(const uint64_t[:, ::1] rows, FixedWeights weights not None, const float[::1] bias, bint transpose,
             int n_threads, float[:, ::1] means=None, float[:, ::1] inputs=None, uint64_t[:, ::1] samples=None,
             draw=None, const float[::1] visible_bias=None, double[::1] energy=None, double[::1] score=None,
             const float[:, ::1] raising=None, const float[:, ::1] lowering=None, size_t strip=1, Filters filters=None):
    """One layer given packed rows of the other; see frbm_rows in src/include/workers.h for the outputs."""
    cdef frbm_rows r
    memset(&r, 0, sizeof(r))
    cdef Py_ssize_t n = rows.shape[0]
    r.table = TABLE
    r.rows = &rows[0, 0]
    r.row_words, r.n_rows = rows.shape[1], n
    r.coef, r.bias, r.quantum, r.int16 = weights.f.weights, &bias[0], 1 / weights.f.scale, weights.f.int16
    r.n_out, r.n_in = weights.n_hidden, weights.n_visible
    r.out_stride, r.in_stride = weights.f.ld, 1
    if transpose:
        r.n_out, r.n_in, r.out_stride, r.in_stride = r.n_in, r.n_out, r.in_stride, r.out_stride
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
    if filters is not None:
        assert samples is not None and means is None and inputs is None and energy is None and score is None
        r.filters, r.work, r.side = &filters.f, filters.work, &filters.f.visible if transpose else &filters.f.hidden
        r.chunk = filters.f.chunk
        n_threads = min(n_threads, FRBM_MOST_THREADS)
    cdef size_t stride = _up(frbm_rows_scratch(&r), 16)
    cdef float[::1] scratch = aligned(stride * n_threads, np.float32)
    cdef int thread
    with nogil, parallel(num_threads=n_threads):
        thread = threadid()
        r.team.n_threads = frbm_team_size()
        frbm_run_rows(&r, thread, &scratch[thread * stride])


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


def pseudo_any(const floating[:, :] v, const floating[:, ::1] inputs, const floating[:, ::1] weights,
               const floating[::1] visible_bias, double[::1] score, int n_threads):
    """score[s] = sum_i log p(v_i | rest) by softplus differences in float64: any values, any size of weights."""
    cdef Py_ssize_t n = v.shape[0], n_visible = weights.shape[1], n_hidden = weights.shape[0], s
    assert inputs.shape[0] == n and inputs.shape[1] == n_hidden and v.shape[1] == n_visible and score.shape[0] == n
    cdef double[:, ::1] before = np.empty((n_threads, n_hidden))
    for s in prange(n, nogil=True, num_threads=n_threads, schedule="dynamic"):
        score[s] = _pseudo_row(v, inputs, weights, visible_bias, s, &before[threadid(), 0])


cdef double _pseudo_row(const floating[:, :] v, const floating[:, ::1] inputs, const floating[:, ::1] weights,
                        const floating[::1] visible_bias, Py_ssize_t s, double *before) noexcept nogil:
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
