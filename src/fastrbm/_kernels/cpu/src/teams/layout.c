/* Where buffers lie in one piece of memory.  Each layout is one list, gone through twice by the caller: without memory
 * it only adds up sizes, then it hands out the pieces. */
#include <string.h>

#include "workers.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#define FORBID(at, bytes) __asan_poison_memory_region(at, bytes)
#define ALLOW(at, bytes) __asan_unpoison_memory_region(at, bytes)
#else
#define FORBID(at, bytes) ((void)(at), (void)(bytes))
#define ALLOW(at, bytes) ((void)(at), (void)(bytes))
#endif

#define CACHE_LINE 64

typedef struct {
    char *memory;
    size_t used;
} arena;

/* Room for n values of 4 bytes, from a cache line on.  A line that nobody may touch follows: sanitizers watch it. */
static void *take(arena *a, size_t n) {
    const size_t bytes = frbm_round_up(4 * n, CACHE_LINE);
    char *piece = a->memory ? a->memory + a->used : NULL;
    a->used += bytes + CACHE_LINE;
    if (piece) FORBID(piece + 4 * n, bytes + CACHE_LINE - 4 * n);
    return piece;
}

void frbm_give_back(void *memory, size_t bytes) { ALLOW(memory, bytes); }

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

static void set_strides(frbm_training *t, size_t batch) {
    t->row_words = frbm_round_up(t->n_visible, 64) / 64;
    t->visible_ld = 64 * t->row_words;
    t->hidden_ld = frbm_round_up(t->n_hidden, FRBM_LANES);
    t->data_ld = frbm_round_up(batch, FRBM_LANES);
    if (!t->persistent) t->n_chains = batch;
    t->chain_ld = frbm_round_up(t->n_chains, FRBM_LANES);
}

static void lay_out_batch(const frbm_training *t, frbm_batch *b, size_t batch, arena *a) {
    if (t->kind == FRBM_BIT_ROWS) {
        b->words = take(a, 2 * t->row_words * t->data_ld);
        b->planes = take(a, t->data_ld / 32 * t->visible_ld);
    } else if (t->kind == FRBM_LEVEL_ROWS) {
        b->levels = take(a, (t->n_visible + 1) / 2 * t->data_ld);
        b->columns = take(a, t->data_ld / 2 * t->visible_ld);
        b->sums = take(a, t->data_ld);
    } else {
        b->rows = take(a, batch * t->visible_ld);
        b->lanes = take(a, t->n_visible * t->data_ld);
        if (t->int16 && t->kind == FRBM_GAUSSIAN_ROWS) {
            b->int16 = take(a, (t->n_visible + 1) / 2 * t->data_ld);
            b->quanta = take(a, t->data_ld);
        }
    }
}

static void lay_out_gaussian(frbm_training *t, arena *a) {
    const size_t words = (t->n_visible + 1) / 2;
    t->gaussian = take(a, t->n_visible * t->chain_ld);
    if (t->int16) {
        t->chains_int16 = take(a, words * t->chain_ld);
        t->chains_quanta = take(a, t->chain_ld);
        t->weights_int16 = take(a, words * t->n_hidden);
        t->weight_quanta = take(a, t->n_hidden);
    }
    if (!t->sampled_hidden) {
        t->gaussian_rows = take(a, t->n_chains * t->visible_ld);
        t->data_means = take(a, t->n_hidden * t->data_ld);
        t->model_means = take(a, t->n_hidden * t->chain_ld);
    }
}

/* What both phases leave of the hidden layer for the gradient, and the visible states of the chains */
static void lay_out_phases(frbm_training *t, arena *a) {
    const int gaussian = t->kind == FRBM_GAUSSIAN_ROWS, grey = t->kind == FRBM_GREY_ROWS;
    const int levels = t->kind == FRBM_LEVEL_ROWS;
    if (!t->persistent || ((grey || levels) && t->sampled_hidden))
        t->hidden_words = take(a, frbm_round_up(t->n_hidden, 32) / 32 * t->data_ld);
    if (t->group || gaussian)
        t->inputs = take(a, t->n_hidden * larger(t->data_ld, t->chain_ld));
    else if (grey || levels)
        t->inputs = take(a, t->n_hidden * t->data_ld);
    if (grey) {
        t->grey_gradient = take(a, t->n_hidden * t->visible_ld);
        t->data_means = take(a, t->n_hidden * t->data_ld);
    }
    if (!gaussian) {
        t->visible_words = take(a, 2 * t->row_words * t->chain_ld);
        t->visible_planes = take(a, t->chain_ld / 32 * t->visible_ld);
    }
    if (t->sampled_hidden) {
        t->data_planes = take(a, t->data_ld / 32 * t->hidden_ld);
        t->model_planes = take(a, t->chain_ld / 32 * t->hidden_ld);
        if (levels) t->data_fixed = take(a, t->n_hidden * t->data_ld);
    } else if (!gaussian) {
        if (!grey) t->data_fixed = take(a, t->n_hidden * t->data_ld);
        t->model_fixed = take(a, t->n_hidden * t->chain_ld);
    }
}

static void lay_out_turned(const frbm_training *t, size_t batch, arena *a) {
    frbm_labelling *l = t->labels;
    const int grey = t->kind == FRBM_GREY_ROWS;
    for (int b = 0; b < 2; b++) {
        l->row_counts[b] = take(a, batch);
        l->row_at[b] = take(a, batch * t->n_visible);
        l->row_values[b] = grey ? take(a, batch * t->n_visible) : NULL;
    }
    l->turned.n_visible = t->n_visible;
    l->turned.column_ld = batch;
    l->turned.column_counts = take(a, t->n_visible);
    l->turned.column_at = take(a, batch * t->n_visible);
    l->turned.column_values = grey ? take(a, batch * t->n_visible) : NULL;
    l->turned.fixed = grey ? NULL : take(a, t->n_visible * l->turned.ld);
}

