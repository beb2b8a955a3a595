# ---- rules -----------------------------------------------------------------------------------------------

cdef void _set_rule(frbm_rule *out, update) except *:
    memset(out, 0, sizeof(out[0]))
    rule = update.rule
    out.kind = RULE_NUMBERS[rule.kind]
    out.rate, out.momentum, out.decay, out.epsilon = update.rate, update.momentum, rule.decay, rule.epsilon
    if out.kind == FRBM_ADAM or out.kind == FRBM_AMSGRAD:
        out.mean_scale, out.square_scale = update.scales()
    out.l1, out.l2, out.clip = rule.l1, rule.l2, rule.clip


cdef dict LEAST_SLOTS = {"sgd": 0, "nesterov": 0, "rmsprop": 1, "adam": 2, "amsgrad": 3}


cdef void _set_slots(float **out, slots, Py_ssize_t n, update) except *:
    cdef float[::1] flat
    require(LEAST_SLOTS[update.rule.kind] <= len(slots) <= FRBM_SLOTS, "slots")
    for k, slot in enumerate(slots):
        flat = slot.reshape(-1)  # a view: the caller's arrays are contiguous
        require(flat.shape[0] == n and slot.flags.c_contiguous, "slots")
        out[k] = &flat[0]


cdef Py_ssize_t PIECE = 1 << 14  # values whose rule one thread applies at once


