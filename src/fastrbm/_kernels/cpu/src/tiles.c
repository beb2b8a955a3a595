/* Tile kernels.  Compiled once per instruction set with -DFRBM_TABLE=<name> and one of FRBM_AVX512, FRBM_AVX2 or
 * neither (baseline); see setup.py.  Contract and layouts: kernels.h. */
#include <math.h>

#include "bits.h"
#include "lookup.h"
#include "pseudo.h"

/* ---- one layer given the other ----------------------------------------------------------------------------- */

/* Sigmoid, draw and pack for 16 lanes and the panel's units: scaled means to `means` (or NULL), and with `sample` the
 * bits, unit u of lane l as bit u of word[l] and bit l of mask[u]. */
INLINE void activate_lanes(const float *sums, size_t n_units, float *means, size_t means_ld, float mean_scale,
                           const frbm_draw *draw, uint32_t unit_block, uint32_t chain, const int sample,
                           uint32_t word[16], uint16_t mask[FRBM_PANEL]) {
    vec_u words = {0};
    for (size_t u4 = 0; u4 < n_units; u4 += 4) {
        uint32_t random[4][16];
        if (sample) philox_lanes(random, unit_block + (uint32_t)(u4 / 4), chain, draw);
        for (size_t u = u4; u < u4 + 4 && u < n_units; u++) {
            const vec_f scale = exp_vec(clamp_87(-load_f(sums + u * FRBM_SUM_LD))) + 1.0f;
            if (means) {
                const vec_f mean = mean_scale / scale;
                memcpy(means + u * means_ld, &mean, sizeof mean);
            }
            if (!sample) continue;
            vec_u r;
            memcpy(&r, random[u - u4], sizeof r);
            /* uniform_lane(r) * scale < 1 */
            const vec_f uniform = (__builtin_convertvector((vec_i)(r >> 9), vec_f) + 0.5f) * 1.1920928955078125e-7f;
            const vec_i on = uniform * scale < 1.0f;
            words |= (vec_u)on & (1u << u);
            mask[u] = (uint16_t)sign_mask((const int32_t *)&on);
        }
    }
    memcpy(word, &words, sizeof words);
}

static void activate(const frbm_layer *layer, const float *sums, size_t unit0, size_t n_units, size_t lane,
                     size_t n_lanes) {
    const int sample = layer->words || layer->planes;
    for (size_t at = 0; at < n_lanes; at += 32, lane += 32) {
        uint32_t word[32] = {0};
        uint16_t mask[2][FRBM_PANEL] = {{0}};
        float *means = layer->means ? layer->means + unit0 * layer->means_ld + lane : NULL;
        for (size_t half = 0; half < 2; half++) {
            float *out = means ? means + 16 * half : NULL;
            const float *x = sums + at + 16 * half;
            const uint32_t chain = layer->draw.first_chain + (uint32_t)(lane + 16 * half);
            if (sample)
                activate_lanes(x, n_units, out, layer->means_ld, layer->mean_scale, &layer->draw,
                               (uint32_t)(unit0 / 4), chain, 1, word + 16 * half, mask[half]);
            else if (out)
                activate_lanes(x, n_units, out, layer->means_ld, layer->mean_scale, NULL, 0, 0, 0, word, mask[half]);
        }
        const size_t valid = n_lanes - at < 32 ? n_lanes - at : 32;
        if (means && valid < 32)
            for (size_t u = 0; u < n_units; u++)
                memset(means + u * layer->means_ld + valid, 0, (32 - valid) * sizeof(float));
        if (layer->words) memcpy(layer->words + unit0 / 32 * layer->words_ld + lane, word, sizeof word);
        if (layer->planes) {
            const uint32_t keep = valid < 32 ? (1u << valid) - 1 : 0xFFFFFFFFu;
            uint32_t *out = layer->planes + lane / 32 * layer->planes_ld + unit0;
            for (size_t u = 0; u < n_units; u++) out[u] = ((uint32_t)mask[0][u] | (uint32_t)mask[1][u] << 16) & keep;
        }
    }
}

static void sigmoid(float *x, size_t n) {
    for (size_t i = 0; i < n; i++) x[i] = 1.0f / (1.0f + exp_lane(-x[i]));
}

