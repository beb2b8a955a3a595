/* What the two precisions of partition.inc.c share: float64 lanes, the walk over the high states, the sum of the
 * weights.
 */
#ifndef FASTRBM_PARTITION_MATH_H
#define FASTRBM_PARTITION_MATH_H

#include <math.h>

#include "kernels.h"
#include "simd.h"

#define LN2 0.693147180559945309417

/* Middle states that share one pass over the table: products of that many and of 4 registers of low states, with what
 * they are made of, fill the register file */
#define FRBM_PARTITION_MIDDLE (N_REGISTERS / 8)

#define DOUBLES (REGISTER / 8)
#define PARTITION_VECTORS (FRBM_PARTITION_LANES / DOUBLES)

INLINE double add_lanes(reg_d x) {
    double sum = 0.0;
    for (int l = 0; l < DOUBLES; l++) sum += x[l];
    return sum;
}

/* 2^t for t in [-1021, 1022]: the Taylor series of e^(f ln 2), |f| <= 1/2, to degree 11: remainder 7e-15 relative */
INLINE reg_d exp2_d(reg_d t) {
    const double magic = 6755399441055744.0; /* 1.5 * 2^52: adding it rounds to an integer in the low bits */
    static const double c[] = {4.445538271870811e-10, 7.054911620801121e-09, 1.0178086009239696e-07,
                               1.3215486790144305e-06, 1.5252733804059838e-05, 1.540353039338161e-04,
                               1.3333558146428443e-03, 9.618129107628477e-03,  5.550410866482158e-02,
                               2.402265069591007e-01,  6.931471805599453e-01,  1.0};
    const reg_d shifted = t + magic, f = t - (shifted - magic);
    reg_d p = (reg_d){0} + c[0];
#pragma GCC unroll 11
    for (int k = 1; k < 12; k++) p = p * f + c[k];
    return (reg_d)((reg_l)p + ((reg_l)shifted << 52));
}

/* ---- sums of weights ----------------------------------------------------------------------------------------- */

/* sum * 2^exponent */
typedef struct {
    reg_d sum;
    int64_t exponent;
} partition_total;

/* Weight that some bits of a state have by themselves, mantissa * 2^exponent, and their places in the caller's state */
typedef struct {
    double mantissa;
    int64_t exponent;
    uint64_t state;
} partition_weight;

INLINE partition_weight high_weight(double log2_weight, uint64_t state) {
    const double whole = floor(log2_weight);
    return (partition_weight){exp2(log2_weight - whole), (int64_t)whole, state};
}

INLINE void raise_total(partition_total *total, int64_t exponent) {
    if (exponent <= total->exponent) return;
    const int64_t shift = exponent - total->exponent;
    total->sum *= shift > 1000 ? 0.0 : ldexp(1.0, -(int)shift);
    total->exponent = exponent;
}

INLINE void add_weight(partition_total *total, double weight, int64_t exponent) {
    raise_total(total, exponent);
    const int64_t shift = total->exponent - exponent;
    total->sum[0] += shift > 1000 ? 0.0 : ldexp(weight, -(int)shift);
}

/* Weights that are smaller than the largest by more than 2^1000 count as that */
INLINE void add_weights(partition_total *total, const reg_d *weight, const reg_l *exponent, reg_l largest) {
    int64_t most = largest[0];
    for (int l = 1; l < DOUBLES; l++) most = largest[l] > most ? largest[l] : most;
    raise_total(total, most);
    for (int v = 0; v < PARTITION_VECTORS; v++) {
        const reg_l by = exponent[v] - total->exponent, near = by > -1000;
        total->sum += weight[v] * (reg_d)((((by & near) | (~near & -1000)) + 1023) << 52);
    }
}

/* ---- high states --------------------------------------------------------------------------------------------- */

typedef struct {
    size_t block;
    double bias;
    uint64_t state;
} partition_walk;

/* Inputs of a block's first state, from scratch: no rounding is handed from block to block */
static partition_walk start_block(const frbm_partition *a, size_t block, double *input) {
    partition_walk walk = {block, 0.0, 0};
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
static const double *next_state(const frbm_partition *a, size_t step, partition_walk *walk, double *sign) {
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