cdef void _apply(const frbm_rule *rule, bint penalised, float *values, float **slots, float *gradient, Py_ssize_t n,
                 int n_threads) noexcept nogil:
    cdef Py_ssize_t k
    if n <= PIECE:
        TABLE.apply_rule(rule, penalised, values, slots, 0, gradient, n)
        return
    for k in prange((n + PIECE - 1) // PIECE, num_threads=n_threads, schedule="static"):
        TABLE.apply_rule(rule, penalised, values, slots, k * PIECE, &gradient[k * PIECE],
                         n - k * PIECE if n - k * PIECE < PIECE else PIECE)


def ascend(update, parameters, slots, gradient, int n_threads):
    """Apply a rule to the three arrays of parameters; float32 gradients that lie in one piece are overwritten."""
    cdef frbm_rule rule
    cdef float *pointers[3][FRBM_SLOTS]
    cdef float[:, ::1] weights = parameters[0], of_weights = np.ascontiguousarray(gradient[0], dtype=np.float32)
    cdef float[::1] visible = parameters[1], of_visible = np.ascontiguousarray(gradient[1], dtype=np.float32)
    cdef float[::1] hidden = parameters[2], of_hidden = np.ascontiguousarray(gradient[2], dtype=np.float32)
    cdef Py_ssize_t n_hidden = weights.shape[0], n_visible = weights.shape[1], n[3]
    cdef int i
    require(visible.shape[0] == n_visible > 0 and hidden.shape[0] == n_hidden > 0, "parameters")
    require(of_weights.shape[0] == of_hidden.shape[0] == n_hidden, "gradient")
    require(of_weights.shape[1] == of_visible.shape[0] == n_visible, "gradient")
    n[0], n[1], n[2] = n_hidden * n_visible, n_visible, n_hidden
    memset(pointers, 0, sizeof(pointers))
    _set_rule(&rule, update)
    for i in range(3):
        _set_slots(pointers[i], [slot[i] for slot in slots], n[i], update)
    _apply(&rule, True, &weights[0, 0], pointers[0], &of_weights[0, 0], n[0], n_threads)
    _apply(&rule, False, &visible[0], pointers[1], &of_visible[0], n[1], n_threads)
    _apply(&rule, False, &hidden[0], pointers[2], &of_hidden[0], n[2], n_threads)


# ---- gradients -------------------------------------------------------------------------------------------

cdef bint _within_one(const float *x, Py_ssize_t n) noexcept nogil:
    """Whether means are such that sums of their fixed-point copies fit; NaN are not."""
    cdef Py_ssize_t k
    cdef int outside = 0
    for k in range(n):
        outside |= not -1 <= x[k] <= 1
    return outside == 0


#: rows whose levels may be summed up; see src/tiles/levels.h
MOST_LEVEL_ROWS = 1 << 22


cdef class Half:
    """One phase of a gradient of bits, or of levels, as the kernels take it."""

    cdef const uint64_t[:, ::1] rows, states
    cdef const uint8_t[:, :] levels
    cdef const float[:, ::1] means
    cdef const double[::1] shares
    cdef Py_ssize_t n, n_hidden, n_visible
    cdef Memory planes, hidden, averages, states_of_levels

    def __init__(self, Py_ssize_t n_hidden, Py_ssize_t n_visible, phase):
        self.n_hidden, self.n_visible, self.n = n_hidden, n_visible, 1
        self.rows = self.states = None
        self.levels = None
        self.means, self.shares = None, None
        if phase is None:  # one row with all units off: its moments are 0
            return
        rows, hidden, shares = phase
        self.n = rows.shape[0]
        if rows.dtype == np.uint8:
            self.levels = rows
            require(0 < self.n <= MOST_LEVEL_ROWS and self.levels.shape[1] == n_visible, "levels")
            require_rows(self.n, n_visible, self.levels.strides, 1, "levels")
        else:
            self.rows = rows
            require(self.n > 0 and self.rows.shape[1] == (n_visible + 63) // 64, "rows")
        if hidden.dtype == np.uint64:
            self.states = hidden
            require(self.states.shape[0] == self.n and self.states.shape[1] == (n_hidden + 63) // 64, "hidden states")
        else:
            self.means = hidden
            require(self.means.shape[0] == self.n and self.means.shape[1] == n_hidden, "hidden means")
        if shares is not None:
            self.shares = shares
            require(self.shares.shape[0] == self.n, "shares")

    cdef bint fits(self) noexcept:
        return self.means is None or _within_one(&self.means[0, 0], self.n * self.n_hidden)

    cdef bint given(self) noexcept:
        """Whether there are rows."""
        return self.rows is not None or self.levels is not None

    cdef void gather(self) except *:
        """Planes of the rows, or levels by columns, and the mean of each column."""
        cdef size_t words = (self.n_visible + 63) // 64
        cdef Py_ssize_t i
        cdef int32_t *counts
        if self.levels is not None:
            self._gather_levels(64 * words)
            return
        self.planes = _planes(self.rows, self.n, self.n_visible)
        self.averages = Memory(2 * sizeof(double) * self.n_visible, True)
        cdef double *averages = <double *>self.averages.start
        if self.shares is not None:
            self._weigh(averages, averages + self.n_visible)
            return
        cdef Memory memory = Memory(sizeof(int32_t) * 64 * words, True)
        counts = <int32_t *>memory.start
        TABLE.count_planes(<uint32_t *>self.planes.start, 64 * words, (self.n + 31) // 32, 0, self.n_visible, counts)
        for i in range(self.n_visible):
            averages[i] = <double>counts[i] / <double>self.n

    cdef void _gather_levels(self, size_t ld) except *:
        cdef Py_ssize_t row, u, n = self.n
        cdef int64_t total
        self.planes = Memory(sizeof(uint32_t) * _up(n, 32) // 2 * ld)
        self.averages = Memory(sizeof(double) * self.n_visible, True)
        cdef double *averages = <double *>self.averages.start
        for row in range(0, n, 32):
            TABLE.load_levels(&self.levels[0, 0], self.levels.strides[0], NULL, row, n - row if n - row < 32 else 32,
                              self.n_visible, NULL, 0, NULL, <uint32_t *>self.planes.start, ld)
        with nogil:
            for row in range(n):
                if self.shares is None:
                    for u in range(self.n_visible):
                        averages[u] += self.levels[row, u]
                else:
                    for u in range(self.n_visible):
                        averages[u] += self.shares[row] * (self.levels[row, u] / 255.0)
            if self.shares is None:
                for u in range(self.n_visible):
                    averages[u] = averages[u] / 255.0 / <double>n

    cdef void _weigh(self, double *total, double *part) noexcept nogil:
        """Columns by the shares of their rows, in the order of the rows within blocks of so many."""
        cdef Py_ssize_t block = max(<Py_ssize_t>128, (<Py_ssize_t>4 << 20) // (8 * self.n_visible) // 128 * 128)
        cdef Py_ssize_t row, u, w, words = self.rows.shape[1]
        cdef uint64_t word
        for row in range(self.n):
            for w in range(words):
                word = self.rows[row, w]
                u = 64 * w
                while word:
                    if word & 1:
                        part[u] += self.shares[row]
                    word >>= 1
                    u += 1
            if (row + 1) % block == 0 or row == self.n - 1:
                for u in range(self.n_visible):
                    total[u] += part[u]
                    part[u] = 0

    cdef void hide(self, bint shared, int sign) except *:
        """Planes of hidden states or, of means and of what has shares, fixed-point means [unit][sample].

        Shares add up to 1, so that sums of the integers fit; they are exact in any order, which those of BLAS are not.
        """
        cdef Py_ssize_t n = self.n, n_hidden = self.n_hidden
        cdef float scale = sign * <float>FRBM_MEAN_SCALE
        if not self.given():
            self.hidden = Memory(sizeof(int32_t) * 64 * ((n_hidden + 63) // 64), True)
            return
        if self.means is None and not shared:
            self.hidden = _planes(self.states, n, n_hidden)
            return
        self._turn(scale)

    cdef void count(self) except *:
        """States as integers [unit][sample], the coefficients of levels."""
        cdef Py_ssize_t n = self.n, row, u
        self.states_of_levels = Memory(sizeof(int32_t) * n * self.n_hidden)
        cdef int32_t *to = <int32_t *>self.states_of_levels.start
        for row in range(n):
            for u in range(self.n_hidden):
                to[u * n + row] = self.states[row, u >> 6] >> (u & 63) & 1

    cdef void _turn(self, float scale) except *:
        cdef Py_ssize_t n = self.n, n_hidden = self.n_hidden, row, u
        cdef float share
        cdef Memory turned = Memory(sizeof(float) * n * n_hidden)
        cdef float *to = <float *>turned.start
        if self.shares is None:
            scale = scale / <float>n
        for row in range(n):
            share = <float>1 if self.shares is None else <float>self.shares[row]
            for u in range(n_hidden):
                if self.means is not None:
                    to[u * n + row] = self.means[row, u] * share
                else:
                    to[u * n + row] = share if self.states[row, u >> 6] >> (u & 63) & 1 else 0
        self.hidden = Memory(sizeof(int32_t) * n * n_hidden)
        TABLE.quantise(to, n * n_hidden, scale, <int32_t *>self.hidden.start)


def gradient_of_bits(data, model, parameters, slots, update, int n_threads):
    """Change parameters and slots in place by the contrastive gradient of bits, or by moments; data may be levels.

    Parameters
    ----------
    data, model : (rows, hidden, shares), or None for the model: the moments of the data alone
        Words of bits, or uint8 levels of the data; words of hidden states, or float32 means; float64 shares of the rows or None.
    parameters, slots, update : as in `ascend`

    Returns
    -------
    bool
        False, with nothing changed, where means are too large for sums of fixed-point ones.
    """
    cdef float[:, ::1] weights = parameters.weights
    cdef float[::1] visible_bias = parameters.visible_bias, hidden_bias = parameters.hidden_bias
    cdef Py_ssize_t n_hidden = weights.shape[0], n_visible = weights.shape[1], i
    require(visible_bias.shape[0] == n_visible > 0 and hidden_bias.shape[0] == n_hidden > 0, "parameters")
    cdef Half positive = Half(n_hidden, n_visible, data), negative = Half(n_hidden, n_visible, model)
    require(positive.given() and negative.levels is None, "data")
    if not (positive.fits() and negative.fits()):
        return False
    cdef bint shared = positive.shares is not None or negative.shares is not None
    require(negative.rows is None or (positive.means is None) == (negative.means is None), "hidden layers")
    cdef frbm_gradient g
    cdef float *of_visible[FRBM_SLOTS]
    memset(&g, 0, sizeof(g))
    memset(of_visible, 0, sizeof(of_visible))
    _set_rule(&g.rule, update)
    _set_slots(g.slots, [s.weights for s in slots], n_hidden * n_visible, update)
    _set_slots(of_visible, [s.visible_bias for s in slots], n_visible, update)
    _set_slots(g.bias_slots, [s.hidden_bias for s in slots], n_hidden, update)
    positive.gather()
    negative.gather()
    positive.hide(shared, 1)
    negative.hide(shared, -1)
    cdef size_t ld = 64 * ((n_visible + 63) // 64)
    g.positive.bits, g.positive.stride, g.positive.n_inputs = <uint32_t *>positive.planes.start, ld, positive.n
    g.negative.bits, g.negative.stride, g.negative.n_inputs = <uint32_t *>negative.planes.start, ld, negative.n
    if positive.means is None and not shared:
        g.positive_hidden, g.negative_hidden = <uint32_t *>positive.hidden.start, <uint32_t *>negative.hidden.start
        g.hidden_ld = 64 * ((n_hidden + 63) // 64)
        g.positive_share, g.negative_share = <float>1.0 / <float>positive.n, -(<float>1.0) / <float>negative.n
        if positive.levels is not None:
            positive.count()
            g.positive.coef, g.positive.out_stride, g.positive.in_stride = <int32_t *>positive.states_of_levels.start, positive.n, 1
    else:
        g.positive.coef, g.positive.out_stride, g.positive.in_stride = <int32_t *>positive.hidden.start, positive.n, 1
        g.negative.coef, g.negative.out_stride, g.negative.in_stride = <int32_t *>negative.hidden.start, negative.n, 1
    if positive.levels is not None:
        g.levels, g.levels_ld = <uint32_t *>positive.planes.start, ld
    g.weights, g.bias, g.n_visible = &weights[0, 0], &hidden_bias[0], n_visible
    g.quantum = <float>1.0 / <float>FRBM_MEAN_SCALE
    cdef Memory along = Memory(sizeof(float) * n_visible)
    cdef float *gradient = <float *>along.start
    for i in range(n_visible):
        gradient[i] = <float>((<double *>positive.averages.start)[i] - (<double *>negative.averages.start)[i])
    _apply(&g.rule, False, &visible_bias[0], of_visible, gradient, n_visible, 1)
    cdef size_t stride = FRBM_SCRATCH_FLOATS
    cdef Memory scratch = Memory(sizeof(float) * stride * n_threads)
    # whole tiles of look-ups, or of limbs as many as leave each thread some
    cdef Py_ssize_t size = min(FRBM_PANEL, _up(n_hidden // (2 * n_threads) + 1, 16)) if TABLE.tile_cost > 0 else 12
    cdef Py_ssize_t pieces = (n_hidden + size - 1) // size, p
    if n_threads == 1:
        for p in range(pieces):
            TABLE.gradient_rows(&g, size * p, n_hidden - size * p if n_hidden - size * p < size else size, NULL,
                                <float *>scratch.start)
        return True
    for p in prange(pieces, nogil=True, num_threads=n_threads, schedule="dynamic"):
        TABLE.gradient_rows(&g, size * p, n_hidden - size * p if n_hidden - size * p < size else size, NULL,
                            <float *>scratch.start + threadid() * stride)
    return True


cdef Memory _planes(const uint64_t[:, ::1] rows, Py_ssize_t n, size_t n_units):
    """Planes of packed rows, for products over samples; of None, n rows with all units off."""
    cdef size_t words = (n_units + 63) // 64
    cdef Memory out = Memory(sizeof(uint32_t) * (_up(n, 32) // 32 * 64 * words + 1), rows is None)
    if rows is not None:
        TABLE.gather(&rows[0, 0], words, NULL, n, n_units, NULL, 0, <uint32_t *>out.start, 64 * words)
    return out
