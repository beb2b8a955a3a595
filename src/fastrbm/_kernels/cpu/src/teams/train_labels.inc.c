/* Minibatches of a machine with labels, log p(label | row) ascended: one layer, the classes, one gradient of the
 * pulls.  Included by train.c.
 */
/* ---- rows with few values that are not 0 -------------------------------------------------------------------------- */

static void list_grey_row(const float *row, size_t n, uint32_t *at, float *values, uint32_t *count) {
    size_t found = 0;
    for (size_t first = 0; first < n; first += 16) {
        const size_t here = n - first < 16 ? n - first : 16;
        uint32_t any = 0, bits[16] = {0};
        memcpy(bits, row + first, here * sizeof(float));
        for (int l = 0; l < 16; l++) any |= bits[l] & 0x7FFFFFFFu;
        for (size_t l = 0; any && l < here; l++) {
            at[found] = (uint32_t)(first + l);
            values[found] = row[first + l];
            found += (bits[l] & 0x7FFFFFFFu) != 0;
        }
    }
    *count = (uint32_t)found;
}

static void list_bit_row(const uint64_t *row, size_t n_words, uint32_t *at, uint32_t *count) {
    size_t found = 0;
    for (size_t w = 0; w < n_words; w++)
        for (uint64_t active = row[w]; active; active &= active - 1)
            at[found++] = (uint32_t)(64 * w) + (uint32_t)__builtin_ctzll(active);
    *count = (uint32_t)found;
}

/* Lists of 32 rows */
static void list_block(const frbm_training *t, size_t batch, size_t block) {
    const frbm_labelling *l = t->labels;
    const int64_t *order = t->order + batch * t->batch_size;
    const size_t n = batch_rows(t, batch), side = batch % 2;
    for (size_t r = 32 * block; r < n && r < 32 * block + 32; r++) {
        uint32_t *at = l->row_at[side] + r * t->n_visible, *count = l->row_counts[side] + r;
        const size_t row = (size_t)order[r];
        if (is_grey(t))
            list_grey_row(t->dense + row * t->n_visible, t->n_visible, at, l->row_values[side] + r * t->n_visible,
                          count);
        else
            list_bit_row(t->rows + row * t->row_words, t->row_words, at, count);
    }
}

/* The same by inputs, in the order of the rows */
static void list_columns(const frbm_training *t) {
    const frbm_turned *w = &t->labels->turned;
    memset(w->column_counts, 0, t->n_visible * sizeof(uint32_t));
    for (size_t r = 0; r < w->n_rows; r++) {
        const uint32_t *at = w->row_at + r * t->n_visible, count = w->row_counts[r];
        for (uint32_t e = 0; e < count; e++) {
            const size_t to = at[e] * w->column_ld + w->column_counts[at[e]]++;
            w->column_at[to] = (uint32_t)r;
            if (w->column_values) w->column_values[to] = w->row_values[r * t->n_visible + e];
        }
    }
}

static size_t panel_count(const frbm_training *t, size_t first) {
    return t->n_hidden - first < FRBM_PANEL ? t->n_hidden - first : FRBM_PANEL;
}

static void turned_label_inputs(frbm_training *t, size_t n, int thread, float *scratch) {
    const frbm_label_lanes *a = &t->labels->lanes;
    const size_t n_pieces = pieces(t->n_hidden, FRBM_PANEL);
    size_t piece;
    while ((piece = steal(&t->team, 1, thread, 1)) < 1) list_columns(t);
    while ((piece = steal(&t->team, 0, thread, n_pieces)) < n_pieces) {
        const size_t first = FRBM_PANEL * piece, count = panel_count(t, first);
        t->table->turned_inputs(&t->labels->turned, first, count, a->on, a->ld, scratch);
        t->table->label_products(a, first, count, 0, n);
    }
}

