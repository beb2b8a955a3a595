/* Minibatch training by a team: whole runs of batches in one parallel region. */
#include <math.h>
#include <string.h>

#include "team.h"

#define BIAS_UNITS 1024
#define FILTER_OUTPUTS 32 /* outputs of one piece of preparation */

static int has_spins(const frbm_training *t) { return t->spins.scale != 0.0f; }

/* Value of 1 in products of bits with the fixed-point weights */
static float quantum_of(const frbm_training *t) { return (has_spins(t) ? t->spins.scale : 1.0f) / t->fixed.scale; }

static int is_grey(const frbm_training *t) { return t->kind == FRBM_GREY_ROWS; }

/* The same in whole numbers, see levels.h */
static int has_levels(const frbm_training *t) { return t->kind == FRBM_LEVEL_ROWS; }

/* Hidden units of one piece of the gradient: whole tiles of look-ups, whole cache lines of a transposed copy, or whole
 * blocks of limbs, which want to be many where all threads still have some */
static size_t update_rows(const frbm_training *t) {
    const size_t share = frbm_round_up(t->n_hidden / (2 * (size_t)frbm_members(&t->team)), 16);
    if (!t->fixed.of_visible.bytes && !t->fixed.of_hidden.bytes)
        return t->fixed.transposed ? FRBM_UPDATE_ROWS : 2 * FRBM_TILE;
    return frbm_members(&t->team) == 1 || share > FRBM_PANEL ? FRBM_PANEL : share ? share : 16;
}

static size_t batch_rows(const frbm_training *t, size_t batch) {
    const size_t done = batch * t->batch_size, left = done < t->n_rows ? t->n_rows - done : 0;
    return left < t->batch_size ? left : t->batch_size;
}

/* Rows of a minibatch wherever they are, and chains */
static size_t all_rows(const frbm_training *t, size_t batch) {
    if (!t->sharing) return batch_rows(t, batch);
    return batch + 1 < t->sharing->n_batches ? t->sharing->batch_rows : t->sharing->last_rows;
}

static size_t all_chains(const frbm_training *t, size_t batch) {
    if (!t->persistent) return all_rows(t, batch);
    return t->sharing ? t->sharing->n_chains : t->n_chains;
}

static int has_batch(const frbm_training *t, size_t batch) {
    return t->sharing ? batch < t->sharing->n_batches : batch * t->batch_size < t->n_rows;
}

/* Numbers of the first row and the first chain here */
static uint32_t first_row(const frbm_training *t) { return t->sharing ? (uint32_t)t->sharing->first_row : 0; }

static uint32_t first_chain(const frbm_training *t) {
    return t->sharing && t->persistent ? (uint32_t)t->sharing->first_chain : first_row(t);
}

static frbm_layer hidden_layer(const frbm_training *t, const uint32_t *words, size_t ld, size_t n_lanes) {
    frbm_layer layer;
    memset(&layer, 0, sizeof layer);
    layer.op = hidden_product(&t->fixed, words, ld, t->n_visible);
    layer.quantum = quantum_of(t);
    layer.int16 = t->fixed.int16;
    layer.bias = has_spins(t) ? t->bits_hidden : t->bias_hidden;
    layer.n_out = t->n_hidden;
    layer.n_lanes = n_lanes;
    layer.draw = (frbm_draw){{t->key[0], t->key[1]}, t->step, FRBM_HIDDEN, first_chain(t)};
    return layer;
}

static frbm_layer visible_layer(const frbm_training *t, const uint32_t *words, size_t n_lanes) {
    frbm_layer layer;
    memset(&layer, 0, sizeof layer);
    layer.op = visible_product(&t->fixed, words, t->chain_ld, t->n_hidden);
    layer.quantum = quantum_of(t);
    layer.int16 = t->fixed.int16;
    layer.bias = has_spins(t) ? t->bits_visible : t->bias_visible;
    layer.n_out = t->n_visible;
    layer.n_lanes = n_lanes;
    layer.words = t->visible_words;
    layer.words_ld = t->chain_ld;
    layer.planes = t->visible_planes;
    layer.planes_ld = t->visible_ld;
    layer.draw = (frbm_draw){{t->key[0], t->key[1]}, t->step, FRBM_VISIBLE, first_chain(t)};
    return layer;
}

