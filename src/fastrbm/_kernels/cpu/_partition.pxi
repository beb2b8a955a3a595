# ---- partition sums --------------------------------------------------------------------------------------

cdef class PartitionSum:
    """Arguments of frbm_run_partition; see frbm_partition in src/include/kernels.h for what the arrays hold."""

    cdef frbm_partition_run r
    cdef list keep
    cdef object on_progress

    def __init__(self, high, middle, low, const double[::1] start not None, const int64_t[::1] stops not None,
                 Py_ssize_t block_bits, double[::1] log_weights=None):
        memset(&self.r, 0, sizeof(self.r))
        self.keep = [start, stops, log_weights]
        cdef frbm_partition *p = &self.r.sum
        p.ld, p.start, p.block_bits = start.shape[0], &start[0], block_bits
        self._set_high(*high)
        self._set_tables(middle[0], low[0])
        self._set_middle(*middle[1:])
        self._set_low(*low[1:])
        require(p.ld % 16 == 0 and p.n_units <= p.ld and 0 <= block_bits <= <Py_ssize_t>p.n_high < 62, "the arrays of a partition sum")
        p.stops, p.n_stops = <const size_t *>&stops[0], stops.shape[0]
        require(np.min(np.diff(stops, prepend=0)) > 0 and p.stops[p.n_stops - 1] == p.n_units, "the arrays of a partition sum")
        cdef size_t states = p.n_low_states * p.n_middle_states << p.n_high
        if log_weights is not None:
            require(log_weights.shape[0] == <Py_ssize_t>states, "the arrays of a partition sum")
            p.log_weights = &log_weights[0]
        self.r.n_blocks = <size_t>1 << (p.n_high - p.block_bits)

    def _set_high(self, const double[:, ::1] weights not None, const double[::1] bias not None, const uint64_t[::1] state not None):
        cdef frbm_partition *p = &self.r.sum
        require(weights.shape[1] == <Py_ssize_t>p.ld and bias.shape[0] == state.shape[0] == weights.shape[0], "the arrays of a partition sum")
        self.keep += [weights, bias, state]
        p.n_high = weights.shape[0]
        if p.n_high:
            p.high, p.high_bias, p.high_state = &weights[0, 0], &bias[0], &state[0]

    def _set_tables(self, middle, low):
        cdef frbm_partition *p = &self.r.sum
        self.r.is_double = middle.dtype == np.float64
        dtype = np.float64 if self.r.is_double else np.float32
        require(middle.dtype == low.dtype == dtype and middle.flags.c_contiguous and low.flags.c_contiguous, "the arrays of a partition sum")
        require(middle.shape[1] == p.ld and low.shape[2] == FRBM_PARTITION_LANES, "the arrays of a partition sum")
        self.keep += [middle, low]
        p.n_middle_states, p.n_units = middle.shape[0], low.shape[1]
        p.middle_table = <const void *><uintptr_t>middle.ctypes.data
        p.low_table = <const void *><uintptr_t>low.ctypes.data
        p.n_low_states = low.shape[0] * FRBM_PARTITION_LANES

    def _set_middle(self, const double[::1] mantissa not None, const int64_t[::1] exponent not None, const uint64_t[::1] state not None):
        cdef frbm_partition *p = &self.r.sum
        require(mantissa.shape[0] == exponent.shape[0] == state.shape[0] == <Py_ssize_t>p.n_middle_states, "the arrays of a partition sum")
        self.keep += [mantissa, exponent, state]
        p.middle_mantissa, p.middle_exponent, p.middle_state = &mantissa[0], &exponent[0], &state[0]

    def _set_low(self, const double[::1] mantissa not None, const int64_t[::1] exponent not None, const uint64_t[::1] state not None):
        cdef frbm_partition *p = &self.r.sum
        require(mantissa.shape[0] == exponent.shape[0] == <Py_ssize_t>p.n_low_states >= state.shape[0] > 0, "the arrays of a partition sum")
        self.keep += [mantissa, exponent, state]
        p.low_mantissa, p.low_exponent, p.low_state = &mantissa[0], &exponent[0], &state[0]
        p.n_low_states = state.shape[0]

    def _report(self):
        cdef frbm_partition *p = &self.r.sum
        cdef size_t states = p.n_low_states * p.n_middle_states
        self.on_progress(frbm_partition_done(&self.r) * (states << p.block_bits), states << p.n_high)

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
        cdef Memory scratch = Memory(stride * n_threads)
        cdef int thread
        with nogil, parallel(num_threads=n_threads):
            thread = threadid()
            frbm_run_partition(r, thread, <uint8_t *>scratch.start + thread * stride)
        poller.reraise()
        if on_progress is not None:
            self._report()
        return np.asarray(sums), np.asarray(exponents)
