/* Uniform draws: Philox4x32-10 over 16 lanes, and what becomes of its words. */
#ifndef FASTRBM_PHILOX_H
#define FASTRBM_PHILOX_H

#include "kernels.h"
#include "simd.h"

/* The middle of one of 2^23 equal cells of (0, 1): exact in float32, never 0 or 1. */
INLINE float uniform_lane(uint32_t word) { return ((float)(int32_t)(word >> 9) + 0.5f) * 1.1920928955078125e-7f; }

/* Philox4x32-10 (Salmon, Moraes, Dror, Shaw: SC'11).
 * Counter: (unit / 4, chain, step low, stream << 24 | step high).  A round makes of the words a, b, c, d and its keys
 *   a' = high(M1 c) ^ b ^ key 0,  b' = low(M1 c),  c' = high(M0 a) ^ d ^ key 1,  d' = low(M0 a),
 * so the unit is not in all words before the third round, nor is the chain.  Where lanes are chains, two rounds and
 * half of the third are done once for a step, once for four units of all chains, or once for a chain and all units;
 * seven and a half are left.
 *
 * A 32 x 32 -> 64 bit product is one instruction on 64-bit elements: a word lives in the low half of one, and what
 * gathers in the high half is never read. */
#define PHILOX_M0 0xD2511F53u
#define PHILOX_M1 0xCD9E8D57u
#define PHILOX_LOW 0xFFFFFFFFu

/* What all draws of a layer share, in every element of a register */
typedef struct {
    reg_ul key[10][2];
    uint64_t keys[3][2], a1, b1, c1; /* a1 without the chain, c1 without the unit */
} philox_step;

/* What four units put into the words after the second and third rounds of all chains */
typedef struct {
    reg_ul c2, a3, c3, d3; /* d3 with the key that comes to it */
} philox_units;

/* What as many chains as a register has 32-bit lanes put into the words after the second round of all units.  Of every
 * four chains two are in the first and two in the second register; the two hide each other's latency. */
typedef struct {
    reg_ul c2[2], d2[2];
} philox_chains;

INLINE philox_step philox_step_of(const frbm_draw *draw) {
    philox_step s;
    uint32_t key0 = draw->key[0], key1 = draw->key[1];
    for (int round = 0; round < 10; round++, key0 += 0x9E3779B9u, key1 += 0xBB67AE85u) {
        const reg_ul zero = {0};
        s.key[round][0] = zero + key0;
        s.key[round][1] = zero + key1;
        if (round < 3) {
            s.keys[round][0] = key0;
            s.keys[round][1] = key1;
        }
    }
    const uint64_t p1 = PHILOX_M1 * (draw->step & PHILOX_LOW);
    s.a1 = p1 >> 32 ^ s.keys[0][0];
    s.b1 = p1 & PHILOX_LOW;
    s.c1 = (draw->stream << 24 | ((uint32_t)(draw->step >> 32) & 0xFFFFFFu)) ^ s.keys[0][1];
    return s;
}

/* Units 4 * block to 4 * block + 3 */
INLINE philox_units philox_units_of(const philox_step *s, uint32_t block) {
    const reg_ul zero = {0};
    const uint64_t p0 = (uint64_t)PHILOX_M0 * block, p1 = PHILOX_M1 * (p0 >> 32 ^ s->c1);
    const uint64_t q0 = PHILOX_M0 * (p1 >> 32 ^ s->b1 ^ s->keys[1][0]);
    return (philox_units){zero + ((p0 & PHILOX_LOW) ^ s->keys[1][1]), zero + ((p1 & PHILOX_LOW) ^ s->keys[2][0]),
                          zero + (q0 >> 32 ^ s->keys[2][1]), (zero + (q0 & PHILOX_LOW)) ^ s->key[3][1]};
}

INLINE philox_chains philox_chains_of(const philox_step *s, uint32_t first) {
    const reg_ul zero = {0}, m0 = zero + PHILOX_M0;
    philox_chains chains;
    reg_ul count;
    for (uint32_t l = 0; l < REGISTER / 8; l++) count[l] = 2 * l - l % 2; /* 0, 1, 4, 5 ... */
    for (int v = 0; v < 2; v++) {
        chains.d2[v] = multiply_low((count + (zero + first + (uint64_t)(2 * v))) ^ s->a1, m0);
        chains.c2[v] = chains.d2[v] >> 32;
    }
    return chains;
}

