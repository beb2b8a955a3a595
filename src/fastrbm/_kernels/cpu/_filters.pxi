# ---- filters strategies -------------------------------------------------------------------------------------

STRATEGIES = ("dense", "delta", "bounds", "lcd", "lowbit")  # in the order of frbm_strategy


cdef class Filters:
    """What a strategy knows of the weights, and its counters; see src/teams/filters.c."""

    cdef frbm_filters filters
    cdef FixedWeights fixed
    cdef list keep
    cdef frbm_work work[FRBM_MOST_THREADS]

    def __init__(self, str strategy not None, FixedWeights fixed not None, size_t chunk, bases=None):
        assert fixed.f.transposed != NULL and strategy in STRATEGIES[1:]
        self.keep, self.fixed = [], fixed
        memset(&self.filters, 0, sizeof(self.filters))
        memset(self.work, 0, sizeof(self.work))
        cdef int number = STRATEGIES.index(strategy)
        self.filters.table, self.filters.strategy = TABLE, <frbm_strategy>number
        self.filters.chunk = chunk
        cdef float[:, ::1] of_hidden, of_visible
        if strategy == "bounds":
            of_hidden, of_visible = bases
            assert of_hidden.shape[0] == <Py_ssize_t>fixed.n_visible and of_visible.shape[0] == <Py_ssize_t>fixed.n_hidden
            assert of_hidden.shape[1] == of_visible.shape[1] and of_hidden.shape[1] <= 256
            self.keep += [of_hidden, of_visible]
            self.filters.rank = of_hidden.shape[1]
            self.filters.hidden.basis, self.filters.visible.basis = &of_hidden[0, 0], &of_visible[0, 0]
        self._side(&self.filters.hidden, fixed.f.weights, fixed.f.ld, fixed.f.transposed, fixed.f.transposed_ld,
                   fixed.n_visible, fixed.n_hidden)
        self._side(&self.filters.visible, fixed.f.transposed, fixed.f.transposed_ld, fixed.f.weights, fixed.f.ld,
                   fixed.n_hidden, fixed.n_visible)

    cdef float *_floats(self, size_t n):
        cdef float[::1] view = aligned(n + 1, np.float32)
        self.keep.append(view)
        return &view[0]

    cdef void _side(self, frbm_side *side, const int32_t *by_output, size_t by_output_ld, const int32_t *by_input,
                    size_t by_input_ld, size_t n_in, size_t n_out) except *:
        cdef uint32_t[::1] packed
        side.by_output, side.by_output_ld = by_output, by_output_ld
        side.by_input, side.by_input_ld = by_input, by_input_ld
        side.n_in, side.n_out = n_in, n_out
        side.radius, side.slack = self._floats(n_out), self._floats(n_out)
        if self.filters.strategy == FRBM_INT16:
            packed = aligned((n_out + 5) * ((n_in + 31) // 32) * 16, np.uint32, True)
            self.keep.append(packed)
            side.packed = &packed[0]
            side.packed_quantum, side.grow, side.shrink = self._floats(n_out), self._floats(n_out), self._floats(n_out)
        side.project = self._floats(n_out * self.filters.rank)

    def prepare(self):
        """Take over the fixed-point weights as they are now."""
        cdef frbm_side *sides[2]
        cdef Py_ssize_t p, pieces
        cdef int s
        sides[0], sides[1] = &self.filters.hidden, &self.filters.visible
        self.filters.quantum = 1 / self.fixed.f.scale
        for s in range(2):
            pieces = (sides[s].n_out + 15) // 16
            for p in prange(pieces, nogil=True, num_threads=self.fixed.n_sharing, schedule="static"):
                frbm_filters_prepare(&self.filters, sides[s], 16 * p,
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


