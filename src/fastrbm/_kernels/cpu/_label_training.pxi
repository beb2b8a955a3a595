# ---- training of machines with labels --------------------------------------------------------------------

cdef class LabelTraining:
    """Arguments of frbm_train_labels, and the memory of its buffers; see src/teams/train_labels.inc.c."""

    cdef frbm_training t
    cdef frbm_labelling l
    cdef list keep
    cdef LaidOut memory
    cdef FixedWeights fixed
    cdef object turned

    def __init__(self, parameters, slots, classes, class_slots, update, size_t n_rows, size_t batch_size, bint dense,
                 bint transposed, int n_threads, turned=None):
        cdef frbm_training *t = &self.t
        cdef float[:, ::1] weights = parameters.weights, of_classes = classes.weights
        cdef float[::1] visible_bias = parameters.visible_bias, hidden_bias = parameters.hidden_bias
        cdef float[::1] class_bias = classes.hidden_bias
        cdef Py_ssize_t n_hidden = weights.shape[0], n_visible = weights.shape[1], n_classes = of_classes.shape[0]
        memset(t, 0, sizeof(t[0]))
        memset(&self.l, 0, sizeof(self.l))
        self.keep = [parameters, slots, classes, class_slots]
        require(n_rows > 0 and batch_size > 0, "rows and minibatches")
        require(visible_bias.shape[0] == n_visible > 0 and hidden_bias.shape[0] == n_hidden > 0, "parameters")
        require(of_classes.shape[1] == n_hidden and class_bias.shape[0] == n_classes > 0, "classes")
        t.n_hidden, t.n_visible = n_hidden, n_visible
        t.weights, t.bias_visible, t.bias_hidden = &weights[0, 0], &visible_bias[0], &hidden_bias[0]
        self.l.classes, self.l.bias, self.l.lanes.n_classes = &of_classes[0, 0], &class_bias[0], n_classes
        _set_slots(t.slots, [s.weights for s in slots], n_hidden * n_visible, update)
        _set_slots(t.slots_visible, [s.visible_bias for s in slots], n_visible, update)
        _set_slots(t.slots_hidden, [s.hidden_bias for s in slots], n_hidden, update)
        _set_slots(self.l.slots, [s.weights for s in class_slots], n_classes * n_hidden, update)
        _set_slots(self.l.slots_bias, [s.hidden_bias for s in class_slots], n_classes, update)
        _set_rule(&t.rule, update)
        t.updates, t.n_rows, t.batch_size = update.done, n_rows, batch_size
        t.kind = FRBM_GREY_ROWS if dense else FRBM_BIT_ROWS
        t.labels = &self.l
        self.turned = turned
        if turned is not None:
            self._set_turned(*turned)
        self.memory = LaidOut(frbm_lay_out_training(t, NULL))
        frbm_lay_out_training(t, self.memory.start)
        self.fixed = FixedWeights(n_hidden, n_visible, transposed and not dense and turned is None, n_threads)
        if not dense and turned is None:
            self.fixed._follow_by_limbs(frbm_prefers_tiles(TABLE, min(batch_size, n_rows)), False)
        t.fixed, t.magnitudes = self.fixed.f, self.fixed.magnitudes

    def _set_turned(self, float[:, ::1] weights not None, list slots not None):
        """Weights and their slots as [visible][hidden], which are trained in place of the others."""
        cdef size_t ld = weights.shape[1]
        cdef float[:, ::1] slot
        require(ld % 16 == 0 and ld >= _up(self.t.n_hidden, FRBM_PANEL), "turned weights")
        require(weights.shape[0] == <Py_ssize_t>self.t.n_visible and self.t.batch_size <= FRBM_TURNED_ROWS, "turned weights")
        self.l.sparse, self.l.turned.weights, self.l.turned.ld = True, &weights[0, 0], ld
        for k, slot in enumerate(slots):
            require(k < FRBM_SLOTS and slot.shape[0] == weights.shape[0] and slot.shape[1] == weights.shape[1], "turned slots")
            self.l.turned.slots[k] = &slot[0, 0]

    def run(self, const uint64_t[:, ::1] rows, const float[:, ::1] dense, const int64_t[::1] order not None,
            const int32_t[::1] labels not None, const float[::1] shares, state):
        """Do the minibatches of `order`; labels and shares are those of the rows in this order.

        ``state.updates`` counts what was done, also on an interrupt.
        Returns the loss of each minibatch done: fewer than asked for when weights have outgrown the kernels.
        """
        cdef frbm_training *t = &self.t
        cdef Py_ssize_t k, n = order.shape[0], limit
        cdef bint inside = True
        require((rows is None) == (t.kind == FRBM_GREY_ROWS) and (dense is None) != (rows is None), "rows")
        limit = rows.shape[0] if rows is not None else dense.shape[0]
        for k in range(n):
            inside &= 0 <= order[k] < limit
        require(inside and n == <Py_ssize_t>t.n_rows, "order")
        require(labels.shape[0] == n and (shares is None or shares.shape[0] == n), "labels and shares")
        for k in range(n):
            inside &= 0 <= labels[k] < <Py_ssize_t>self.l.lanes.n_classes
        require(inside, "labels")
        if rows is not None:
            require(rows.shape[1] == <Py_ssize_t>t.row_words, "rows")
            t.rows = &rows[0, 0]
        else:
            require(dense.shape[1] == <Py_ssize_t>t.n_visible, "dense")
            t.dense = &dense[0, 0]
        losses = np.zeros((n + t.batch_size - 1) // t.batch_size)
        cdef double[::1] to = losses
        self.l.labels, self.l.losses = &labels[0], &to[0]
        self.l.shares = NULL if shares is None else &shares[0]
        poller = Poller()
        t.table = TABLE
        t.order, t.batches_done, t.outgrown = &order[0], 0, 0
        t.poll, t.poll_context = &_poll, <void *>poller
        cdef size_t stride = frbm_training_scratch(t)
        cdef int n_threads = self.fixed.n_sharing
        cdef Memory scratch = Memory(sizeof(float) * stride * n_threads)
        cdef int size = n_threads
        cdef int thread
        t.team.regroup, t.team.stop = True, False
        while t.team.regroup and not t.team.stop and t.batches_done * t.batch_size < t.n_rows:
            size = frbm_crew_call(&t.team, n_threads)
            memset(&self.l.most, 0, sizeof(self.l.most))
            with nogil, parallel(num_threads=size):
                thread = threadid()
                frbm_enter(&t.team)
                frbm_train_labels(t, thread, <float *>scratch.start + thread * stride)
        state.updates = t.updates + t.batches_done
        poller.reraise()
        return losses[: t.batches_done]
