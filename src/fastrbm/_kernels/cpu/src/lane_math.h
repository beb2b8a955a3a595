/* Elementwise float32 functions and Philox over 16 lanes, in plain C that the compiler vectorises.
 *
 * Built with -ffp-contract=off: every target performs the same multiplications and additions, so results are
 * bit-identical between them.  Included once per target by tiles.c.
 */
#ifndef FASTRBM_LANE_MATH_H
#define FASTRBM_LANE_MATH_H

#include <string.h>

#include "kernels.h"

#if defined(FRBM_AVX512) || defined(FRBM_AVX2)
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))

/* 16 elements whatever the registers are: the compiler takes as many as it needs */
typedef float vec_f __attribute__((vector_size(64)));
typedef int32_t vec_i __attribute__((vector_size(64)));
typedef uint32_t vec_u __attribute__((vector_size(64)));

INLINE float float_of(uint32_t bits) {
    float f;
    memcpy(&f, &bits, 4);
    return f;
}

INLINE uint32_t bits_of(float f) {
    uint32_t bits;
    memcpy(&bits, &f, 4);
    return bits;
}

/* exp(x), x clamped to [-87, 87] (both ends are normal floats); relative error below 2e-7.
 * Adding 1.5 * 2^23 rounds x / ln 2 to the nearest integer and leaves it in the low mantissa bits.
 * Polynomial: Taylor to degree 6 on |r| <= ln(2)/2, remainder 1.2e-7 * r relative. */
INLINE float exp_lane(float x) {
    const float magic = 12582912.0f;
    x = x < -87.0f ? -87.0f : x;
    x = x > 87.0f ? 87.0f : x;
    float shifted = x * 1.44269504088896341f + magic;
    float n = shifted - magic;
    float r = x - n * 0.693359375f; /* 9 bits: the product is exact */
    r = r - n * -2.12194440e-4f;
    float p = 1.0f / 5040.0f;
    p = p * r + 1.0f / 720.0f;
    p = p * r + 1.0f / 120.0f;
    p = p * r + 1.0f / 24.0f;
    p = p * r + 1.0f / 6.0f;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    return float_of(bits_of(p) + (bits_of(shifted) << 23));
}

INLINE vec_f load_f(const float *p) {
    vec_f v;
    memcpy(&v, p, sizeof v);
    return v;
}

INLINE vec_f select_f(vec_i mask, vec_f yes, vec_f no) { return (vec_f)((mask & (vec_i)yes) | (~mask & (vec_i)no)); }

/* exp_lane of 16 lanes without its clamps, for |x| <= 87 */
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

/* 1 + e^-x, the reciprocal of a sigmoid.  e^-x = 2^t, t = -x / ln 2 within +-125, split into an integer and a fraction
 * in [-1/2, 1/2]; polynomial of least largest error, 9e-8 relative (2e-7 with rounding).  The rounding of t costs
 * another |x| * 6e-8, no more than half a unit in the last place of x itself does. */
#define FRBM_EXP2(p, f)                      \
    p = f * 0.001326472731307149f;           \
    p = (p + 0.009671512991189957f) * f;     \
    p = (p + 0.05550733581185341f) * f;      \
    p = (p + 0.24022242426872253f) * f;      \
    p = (p + 0.6931470036506653f) * f + 1.0f

INLINE float sigmoid_scale_lane(float x) {
    float t = x * -1.44269504088896341f, p;
    t = t < -125.0f ? -125.0f : t;
    t = t > 125.0f ? 125.0f : t;
    const float shifted = t + 12582912.0f, f = t - (shifted - 12582912.0f);
    FRBM_EXP2(p, f);
    return float_of(bits_of(p) + (bits_of(shifted) << 23)) + 1.0f;
}

INLINE vec_f sigmoid_scale(vec_f x) {
    vec_f t = x * -1.44269504088896341f, p;
#ifdef FRBM_AVX512
    /* scalef underflows by itself, and 1 + 0 is what 1 + 2^-125 is; min returns its second operand for nan */
    const __m512 limited = _mm512_min_ps(_mm512_set1_ps(125.0f), (__m512)t);
    const vec_f f = (vec_f)_mm512_reduce_ps(limited, 0);
    FRBM_EXP2(p, f);
    return (vec_f)_mm512_scalef_ps((__m512)p, _mm512_roundscale_ps(limited, 0)) + 1.0f;
#else
    const vec_f zero = {0};
    t = select_f(t < -125.0f, zero - 125.0f, t);
    t = select_f(t > 125.0f, zero + 125.0f, t);
    const vec_f shifted = t + 12582912.0f, f = t - (shifted - 12582912.0f);
    FRBM_EXP2(p, f);
    return (vec_f)((vec_u)p + ((vec_u)shifted << 23)) + 1.0f;
#endif
}

/* atanh(s), |s| <= 1/3: the odd series to s^15, remainder below 1e-8 relative */
INLINE float atanh_lane(float s) {
    const float q = s * s;
    float p = 1.0f / 15.0f;
    p = p * q + 1.0f / 13.0f;
    p = p * q + 1.0f / 11.0f;
    p = p * q + 1.0f / 9.0f;
    p = p * q + 1.0f / 7.0f;
    p = p * q + 1.0f / 5.0f;
    p = p * q + 1.0f / 3.0f;
    p = p * q + 1.0f;
    return s * p;
}

