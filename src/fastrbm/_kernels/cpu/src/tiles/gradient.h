/* Gradients of weights and hidden biases, the update, and the fixed-point copy of what comes out. */
#ifndef FASTRBM_GRADIENT_H
#define FASTRBM_GRADIENT_H

#include "bits.h"
#include "coincidences.h"
#include "kernels.h"
#include "levels.h"
#include "limb_product.h"
#include "limbs.h"
#include "lookup.h"
#include "quantise.h"
#include "rules.h"
#include "simd.h"
#include "transpose.h"

/* 16 partial sums, then pairwise: an order that does not depend on the vector width */
INLINE float row_sum(const float *x, size_t n) {
    float part[16] = {0};
    size_t k = 0;
    for (; k + 16 <= n; k += 16)
        for (int l = 0; l < 16; l++) part[l] += x[k + l];
    for (size_t l = 0; k < n; k++, l++) part[l] += x[k];
    for (int step = 8; step; step >>= 1)
        for (int l = 0; l < step; l++) part[l] += part[l + step];
    return part[0];
}

INLINE int32_t fixed_sum(const int32_t *x, size_t n) {
    uint32_t total = 0;
    for (size_t i = 0; i < n; i++) total += (uint32_t)x[i];
    return (int32_t)total;
}

/* sums[i] * quantum in place of the sums */
INLINE void scale_sums(void *sums, size_t n, float quantum) {
    float *row = sums;
    for (size_t i = 0; i < n; i += 16) {
        const vec_i sum = load_i(row + i);
        const vec_f g = quantum * __builtin_convertvector(sum, vec_f);
        STORE(row + i, g);
    }
}

/* Whether weights follow sums of integers by a rate and nothing else */
INLINE int is_plain(const frbm_gradient *g) {
    const frbm_rule *r = &g->rule;
    return !g->dense_positive && !g->levels && !g->negative_hidden && g->spins.scale == 0.0f && !(r->clip > 0.0f) &&
           r->kind < FRBM_RMSPROP && !g->slots[0] && r->l1 == 0.0f && r->l2 == 0.0f;
}

/* Whether products are scaled as soon as they are there */
INLINE int is_scaled(const frbm_gradient *g) { return !g->levels && !g->unscaled && !is_plain(g); }

/* `scale_sums` and `update` of plain weights in one pass, with the same operations */
INLINE void follow_sums(float *value, const int32_t *sums, size_t n, float quantum, float rate) {
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        const vec_f x = load_f(value + i) + rate * (quantum * __builtin_convertvector(load_i(sums + i), vec_f));
        STORE(value + i, x);
    }
    for (; i < n; i++) value[i] += rate * (quantum * (float)sums[i]);
}

INLINE coincidence_planes positive_planes(const frbm_gradient *g) {
    return (coincidence_planes){g->positive.bits, g->positive_hidden, g->positive.stride, g->hidden_ld,
                         (g->positive.n_inputs + 31) / 32};
}

INLINE coincidence_planes negative_planes(const frbm_gradient *g) {
    return (coincidence_planes){g->negative.bits, g->negative_hidden, g->negative.stride, g->hidden_ld,
                         (g->negative.n_inputs + 31) / 32};
}

/* Whether the products of a gradient go by tiles: of a phase that has no samples nothing is asked */
INLINE int by_tiles(const frbm_gradient *g) {
    const size_t of_data = g->dense_positive || g->levels ? 0 : g->positive.n_inputs, of_model = g->negative.n_inputs;
    return !g->negative_hidden && (!of_data || fills_tiles(of_data)) && (!of_model || fills_tiles(of_model)) &&
           of_data + of_model > 0;
}

/* Whether the samples of both phases fit one word of a plane, so that one walk of look-ups does both: fewer tables, and
 * sums that are stored once */
INLINE int in_one_word(const frbm_gradient *g) {
    return !g->dense_positive && !g->levels && !g->negative_hidden && g->positive.in_stride == 1 &&
           g->negative.in_stride == 1 && g->positive.n_inputs < 32 && g->negative.n_inputs &&
           g->positive.n_inputs + g->negative.n_inputs <= 32;
}

