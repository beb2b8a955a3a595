# ---- fixed-point weights ---------------------------------------------------------------------------------


cdef Memory _room_for_limbs(frbm_limbs *limbs, size_t n_out, size_t n_in):
    """Memory of the limbs for one direction, zeros; see src/tiles/limbs.h."""
    cdef size_t tiles = (n_out + 15) // 16 * ((n_in + 63) // 64)
    cdef Memory room = Memory(tiles * (1024 * FRBM_LIMBS + 4), True)
    limbs.bytes, limbs.n_steps = <uint8_t *>room.start, (n_in + 63) // 64
    limbs.high = limbs.bytes + tiles * 1024 * FRBM_LIMBS
    return room


cdef class FixedWeights:
    """Weights as round(W * 2^exponent) in int32, for any number of products; see src/tiles/quantise.h.

    With `int16`, rounded to 16 bits where that is not too coarse.
    """

    cdef frbm_fixed f
    cdef readonly int exponent
    cdef readonly bint int16
    cdef readonly size_t n_hidden, n_visible
    cdef Memory _weights, _transposed, _columns, _of_hidden, _of_visible, _halves
    cdef frbm_magnitudes magnitudes[FRBM_MOST_THREADS]
    cdef int n_sharing

    def __init__(self, size_t n_hidden, size_t n_visible, bint transposed, int n_threads, bint int16=False):
        self.int16 = int16
        self.n_hidden, self.n_visible = n_hidden, n_visible
        self.n_sharing = min(n_threads, FRBM_MOST_THREADS)
        self.f.ld, self.f.transposed_ld = _up(n_visible, FRBM_LANE_PAD), _up(n_hidden, FRBM_LANE_PAD)
        if self.f.transposed_ld % 128 == 0:  # rows a power of two apart would share a few sets of the caches
            self.f.transposed_ld += FRBM_LANE_PAD
        self._weights = Memory(sizeof(int32_t) * (n_hidden * self.f.ld + 16))  # int16.h reads past rows
        self.f.weights = <int32_t *>self._weights.start
        self.f.transposed = NULL
        if transposed:
            self._transposed = Memory(sizeof(int32_t) * (n_visible * self.f.transposed_ld + 1))
            self.f.transposed = <int32_t *>self._transposed.start
        self._columns = Memory(sizeof(uint32_t) * self.n_sharing * n_visible, True)
        for thread in range(self.n_sharing):
            self._bind(thread)
        self.f.magnitude_scale = ldexp(1.0, frbm_magnitude_shift(n_visible, n_hidden))
        self.f.scale = 1
        self.f.int16 = 0
        memset(&self.f.of_hidden, 0, sizeof(frbm_limbs))
        memset(&self.f.of_visible, 0, sizeof(frbm_limbs))
        self.f.halves, self.f.halves_ld = NULL, 2 * _up((n_visible + 1) // 2, 16)

    def dense(self):
        """The integers, shape (n_hidden, n_visible)."""
        return np.array(<int32_t[: self.n_hidden, : self.f.ld]>self.f.weights)[:, : self.n_visible]

    cdef void _follow_by_limbs(self, bint of_hidden, bint of_visible):
        """Have the limbs follow the weights from now on, where products of many lanes go by them."""
        if of_hidden:
            self._of_hidden = _room_for_limbs(&self.f.of_hidden, self.n_hidden, self.n_visible)
        if of_visible:
            self._of_visible = _room_for_limbs(&self.f.of_visible, self.n_visible, self.n_hidden)

    cdef void _follow_by_halves(self):
        """Have the halves follow the weights from now on, for products with levels; see src/tiles/levels.h."""
        self._halves = Memory(sizeof(uint32_t) * self.n_hidden * self.f.halves_ld)
        self.f.halves = <uint32_t *>self._halves.start

    cdef void _want_halves(self):
        """Have the halves of these weights."""
        if self.f.halves != NULL:
            return
        cdef frbm_fixed f = self.f
        cdef Memory room = Memory(sizeof(uint32_t) * self.n_hidden * self.f.halves_ld)
        f.halves = <uint32_t *>room.start
        TABLE.cut_weights(&f, self.n_visible, 0, self.n_hidden)
        if self.f.halves == NULL:  # no other Python thread was faster
            self._halves, self.f.halves = room, f.halves

    cdef void _want_limbs(self, bint of_visible, double n_lanes, int n_threads):
        """Have the limbs of these weights for products of n_lanes lanes, if that is how they are done."""
        cdef frbm_fixed f = self.f
        cdef frbm_limbs *own = &self.f.of_visible if of_visible else &self.f.of_hidden
        cdef Py_ssize_t pieces = (self.n_hidden + 63) // 64, p
        cdef Memory room
        if own.bytes != NULL or not frbm_prefers_tiles(TABLE, n_lanes):
            return
        memset(&f.of_hidden, 0, sizeof(frbm_limbs))
        memset(&f.of_visible, 0, sizeof(frbm_limbs))
        if of_visible:
            room = _room_for_limbs(&f.of_visible, self.n_visible, self.n_hidden)
        else:
            room = _room_for_limbs(&f.of_hidden, self.n_hidden, self.n_visible)
        if n_threads == 1:
            TABLE.cut_limbs(&f, self.n_visible, 0, self.n_hidden)
        else:
            for p in prange(pieces, nogil=True, num_threads=n_threads, schedule="static"):
                TABLE.cut_limbs(&f, self.n_visible, 64 * p, self.n_hidden - 64 * p if self.n_hidden - 64 * p < 64 else 64)
        if own.bytes != NULL:  # another Python thread was faster
            return
        if of_visible:
            self._of_visible = room
        else:
            self._of_hidden = room
        own[0] = f.of_visible if of_visible else f.of_hidden

    cdef void _bind(self, int thread) noexcept:
        self.magnitudes[thread].columns = <uint32_t *>self._columns.start + thread * self.n_visible
        self.magnitudes[thread].row = self.magnitudes[thread].seen = 0

    cdef void _quantise(self, const float *weights) noexcept nogil:
        cdef Py_ssize_t pieces = (self.n_hidden + 15) // 16, p
        if self.n_sharing == 1:  # a parallel region takes longer than small layers
            for p in range(pieces):
                TABLE.quantise_rows(&self.f, weights, self.n_visible, 16 * p,
                               self.n_hidden - 16 * p if self.n_hidden - 16 * p < 16 else 16, &self.magnitudes[0])
            return
        for p in prange(pieces, num_threads=self.n_sharing, schedule="static"):
            TABLE.quantise_rows(&self.f, weights, self.n_visible, 16 * p,
                           self.n_hidden - 16 * p if self.n_hidden - 16 * p < 16 else 16, &self.magnitudes[threadid()])

    def fill(self, const float[:, ::1] weights not None):
        """Take over `weights`; False when they are too large for fixed point."""
        require(weights.shape[0] == <Py_ssize_t>self.n_hidden and weights.shape[1] == <Py_ssize_t>self.n_visible, "weights")
        cdef int int16 = self.int16
        self._quantise(&weights[0, 0])
        self.exponent = frbm_exponent(self.magnitudes, self.n_sharing, self.n_visible, self.n_hidden, &int16)
        if self.exponent < 0:
            return False
        self.f.scale = ldexp(1.0, self.exponent)
        self.f.int16 = int16
        self._quantise(&weights[0, 0])
        return True


def quantise_weights(const float[:, ::1] weights not None, bint transposed, int n_threads, bint int16=False):
    """Fixed-point copy of float32 weights, with its transpose if asked for; None when they are too large for it."""
    fixed = FixedWeights(weights.shape[0], weights.shape[1], transposed, n_threads, int16)
    return fixed if fixed.fill(weights) else None


def prefers_rows(double n_lanes, double active, bint int16=False):
    """Whether products of n_lanes states with this share of active inputs go by rows instead of look-ups or tiles."""
    return TABLE.row_cost * active < frbm_whole_cost(TABLE, n_lanes, int16, frbm_prefers_tiles(TABLE, n_lanes))


def prefers_tiles(double n_lanes):
    """Whether products of n_lanes states go by tiles, unless they go by rows."""
    return bool(frbm_prefers_tiles(TABLE, n_lanes))


def costs(double n_lanes, double active, bint int16=False):
    """Cost model of this instruction set: cycles per multiply-add of products, by each way that there is."""
    ways = {"look-ups": frbm_whole_cost(TABLE, n_lanes, int16, False), "rows": TABLE.row_cost * active}
    if frbm_prefers_tiles(TABLE, n_lanes):
        ways["tiles"] = frbm_whole_cost(TABLE, n_lanes, int16, True)
    return ways


def density(const uint64_t[:, ::1] rows not None, Py_ssize_t n_units):
    """Share of set bits in the first 512 rows."""
    cdef Py_ssize_t n = min(rows.shape[0], 512), i, w
    cdef uint64_t word, count = 0
    for i in range(n):
        for w in range(rows.shape[1]):
            word = rows[i, w]
            while word:
                word &= word - 1
                count += 1
    return count / max(1.0, <double>n * n_units)
