/* What follows from the weights after each update: their fixed-point copy, with the exponent that all of them fit, and
 * the biases of layers of spins.  Included by train.c.
 */
/* ---- fixed-point copy of the weights ------------------------------------------------------------------------- */

static void clear_magnitudes(frbm_training *t) {
    for (int thread = 0; thread < frbm_members(&t->team); thread++) {
        memset(t->magnitudes[thread].columns, 0, t->n_visible * sizeof(uint32_t));
        t->magnitudes[thread].row = 0;
        t->magnitudes[thread].seen = 0;
    }
}

/* After all rows are done, one thread: k is a function of the weights alone, so a resumed run has the same */
static void settle(void *context) {
    frbm_training *t = context;
    int int16 = t->int16;
    const int exponent = frbm_exponent(t->magnitudes, frbm_members(&t->team), t->n_visible, t->n_hidden, &int16);
    clear_magnitudes(t);
    t->requantise = (exponent != t->exponent || int16 != t->fixed.int16) && exponent >= 0;
    t->exponent = exponent;
    t->fixed.int16 = int16;
    if (exponent < 0)
        t->outgrown = t->team.stop = 1;
    else
        t->fixed.scale = ldexpf(1.0f, exponent);
    if (t->filters) t->filters->quantum = quantum_of(t);
}

static void quantise_weights(frbm_training *t, int thread, void (*after)(void *)) {
    size_t piece;
    const size_t n = pieces(t->n_hidden, 16);
    frbm_fixed fixed = t->fixed;
    if (!t->exponent) { /* a first pass, for the magnitudes */
        fixed.of_hidden.bytes = fixed.of_visible.bytes = NULL;
        fixed.halves = NULL;
    }
    while ((piece = steal(&t->team, 0, thread, n)) < n) {
        const size_t first = 16 * piece, left = t->n_hidden - first;
        t->table->quantise_rows(&fixed, t->weights, t->n_visible, first, left < 16 ? left : 16,
                                &t->magnitudes[thread]);
    }
    barrier_then(&t->team, after, t);
}

/* ---- layers of spins ------------------------------------------------------------------------------------------ */

#define SPIN_COLUMNS 256

/* With s = 2 x - 1 in place of a spin, its layer has the input 2 (bias + W t), and the other one loses the sum of the
 * weights of the spins.  Sums are of the fixed-point weights, the ones that states are drawn with, and exact. */
static void bits_of_hidden(frbm_training *t, size_t first, size_t count) {
    for (size_t j = first; j < first + count; j++) {
        const int32_t *row = t->fixed.weights + j * t->fixed.ld;
        int64_t sum = 0;
        if (t->spins.visible)
            for (size_t i = 0; i < t->n_visible; i++) sum += row[i];
        const float bias = t->bias_hidden[j] - (float)((double)sum / (double)t->fixed.scale);
        t->bits_hidden[j] = t->spins.hidden ? 2.0f * bias : bias;
    }
}

static void bits_of_visible(frbm_training *t, size_t first, size_t count) {
    int64_t sums[SPIN_COLUMNS] = {0};
    if (t->spins.hidden)
        for (size_t j = 0; j < t->n_hidden; j++) {
            const int32_t *row = t->fixed.weights + j * t->fixed.ld + first;
            for (size_t i = 0; i < count; i++) sums[i] += row[i];
        }
    for (size_t i = 0; i < count; i++) {
        const float bias = t->bias_visible[first + i] - (float)((double)sums[i] / (double)t->fixed.scale);
        t->bits_visible[first + i] = t->spins.visible ? 2.0f * bias : bias;
    }
}

static void prepare_spins(frbm_training *t, int thread) {
    if (!has_spins(t)) return;
    const size_t of_hidden = pieces(t->n_hidden, 16), of_visible = pieces(t->n_visible, SPIN_COLUMNS);
    size_t piece;
    while ((piece = steal(&t->team, 0, thread, of_hidden)) < of_hidden)
        bits_of_hidden(t, 16 * piece, t->n_hidden - 16 * piece < 16 ? t->n_hidden - 16 * piece : 16);
    while ((piece = steal(&t->team, 1, thread, of_visible)) < of_visible) {
        const size_t first = SPIN_COLUMNS * piece, left = t->n_visible - first;
        bits_of_visible(t, first, left < SPIN_COLUMNS ? left : SPIN_COLUMNS);
    }
    barrier(&t->team);
}
