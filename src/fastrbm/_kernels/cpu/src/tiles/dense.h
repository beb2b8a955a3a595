/* Dense products in float32.
 *
 * A dense product adds a[row][k] * b[k][lane] in the order of k, product and sum rounded apart: the same bits on every
 * instruction set.  That costs nothing on cores which add beside their multipliers (AMD since Zen, 130 GMAC/s at 4 GHz
 * with AVX-512) and half of the speed of fused operations on others.
 */
#ifndef FASTRBM_DENSE_H
#define FASTRBM_DENSE_H

#include "kernels.h"
#include "simd.h"

#define DENSE_ROWS (N_REGISTERS / 4) /* rows whose sums, in two registers each, take half of them */
#define DENSE_WIDTH (REGISTER / 4)

INLINE void dense_block(const int rows, const int vectors, const float *a, size_t lda, const float *b, size_t ldb,
                        size_t depth, int add, float *out, size_t ld) {
    reg_f sum[DENSE_ROWS][2];
#pragma GCC unroll 8
    for (int o = 0; o < rows; o++)
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) {
            sum[o][v] = (reg_f){0};
            if (add) memcpy(&sum[o][v], out + (size_t)o * ld + DENSE_WIDTH * v, REGISTER);
        }
    for (size_t k = 0; k < depth; k++, b += ldb) {
        reg_f x[2];
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) memcpy(&x[v], b + DENSE_WIDTH * v, REGISTER);
#pragma GCC unroll 8
        for (int o = 0; o < rows; o++)
#pragma GCC unroll 2
            for (int v = 0; v < vectors; v++) sum[o][v] += a[(size_t)o * lda + k] * x[v];
    }
#pragma GCC unroll 8
    for (int o = 0; o < rows; o++)
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) STORE(out + (size_t)o * ld + DENSE_WIDTH * v, sum[o][v]);
}

static __attribute__((noinline)) void dense_rows(size_t rows, int vectors, const float *a, size_t lda, const float *b,
                                                 size_t ldb, size_t depth, int add, float *out, size_t ld) {
#define FRBM_SHAPE(R, V) \
    case 2 * R + V - 1: dense_block(R, V, a, lda, b, ldb, depth, add, out, ld); break;
    switch (2 * rows + (size_t)vectors - 1) {
#if DENSE_ROWS > 4
        FRBM_SHAPE(8, 2) FRBM_SHAPE(8, 1)
#endif
        FRBM_SHAPE(4, 2) FRBM_SHAPE(4, 1) FRBM_SHAPE(2, 2) FRBM_SHAPE(2, 1) FRBM_SHAPE(1, 2) FRBM_SHAPE(1, 1)
    }
#undef FRBM_SHAPE
}

/* out[row][lane] = or += sum over k of a[row][k] * b[k][lane]; rows of b and out have room up to a multiple of 16
 * lanes */
static void dense_product(const float *a, size_t lda, size_t n_rows, const float *b, size_t ldb, size_t depth,
                          size_t n_lanes, int add, float *out, size_t ld) {
    n_lanes = frbm_round_up(n_lanes, 16);
    for (size_t lane = 0; lane < n_lanes;) {
        const int vectors = n_lanes - lane >= 2 * DENSE_WIDTH ? 2 : 1;
        for (size_t row = 0; row < n_rows;) {
            size_t here = DENSE_ROWS;
            while (here > n_rows - row) here /= 2;
            dense_rows(here, vectors, a + row * lda, lda, b + lane, ldb, depth, add, out + row * ld + lane, ld);
            row += here;
        }
        lane += (size_t)vectors * DENSE_WIDTH;
    }
}

#endif
