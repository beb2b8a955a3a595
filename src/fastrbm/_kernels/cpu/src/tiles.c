/* Tile kernels.  Compiled once per instruction set with -DFRBM_TABLE=<name> and one of FRBM_AVX512, FRBM_AVX2 or
 * neither (baseline); see setup.py.  Contract and layouts: kernels.h. */
#include <math.h>

#include "anneal.h"
#include "bits.h"
#include "fixed.h"
#include "gradient.h"
#include "lookup.h"
#include "narrow.h"
#include "normal.h"
#include "partition_math.h"
#include "pseudo.h"
#include "real.h"
#include "real_fast.h"
#include "softmax.h"
#include "sparse.h"

/* ---- one layer given the other ----------------------------------------------------------------------------- */

/* Where the means of 16 lanes go: [unit][lane], at most one of the two */
typedef struct {
    float *means;
    int32_t *fixed;
    size_t ld;
    float scale;
} mean_output;

/* Sigmoid, draw and pack for 16 lanes and n_units <= 32: scaled means to `out`, and with `sample` the bits, unit u of
 * lane l as bit u of word[l] and bit l of mask[u]. */
INLINE void activate_lanes(const float *inputs, size_t n_units, mean_output out, const frbm_draw *draw,
                           uint32_t unit_block, uint32_t chain, const int sample, uint32_t word[16],
                           uint16_t mask[32]) {
    vec_u words = {0};
    for (size_t u4 = 0; u4 < n_units; u4 += 4) {
        uint32_t random[4][16];
        if (sample) philox_lanes(random, unit_block + (uint32_t)(u4 / 4), chain, draw);
        for (size_t u = u4; u < u4 + 4 && u < n_units; u++) {
            const vec_f scale = sigmoid_scale(load_f(inputs + u * FRBM_SUM_LD));
            if (out.means) {
                const vec_f mean = 1.0f / scale * out.scale;
                memcpy(out.means + u * out.ld, &mean, sizeof mean);
            } else if (out.fixed) {
                const vec_i mean = nearest_vec(1.0f / scale * out.scale);
                memcpy(out.fixed + u * out.ld, &mean, sizeof mean);
            }
            if (!sample) continue;
            vec_u r;
            memcpy(&r, random[u - u4], sizeof r);
            /* uniform_lane(r) * scale < 1, both sides times 2^23 */
            const vec_f cell = __builtin_convertvector((vec_i)(r >> 9), vec_f) + 0.5f;
#ifdef FRBM_AVX512
            mask[u] = _mm512_cmp_ps_mask((__m512)(cell * scale), _mm512_set1_ps(8388608.0f), _CMP_LT_OQ);
            words = (vec_u)_mm512_mask_or_epi32((__m512i)words, mask[u], (__m512i)words, _mm512_set1_epi32(1 << u));
#else
            const vec_i on = cell * scale < 8388608.0f;
            words |= (vec_u)on & (1u << u);
            mask[u] = (uint16_t)sign_mask((const int32_t *)&on);
#endif
        }
    }
    memcpy(word, &words, sizeof words);
}

/* The same for n_units <= 32 of all lanes; `inputs` holds the units' inputs. */
static void activate(const frbm_layer *layer, const float *inputs, size_t unit0, size_t n_units, size_t lane,
                     size_t n_lanes) {
    const int sample = layer->words || layer->planes;
    for (size_t at = 0; at < n_lanes; at += 32, lane += 32) {
        uint32_t word[32] = {0};
        uint16_t mask[2][32] = {{0}};
        const size_t valid = n_lanes - at < 32 ? n_lanes - at : 32, corner = unit0 * layer->means_ld + lane;
        mean_output out = {layer->means ? layer->means + corner : NULL,
                           layer->fixed_means ? layer->fixed_means + corner : NULL, layer->means_ld,
                           layer->mean_scale};
        for (size_t half = 0; 16 * half < valid; half++) {
            const float *x = inputs + at + 16 * half;
            const uint32_t chain = layer->draw.first_chain + (uint32_t)(lane + 16 * half);
            if (sample)
                activate_lanes(x, n_units, out, &layer->draw, (uint32_t)(unit0 / 4), chain, 1, word + 16 * half,
                               mask[half]);
            else
                activate_lanes(x, n_units, out, NULL, 0, 0, 0, word, mask[half]);
            if (out.means) out.means += 16;
            if (out.fixed) out.fixed += 16;
        }
        if (valid < 32)
            for (size_t u = 0; u < n_units; u++) {
                const size_t row = corner + u * layer->means_ld + valid, bytes = (32 - valid) * 4;
                if (layer->means) memset(layer->means + row, 0, bytes);
                if (layer->fixed_means) memset(layer->fixed_means + row, 0, bytes);
            }
        if (layer->words) memcpy(layer->words + unit0 / 32 * layer->words_ld + lane, word, sizeof word);
        if (layer->planes) {
            const uint32_t keep = valid < 32 ? (1u << valid) - 1 : 0xFFFFFFFFu;
            uint32_t *out_planes = layer->planes + lane / 32 * layer->planes_ld + unit0;
            for (size_t u = 0; u < n_units; u++)
                out_planes[u] = ((uint32_t)mask[0][u] | (uint32_t)mask[1][u] << 16) & keep;
        }
    }
}

