/* Rows through one layer, and chains, by a team.  Compiled once, without special instructions. */
#include <string.h>

#include "team.h"

/* All panels of a layer, by look-ups or rows as its states ask for */
static void run_whole(const frbm_table *table, frbm_layer *layer, float *scratch) {
    frbm_choose(table, layer);
    for (size_t p = 0; p < pieces(layer->n_out, FRBM_PANEL); p++) run_panel(table, layer, p, FRBM_PANEL, scratch);
}

/* Room for the states of a chunk; of levels, also for their sums and the products */
static size_t chunk_words(const frbm_rows *r) {
    if (r->levels) return ((r->n_in + 1) / 2 + 1 + r->n_out) * r->chunk;
    return r->row_words * 2 * r->chunk;
}

/* Products of a chunk of levels; `room` of chunk_words */
static const float *level_products(const frbm_rows *r, size_t first, size_t n, uint32_t *room) {
    uint32_t *lanes = room + r->chunk;
    float *products = (float *)(lanes + (r->n_in + 1) / 2 * r->chunk);
    for (size_t at = 0; at < n; at += 32)
        r->table->load_levels(r->levels + first * r->levels_ld, r->levels_ld, NULL, at, n - at < 32 ? n - at : 32,
                              r->n_in, lanes, r->chunk, (int32_t *)room, NULL, frbm_round_up(r->n_in, 64));
    const frbm_level_product p = {r->halves, r->halves_ld, lanes, r->chunk, (const int32_t *)room,
                                  r->n_in, n, (double)r->quantum / 255.0};
    r->table->level_inputs(&p, 0, r->n_out, products, r->chunk);
    return products;
}

size_t frbm_rows_scratch(const frbm_rows *r) {
    const size_t sums = r->energy ? (r->n_out + 1) * r->chunk : 0;
    return FRBM_SCRATCH_FLOATS + chunk_words(r) + sums + pieces(r->n_out, 32) * r->chunk +
           (r->filters ? frbm_filters_scratch(r->filters) : 0) + 64;
}

static void energy_chunk(frbm_rows *r, size_t first, size_t n, const float *inputs) {
    for (size_t l = 0; l < n; l++) {
        const uint64_t *row = r->rows + (first + l) * r->row_words;
        double linear = 0.0;
        for (size_t w = 0; w < r->row_words; w++)
            for (uint64_t active = row[w]; active; active &= active - 1)
                linear += (double)r->visible_bias[64 * w + (size_t)__builtin_ctzll(active)];
        r->energy[first + l] = linear;
    }
    r->table->add_softplus(inputs, r->chunk, r->n_out, n, r->energy + first);
    for (size_t l = 0; l < n; l++) r->energy[first + l] = -r->energy[first + l];
}