/* Units of a panel: wide ones leave fewer odd tiles and share the walk over active bits, int16 ones spread better */
static size_t panel_units(const frbm_training *t, const frbm_layer *layer) {
    if (frbm_members(&t->team) == 1) return FRBM_PANEL;
    return pieces(layer->n_out, FRBM_PANEL) >= 2 * (size_t)frbm_members(&t->team) ? FRBM_PANEL : 32;
}

/* Rows of a batch to words and planes (bits) or to rows and lanes (others): 32 rows.  Two batches are held, so that
 * the next is loaded while the gradient of this one is summed. */
static void load_block(const frbm_training *t, size_t batch, uint64_t step, size_t block) {
    const frbm_table *k = t->table;
    const frbm_batch *into = &t->batches[batch % 2];
    const int64_t *order = t->order + batch * t->batch_size;
    const size_t n = batch_rows(t, batch), at = 32 * block, here = n - at < 32 ? n - at : 32;
    if (t->rows) {
        k->gather(t->rows, t->row_words, order + at, here, t->n_visible, into->words + at, t->data_ld,
                  into->planes + block * t->visible_ld, t->visible_ld);
    } else if (t->stochastic_input) {
        const frbm_draw draw = {{t->key[0], t->key[1]}, step, FRBM_INPUT, first_row(t)};
        k->draw_rows(t->dense, t->n_visible, order, n, t->n_visible, block, &draw, into->words, t->data_ld,
                     into->planes, t->visible_ld);
    } else if (has_levels(t)) {
        k->load_levels(t->levels, t->levels_ld, order, at, here, t->n_visible, into->levels, t->data_ld, into->sums,
                       into->columns, t->visible_ld);
    } else {
        k->load_gaussian(t->dense, order, at, here, t->n_visible, into->rows, t->visible_ld, into->lanes, t->data_ld);
        if (into->int16) k->int16_lanes(into->lanes, t->data_ld, t->n_visible, at, here, into->int16, into->quanta);
    }
}

#include "train_grey.inc.c"

/* ---- filtered chains --------------------------------------------------------------------------------------------- */

/* What the strategies need to know of the new weights, one piece of outputs */
static void prepare_filters(const frbm_training *t, size_t piece) {
    const size_t of_hidden = pieces(t->n_hidden, FILTER_OUTPUTS);
    const frbm_side *side = piece < of_hidden ? &t->filters->hidden : &t->filters->visible;
    const size_t first = (piece < of_hidden ? piece : piece - of_hidden) * FILTER_OUTPUTS, left = side->n_out - first;
    frbm_filters_prepare(t->filters, side, first, left < FILTER_OUTPUTS ? left : FILTER_OUTPUTS);
}

/* All sweeps of one chunk of chains but the last hidden layer, by one thread */
static void filtered_chains(frbm_training *t, uint32_t *states, size_t n_chains, size_t chunk, frbm_work *work,
                        float *scratch) {
    const size_t first = chunk * t->filters->chunk;
    const size_t n = n_chains - first < t->filters->chunk ? n_chains - first : t->filters->chunk;
    frbm_memory of_hidden, of_visible;
    frbm_layer visible = visible_layer(t, states + first, n);
    frbm_layer hidden = hidden_layer(t, t->visible_words + first, t->chain_ld, n);
    visible.words += first;
    visible.planes = NULL;
    hidden.words = states + first;
    hidden.words_ld = t->chain_ld;
    visible.draw.first_chain = hidden.draw.first_chain = first_chain(t) + (uint32_t)first;
    frbm_filters_start(t->filters, (uint32_t *)(scratch + FRBM_SCRATCH_FLOATS), &of_hidden, &of_visible);
    for (size_t sweep = 1; sweep <= t->n_sweeps; sweep++) {
        visible.draw.step = hidden.draw.step = t->step + sweep;
        frbm_filtered_layer(t->filters, &t->filters->visible, &of_visible, &visible, scratch, work);
        if (sweep < t->n_sweeps)
            frbm_filtered_layer(t->filters, &t->filters->hidden, &of_hidden, &hidden, scratch, work);
    }
    for (size_t at = 0; at < n; at += 32)
        t->table->transpose_words(visible.words + at, visible.words_ld, n - at < 32 ? n - at : 32,
                                  pieces(t->n_visible, 32), t->visible_planes + (first + at) / 32 * t->visible_ld);
}

