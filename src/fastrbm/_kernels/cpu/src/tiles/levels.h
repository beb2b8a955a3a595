/* Products of grey levels, whole numbers from 0 to 255 that stand for 255ths, and of fixed-point integers: exact.
 *
 * Two neighbouring levels share a word, and so do the halves of two coefficients: one instruction multiplies four
 * numbers of 16 bits and adds two products.  The lower halves are made signed, so a sum of 256 of their products fits
 * 32 bits; then its upper part is added to the sum of the upper halves, which all of a product fits: with sums of
 * coefficients below 2^31 it is below 255 (2^15 + n) + n / 2.  The product is 2^16 high + low, and below 2^40.
 *
 * Coefficients of a gradient are at most 2^30, and their lower halves are those in [-2^15, 2^15).  Weights may be up to
 * 2^31: theirs are 2^15 less than the lower bits, which the sum of the levels makes good. */
#ifndef FASTRBM_LEVELS_H
#define FASTRBM_LEVELS_H

#include "kernels.h"
#include "simd.h"
#include "transpose.h"

#define LEVEL_ROWS (N_REGISTERS == 32 ? 6 : 3) /* rows whose sums, two registers of lanes and both halves, are held */

/* ---- layouts ------------------------------------------------------------------------------------------------------ */

/* Halves of n coefficients, low words and then, `words` of them further on, high ones; 0 up to a multiple of 16 words */
static void cut_halves(const int32_t *coef, size_t n, int of_weights, uint32_t *out, size_t words) {
    uint16_t *low = (uint16_t *)out, *high = (uint16_t *)(out + words);
    const size_t padded = frbm_round_up(n, 32);
    if (of_weights)
        for (size_t k = 0; k < n; k++) {
            low[k] = (uint16_t)((uint32_t)coef[k] ^ 0x8000u);
            high[k] = (uint16_t)((uint32_t)coef[k] >> 16);
        }
    else
        for (size_t k = 0; k < n; k++) {
            low[k] = (uint16_t)coef[k];
            high[k] = (uint16_t)(((uint32_t)coef[k] + 0x8000u) >> 16);
        }
    if (n == padded) return;
    memset(low + n, 0, (padded - n) * sizeof *low);
    memset(high + n, 0, (padded - n) * sizeof *high);
}

static void cut_weights(const frbm_fixed *f, size_t n_visible, size_t first, size_t count) {
    for (size_t j = first; j < first + count; j++)
        cut_halves(f->weights + j * f->ld, n_visible, 1, f->halves + j * f->halves_ld, f->halves_ld / 2);
}

/* Rows [at, at + n), n at most 32, of those picked by `order`, or of all: for products over units, `lanes`
 * [(units + 1) / 2][lane] and the sums of the rows; for products over samples, `columns` [samples / 2][unit].  Lanes up
 * to the next 32, and columns up to columns_ld, are 0. */
static void load_levels(const uint8_t *rows, size_t row_ld, const int64_t *order, size_t at, size_t n, size_t n_units,
                        uint32_t *lanes, size_t lanes_ld, int32_t *sums, uint32_t *columns, size_t columns_ld) {
    const uint8_t *source[32];
    int32_t total[32] = {0};
    for (size_t r = 0; r < n; r++) source[r] = rows + (size_t)(order ? order[at + r] : (int64_t)(at + r)) * row_ld;
    for (size_t first = 0; first < columns_ld; first += 64) {
        uint16_t level[32][64] __attribute__((aligned(64))) = {{0}};
        const size_t count = first >= n_units ? 0 : n_units - first < 64 ? n_units - first : 64;
        for (size_t r = 0; r < n; r++) {
            if (count == 64)
                for (size_t i = 0; i < 64; i++) level[r][i] = source[r][first + i];
            else
                for (size_t i = 0; i < count; i++) level[r][i] = source[r][first + i];
            if (!sums) continue;
            uint16_t sum = 0; /* of 64 bytes */
            for (size_t i = 0; i < 64; i++) sum = (uint16_t)(sum + level[r][i]);
            total[r] += sum;
        }
        if (lanes)
            transpose_rows((const int32_t *)level, 32, 0, 32, (count + 1) / 2,
                           (int32_t *)(lanes + first / 2 * lanes_ld + at), lanes_ld);
        if (columns)
            for (size_t r = 0; r < 16; r++) {
                uint32_t *out = columns + (at / 2 + r) * columns_ld + first;
                for (size_t i = 0; i < 64; i++) out[i] = level[2 * r][i] | (uint32_t)level[2 * r + 1][i] << 16;
            }
    }
    if (sums) memcpy(sums + at, total, sizeof total);
}

/* ---- products ----------------------------------------------------------------------------------------------------- */

/* Rows of halves: `words` from one half to the other */
typedef struct {
    const uint32_t *halves;
    size_t ld, words;
} level_rows;