/* log(1 + e^x) = max(x, 0) + 2 atanh(t / (2 + t)), t = e^-|x|: accurate relative to its value where t is tiny, too */
INLINE float softplus_lane(float x) {
    const float t = exp_lane(-__builtin_fabsf(x));
    return (x > 0.0f ? x : 0.0f) + 2.0f * atanh_lane(t / (2.0f + t));
}

/* The middle of one of 2^23 equal cells of (0, 1): exact in float32, never 0 or 1. */
INLINE float uniform_lane(uint32_t word) { return ((float)(int32_t)(word >> 9) + 0.5f) * 1.1920928955078125e-7f; }

/* Philox4x32-10 (Salmon, Moraes, Dror, Shaw: SC'11) for 16 lanes: lane l is chain first_chain + l * chain_stride and
 * the four units of block unit_block + l * block_stride.  Strides are the constants 0 or 1.
 * Counter: (unit / 4, chain, step low, stream << 24 | step high); out[q][lane] is the word of unit 4 * block + q. */
INLINE void philox_strides(uint32_t out[4][16], uint32_t unit_block, const uint32_t block_stride, uint32_t first_chain,
                           const uint32_t chain_stride, const frbm_draw *draw) {
#if defined(FRBM_AVX512)
    /* a 32 x 32 -> 64 bit product is one instruction on 64-bit elements: a word lives in the low half of one, and what
     * gathers in the high half is never read */
    const __m512i m0 = _mm512_set1_epi64(0xD2511F53), m1 = _mm512_set1_epi64(0xCD9E8D57);
    const __m512i lanes = _mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0);
    const uint32_t high = draw->stream << 24 | ((uint32_t)(draw->step >> 32) & 0xFFFFFFu);
    __m512i a[2], b[2], c[2], d[2];
    for (int v = 0; v < 2; v++) {
        const __m512i lane = _mm512_add_epi64(lanes, _mm512_set1_epi64(8 * v));
        a[v] = _mm512_set1_epi64(unit_block);
        b[v] = _mm512_set1_epi64(first_chain);
        /* operators in place of intrinsics: these fold to constants */
        a[v] += lane * (long long)block_stride;
        b[v] += lane * (long long)chain_stride;
        c[v] = _mm512_set1_epi64((int64_t)(draw->step & 0xFFFFFFFFu));
        d[v] = _mm512_set1_epi64(high);
    }
    uint32_t k0 = draw->key[0], k1 = draw->key[1];
#pragma GCC unroll 10
    for (int round = 0; round < 10; round++) {
        const __m512i key0 = _mm512_set1_epi64(k0), key1 = _mm512_set1_epi64(k1);
        for (int v = 0; v < 2; v++) {
            const __m512i p0 = _mm512_mul_epu32(a[v], m0), p1 = _mm512_mul_epu32(c[v], m1);
            a[v] = _mm512_ternarylogic_epi64(_mm512_srli_epi64(p1, 32), b[v], key0, 0x96);
            c[v] = _mm512_ternarylogic_epi64(_mm512_srli_epi64(p0, 32), d[v], key1, 0x96);
            b[v] = p1;
            d[v] = p0;
        }
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    for (int v = 0; v < 2; v++) {
        _mm256_storeu_si256((__m256i *)(out[0] + 8 * v), _mm512_cvtepi64_epi32(a[v]));
        _mm256_storeu_si256((__m256i *)(out[1] + 8 * v), _mm512_cvtepi64_epi32(b[v]));
        _mm256_storeu_si256((__m256i *)(out[2] + 8 * v), _mm512_cvtepi64_epi32(c[v]));
        _mm256_storeu_si256((__m256i *)(out[3] + 8 * v), _mm512_cvtepi64_epi32(d[v]));
    }
#else
    uint32_t c0[16], c1[16], c2[16], c3[16];
    for (int l = 0; l < 16; l++) {
        /* conditions, which go before the products would: with products the compiler gives up on vectors here */
        c0[l] = block_stride ? unit_block + (uint32_t)l : unit_block;
        c1[l] = chain_stride ? first_chain + (uint32_t)l : first_chain;
        c2[l] = (uint32_t)draw->step;
        c3[l] = draw->stream << 24 | ((uint32_t)(draw->step >> 32) & 0xFFFFFFu);
    }
    uint32_t k0 = draw->key[0], k1 = draw->key[1];
    for (int round = 0; round < 10; round++) {
        for (int l = 0; l < 16; l++) {
            uint32_t hi0 = (uint32_t)(((uint64_t)c0[l] * 0xD2511F53u) >> 32), lo0 = c0[l] * 0xD2511F53u;
            uint32_t hi1 = (uint32_t)(((uint64_t)c2[l] * 0xCD9E8D57u) >> 32), lo1 = c2[l] * 0xCD9E8D57u;
            c0[l] = hi1 ^ c1[l] ^ k0;
            c1[l] = lo1;
            c2[l] = hi0 ^ c3[l] ^ k1;
            c3[l] = lo0;
        }
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    memcpy(out[0], c0, sizeof c0);
    memcpy(out[1], c1, sizeof c1);
    memcpy(out[2], c2, sizeof c2);
    memcpy(out[3], c3, sizeof c3);
#endif
}

/* 16 consecutive chains and the four units of unit_block */
INLINE void philox_lanes(uint32_t out[4][16], uint32_t unit_block, uint32_t first_chain, const frbm_draw *draw) {
    philox_strides(out, unit_block, 0, first_chain, 1, draw);
}

#endif
