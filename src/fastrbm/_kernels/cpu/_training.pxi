# ---- training --------------------------------------------------------------------------------------------

cdef int _add(void *context, size_t block, int done) noexcept nogil:
    with gil:
        return (<Sharing>context).add(block, done)


cdef class Sharing:
    """What a run has beside whose minibatches are shared out; see src/include/workers.h and `Share`."""

    cdef frbm_sharing s
    cdef object start_add, blocks, under_way, error

    def __init__(self, share):
        cdef frbm_sharing *s = &self.s
        memset(s, 0, sizeof(s[0]))
        s.n_batches, s.batch_rows, s.last_rows = share.n_batches, share.batch_rows, share.last_rows
        s.n_chains, s.first_row, s.first_chain = share.n_chains, share.first_row, share.first_chain
        require(s.n_batches > 0 and s.batch_rows > 0 and s.last_rows > 0, "share")
        self.start_add, self.under_way = share.start_add, {}
        s.add, s.context = &_add, <void *>self

    cdef lay_out(self, const frbm_training *t):
        """Cut the integers into blocks of about a megabyte, the first of which moves while the next is summed."""
        cdef frbm_sharing *s = &self.s
        cdef size_t row = (s.n_integers - s.n_before) // t.n_hidden
        cdef size_t most = min(<size_t>8, max(<size_t>1, t.n_hidden * row >> 18))
        cdef size_t k
        s.block_units = _up((t.n_hidden + most - 1) // most, 64)
        s.n_blocks = (t.n_hidden + s.block_units - 1) // s.block_units
        ends = [0] + [s.n_before + k * s.block_units * row for k in range(1, s.n_blocks)] + [s.n_integers]
        every = np.asarray(<int32_t[:s.n_integers]>s.integers)
        self.blocks = [every[first:last] for first, last in zip(ends, ends[1:])]

    cdef int add(self, size_t block, int done) noexcept:
        try:
            if done:
                self.under_way.pop(block)()
            else:
                self.under_way[block] = self.start_add(self.blocks[block])
            return 0
        except BaseException as error:
            self.error = error
            return 1


cdef class Training:
    """Arguments of frbm_train, and the memory of its buffers; see src/include/workers.h."""

    cdef frbm_training t
    cdef list keep
    cdef LaidOut memory
    cdef FixedWeights fixed
    cdef Filters filters
    cdef Sharing sharing
    cdef size_t n_rows, updates_before
    cdef object state, on_batch

    def __init__(self, parameters, slots, plan, units, size_t n_updates, size_t n_rows, uint32_t[:, ::1] chains,
                 size_t n_chains, bint dense, bint transposed, int n_threads, str strategy="dense", bases=None,
                 bint int16=False, bint levels=False, share=None):
        cdef frbm_training *t = &self.t
        memset(t, 0, sizeof(t[0]))
        require(n_rows > 0 and plan.batch_size > 0 and plan.n_sweeps > 0, "rows, minibatches and sweeps")
        self.keep, self.n_rows = [slots, chains], n_rows
        self._set_parameters(*parameters)
        update = plan.update(n_updates)
        _set_slots(t.slots, [s.weights for s in slots], t.n_hidden * t.n_visible, update)
        _set_slots(t.slots_visible, [s.visible_bias for s in slots], t.n_visible, update)
        _set_slots(t.slots_hidden, [s.hidden_bias for s in slots], t.n_hidden, update)
        _set_rule(&t.rule, update)
        hidden_type = get_unit(units[1])
        hidden_type.check_width(t.n_hidden)
        t.group = (hidden_type.n_classes or t.n_hidden) if hidden_type.name == "onehot" else 0
        t.spins.visible, t.spins.hidden = units[0] == "ising", units[1] == "ising"
        t.updates, t.n_rows, t.batch_size, t.n_sweeps = n_updates, n_rows, plan.batch_size, plan.n_sweeps
        t.persistent, t.n_chains, t.sampled_hidden = plan.persistent, n_chains, plan.sampled_hidden
        t.key[0], t.key[1] = plan.seed & 0xFFFFFFFF, plan.seed >> 32
        t.stochastic_input = dense and plan.stochastic_input
        t.int16 = int16
        t.kind = FRBM_GREY_ROWS if dense and not plan.stochastic_input else FRBM_BIT_ROWS
        if levels:
            require(not dense and min(<size_t>plan.batch_size, n_rows) <= MOST_LEVEL_ROWS, "levels and minibatches")
            t.kind = FRBM_LEVEL_ROWS
        if units[0] == "gaussian":
            t.kind = FRBM_GAUSSIAN_ROWS
        if share is not None:
            require(t.kind == FRBM_BIT_ROWS or t.kind == FRBM_LEVEL_ROWS, "share")
            require(not levels or share.batch_rows <= MOST_LEVEL_ROWS, "levels and minibatches")
            self.sharing = Sharing(share)
            t.sharing = &self.sharing.s
        self.memory = LaidOut(frbm_lay_out_training(t, NULL))
        frbm_lay_out_training(t, self.memory.start)
        if share is not None:
            self.sharing.lay_out(t)
        if plan.persistent:
            # of several processes some may have no chains
            require(chains is not None and (share is None) <= n_chains <= <size_t>chains.shape[1], "chains and n_chains")
            require(chains.shape[1] == <Py_ssize_t>t.chain_ld and chains.shape[0] * 32 >= <Py_ssize_t>t.n_hidden, "chains")
            t.chains = &chains[0, 0] if n_chains else NULL
        cdef bint filtered = strategy != "dense" and plan.n_sweeps > 1
        self.fixed = FixedWeights(t.n_hidden, t.n_visible, transposed or filtered, n_threads)
        batch = min(t.batch_size, t.n_rows)
        self.fixed._follow_by_limbs(
            t.kind != FRBM_GAUSSIAN_ROWS and frbm_prefers_tiles(TABLE, max(batch, t.n_chains)),
            frbm_prefers_tiles(TABLE, t.n_chains),
        )
        if levels:
            self.fixed._follow_by_halves()
        t.fixed, t.magnitudes = self.fixed.f, self.fixed.magnitudes
        if filtered:
            # chains go to the threads in chunks of whole words of 32
            self.filters = Filters(strategy, self.fixed, min(512, _up((t.n_chains + n_threads - 1) // n_threads, 32)), bases)
            t.filters, t.work = &self.filters.f, self.filters.work

    def _set_parameters(self, float[:, ::1] weights not None, float[::1] visible_bias not None, float[::1] hidden_bias not None):
        self.keep += [weights, visible_bias, hidden_bias]
        self.t.n_hidden, self.t.n_visible = weights.shape[0], weights.shape[1]
        require(visible_bias.shape[0] == weights.shape[1] and hidden_bias.shape[0] == weights.shape[0], "visible_bias and hidden_bias")
        self.t.weights, self.t.bias_visible = &weights[0, 0], &visible_bias[0]
        self.t.bias_hidden = &hidden_bias[0]

    @property
    def outgrown(self):
        """Whether the weights have outgrown fixed point."""
        return bool(self.t.outgrown)

    def counters(self):
        """What the strategy did so far, by the names in COUNTERS; None without one."""
        return None if self.filters is None else self.filters.counters()

    cdef bint _has_more(self):
        cdef frbm_training *t = &self.t
        return t.batches_done < t.sharing.n_batches if t.sharing else t.batches_done * t.batch_size < t.n_rows

    def _report(self):
        self.state.updates = self.updates_before + self.t.batches_done
        self.on_batch()

    def run(self, const uint64_t[:, ::1] rows, const float[:, ::1] dense, const int64_t[::1] order not None, state, on_batch,
            const uint8_t[:, :] levels=None):
        """Do the minibatches of `order`; ``state.step`` is advanced by what was done, also on an interrupt.

        Returns the number of rows done: fewer than asked for when the weights have outgrown fixed point.
        """
        cdef frbm_training *t = &self.t
        require((rows is not None) + (dense is not None) + (levels is not None) == 1, "rows")
        cdef Py_ssize_t limit = rows.shape[0] if rows is not None else dense.shape[0] if dense is not None else levels.shape[0]
        cdef Py_ssize_t k
        cdef bint inside = True
        for k in range(order.shape[0]):
            inside &= 0 <= order[k] < limit
        require(inside and order.shape[0] <= <Py_ssize_t>self.n_rows, "order")
        if order.shape[0] == 0 and self.sharing is None:
            return 0
        if rows is not None:
            require(t.kind == FRBM_BIT_ROWS and rows.shape[1] == <Py_ssize_t>t.row_words, "rows")
            t.rows = &rows[0, 0] if rows.shape[0] else NULL
        elif levels is not None:
            require(t.kind == FRBM_LEVEL_ROWS and levels.shape[1] == <Py_ssize_t>t.n_visible, "levels")
            require_rows(limit, t.n_visible, levels.strides, 1, "levels")
            t.levels, t.levels_ld = &levels[0, 0], levels.strides[0]
        else:
            require(t.kind != FRBM_LEVEL_ROWS and (t.kind != FRBM_BIT_ROWS or t.stochastic_input) and dense.shape[1] == <Py_ssize_t>t.n_visible, "dense")
            t.dense = &dense[0, 0] if dense.shape[0] else NULL
        self.state, self.on_batch, self.updates_before = state, on_batch, state.updates
        poller = Poller(None if on_batch is None else self._report)
        t.table = TABLE
        t.order, t.n_rows, t.step, t.batches_done = NULL, order.shape[0], state.step, 0
        if order.shape[0]:
            t.order = &order[0]
        t.outgrown = 0
        t.poll, t.poll_context = &_poll, <void *>poller
        cdef size_t stride = frbm_training_scratch(t)
        cdef int n_threads = self.fixed.n_sharing
        cdef Memory scratch = Memory(sizeof(float) * stride * n_threads)
        cdef int size = n_threads
        cdef int thread
        t.team.regroup, t.team.stop = True, False
        while t.team.regroup and not t.team.stop and self._has_more():
            size = frbm_crew_call(&t.team, n_threads)
            memset(&t.grey_team, 0, sizeof(t.grey_team))
            with nogil, parallel(num_threads=size):
                thread = threadid()
                frbm_enter(&t.team)
                frbm_train(t, thread, <float *>scratch.start + thread * stride)
        state.step = t.step
        state.updates = self.updates_before + t.batches_done
        if self.sharing is not None and self.sharing.error is not None:
            raise self.sharing.error
        poller.reraise()
        return min(<size_t>order.shape[0], t.batches_done * t.batch_size)
