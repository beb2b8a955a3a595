/* Fixed-point weights: W = round(W * 2^k) as int32, one k for the whole matrix.
 *
 * k is the largest number with which no row or column of |W| can overflow a sum, so every product of bits with W is
 * exact, whatever the order: dense, sparse, by flips and on all instruction sets the same integer.  Rounding moves a
 * weight by at most 2^-(k+1), 3e-8 for sums of |W| up to 128: less than float32 rounds in a sum of that range.
 *
 * With `int16` (precision="fast") W is rounded to multiples of 2^(16-k) with a k of its own, so that 16 bits hold
 * every sum, and stays an int32 with 16 zero bits: all products of it work as before, int16.h does them faster.
 *
 * `bound` measures the sums in integers too (order-free): floor(|w| * 2^s), s from frbm_magnitude_shift.
 */
#ifndef FASTRBM_QUANTISE_H
#define FASTRBM_QUANTISE_H

#include "kernels.h"
#include "simd.h"
#include "transpose.h"

/* Nearest integer, halves away from zero: the same IEEE operations on every target.  From 2^23 on x + 0.5 may round
 * to the next integer, one step of 2^-k. */
INLINE int32_t nearest_lane(float x) {
    return (int32_t)(x + float_of((bits_of(x) & 0x80000000u) | 0x3F000000u));
}

INLINE vec_i nearest_vec(vec_f x) {
    return __builtin_convertvector(x + (vec_f)(((vec_u)x & 0x80000000u) | 0x3F000000u), vec_i);
}

INLINE reg_i nearest_reg(reg_f x) {
    return __builtin_convertvector(x + (reg_f)(((reg_u)x & 0x80000000u) | 0x3F000000u), reg_i);
}

static void quantise(const float *x, size_t n, float scale, int32_t *out) {
    for (size_t i = 0; i < n; i++) out[i] = nearest_lane(x[i] * scale);
}

/* To multiples of 2^16 */
static void quantise_int16(const float *x, size_t n, float scale, int32_t *out) {
    const float coarse = scale * (1.0f / 65536.0f);
    for (size_t i = 0; i < n; i++) out[i] = nearest_lane(x[i] * coarse) * 65536;
}

/* |w| in steps of 2^-s; values that do not fit become 2^31 - 1 or above, which `seen` shows */
INLINE uint32_t magnitude_lane(float w, float scale) {
    const float a = __builtin_fabsf(w) * scale;
    return a < 1073741824.0f ? (uint32_t)(int32_t)a : 0x7FFFFFFFu; /* NaN too */
}

/* columns[i] += |w[i]| in steps of 2^-s; returns the sum of the row, or-s all magnitudes into *seen */
static uint64_t add_magnitudes(const float *w, size_t n, float scale, uint32_t *columns, uint32_t *seen) {
    uint32_t part[16] = {0}, any[16] = {0};
    uint64_t total = 0;
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (int l = 0; l < 16; l++) {
            const uint32_t m = magnitude_lane(w[i + l], scale);
            part[l] += m;
            any[l] |= m;
            columns[i + l] += m;
        }
    for (size_t l = 0; i < n; i++, l++) {
        const uint32_t m = magnitude_lane(w[i], scale);
        part[l] += m;
        any[l] |= m;
        columns[i] += m;
    }
    for (int l = 0; l < 16; l++) {
        total += part[l];
        *seen |= any[l];
    }
    return total;
}

#endif
