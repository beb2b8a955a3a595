/* A layer of weights [input][output] and rows with few inputs that are not 0, by lists of these: inputs, gradient, rule
 * and fixed-point copy of FRBM_PANEL outputs at a time.
 *
 * Sums of integers are exact, and those of floats go in the order of the inputs, or of the rows, as those of dense.h
 * do, so that results are those of the other ways. */
#ifndef FASTRBM_TURNED_H
#define FASTRBM_TURNED_H

#include "gradient.h"
#include "kernels.h"
#include "quantise.h"
#include "rules.h"
#include "simd.h"
#include "sparse.h"
#include "transpose.h"

#define TURNED_PARTS (FRBM_PANEL / SPARSE_UNITS)
#define TURNED_WIDTH (REGISTER / 4)
#define AHEAD 6 /* inputs */

/* out = sum over n entries of rows[at], integers */
INLINE void sum_listed(const uint32_t *at, size_t n, const int32_t *rows, size_t ld, int32_t *out) {
    for (size_t part = 0; part < TURNED_PARTS; part++) {
        reg_i total[SPARSE_REGISTERS];
        for (int v = 0; v < SPARSE_REGISTERS; v++) total[v] = (reg_i){0};
        for (size_t e = 0; e < n; e++) {
            const int32_t *row = rows + (size_t)at[e] * ld + part * SPARSE_UNITS;
            for (int v = 0; v < SPARSE_REGISTERS; v++) {
                const reg_i x = load_reg_i(row + TURNED_WIDTH * v);
                total[v] += x;
            }
        }
        for (int v = 0; v < SPARSE_REGISTERS; v++) STORE(out + part * SPARSE_UNITS + TURNED_WIDTH * v, total[v]);
    }
}

/* out = sum over n entries of value * rows[at], floats */
INLINE void sum_weighted(const uint32_t *at, const float *values, size_t n, const float *rows, size_t ld, float *out) {
    for (size_t part = 0; part < TURNED_PARTS; part++) {
        reg_f total[SPARSE_REGISTERS];
        for (int v = 0; v < SPARSE_REGISTERS; v++) total[v] = (reg_f){0};
        for (size_t e = 0; e < n; e++) {
            const float *row = rows + (size_t)at[e] * ld + part * SPARSE_UNITS;
            for (int v = 0; v < SPARSE_REGISTERS; v++)
                total[v] = rounded_once(load_reg_f(row + TURNED_WIDTH * v), all_f(values[e]), total[v]);
        }
        for (int v = 0; v < SPARSE_REGISTERS; v++) STORE(out + part * SPARSE_UNITS + TURNED_WIDTH * v, total[v]);
    }
}

/* Inputs of units [first, first + count), count at most FRBM_PANEL, to out[unit][lane]; with bias only of bits */
static void turned_inputs(const frbm_turned *w, size_t first, size_t count, float *out, size_t ld, float *scratch) {
    float bias[FRBM_PANEL] = {0};
    memcpy(bias, w->bias + first, count * sizeof(float));
    for (size_t lane = 0; lane < w->n_rows; lane += 16) {
        for (size_t l = 0; l < 16; l++) {
            float *to = scratch + l * FRBM_PANEL;
            const size_t row = lane + l, n = row < w->n_rows ? w->row_counts[row] : 0;
            const uint32_t *at = w->row_at + row * w->n_visible;
            if (!w->fixed) {
                sum_weighted(at, w->row_values + row * w->n_visible, n, w->weights + first, w->ld, to);
                continue;
            }
            sum_listed(at, n, w->fixed + first, w->ld, (int32_t *)to);
            for (size_t u = 0; u < FRBM_PANEL; u += 16) {
                const vec_f x = load_f(bias + u) + w->quantum * __builtin_convertvector(load_i(to + u), vec_f);
                STORE(to + u, x);
            }
        }
        transpose_rows((const int32_t *)scratch, FRBM_PANEL, 0, 16, count, (int32_t *)(out + first * ld + lane), ld);
    }
}

/* What is known of the size of the weights of a panel so far */
typedef struct {
    uint32_t units[FRBM_PANEL]; /* sums of magnitudes over the inputs */
    uint32_t any[16];
    uint32_t parts[16 * 16]; /* 16 sums over the units, of 16 inputs */
} turned_sizes;

