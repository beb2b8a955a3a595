# ---- strategies ------------------------------------------------------------------------------------------


cdef class Filters:
    """What a strategy knows of the weights, and its counters; see src/teams/filters.c."""

    cdef frbm_filters f
    cdef FixedWeights fixed
    cdef object bases
    cdef LaidOut memory
    cdef frbm_work work[FRBM_MOST_THREADS]

    def __init__(self, str strategy not None, FixedWeights fixed not None, size_t chunk, bases=None):
        require(fixed.f.transposed != NULL and strategy != "dense", "strategy and its weights")
        self.fixed = fixed
        memset(&self.f, 0, sizeof(self.f))
        memset(self.work, 0, sizeof(self.work))
        cdef int number = STRATEGY_NUMBERS[strategy]
        self.f.table, self.f.strategy, self.f.chunk = TABLE, <frbm_strategy>number, chunk
        cdef float[:, ::1] of_hidden, of_visible
        if self.f.strategy == FRBM_LANDMARKS:
            of_hidden, of_visible = bases
            require(of_hidden.shape[0] == <Py_ssize_t>fixed.n_visible and of_visible.shape[0] == <Py_ssize_t>fixed.n_hidden, "bases")
            require(of_hidden.shape[1] == of_visible.shape[1] and of_hidden.shape[1] <= 256, "bases")
            self.f.rank = of_hidden.shape[1]
            self.f.hidden.basis, self.f.visible.basis = &of_hidden[0, 0], &of_visible[0, 0]
        self.bases = bases
        self.memory = LaidOut(frbm_lay_out_filters(&self.f, &fixed.f, fixed.n_visible, fixed.n_hidden, NULL))
        frbm_lay_out_filters(&self.f, &fixed.f, fixed.n_visible, fixed.n_hidden, self.memory.start)

    cdef bint fits(self, FixedWeights weights) noexcept:
        """Whether this was made for layers as large as those of `weights`."""
        return self.fixed.n_hidden == weights.n_hidden and self.fixed.n_visible == weights.n_visible

    def prepare(self):
        """Take over the fixed-point weights as they are now."""
        cdef frbm_side *sides[2]
        cdef Py_ssize_t p, pieces
        cdef int s
        sides[0], sides[1] = &self.f.hidden, &self.f.visible
        self.f.quantum = 1 / self.fixed.f.scale
        for s in range(2):
            pieces = (sides[s].n_out + 15) // 16
            for p in prange(pieces, nogil=True, num_threads=self.fixed.n_sharing, schedule="static"):
                frbm_filters_prepare(&self.f, sides[s], 16 * p,
                                  sides[s].n_out - 16 * p if sides[s].n_out - 16 * p < 16 else 16)

    def counters(self):
        """What was done so far, by the names in COUNTERS."""
        cdef dict total = dict.fromkeys(COUNTERS, 0)
        cdef int t
        for t in range(FRBM_MOST_THREADS):
            total["decisions"] += self.work[t].decisions
            total["filtered"] += self.work[t].filtered
            total["recomputed"] += self.work[t].recomputed
            total["products"] += self.work[t].products
            total["dense_products"] += self.work[t].dense_products
            total["refreshes"] += self.work[t].refreshes
        return total


