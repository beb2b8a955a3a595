# ---- tempering -------------------------------------------------------------------------------------------

cdef void _to_lanes(const uint64_t *rows, Py_ssize_t n, Py_ssize_t words, uint32_t *out, Py_ssize_t ld) noexcept nogil:
    """Sample-major bits to words [word][lane]; lanes after the n-th are cleared."""
    cdef const uint32_t *halves = <const uint32_t *>rows
    cdef Py_ssize_t w, lane
    memset(out, 0, sizeof(uint32_t) * 2 * words * ld)
    for w in range(2 * words):
        for lane in range(n):
            out[w * ld + lane] = halves[2 * words * lane + w]


cdef void _from_lanes(const uint32_t *words, Py_ssize_t ld, Py_ssize_t n, Py_ssize_t n_units, uint64_t *out) noexcept nogil:
    """Words [word][lane] back to sample-major bits, those past the last unit zero."""
    cdef Py_ssize_t row_words = (n_units + 63) // 64, w, lane
    cdef uint64_t last = (<uint64_t>1 << (n_units % 64)) - 1 if n_units % 64 else ~<uint64_t>0
    for lane in range(n):
        for w in range(row_words):
            out[lane * row_words + w] = words[2 * w * ld + lane] | <uint64_t>words[(2 * w + 1) * ld + lane] << 32
        out[lane * row_words + row_words - 1] &= last


