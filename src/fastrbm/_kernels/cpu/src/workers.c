/* Team workers: training, rows, chains.  Compiled once, without special instructions. */
#include "workers.h"

#include <math.h>
#include <sched.h>
#include <string.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "fastrbm's packed layouts assume a little-endian machine"
#endif

#if defined(__x86_64__) || defined(__i386__)
#define PAUSE() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define PAUSE() __asm__ __volatile__("yield")
#else
#define PAUSE() ((void)0)
#endif

const frbm_table *frbm_select(const char *name) {
#ifdef FRBM_X86
    __builtin_cpu_init();
    if (!strcmp(name, "avx512"))
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                       __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")
                   ? &frbm_table_avx512
                   : NULL;
    if (!strcmp(name, "avx2")) return __builtin_cpu_supports("avx2") ? &frbm_table_avx2 : NULL;
#endif
    return strcmp(name, "baseline") ? NULL : &frbm_table_baseline;
}

/* ---- team ---------------------------------------------------------------------------------------------------- */

static size_t next_piece(frbm_team *team) { return (size_t)__atomic_fetch_add(&team->ticket, 1, __ATOMIC_RELAXED); }

/* Spins briefly, then gives the processor away: with more threads than processors, or beside another library's
 * pool, waiting must not take the time of whoever is waited for. */
static void barrier(frbm_team *team) {
    if (team->n_threads == 1) {
        team->ticket = 0;
        return;
    }
    const int phase = __atomic_load_n(&team->phase, __ATOMIC_RELAXED);
    if (__atomic_fetch_add(&team->arrived, 1, __ATOMIC_ACQ_REL) == team->n_threads - 1) {
        team->arrived = 0;
        team->ticket = 0;
        __atomic_store_n(&team->phase, phase + 1, __ATOMIC_RELEASE);
        return;
    }
    for (unsigned spin = 0; __atomic_load_n(&team->phase, __ATOMIC_ACQUIRE) == phase; spin++) {
        if (spin < 4000)
            PAUSE();
        else
            sched_yield();
    }
}

/* ---- training ------------------------------------------------------------------------------------------------ */

#define GREY_ROWS 24 /* hidden units of one sgemm of the grey gradient */
#define BIAS_UNITS 1024

size_t frbm_training_scratch(const frbm_training *t) {
    return FRBM_SCRATCH_FLOATS + (t->grey ? GREY_ROWS * t->n_visible : 0) + 16;
}

static frbm_operand product(const uint32_t *bits, size_t stride, size_t n_inputs, const float *coef,
                            size_t out_stride, size_t in_stride) {
    return (frbm_operand){bits, stride, n_inputs, coef, out_stride, in_stride};
}

static frbm_layer hidden_layer(const frbm_training *t, const uint32_t *words, size_t ld, size_t n_lanes) {
    frbm_layer layer;
    memset(&layer, 0, sizeof layer);
    layer.op = product(words, ld, t->n_visible, t->weights, t->n_visible, 1);
    layer.bias = t->bias_hidden;
    layer.n_out = t->n_hidden;
    layer.n_lanes = n_lanes;
    layer.draw = (frbm_draw){{t->key[0], t->key[1]}, t->step, FRBM_HIDDEN, 0};
    return layer;
}

static frbm_layer visible_layer(const frbm_training *t, const uint32_t *words, size_t n_lanes) {
    frbm_layer layer;
    memset(&layer, 0, sizeof layer);
    layer.op = product(words, t->chain_ld, t->n_hidden, t->weights, 1, t->n_visible);
    layer.bias = t->bias_visible;
    layer.n_out = t->n_visible;
    layer.n_lanes = n_lanes;
    layer.words = t->visible_words;
    layer.words_ld = t->chain_ld;
    layer.planes = t->visible_planes;
    layer.planes_ld = t->visible_ld;
    layer.draw = (frbm_draw){{t->key[0], t->key[1]}, t->step, FRBM_VISIBLE, 0};
    return layer;
}

