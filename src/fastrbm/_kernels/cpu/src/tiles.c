/* Tile kernels.  Compiled once per instruction set with -DFRBM_TABLE=<name> and one of FRBM_AVX512, FRBM_AVX2 or
 * neither (baseline); see setup.py.  Contract and layouts: kernels.h. */
#include <math.h>

#include "lookup.h"

typedef float vec_f __attribute__((vector_size(64)));
typedef int32_t vec_i __attribute__((vector_size(64)));
typedef uint32_t vec_u __attribute__((vector_size(64)));

INLINE vec_f load_f(const float *p) {
    vec_f v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* bit l of the result = sign bit of x[l] */
INLINE uint32_t sign_mask(const int32_t *x) {
#if defined(FRBM_AVX512)
    return _mm512_movepi32_mask(_mm512_loadu_si512(x));
#elif defined(FRBM_AVX2)
    const uint32_t low = (uint32_t)_mm256_movemask_ps(_mm256_loadu_ps((const float *)x));
    return low | (uint32_t)_mm256_movemask_ps(_mm256_loadu_ps((const float *)(x + 8))) << 8;
#else
    uint32_t mask = 0;
    for (int l = 0; l < 16; l++) mask |= (uint32_t)(x[l] < 0) << l;
    return mask;
#endif
}

/* ---- dense rows to bits -------------------------------------------------------------------------------------- */

#define FRBM_PACK(NAME, TYPE, EXTRA, ON, BAD)                                        \
    static int NAME(const TYPE *row, size_t n, EXTRA uint64_t *bits) {               \
        int grey = 0, bad = 0;                                                       \
        size_t i = 0;                                                                \
        for (; i + 64 <= n; i += 64) {                                               \
            uint64_t word = 0;                                                       \
            for (int part = 0; part < 64; part += 16) {                              \
                int32_t on[16], grey16[16], bad16[16];                               \
                for (int l = 0; l < 16; l++) {                                       \
                    const TYPE x = row[i + part + l];                                \
                    on[l] = -(int32_t)(x == (ON));                                   \
                    grey16[l] = (x != (ON)) & (x != 0);                              \
                    bad16[l] = BAD;                                                  \
                }                                                                    \
                for (int l = 0; l < 16; l++) grey |= grey16[l], bad |= bad16[l];     \
                word |= (uint64_t)sign_mask(on) << part;                             \
            }                                                                        \
            bits[i / 64] = word;                                                     \
        }                                                                            \
        if (i < n) {                                                                 \
            uint64_t word = 0;                                                       \
            for (size_t l = 0; i + l < n; l++) {                                     \
                const TYPE x = row[i + l];                                           \
                word |= (uint64_t)(x == (ON)) << l;                                  \
                grey |= (x != (ON)) & (x != 0);                                      \
                bad |= BAD;                                                          \
            }                                                                        \
            bits[i / 64] = word;                                                     \
        }                                                                            \
        return (grey ? FRBM_GREY : 0) | (bad ? FRBM_BAD : 0);                        \
    }

FRBM_PACK(pack_f32, float, , 1.0f, !((x >= 0.0f) & (x <= 1.0f)))
FRBM_PACK(pack_f64, double, , 1.0, !((x >= 0.0) & (x <= 1.0)))
#define FRBM_ON_VALUE uint8_t on_value,
FRBM_PACK(pack_u8, uint8_t, FRBM_ON_VALUE, on_value, 0)

/* ---- rows of bits to words and planes ---------------------------------------------------------------------- */

/* 16 transposes of 32x32 bits side by side: a[r][l] bit b -> a[b][l] bit r */
static void transpose_32(vec_u a[32]) {
    uint32_t mask = 0x0000FFFFu;
    for (int j = 16; j; j >>= 1, mask ^= mask << j) {
        for (int k = 0; k < 32; k = (k + j + 1) & ~j) {
            const vec_u t = ((a[k] >> j) ^ a[k + j]) & mask;
            a[k] ^= t << j;
            a[k + j] ^= t;
        }
    }
}

static void gather(const uint64_t *rows, size_t row_words, const int64_t *order, size_t n_lanes, size_t n_units,
                   uint32_t *words, size_t words_ld, uint32_t *planes, size_t planes_ld) {
    const size_t n_words = 2 * row_words;
    (void)n_units;
    for (size_t block = 0; block < n_lanes; block += 32) {
        const size_t here = n_lanes - block < 32 ? n_lanes - block : 32;
        const uint32_t *source[32];
        for (size_t r = 0; r < here; r++)
            source[r] = (const uint32_t *)(rows + (size_t)(order ? order[block + r] : (int64_t)(block + r)) * row_words);
        if (words)
            for (size_t w = 0; w < n_words; w++)
                for (size_t r = 0; r < here; r++) words[w * words_ld + block + r] = source[r][w];
        if (!planes) continue;
        for (size_t first = 0; first < n_words; first += 16) {
            const size_t count = n_words - first < 16 ? n_words - first : 16;
            vec_u a[32];
            memset(a, 0, sizeof a);
            for (size_t r = 0; r < here; r++) memcpy(&a[r], source[r] + first, count * sizeof(uint32_t));
            transpose_32(a);
            uint32_t *out = planes + block / 32 * planes_ld + 32 * first;
            for (size_t w = 0; w < count; w++)
                for (int b = 0; b < 32; b++) out[32 * w + b] = a[b][w];
        }
    }
}

static void draw_rows(const float *rows, size_t row_ld, const int64_t *order, size_t n_lanes, size_t n_units,
                      size_t block, const frbm_draw *draw, uint32_t *words, size_t words_ld, uint32_t *planes,
                      size_t planes_ld) {
    const size_t lane0 = 32 * block, here = n_lanes - lane0 < 32 ? n_lanes - lane0 : 32;
    const float *source[32];
    for (size_t r = 0; r < here; r++)
        source[r] = rows + (size_t)(order ? order[lane0 + r] : (int64_t)(lane0 + r)) * row_ld;
    for (size_t w = 0; w < planes_ld / 32; w++) {
        uint32_t word[32] = {0};
        for (uint32_t b = 0; b < 32; b += 4) {
            for (size_t half = 0; half < here; half += 16) {
                uint32_t random[4][16];
                philox_lanes(random, (uint32_t)(8 * w + b / 4), draw->first_chain + (uint32_t)(lane0 + half), draw);
                const size_t lanes = here - half < 16 ? here - half : 16;
                for (uint32_t q = 0; q < 4 && 32 * w + b + q < n_units; q++)
                    for (size_t l = 0; l < lanes; l++)
                        word[half + l] |= (uint32_t)(uniform_lane(random[q][l]) < source[half + l][32 * w + b + q])
                                          << (b + q);
            }
        }
        for (uint32_t b = 0; b < 32; b++) {
            uint32_t plane = 0;
            for (int r = 0; r < 32; r++) plane |= (word[r] >> b & 1) << r;
            planes[block * planes_ld + 32 * w + b] = plane;
        }
        if (words) memcpy(words + w * words_ld + lane0, word, here * sizeof(uint32_t));
    }
}

static void count_planes(const uint32_t *planes, size_t ld, size_t n_words, size_t first, size_t count,
                         int32_t *counts) {
    for (size_t w = 0; w < n_words; w++) {
        const uint32_t *plane = planes + w * ld + first;
        for (size_t i = 0; i < count; i++) {
            uint32_t x = plane[i];
            x = x - (x >> 1 & 0x55555555u);
            x = (x & 0x33333333u) + (x >> 2 & 0x33333333u);
            x = (x + (x >> 4)) & 0x0F0F0F0Fu;
            counts[i] += (int32_t)(x * 0x01010101u >> 24);
        }
    }
}

/* ---- one layer given the other ----------------------------------------------------------------------------- */

/* Sigmoid, draw and pack for 16 lanes and the panel's units; word[l] collects the sampled bits of lane l. */
INLINE void activate_lanes(const frbm_layer *layer, const float *sums, size_t unit0, size_t n_units, size_t lane,
                           float *means, const int sample, uint32_t word[16], uint16_t mask[FRBM_PANEL]) {
    for (size_t u4 = 0; u4 < n_units; u4 += 4) {
        uint32_t random[4][16];
        if (sample)
            philox_lanes(random, (uint32_t)((unit0 + u4) / 4), layer->draw.first_chain + (uint32_t)lane, &layer->draw);
        for (size_t u = u4; u < u4 + 4 && u < n_units; u++) {
            const float *x = sums + u * FRBM_SUM_LD;
            float scale[16]; /* 1 + e^-x */
            for (int l = 0; l < 16; l++) scale[l] = 1.0f + exp_lane(-x[l]);
            if (means)
                for (int l = 0; l < 16; l++) means[u * layer->means_ld + l] = layer->mean_scale / scale[l];
            if (!sample) continue;
            int32_t on[16];
            const uint32_t bit = 1u << u;
            for (int l = 0; l < 16; l++) {
                on[l] = -(int32_t)(uniform_lane(random[u - u4][l]) * scale[l] < 1.0f);
                word[l] |= (uint32_t)on[l] & bit;
            }
            mask[u] = (uint16_t)sign_mask(on);
        }
    }
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
            if (sample)
                activate_lanes(layer, x, unit0, n_units, lane + 16 * half, out, 1, word + 16 * half, mask[half]);
            else if (out)
                activate_lanes(layer, x, unit0, n_units, lane + 16 * half, out, 0, word, mask[half]);
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

/* log of f in [1, 2) by the series of softplus_lane */
INLINE float log_mantissa(float f) {
    float s = (f - 1.0f) / (f + 1.0f), q = s * s;
    float p = 1.0f / 15.0f;
    p = p * q + 1.0f / 13.0f;
    p = p * q + 1.0f / 11.0f;
    p = p * q + 1.0f / 9.0f;
    p = p * q + 1.0f / 7.0f;
    p = p * q + 1.0f / 5.0f;
    p = p * q + 1.0f / 3.0f;
    p = p * q + 1.0f;
    return 2.0f * s * p;
}

/* exp_lane without its clamps, for |x| <= 40 */
INLINE vec_f exp_vec(vec_f x) {
    const vec_f shifted = x * 1.44269504088896341f + 12582912.0f;
    const vec_f n = shifted - 12582912.0f;
    const vec_f r = x - n * 0.693359375f - n * -2.12194440e-4f;
    vec_f p = r * (1.0f / 5040.0f) + 1.0f / 720.0f;
    p = p * r + 1.0f / 120.0f;
    p = p * r + 1.0f / 24.0f;
    p = p * r + 1.0f / 6.0f;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    return (vec_f)((vec_u)p + ((vec_u)shifted << 23));
}

/* prod_j (q_j + p_j r_j) for 64 visible units: mantissas in f, binary exponents in e.  `choose` holds, for bits,
 * masks of the units that are on, for grey rows the exponent factors 1 - 2 v. */
INLINE void ratio_products(const frbm_pseudo *a, const int grey, size_t unit, const float *p, const float *q,
                           const vec_i choose[4], vec_f f[4], vec_i e[4]) {
    for (int v = 0; v < 4; v++) {
        f[v] = (vec_f){0} + 1.0f;
        e[v] = (vec_i){0};
    }
    for (size_t start = 0; start < a->n_hidden; start += a->strip) {
        const size_t stop = start + a->strip < a->n_hidden ? start + a->strip : a->n_hidden;
        for (size_t j = start; j < stop; j++) {
            const float *raise = a->raise + j * a->ld + unit, *lower = a->lower + j * a->ld + unit;
            for (int v = 0; v < 4; v++) {
                const vec_f r = grey ? exp_vec((vec_f)choose[v] * load_f(raise + 16 * v))
                                     : (vec_f)((choose[v] & (vec_i)load_f(lower + 16 * v)) |
                                               (~choose[v] & (vec_i)load_f(raise + 16 * v)));
                f[v] = f[v] * (q[j] + p[j] * r);
            }
        }
        for (int v = 0; v < 4; v++) {
            const vec_i bits = (vec_i)f[v];
            e[v] += ((bits & 0x7F800000) >> 23) - 127;
            f[v] = (vec_f)((bits & 0x007FFFFF) | 0x3F800000);
        }
    }
}

/* One sample, 64 visible units: sum over the first `here` of log p(v_i | rest) */
INLINE double pseudo_units(const frbm_pseudo *a, const int grey, size_t sample, size_t unit, size_t here,
                           const float *p, const float *q) {
    vec_i choose[4] = {{0}}, e[4];
    vec_f f[4];
    float flip[64];
    const uint64_t word = grey ? 0 : a->rows[sample * a->row_words + unit / 64];
    for (int i = 0; i < 64; i++) flip[i] = grey ? 1.0f - 2.0f * a->grey[sample * a->ld + unit + i]
                                                : 1.0f - 2.0f * (float)(word >> i & 1);
    for (int v = 0; v < 4; v++) {
        const vec_f factor = load_f(flip + 16 * v);
        choose[v] = grey ? (vec_i)factor : (factor < 0.0f);
    }
    ratio_products(a, grey, unit, p, q, choose, f, e);
    float term[64], mantissa[64];
    int32_t exponent[64];
    memcpy(mantissa, f, sizeof mantissa);
    memcpy(exponent, e, sizeof exponent);
    for (int i = 0; i < 64; i++) {
        const float ratio = (float)exponent[i] * 0.693147180559945f + log_mantissa(mantissa[i]);
        term[i] = softplus_lane(flip[i] * a->visible_bias[unit + i] + ratio);
    }
    double sum = 0.0;
    for (size_t i = 0; i < here; i++) sum += (double)term[i];
    return sum;
}

static void pseudo_block(const frbm_pseudo *a, size_t first, size_t count, float *scratch) {
    float *p = scratch, *q = scratch + count * a->n_hidden;
    for (size_t s = 0; s < count; s++)
        for (size_t j = 0; j < a->n_hidden; j++) {
            const float x = a->inputs[j * a->unit_stride + (first + s) * a->sample_stride];
            p[s * a->n_hidden + j] = 1.0f / (1.0f + exp_lane(-x));
            q[s * a->n_hidden + j] = 1.0f / (1.0f + exp_lane(x));
        }
    /* all samples of the block read one slab of ratios while it is in cache */
    for (size_t unit = 0; unit < a->n_visible; unit += 64) {
        const size_t here = a->n_visible - unit < 64 ? a->n_visible - unit : 64;
        for (size_t s = 0; s < count; s++) {
            const float *ps = p + s * a->n_hidden, *qs = q + s * a->n_hidden;
            a->score[first + s] -= a->rows ? pseudo_units(a, 0, first + s, unit, here, ps, qs)
                                           : pseudo_units(a, 1, first + s, unit, here, ps, qs);
        }
    }
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
