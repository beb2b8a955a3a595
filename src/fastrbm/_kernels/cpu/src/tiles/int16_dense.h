/* Dense products of states and weights rounded to 16 bits (precision="fast").
 *
 * A vector x becomes round(x * s), s the largest with which Cauchy and Schwarz keep every sum of products of two such
 * vectors below 2^31 and every entry below 2^15.  Errors are those of the rounding: with n entries of similar size
 * about 2e-4 of the product of the two lengths over sqrt(n).  Sums of integers are exact, so the same everywhere.
 * Two neighbouring entries share a word, the second one in its upper half.
 */
#ifndef FASTRBM_INT16_DENSE_H
#define FASTRBM_INT16_DENSE_H

#include <math.h>

#include "dense.h"
#include "gradient.h"
#include "quantise.h"

#define INT16_ROWS (N_REGISTERS / 4) /* rows whose sums, in two registers each, take half of them */
#define INT16_LENGTH 45000.0f /* (45000 + half a unit in each of up to 6e6 entries)^2 < 2^31 */

/* s of a vector from its squared length and largest magnitude; 0 where it is not finite */
INLINE float int16_scale(float squares, float largest) {
    if (!(squares < 1e37f)) return 0.0f;
    const float length = sqrtf(squares), by_length = INT16_LENGTH / length, by_size = 32767.0f / largest;
    const float scale = by_length < by_size ? by_length : by_size;
    return scale < 1e30f ? scale : 1e30f; /* also where all is 0 */
}

INLINE float int16_quantum(float scale) { return scale > 0.0f ? 1.0f / scale : NAN; }

/* Rows of weights; `words` has (n + 1) / 2 words a row, `quanta` gets the value of 1 in each */
static void int16_rows(const float *rows, size_t n_rows, size_t n, uint32_t *words, float *quanta) {
    for (size_t r = 0; r < n_rows; r++, rows += n, words += (n + 1) / 2) {
        vec_f squares = {0}, most = {0};
        for (size_t k = 0; k < n; k += 16) {
            vec_f x = {0};
            memcpy(&x, rows + k, (n - k < 16 ? n - k : 16) * sizeof(float));
            const vec_f a = magnitude(x);
            squares += x * x;
            most = select_f(a > most, a, most);
        }
        for (int l = 1; l < 16; l++) most[0] = most[l] > most[0] ? most[l] : most[0];
        const float scale = int16_scale(row_sum((const float *)&squares, 16), most[0]);
        quanta[r] = int16_quantum(scale);
        int16_t *out = (int16_t *)words; /* little-endian: the second of two in the upper half */
        memset(words + (n - 1) / 2, 0, sizeof *words);
        if (scale == 0.0f)
            memset(out, 0, n * sizeof *out);
        else
            for (size_t k = 0; k < n; k++) out[k] = (int16_t)nearest_lane(rows[k] * scale);
    }
}

/* States by lanes: at most 32 lanes from `first`, a multiple of 32; words [(n + 1) / 2][ld], quanta [lane] */
static void int16_lanes(const float *lanes, size_t ld, size_t n, size_t first, size_t n_lanes, uint32_t *words,
                       float *quanta) {
    for (size_t lane = first; lane < first + n_lanes; lane += 16) {
        vec_f squares = {0}, most = {0}, scale;
        for (size_t u = 0; u < n; u++) {
            const vec_f x = load_f(lanes + u * ld + lane), a = magnitude(x);
            squares += x * x;
            most = select_f(a > most, a, most);
        }
        for (int l = 0; l < 16; l++) {
            scale[l] = int16_scale(squares[l], most[l]);
            quanta[lane + (size_t)l] = int16_quantum(scale[l]);
        }
        const vec_i usable = scale > 0.0f;
        for (size_t u = 0; u < n; u += 2) {
            const vec_f zero = {0}, x = load_f(lanes + u * ld + lane);
            const vec_f y = u + 1 < n ? load_f(lanes + (u + 1) * ld + lane) : zero;
            const vec_u low = (vec_u)nearest_vec(select_f(usable, x, zero) * scale);
            const vec_u two = (low & 0xFFFFu) | (vec_u)nearest_vec(select_f(usable, y, zero) * scale) << 16;
            STORE(words + u / 2 * ld + lane, two);
        }
    }
}

/* Products of `rows` rows from `row` on and `vectors` registers of lanes from `lane` on */
INLINE void int16_dense_block(const int rows, const int vectors, const frbm_int16_vectors *a, size_t row,
                              const frbm_int16_vectors *b, size_t lane, size_t depth, float *out, size_t ld) {
    const uint32_t *from_a = a->words + row * a->ld, *from_b = b->words + lane;
    const size_t lda = a->ld, ldb = b->ld;
    reg_i sum[INT16_ROWS][2] = {{{0}}};
    for (size_t k = 0; k < depth; k++, from_b += ldb) {
        reg_i x[2];
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) x[v] = load_reg_i(from_b + DENSE_WIDTH * v);
#pragma GCC unroll 8
        for (int o = 0; o < rows; o++)
#pragma GCC unroll 2
            for (int v = 0; v < vectors; v++) sum[o][v] += multiply_int16(from_a[(size_t)o * lda + k], x[v]);
    }
#pragma GCC unroll 8
    for (int o = 0; o < rows; o++)
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) {
            const reg_f quanta = load_reg_f(b->quanta + lane + DENSE_WIDTH * v) * a->quanta[row + (size_t)o];
            const reg_f product = __builtin_convertvector(sum[o][v], reg_f) * quanta;
            STORE(out + (row + (size_t)o) * ld + lane + DENSE_WIDTH * v, product);
        }
}

/* out[row][lane] = value of the product; `depth` in words; lanes and `out` have room up to a multiple of 16 lanes */
static void int16_dense_product(const frbm_int16_vectors *rows, size_t n_rows, const frbm_int16_vectors *lanes,
                                size_t depth, size_t n_lanes, float *out, size_t ld) {
    n_lanes = frbm_round_up(n_lanes, 16);
    for (size_t lane = 0; lane < n_lanes;) {
        const int vectors = n_lanes - lane >= 2 * DENSE_WIDTH ? 2 : 1;
        for (size_t row = 0; row < n_rows;) {
            size_t here = INT16_ROWS;
            while (here > n_rows - row) here /= 2;
#define FRBM_SHAPE(R, V) \
    case 2 * R + V - 1: int16_dense_block(R, V, rows, row, lanes, lane, depth, out, ld); break;
            switch (2 * here + (size_t)vectors - 1) {
#if INT16_ROWS > 4
                FRBM_SHAPE(8, 2) FRBM_SHAPE(8, 1)
#endif
                FRBM_SHAPE(4, 2) FRBM_SHAPE(4, 1) FRBM_SHAPE(2, 2) FRBM_SHAPE(2, 1) FRBM_SHAPE(1, 2) FRBM_SHAPE(1, 1)
            }
#undef FRBM_SHAPE
            row += here;
        }
        lane += (size_t)vectors * DENSE_WIDTH;
    }
}

#endif
