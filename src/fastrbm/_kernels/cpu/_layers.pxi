# ---- dense products --------------------------------------------------------------------------------------

def dense_inputs(const floating[:, :] x not None, const floating[:, ::1] weights not None, const floating[::1] bias not None, bint transpose,
                 floating[:, ::1] out not None, bint sigmoid, int n_threads):
    """out = bias + x @ weights.T (or @ weights), then the float32 sigmoid if asked for; see src/tiles/dense.h."""
    cdef Py_ssize_t n = x.shape[0], n_in = x.shape[1], n_out = out.shape[1]
    cdef Py_ssize_t blocks = (n + FRBM_DENSE_BLOCK - 1) // FRBM_DENSE_BLOCK, b
    cdef frbm_dense_layer layer
    if n == 0:
        return
    require_rows(n, n_in, x.strides, sizeof(floating), "x")
    require(out.shape[0] == n, "out")
    require(weights.shape[1 - transpose] == n_in and weights.shape[0 + transpose] == n_out == bias.shape[0], "weights and bias")
    layer.rows, layer.rows_ld, layer.n_in, layer.n_out = &x[0, 0], max(x.strides[0] // sizeof(floating), n_in), n_in, n_out
    layer.weights, layer.bias, layer.transpose, layer.out = &weights[0, 0], &bias[0], transpose, &out[0, 0]
    cdef size_t stride = sizeof(floating) * (n_in + FRBM_DENSE_BLOCK) * FRBM_DENSE_BLOCK
    cdef Memory scratch = Memory(stride * n_threads)
    cdef uint8_t *room = <uint8_t *>scratch.start
    if n_threads == 1:
        for b in range(blocks):
            _dense_block(&layer, &out[0, 0], sigmoid, b * FRBM_DENSE_BLOCK, n, room)
        return
    for b in prange(blocks, nogil=True, num_threads=n_threads, schedule="dynamic"):
        _dense_block(&layer, &out[0, 0], sigmoid, b * FRBM_DENSE_BLOCK, n, room + threadid() * stride)


cdef void _dense_block(const frbm_dense_layer *layer, floating *out, bint sigmoid, Py_ssize_t first, Py_ssize_t n, void *scratch) noexcept nogil:
    cdef Py_ssize_t here = n - first if n - first < FRBM_DENSE_BLOCK else FRBM_DENSE_BLOCK
    if floating is double:
        TABLE.dense_layer_f64(layer, first, here, scratch)
    else:
        TABLE.dense_layer_f32(layer, first, here, scratch)
        if sigmoid:
            TABLE.sigmoid(out + first * layer.n_out, here * layer.n_out)


def dense_gradient(const floating[:, ::1] hidden not None, const floating[:, :] visible not None, floating scale, floating[:, ::1] out not None, int n_threads):
    """out += (scale * hidden).T @ visible, by slices of hidden units."""
    cdef Py_ssize_t n = hidden.shape[0], n_hidden = out.shape[0], n_visible = out.shape[1]
    cdef Py_ssize_t blocks = (n_hidden + FRBM_DENSE_BLOCK - 1) // FRBM_DENSE_BLOCK, b
    cdef frbm_dense_moments m
    if n == 0:
        return
    require_rows(n, n_visible, visible.strides, sizeof(floating), "visible")
    require(hidden.shape[1] == n_hidden and visible.shape[0] == n and visible.shape[1] == n_visible, "hidden and visible")
    m.hidden, m.visible, m.n, m.n_hidden, m.n_visible = &hidden[0, 0], &visible[0, 0], n, n_hidden, n_visible
    m.visible_ld, m.scale, m.out = max(visible.strides[0] // sizeof(floating), n_visible), scale, &out[0, 0]
    cdef size_t stride = sizeof(floating) * ((FRBM_DENSE_BLOCK + 16) * FRBM_DENSE_ROWS + 16 * FRBM_DENSE_BLOCK)
    cdef Memory scratch = Memory(stride * n_threads)
    cdef uint8_t *room = <uint8_t *>scratch.start
    if n_threads == 1:
        for b in range(blocks):
            _moments_block(&m, scale, b * FRBM_DENSE_BLOCK, n_hidden, room)
        return
    for b in prange(blocks, nogil=True, num_threads=n_threads, schedule="dynamic"):
        _moments_block(&m, scale, b * FRBM_DENSE_BLOCK, n_hidden, room + threadid() * stride)


cdef void _moments_block(const frbm_dense_moments *m, floating kind, Py_ssize_t first, Py_ssize_t n_hidden, void *scratch) noexcept nogil:
    cdef Py_ssize_t here = n_hidden - first if n_hidden - first < FRBM_DENSE_BLOCK else FRBM_DENSE_BLOCK
    if floating is double:
        TABLE.dense_moments_f64(m, first, here, scratch)
    else:
        TABLE.dense_moments_f32(m, first, here, scratch)


# ---- products of bits ------------------------------------------------------------------------------------

def run_rows(const uint64_t[:, ::1] rows, FixedWeights weights not None, const float[::1] bias not None, bint transpose,
             int n_threads, float[:, ::1] means=None, float[:, ::1] inputs=None, uint64_t[:, ::1] samples=None,
             draw=None, const float[::1] visible_bias=None, double[::1] energy=None, Filters filters=None,
             const uint8_t[:, :] levels=None):
    """One layer given packed rows of the other; see frbm_rows in src/include/workers.h for the outputs.

    Hidden layers may be given `levels` in their place.
    """
    cdef frbm_rows r
    memset(&r, 0, sizeof(r))
    require((rows is None) != (levels is None), "rows")
    cdef Py_ssize_t n = rows.shape[0] if rows is not None else levels.shape[0]
    if n == 0:
        return
    r.table = TABLE
    r.n_rows = n
    r.coef, r.bias, r.quantum, r.int16 = weights.f.weights, &bias[0], 1 / weights.f.scale, weights.f.int16
    r.n_out, r.n_in = weights.n_hidden, weights.n_visible
    r.out_stride, r.in_stride = weights.f.ld, 1
    if transpose:
        r.n_out, r.n_in, r.out_stride, r.in_stride = r.n_in, r.n_out, r.in_stride, r.out_stride
    require(bias.shape[0] == <Py_ssize_t>r.n_out, "bias")
    if rows is not None:
        require(rows.shape[1] * 64 >= <Py_ssize_t>r.n_in, "rows")
        r.rows, r.row_words = &rows[0, 0], rows.shape[1]
    else:
        require(levels.shape[1] == <Py_ssize_t>r.n_in and not transpose and energy is None and filters is None, "levels")
        require_rows(n, r.n_in, levels.strides, 1, "levels")
        weights._want_halves()
        r.levels, r.levels_ld = &levels[0, 0], levels.strides[0]
        r.halves, r.halves_ld = weights.f.halves, weights.f.halves_ld
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
    if rows is not None:
        weights._want_limbs(transpose, n, n_threads)
    r.limbs = &weights.f.of_visible if transpose else &weights.f.of_hidden
    # pieces small enough to share out, large enough (1024 rows) to spread the cost of the tables
    r.chunk = min(1024 if levels is None else 64, max(64, _up((n + n_threads - 1) // n_threads, 64)))
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
        frbm_enter(&r.team)
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
    cdef Py_ssize_t n = score.shape[0], n_hidden = weights.shape[0], n_visible = weights.shape[1], blocks, b, j
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
    p.slab_ld = _up(n_hidden, 64)
    cdef size_t slabs = _up(n_visible, FRBM_LANES) * sizeof(floating) // 256
    cdef floating[::1] tail = aligned(n_hidden * FRBM_LANES, dtype), reach = aligned(p.slab_ld, dtype, True)
    cdef floating[::1] slab_reach = aligned(slabs * p.slab_ld, dtype, True)
    cdef floating[::1] tables = aligned((2 if bits is not None else 3) * table, dtype)
    cdef frbm_pseudo_tables to
    memset(&to, 0, sizeof(to))
    to.tail, to.reach, to.slab_reach = &tail[0], &reach[0], &slab_reach[0]
    if table:
        to.raise_ = &tables[0]
        if bits is None:
            to.scaled = &tables[2 * table]
    p.tail, p.reach, p.slab_reach, p.raise_, p.scaled = to.tail, to.reach, to.slab_reach, to.raise_, to.scaled
    cdef size_t each = TABLE.pseudo_scratch_f32(&p) if floating is float else TABLE.pseudo_scratch_f64(&p)
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


# ---- labels of rows --------------------------------------------------------------------------------------

cdef class Labels:
    """Hidden units of rows given classes, all padded to 16 units; see src/tiles/labels.h.

    `scores` come first; `means` use what they have left.
    """
    cdef frbm_labels a
    cdef object held
    cdef float[::1] raised, on, off

    def __init__(self, const float[:, ::1] inputs not None, const float[:, ::1] classes not None):
        cdef Py_ssize_t ld = inputs.shape[1]
        memset(&self.a, 0, sizeof(self.a))
        require(inputs.shape[0] > 0 and ld > 0 and ld % 16 == 0, "inputs")
        require(classes.shape[0] > 0 and classes.shape[1] == ld, "classes")
        self.held = inputs, classes
        self.a.inputs, self.a.classes = &inputs[0, 0], &classes[0, 0]
        self.a.n, self.a.ld, self.a.n_classes = inputs.shape[0], ld, classes.shape[0]
        cdef double most = np.abs(classes).max()
        if not most <= FRBM_MOST_CLASS:
            return
        self.raised = aligned(classes.shape[0] * ld, np.float32)
        self.on, self.off = aligned(inputs.shape[0] * ld, np.float32), aligned(inputs.shape[0] * ld, np.float32)
        TABLE.label_raise(self.a.classes, self.a.n_classes * self.a.ld, &self.raised[0])
        self.a.raise_, self.a.on, self.a.off = &self.raised[0], &self.on[0], &self.off[0]
        self.a.steps = <size_t>min(FRBM_LABEL_FACTORS, 80.0 / max(most, 0.5))

    def scores(self, const float[::1] bias not None, double[:, ::1] scores not None, int n_threads):
        """scores = bias + sum over units of log(1 + exp(inputs + classes))."""
        cdef Py_ssize_t row
        require(bias.shape[0] == self.a.n_classes, "bias")
        require(scores.shape[0] == self.a.n and scores.shape[1] == self.a.n_classes, "scores")
        self.a.bias, self.a.scores = &bias[0], &scores[0, 0]
        for row in prange(<Py_ssize_t>self.a.n, nogil=True, num_threads=n_threads):
            TABLE.label_scores(&self.a, row)

    def means(self, const float[:, ::1] shares not None, const int32_t[::1] labels not None, const float[::1] weights not None,
              float[:, ::1] data not None, float[:, ::1] model not None, float[:, ::1] of_data not None,
              float[:, ::1] of_model not None, int n_threads):
        """Means given the label and given the row; of_data and of_model are added to."""
        cdef Py_ssize_t n = self.a.n, ld = self.a.ld, n_classes = self.a.n_classes, block
        require(self.a.scores != NULL, "scores")
        require(shares.shape[0] == n and shares.shape[1] == n_classes, "shares")
        require(labels.shape[0] == n and weights.shape[0] == n, "labels and weights")
        require(data.shape[0] == n and data.shape[1] == ld and model.shape[0] == n and model.shape[1] == ld, "data and model")
        require(of_data.shape[0] == n_classes and of_data.shape[1] == ld, "of_data")
        require(of_model.shape[0] == n_classes and of_model.shape[1] == ld, "of_model")
        self.a.shares, self.a.labels, self.a.weights = &shares[0, 0], &labels[0], &weights[0]
        self.a.data, self.a.model, self.a.of_data, self.a.of_model = &data[0, 0], &model[0, 0], &of_data[0, 0], &of_model[0, 0]
        for block in prange((ld + FRBM_LABEL_UNITS - 1) // FRBM_LABEL_UNITS, nogil=True, num_threads=n_threads, schedule="dynamic"):
            TABLE.label_means(&self.a, FRBM_LABEL_UNITS * block)
