/* Minibatches with Gaussian visible units (of variance 1) and binary or one-hot hidden ones.  Included by
 * train.c.
 *
 * Products with visible states are dense, those with hidden states of bits; visible states are held by lanes for
 * products over units and, with hidden means, by rows for products over samples.
 */
#define GAUSSIAN_UNITS 32 /* hidden units of one piece */

static size_t input_ld(const frbm_training *t) { return t->data_ld > t->chain_ld ? t->data_ld : t->chain_ld; }

static frbm_layer gaussian_hidden(const frbm_training *t, size_t n_lanes) {
    frbm_layer layer;
    memset(&layer, 0, sizeof layer);
    layer.preset = t->inputs;
    layer.preset_ld = input_ld(t);
    layer.bias = t->bias_hidden;
    layer.n_out = t->n_hidden;
    layer.n_lanes = n_lanes;
    layer.draw = (frbm_draw){{t->key[0], t->key[1]}, t->step, FRBM_HIDDEN, 0};
    return layer;
}

/* States by lanes, also in 16 bits where the products are */
typedef struct {
    const float *lanes;
    size_t ld;
    frbm_int16_vectors int16;
} gaussian_states;

/* One piece of a hidden layer given states */
static void gaussian_hidden_piece(const frbm_training *t, const frbm_layer *layer, const gaussian_states *v,
                                  size_t piece, float *scratch) {
    const size_t first = piece * GAUSSIAN_UNITS, left = t->n_hidden - first;
    const size_t n = left < GAUSSIAN_UNITS ? left : GAUSSIAN_UNITS;
    float *out = t->inputs + first * input_ld(t);
    if (t->int16) {
        const size_t depth = pieces(t->n_visible, 2);
        const frbm_int16_vectors weights = {t->weights_int16 + first * depth, depth, t->weight_quanta + first};
        t->table->int16_dense_product(&weights, n, &v->int16, depth, layer->n_lanes, out, input_ld(t));
    } else {
        t->table->dense_product(t->weights + first * t->n_visible, t->n_visible, n, v->lanes, v->ld, t->n_visible,
                                layer->n_lanes, 0, out, input_ld(t));
    }
    run_panel(t->table, layer, piece, GAUSSIAN_UNITS, scratch);
}

/* The weights of one piece, for this minibatch */
static void int16_weights(const frbm_training *t, size_t piece) {
    const size_t first = piece * GAUSSIAN_UNITS, left = t->n_hidden - first;
    t->table->int16_rows(t->weights + first * t->n_visible, left < GAUSSIAN_UNITS ? left : GAUSSIAN_UNITS, t->n_visible,
                        t->weights_int16 + first * pieces(t->n_visible, 2), t->weight_quanta + first);
}

static void int16_chains(frbm_training *t, size_t n_chains, int thread) {
    if (!t->int16) return;
    size_t piece;
    while ((piece = steal(&t->team, 0, thread, pieces(n_chains, 32))) < pieces(n_chains, 32))
        t->table->int16_lanes(t->gaussian, t->chain_ld, t->n_visible, 32 * piece, 32, t->chains_int16,
                              t->chains_quanta);
    barrier(&t->team);
}

static frbm_layer gaussian_visible(const frbm_training *t, const uint32_t *words, size_t n_lanes) {
    frbm_layer layer = visible_layer(t, words, n_lanes);
    layer.words = layer.planes = NULL;
    layer.gaussian = t->gaussian;
    layer.gaussian_ld = t->chain_ld;
    layer.gaussian_rows = t->gaussian_rows;
    layer.gaussian_rows_ld = t->visible_ld;
    return layer;
}

static void gaussian_positive(frbm_training *t, const frbm_batch *data, size_t n, int thread, float *scratch) {
    frbm_layer hidden = gaussian_hidden(t, n);
    if (t->sampled_hidden) {
        hidden.planes = t->data_planes;
        hidden.planes_ld = t->hidden_ld;
    } else {
        hidden.means = t->data_means;
        hidden.means_ld = t->data_ld;
        hidden.mean_scale = 1.0f / (float)n;
    }
    if (!t->persistent) {
        hidden.words = t->hidden_words;
        hidden.words_ld = t->data_ld;
    }
    const frbm_onehot groups = inputs_first(t, &hidden);
    frbm_layer visible = gaussian_visible(t, t->chains, t->n_chains);
    visible.draw.step = t->step + 1;
    if (t->persistent) frbm_choose(t->table, &visible);
    const size_t n_hidden = pieces(t->n_hidden, GAUSSIAN_UNITS), size = panel_units(t, &visible);
    const size_t n_visible = t->persistent ? pieces(t->n_visible, size) : 0;
    const gaussian_states v = {data->lanes, t->data_ld, {data->int16, t->data_ld, data->quanta}};
    size_t piece;
    while ((piece = steal(&t->team, 0, thread, n_hidden)) < n_hidden) {
        if (t->int16) int16_weights(t, piece);
        gaussian_hidden_piece(t, &hidden, &v, piece, scratch);
    }
    while ((piece = steal(&t->team, 1, thread, n_visible)) < n_visible)
        run_panel(t->table, &visible, piece, size, scratch);
    barrier(&t->team);
    choose_classes(t, &groups, n, thread);
}

