/* Minibatches of grey data, rows of probabilities in place of bits: the products with the data, which are dense, or
 * exact where the probabilities are 255ths (levels.h).  Included by train.c.
 */
/* Sides of one product: large enough for what is shared by its threads */
#define GREY_SAMPLES 64
#define GREY_HIDDEN 128
#define GREY_VISIBLE 256

/* Large batches are cut by samples, small ones by hidden units */
static size_t grey_input_pieces(const frbm_training *t, size_t n) {
    return n >= 2 * GREY_SAMPLES ? pieces(n, GREY_SAMPLES) : pieces(t->n_hidden, GREY_HIDDEN);
}

/* Sampled states in place of the means, as floats */
static void states_for_means(const frbm_training *t, const frbm_layer *part, size_t first, size_t n_units) {
    for (size_t u = first; u < first + n_units; u++) {
        const uint32_t *words = part->words + u / 32 * part->words_ld;
        float *out = part->means + u * t->data_ld;
        for (size_t s = 0; s < part->n_lanes; s++) out[s] = words[s] >> (u % 32) & 1 ? part->mean_scale : 0.0f;
    }
}

/* The same as integers, the coefficients of a gradient of levels */
static void states_for_fixed_means(const frbm_training *t, const frbm_layer *part, size_t sample, size_t first,
                                   size_t n_units) {
    for (size_t u = first; u < first + n_units; u++) {
        const uint32_t *words = part->words + u / 32 * part->words_ld;
        int32_t *out = t->data_fixed + u * t->data_ld + sample;
        for (size_t s = 0; s < part->n_lanes; s++) out[s] = (int32_t)(words[s] >> (u % 32) & 1);
    }
}

/* Units and samples of a piece of the hidden inputs */
typedef struct {
    size_t sample, unit, n_samples, n_units;
} grey_part;

static grey_part grey_part_of(const frbm_training *t, size_t n, size_t piece) {
    const int by_samples = n >= 2 * GREY_SAMPLES;
    const size_t sample = by_samples ? piece * GREY_SAMPLES : 0, unit = by_samples ? 0 : piece * GREY_HIDDEN;
    const size_t n_samples = by_samples && n - sample > GREY_SAMPLES ? GREY_SAMPLES : n - sample;
    const size_t n_units = !by_samples && t->n_hidden - unit > GREY_HIDDEN ? GREY_HIDDEN : t->n_hidden - unit;
    return (grey_part){sample, unit, n_samples, n_units};
}

/* One piece of the positive phase of grey data: product and what `hidden` asks for */
static void grey_positive(const frbm_training *t, const frbm_layer *hidden, const frbm_batch *data, size_t n,
                          size_t piece, float *scratch) {
    const grey_part of = grey_part_of(t, n, piece);
    const size_t sample = of.sample, unit = of.unit, n_samples = of.n_samples, n_units = of.n_units;
    float *inputs = t->inputs + unit * t->data_ld + sample;
    if (has_levels(t)) {
        const frbm_level_product p = {t->fixed.halves, t->fixed.halves_ld, data->levels + sample, t->data_ld,
                                      data->sums + sample, t->n_visible, n_samples,
                                      1.0 / (double)t->fixed.scale / 255.0};
        t->table->level_inputs(&p, unit, n_units, inputs, t->data_ld);
    } else {
        t->table->dense_product(t->weights + unit * t->n_visible, t->n_visible, n_units, data->lanes + sample,
                                t->data_ld, t->n_visible, n_samples, 0, inputs, t->data_ld);
    }
    frbm_layer part = *hidden;
    part.n_lanes = n_samples;
    part.draw.first_chain += (uint32_t)sample;
    part.preset += sample;
    if (part.means) part.means += sample;
    if (part.fixed_means) part.fixed_means += sample;
    if (part.words) part.words += sample;
    if (part.planes) part.planes += sample / 32 * part.planes_ld;
    for (size_t first = unit; first < unit + n_units; first += FRBM_PANEL) {
        const size_t left = unit + n_units - first;
        t->table->panel(&part, first, left < FRBM_PANEL ? left : FRBM_PANEL, scratch);
    }
    if (t->sampled_hidden && has_levels(t)) states_for_fixed_means(t, &part, sample, unit, n_units);
    if (t->sampled_hidden && is_grey(t)) states_for_means(t, &part, unit, n_units);
}

/* Sums of some columns of a batch of levels, as numbers of size 1 */
static void level_columns(const frbm_training *t, const frbm_batch *data, size_t first, size_t count, size_t n,
                          uint32_t *total) {
    for (size_t r = 0; r < (n + 1) / 2; r++) {
        const uint32_t *row = data->columns + r * t->visible_ld + first;
        for (size_t i = 0; i < count; i++) total[i] += (row[i] & 0xFFFFu) + (row[i] >> 16);
    }
}

static void grey_columns(const frbm_training *t, const frbm_batch *data, size_t first, size_t count, size_t n,
                         double *out) {
    uint32_t total[BIAS_UNITS] = {0};
    level_columns(t, data, first, count, n, total);
    for (size_t i = 0; i < count; i++) out[i] = (double)total[i] / 255.0;
}

static size_t grey_gradient_pieces(const frbm_training *t) {
    return is_grey(t) ? pieces(t->n_hidden, GREY_HIDDEN) * pieces(t->n_visible, GREY_VISIBLE) : 0;
}

/* One block of the positive gradient of grey data */
static void grey_gradient(const frbm_training *t, const float *rows, size_t n, size_t piece) {
    const size_t across = pieces(t->n_visible, GREY_VISIBLE);
    const size_t hidden = piece / across * GREY_HIDDEN, visible = piece % across * GREY_VISIBLE;
    const size_t n_hidden = t->n_hidden - hidden, n_visible = t->n_visible - visible;
    t->table->dense_product(t->data_means + hidden * t->data_ld, t->data_ld,
                            n_hidden < GREY_HIDDEN ? n_hidden : GREY_HIDDEN, rows + visible, t->visible_ld, n,
                            n_visible < GREY_VISIBLE ? n_visible : GREY_VISIBLE, 0,
                            t->grey_gradient + hidden * t->visible_ld + visible, t->visible_ld);
}