#include "lean.h" /* draws like `activate` */

static void sigmoid(float *x, size_t n) {
    for (size_t i = 0; i < n; i++) x[i] = 1.0f / sigmoid_scale_lane(x[i]);
}

/* The panel to sample-major rows */
static void store_rows(const float *inputs, size_t unit0, size_t n_units, size_t lane, size_t n_lanes, float *rows,
                       size_t ld) {
    transpose_rows((const int32_t *)inputs, FRBM_SUM_LD, 0, n_units, n_lanes, (int32_t *)(rows + lane * ld + unit0), ld);
}

/* sums[unit][lane] of a panel; lanes from n_lanes to `padded` hold anything */
static void panel_product(const frbm_layer *layer, size_t unit0, size_t n_units, int32_t *sums, size_t lane,
                          size_t n_lanes, int32_t *tables) {
    if (layer->sparse) {
        sparse_product(&layer->op, layer->op.rows + unit0, layer->op.rows_ld, n_units, sums, FRBM_SUM_LD, lane,
                       n_lanes);
        return;
    }
#ifdef FRBM_AVX512
    if (layer->narrow) {
        uint16_t *bits = (uint16_t *)(sums + (FRBM_PANEL + FRBM_TILE) * FRBM_SUM_LD);
        narrow_product(&layer->op, unit0, n_units, sums, FRBM_SUM_LD, lane, n_lanes, (float *)tables, bits);
        return;
    }
#endif
    for (size_t u = 0; u < n_units; u += FRBM_TILE) {
        const size_t here = n_units - u < FRBM_TILE ? n_units - u : FRBM_TILE;
        look_up_product(&layer->op, unit0 + u, here, 0, sums + u * FRBM_SUM_LD, FRBM_SUM_LD, lane, n_lanes, tables);
    }
}

/* Inputs in place of the product, 0 in padding lanes */
static void add_bias(const frbm_layer *layer, size_t unit0, size_t n_units, void *sums, size_t lane, size_t n_lanes,
                     size_t padded) {
    for (size_t u = 0; u < n_units; u++) {
        const float bias = layer->bias[unit0 + u];
        float *row = (float *)sums + u * FRBM_SUM_LD;
        if (layer->op.bits) {
            for (size_t l = 0; l < padded; l += 16) {
                vec_i product;
                memcpy(&product, row + l, sizeof product);
                const vec_f x = bias + layer->unit * __builtin_convertvector(product, vec_f);
                memcpy(row + l, &x, sizeof x);
            }
        } else {
            const float *preset = layer->preset + (unit0 + u) * layer->preset_ld + lane;
            for (size_t l = 0; l < n_lanes; l++) row[l] = bias + preset[l];
        }
        for (size_t l = n_lanes; l < padded; l++) row[l] = 0.0f;
    }
}

static void panel(const frbm_layer *layer, size_t unit0, size_t n_units, float *scratch) {
    float *inputs = scratch + FRBM_TABLE_FLOATS;
    for (size_t lane = 0; lane < layer->n_lanes; lane += FRBM_LANE_BLOCK) {
        const size_t n_lanes = layer->n_lanes - lane < FRBM_LANE_BLOCK ? layer->n_lanes - lane : FRBM_LANE_BLOCK;
        const size_t padded = frbm_round_up(n_lanes, 16);
        if (layer->op.bits)
            panel_product(layer, unit0, n_units, (int32_t *)inputs, lane, n_lanes, (int32_t *)scratch);
        add_bias(layer, unit0, n_units, inputs, lane, n_lanes, padded);
        if (layer->inputs)
            for (size_t u = 0; u < n_units; u++)
                memcpy(layer->inputs + (unit0 + u) * layer->inputs_ld + lane, inputs + u * FRBM_SUM_LD,
                       n_lanes * sizeof(float));
        if (layer->means || layer->fixed_means || layer->words || layer->planes)
            for (size_t u = 0; u < n_units; u += 32)
                activate(layer, inputs + u * FRBM_SUM_LD, unit0 + u, n_units - u < 32 ? n_units - u : 32, lane,
                         n_lanes);
        if (layer->reals) {
            add_normal_lanes(inputs, unit0, n_units, lane, padded, &layer->draw);
            for (size_t u = 0; u < n_units; u++)
                memcpy(layer->reals + (unit0 + u) * layer->reals_ld + lane, inputs + u * FRBM_SUM_LD,
                       n_lanes * sizeof(float));
            if (layer->reals_rows)
                store_rows(inputs, unit0, n_units, lane, n_lanes, layer->reals_rows, layer->reals_rows_ld);
        }
        if (layer->inputs_rows) store_rows(inputs, unit0, n_units, lane, n_lanes, layer->inputs_rows, layer->n_out);
        if (layer->means_rows) {
            for (size_t u = 0; u < n_units; u++) sigmoid(inputs + u * FRBM_SUM_LD, n_lanes);
            store_rows(inputs, unit0, n_units, lane, n_lanes, layer->means_rows, layer->n_out);
        }
    }
}