/* What all threads take of the batch at hand; after the exponent is known */
static void begin_turned(frbm_training *t) {
    frbm_labelling *l = t->labels;
    const size_t side = t->batches_done % 2;
    l->turned.n_rows = l->lanes.n_lanes;
    l->turned.row_at = l->row_at[side];
    l->turned.row_counts = l->row_counts[side];
    l->turned.row_values = l->row_values[side];
    l->turned.bias = t->bias_hidden;
    memcpy(l->turned.bias_slots, t->slots_hidden, sizeof l->turned.bias_slots);
    l->turned.rule = t->rule;
    l->turned.scale = t->fixed.scale;
    l->turned.quantum = quantum_of(t);
    l->turned.magnitude_scale = t->fixed.magnitude_scale;
}

/* ---- any ----------------------------------------------------------------------------------------------------------- */

static void load_labelled(const frbm_training *t, size_t batch, size_t block) {
    if (t->labels->sparse)
        list_block(t, batch, block);
    else
        load_block(t, batch, 0, block);
}

static void quantise_labelled(frbm_training *t, int thread, void (*after)(void *)) {
    const size_t n_pieces = pieces(t->n_hidden, FRBM_PANEL);
    size_t piece;
    if (!t->labels->sparse) {
        quantise_weights(t, thread, after);
        return;
    }
    while ((piece = steal(&t->team, 0, thread, n_pieces)) < n_pieces)
        t->table->turned_quantise(&t->labels->turned, FRBM_PANEL * piece, &t->magnitudes[thread]);
    barrier_then(&t->team, after, t);
}

static void requantise_labelled(frbm_training *t, int thread) {
    if (t->requantise) quantise_labelled(t, thread, end_requantise);
}

/* Inputs of the hidden units, and what the classes make of them, by pieces of units (of grey rows also of samples) */
static void label_inputs(frbm_training *t, const frbm_batch *data, size_t n, int thread, float *scratch) {
    const frbm_label_lanes *a = &t->labels->lanes;
    const size_t n_pieces = is_grey(t) ? grey_input_pieces(t, n) : pieces(t->n_hidden, FRBM_PANEL);
    frbm_layer hidden = hidden_layer(t, data->words, t->data_ld, n);
    hidden.inputs = a->on;
    hidden.inputs_ld = t->data_ld;
    if (!is_grey(t)) frbm_choose(t->table, &hidden);
    size_t piece;
    while ((piece = steal(&t->team, 0, thread, n_pieces)) < n_pieces) {
        if (!is_grey(t)) {
            const size_t first = FRBM_PANEL * piece, left = t->n_hidden - first;
            run_panel(t->table, &hidden, piece, FRBM_PANEL, scratch);
            t->table->label_products(a, first, left < FRBM_PANEL ? left : FRBM_PANEL, 0, n);
            continue;
        }
        const grey_part part = grey_part_of(t, n, piece);
        t->table->dense_product_skipping(t->weights + part.unit * t->n_visible, t->n_visible, part.n_units,
                                         data->lanes + part.sample, t->data_ld, t->n_visible, part.n_samples,
                                         a->on + part.unit * t->data_ld + part.sample, t->data_ld, scratch);
        t->table->label_products(a, part.unit, part.n_units, part.sample, part.n_samples);
    }
}

static void begin_label_batch(frbm_training *t) {
    frbm_labelling *l = t->labels;
    const size_t first = t->batches_done * t->batch_size;
    float most = 0.5f;
    for (int thread = 0; thread < FRBM_MOST_THREADS; thread++) {
        if (l->most[thread] > FRBM_MOST_CLASS) t->outgrown = t->team.stop = 1;
        most = l->most[thread] > most ? l->most[thread] : most;
        l->most[thread] = 0.0f;
    }
    most = most > FRBM_MOST_CLASS ? FRBM_MOST_CLASS : most;
    l->lanes.steps = most > 80.0f / FRBM_LABEL_FACTORS ? (size_t)(80.0f / most) : FRBM_LABEL_FACTORS;
    l->lanes.n_lanes = first < t->n_rows ? batch_rows(t, t->batches_done) : 0;
    l->lanes.labels = l->labels + first;
    l->lanes.shares = l->shares ? l->shares + first : NULL;
    if (l->sparse) begin_turned(t);
}