cdef class Ladder:
    """Layers of bits at rising inverse temperatures, the weights of each in fixed point.

    At beta the inputs are beta (bias - base + W s) + base, the base of the hidden layer being 0.
    """

    cdef Memory weights, transposed, visible_bias, hidden_bias
    cdef list limbs
    cdef frbm_fixed *fixed
    cdef Memory _fixed
    cdef Py_ssize_t n_temperatures, n_hidden, n_visible

    def __init__(self, Py_ssize_t n_temperatures, Py_ssize_t n_hidden, Py_ssize_t n_visible, bint transposed,
                 bint limbs=False):
        cdef size_t ld = _up(n_visible, FRBM_LANE_PAD), transposed_ld = _up(n_hidden, FRBM_LANE_PAD)
        cdef Py_ssize_t k
        require(n_temperatures > 0 and n_hidden > 0 and n_visible > 0, "layers")
        self.n_temperatures, self.n_hidden, self.n_visible = n_temperatures, n_hidden, n_visible
        self.weights = Memory(sizeof(int32_t) * n_temperatures * (n_hidden * ld + 16))
        if transposed:
            self.transposed = Memory(sizeof(int32_t) * n_temperatures * n_visible * transposed_ld)
        self.visible_bias = Memory(sizeof(float) * n_temperatures * n_visible)
        self.hidden_bias = Memory(sizeof(float) * n_temperatures * n_hidden)
        self._fixed = Memory(sizeof(frbm_fixed) * n_temperatures, True)
        self.fixed = <frbm_fixed *>self._fixed.start
        self.limbs = []
        for k in range(n_temperatures):
            self.fixed[k].weights = <int32_t *>self.weights.start + k * (n_hidden * ld + 16)
            self.fixed[k].ld, self.fixed[k].transposed_ld = ld, transposed_ld
            if transposed:
                self.fixed[k].transposed = <int32_t *>self.transposed.start + k * n_visible * transposed_ld
            if limbs:
                self.limbs.append(_room_for_limbs(&self.fixed[k].of_hidden, n_hidden, n_visible))
                self.limbs.append(_room_for_limbs(&self.fixed[k].of_visible, n_visible, n_hidden))
            self.fixed[k].magnitude_scale = ldexp(1.0, frbm_magnitude_shift(n_visible, n_hidden))

    cdef int _quantise(self, Py_ssize_t k, const float *weights, float beta, float *scaled, uint32_t *columns) noexcept nogil:
        """Weights at one temperature; -1 where they are too large for fixed point."""
        cdef frbm_fixed *f = &self.fixed[k]
        cdef frbm_fixed coarse
        cdef frbm_magnitudes magnitudes
        cdef Py_ssize_t i
        cdef int int16 = 0, exponent, time
        for i in range(self.n_hidden * self.n_visible):
            scaled[i] = beta * weights[i]
        memset(columns, 0, sizeof(uint32_t) * self.n_visible)
        magnitudes.columns, magnitudes.row, magnitudes.seen = columns, 0, 0
        f.scale = 1
        coarse = f[0]  # a first pass, for the magnitudes, needs no limbs
        coarse.of_hidden.bytes = coarse.of_visible.bytes = NULL
        for time in range(2):
            for i in range(0, self.n_hidden, 16):
                TABLE.quantise_rows(f if time else &coarse, scaled, self.n_visible, i, self.n_hidden - i if self.n_hidden - i < 16 else 16, &magnitudes)
            if time == 0:
                exponent = frbm_exponent(&magnitudes, 1, self.n_visible, self.n_hidden, &int16)
                if exponent < 0:
                    return -1
                f.scale = ldexp(1.0, exponent)
        return 0

    def fill(self, const float[:, ::1] weights not None, const float[::1] visible_bias not None,
             const float[::1] hidden_bias not None, const float[::1] base not None, const double[::1] betas not None,
             int n_threads):
        """Take over the parameters at beta = 1 and the temperatures; False when weights are too large for fixed point."""
        cdef Py_ssize_t k, i
        cdef float beta
        cdef int outgrown = 0
        require(weights.shape[0] == hidden_bias.shape[0] == self.n_hidden, "weights and hidden_bias")
        require(weights.shape[1] == visible_bias.shape[0] == base.shape[0] == self.n_visible, "weights, visible_bias and base")
        require(betas.shape[0] == self.n_temperatures, "betas")
        cdef float *visible = <float *>self.visible_bias.start
        cdef float *hidden = <float *>self.hidden_bias.start
        for k in range(self.n_temperatures):
            beta = <float>betas[k]
            for i in range(self.n_visible):
                # the model itself to the last bit
                visible[k * self.n_visible + i] = visible_bias[i] if betas[k] == 1 else beta * (visible_bias[i] - base[i]) + base[i]
            for i in range(self.n_hidden):
                hidden[k * self.n_hidden + i] = beta * hidden_bias[i]
        cdef size_t stride = _up(self.n_hidden * self.n_visible, 16) + _up(self.n_visible, 16)
        cdef Memory scratch = Memory(sizeof(float) * stride * n_threads)
        cdef float *scaled = <float *>scratch.start
        if n_threads == 1:
            for k in range(self.n_temperatures):
                outgrown |= self._quantise(k, &weights[0, 0], <float>betas[k], scaled,
                                           <uint32_t *>scaled + _up(self.n_hidden * self.n_visible, 16))
            return outgrown == 0
        for k in prange(self.n_temperatures, nogil=True, num_threads=n_threads, schedule="dynamic"):
            outgrown |= self._quantise(k, &weights[0, 0], <float>betas[k], scaled + threadid() * stride,
                                       <uint32_t *>(scaled + threadid() * stride) + _up(self.n_hidden * self.n_visible, 16))
        return outgrown == 0

    def exchange(self, const uint64_t[:, ::1] hidden not None, const int8_t[::1] marks not None, Py_ssize_t first,
                 const double[:, ::1] log_u not None, uint64_t[:, ::1] hidden_out not None, int8_t[::1] marks_out not None,
                 double[:, ::1] log_ratio not None, int64_t[::1] accepted not None, int n_threads):
        """Exchange the states of pairs of neighbours, (first, first + 1) and every other one from there.

        `log_u` and `log_ratio` [pair][chain]: logs of uniforms, and of the ratios of probabilities below which they
        must be; `accepted` counts the exchanges of each pair. Marks travel with their states.
        """
        cdef Py_ssize_t n = log_u.shape[1], words = (self.n_hidden + 63) // 64, pair, side, k, c, w, hot, cold
        cdef frbm_rows r
        memset(&r, 0, sizeof(r))
        require(n > 0 and hidden.shape[0] == n * self.n_temperatures and hidden.shape[1] == words, "hidden")
        require(hidden_out.shape[0] == hidden.shape[0] and hidden_out.shape[1] == words, "hidden_out")
        require(marks.shape[0] == marks_out.shape[0] == hidden.shape[0], "marks")
        require(first >= 0 and first + 2 * log_u.shape[0] <= self.n_temperatures, "first")
        require(log_ratio.shape[0] == accepted.shape[0] == log_u.shape[0] and log_ratio.shape[1] == n, "log_ratio")
        cdef Memory found = Memory(sizeof(double) * 4 * n)
        cdef double *energy = <double *>found.start  # of the states of a pair at the hotter temperature, at the colder one
        r.table, r.row_words, r.n_rows, r.energy = TABLE, words, 2 * n, energy
        r.n_out, r.n_in, r.out_stride, r.in_stride = self.n_visible, self.n_hidden, 1, self.fixed[0].ld
        r.chunk = min(1024, max(64, _up((2 * n + n_threads - 1) // n_threads, 64)))
        cdef size_t stride = _up(frbm_rows_scratch(&r), 16)
        cdef Memory scratch = Memory(sizeof(float) * stride * n_threads)
        memcpy(&hidden_out[0, 0], &hidden[0, 0], sizeof(uint64_t) * hidden.shape[0] * words)
        memcpy(&marks_out[0], &marks[0], marks.shape[0])
        for pair in range(log_u.shape[0]):
            hot, cold = (first + 2 * pair) * n, (first + 2 * pair + 1) * n
            for side in range(2):
                k = first + 2 * pair + side
                r.rows = &hidden[hot, 0]
                r.coef, r.quantum, r.limbs = self.fixed[k].weights, 1 / self.fixed[k].scale, &self.fixed[k].of_visible
                r.bias = <float *>self.visible_bias.start + k * self.n_visible
                r.visible_bias = <float *>self.hidden_bias.start + k * self.n_hidden
                r.energy = energy + 2 * n * side
                _run_rows(&r, n_threads, <float *>scratch.start, stride)
            accepted[pair] = 0
            for c in range(n):
                log_ratio[pair, c] = (energy[c] - energy[2 * n + c]) - (energy[n + c] - energy[3 * n + c])
                if log_u[pair, c] < log_ratio[pair, c]:
                    accepted[pair] += 1
                    marks_out[hot + c], marks_out[cold + c] = marks[cold + c], marks[hot + c]
                    for w in range(words):
                        hidden_out[hot + c, w], hidden_out[cold + c, w] = hidden[cold + c, w], hidden[hot + c, w]

    def run_chains(self, const uint64_t[:, ::1] hidden not None, uint64_t[:, ::1] visible_out not None,
                   uint64_t[:, ::1] hidden_out not None, draw, int n_sweeps, int n_threads):
        """Gibbs sweeps of the chains of all temperatures; the visible states are those at the last one."""
        cdef Py_ssize_t n = hidden.shape[0] // self.n_temperatures, k, stop = self.n_temperatures - 1
        cdef Py_ssize_t words = (self.n_hidden + 63) // 64, visible_words = (self.n_visible + 63) // 64
        cdef frbm_chains c
        memset(&c, 0, sizeof(c))
        require(hidden.shape[0] == n * self.n_temperatures and n > 0 and hidden.shape[1] == words, "hidden")
        require(hidden_out.shape[0] == hidden.shape[0] and hidden_out.shape[1] == words, "hidden_out")
        require(visible_out.shape[0] == n and visible_out.shape[1] == visible_words, "visible_out")
        require(n_sweeps > 0, "n_sweeps")
        poller = Poller()
        c.table, c.n_hidden, c.n_visible, c.n_chains, c.n_sweeps = TABLE, self.n_hidden, self.n_visible, n, n_sweeps
        c.ld = _up(n, FRBM_LANES)
        cdef Memory lanes = Memory(sizeof(uint32_t) * 2 * (words + visible_words) * c.ld, True)
        c.hidden = <uint32_t *>lanes.start
        c.visible = c.hidden + 2 * words * c.ld
        _set_draw(&c.draw, draw)
        cdef uint32_t first_chain = c.draw.first_chain
        c.poll, c.poll_context = &_poll, <void *>poller
        c.chunk = min(512, max(64, _up((n + n_threads - 1) // n_threads, 64)))
        cdef size_t stride = FRBM_SCRATCH_FLOATS
        cdef Memory scratch = Memory(sizeof(float) * stride * n_threads)
        for k in range(self.n_temperatures):
            _to_lanes(&hidden[k * n, 0], n, words, c.hidden, c.ld)
            c.fixed, c.draw.first_chain = &self.fixed[k], first_chain + <uint32_t>(k * n)
            c.bias_visible = <float *>self.visible_bias.start + k * self.n_visible
            c.bias_hidden = <float *>self.hidden_bias.start + k * self.n_hidden
            _run_chains(&c, n_threads, <float *>scratch.start, stride)
            poller.reraise()
            _from_lanes(c.hidden, c.ld, n, self.n_hidden, &hidden_out[k * n, 0])
        _from_lanes(c.visible, c.ld, n, self.n_visible, &visible_out[0, 0])
