/* Minibatches of grey data, rows of probabilities in place of bits: the products with the data, which are dense.
 * Included by train.c.
 */
/* Sides of one sgemm of grey data.  BLAS rounds by the shape of a product, so they depend on the batch alone; slices
 * of 32 would run at two thirds of the speed. */
#define GREY_SAMPLES 64
#define GREY_HIDDEN 128
#define GREY_VISIBLE 256

/* Large batches are cut by samples, small ones by hidden units */
static size_t grey_input_pieces(const frbm_training *t, size_t n) {
    return n >= 2 * GREY_SAMPLES ? pieces(n, GREY_SAMPLES) : pieces(t->n_hidden, GREY_HIDDEN);
}

/* Sampled states in place of the means, which sgemm needs as floats */
static void states_for_means(const frbm_training *t, const frbm_layer *part, size_t first, size_t n_units) {
    for (size_t u = first; u < first + n_units; u++) {
        const uint32_t *words = part->words + u / 32 * part->words_ld;
        float *out = part->means + u * t->data_ld;
        for (size_t s = 0; s < part->n_lanes; s++) out[s] = words[s] >> (u % 32) & 1 ? part->mean_scale : 0.0f;
    }
}

/* One piece of the positive phase of grey data: product and what `hidden` asks for */
static void grey_positive(const frbm_training *t, const frbm_layer *hidden, const float *grey, size_t n, size_t piece,
                          float *scratch) {
    const int by_samples = n >= 2 * GREY_SAMPLES;
    const size_t sample = by_samples ? piece * GREY_SAMPLES : 0, unit = by_samples ? 0 : piece * GREY_HIDDEN;
    const size_t n_samples = by_samples && n - sample > GREY_SAMPLES ? GREY_SAMPLES : n - sample;
    const size_t n_units = !by_samples && t->n_hidden - unit > GREY_HIDDEN ? GREY_HIDDEN : t->n_hidden - unit;
    int m = (int)n_samples, units = (int)n_units, depth = (int)t->n_visible, ld = (int)t->data_ld;
    float one = 1.0f, zero = 0.0f;
    t->sgemm("T", "N", &m, &units, &depth, &one, (float *)grey + sample * t->n_visible, &depth,
             t->weights + unit * t->n_visible, &depth, &zero, t->inputs + unit * t->data_ld + sample, &ld);
    frbm_layer part = *hidden;
    part.n_lanes = n_samples;
    part.draw.first_chain += (uint32_t)sample;
    part.preset += sample;
    part.means += sample;
    if (part.words) part.words += sample;
    for (size_t first = unit; first < unit + n_units; first += FRBM_PANEL) {
        const size_t left = unit + n_units - first;
        t->table->panel(&part, first, left < FRBM_PANEL ? left : FRBM_PANEL, scratch);
    }
    if (t->sampled_hidden) states_for_means(t, &part, unit, n_units);
}

static size_t grey_gradient_pieces(const frbm_training *t) {
    return is_grey(t) ? pieces(t->n_hidden, GREY_HIDDEN) * pieces(t->n_visible, GREY_VISIBLE) : 0;
}

/* One block of the positive gradient of grey data */
static void grey_gradient(const frbm_training *t, const float *grey, size_t n, size_t piece) {
    const size_t across = pieces(t->n_visible, GREY_VISIBLE);
    const size_t hidden = piece / across * GREY_HIDDEN, visible = piece % across * GREY_VISIBLE;
    const size_t rows = t->n_hidden - hidden, columns = t->n_visible - visible;
    int m = (int)(columns < GREY_VISIBLE ? columns : GREY_VISIBLE), k = (int)n, width = (int)t->n_visible;
    int count = (int)(rows < GREY_HIDDEN ? rows : GREY_HIDDEN), ld = (int)t->data_ld;
    float one = 1.0f, zero = 0.0f;
    t->sgemm("N", "N", &m, &count, &k, &one, (float *)grey + visible, &width, t->data_means + hidden * t->data_ld, &ld,
             &zero, t->grey_gradient + hidden * t->n_visible + visible, &width);
}