/* ---- one-hot hidden units ------------------------------------------------------------------------------------- */

/* What a group does needs the inputs of all its units: the panels leave them, and `choose_classes` the rest */
static frbm_onehot inputs_first(const frbm_training *t, frbm_layer *layer) {
    frbm_onehot o;
    memset(&o, 0, sizeof o);
    if (!t->group) return o;
    o = (frbm_onehot){t->inputs, t->data_ld > t->chain_ld ? t->data_ld : t->chain_ld, t->n_hidden, t->group,
                      layer->means, layer->fixed_means, layer->means_ld, layer->mean_scale, layer->words,
                      layer->planes, layer->words_ld, layer->planes_ld, layer->draw};
    layer->inputs = o.inputs;
    layer->inputs_ld = o.inputs_ld;
    layer->means = NULL;
    layer->fixed_means = NULL;
    layer->words = layer->planes = NULL;
    return o;
}

static void choose_classes(frbm_training *t, const frbm_onehot *o, size_t n_lanes, int thread) {
    if (!t->group) return;
    size_t piece;
    while ((piece = steal(&t->team, 0, thread, pieces(n_lanes, 32))) < pieces(n_lanes, 32))
        t->table->onehot_block(o, 32 * piece, n_lanes - 32 * piece < 32 ? n_lanes - 32 * piece : 32);
    barrier(&t->team);
}

/* ---- phases -------------------------------------------------------------------------------------------------- */

/* Positive phase, and for persistent chains the first visible draw, which does not depend on it. */
static void positive_phase(frbm_training *t, const frbm_batch *data, size_t batch, int thread, float *scratch) {
    const size_t n = batch_rows(t, batch), n_all = all_rows(t, batch);
    frbm_layer hidden = hidden_layer(t, data->words, t->data_ld, n);
    hidden.draw.first_chain = first_row(t);
    hidden.means_ld = t->data_ld;
    if (is_grey(t) || has_levels(t)) {
        hidden.op.bits = NULL;
        hidden.preset = t->inputs;
        hidden.preset_ld = t->data_ld;
    }
    if (is_grey(t)) {
        hidden.means = t->data_means;
        hidden.mean_scale = 1.0f / (float)n_all;
    } else if (t->sampled_hidden) {
        hidden.planes = t->data_planes;
        hidden.planes_ld = t->hidden_ld;
    } else {
        hidden.fixed_means = t->data_fixed;
        hidden.mean_scale = FRBM_MEAN_SCALE / (float)n_all;
    }
    if (!t->persistent || (hidden.preset && t->sampled_hidden)) {
        hidden.words = t->hidden_words; /* one chain a row, or states wanted for the gradient alone */
        hidden.words_ld = t->data_ld;
    }
    frbm_layer visible = visible_layer(t, t->chains, t->n_chains);
    visible.draw.step = t->step + 1;
    const frbm_onehot groups = inputs_first(t, &hidden);
    frbm_choose(t->table, &hidden);
    if (t->persistent) frbm_choose(t->table, &visible);
    const size_t hidden_size = panel_units(t, &hidden), visible_size = panel_units(t, &visible);
    const size_t n_hidden = !n ? 0 : hidden.preset ? grey_input_pieces(t, n) : pieces(t->n_hidden, hidden_size);
    const size_t n_visible = t->persistent && !t->filters ? pieces(t->n_visible, visible_size) : 0;
    const size_t n_outputs = pieces(t->n_hidden, FILTER_OUTPUTS) + pieces(t->n_visible, FILTER_OUTPUTS);
    const size_t n_filters = t->filters ? n_outputs : 0;
    size_t piece;
    while ((piece = steal(&t->team, 0, thread, n_hidden)) < n_hidden) {
        if (hidden.preset)
            grey_positive(t, &hidden, data, n, piece, scratch);
        else
            run_panel(t->table, &hidden, piece, hidden_size, scratch);
    }
    while ((piece = steal(&t->team, 1, thread, n_visible)) < n_visible)
        run_panel(t->table, &visible, piece, visible_size, scratch);
    while ((piece = steal(&t->team, 2, thread, n_filters)) < n_filters) prepare_filters(t, piece);
    barrier(&t->team);
    choose_classes(t, &groups, n, thread);
}