/* Sigmoids of the panel to sample-major rows, 16 lanes at a time through a small transposed buffer. */
static void mean_rows(const frbm_layer *layer, float *sums, size_t unit0, size_t n_units, size_t lane,
                      size_t n_lanes) {
    for (size_t u = 0; u < n_units; u++) sigmoid(sums + u * FRBM_SUM_LD, n_lanes);
    for (size_t l = 0; l < n_lanes; l++) {
        float *out = layer->means_rows + (lane + l) * layer->means_rows_ld + unit0;
        for (size_t u = 0; u < n_units; u++) out[u] = sums[u * FRBM_SUM_LD + l];
    }
}

static void panel(const frbm_layer *layer, size_t index, float *scratch) {
    float *tables = scratch, *sums = scratch + FRBM_TABLE_FLOATS;
    const size_t unit0 = FRBM_PANEL * index;
    const size_t n_units = layer->n_out - unit0 < FRBM_PANEL ? layer->n_out - unit0 : FRBM_PANEL;
    for (size_t lane = 0; lane < layer->n_lanes; lane += FRBM_LANE_BLOCK) {
        const size_t n_lanes = layer->n_lanes - lane < FRBM_LANE_BLOCK ? layer->n_lanes - lane : FRBM_LANE_BLOCK;
        const size_t padded = frbm_round_up(n_lanes, 32);
        for (size_t u = 0; u < n_units; u++) {
            const float bias = layer->bias[unit0 + u];
            float *row = sums + u * FRBM_SUM_LD;
            if (layer->op.bits) {
                for (size_t l = 0; l < padded; l++) row[l] = bias;
            } else {
                const float *preset = layer->preset + (unit0 + u) * layer->preset_ld + lane;
                for (size_t l = 0; l < n_lanes; l++) row[l] = bias + preset[l];
                for (size_t l = n_lanes; l < padded; l++) row[l] = 0.0f;
            }
        }
        if (layer->op.bits)
            for (size_t u = 0; u < n_units; u += FRBM_TILE)
                look_up_product(&layer->op, unit0 + u, n_units - u < FRBM_TILE ? n_units - u : FRBM_TILE,
                                sums + u * FRBM_SUM_LD, FRBM_SUM_LD, lane, n_lanes, tables);
        if (layer->inputs)
            for (size_t u = 0; u < n_units; u++)
                memcpy(layer->inputs + (unit0 + u) * layer->inputs_ld + lane, sums + u * FRBM_SUM_LD,
                       n_lanes * sizeof(float));
        if (layer->means || layer->words || layer->planes) activate(layer, sums, unit0, n_units, lane, n_lanes);
        if (layer->means_rows) mean_rows(layer, sums, unit0, n_units, lane, n_lanes);
    }
}

/* ---- gradient and update ----------------------------------------------------------------------------------- */

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

INLINE void update(float *value, float *velocity, const float *gradient, size_t n, float rate, float momentum) {
    if (velocity) {
        for (size_t i = 0; i < n; i++) {
            velocity[i] = momentum * velocity[i] + rate * gradient[i];
            value[i] += velocity[i];
        }
    } else {
        for (size_t i = 0; i < n; i++) value[i] += rate * gradient[i];
    }
}

static void gradient_tile(const frbm_gradient *g, size_t first, size_t count, float *scratch) {
    float *tables = scratch, *sums = scratch + FRBM_TABLE_FLOATS;
    for (size_t lane = 0; lane < g->n_visible; lane += FRBM_LANE_BLOCK) {
        const size_t n_lanes = g->n_visible - lane < FRBM_LANE_BLOCK ? g->n_visible - lane : FRBM_LANE_BLOCK;
        for (size_t j = 0; j < FRBM_TILE; j++)
            memset(sums + j * FRBM_SUM_LD, 0, frbm_round_up(n_lanes, 16) * sizeof(float));
        if (g->dense_positive)
            for (size_t j = 0; j < count; j++)
                memcpy(sums + j * FRBM_SUM_LD, g->dense_positive + j * g->dense_ld + lane,
                       n_lanes * sizeof(float));
        else
            look_up_product(&g->positive, first, count, sums, FRBM_SUM_LD, lane, n_lanes, tables);
        look_up_product(&g->negative, first, count, sums, FRBM_SUM_LD, lane, n_lanes, tables);
        for (size_t j = 0; j < count; j++) {
            const size_t at = (first + j) * g->n_visible + lane;
            update(g->weights + at, g->velocity ? g->velocity + at : NULL, sums + j * FRBM_SUM_LD, n_lanes,
                   g->rate, g->momentum);
        }
    }
}