/* One thread: p(class | row) and the rule of the biases of the classes */
static void end_label_inputs(void *context) {
    frbm_training *t = context;
    frbm_labelling *l = t->labels;
    t->table->label_residuals(&l->lanes);
    l->losses[t->batches_done] = l->lanes.loss;
    t->table->apply_rule(&t->rule, 0, l->bias, l->slots_bias, 0, l->lanes.of_bias, l->lanes.n_classes);
}

/* e^U of units [first, first + count), and the largest |U|; infinite where it is too large for the kernels */
static void raise_classes(frbm_training *t, size_t first, size_t count, int thread) {
    frbm_labelling *l = t->labels;
    float u[FRBM_PANEL] __attribute__((aligned(64))), most = l->most[thread];
    for (size_t c = 0; c < l->lanes.n_classes; c++) {
        memset(u, 0, sizeof u);
        memcpy(u, l->classes + c * t->n_hidden + first, count * sizeof(float));
        for (size_t i = 0; i < count; i++) {
            const float size = fabsf(u[i]);
            if (size <= FRBM_MOST_CLASS) {
                most = size > most ? size : most;
            } else { /* NaN too: the run ends */
                most = INFINITY;
                u[i] = 0.0f;
            }
        }
        t->table->label_raise(u, frbm_round_up(count, 16), l->raise + c * l->lanes.class_ld + first);
    }
    l->most[thread] = most;
}

static void pull_grey_units(const frbm_training *t, const frbm_batch *data, size_t n, size_t first, size_t count,
                            float *scratch) {
    frbm_gaussian_gradient g;
    memset(&g, 0, sizeof g);
    g.n_data = n;
    g.n_visible = t->n_visible;
    g.data_rows = data->rows;
    g.rows_ld = t->visible_ld;
    g.data_means = t->labels->lanes.pulls;
    g.data_ld = t->data_ld;
    g.weights = t->weights;
    g.bias = t->bias_hidden;
    memcpy(g.slots, t->slots, sizeof g.slots);
    memcpy(g.bias_slots, t->slots_hidden, sizeof g.bias_slots);
    g.rule = t->rule;
    t->table->pull_rows(&g, first, count, scratch);
}

static void pull_bit_units(const frbm_training *t, const frbm_batch *data, size_t n, size_t first, size_t count,
                           frbm_magnitudes *magnitudes, float *scratch) {
    const int32_t *pulls = t->labels->lanes.fixed_pulls;
    const size_t rows = update_rows(t), stop = first + count;
    frbm_gradient g;
    memset(&g, 0, sizeof g);
    g.positive = product(data->planes, t->visible_ld, n, pulls, t->data_ld, 1);
    g.negative = product(data->planes, t->visible_ld, 0, pulls, t->data_ld, 1); /* of no rows */
    g.quantum = 1.0f / FRBM_MEAN_SCALE;
    g.weights = t->weights;
    g.bias = t->bias_hidden;
    memcpy(g.slots, t->slots, sizeof g.slots);
    memcpy(g.bias_slots, t->slots_hidden, sizeof g.bias_slots);
    g.n_visible = t->n_visible;
    g.rule = t->rule;
    g.fixed = t->fixed;
    for (; first < stop; first += rows)
        t->table->gradient_rows(&g, first, stop - first < rows ? stop - first : rows, magnitudes, scratch);
}

/* Gradients and rules of hidden units [first, first + count): the pulls are the one phase there is */
static void pull_units(frbm_training *t, const frbm_batch *data, size_t n, size_t first, size_t count, int thread,
                       float *scratch) {
    const frbm_label_lanes *a = &t->labels->lanes;
    t->table->label_pulls(a, first, count, scratch);
    for (size_t c = 0; c < a->n_classes; c++)
        t->table->apply_rule(&t->rule, 1, t->labels->classes, t->labels->slots, c * t->n_hidden + first,
                             a->of_classes + c * a->class_ld + first, count);
    raise_classes(t, first, count, thread);
    if (t->labels->sparse)
        t->table->turned_gradient(&t->labels->turned, first, count,
                                  a->fixed_pulls ? (const void *)a->fixed_pulls : a->pulls, a->ld,
                                  &t->magnitudes[thread], scratch);
    else if (is_grey(t))
        pull_grey_units(t, data, n, first, count, scratch);
    else
        pull_bit_units(t, data, n, first, count, &t->magnitudes[thread], scratch);
}

