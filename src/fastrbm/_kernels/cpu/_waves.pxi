# ---- wave functions of spins -----------------------------------------------------------------------------

cdef class Wave:
    """A wave function and moves of its spins; see src/tiles/wave.h. Complex numbers are parts, real and imaginary."""
    cdef frbm_wave w
    cdef object held
    cdef size_t width

    def __init__(self, const double[:, :, ::1] weights not None, const double[:, ::1] hidden_bias not None,
                 const double[:, ::1] visible_bias not None, const int32_t[:, ::1] moves not None,
                 const double[:, :, ::1] grow not None, const double[:, :, ::1] shrink not None,
                 const double[:, :, ::1] linear not None, size_t n_hidden):
        cdef Py_ssize_t n_sites = weights.shape[0], parts = weights.shape[1], ld = weights.shape[2], n_moves = moves.shape[0]
        memset(&self.w, 0, sizeof(self.w))
        require(n_sites > 0 and parts in (1, 2) and ld > 0 and ld % 8 == 0 and 0 < n_hidden <= <size_t>ld, "weights")
        require(hidden_bias.shape[0] == parts and hidden_bias.shape[1] == ld, "hidden_bias")
        require(visible_bias.shape[0] == parts and visible_bias.shape[1] == n_sites, "visible_bias")
        require(n_moves > 0 and moves.shape[1] == 3, "moves")
        sites = np.asarray(moves)
        require(0 <= sites[:, 0].min() and -1 <= sites[:, 1].min() and sites[:, :2].max() < n_sites, "moves")
        require(grow.shape[0] == n_moves and grow.shape[1] == parts and grow.shape[2] == ld, "grow")
        require(shrink.shape[0] == n_moves and shrink.shape[1] == parts and shrink.shape[2] == ld, "shrink")
        require(linear.shape[0] == n_moves and linear.shape[1] == 2 and linear.shape[2] == parts, "linear")
        self.held = weights, hidden_bias, visible_bias, moves, grow, shrink, linear
        self.w.weights, self.w.hidden_bias, self.w.visible_bias = &weights[0, 0, 0], &hidden_bias[0, 0], &visible_bias[0, 0]
        self.w.moves, self.w.grow, self.w.shrink, self.w.linear = &moves[0, 0], &grow[0, 0, 0], &shrink[0, 0, 0], &linear[0, 0, 0]
        self.w.n_sites, self.w.ld, self.w.n_moves, self.w.is_complex = n_sites, ld, n_moves, parts == 2
        self.w.n_hidden = n_hidden
        self.width = parts * ld

    def evaluate(self, int8_t[:, ::1] states not None, double[:, ::1] log_psi not None,
                 double[:, :, ::1] tanh_theta, double[:, :, ::1] ratios, int n_threads):
        """log psi, and tanh theta and ratios of all moves unless they are None."""
        cdef frbm_wave w = self.w
        cdef Py_ssize_t n = states.shape[0], parts = 1 + w.is_complex, s
        require(states.shape[1] == <Py_ssize_t>w.n_sites, "states")
        require(log_psi.shape[0] == n and log_psi.shape[1] == parts, "log_psi")
        if n == 0:
            return
        if tanh_theta is not None:
            require(tanh_theta.shape[0] == n and tanh_theta.shape[1] == parts and tanh_theta.shape[2] == <Py_ssize_t>w.ld, "tanh_theta")
            w.tanh_theta = &tanh_theta[0, 0, 0]
        if ratios is not None:
            require(ratios.shape[0] == n and ratios.shape[1] == <Py_ssize_t>w.n_moves and ratios.shape[2] == parts, "ratios")
            w.ratios = &ratios[0, 0, 0]
        w.states, w.n_states, w.log_psi = &states[0, 0], n, &log_psi[0, 0]
        cdef size_t room = _up(2 * self.width * sizeof(double), 64)
        cdef Memory scratch = Memory(room * n_threads)
        for s in prange(n, nogil=True, num_threads=n_threads):
            TABLE.wave_state(&w, s, <double *>(<uint8_t *>scratch.start + threadid() * room))

    def sweep(self, int8_t[:, ::1] states not None, draw, size_t n_sweeps, bint in_order,
              uint32_t[::1] accepted not None, int n_threads):
        """Sweeps of chains, in place; adds the moves that each has made to `accepted`."""
        cdef frbm_wave w = self.w
        cdef Py_ssize_t n = states.shape[0], b
        require(states.shape[1] == <Py_ssize_t>w.n_sites, "states")
        require(accepted.shape[0] == n, "accepted")
        if n == 0:
            return
        w.states, w.n_states, w.accepted = &states[0, 0], n, &accepted[0]
        w.n_sweeps, w.in_order = n_sweeps, in_order
        _set_draw(&w.draw, draw)
        cdef size_t numbers = _up(2 * self.width * sizeof(double), 64)
        cdef size_t room = numbers + _up((w.n_moves + 1) // 2 * 64 * sizeof(uint32_t), 64)
        cdef Memory scratch = Memory(room * n_threads)
        cdef uint8_t *start = <uint8_t *>scratch.start
        for b in prange((n + 15) // 16, nogil=True, num_threads=n_threads, schedule="dynamic"):
            TABLE.wave_sweeps(&w, 16 * b, <double *>(start + threadid() * room), <uint32_t *>(start + threadid() * room + numbers))