static void gradient_rows(const frbm_gradient *g, size_t first, size_t count, float *scratch) {
    frbm_gradient tile = *g;
    for (size_t j = first; j < first + count; j += FRBM_TILE) {
        const size_t here = first + count - j < FRBM_TILE ? first + count - j : FRBM_TILE;
        gradient_tile(&tile, j, here, scratch);
        if (tile.dense_positive) tile.dense_positive += FRBM_TILE * g->dense_ld;
    }
    for (size_t j = first; j < first + count; j++) {
        const float sum = row_sum(g->positive.coef + j * g->positive.out_stride, g->positive.n_inputs) +
                          row_sum(g->negative.coef + j * g->negative.out_stride, g->negative.n_inputs);
        update(g->bias + j, g->bias_velocity ? g->bias_velocity + j : NULL, &sum, 1, g->rate, g->momentum);
    }
}

/* ---- likelihood pieces --------------------------------------------------------------------------------------- */

static void add_softplus(const float *inputs, size_t ld, size_t n_units, size_t n_lanes, double *energy) {
    for (size_t u = 0; u < n_units; u++)
        for (size_t l = 0; l < n_lanes; l++) energy[l] += (double)softplus_lane(inputs[u * ld + l]);
}

/* The float64 path: its own exp, and a uniform that uses all 32 bits of the word. */
INLINE int on_double(uint32_t word, double x) {
    return ((double)word + 0.5) * 2.3283064365386963e-10 * (1.0 + exp(-x)) < 1.0;
}

static void draw_inputs(const void *inputs, int is_double, size_t ld, size_t n_rows, size_t n_units,
                        const frbm_draw *draw, uint64_t *rows, size_t row_words) {
    for (size_t r = 0; r < n_rows; r++) memset(rows + r * row_words, 0, row_words * sizeof(uint64_t));
    for (size_t row0 = 0; row0 < n_rows; row0 += 16) {
        const size_t here = n_rows - row0 < 16 ? n_rows - row0 : 16;
        for (size_t u4 = 0; u4 < n_units; u4 += 4) {
            uint32_t random[4][16];
            philox_lanes(random, (uint32_t)(u4 / 4), draw->first_chain + (uint32_t)row0, draw);
            for (size_t u = u4; u < u4 + 4 && u < n_units; u++)
                for (size_t r = 0; r < here; r++) {
                    const uint32_t word = random[u - u4][r];
                    const size_t at = (row0 + r) * ld + u;
                    const int on = is_double ? on_double(word, ((const double *)inputs)[at])
                                             : uniform_lane(word) * (1.0f + exp_lane(-((const float *)inputs)[at])) < 1.0f;
                    rows[(row0 + r) * row_words + u / 64] |= (uint64_t)on << (u % 64);
                }
        }
    }
}

static void philox(uint32_t *out, uint32_t unit_block, uint32_t first_chain, const frbm_draw *draw) {
    uint32_t random[4][16];
    philox_lanes(random, unit_block, first_chain, draw);
    memcpy(out, random, sizeof random);
}

#define STRING(x) #x
#define NAME_OF(x) STRING(x)

const frbm_table FRBM_TABLE = {
    .name = NAME_OF(FRBM_TABLE),
    .pack_u8 = pack_u8,
    .pack_f32 = pack_f32,
    .pack_f64 = pack_f64,
    .gather = gather,
    .draw_rows = draw_rows,
    .panel = panel,
    .gradient_rows = gradient_rows,
    .add_softplus = add_softplus,
    .sigmoid = sigmoid,
    .pseudo_block = pseudo_block,
    .count_planes = count_planes,
    .draw_inputs = draw_inputs,
    .philox = philox,
};