/* Sums over the units of `n` inputs from a multiple of 16 on */
INLINE void add_columns(turned_sizes *s, size_t input, size_t n, frbm_magnitudes *magnitudes) {
    uint32_t turned[16 * 16];
    transpose_rows((const int32_t *)s->parts, 16, 0, 16, 16, (int32_t *)turned, 16);
    vec_u total = load_u(turned);
    for (int l = 1; l < 16; l++) total = total + load_u(turned + 16 * l);
    STORE(turned, total);
    for (size_t i = 0; i < n; i++) magnitudes->columns[input / 16 * 16 + i] += turned[i];
}

/* Fixed-point copy of one input's weights, and their sizes */
INLINE void quantise_turned(const frbm_turned *w, size_t input, size_t first, turned_sizes *s,
                            frbm_magnitudes *magnitudes) {
    const float *row = w->weights + input * w->ld + first;
    uint32_t part[16] = {0};
    for (size_t u = 0; u < FRBM_PANEL; u += 16)
        for (size_t l = 0; l < 16; l++) {
            const uint32_t m = magnitude_lane(row[u + l], w->magnitude_scale);
            part[l] += m;
            s->any[l] |= m;
            s->units[u + l] += m;
        }
    memcpy(s->parts + 16 * (input % 16), part, sizeof part);
    if (input % 16 == 15 || input == w->n_visible - 1) add_columns(s, input, input % 16 + 1, magnitudes);
    quantise(row, FRBM_PANEL, w->scale, w->fixed + input * w->ld + first);
}

static void end_sizes(const turned_sizes *s, frbm_magnitudes *magnitudes) {
    for (int u = 0; u < FRBM_PANEL; u++)
        if (s->units[u] > magnitudes->row) magnitudes->row = s->units[u];
    for (int l = 0; l < 16; l++) magnitudes->seen |= s->any[l];
}

static void turned_quantise(const frbm_turned *w, size_t first, frbm_magnitudes *magnitudes) {
    turned_sizes sizes;
    memset(&sizes, 0, sizeof sizes);
    for (size_t input = 0; input < w->n_visible; input++) quantise_turned(w, input, first, &sizes, magnitudes);
    end_sizes(&sizes, magnitudes);
}

/* Gradient by the pulls, [unit][ld], of units [first, first + count), rule and fixed-point copy.  Scratch: FRBM_PANEL
 * floats for each row. */
static void turned_gradient(const frbm_turned *w, size_t first, size_t count, const void *pulls, size_t ld,
                            frbm_magnitudes *magnitudes, float *scratch) {
    float gradient[FRBM_PANEL] __attribute__((aligned(64)));
    turned_sizes sizes;
    memset(&sizes, 0, sizeof sizes);
    const int32_t *from = (const int32_t *)pulls + first * ld;
    if (count < FRBM_PANEL) memset(scratch, 0, w->n_rows * FRBM_PANEL * sizeof(float));
    transpose_rows(from, ld, 0, count, w->n_rows, (int32_t *)scratch, FRBM_PANEL);
    for (size_t input = 0; input < w->n_visible; input++) {
        const uint32_t *at = w->column_at + input * w->column_ld;
        const size_t n = w->column_counts[input];
        /* the rows to come are far apart, out of sight of the processor */
        for (size_t u = 0; input + AHEAD < w->n_visible && u < FRBM_PANEL; u += 16) {
            __builtin_prefetch(w->weights + (input + AHEAD) * w->ld + first + u, 1);
            if (w->fixed) __builtin_prefetch(w->fixed + (input + AHEAD) * w->ld + first + u, 1);
        }
        if (w->fixed) {
            sum_listed(at, n, (const int32_t *)scratch, FRBM_PANEL, (int32_t *)gradient);
            scale_sums(gradient, FRBM_PANEL, 1.0f / FRBM_MEAN_SCALE);
        } else {
            sum_weighted(at, w->column_values + input * w->column_ld, n, scratch, FRBM_PANEL, gradient);
        }
        update(&w->rule, 1, w->weights, w->slots, input * w->ld + first, gradient, FRBM_PANEL);
        if (w->fixed) quantise_turned(w, input, first, &sizes, magnitudes);
    }
    if (w->fixed) end_sizes(&sizes, magnitudes);
    for (size_t u = 0; u < count; u++)
        gradient[u] = w->fixed ? 1.0f / FRBM_MEAN_SCALE * (float)fixed_sum(from + u * ld, w->n_rows)
                               : row_sum((const float *)from + u * ld, w->n_rows);
    update(&w->rule, 0, w->bias, w->bias_slots, first, gradient, count);
}

#undef AHEAD
#undef TURNED_PARTS
#undef TURNED_WIDTH

#endif