static void gaussian_negative(frbm_training *t, size_t n_chains, int thread, float *scratch) {
    uint32_t *states = t->persistent ? t->chains : t->hidden_words;
    for (size_t sweep = 1; sweep <= t->n_sweeps; sweep++) {
        if (sweep > 1 || !t->persistent) {
            frbm_layer visible = gaussian_visible(t, states, n_chains);
            visible.draw.step = t->step + sweep;
            run_layer(t, &visible, thread, scratch);
        }
        int16_chains(t, n_chains, thread);
        const int last = sweep == t->n_sweeps;
        frbm_layer hidden = gaussian_hidden(t, n_chains);
        hidden.draw.step = t->step + sweep;
        if (last && t->sampled_hidden) {
            hidden.planes = t->model_planes;
            hidden.planes_ld = t->hidden_ld;
        } else if (last) {
            hidden.means = t->model_means;
            hidden.means_ld = t->chain_ld;
            hidden.mean_scale = -1.0f / (float)n_chains;
        }
        if (!last || t->persistent) {
            hidden.words = states;
            hidden.words_ld = t->chain_ld;
        }
        const frbm_onehot groups = inputs_first(t, &hidden);
        const size_t n = pieces(t->n_hidden, GAUSSIAN_UNITS);
        const gaussian_states v = {t->gaussian, t->chain_ld, {t->chains_int16, t->chain_ld, t->chains_quanta}};
        size_t piece;
        while ((piece = steal(&t->team, 0, thread, n)) < n) gaussian_hidden_piece(t, &hidden, &v, piece, scratch);
        barrier(&t->team);
        choose_classes(t, &groups, n_chains, thread);
    }
}

/* Gradient and update, and the rows of the next batch.  Of sampled states the fixed-point copy is left to do. */
static void gaussian_gradient(frbm_training *t, size_t batch, size_t n, size_t n_chains, int thread, float *scratch) {
    const frbm_batch *data = &t->batches[batch % 2];
    const size_t n_next = (batch + 1) * t->batch_size < t->n_rows ? pieces(batch_rows(t, batch + 1), 32) : 0;
    const size_t n_bias = pieces(t->n_visible, BIAS_UNITS);
    const size_t size = t->sampled_hidden ? FRBM_GAUSSIAN_COLUMNS : FRBM_UPDATE_ROWS;
    const size_t n_out = t->sampled_hidden ? t->n_visible : t->n_hidden;
    frbm_gaussian_gradient g = {
        .n_data = n, .n_model = n_chains, .n_visible = t->n_visible, .n_hidden = t->n_hidden,
        .data_rows = data->rows, .model_rows = t->gaussian_rows, .rows_ld = t->visible_ld, .data_lanes = data->lanes,
        .model_lanes = t->gaussian, .data_ld = t->data_ld, .model_ld = t->chain_ld, .data_means = t->data_means,
        .model_means = t->model_means, .data_hidden = t->data_planes, .model_hidden = t->model_planes,
        .hidden_ld = t->hidden_ld, .weights = t->weights, .bias = t->bias_hidden, .rule = t->rule, .fixed = t->fixed};
    memcpy(g.slots, t->slots, sizeof g.slots);
    memcpy(g.bias_slots, t->slots_hidden, sizeof g.bias_slots);
    size_t piece;
    while ((piece = steal(&t->team, 0, thread, n_next)) < n_next) load_block(t, batch + 1, 0, piece);
    while ((piece = steal(&t->team, 1, thread, n_bias)) < n_bias) {
        const size_t first = piece * BIAS_UNITS, left = t->n_visible - first;
        float gradient[BIAS_UNITS];
        t->table->gaussian_bias(&g, first, left < BIAS_UNITS ? left : BIAS_UNITS, gradient);
        t->table->apply_rule(&t->rule, 0, t->bias_visible, t->slots_visible, first, gradient,
                             left < BIAS_UNITS ? left : BIAS_UNITS);
    }
    while ((piece = steal(&t->team, 2, thread, pieces(n_out, size))) < pieces(n_out, size)) {
        const size_t first = piece * size, count = n_out - first < size ? n_out - first : size;
        if (t->sampled_hidden)
            t->table->gaussian_gradient_columns(&g, first, count, scratch);
        else
            t->table->gaussian_gradient_rows(&g, first, count, &t->magnitudes[thread], scratch);
    }
}
