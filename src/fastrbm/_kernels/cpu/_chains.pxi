# ---- chains ----------------------------------------------------------------------------------------------

def run_chains(uint32_t[:, ::1] hidden not None, uint32_t[:, ::1] visible not None, int n_chains, FixedWeights weights not None,
               const float[::1] visible_bias not None, const float[::1] hidden_bias not None, draw, int n_sweeps, int n_threads, Filters filters=None):
    """Gibbs sweeps of chains held as words (lane stride = second dimension, a multiple of 64), in place."""
    cdef frbm_chains c
    memset(&c, 0, sizeof(c))
    require(hidden.shape[1] == visible.shape[1] and hidden.shape[1] % FRBM_LANES == 0 and n_chains <= hidden.shape[1], "hidden, visible and n_chains")
    require(hidden.shape[0] * 32 >= <Py_ssize_t>weights.n_hidden, "hidden")
    require(visible.shape[0] * 32 >= <Py_ssize_t>weights.n_visible, "visible")
    require(n_chains > 0, "n_chains")
    require(visible_bias.shape[0] == <Py_ssize_t>weights.n_visible, "visible_bias")
    require(hidden_bias.shape[0] == <Py_ssize_t>weights.n_hidden, "hidden_bias")
    require(filters is None or filters.fits(weights), "filters")
    poller = Poller()
    if filters is None or filters.f.strategy != FRBM_INT16:
        weights._want_limbs(False, n_chains, n_threads)
        weights._want_limbs(True, n_chains, n_threads)
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
        c.filters, c.work, c.chunk = &filters.f, filters.work, filters.f.chunk
        n_threads = min(n_threads, FRBM_MOST_THREADS)
        stride += _up(frbm_filters_scratch(&filters.f), 16)
    cdef Memory scratch = Memory(sizeof(float) * stride * n_threads)
    _run_chains(&c, n_threads, <float *>scratch.start, stride)
    poller.reraise()


cdef void _run_chains(frbm_chains *c, int n_threads, float *scratch, size_t stride) noexcept:
    """Chains by a team, as `_run_rows` does layers."""
    cdef int thread
    c.team.ticket, c.team.n_threads = 0, 1
    if n_threads == 1:
        with nogil:
            frbm_run_chains(c, 0, scratch)
        return
    with nogil, parallel(num_threads=n_threads):
        thread = threadid()
        frbm_enter(&c.team)
        frbm_run_chains(c, thread, scratch + thread * stride)


# ---- annealed importance sampling ------------------------------------------------------------------------


cdef class Annealing:
    """Arguments of frbm_anneal and how far it is; see src/include/workers.h."""

    cdef frbm_annealing a
    cdef readonly size_t total
    cdef object on_progress

    def _report(self):
        self.on_progress(min(frbm_annealing_done(&self.a), self.total), self.total)

    def run(self, uint32_t[:, ::1] hidden not None, uint32_t[:, ::1] visible not None, size_t n_chains, FixedWeights weights not None, fields,
            bases, bint sum_hidden, const double[::1] betas not None, draw, double[::1] log_weights not None, int n_threads,
            on_progress=None):
        """Anneal chains held as words, in place; `fields` and `bases` are (visible, hidden) pairs of float32 arrays."""
        cdef frbm_annealing *a = &self.a
        memset(a, 0, sizeof(a[0]))
        cdef const float[::1] field_visible = fields[0], field_hidden = fields[1]
        cdef const float[::1] base_visible = bases[0], base_hidden = bases[1]
        require(hidden.shape[1] == visible.shape[1] and hidden.shape[1] % FRBM_LANES == 0, "hidden and visible")
        require(n_chains <= <size_t>hidden.shape[1] and log_weights.shape[0] == <Py_ssize_t>n_chains, "n_chains and log_weights")
        require(hidden.shape[0] * 32 >= <Py_ssize_t>weights.n_hidden, "hidden")
        require(visible.shape[0] * 32 >= <Py_ssize_t>weights.n_visible, "visible")
        require(field_visible.shape[0] == base_visible.shape[0] == <Py_ssize_t>weights.n_visible, "the visible field and base")
        require(field_hidden.shape[0] == base_hidden.shape[0] == <Py_ssize_t>weights.n_hidden, "the hidden field and base")
        require(n_chains > 0 and betas.shape[0] > 0, "n_chains and betas")
        weights._want_limbs(False, n_chains, n_threads)
        weights._want_limbs(True, n_chains, n_threads)
        a.table, a.fixed = TABLE, &weights.f
        a.field_visible, a.field_hidden = &field_visible[0], &field_hidden[0]
        a.base_visible, a.base_hidden = &base_visible[0], &base_hidden[0]
        a.n_hidden, a.n_visible, a.sum_hidden = weights.n_hidden, weights.n_visible, sum_hidden
        a.hidden, a.visible, a.n_chains, a.ld = &hidden[0, 0], &visible[0, 0], n_chains, hidden.shape[1]
        a.betas, a.n_betas, a.log_weights = &betas[0], betas.shape[0], &log_weights[0]
        _set_draw(&a.draw, draw)
        a.chunk = min(512, max(64, _up((n_chains + n_threads - 1) // n_threads, 64)))
        self.total, self.on_progress = n_chains * (a.n_betas - 1), on_progress
        poller = Poller(self._report if on_progress is not None else None)
        a.poll, a.poll_context = &_poll, <void *>poller
        cdef size_t stride = FRBM_SCRATCH_FLOATS + _up(max(a.n_hidden, a.n_visible), 16)
        cdef Memory scratch = Memory(sizeof(float) * stride * n_threads)
        cdef int thread
        with nogil, parallel(num_threads=n_threads):
            thread = threadid()
            frbm_enter(&a.team)
            frbm_anneal(a, thread, <float *>scratch.start + thread * stride)
        poller.reraise()
