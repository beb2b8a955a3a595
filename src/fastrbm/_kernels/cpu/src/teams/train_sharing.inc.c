/* Minibatches of which other teams, of other processes, have the other rows and chains.  Included by train.c.
 *
 * Every team sums what it has; the sums of all are added block by block, while the next block is summed; and every team
 * makes the same update of the same parameters.  Sums are of integers, so the order in which they are added makes no
 * difference, nor does it who has which rows.
 */

/* All stop after the same minibatch: whoever wishes to says so with the sums of the next one */
static void ask_to_stop(frbm_training *t) {
    if (t->sharing)
        t->sharing->integers[0] = 1;
    else
        t->team.stop = 1;
}

/* Sums of the rows and of the chains, of levels or counts */
static void count_visible(frbm_training *t, const frbm_batch *batch, size_t first, size_t n, size_t n_chains) {
    const size_t count = t->n_visible - first < BIAS_UNITS ? t->n_visible - first : BIAS_UNITS;
    frbm_sharing *s = t->sharing;
    memset(s->visible + first, 0, count * sizeof *s->visible);
    memset(s->model_visible + first, 0, count * sizeof *s->visible);
    if (has_levels(t))
        level_columns(t, batch, first, count, n, (uint32_t *)s->visible + first);
    else
        t->table->count_planes(batch->planes, t->visible_ld, (n + 31) / 32, first, count, s->visible + first);
    t->table->count_planes(t->visible_planes, t->visible_ld, (n_chains + 31) / 32, first, count,
                           s->model_visible + first);
}

static void follow_counts(frbm_training *t, size_t batch, size_t first) {
    const size_t count = t->n_visible - first < BIAS_UNITS ? t->n_visible - first : BIAS_UNITS;
    const double n = (double)all_rows(t, batch), n_chains = (double)all_chains(t, batch);
    const double white = has_levels(t) ? 255.0 : 1.0;
    const frbm_sharing *s = t->sharing;
    float gradient[BIAS_UNITS];
    for (size_t i = 0; i < count; i++)
        gradient[i] = (float)((double)s->visible[first + i] / white / n - (double)s->model_visible[first + i] / n_chains);
    follow_visible(t, first, gradient, count);
}

/* By thread 0: what `add` says of a block */
static void add_block(frbm_training *t, size_t block, int done) {
    frbm_sharing *s = t->sharing;
    if (!s->failed && s->add(s->context, block, done)) s->failed = t->team.stop = 1;
}

/* What thread 0 has learned when the first block is there: whether all stop after this minibatch */
static void hear_of_wishes(frbm_training *t) {
    frbm_sharing *s = t->sharing;
    if (s->integers[0]) t->team.stop = 1;
    s->integers[0] = 0;
}

static void share_gradient(frbm_training *t, size_t batch, size_t n, size_t n_chains, int thread, float *scratch) {
    frbm_sharing *s = t->sharing;
    const frbm_batch *data = &t->batches[batch % 2];
    const size_t rows = update_rows(t), n_bias = pieces(t->n_visible, BIAS_UNITS), n_next = next_rows(t, batch);
    const size_t n_hidden = pieces(t->n_hidden, FRBM_PANEL);
    const frbm_gradient g = gradient_of(t, batch, n, n_chains);
    size_t piece;
    /* what belongs to the first block that is added */
    while ((piece = steal(&t->team, 0, thread, n_hidden)) < n_hidden) {
        const size_t first = piece * FRBM_PANEL, left = t->n_hidden - first;
        t->table->hidden_sums(&g, first, left < FRBM_PANEL ? left : FRBM_PANEL, &s->sums);
    }
    while ((piece = steal(&t->team, 1, thread, n_bias)) < n_bias)
        count_visible(t, data, piece * BIAS_UNITS, n, n_chains);
    barrier(&t->team);
    for (size_t block = 0; block < s->n_blocks; block++) {
        const size_t from = block * s->block_units, left = t->n_hidden - from;
        const size_t units = left < s->block_units ? left : s->block_units, n_tiles = pieces(units, rows);
        while ((piece = steal(&t->team, 2, thread, n_tiles)) < n_tiles) {
            const size_t first = piece * rows, count = units - first < rows ? units - first : rows;
            t->table->gradient_sums(&g, from + first, count, &s->sums, scratch);
        }
        barrier(&t->team);
        if (thread == 0) add_block(t, block, 0);
    }
    while ((piece = steal(&t->team, 0, thread, n_next)) < n_next)
        load_block(t, batch + 1, t->step + t->n_sweeps + 1, piece);
    for (size_t block = 0; block < s->n_blocks; block++) {
        const size_t from = block * s->block_units, left = t->n_hidden - from;
        const size_t units = left < s->block_units ? left : s->block_units, n_tiles = pieces(units, rows);
        if (thread == 0) add_block(t, block, 1);
        if (thread == 0 && block == 0) hear_of_wishes(t);
        barrier(&t->team);
        if (s->failed) return; /* all see the same after the barrier, and the sums are of no use */
        if (block == 0) {
            while ((piece = steal(&t->team, 1, thread, n_bias)) < n_bias) follow_counts(t, batch, piece * BIAS_UNITS);
            if (t->spins.hidden) barrier(&t->team); /* the gradient of W is made with that of the visible biases */
        }
        while ((piece = steal(&t->team, 2, thread, n_tiles)) < n_tiles) {
            const size_t first = piece * rows, count = units - first < rows ? units - first : rows;
            t->table->follow_gradient(&g, from + first, count, &s->sums, &t->magnitudes[thread], scratch);
        }
    }
}