static size_t panels(size_t n) { return (n + FRBM_PANEL - 1) / FRBM_PANEL; }

/* Rows of the batch to words and planes (bits) or to a contiguous block (grey). */
static void load_batch(frbm_training *t, const int64_t *order, size_t n) {
    const frbm_table *k = t->table;
    size_t block;
    while ((block = next_piece(&t->team)) < (n + 31) / 32) {
        const size_t at = 32 * block, here = n - at < 32 ? n - at : 32;
        if (t->rows) {
            k->gather(t->rows, t->row_words, order + at, here, t->n_visible, t->data_words + at, t->data_ld,
                      t->data_planes + block * t->visible_ld, t->visible_ld);
        } else if (t->stochastic_input) {
            const frbm_draw draw = {{t->key[0], t->key[1]}, t->step, FRBM_INPUT, 0};
            k->draw_rows(t->grey, t->n_visible, order, n, t->n_visible, block, &draw, t->data_words, t->data_ld,
                         t->data_planes, t->visible_ld);
        } else {
            for (size_t r = at; r < at + here; r++)
                memcpy(t->grey_batch + r * t->n_visible, t->grey + (size_t)order[r] * t->n_visible,
                       t->n_visible * sizeof(float));
        }
    }
}

/* grey inputs of one panel: inputs[unit][sample] = W[unit] . x[sample] */
static void grey_inputs(const frbm_training *t, size_t panel, size_t n) {
    const size_t unit = FRBM_PANEL * panel;
    int m = (int)n, units = (int)(t->n_hidden - unit < FRBM_PANEL ? t->n_hidden - unit : FRBM_PANEL);
    int depth = (int)t->n_visible, ld = (int)t->data_ld;
    float one = 1.0f, zero = 0.0f;
    t->sgemm("T", "N", &m, &units, &depth, &one, t->grey_batch, &depth, t->weights + unit * t->n_visible, &depth,
             &zero, t->inputs + unit * t->data_ld, &ld);
}

/* Positive phase, and for persistent chains the first visible draw, which does not depend on it. */
static void positive_phase(frbm_training *t, size_t n, float *scratch) {
    const int dense = !t->rows && !t->stochastic_input;
    frbm_layer hidden = hidden_layer(t, t->data_words, t->data_ld, n);
    hidden.means = t->data_means;
    hidden.means_ld = t->data_ld;
    hidden.mean_scale = 1.0f / (float)n;
    if (dense) {
        hidden.op.bits = NULL;
        hidden.preset = t->inputs;
        hidden.preset_ld = t->data_ld;
    }
    if (!t->persistent) {
        hidden.words = t->hidden_words;
        hidden.words_ld = t->chain_ld;
    }
    frbm_layer visible = visible_layer(t, t->chains, t->n_chains);
    visible.draw.step = t->step + 1;
    const size_t n_hidden = panels(t->n_hidden), n_visible = t->persistent ? panels(t->n_visible) : 0;
    size_t piece;
    while ((piece = next_piece(&t->team)) < n_hidden + n_visible) {
        if (piece < n_hidden) {
            if (dense) grey_inputs(t, piece, n);
            t->table->panel(&hidden, piece, scratch);
        } else {
            t->table->panel(&visible, piece - n_hidden, scratch);
        }
    }
    barrier(&t->team);
}