static void run_layer(frbm_training *t, frbm_layer *layer, int thread, float *scratch) {
    frbm_choose(t->table, layer);
    const size_t size = panel_units(t, layer), n = pieces(layer->n_out, size);
    size_t piece;
    while ((piece = steal(&t->team, 0, thread, n)) < n) run_panel(t->table, layer, piece, size, scratch);
    barrier(&t->team);
}

/* n_sweeps of v ~ p(v|h), h ~ p(h|v); the last hidden layer leaves its means, and its states if they persist. */
static void negative_phase(frbm_training *t, const frbm_batch *data, size_t batch, size_t n_chains, int thread,
                           float *scratch) {
    const size_t n = batch_rows(t, batch);
    uint32_t *states = t->persistent ? t->chains : t->hidden_words;
    if (t->filters) {
        size_t chunk;
        while ((chunk = next_piece(&t->team)) * t->filters->chunk < n_chains)
            filtered_chains(t, states, n_chains, chunk, &t->work[thread], scratch);
        barrier(&t->team);
    }
    for (size_t sweep = t->filters ? t->n_sweeps : 1; sweep <= t->n_sweeps; sweep++) {
        if (!t->filters && (sweep > 1 || !t->persistent)) {
            frbm_layer visible = visible_layer(t, states, n_chains);
            visible.draw.step = t->step + sweep;
            run_layer(t, &visible, thread, scratch);
        }
        const int last = sweep == t->n_sweeps;
        frbm_layer hidden = hidden_layer(t, t->visible_words, t->chain_ld, n_chains);
        hidden.draw.step = t->step + sweep;
        if (last && t->sampled_hidden) {
            hidden.planes = t->model_planes;
            hidden.planes_ld = t->hidden_ld;
        } else if (last) {
            hidden.fixed_means = t->model_fixed;
            hidden.means_ld = t->chain_ld;
            hidden.mean_scale = -FRBM_MEAN_SCALE / (float)all_chains(t, batch);
        }
        if (!last || t->persistent) {
            hidden.words = states;
            hidden.words_ld = t->chain_ld;
        }
        if (last && is_grey(t)) {
            size_t piece;
            while ((piece = next_piece(&t->grey_team)) < grey_gradient_pieces(t))
                grey_gradient(t, data->rows, n, piece);
        }
        const frbm_onehot groups = inputs_first(t, &hidden);
        run_layer(t, &hidden, thread, scratch);
        choose_classes(t, &groups, n_chains, thread);
    }
}

static void follow_visible(frbm_training *t, size_t unit, const float *gradient_of_bits, size_t count) {
    float gradient[BIAS_UNITS];
    for (size_t i = 0; i < count; i++) {
        t->delta_visible[unit + i] = gradient_of_bits[i];
        gradient[i] = t->spins.visible ? 2.0f * gradient_of_bits[i] : gradient_of_bits[i];
    }
    t->table->apply_rule(&t->rule, 0, t->bias_visible, t->slots_visible, unit, gradient, count);
}