void frbm_run_rows(frbm_rows *r, int thread, float *scratch) {
    const frbm_table *k = r->table;
    uint32_t *words = (uint32_t *)(scratch + FRBM_SCRATCH_FLOATS);
    uint32_t *states = words + chunk_words(r);
    float *inputs = (float *)(states + pieces(r->n_out, 32) * r->chunk);
    float *of_filters = inputs + (r->energy ? (r->n_out + 1) * r->chunk : 0);
    size_t piece;
    while ((piece = next_piece(&r->team)) * r->chunk < r->n_rows) {
        const size_t first = piece * r->chunk, n = r->n_rows - first < r->chunk ? r->n_rows - first : r->chunk;
        frbm_layer layer;
        memset(&layer, 0, sizeof layer);
        if (r->levels) {
            layer.preset = level_products(r, first, n, words);
            layer.preset_ld = r->chunk;
        } else {
            k->gather(r->rows + first * r->row_words, r->row_words, NULL, n, r->n_in, words, r->chunk, NULL, 0);
            layer.op = product(words, r->chunk, r->n_in, r->coef, r->out_stride, r->in_stride);
            layer.op.limbs = r->limbs;
        }
        layer.quantum = r->quantum;
        layer.int16 = r->int16;
        layer.bias = r->bias;
        layer.n_out = r->n_out;
        layer.n_lanes = n;
        if (r->means) layer.means_rows = r->means + first * r->n_out;
        if (r->inputs) layer.inputs_rows = r->inputs + first * r->n_out;
        if (r->energy) {
            layer.inputs = inputs;
            layer.inputs_ld = r->chunk;
        }
        if (r->samples) {
            layer.words = states;
            layer.words_ld = r->chunk;
            layer.draw = r->draw;
            layer.draw.first_chain += (uint32_t)first;
        }
        if (r->filters) {
            frbm_memory memory, unused;
            frbm_filters_start(r->filters, (uint32_t *)of_filters, r->side == &r->filters->hidden ? &memory : &unused,
                            r->side == &r->filters->hidden ? &unused : &memory);
            frbm_filtered_layer(r->filters, r->side, &memory, &layer, scratch, &r->work[thread]);
        } else {
            run_whole(k, &layer, scratch);
        }
        if (r->samples)
            for (size_t l = 0; l < n; l++) {
                uint32_t *out = (uint32_t *)(r->samples + (first + l) * r->sample_words);
                for (size_t w = 0; w < 2 * r->sample_words; w++)
                    out[w] = w < pieces(r->n_out, 32) ? states[w * r->chunk + l] : 0;
            }
        if (r->energy) energy_chunk(r, first, n, inputs);
    }
}

/* ---- chains -------------------------------------------------------------------------------------------------- */

void frbm_run_chains(frbm_chains *c, int thread, float *scratch) {
    const frbm_table *k = c->table;
    const frbm_filters *filters = c->filters;
    size_t piece;
    while ((piece = next_piece(&c->team)) * c->chunk < c->n_chains) {
        const size_t first = piece * c->chunk, n = c->n_chains - first < c->chunk ? c->n_chains - first : c->chunk;
        frbm_layer hidden, visible;
        frbm_memory of_hidden, of_visible;
        memset(&hidden, 0, sizeof hidden);
        hidden.op = hidden_product(c->fixed, c->visible + first, c->ld, c->n_visible);
        hidden.quantum = 1.0f / c->fixed->scale;
        hidden.int16 = c->fixed->int16;
        hidden.bias = c->bias_hidden;
        hidden.n_out = c->n_hidden;
        hidden.n_lanes = n;
        hidden.words = c->hidden + first;
        hidden.words_ld = c->ld;
        hidden.draw = c->draw;
        hidden.draw.stream = FRBM_HIDDEN;
        hidden.draw.first_chain += (uint32_t)first;
        visible = hidden;
        visible.op = visible_product(c->fixed, c->hidden + first, c->ld, c->n_hidden);
        visible.bias = c->bias_visible;
        visible.n_out = c->n_visible;
        visible.words = c->visible + first;
        visible.draw.stream = FRBM_VISIBLE;
        if (filters) frbm_filters_start(filters, (uint32_t *)(scratch + FRBM_SCRATCH_FLOATS), &of_hidden, &of_visible);
        for (size_t sweep = 0; sweep < c->n_sweeps; sweep++) {
            hidden.draw.step = visible.draw.step = c->draw.step + sweep;
            if (filters) {
                frbm_filtered_layer(filters, &filters->visible, &of_visible, &visible, scratch, &c->work[thread]);
                frbm_filtered_layer(filters, &filters->hidden, &of_hidden, &hidden, scratch, &c->work[thread]);
            } else {
                run_whole(k, &visible, scratch);
                run_whole(k, &hidden, scratch);
            }
            if (thread == 0 && c->poll && c->poll(c->poll_context))
                __atomic_store_n(&c->team.stop, 1, __ATOMIC_RELAXED);
            if (__atomic_load_n(&c->team.stop, __ATOMIC_RELAXED)) return;
        }
    }
}