static void lay_out_labels(const frbm_training *t, arena *a) {
    frbm_labelling *l = t->labels;
    frbm_label_lanes *k = &l->lanes;
    const size_t blocks = frbm_round_up(t->n_hidden, FRBM_PANEL) / FRBM_PANEL;
    k->n_units = t->n_hidden;
    k->ld = t->data_ld;
    k->class_ld = frbm_round_up(t->n_hidden, 16);
    k->bias = t->kind == FRBM_GREY_ROWS ? t->bias_hidden : NULL;
    k->class_bias = l->bias;
    k->raise = l->raise = take(a, k->n_classes * k->class_ld);
    k->on = take(a, t->n_hidden * k->ld);
    k->off = take(a, t->n_hidden * k->ld);
    k->mantissas = take(a, blocks * k->n_classes * k->ld);
    k->exponents = take(a, blocks * k->n_classes * k->ld);
    k->residuals = take(a, k->n_classes * k->ld);
    k->of_bias = take(a, k->n_classes);
    k->scores = take(a, 16 * k->n_classes);
    k->pulls = take(a, t->n_hidden * k->ld);
    k->fixed_pulls = t->kind == FRBM_BIT_ROWS ? take(a, t->n_hidden * k->ld) : NULL;
    k->of_classes = take(a, k->n_classes * k->class_ld);
}

/* One piece, so that blocks of it can be added */
static void lay_out_sharing(const frbm_training *t, arena *a) {
    frbm_sharing *s = t->sharing;
    const size_t halves = t->sampled_hidden ? 2 : 1;
    s->sums.ld = (t->sampled_hidden || t->kind == FRBM_LEVEL_ROWS ? 2 : 1) * t->n_visible;
    s->n_before = frbm_round_up(1 + 2 * t->n_visible + halves * t->n_hidden, 16);
    s->n_integers = s->n_before + t->n_hidden * s->sums.ld;
    s->integers = take(a, s->n_integers);
    if (!s->integers) return;
    s->visible = s->integers + 1;
    s->model_visible = s->visible + t->n_visible;
    s->sums.hidden = s->model_visible + t->n_visible;
    s->sums.model_hidden = t->sampled_hidden ? s->sums.hidden + t->n_hidden : NULL;
    s->sums.weights = s->integers + s->n_before;
    s->sums.model_weights = s->sums.ld > t->n_visible ? s->sums.weights + t->n_visible : NULL;
}

size_t frbm_lay_out_training(frbm_training *t, void *memory) {
    arena a = {memory, 0};
    const size_t batch = t->batch_size < t->n_rows ? t->batch_size : t->n_rows;
    set_strides(t, batch);
    t->delta_visible = take(&a, t->n_visible);
    if (t->spins.visible || t->spins.hidden) {
        t->spins.scale = (float)((1 + t->spins.visible) * (1 + t->spins.hidden));
        t->spins.delta_visible = t->delta_visible;
        t->bits_hidden = take(&a, t->n_hidden);
        t->bits_visible = take(&a, t->n_visible);
    }
    if (t->labels && t->labels->sparse)
        lay_out_turned(t, batch, &a);
    else
        for (int b = 0; b < 2; b++) lay_out_batch(t, &t->batches[b], batch, &a);
    if (t->kind == FRBM_GAUSSIAN_ROWS) lay_out_gaussian(t, &a);
    if (t->labels)
        lay_out_labels(t, &a);
    else
        lay_out_phases(t, &a);
    if (t->sharing) lay_out_sharing(t, &a);
    return a.used;
}

size_t frbm_training_scratch(const frbm_training *t) {
    size_t floats = frbm_round_up(FRBM_SCRATCH_FLOATS, 16);
    if (t->filters) floats += frbm_round_up(frbm_filters_scratch(t->filters), 16);
    if (t->labels && floats < 256 * (t->labels->lanes.n_classes + 1)) floats = 256 * (t->labels->lanes.n_classes + 1);
    if (t->kind == FRBM_GAUSSIAN_ROWS && t->sampled_hidden)
        floats += FRBM_GAUSSIAN_COLUMNS * (t->data_ld + t->chain_ld);
    return floats;
}

static void lay_out_side(const frbm_filters *filters, frbm_side *side, arena *a) {
    side->radius = take(a, side->n_out);
    side->slack = take(a, side->n_out);
    side->project = take(a, side->n_out * filters->rank);
    if (filters->strategy != FRBM_INT16) return;
    side->packed = take(a, (side->n_out + 5) * ((side->n_in + 31) / 32) * 16);
    side->packed_quantum = take(a, side->n_out);
    side->grow = take(a, side->n_out);
    side->shrink = take(a, side->n_out);
}

size_t frbm_lay_out_filters(frbm_filters *filters, const frbm_fixed *fixed, size_t n_visible, size_t n_hidden,
                            void *memory) {
    arena a = {memory, 0};
    frbm_side *hidden = &filters->hidden, *visible = &filters->visible;
    hidden->by_output = visible->by_input = fixed->weights;
    hidden->by_output_ld = visible->by_input_ld = fixed->ld;
    hidden->by_input = visible->by_output = fixed->transposed;
    hidden->by_input_ld = visible->by_output_ld = fixed->transposed_ld;
    hidden->n_in = visible->n_out = n_visible;
    hidden->n_out = visible->n_in = n_hidden;
    lay_out_side(filters, hidden, &a);
    lay_out_side(filters, visible, &a);
    return a.used;
}