/* n_sweeps of v ~ p(v|h), h ~ p(h|v); the last hidden layer leaves its means, and its states if they persist. */
static void negative_phase(frbm_training *t, size_t n_chains, float *scratch) {
    uint32_t *states = t->persistent ? t->chains : t->hidden_words;
    for (size_t sweep = 1; sweep <= t->n_sweeps; sweep++) {
        size_t piece;
        if (sweep > 1 || !t->persistent) {
            frbm_layer visible = visible_layer(t, states, n_chains);
            visible.draw.step = t->step + sweep;
            while ((piece = next_piece(&t->team)) < panels(t->n_visible)) t->table->panel(&visible, piece, scratch);
            barrier(&t->team);
        }
        const int last = sweep == t->n_sweeps;
        frbm_layer hidden = hidden_layer(t, t->visible_words, t->chain_ld, n_chains);
        hidden.draw.step = t->step + sweep;
        if (last) {
            hidden.means = t->model_means;
            hidden.means_ld = t->chain_ld;
            hidden.mean_scale = -1.0f / (float)n_chains;
        }
        if (!last || t->persistent) {
            hidden.words = states;
            hidden.words_ld = t->chain_ld;
        }
        while ((piece = next_piece(&t->team)) < panels(t->n_hidden)) t->table->panel(&hidden, piece, scratch);
        barrier(&t->team);
    }
}

/* a += rate * (mean of the data - mean of the chains) for one block of visible units */
static void visible_bias(frbm_training *t, size_t first, size_t n, size_t n_chains) {
    const size_t count = t->n_visible - first < BIAS_UNITS ? t->n_visible - first : BIAS_UNITS;
    int32_t data[BIAS_UNITS] = {0}, model[BIAS_UNITS] = {0};
    double grey[BIAS_UNITS] = {0};
    if (t->rows || t->stochastic_input)
        t->table->count_planes(t->data_planes, t->visible_ld, (n + 31) / 32, first, count, data);
    else
        for (size_t s = 0; s < n; s++)
            for (size_t i = 0; i < count; i++) grey[i] += (double)t->grey_batch[s * t->n_visible + first + i];
    t->table->count_planes(t->visible_planes, t->visible_ld, (n_chains + 31) / 32, first, count, model);
    for (size_t i = 0; i < count; i++) {
        const float gradient =
            (float)(((double)data[i] + grey[i]) / (double)n - (double)model[i] / (double)n_chains);
        float change = t->rate * gradient;
        if (t->velocity_visible) {
            change += t->momentum * t->velocity_visible[first + i];
            t->velocity_visible[first + i] = change;
        }
        t->bias_visible[first + i] += change;
    }
}

static void apply_gradient(frbm_training *t, size_t n, size_t n_chains, float *scratch) {
    const int dense = !t->rows && !t->stochastic_input;
    const size_t rows = dense ? GREY_ROWS : 2 * FRBM_TILE;
    const size_t n_tiles = (t->n_hidden + rows - 1) / rows;
    const size_t n_bias = (t->n_visible + BIAS_UNITS - 1) / BIAS_UNITS;
    frbm_gradient g;
    memset(&g, 0, sizeof g);
    g.positive = product(t->data_planes, t->visible_ld, n, t->data_means, t->data_ld, 1);
    g.negative = product(t->visible_planes, t->visible_ld, n_chains, t->model_means, t->chain_ld, 1);
    g.weights = t->weights;
    g.velocity = t->velocity;
    g.bias = t->bias_hidden;
    g.bias_velocity = t->velocity_hidden;
    g.n_visible = t->n_visible;
    g.rate = t->rate;
    g.momentum = t->momentum;
    size_t piece;
    while ((piece = next_piece(&t->team)) < n_tiles + n_bias) {
        if (piece >= n_tiles) {
            visible_bias(t, (piece - n_tiles) * BIAS_UNITS, n, n_chains);
            continue;
        }
        const size_t first = piece * rows, count = t->n_hidden - first < rows ? t->n_hidden - first : rows;
        if (dense) {
            float *gradient = scratch + FRBM_SCRATCH_FLOATS, one = 1.0f, zero = 0.0f;
            int m = (int)t->n_visible, columns = (int)count, depth = (int)n, ld = (int)t->data_ld;
            t->sgemm("N", "N", &m, &columns, &depth, &one, t->grey_batch, &m, t->data_means + first * t->data_ld,
                     &ld, &zero, gradient, &m);
            g.dense_positive = gradient;
            g.dense_ld = t->n_visible;
        }
        t->table->gradient_rows(&g, first, count, scratch);
    }
}

