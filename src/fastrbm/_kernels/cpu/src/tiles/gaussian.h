/* Gaussian layers: their states by rows and by lanes, their draws, and gradients with Gaussian visible states. */
#ifndef FASTRBM_GAUSSIAN_H
#define FASTRBM_GAUSSIAN_H

#include <math.h>

#include "dense.h"
#include "gradient.h"
#include "limb_product.h"
#include "lookup.h"
#include "normal.h"
#include "quantise.h"
#include "rules.h"

/* ---- states ------------------------------------------------------------------------------------------------ */

/* Rows picked by `order` in both layouts: rows [at, at + n) of `rows`, lanes of the same numbers of `lanes` */
static void load_gaussian(const float *from, const int64_t *order, size_t at, size_t n, size_t n_units, float *rows,
                      size_t ld, float *lanes, size_t lanes_ld) {
    for (size_t r = at; r < at + n; r++)
        memcpy(rows + r * ld, from + (size_t)order[r] * n_units, n_units * sizeof(float));
    transpose_rows((const int32_t *)rows, ld, at, n, n_units, (int32_t *)lanes, lanes_ld);
}

/* Adds the normal draws of `add_normals` to units of a panel, [unit][lane]; unit0 is a multiple of 4 */
static void add_normal_lanes(float *inputs, size_t unit0, size_t n_units, size_t lane, size_t n_lanes,
                             const frbm_draw *draw) {
    const philox_step step = philox_step_of(draw);
    philox_units units[FRBM_PANEL / 4];
    for (size_t u = 0; u < n_units; u += 4) units[u / 4] = philox_units_of(&step, (uint32_t)((unit0 + u) / 4));
    for (size_t l = 0; l < n_lanes; l += 16) {
        philox_chains chains[64 / REGISTER];
        philox_chains_of_16(chains, &step, draw->first_chain + (uint32_t)(lane + l));
        for (size_t u4 = 0; u4 < n_units; u4 += 4) {
            uint32_t random[4][16];
            philox_words_of_16(random, &step, &units[u4 / 4], chains);
            for (size_t u = u4; u < u4 + 4 && u < n_units; u++) {
                const vec_u w = load_u(random[u - u4]);
                const vec_f sum = load_f(inputs + u * FRBM_SUM_LD + l) + normal_vec(w);
                STORE(inputs + u * FRBM_SUM_LD + l, sum);
            }
        }
    }
}

/* ---- gradients --------------------------------------------------------------------------------------------- */

/* With hidden means: at most FRBM_UPDATE_ROWS hidden units from `first`, and the fixed-point copy of what comes out */
static void gaussian_gradient_rows(const frbm_gaussian_gradient *g, size_t first, size_t count,
                                   frbm_magnitudes *magnitudes, float *scratch) {
    float *sums = scratch + FRBM_TABLE_FLOATS, hidden[FRBM_UPDATE_ROWS];
    const float *data = g->data_means + first * g->data_ld, *model = g->model_means + first * g->model_ld;
    for (size_t at = 0; at < g->n_visible; at += FRBM_LANE_BLOCK) {
        const size_t n = g->n_visible - at < FRBM_LANE_BLOCK ? g->n_visible - at : FRBM_LANE_BLOCK;
        dense_product_f32(data, g->data_ld, count, g->data_rows + at, g->rows_ld, g->n_data, n, 0, sums, FRBM_SUM_LD);
        dense_product_f32(model, g->model_ld, count, g->model_rows + at, g->rows_ld, g->n_model, n, 1, sums, FRBM_SUM_LD);
        for (size_t j = 0; j < count; j++)
            update(&g->rule, 1, g->weights, g->slots, (first + j) * g->n_visible + at, sums + j * FRBM_SUM_LD, n);
    }
    for (size_t j = 0; j < count; j++)
        hidden[j] = row_sum(data + j * g->data_ld, g->n_data) + row_sum(model + j * g->model_ld, g->n_model);
    update(&g->rule, 0, g->bias, g->bias_slots, first, hidden, count);
    quantise_rows(&g->fixed, g->weights, g->n_visible, first, count, magnitudes);
}

INLINE float absolute_sum(const float *x, size_t n) {
    float part[16] = {0};
    size_t k = 0;
    for (; k + 16 <= n; k += 16)
        for (int l = 0; l < 16; l++) part[l] += __builtin_fabsf(x[k + l]);
    for (size_t l = 0; k < n; k++, l++) part[l] += __builtin_fabsf(x[k]);
    return row_sum(part, 16);
}

/* Both phases of a visible unit as coefficients, shares and sign included; returns the value of 1 in them, the smallest
 * with which no sum can overflow: 2^-30 of the mean magnitude, or up to twice that.  NaN where a state is
 * not finite. */
