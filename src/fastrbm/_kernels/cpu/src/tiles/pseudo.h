/* Pseudo-likelihood by products of ratios; see frbm_pseudo in kernels.h. */
#ifndef FASTRBM_PSEUDO_H
#define FASTRBM_PSEUDO_H

#include "kernels.h"
#include "lane_math.h"
#include "simd.h"

/* log of f in [1, 2) */
INLINE float log_mantissa(float f) { return 2.0f * atanh_lane((f - 1.0f) / (f + 1.0f)); }

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

#endif