static void anneal_panel(const frbm_anneal_layer *a, size_t unit0, size_t n_units, float *scratch) {
    const frbm_layer *layer = &a->layer;
    float *inputs = scratch + FRBM_TABLE_FLOATS;
    for (size_t lane = 0; lane < layer->n_lanes; lane += FRBM_LANE_BLOCK) {
        const size_t n_lanes = layer->n_lanes - lane < FRBM_LANE_BLOCK ? layer->n_lanes - lane : FRBM_LANE_BLOCK;
        panel_product(layer, unit0, n_units, (int32_t *)inputs, lane, n_lanes, (int32_t *)scratch);
        add_bias(layer, unit0, n_units, inputs, lane, n_lanes, frbm_round_up(n_lanes, 16));
        for (size_t u = 0; u < n_units; u += 32) {
            const size_t here = n_units - u < 32 ? n_units - u : 32;
            anneal_inputs(inputs + u * FRBM_SUM_LD, here, a->base + unit0 + u, a->beta, a->before, n_lanes,
                          a->log_weights + lane);
            activate(layer, inputs + u * FRBM_SUM_LD, unit0 + u, here, lane, n_lanes);
        }
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
                                             : uniform_lane(word) * sigmoid_scale_lane(((const float *)inputs)[at]) < 1.0f;
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

/* ---- partition sums ------------------------------------------------------------------------------------------ */

#define FRBM_IS_DOUBLE 0
#include "partition.h"
#undef FRBM_IS_DOUBLE
#define FRBM_IS_DOUBLE 1
#include "partition.h"

#define STRING(x) #x
#define NAME_OF(x) STRING(x)

const frbm_table FRBM_TABLE = {
    .name = NAME_OF(FRBM_TABLE),
#if defined(FRBM_AVX512)
    .look_cost = 0.0097f,
    .narrow_cost = 0.0045f,
    .build_cost = 0.6f,
    .row_cost = 0.067f,
#elif defined(FRBM_AVX2)
    .look_cost = 0.060f,
    .build_cost = 1.0f,
    .row_cost = 0.14f,
#else
    .look_cost = 0.14f,
    .build_cost = 1.0f,
    .row_cost = 0.24f,
#endif
    .pack_u8 = pack_u8,
    .pack_f32 = pack_f32,
    .pack_f64 = pack_f64,
    .gather = gather,
    .turn_words = turn_words,
    .draw_rows = draw_rows,
    .panel = panel,
    .apply_rule = apply_rule,
    .gradient_rows = gradient_rows,
    .fix_rows = fix_rows,
    .fix = fix,
    .add_softplus = add_softplus,
    .sigmoid = sigmoid,
    .pseudo_block = pseudo_block,
    .count_planes = count_planes,
    .count_flips = count_flips,
    .draw_inputs = draw_inputs,
    .pack_low = pack_low,
    .lean_panel = lean_panel,
    .delta_product = delta_product,
    .anneal_panel = anneal_panel,
    .add_field = add_field,
    .partition_f32 = partition_block_f32,
    .partition_f64 = partition_block_f64,
    .philox = philox,
    .uniform_rows = uniform_rows,
    .add_normals = add_normals,
    .normal_quantiles = normal_quantiles,
    .dense_product = dense_product,
    .load_real = load_real,
    .pair_rows = pair_rows,
    .pair_lanes = pair_lanes,
    .pair_product = pair_product,
    .real_gradient_rows = real_gradient_rows,
    .real_gradient_columns = real_gradient_columns,
    .real_bias = real_bias,
    .onehot_block = onehot_block,
    .onehot_rows = onehot_rows,
};