/* Biases of the features have no gradient, but a rule may have a velocity */
static void still_bias(frbm_training *t, size_t first) {
    float nothing[BIAS_UNITS] = {0};
    const size_t left = t->n_visible - first;
    t->table->apply_rule(&t->rule, 0, t->bias_visible, t->slots_visible, first, nothing,
                         left < BIAS_UNITS ? left : BIAS_UNITS);
}

static size_t pull_size(const frbm_training *t) { return t->labels->sparse ? FRBM_PANEL : FRBM_PULL_UNITS; }

static void label_gradient(frbm_training *t, size_t batch, size_t n, int thread, float *scratch) {
    const frbm_batch *data = &t->batches[batch % 2];
    const size_t n_next = (batch + 1) * t->batch_size < t->n_rows ? pieces(batch_rows(t, batch + 1), 32) : 0;
    const size_t n_bias = t->slots_visible[0] ? pieces(t->n_visible, BIAS_UNITS) : 0;
    const size_t units = pull_size(t), n_pulls = pieces(t->n_hidden, units);
    size_t piece;
    while ((piece = steal(&t->team, 0, thread, n_next)) < n_next) load_labelled(t, batch + 1, piece);
    while ((piece = steal(&t->team, 1, thread, n_bias)) < n_bias) still_bias(t, piece * BIAS_UNITS);
    while ((piece = steal(&t->team, 2, thread, n_pulls)) < n_pulls) {
        const size_t first = units * piece, left = t->n_hidden - first;
        pull_units(t, data, n, first, left < units ? left : units, thread, scratch);
    }
}

static void end_label_batch(void *context) {
    frbm_training *t = context;
    t->batches_done++;
    scale_rule(t);
    if (!is_grey(t)) settle(t);
    frbm_crew_settle(&t->team);
    begin_label_batch(t);
}

static void begin_labels(void *context) {
    frbm_training *t = context;
    begin(t);
    t->requantise = 0;
    if (t->labels->sparse) begin_turned(t);
}

static void begun_labels(void *context) {
    frbm_training *t = context;
    if (!is_grey(t)) settle(t);
    begin_label_batch(t);
}

void frbm_train_labels(frbm_training *t, int thread, float *scratch) {
    const size_t units = pull_size(t), n_pulls = pieces(t->n_hidden, units);
    size_t piece;
    frbm_clocks clocks;
    frbm_crew_join(&clocks);
    barrier_then(&t->team, begin_labels, t);
    const size_t first_batch = t->batches_done; /* of this region */
    while ((piece = steal(&t->team, 1, thread, n_pulls)) < n_pulls) {
        const size_t first = units * piece, left = t->n_hidden - first;
        raise_classes(t, first, left < units ? left : units, thread);
    }
    while ((piece = next_piece(&t->team)) < pieces(batch_rows(t, first_batch), 32))
        load_labelled(t, first_batch, piece);
    if (is_grey(t))
        barrier_then(&t->team, begun_labels, t);
    else
        quantise_labelled(t, thread, begun_labels);
    requantise_labelled(t, thread);
    for (size_t batch = first_batch; batch * t->batch_size < t->n_rows && !t->team.stop; batch++) {
        const size_t n = batch_rows(t, batch);
        if (t->labels->sparse)
            turned_label_inputs(t, n, thread, scratch);
        else
            label_inputs(t, &t->batches[batch % 2], n, thread, scratch);
        barrier_then(&t->team, end_label_inputs, t);
        label_gradient(t, batch, n, thread, scratch);
        if (thread == 0 && t->poll && t->poll(t->poll_context)) t->team.stop = 1;
        frbm_crew_look(&t->team, &clocks);
        barrier_then(&t->team, end_label_batch, t);
        if (leaves(t, thread)) return;
        requantise_labelled(t, thread);
    }
}