void frbm_train(frbm_training *t, int thread, float *scratch) {
    const size_t n_batches = (t->n_rows + t->batch_size - 1) / t->batch_size;
    for (size_t batch = 0; batch < n_batches; batch++) {
        const size_t first = batch * t->batch_size;
        const size_t n = t->n_rows - first < t->batch_size ? t->n_rows - first : t->batch_size;
        const size_t n_chains = t->persistent ? t->n_chains : n;
        load_batch(t, t->order + first, n);
        barrier(&t->team);
        positive_phase(t, n, scratch);
        negative_phase(t, n_chains, scratch);
        apply_gradient(t, n, n_chains, scratch);
        barrier(&t->team);
        if (thread == 0) {
            t->step += t->n_sweeps + 1;
            t->batches_done = batch + 1;
            if (t->poll && t->poll(t->poll_context)) t->team.stop = 1;
        }
        barrier(&t->team);
        if (t->team.stop) return;
    }
}

/* ---- rows ---------------------------------------------------------------------------------------------------- */

static size_t chunk_words(const frbm_rows *r) { return r->row_words * 2 * r->chunk; }

size_t frbm_rows_scratch(const frbm_rows *r) {
    const size_t ratios = 2 * FRBM_PSEUDO_BLOCK * r->n_out;
    const size_t sums = r->energy || r->score || r->inputs ? (r->n_out + 1) * r->chunk : 0;
    return FRBM_SCRATCH_FLOATS + chunk_words(r) + sums + panels(r->n_out) * r->chunk + (r->score ? ratios : 0) + 64;
}

static void score_chunk(frbm_rows *r, const uint32_t *words, size_t first, size_t n, float *inputs, float *scratch,
                        float *ratios) {
    const frbm_table *k = r->table;
    if (r->energy) {
        const float zero = 0.0f;
        float *linear = inputs + r->n_out * r->chunk;
        frbm_layer visible;
        memset(&visible, 0, sizeof visible);
        visible.op = product(words, r->chunk, r->n_in, r->visible_bias, 0, 1);
        visible.bias = &zero;
        visible.n_out = 1;
        visible.n_lanes = n;
        visible.inputs = linear;
        visible.inputs_ld = r->chunk;
        k->panel(&visible, 0, scratch);
        for (size_t l = 0; l < n; l++) r->energy[first + l] = (double)linear[l];
        k->add_softplus(inputs, r->chunk, r->n_out, n, r->energy + first);
        for (size_t l = 0; l < n; l++) r->energy[first + l] = -r->energy[first + l];
    }
    if (r->score) {
        frbm_pseudo p = {.raise = r->raise, .lower = r->lower, .ld = r->ratio_ld, .visible_bias = r->visible_bias,
                         .inputs = inputs, .unit_stride = r->chunk, .sample_stride = 1,
                         .rows = r->rows + first * r->row_words, .row_words = r->row_words, .n_visible = r->n_in,
                         .n_hidden = r->n_out, .strip = r->strip, .score = r->score + first};
        for (size_t at = 0; at < n; at += FRBM_PSEUDO_BLOCK)
            k->pseudo_block(&p, at, n - at < FRBM_PSEUDO_BLOCK ? n - at : FRBM_PSEUDO_BLOCK, ratios);
    }
}

