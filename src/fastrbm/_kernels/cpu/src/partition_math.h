/* What the two precisions of partition.h share: float64 lanes, the walk over the high states, the sum of the weights.
 * Included once per target by tiles.c. */
#ifndef FASTRBM_PARTITION_MATH_H
#define FASTRBM_PARTITION_MATH_H

#include <math.h>

#include "lane_math.h"

#define LN2 0.693147180559945309417

/* Bytes of a register, and how many high states share one pass over the table: products of that many and of TILE
 * registers of low states fill the register file */
#if defined(FRBM_AVX512)
#define FRBM_REGISTER 64
#define FRBM_PARTITION_HIGH 4
#elif defined(FRBM_AVX2)
#define FRBM_REGISTER 32
#define FRBM_PARTITION_HIGH 2
#else
#define FRBM_REGISTER 16
#define FRBM_PARTITION_HIGH 2
#endif

/* 8 float64, whatever the registers are */
typedef double vec_d __attribute__((vector_size(64)));
typedef int64_t vec_l __attribute__((vector_size(64)));

INLINE vec_d load_d(const double *p) {
    vec_d v;
    memcpy(&v, p, sizeof v);
    return v;
}

INLINE vec_d select_d(vec_l mask, vec_d yes, vec_d no) { return (vec_d)((mask & (vec_l)yes) | (~mask & (vec_l)no)); }

INLINE vec_d fma_d(vec_d a, vec_d b, vec_d c) {
#ifdef FRBM_AVX512
    return (vec_d)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
#else
    return a * b + c;
#endif
}

INLINE double add_lanes(vec_d x) {
    return ((x[0] + x[4]) + (x[1] + x[5])) + ((x[2] + x[6]) + (x[3] + x[7]));
}

/* 2^t for t in [-1021, 1022]: the Taylor series of e^(f ln 2), |f| <= 1/2, to degree 11: remainder 7e-15 relative */
INLINE vec_d exp2_d(vec_d t) {
    const double magic = 6755399441055744.0; /* 1.5 * 2^52: adding it rounds to an integer in the low bits */
    static const double c[] = {4.445538271870811e-10, 7.054911620801121e-09, 1.0178086009239696e-07,
                               1.3215486790144305e-06, 1.5252733804059838e-05, 1.540353039338161e-04,
                               1.3333558146428443e-03, 9.618129107628477e-03,  5.550410866482158e-02,
                               2.402265069591007e-01,  6.931471805599453e-01,  1.0};
    const vec_d shifted = t + magic, f = t - (shifted - magic);
    vec_d p = (vec_d){0} + c[0];
#pragma GCC unroll 11
    for (int k = 1; k < 12; k++) p = fma_d(p, f, (vec_d){0} + c[k]);
    return (vec_d)((vec_l)p + ((vec_l)shifted << 52));
}

/* ---- sums of weights ----------------------------------------------------------------------------------------- */

/* sum * 2^exponent */
typedef struct {
    vec_d sum;
    int64_t exponent;
} partition_total;

/* Weight of what the low bits do not change, mantissa * 2^exponent, and the bits of the state in the caller's order */
typedef struct {
    double mantissa;
    int64_t exponent;
    uint64_t state;
} partition_high;

INLINE void add_weights(partition_total *total, const vec_d *weight, const vec_l *exponent, vec_l largest) {
    int64_t most = largest[0];
    for (int l = 1; l < 8; l++) most = largest[l] > most ? largest[l] : most;
    if (most > total->exponent) {
        const int64_t shift = most - total->exponent;
        total->sum *= shift > 1000 ? 0.0 : ldexp(1.0, -(int)shift);
        total->exponent = most;
    }
    /* weights that are smaller by more than 2^1000 count as that */
    for (int v = 0; v < FRBM_PARTITION_LANES / 8; v++) {
        const vec_l by = exponent[v] - total->exponent, near = by > -1000;
        total->sum += weight[v] * (vec_d)((((by & near) | (~near & -1000)) + 1023) << 52);
    }
}

INLINE partition_high high_weight(double log2_weight, uint64_t state) {
    const double whole = floor(log2_weight);
    return (partition_high){exp2(log2_weight - whole), (int64_t)whole, state};
}

/* ---- high states --------------------------------------------------------------------------------------------- */

typedef struct {
    size_t block;
    double bias;
    uint64_t state;
} partition_start;

/* Inputs of a block's first state, from scratch: no rounding is handed from block to block */
static partition_start start_block(const frbm_partition *a, size_t block, double *input) {
    partition_start walk = {block, 0.0, 0};
    memcpy(input, a->start, a->ld * sizeof(double));
    for (size_t k = a->block_bits; k < a->n_high; k++)
        if (block >> (k - a->block_bits) & 1) {
            const double *row = a->high + k * a->ld;
            for (size_t i = 0; i < a->ld; i++) input[i] += row[i];
            walk.bias += a->high_bias[k];
            walk.state |= a->high_state[k];
        }
    return walk;
}

/* The row to add with `sign` to go to state `step` of the Gray code from the one before */
static const double *next_state(const frbm_partition *a, size_t step, partition_start *walk, double *sign) {
    if (step == 0) {
        *sign = 0.0;
        return a->start;
    }
    const int k = __builtin_ctzll(step);
    *sign = (step ^ step >> 1) >> k & 1 ? 1.0 : -1.0;
    walk->bias += *sign * a->high_bias[k];
    walk->state ^= a->high_state[k];
    return a->high + (size_t)k * a->ld;
}

#endif