/* high[row][lane] and low[row][lane] = or += products of so many rows and registers of lanes; `low` is in [0, 2^16) */
INLINE void level_block(const int fused, const int rows, const int vectors, const level_rows *a, size_t row,
                        const uint32_t *b, size_t ldb, size_t depth, int add, int32_t *high, int32_t *low, size_t ld) {
    const uint32_t *from = a->halves + row * a->ld;
    const size_t width = REGISTER / 4, lda = a->ld, words = a->words;
    reg_i sum[2][LEVEL_ROWS][2];
#pragma GCC unroll 8
    for (int o = 0; o < rows; o++)
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) {
            const size_t at = (size_t)o * ld + width * (size_t)v;
            sum[0][o][v] = sum[1][o][v] = (reg_i){0};
            if (!add) continue;
            sum[0][o][v] = load_reg_i(low + at);
            sum[1][o][v] = load_reg_i(high + at);
        }
    for (size_t k = 0; k < depth;) {
        const size_t end = depth - k < FRBM_LEVEL_WORDS ? depth : k + FRBM_LEVEL_WORDS;
        for (; k < end; k++, b += ldb) {
            reg_i x[2];
#pragma GCC unroll 2
            for (int v = 0; v < vectors; v++) {
                x[v] = load_reg_i(b + width * (size_t)v);
                KEEP(x[v]);
            }
#pragma GCC unroll 8
            for (int o = 0; o < rows; o++)
#pragma GCC unroll 2
                for (int half = 0; half < 2; half++) {
                    const uint32_t *coef = from + (size_t)o * lda + (size_t)half * words + k;
#pragma GCC unroll 2
                    for (int v = 0; v < vectors; v++)
                        sum[half][o][v] = add_int16_products(fused, sum[half][o][v], coef, x[v]);
                }
        }
#pragma GCC unroll 8
        for (int o = 0; o < rows; o++)
#pragma GCC unroll 2
            for (int v = 0; v < vectors; v++) {
                sum[1][o][v] += sum[0][o][v] >> 16;
                sum[0][o][v] &= 0xFFFF;
            }
    }
#pragma GCC unroll 8
    for (int o = 0; o < rows; o++)
#pragma GCC unroll 2
        for (int v = 0; v < vectors; v++) {
            const size_t at = (size_t)o * ld + width * (size_t)v;
            STORE(low + at, sum[0][o][v]);
            STORE(high + at, sum[1][o][v]);
        }
}

INLINE void level_sums_by(const int fused, const level_rows *a, size_t n_rows, const uint32_t *b, size_t ldb,
                          size_t depth, size_t n_lanes, int add, int32_t *high, int32_t *low, size_t ld) {
    for (size_t row = 0, here; row < n_rows; row += here) {
        here = LEVEL_ROWS;
        while (here > n_rows - row) here = here == 3 ? 2 : here == 6 ? 4 : here / 2;
        for (size_t lane = 0, vectors; lane < n_lanes; lane += vectors * (REGISTER / 4)) {
            const size_t at = row * ld + lane;
            vectors = n_lanes - lane >= REGISTER / 2 ? 2 : 1;
#define FRBM_SHAPE(R, V) \
    case 2 * R + V - 1: level_block(fused, R, V, a, row, b + lane, ldb, depth, add, high + at, low + at, ld); break;
            switch (2 * here + vectors - 1) {
#if LEVEL_ROWS == 6
                FRBM_SHAPE(6, 2) FRBM_SHAPE(6, 1) FRBM_SHAPE(4, 2) FRBM_SHAPE(4, 1)
#else
                FRBM_SHAPE(3, 2) FRBM_SHAPE(3, 1)
#endif
                FRBM_SHAPE(2, 2) FRBM_SHAPE(2, 1) FRBM_SHAPE(1, 2) FRBM_SHAPE(1, 1)
            }
#undef FRBM_SHAPE
        }
    }
}

static __attribute__((noinline)) void level_sums(const level_rows *a, size_t n_rows, const uint32_t *b, size_t ldb,
                                                 size_t depth, size_t n_lanes, int add, int32_t *high, int32_t *low,
                                                 size_t ld) {
    level_sums_by(0, a, n_rows, b, ldb, depth, n_lanes, add, high, low, ld);
}

#ifdef FRBM_AVX512
static __attribute__((noinline)) void level_sums_fused(const level_rows *a, size_t n_rows, const uint32_t *b,
                                                       size_t ldb, size_t depth, size_t n_lanes, int add,
                                                       int32_t *high, int32_t *low, size_t ld) {
    level_sums_by(1, a, n_rows, b, ldb, depth, n_lanes, add, high, low, ld);
}
#define LEVEL_SUMS (frbm_vnni ? level_sums_fused : level_sums)
#else
#define LEVEL_SUMS level_sums
#endif