/* Products of a tile with the samples of the data, and after them those of the model */
static void joint_products(const frbm_gradient *g, size_t first, size_t count, size_t lane, size_t n_lanes,
                           int32_t *sums, int32_t *tables) {
    const size_t n = g->positive.n_inputs, m = g->negative.n_inputs;
    uint32_t bits[FRBM_LANE_BLOCK];
    int32_t coef[FRBM_TILE * 32];
    const uint32_t *data = g->positive.bits + lane, *model = g->negative.bits + lane, own = (1u << n) - 1;
    for (size_t i = 0; i < n_lanes; i += 16) {
        const vec_u joint = (load_u(data + i) & own) | load_u(model + i) << (uint32_t)n;
        STORE(bits + i, joint);
    }
    for (size_t j = 0; j < count; j++) {
        memcpy(coef + 32 * j, g->positive.coef + (first + j) * g->positive.out_stride, n * sizeof *coef);
        memcpy(coef + 32 * j + n, g->negative.coef + (first + j) * g->negative.out_stride, m * sizeof *coef);
    }
    const frbm_operand joint = {.bits = bits, .n_inputs = n + m, .coef = coef, .out_stride = 32, .in_stride = 1};
    look_up_product(&joint, 0, count, 0, sums, FRBM_SUM_LD, 0, n_lanes, tables);
}

/* Gradient of a tile, all bits, but for the dense part; with levels, what is to be scaled with theirs */
static void tile_products(const frbm_gradient *g, size_t first, size_t count, size_t lane, size_t n_lanes,
                          int32_t *sums, int32_t *tables) {
    const int both = !g->dense_positive && !g->levels;
    if (by_tiles(g)) {
        frbm_operand none = g->positive;
        none.n_inputs = 0;
        const frbm_operand *const phases[2] = {both ? &g->positive : &none, &g->negative};
        limb_gradient(phases, first, count, sums, FRBM_SUM_LD, lane, n_lanes,
                      sums + (FRBM_PANEL + FRBM_TILE) * FRBM_SUM_LD);
        for (size_t j = 0; j < count && is_scaled(g); j++) scale_sums(sums + j * FRBM_SUM_LD, n_lanes, g->quantum);
        return;
    }
    if (!g->negative_hidden) {
        if (in_one_word(g)) {
            joint_products(g, first, count, lane, n_lanes, sums, tables);
        } else {
            if (both) look_up_product(&g->positive, first, count, 0, sums, FRBM_SUM_LD, lane, n_lanes, tables);
            look_up_product(&g->negative, first, count, both, sums, FRBM_SUM_LD, lane, n_lanes, tables);
        }
        for (size_t j = 0; j < count && is_scaled(g); j++) scale_sums(sums + j * FRBM_SUM_LD, n_lanes, g->quantum);
        return;
    }
    const coincidence_planes positive = positive_planes(g), negative = negative_planes(g);
    int32_t *model = sums + FRBM_TILE * FRBM_SUM_LD;
    count_coincidences(&negative, first, count, lane, n_lanes, both ? model : sums, FRBM_SUM_LD);
    if (both) count_coincidences(&positive, first, count, lane, n_lanes, sums, FRBM_SUM_LD);
    for (size_t j = 0; j < count && !g->levels && !g->unscaled; j++) {
        float *row = (float *)(sums + j * FRBM_SUM_LD), *other = (float *)(model + j * FRBM_SUM_LD);
        scale_sums(row, n_lanes, both ? g->positive_share : g->negative_share);
        if (!both) continue;
        scale_sums(other, n_lanes, g->negative_share);
        for (size_t i = 0; i < n_lanes; i++) row[i] += other[i];
    }
}

/* Gradient of the coupling of spins; `hidden` is that of the hidden bias, as bits */
INLINE void to_spins(const frbm_spins *s, float hidden, size_t lane, float *row, size_t n) {
    const float of_hidden = s->visible ? 0.5f * hidden : 0.0f;
    if (s->hidden)
        for (size_t i = 0; i < n; i++)
            row[i] = s->scale * (row[i] - of_hidden - 0.5f * s->delta_visible[lane + i]);
    else
        for (size_t i = 0; i < n; i++) row[i] = s->scale * (row[i] - of_hidden);
}

