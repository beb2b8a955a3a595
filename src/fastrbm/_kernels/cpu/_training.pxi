# ---- chains ----------------------------------------------------------------------------------------------

def run_chains(uint32_t[:, ::1] hidden, uint32_t[:, ::1] visible, int n_chains, FixedWeights weights not None,
               const float[::1] visible_bias, const float[::1] hidden_bias, draw, int n_sweeps, int n_threads, Filters filters=None):
    """Gibbs sweeps of chains held as words (lane stride = second dimension, a multiple of 64), in place."""
    cdef frbm_chains c
    memset(&c, 0, sizeof(c))
    assert hidden.shape[1] == visible.shape[1] and hidden.shape[1] % FRBM_LANES == 0 and n_chains <= hidden.shape[1]
    assert hidden.shape[0] * 32 >= <Py_ssize_t>weights.n_hidden
    assert visible.shape[0] * 32 >= <Py_ssize_t>weights.n_visible
    poller = Poller()
    c.table = TABLE
    c.fixed, c.bias_hidden, c.bias_visible = &weights.f, &hidden_bias[0], &visible_bias[0]
    c.n_hidden, c.n_visible = weights.n_hidden, weights.n_visible
    c.hidden, c.visible = &hidden[0, 0], &visible[0, 0]
    c.n_chains, c.ld, c.n_sweeps = n_chains, hidden.shape[1], n_sweeps
    _set_draw(&c.draw, draw)
    c.poll, c.poll_context = &_poll, <void *>poller
    c.chunk = min(512, max(64, _up((n_chains + n_threads - 1) // n_threads, 64)))
    cdef size_t stride = FRBM_SCRATCH_FLOATS
    if filters is not None:
        c.filters, c.work, c.chunk = &filters.filters, filters.work, filters.filters.chunk
        n_threads = min(n_threads, FRBM_MOST_THREADS)
        stride += _up(frbm_filters_scratch(&filters.filters), 16)
    cdef float[::1] scratch = aligned(stride * n_threads, np.float32)
    cdef int thread
    with nogil, parallel(num_threads=n_threads):
        thread = threadid()
        c.team.n_threads = frbm_team_size()
        frbm_run_chains(&c, thread, &scratch[thread * stride])
    poller.reraise()


# ---- rules -----------------------------------------------------------------------------------------------

cdef void _set_rule(frbm_rule *out, update) except *:
    rule = update.rule
    out.kind = RULES.index(rule.kind)
    out.rate, out.momentum, out.decay, out.epsilon = update.rate, update.momentum, rule.decay, rule.epsilon
    out.mean_scale, out.square_scale = update.scales()
    out.l1, out.l2, out.clip = rule.l1, rule.l2, rule.clip


cdef void _set_slots(float **out, slots, Py_ssize_t n) except *:
    cdef float[::1] flat
    assert len(slots) <= FRBM_SLOTS
    for k, slot in enumerate(slots):
        flat = slot.reshape(-1)  # a view: the caller's arrays are contiguous
        assert flat.shape[0] == n and np.shares_memory(np.asarray(flat), slot)
        out[k] = &flat[0]


def apply_rule(update, float[::1] values, slots, float[::1] gradient, bint penalised, int n_threads):
    """One application of a rule to flat arrays; `gradient` is overwritten."""
    cdef frbm_rule rule
    cdef float *pointers[3]
    cdef Py_ssize_t n = values.shape[0], piece = 1 << 14, k
    memset(pointers, 0, sizeof(pointers))
    _set_rule(&rule, update)
    _set_slots(pointers, slots, n)
    assert gradient.shape[0] == n
    for k in prange((n + piece - 1) // piece, nogil=True, num_threads=n_threads, schedule="static"):
        TABLE.apply_rule(&rule, penalised, &values[0], pointers, k * piece, &gradient[k * piece],
                         n - k * piece if n - k * piece < piece else piece)


# ---- training --------------------------------------------------------------------------------------------

cdef class Training:
    """Buffers and arguments of frbm_train; see src/include/workers.h."""

    cdef frbm_training t
    cdef list keep
    cdef FixedWeights fixed
    cdef Filters filters

    cdef uint32_t *words(self, size_t n):
        cdef uint32_t[::1] view = aligned(n + 1, np.uint32, True)
        self.keep.append(view)
        return &view[0]

    cdef int32_t *integers(self, size_t n):
        cdef int32_t[::1] view = aligned(n + 1, np.int32)
        self.keep.append(view)
        return &view[0]

    cdef float *floats(self, size_t n):
        cdef float[::1] view = aligned(n + 1, np.float32, True)
        self.keep.append(view)
        return &view[0]

    def __init__(self, parameters, slots, plan, units, size_t n_updates, size_t n_rows, uint32_t[:, ::1] chains, size_t n_chains, bint grey,
                 bint transposed, int n_threads, str strategy="dense", bases=None, bint int16=False):
        self.keep = []
        memset(&self.t, 0, sizeof(self.t))
        self._set_parameters(*parameters)
        cdef frbm_training *t = &self.t
        self.keep.append(slots)
        _set_slots(t.slots, [s.weights for s in slots], t.n_hidden * t.n_visible)
        _set_slots(t.slots_visible, [s.visible_bias for s in slots], t.n_visible)
        _set_slots(t.slots_hidden, [s.hidden_bias for s in slots], t.n_hidden)
        _set_rule(&t.rule, plan.update(n_updates))
        t.updates = n_updates
        t.delta_visible = self.floats(t.n_visible)
        unit = get_unit(units[1])
        unit.check_width(t.n_hidden)
        t.group = (unit.n_classes or t.n_hidden) if unit.name == "onehot" else 0
        self._set_spins(units[0] == "ising", units[1] == "ising")
        cdef bint filtered = strategy != "dense" and plan.n_sweeps > 1
        self.fixed = FixedWeights(t.n_hidden, t.n_visible, transposed or filtered, n_threads)
        t.fixed, t.magnitudes, t.int16 = self.fixed.f, self.fixed.magnitudes, int16
        cdef bint dense = grey and not plan.stochastic_input
        cdef size_t batch = min(<size_t>plan.batch_size, n_rows)
        t.batch_size, t.n_sweeps, t.persistent = plan.batch_size, plan.n_sweeps, plan.persistent
        t.stochastic_input = grey and plan.stochastic_input
        t.sampled_hidden = plan.sampled_hidden
        t.key[0], t.key[1] = plan.seed & 0xFFFFFFFF, plan.seed >> 32
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
        if not plan.persistent or (dense and plan.sampled_hidden):
            t.hidden_words = self.words((t.n_hidden + 31) // 32 * t.data_ld)
        cdef int b
        if units[0] == "gaussian":
            self._set_real(batch)
            dense = False
        for b in range(2):
            if t.gaussian != NULL:
                t.batches[b].grey = self.floats(batch * t.visible_ld)
                t.batches[b].lanes = self.floats(t.n_visible * t.data_ld)
            elif dense:
                t.batches[b].grey = self.floats(batch * t.n_visible)
            else:
                t.batches[b].words = self.words(2 * t.row_words * t.data_ld)
                t.batches[b].planes = self.words(t.data_ld // 32 * t.visible_ld)
        if dense:
            t.inputs = self.floats(t.n_hidden * t.data_ld)
            t.grey_gradient = self.floats(t.n_hidden * t.n_visible)
            t.data_means = self.floats(t.n_hidden * t.data_ld)
        elif t.gaussian == NULL and not t.sampled_hidden:
            t.data_fixed = self.integers(t.n_hidden * t.data_ld)
        if t.group or t.gaussian != NULL:
            t.inputs = self.floats(t.n_hidden * max(t.data_ld, t.chain_ld))
        if t.gaussian == NULL:
            t.visible_words = self.words(2 * t.row_words * t.chain_ld)
            t.visible_planes = self.words(t.chain_ld // 32 * t.visible_ld)
        if t.sampled_hidden:
            t.hidden_ld = _up(t.n_hidden, FRBM_LANES)
            t.data_planes = self.words(t.data_ld // 32 * t.hidden_ld)
            t.model_planes = self.words(t.chain_ld // 32 * t.hidden_ld)
        elif t.gaussian == NULL:
            t.model_fixed = self.integers(t.n_hidden * t.chain_ld)
        if filtered:
            # chains go to the threads in chunks of whole words of 32
            self.filters = Filters(strategy, self.fixed, min(512, _up((t.n_chains + n_threads - 1) // n_threads, 32)), bases)
            t.filters, t.work = &self.filters.filters, self.filters.work

    def counters(self):
        """What the filters strategy did so far (COUNTERS); None without one."""
        return None if self.filters is None else self.filters.counters()

    def _set_parameters(self, float[:, ::1] weights, float[::1] visible_bias, float[::1] hidden_bias):
        self.keep += [weights, visible_bias, hidden_bias]
        self.t.n_hidden, self.t.n_visible = weights.shape[0], weights.shape[1]
        assert visible_bias.shape[0] == weights.shape[1] and hidden_bias.shape[0] == weights.shape[0]
        self.t.weights, self.t.bias_visible = &weights[0, 0], &visible_bias[0]
        self.t.bias_hidden = &hidden_bias[0]

    cdef void _set_real(self, size_t batch) except *:
        cdef frbm_training *t = &self.t
        cdef size_t pairs = (t.n_visible + 1) // 2
        cdef int b
        t.gaussian = self.floats(t.n_visible * t.chain_ld)
        if t.int16:
            t.chains_int16, t.chains_quanta = self.words(pairs * t.chain_ld), self.floats(t.chain_ld)
            t.weights_int16, t.weight_quanta = self.words(pairs * t.n_hidden), self.floats(t.n_hidden)
            for b in range(2):
                t.batches[b].int16, t.batches[b].quanta = self.words(pairs * t.data_ld), self.floats(t.data_ld)
        if not t.sampled_hidden:
            t.gaussian_rows = self.floats(t.n_chains * t.visible_ld)
            t.data_means = self.floats(t.n_hidden * t.data_ld)
            t.model_means = self.floats(t.n_hidden * t.chain_ld)

    cdef void _set_spins(self, bint visible, bint hidden) except *:
        cdef frbm_training *t = &self.t
        if visible or hidden:
            t.spins.visible, t.spins.hidden, t.spins.scale = visible, hidden, (1 + visible) * (1 + hidden)
            t.spins.delta_visible = t.delta_visible
            t.bits_hidden, t.bits_visible = self.floats(t.n_hidden), self.floats(t.n_visible)

    def run(self, const uint64_t[:, ::1] rows, const float[:, ::1] grey, const int64_t[::1] order, state, on_batch):
        """Do the minibatches of `order`; ``state.step`` is advanced by what was done, also on an interrupt.

        Returns the number of rows done: fewer than asked for when the weights have outgrown fixed point.
        """
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
        t.outgrown = 0
        cdef int n_threads = self.fixed.n_sharing
        t.poll, t.poll_context = &_poll, <void *>poller
        memset(&t.team, 0, sizeof(t.team))
        memset(&t.grey_team, 0, sizeof(t.grey_team))
        cdef size_t stride = _up(FRBM_SCRATCH_FLOATS, 16)
        if t.filters != NULL:
            stride += _up(frbm_filters_scratch(t.filters), 16)
        if t.gaussian != NULL and t.sampled_hidden:
            stride += FRBM_GAUSSIAN_COLUMNS * (t.data_ld + t.chain_ld)
        cdef float[::1] scratch = aligned(stride * n_threads, np.float32)
        cdef int thread
        with nogil, parallel(num_threads=n_threads):
            thread = threadid()
            t.team.n_threads = frbm_team_size()
            frbm_train(t, thread, &scratch[thread * stride])
        state.step = t.step
        state.updates += t.batches_done
        poller.reraise()
        return min(<size_t>order.shape[0], t.batches_done * t.batch_size)


def gradient_step(const uint64_t[:, ::1] data, data_hidden, const uint64_t[:, ::1] model, model_hidden,
                  float[:, ::1] weights, float[::1] hidden_bias, slots, hidden_slots, update, float quantum,
                  int n_threads):
    """Weights and hidden biases from packed visible states.

    Hidden: both packed states, or both unit-major means from `round_means` (model_hidden negative).
    """
    cdef frbm_gradient g
    memset(&g, 0, sizeof(g))
    cdef size_t words = data.shape[1], ld = 64 * words, n = data.shape[0], m = model.shape[0]
    assert model.shape[1] == data.shape[1] and <Py_ssize_t>ld >= weights.shape[1]
    assert weights.shape[0] == hidden_bias.shape[0]
    cdef const int32_t[:, ::1] data_means
    cdef const int32_t[:, ::1] model_means
    cdef uint32_t[::1] planes = _planes(data, weights.shape[1]), model_planes = _planes(model, weights.shape[1])
    cdef uint32_t[::1] hidden, model_states
    g.positive.bits, g.positive.stride, g.positive.n_inputs = &planes[0], ld, n
    g.negative.bits, g.negative.stride, g.negative.n_inputs = &model_planes[0], ld, m
    if data_hidden.dtype == np.uint64:
        assert data_hidden.shape == (n, (weights.shape[0] + 63) // 64) and model_hidden.shape == (m, data_hidden.shape[1])
        hidden, model_states = _planes(data_hidden, weights.shape[0]), _planes(model_hidden, weights.shape[0])
        g.positive_hidden, g.negative_hidden, g.hidden_ld = &hidden[0], &model_states[0], 64 * data_hidden.shape[1]
        g.positive_share, g.negative_share = <float>1.0 / <float>n, -(<float>1.0) / <float>m
    else:
        data_means, model_means = data_hidden, model_hidden
        assert data_means.shape[0] == model_means.shape[0] == weights.shape[0]
        assert data_means.shape[1] == <Py_ssize_t>n and model_means.shape[1] == <Py_ssize_t>m
        g.positive.coef, g.positive.out_stride, g.positive.in_stride = &data_means[0, 0], n, 1
        g.negative.coef, g.negative.out_stride, g.negative.in_stride = &model_means[0, 0], m, 1
    g.weights, g.bias, g.n_visible, g.quantum = &weights[0, 0], &hidden_bias[0], weights.shape[1], quantum
    _set_rule(&g.rule, update)
    _set_slots(g.slots, slots, weights.shape[0] * weights.shape[1])
    _set_slots(g.bias_slots, hidden_slots, weights.shape[0])
    cdef Py_ssize_t n_hidden = weights.shape[0], tiles = (n_hidden + 11) // 12, tile
    cdef size_t stride = FRBM_SCRATCH_FLOATS
    cdef float[::1] scratch = aligned(stride * n_threads, np.float32)
    for tile in prange(tiles, nogil=True, num_threads=n_threads, schedule="dynamic"):
        TABLE.gradient_rows(&g, 12 * tile, n_hidden - 12 * tile if n_hidden - 12 * tile < 12 else 12, NULL,
                            &scratch[threadid() * stride])


def _planes(const uint64_t[:, ::1] rows, size_t n_units):
    """Planes of packed rows, for products over samples."""
    cdef size_t n = rows.shape[0], words = rows.shape[1]
    out = aligned(_up(n, 32) // 32 * 64 * words + 1, np.uint32)
    cdef uint32_t[::1] planes = out
    TABLE.gather(&rows[0, 0], words, NULL, n, n_units, NULL, 0, &planes[0], 64 * words)
    return out
