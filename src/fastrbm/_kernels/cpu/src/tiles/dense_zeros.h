/* Dense products in float32 that leave out what is zero anyway: of rows with many zeros, such as images.
 *
 * Blocks of ZERO_LANES lanes, the same on all instruction sets, take only the k for which some lane of b[k] is not 0,
 * copied side by side.  A term a * 0 of a finite a does not change a sum, so the results are those of dense_product. */
#ifndef FASTRBM_DENSE_ZEROS_H
#define FASTRBM_DENSE_ZEROS_H

#include "dense.h"
#include "gradient.h"
#include "kernels.h"
#include "rules.h"
#include "simd.h"

#define ZERO_LANES 32
#define ZERO_ROWS (N_REGISTERS / 4) /* rows whose sums, in two registers each, take half of them */
#define ZERO_DEPTH 128 /* copied at once: 16 KB */

/* Products of `rows` rows and `vectors` registers of lanes with n copied rows of b, of which b[k] is row at[k] */
INLINE void copied_block(const int rows, const int vectors, const float *a, size_t lda, const uint32_t *at,
                         const float *b, size_t n, int add, float *out, size_t ld) {
    reg_f sum[ZERO_ROWS][2];
#pragma GCC unroll 8
    for (int o = 0; o < rows; o++)
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) {
            sum[o][v] = (reg_f){0};
            if (add) memcpy(&sum[o][v], out + (size_t)o * ld + DENSE_WIDTH * v, REGISTER);
        }
    for (size_t k = 0; k < n; k++, b += ZERO_LANES) {
        const float *column = a + at[k];
        reg_f x[2];
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) x[v] = load_reg_f(b + DENSE_WIDTH * v);
#pragma GCC unroll 8
        for (int o = 0; o < rows; o++)
#pragma GCC unroll 2
            for (int v = 0; v < vectors; v++)
                sum[o][v] = rounded_once(all_f(column[(size_t)o * lda]), x[v], sum[o][v]);
    }
#pragma GCC unroll 8
    for (int o = 0; o < rows; o++)
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) STORE(out + (size_t)o * ld + DENSE_WIDTH * v, sum[o][v]);
}

static __attribute__((noinline)) void copied_rows(size_t rows, const float *a, size_t lda, const uint32_t *at,
                                                  const float *b, size_t n, size_t lanes, int add, float *out,
                                                  size_t ld) {
    for (size_t lane = 0; lane < lanes;) {
        const int vectors = lanes - lane >= 2 * DENSE_WIDTH ? 2 : 1;
#define FRBM_SHAPE(R, V) \
    case 2 * R + V - 1: copied_block(R, V, a, lda, at, b + lane, n, add, out + lane, ld); break;
        switch (2 * rows + (size_t)vectors - 1) {
#if ZERO_ROWS > 4
            FRBM_SHAPE(8, 2) FRBM_SHAPE(8, 1)
#endif
            FRBM_SHAPE(4, 2) FRBM_SHAPE(4, 1) FRBM_SHAPE(2, 2) FRBM_SHAPE(2, 1) FRBM_SHAPE(1, 2) FRBM_SHAPE(1, 1)
        }
#undef FRBM_SHAPE
        lane += (size_t)vectors * DENSE_WIDTH;
    }
}

/* Rows of b with something in their first `lanes` lanes, 16 or ZERO_LANES; returns how many */
INLINE size_t copy_active(const float *b, size_t ldb, size_t first, size_t n, size_t lanes, float *copy, uint32_t *at) {
    size_t found = 0;
    for (size_t k = first; k < first + n; k++) {
        const vec_u low = load_u((const uint32_t *)(b + k * ldb)), none = {0};
        const vec_u high = lanes > 16 ? load_u((const uint32_t *)(b + k * ldb + 16)) : none;
        uint64_t words[8], any = 0;
        const vec_u both = low | high;
        STORE(words, both);
        for (int w = 0; w < 8; w++) any |= words[w];
        STORE(copy + ZERO_LANES * found, low);
        STORE(copy + ZERO_LANES * found + 16, high);
        at[found] = (uint32_t)k;
        found += any != 0;
    }
    return found;
}

/* As dense_product without `add`; scratch: (ZERO_DEPTH + 1) * ZERO_LANES + ZERO_DEPTH floats */
static void dense_product_skipping(const float *a, size_t lda, size_t n_rows, const float *b, size_t ldb, size_t depth,
                                   size_t n_lanes, float *out, size_t ld, float *scratch) {
    uint32_t *at = (uint32_t *)(scratch + (ZERO_DEPTH + 1) * ZERO_LANES);
    n_lanes = frbm_round_up(n_lanes, 16);
    for (size_t lane = 0; lane < n_lanes; lane += ZERO_LANES) {
        const size_t lanes = n_lanes - lane < ZERO_LANES ? n_lanes - lane : ZERO_LANES;
        for (size_t first = 0; first < depth; first += ZERO_DEPTH) {
            const size_t n =
                copy_active(b + lane, ldb, first, depth - first < ZERO_DEPTH ? depth - first : ZERO_DEPTH, lanes,
                            scratch, at);
            for (size_t row = 0; row < n_rows && (n || !first);) {
                size_t here = ZERO_ROWS;
                while (here > n_rows - row) here /= 2;
                copied_rows(here, a + row * lda, lda, at, scratch, n, lanes, first > 0, out + row * ld + lane, ld);
                row += here;
            }
        }
    }
}

/* Gradient of at most FRBM_PULL_UNITS hidden units by the one phase there is, and its rule; means are `pulls` */
static void pull_rows(const frbm_gaussian_gradient *g, size_t first, size_t count, float *scratch) {
    float *sums = scratch + FRBM_TABLE_FLOATS, hidden[FRBM_PULL_UNITS];
    const float *pulls = g->data_means + first * g->data_ld;
    for (size_t at = 0; at < g->n_visible; at += FRBM_LANE_BLOCK) {
        const size_t n = g->n_visible - at < FRBM_LANE_BLOCK ? g->n_visible - at : FRBM_LANE_BLOCK;
        dense_product_skipping(pulls, g->data_ld, count, g->data_rows + at, g->rows_ld, g->n_data, n, sums,
                               FRBM_SUM_LD, scratch);
        for (size_t j = 0; j < count; j++)
            update(&g->rule, 1, g->weights, g->slots, (first + j) * g->n_visible + at, sums + j * FRBM_SUM_LD, n);
    }
    for (size_t j = 0; j < count; j++) hidden[j] = row_sum(pulls + j * g->data_ld, g->n_data);
    update(&g->rule, 0, g->bias, g->bias_slots, first, hidden, count);
}

#endif