void frbm_run_rows(frbm_rows *r, int thread, float *scratch) {
    const frbm_table *k = r->table;
    uint32_t *words = (uint32_t *)(scratch + FRBM_SCRATCH_FLOATS);
    uint32_t *states = words + chunk_words(r);
    float *inputs = (float *)(states + panels(r->n_out) * r->chunk);
    float *ratios = inputs + (r->energy || r->score || r->inputs ? (r->n_out + 1) * r->chunk : 0);
    size_t piece;
    (void)thread;
    while ((piece = next_piece(&r->team)) * r->chunk < r->n_rows) {
        const size_t first = piece * r->chunk, n = r->n_rows - first < r->chunk ? r->n_rows - first : r->chunk;
        k->gather(r->rows + first * r->row_words, r->row_words, NULL, n, r->n_in, words, r->chunk, NULL, 0);
        frbm_layer layer;
        memset(&layer, 0, sizeof layer);
        layer.op = product(words, r->chunk, r->n_in, r->coef, r->out_stride, r->in_stride);
        layer.bias = r->bias;
        layer.n_out = r->n_out;
        layer.n_lanes = n;
        if (r->means) {
            layer.means_rows = r->means + first * r->n_out;
            layer.means_rows_ld = r->n_out;
        }
        if (r->energy || r->score || r->inputs) {
            layer.inputs = inputs;
            layer.inputs_ld = r->chunk;
        }
        if (r->samples) {
            layer.words = states;
            layer.words_ld = r->chunk;
            layer.draw = r->draw;
            layer.draw.first_chain += (uint32_t)first;
        }
        for (size_t p = 0; p < panels(r->n_out); p++) k->panel(&layer, p, scratch);
        if (r->inputs)
            for (size_t l = 0; l < n; l++)
                for (size_t u = 0; u < r->n_out; u++)
                    r->inputs[(first + l) * r->n_out + u] = inputs[u * r->chunk + l];
        if (r->samples)
            for (size_t l = 0; l < n; l++) {
                uint32_t *out = (uint32_t *)(r->samples + (first + l) * r->sample_words);
                for (size_t w = 0; w < 2 * r->sample_words; w++)
                    out[w] = w < panels(r->n_out) ? states[w * r->chunk + l] : 0;
            }
        score_chunk(r, words, first, n, inputs, scratch, ratios);
    }
}

/* ---- chains -------------------------------------------------------------------------------------------------- */

void frbm_run_chains(frbm_chains *c, int thread, float *scratch) {
    const frbm_table *k = c->table;
    size_t piece;
    while ((piece = next_piece(&c->team)) * c->chunk < c->n_chains) {
        const size_t first = piece * c->chunk, n = c->n_chains - first < c->chunk ? c->n_chains - first : c->chunk;
        frbm_layer hidden, visible;
        memset(&hidden, 0, sizeof hidden);
        hidden.op = product(c->visible + first, c->ld, c->n_visible, c->weights, c->n_visible, 1);
        hidden.bias = c->bias_hidden;
        hidden.n_out = c->n_hidden;
        hidden.n_lanes = n;
        hidden.words = c->hidden + first;
        hidden.words_ld = c->ld;
        hidden.draw = c->draw;
        hidden.draw.stream = FRBM_HIDDEN;
        hidden.draw.first_chain += (uint32_t)first;
        visible = hidden;
        visible.op = product(c->hidden + first, c->ld, c->n_hidden, c->weights, 1, c->n_visible);
        visible.bias = c->bias_visible;
        visible.n_out = c->n_visible;
        visible.words = c->visible + first;
        visible.draw.stream = FRBM_VISIBLE;
        for (size_t sweep = 0; sweep < c->n_sweeps; sweep++) {
            hidden.draw.step = visible.draw.step = c->draw.step + sweep;
            for (size_t p = 0; p < panels(c->n_visible); p++) k->panel(&visible, p, scratch);
            for (size_t p = 0; p < panels(c->n_hidden); p++) k->panel(&hidden, p, scratch);
            if (thread == 0 && c->poll && c->poll(c->poll_context)) __atomic_store_n(&c->team.stop, 1, __ATOMIC_RELAXED);
            if (__atomic_load_n(&c->team.stop, __ATOMIC_RELAXED)) return;
        }
    }
}
