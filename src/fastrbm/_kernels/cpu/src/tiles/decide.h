/* Whether a unit is on: its uniform is below the sigmoid of its input x, u (1 + e^-x) < 1.
 *
 * The rule, the same on all targets and devices: u is the middle of one of 2^23 cells, cell = 2^23 u, and the unit is on
 * iff cell * sigmoid_scale(x) < 2^23 in float32, each operation rounded.
 *
 * Two steps come to the same bits: an exponential with fewer operations, which may be fused, leaves the product within
 * FRBM_NEAR steps of float32; where that does not say on which side of 2^23 it is, one unit in some 10^5, the rule
 * is asked. */
#ifndef FASTRBM_DECIDE_H
#define FASTRBM_DECIDE_H

#include <math.h>

#include "lane_math.h"
#include "simd.h"

/* Cells of the words' uniforms, and what their number is called: with AVX-512 both are 2^9 times as large, as
 * conversions of unsigned integers spare it two operations.  Powers of two change no rounding. */
#if defined(FRBM_AVX512)
#define FRBM_CELLS 4294967296.0f
INLINE reg_f cells_of(reg_u words) {
    const __m512i high = _mm512_set1_epi32(-512), half = _mm512_set1_epi32(256);
    return (reg_f)_mm512_cvtepu32_ps(_mm512_ternarylogic_epi32((__m512i)words, high, half, 0xEA)); /* (w & high) | half */
}
#else
#define FRBM_CELLS 8388608.0f
INLINE reg_f cells_of(reg_u words) { return __builtin_convertvector((reg_i)(words >> 9), reg_f) + 0.5f; }
#endif

/* The rule; scale = sigmoid_scale(x) */
INLINE reg_mask_f is_on(reg_u words, reg_f scale) { return below_f(cells_of(words) * scale, FRBM_CELLS); }

/* e^-x within 3e-6 of itself: polynomials of degree 4 for 2^f, best possible 2.6e-6.  Not for nan with a payload. */
INLINE reg_f near_exponential(reg_f x) {
    const reg_f t = x * -1.44269504088896341f, zero = {0};
#if defined(FRBM_AVX512)
    /* 2^t = 2^floor(t) 2^f, f in [0, 1): scalef takes the floor by itself, and neither end needs a limit */
    const reg_f f = (reg_f)_mm512_reduce_ps((__m512)t, _MM_FROUND_TO_NEG_INF);
    reg_f p = fused_f(zero + 0.013534167781472206f, f, zero + 0.052011460065841675f);
    p = fused_f(p, f, zero + 0.2414427548646927f);
    p = fused_f(p, f, zero + 0.6930038332939148f);
    p = fused_f(p, f, zero + 1.0000026226043701f);
    return (reg_f)_mm512_scalef_ps((__m512)p, (__m512)t);
#else
    const split_exponent s = split(t);
    reg_f p = fused_f(zero + 0.009570102207362652f, s.fraction, zero + 0.05591785907745361f);
    p = fused_f(p, s.fraction, zero + 0.240247443318367f);
    p = fused_f(p, s.fraction, zero + 0.6931217908859253f);
    p = fused_f(p, s.fraction, zero + 0.9999992847442627f);
    return scale_by(p, s.whole);
#endif
}

/* Whether two steps are less work than one: not without fused operations */
#if defined(FRBM_AVX512) || defined(FRBM_AVX2) || defined(FRBM_NEON)
#define FRBM_TWO_STEPS 1
#else
#define FRBM_TWO_STEPS 0
#endif

/* Steps of float32 below 2^23 are 6e-8 of it, above 1.2e-7: 7.6e-6 and more, for errors of 4e-6 altogether */
#define FRBM_NEAR 128u

/* The first step: the rule of products that are not near, which `nearest` keeps the smallest of distances for */
INLINE reg_mask_f is_on_unless_near(reg_u words, reg_f x, reg_u *nearest) {
    const reg_f cells = cells_of(words), product = fused_f(cells, near_exponential(x), cells);
    *nearest = min_u(*nearest, (reg_u)product - (bits_of(FRBM_CELLS) - FRBM_NEAR));
    return below_f(product, FRBM_CELLS);
}

INLINE int any_near(reg_u nearest) { return any_below_u(nearest, 2 * FRBM_NEAR); }

/* The rule of float64 inputs: an exponential of that precision, and a uniform that uses all 32 bits of the word. */
INLINE int is_on_double(uint32_t word, double x) {
    return ((double)word + 0.5) * 2.3283064365386963e-10 * (1.0 + exp(-x)) < 1.0;
}

/* float32 comes within 1e-5 of the product of that rule: 3e-6 of the exponential, twice 1.5e-6 of its argument, as
 * |x| < 23 where the product is near 2^32, and roundings. */
#define FRBM_NEAR_DOUBLE 512u

/* Its first step, for inputs rounded to float32; lanes of `near` are below 2 FRBM_NEAR_DOUBLE where it says nothing. */
INLINE reg_mask_f is_on_double_unless_near(reg_u words, reg_f x, reg_u *near) {
    const float limit = 4294967296.0f;
    const reg_f number = __builtin_convertvector(words, reg_f) + 0.5f;
    const reg_f product = number + number * near_exponential(x);
    *near = (reg_u)product - (bits_of(limit) - FRBM_NEAR_DOUBLE);
    return below_f(product, limit);
}

/* What the rule says of words and inputs, bit 0, and the first step, bit 1, or bit 2 where it says nothing; n is a
 * multiple of 16.  For tests. */
static void decide(const uint32_t *words, const void *inputs, int is_double, size_t n, uint8_t *out) {
    enum { LANES = REGISTER / 4 };
    for (size_t i = 0; i < n; i += LANES) {
        const reg_u r = load_reg_u(words + i);
        uint32_t rule = 0, first, near[LANES];
        reg_u nearest = ~(reg_u){0};
        if (is_double) {
            const double *exact = (const double *)inputs + i;
            float x[LANES];
            for (size_t l = 0; l < LANES; l++) {
                x[l] = (float)exact[l];
                rule |= (uint32_t)is_on_double(words[i + l], exact[l]) << l;
            }
            first = bits_of_mask_f(is_on_double_unless_near(r, load_reg_f(x), &nearest));
        } else {
            const reg_f x = load_reg_f((const float *)inputs + i);
            rule = bits_of_mask_f(is_on(r, sigmoid_scale_reg(x)));
            first = bits_of_mask_f(is_on_unless_near(r, x, &nearest));
        }
        STORE(near, nearest);
        for (size_t l = 0; l < LANES; l++) {
            const int open = near[l] < 2 * (is_double ? FRBM_NEAR_DOUBLE : FRBM_NEAR);
            out[i + l] = (uint8_t)((rule >> l & 1) | (open ? 4 : (first >> l & 1) << 1));
        }
    }
}

#endif
