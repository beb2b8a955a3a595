/* Uniform draws: Philox4x32-10 over 16 lanes, and what becomes of its words. */
#ifndef FASTRBM_PHILOX_H
#define FASTRBM_PHILOX_H

#include "kernels.h"
#include "simd.h"

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