#define LEVEL_LANES 64 /* of the sums that are made at once */

/* out[unit][lane] = product * scale, rounded to float64 and then to float32: units [first, first + count) and all lanes,
 * which are read and written up to a multiple of 16 */
static void level_inputs(const frbm_level_product *p, size_t first, size_t count, float *out, size_t ld) {
    const size_t words = p->ld / 2;
    const level_rows rows = {p->halves + first * p->ld, p->ld, words};
    int32_t high[LEVEL_ROWS][LEVEL_LANES], low[LEVEL_ROWS][LEVEL_LANES];
    double rest[LEVEL_LANES];
    for (size_t lane = 0; lane < p->n_lanes; lane += LEVEL_LANES) {
        const size_t n = p->n_lanes - lane < LEVEL_LANES ? frbm_round_up(p->n_lanes - lane, 16) : LEVEL_LANES;
        for (size_t l = 0; l < n; l++) rest[l] = 32768.0 * (double)p->sums[lane + l];
        for (size_t u = 0; u < count; u += LEVEL_ROWS) {
            const level_rows here = {rows.halves + u * rows.ld, rows.ld, words};
            const size_t n_rows = count - u < LEVEL_ROWS ? count - u : LEVEL_ROWS;
            LEVEL_SUMS(&here, n_rows, p->lanes + lane, p->lanes_ld, (p->n_inputs + 1) / 2, n, 0, high[0], low[0],
                       LEVEL_LANES);
            for (size_t r = 0; r < n_rows; r++)
                for (size_t l = 0; l < n; l++)
                    out[(u + r) * ld + lane + l] =
                        (float)((65536.0 * (double)high[r][l] + (double)low[r][l] + rest[l]) * p->scale);
        }
    }
}

/* ---- gradients ---------------------------------------------------------------------------------------------------- */

#define LEVEL_UNITS 16   /* hidden units of one call, at most */
#define LEVEL_SUM_ROW 32 /* row of the scratch's sums where those of levels begin, upper ones and then lower ones */
_Static_assert(LEVEL_UNITS * 2 * FRBM_LEVEL_WORDS <= FRBM_TABLE_FLOATS, "halves of coefficients");
_Static_assert(LEVEL_SUM_ROW + 2 * LEVEL_UNITS <= FRBM_PANEL + FRBM_TILE, "sums of levels");

/* Products of the levels with their coefficients, 65536 high + low */
static void level_products(const frbm_gradient *g, size_t first, size_t count, size_t lane, size_t n_lanes,
                           int32_t *high, int32_t *low, void *room) {
    uint32_t *halves = room;
    const level_rows rows = {halves, 2 * FRBM_LEVEL_WORDS, FRBM_LEVEL_WORDS};
    const size_t n = g->positive.n_inputs;
    for (size_t s = 0; s < n; s += 2 * FRBM_LEVEL_WORDS) {
        const size_t here = n - s < 2 * FRBM_LEVEL_WORDS ? n - s : 2 * FRBM_LEVEL_WORDS;
        for (size_t j = 0; j < count; j++)
            cut_halves(g->positive.coef + (first + j) * g->positive.out_stride + s, here, 0, halves + j * rows.ld,
                       rows.words);
        LEVEL_SUMS(&rows, count, g->levels + s / 2 * g->levels_ld + lane, g->levels_ld, (here + 1) / 2,
                   frbm_round_up(n_lanes, 16), s > 0, high, low, FRBM_SUM_LD);
    }
}

/* Gradient in place of what bits are to the model's half: `sums` of counts or of fixed-point means */
static void add_levels(const frbm_gradient *g, size_t first, size_t count, size_t lane, size_t n_lanes, int32_t *sums,
                       void *room) {
    int32_t *high = sums + LEVEL_SUM_ROW * FRBM_SUM_LD, *low = high + LEVEL_UNITS * FRBM_SUM_LD;
    level_products(g, first, count, lane, n_lanes, high, low, room);
    for (size_t j = 0; j < count; j++, sums += FRBM_SUM_LD, high += FRBM_SUM_LD, low += FRBM_SUM_LD) {
        float *row = (float *)sums;
        if (g->negative_hidden)
            for (size_t i = 0; i < n_lanes; i++) {
                const double total = 65536.0 * (double)high[i] + (double)low[i];
                row[i] = g->positive_share * (float)(total * (1.0 / 255.0)) + g->negative_share * (float)sums[i];
            }
        else
            for (size_t i = 0; i < n_lanes; i++) {
                const double total = 65536.0 * (double)high[i] + (double)low[i] + 255.0 * (double)sums[i];
                row[i] = (float)(total * ((double)g->quantum / 255.0));
            }
    }
}

#endif