/* out[q]: words of unit q of the four, one lane a chain */
INLINE void philox_words(reg_u out[4], const philox_step *s, const philox_units *units, const philox_chains *chains) {
    const reg_ul zero = {0}, m0 = zero + PHILOX_M0, m1 = zero + PHILOX_M1;
    reg_ul a[2], b[2], c[2], d[2];
    for (int v = 0; v < 2; v++) {
        b[v] = multiply_low(chains->c2[v] ^ units->c2, m1);
        a[v] = b[v] >> 32 ^ units->a3;
        c[v] = chains->d2[v] ^ units->c3;
    }
    for (int v = 0; v < 2; v++) {
        const reg_ul p0 = multiply_low(a[v], m0), p1 = multiply_low(c[v], m1);
        a[v] = xor_three(p1 >> 32, b[v], s->key[3][0]);
        c[v] = p0 >> 32 ^ units->d3;
        b[v] = p1;
        d[v] = p0;
    }
#pragma GCC unroll 6
    for (int round = 4; round < 10; round++)
        for (int v = 0; v < 2; v++) {
            const reg_ul p0 = multiply_low(a[v], m0), p1 = multiply_low(c[v], m1);
            a[v] = xor_three(p1 >> 32, b[v], s->key[round][0]);
            c[v] = xor_three(p0 >> 32, d[v], s->key[round][1]);
            b[v] = p1;
            d[v] = p0;
        }
    out[0] = lower_halves(a[0], a[1]);
    out[1] = lower_halves(b[0], b[1]);
    out[2] = lower_halves(c[0], c[1]);
    out[3] = lower_halves(d[0], d[1]);
}

/* The same of 16 chains, to memory */
INLINE void philox_chains_of_16(philox_chains chains[64 / REGISTER], const philox_step *s, uint32_t first) {
    for (uint32_t v = 0; v < 64 / REGISTER; v++) chains[v] = philox_chains_of(s, first + v * (REGISTER / 4));
}

INLINE void philox_words_of_16(uint32_t out[4][16], const philox_step *s, const philox_units *units,
                               const philox_chains chains[64 / REGISTER]) {
    for (int v = 0; v < 64 / REGISTER; v++) {
        reg_u words[4];
        philox_words(words, s, units, &chains[v]);
        for (int q = 0; q < 4; q++) STORE(out[q] + v * (REGISTER / 4), words[q]);
    }
}

/* 16 consecutive chains and the four units of unit_block; out[q][lane] is the word of unit 4 * unit_block + q */
INLINE void philox_lanes(uint32_t out[4][16], uint32_t unit_block, uint32_t first_chain, const philox_step *s) {
    const philox_units units = philox_units_of(s, unit_block);
    philox_chains chains[64 / REGISTER];
    philox_chains_of_16(chains, s, first_chain);
    philox_words_of_16(out, s, &units, chains);
}

/* Words of 64 neighbouring units of one chain, in their order; unit_block is that of the first. */
INLINE void philox_row(uint32_t out[64], uint32_t unit_block, uint32_t chain, const philox_step *s) {
    typedef uint32_t narrow __attribute__((vector_size(REGISTER / 2)));
    enum { LANES = REGISTER / 8 };
    const reg_ul zero = {0}, m0 = zero + PHILOX_M0, m1 = zero + PHILOX_M1;
    const uint64_t fixed = PHILOX_M0 * ((uint64_t)chain ^ s->a1);
    uint32_t random[4][16];
    reg_ul count;
    for (int l = 0; l < LANES; l++) count[l] = (uint64_t)l;
#pragma GCC unroll 4
    for (int first = 0; first < 16; first += 2 * LANES) {
        reg_ul a[2], b[2], c[2], d[2];
        for (int v = 0; v < 2; v++) {
            const reg_ul p0 = multiply_low(count + (uint64_t)(first + v * LANES) + unit_block, m0);
            b[v] = multiply_low(p0 >> 32 ^ s->c1, m1);
            a[v] = b[v] >> 32 ^ (s->b1 ^ s->keys[1][0]);
            c[v] = p0 ^ (fixed >> 32 ^ s->keys[1][1]);
            d[v] = zero + fixed;
        }
#pragma GCC unroll 8
        for (int round = 2; round < 10; round++)
            for (int v = 0; v < 2; v++) {
                const reg_ul p0 = multiply_low(a[v], m0), p1 = multiply_low(c[v], m1);
                a[v] = xor_three(p1 >> 32, b[v], s->key[round][0]);
                c[v] = xor_three(p0 >> 32, d[v], s->key[round][1]);
                b[v] = p1;
                d[v] = p0;
            }
        for (int v = 0; v < 2; v++) {
            const narrow w0 = __builtin_convertvector(a[v], narrow), w1 = __builtin_convertvector(b[v], narrow);
            const narrow w2 = __builtin_convertvector(c[v], narrow), w3 = __builtin_convertvector(d[v], narrow);
            STORE(random[0] + first + v * LANES, w0);
            STORE(random[1] + first + v * LANES, w1);
            STORE(random[2] + first + v * LANES, w2);
            STORE(random[3] + first + v * LANES, w3);
        }
    }
    for (int l = 0; l < 16; l++)
        for (int q = 0; q < 4; q++) out[4 * l + q] = random[q][l];
}

#endif