static float quantise_states(const frbm_gaussian_gradient *g, size_t unit, int32_t *coef) {
    const float *data = g->data_lanes + unit * g->data_ld, *model = g->model_lanes + unit * g->model_ld;
    const float n = (float)g->n_data, m = (float)g->n_model;
    const float bound = absolute_sum(data, g->n_data) / n + absolute_sum(model, g->n_model) / m;
    if (!(bound < 1e30f)) {
        memset(coef, 0, (g->data_ld + g->model_ld) * sizeof(int32_t));
        return NAN;
    }
    int exponent;
    frexpf(bound, &exponent);
    exponent = exponent < -60 ? -60 : exponent;
    const float scale = ldexpf(1.0f, 30 - exponent);
    quantise(data, g->n_data, scale / n, coef);
    quantise(model, g->n_model, -scale / m, coef + g->data_ld);
    return ldexpf(1.0f, exponent - 30);
}

static void sampled_bias(const frbm_gaussian_gradient *g) {
    for (size_t first = 0; first < g->n_hidden; first += 256) {
        const size_t count = g->n_hidden - first < 256 ? g->n_hidden - first : 256;
        int32_t data[256] = {0}, model[256] = {0};
        float gradient[256];
        count_planes(g->data_hidden, g->hidden_ld, (g->n_data + 31) / 32, first, count, data);
        count_planes(g->model_hidden, g->hidden_ld, (g->n_model + 31) / 32, first, count, model);
        for (size_t j = 0; j < count; j++)
            gradient[j] = (float)data[j] / (float)g->n_data - (float)model[j] / (float)g->n_model;
        update(&g->rule, 0, g->bias, g->bias_slots, first, gradient, count);
    }
}

/* With sampled hidden states: at most FRBM_GAUSSIAN_COLUMNS visible units from `first`, without the fixed-point copy.
 * Sums of fixed-point states selected by bits are look-ups, or tiles, with lanes = hidden units.  Scratch: FRBM_SCRATCH_FLOATS,
 * then the coefficients. */
static void gaussian_gradient_columns(const frbm_gaussian_gradient *g, size_t first, size_t count, float *scratch) {
    int32_t *tables = (int32_t *)scratch, *sums = tables + FRBM_TABLE_FLOATS, *coef = tables + FRBM_SCRATCH_FLOATS;
    const size_t ld = g->data_ld + g->model_ld;
    float quantum[FRBM_GAUSSIAN_COLUMNS];
    for (size_t i = 0; i < count; i++) quantum[i] = quantise_states(g, first + i, coef + i * ld);
    if (first == 0) sampled_bias(g);
    const frbm_operand data = {g->data_hidden, g->hidden_ld, g->n_data, coef, ld, 1, NULL, 0, NULL};
    const frbm_operand model = {g->model_hidden, g->hidden_ld, g->n_model, coef + g->data_ld, ld, 1, NULL, 0, NULL};
    const frbm_operand *const phases[2] = {&data, &model};
    const int tiled = fills_tiles(g->n_data) && fills_tiles(g->n_model);
    for (size_t lane = 0; lane < g->n_hidden; lane += FRBM_LANE_BLOCK) {
        const size_t n = g->n_hidden - lane < FRBM_LANE_BLOCK ? g->n_hidden - lane : FRBM_LANE_BLOCK;
        if (tiled)
            limb_gradient(phases, 0, count, sums, FRBM_SUM_LD, lane, n,
                          sums + (FRBM_PANEL + FRBM_TILE) * FRBM_SUM_LD);
        for (size_t i = 0; !tiled && i < count; i += FRBM_TILE) {
            const size_t here = count - i < FRBM_TILE ? count - i : FRBM_TILE;
            int32_t *tile = sums + i * FRBM_SUM_LD;
            look_up_product(&data, i, here, 0, tile, FRBM_SUM_LD, lane, n, tables);
            look_up_product(&model, i, here, 1, tile, FRBM_SUM_LD, lane, n, tables);
        }
        for (size_t i = 0; i < count; i++) scale_sums(sums + i * FRBM_SUM_LD, n, quantum[i]);
        for (size_t j = 0; j < n; j += 16) {
            float rows[16 * FRBM_GAUSSIAN_COLUMNS];
            const size_t here = n - j < 16 ? n - j : 16;
            transpose_rows(sums + j, FRBM_SUM_LD, 0, count, here, (int32_t *)rows, FRBM_GAUSSIAN_COLUMNS);
            for (size_t h = 0; h < here; h++)
                update(&g->rule, 1, g->weights, g->slots, (lane + j + h) * g->n_visible + first,
                       rows + h * FRBM_GAUSSIAN_COLUMNS, count);
        }
    }
}

/* Gradients of visible biases: mean of the data less mean of the chains */
static void gaussian_bias(const frbm_gaussian_gradient *g, size_t first, size_t count, float *out) {
    for (size_t i = first; i < first + count; i++)
        *out++ = row_sum(g->data_lanes + i * g->data_ld, g->n_data) / (float)g->n_data -
                 row_sum(g->model_lanes + i * g->model_ld, g->n_model) / (float)g->n_model;
}

#endif
