/* Uniform draws: Philox4x32-10 over 16 lanes, and what becomes of its words. */
#ifndef FASTRBM_PHILOX_H
#define FASTRBM_PHILOX_H

#include "kernels.h"
#include "simd.h"

/* The middle of one of 2^23 equal cells of (0, 1): exact in float32, never 0 or 1. */
INLINE float uniform_lane(uint32_t word) { return ((float)(int32_t)(word >> 9) + 0.5f) * 1.1920928955078125e-7f; }

/* Philox4x32-10 (Salmon, Moraes, Dror, Shaw: SC'11) for 16 lanes: lane l is chain first_chain + l * chain_stride and
 * the four units of block unit_block + l * block_stride.  Strides are the constants 0 or 1.
 * Counter: (unit / 4, chain, step low, stream << 24 | step high); out[q][lane] is the word of unit 4 * block + q.
 *
 * A 32 x 32 -> 64 bit product is one instruction on 64-bit elements: a word lives in the low half of one, and what
 * gathers in the high half is never read.  Two registers of lanes at a time hide the latency of the products. */
INLINE void philox_strides(uint32_t out[4][16], uint32_t unit_block, const uint32_t block_stride, uint32_t first_chain,
                           const uint32_t chain_stride, const frbm_draw *draw) {
    enum { LANES = REGISTER / 8 };
    typedef uint32_t narrow __attribute__((vector_size(REGISTER / 2)));
    const reg_ul zero = {0}, m0 = zero + 0xD2511F53u, m1 = zero + 0xCD9E8D57u;
    const uint64_t low = draw->step & 0xFFFFFFFFu;
    const uint64_t high = draw->stream << 24 | ((uint32_t)(draw->step >> 32) & 0xFFFFFFu);
    reg_ul count;
    for (int l = 0; l < LANES; l++) count[l] = (uint64_t)l;
#pragma GCC unroll 4
    for (int first = 0; first < 16; first += 2 * LANES) {
        reg_ul key0 = zero + draw->key[0], key1 = zero + draw->key[1], a[2], b[2], c[2], d[2];
        for (int v = 0; v < 2; v++) {
            const reg_ul lane = count + (uint64_t)(first + v * LANES);
            a[v] = zero + unit_block + (block_stride ? lane : zero);
            b[v] = zero + first_chain + (chain_stride ? lane : zero);
            c[v] = zero + low;
            d[v] = zero + high;
        }
#pragma GCC unroll 10
        for (int round = 0; round < 10; round++) {
            for (int v = 0; v < 2; v++) {
                const reg_ul p0 = multiply_low(a[v], m0), p1 = multiply_low(c[v], m1);
                a[v] = xor_three(p1 >> 32, b[v], key0);
                c[v] = xor_three(p0 >> 32, d[v], key1);
                b[v] = p1;
                d[v] = p0;
            }
            key0 += 0x9E3779B9u;
            key1 += 0xBB67AE85u;
        }
        for (int v = 0; v < 2; v++) {
            const narrow w0 = __builtin_convertvector(a[v], narrow), w1 = __builtin_convertvector(b[v], narrow);
            const narrow w2 = __builtin_convertvector(c[v], narrow), w3 = __builtin_convertvector(d[v], narrow);
            STORE(out[0] + first + v * LANES, w0);
            STORE(out[1] + first + v * LANES, w1);
            STORE(out[2] + first + v * LANES, w2);
            STORE(out[3] + first + v * LANES, w3);
        }
    }
}

/* 16 consecutive chains and the four units of unit_block */
INLINE void philox_lanes(uint32_t out[4][16], uint32_t unit_block, uint32_t first_chain, const frbm_draw *draw) {
    philox_strides(out, unit_block, 0, first_chain, 1, draw);
}

#endif