/* Visible biases by their gradient, mean of the data - mean of the chains, for one block of units */
static void visible_bias(frbm_training *t, const frbm_batch *batch, size_t first, size_t n, size_t n_chains) {
    const size_t count = t->n_visible - first < BIAS_UNITS ? t->n_visible - first : BIAS_UNITS;
    int32_t data[BIAS_UNITS] = {0}, model[BIAS_UNITS] = {0};
    double grey[BIAS_UNITS] = {0};
    float gradient[BIAS_UNITS];
    if (t->kind == FRBM_BIT_ROWS)
        t->table->count_planes(batch->planes, t->visible_ld, (n + 31) / 32, first, count, data);
    else if (has_levels(t))
        grey_columns(t, batch, first, count, n, grey);
    else
        for (size_t s = 0; s < n; s++)
            for (size_t i = 0; i < count; i++) grey[i] += (double)batch->rows[s * t->visible_ld + first + i];
    t->table->count_planes(t->visible_planes, t->visible_ld, (n_chains + 31) / 32, first, count, model);
    for (size_t i = 0; i < count; i++)
        gradient[i] = (float)(((double)data[i] + grey[i]) / (double)n - (double)model[i] / (double)n_chains);
    follow_visible(t, first, gradient, count);
}

static frbm_gradient gradient_of(const frbm_training *t, size_t batch, size_t n, size_t n_chains) {
    const frbm_batch *data = &t->batches[batch % 2];
    frbm_gradient g;
    memset(&g, 0, sizeof g);
    g.positive = product(data->planes, t->visible_ld, n, t->data_fixed, t->data_ld, 1);
    g.negative = product(t->visible_planes, t->visible_ld, n_chains, t->model_fixed, t->chain_ld, 1);
    g.quantum = 1.0f / FRBM_MEAN_SCALE;
    if (t->sampled_hidden) {
        g.positive_hidden = t->data_planes;
        g.negative_hidden = t->model_planes;
        g.hidden_ld = t->hidden_ld;
        g.positive_share = 1.0f / (float)all_rows(t, batch);
        g.negative_share = -1.0f / (float)all_chains(t, batch);
    }
    g.dense_means = is_grey(t) ? t->data_means : NULL;
    g.levels = data->columns;
    g.levels_ld = t->visible_ld;
    g.weights = t->weights;
    g.bias = t->bias_hidden;
    memcpy(g.slots, t->slots, sizeof g.slots);
    memcpy(g.bias_slots, t->slots_hidden, sizeof g.bias_slots);
    g.n_visible = t->n_visible;
    g.rule = t->rule;
    g.spins = t->spins;
    g.fixed = t->fixed;
    return g;
}

/* Pieces of the rows of the batch after this one */
static size_t next_rows(const frbm_training *t, size_t batch) {
    return has_batch(t, batch + 1) ? pieces(batch_rows(t, batch + 1), 32) : 0;
}

/* Gradient and update, and the rows of the next batch */
static void apply_gradient(frbm_training *t, size_t batch, size_t n, size_t n_chains, int thread, float *scratch) {
    const frbm_batch *data = &t->batches[batch % 2];
    const size_t rows = update_rows(t);
    const size_t n_tiles = pieces(t->n_hidden, rows), n_bias = pieces(t->n_visible, BIAS_UNITS);
    const size_t n_next = next_rows(t, batch);
    frbm_gradient g = gradient_of(t, batch, n, n_chains);
    size_t piece;
    while ((piece = steal(&t->team, 0, thread, n_next)) < n_next)
        load_block(t, batch + 1, t->step + t->n_sweeps + 1, piece);
    while ((piece = steal(&t->team, 1, thread, n_bias)) < n_bias)
        visible_bias(t, data, piece * BIAS_UNITS, n, n_chains);
    if (t->spins.hidden) barrier(&t->team); /* the gradient of W is made with that of the visible biases */
    while ((piece = steal(&t->team, 2, thread, n_tiles)) < n_tiles) {
        const size_t first = piece * rows, count = t->n_hidden - first < rows ? t->n_hidden - first : rows;
        if (is_grey(t)) {
            g.dense_positive = t->grey_gradient + first * t->visible_ld;
            g.dense_ld = t->visible_ld;
        }
        t->table->gradient_rows(&g, first, count, &t->magnitudes[thread], scratch);
    }
}