/* `hidden`: gradients of the hidden biases from unit `base` on */
static void gradient_tile(const frbm_gradient *g, size_t first, size_t count, const float *hidden, size_t base,
                          float *scratch) {
    int32_t *tables = (int32_t *)scratch, *sums = (int32_t *)(scratch + FRBM_TABLE_FLOATS);
    for (size_t lane = 0; lane < g->n_visible; lane += FRBM_LANE_BLOCK) {
        const size_t n_lanes = g->n_visible - lane < FRBM_LANE_BLOCK ? g->n_visible - lane : FRBM_LANE_BLOCK;
        tile_products(g, first, count, lane, n_lanes, sums, tables);
        if (g->levels) add_levels(g, first, count, lane, n_lanes, sums, tables);
        for (size_t j = 0; j < count; j++) {
            const size_t at = (first + j) * g->n_visible + lane;
            float *row = (float *)(sums + j * FRBM_SUM_LD);
            if (is_plain(g)) {
                follow_sums(g->weights + at, sums + j * FRBM_SUM_LD, n_lanes, g->quantum, g->rule.rate);
                continue;
            }
            const float *dense = g->dense_positive ? g->dense_positive + j * g->dense_ld + lane : NULL;
            if (dense)
                for (size_t i = 0; i < n_lanes; i++) row[i] += dense[i];
            if (g->spins.scale != 0.0f) to_spins(&g->spins, hidden[first + j - base], lane, row, n_lanes);
            update(&g->rule, 1, g->weights, g->slots, at, row, n_lanes);
        }
    }
}

static void quantise_rows(const frbm_fixed *f, const float *weights, size_t n_visible, size_t first, size_t count,
                     frbm_magnitudes *magnitudes) {
    for (size_t j = first; j < first + count; j++) {
        const float *row = weights + j * n_visible;
        const uint64_t sum = add_magnitudes(row, n_visible, f->magnitude_scale, magnitudes->columns, &magnitudes->seen);
        if (sum > magnitudes->row) magnitudes->row = sum;
        (f->int16 ? quantise_int16 : quantise)(row, n_visible, f->scale, f->weights + j * f->ld);
    }
    if (f->transposed) transpose_rows(f->weights, f->ld, first, count, n_visible, f->transposed, f->transposed_ld);
    if (f->of_hidden.bytes || f->of_visible.bytes) cut_limbs(f, n_visible, first, count);
    if (f->halves) cut_weights(f, n_visible, first, count);
}

INLINE float share_of(const coincidence_planes *p, size_t unit, float share) {
    int32_t on = 0;
    count_planes(p->hidden, p->hidden_ld, p->n_words, unit, 1, &on);
    return (float)on * share;
}

/* Gradient of one hidden bias */
static float hidden_gradient(const frbm_gradient *g, size_t j) {
    const coincidence_planes positive = positive_planes(g), negative = negative_planes(g);
    const float dense =
        g->dense_means ? row_sum(g->dense_means + j * g->positive.out_stride, g->positive.n_inputs) : 0.0f;
    if (g->negative_hidden) {
        const float data = g->dense_means ? dense : share_of(&positive, j, g->positive_share);
        return data + share_of(&negative, j, g->negative_share);
    }
    int32_t total = fixed_sum(g->negative.coef + j * g->negative.out_stride, g->negative.n_inputs);
    if (!g->dense_means) total += fixed_sum(g->positive.coef + j * g->positive.out_stride, g->positive.n_inputs);
    return g->quantum * (float)total + dense;
}

/* Hidden biases by their gradients, and the copy of the weights that were updated before */
static void follow_hidden(const frbm_gradient *g, size_t first, size_t count, float *hidden,
                          frbm_magnitudes *magnitudes) {
    if (g->spins.hidden)
        for (size_t j = 0; j < count; j++) hidden[j] *= 2.0f;
    update(&g->rule, 0, g->bias, g->bias_slots, first, hidden, count);
    if (g->fixed.weights) quantise_rows(&g->fixed, g->weights, g->n_visible, first, count, magnitudes);
}

static void gradient_rows(const frbm_gradient *g, size_t first, size_t count, frbm_magnitudes *magnitudes,
                          float *scratch) {
    frbm_gradient tile = *g;
    float hidden[FRBM_PANEL];
    const size_t size = !by_tiles(g) ? FRBM_TILE : g->levels ? LEVEL_UNITS : FRBM_PANEL;
    for (size_t j = 0; j < count; j++) hidden[j] = hidden_gradient(g, first + j);
    for (size_t j = first; j < first + count; j += size) {
        const size_t here = first + count - j < size ? first + count - j : size;
        gradient_tile(&tile, j, here, hidden, first, scratch);
        if (tile.dense_positive) tile.dense_positive += size * g->dense_ld;
    }
    follow_hidden(g, first, count, hidden, magnitudes);
}

#endif
