# ---- partition sums --------------------------------------------------------------------------------------

cdef class PartitionSum:
    """Arguments of frbm_run_partition; see frbm_partition in src/kernels.h for what the arrays hold."""

    cdef frbm_partition_run r
    cdef list keep
    cdef object on_progress

    def __init__(self, const double[::1] start not None, const double[:, ::1] high not None,
                 const double[::1] high_bias not None, table,
                 const double[::1] low_mantissa not None, const int64_t[::1] low_exponent not None,
                 const int64_t[::1] stops not None, const uint64_t[::1] high_state not None,
                 const uint64_t[::1] low_state not None, Py_ssize_t block_bits, double[::1] log_weights=None):
        memset(&self.r, 0, sizeof(self.r))
        cdef frbm_partition *p = &self.r.sum
        cdef const float[:, :, ::1] single
        cdef const double[:, :, ::1] double_
        self.r.is_double = table.dtype == np.float64
        if self.r.is_double:
            double_ = table
            p.table_y = &double_[0, 0, 0]
        else:
            single = table
            p.table_y = &single[0, 0, 0]
        p.n_units, p.ld, p.n_high, p.n_low_states = table.shape[1], start.shape[0], high.shape[0], low_state.shape[0]
        p.block_bits, p.n_stops = block_bits, stops.shape[0]
        assert p.ld % 16 == 0 and p.n_units <= p.ld and high.shape[1] == start.shape[0]
        assert high_bias.shape[0] == high_state.shape[0] == high.shape[0] and 0 <= block_bits <= high.shape[0] < 62
        assert table.shape[2] == FRBM_PARTITION_LANES and 1 <= p.n_low_states
        assert low_mantissa.shape[0] == low_exponent.shape[0] == table.shape[0] * FRBM_PARTITION_LANES
        assert p.n_low_states <= <size_t>low_mantissa.shape[0] and stops[stops.shape[0] - 1] == table.shape[1]
        assert log_weights is None or log_weights.shape[0] == <Py_ssize_t>(p.n_low_states << p.n_high)
        self.keep = [start, high, high_bias, table, low_mantissa, low_exponent, stops, high_state, low_state,
                     log_weights]
        p.start = &start[0]
        if p.n_high:
            p.high, p.high_bias, p.high_state = &high[0, 0], &high_bias[0], &high_state[0]
        p.low_mantissa, p.low_exponent, p.low_state = &low_mantissa[0], &low_exponent[0], &low_state[0]
        p.stops = <const size_t *>&stops[0]
        if log_weights is not None:
            p.log_weights = &log_weights[0]
        self.r.n_blocks = <size_t>1 << (p.n_high - p.block_bits)

    def _report(self):
        cdef size_t done = frbm_partition_done(&self.r), states = self.r.sum.n_low_states
        self.on_progress(done * (states << self.r.sum.block_bits), states << self.r.sum.n_high)

    def run(self, int n_threads, on_progress=None):
        """Sums of the blocks, each sums * 2^exponents; what a signal handler or `on_progress` raises ends it."""
        cdef double[::1] sums = np.zeros(self.r.n_blocks)
        cdef int64_t[::1] exponents = np.zeros(self.r.n_blocks, dtype=np.int64)
        cdef frbm_partition_run *r = &self.r
        self.on_progress = on_progress
        poller = Poller(None if on_progress is None else self._report)
        r.table, r.blocks_done = TABLE, 0
        r.sum.sums, r.sum.exponents = &sums[0], &exponents[0]
        r.poll, r.poll_context = &_poll, <void *>poller
        memset(&r.team, 0, sizeof(r.team))
        cdef size_t stride = _up(frbm_partition_scratch(r), 64)
        cdef uint8_t[::1] scratch = aligned(stride * n_threads, np.uint8)
        cdef int thread
        with nogil, parallel(num_threads=n_threads):
            thread = threadid()
            frbm_run_partition(r, thread, &scratch[thread * stride])
        poller.reraise()
        if on_progress is not None:
            self._report()
        return np.asarray(sums), np.asarray(exponents)