#include "train_sharing.inc.c"
#include "train_weights.inc.c"
#include "train_gaussian.inc.c"

/* ---- the run --------------------------------------------------------------------------------------------------- */

static void end_requantise(void *context) { clear_magnitudes(context); }

static void requantise(frbm_training *t, int thread) {
    if (!t->requantise) return;
    quantise_weights(t, thread, end_requantise);
}

/* What Adam divides its running means by at the coming update, since they start at 0 */
static void scale_rule(frbm_training *t) {
    const double update = (double)(t->updates + t->batches_done + 1);
    t->rule.mean_scale = (float)(1.0 / (1.0 - pow(t->rule.momentum, update)));
    t->rule.square_scale = (float)(1.0 / (1.0 - pow(t->rule.decay, update)));
}

static void begin(void *context) {
    frbm_training *t = context;
    scale_rule(t);
    t->exponent = 0;
    t->fixed.int16 = 0;
    t->fixed.scale = 1.0f;
    t->fixed.magnitude_scale = ldexpf(1.0f, frbm_magnitude_shift(t->n_visible, t->n_hidden));
    clear_magnitudes(t);
}

static void end_batch(void *context) {
    frbm_training *t = context;
    t->step += t->n_sweeps + 1;
    t->batches_done++;
    scale_rule(t);
    t->grey_team.ticket = 0;
    settle(t);
    frbm_crew_settle(&t->team);
}

/* Whether a member leaves the region, after the last barrier of a minibatch */
static int leaves(const frbm_training *t, int thread) {
    return thread >= frbm_members(&t->team) || t->team.regroup;
}

void frbm_train(frbm_training *t, int thread, float *scratch) {
    size_t piece;
    frbm_clocks clocks;
    frbm_crew_join(&clocks);
    barrier_then(&t->team, begin, t);
    const size_t first = t->batches_done; /* of this region */
    while ((piece = next_piece(&t->team)) < pieces(batch_rows(t, first), 32)) load_block(t, first, t->step, piece);
    barrier(&t->team);
    quantise_weights(t, thread, settle);
    requantise(t, thread);
    for (size_t batch = first; has_batch(t, batch) && !t->team.stop; batch++) {
        const size_t n = batch_rows(t, batch), n_chains = t->persistent ? t->n_chains : n;
        prepare_spins(t, thread);
        if (t->kind == FRBM_GAUSSIAN_ROWS) {
            gaussian_positive(t, &t->batches[batch % 2], n, thread, scratch);
            gaussian_negative(t, n_chains, thread, scratch);
            gaussian_gradient(t, batch, n, n_chains, thread, scratch);
        } else {
            positive_phase(t, &t->batches[batch % 2], batch, thread, scratch);
            negative_phase(t, &t->batches[batch % 2], batch, n_chains, thread, scratch);
            if (t->sharing)
                share_gradient(t, batch, n, n_chains, thread, scratch);
            else
                apply_gradient(t, batch, n, n_chains, thread, scratch);
        }
        /* only the calling thread may run signal handlers; all have its answer after the barrier */
        if (thread == 0 && t->poll && t->poll(t->poll_context)) ask_to_stop(t);
        frbm_crew_look(&t->team, &clocks);
        if (t->kind == FRBM_GAUSSIAN_ROWS && t->sampled_hidden) {
            barrier(&t->team);
            quantise_weights(t, thread, end_batch);
        } else {
            barrier_then(&t->team, end_batch, t);
        }
        if (leaves(t, thread)) return;
        requantise(t, thread);
    }
}

#include "train_labels.inc.c"
