# ---- rules -----------------------------------------------------------------------------------------------

cdef void _set_rule(frbm_rule *out, update) except *:
    rule = update.rule
    out.kind = RULE_NUMBERS[rule.kind]
    out.rate, out.momentum, out.decay, out.epsilon = update.rate, update.momentum, rule.decay, rule.epsilon
    out.mean_scale, out.square_scale = update.scales()
    out.l1, out.l2, out.clip = rule.l1, rule.l2, rule.clip


cdef dict LEAST_SLOTS = {"sgd": 0, "nesterov": 0, "rmsprop": 1, "adam": 2, "amsgrad": 3}


cdef void _set_slots(float **out, slots, Py_ssize_t n, update) except *:
    cdef float[::1] flat
    require(LEAST_SLOTS[update.rule.kind] <= len(slots) <= FRBM_SLOTS, "slots")
    for k, slot in enumerate(slots):
        flat = slot.reshape(-1)  # a view: the caller's arrays are contiguous
        require(flat.shape[0] == n and np.shares_memory(np.asarray(flat), slot), "slots")
        out[k] = &flat[0]


def apply_rule(update, float[::1] values not None, slots, float[::1] gradient not None, bint penalised, int n_threads):
    """One application of a rule to flat arrays; `gradient` is overwritten."""
    cdef frbm_rule rule
    cdef float *pointers[FRBM_SLOTS]
    cdef Py_ssize_t n = values.shape[0], piece = 1 << 14, k
    memset(pointers, 0, sizeof(pointers))
    _set_rule(&rule, update)
    _set_slots(pointers, slots, n, update)
    require(gradient.shape[0] == n, "gradient")
    for k in prange((n + piece - 1) // piece, nogil=True, num_threads=n_threads, schedule="static"):
        TABLE.apply_rule(&rule, penalised, &values[0], pointers, k * piece, &gradient[k * piece],
                         n - k * piece if n - k * piece < piece else piece)


# ---- gradients -------------------------------------------------------------------------------------------

def gradient_step(const uint64_t[:, ::1] data not None, data_hidden, const uint64_t[:, ::1] model not None, model_hidden,
                  float[:, ::1] weights not None, float[::1] hidden_bias not None, slots, hidden_slots, update, float quantum,
                  int n_threads):
    """Weights and hidden biases from packed visible states.

    Hidden: both packed states, or both unit-major means from `round_means` (model_hidden negative).
    """
    cdef frbm_gradient g
    memset(&g, 0, sizeof(g))
    cdef size_t words = data.shape[1], ld = 64 * words, n = data.shape[0], m = model.shape[0]
    require(n > 0 and m > 0, "data and model")
    require(model.shape[1] == data.shape[1] and <Py_ssize_t>ld >= weights.shape[1], "model")
    require(weights.shape[0] == hidden_bias.shape[0], "hidden_bias")
    cdef const int32_t[:, ::1] data_means
    cdef const int32_t[:, ::1] model_means
    cdef uint32_t[::1] planes = _planes(data, weights.shape[1]), model_planes = _planes(model, weights.shape[1])
    cdef uint32_t[::1] hidden, model_states
    g.positive.bits, g.positive.stride, g.positive.n_inputs = &planes[0], ld, n
    g.negative.bits, g.negative.stride, g.negative.n_inputs = &model_planes[0], ld, m
    if data_hidden.dtype == np.uint64:
        require(data_hidden.shape == (n, (weights.shape[0] + 63) // 64) and model_hidden.shape == (m, data_hidden.shape[1]), "hidden states")
        hidden, model_states = _planes(data_hidden, weights.shape[0]), _planes(model_hidden, weights.shape[0])
        g.positive_hidden, g.negative_hidden, g.hidden_ld = &hidden[0], &model_states[0], 64 * data_hidden.shape[1]
        g.positive_share, g.negative_share = <float>1.0 / <float>n, -(<float>1.0) / <float>m
    else:
        data_means, model_means = data_hidden, model_hidden
        require(data_means.shape[0] == model_means.shape[0] == weights.shape[0], "hidden means")
        require(data_means.shape[1] == <Py_ssize_t>n and model_means.shape[1] == <Py_ssize_t>m, "hidden means")
        g.positive.coef, g.positive.out_stride, g.positive.in_stride = &data_means[0, 0], n, 1
        g.negative.coef, g.negative.out_stride, g.negative.in_stride = &model_means[0, 0], m, 1
    g.weights, g.bias, g.n_visible, g.quantum = &weights[0, 0], &hidden_bias[0], weights.shape[1], quantum
    _set_rule(&g.rule, update)
    _set_slots(g.slots, slots, weights.shape[0] * weights.shape[1], update)
    _set_slots(g.bias_slots, hidden_slots, weights.shape[0], update)
    cdef Py_ssize_t n_hidden = weights.shape[0], tiles = (n_hidden + 11) // 12, tile
    cdef size_t stride = FRBM_SCRATCH_FLOATS
    cdef float[::1] scratch = aligned(stride * n_threads, np.float32)
    for tile in prange(tiles, nogil=True, num_threads=n_threads, schedule="dynamic"):
        TABLE.gradient_rows(&g, 12 * tile, n_hidden - 12 * tile if n_hidden - 12 * tile < 12 else 12, NULL,
                            &scratch[threadid() * stride])


def _planes(const uint64_t[:, ::1] rows not None, size_t n_units):
    """Planes of packed rows, for products over samples."""
    cdef size_t n = rows.shape[0], words = rows.shape[1]
    out = aligned(_up(n, 32) // 32 * 64 * words + 1, np.uint32)
    cdef uint32_t[::1] planes = out
    TABLE.gather(&rows[0, 0], words, NULL, n, n_units, NULL, 0, &planes[0], 64 * words)
    return out
