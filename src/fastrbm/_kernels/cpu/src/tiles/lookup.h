/* Table look-up products: sums over bits times integers without multiplications.
 *
 * Four input bits select one of 16 partial sums of four coefficients; the 16 entries are one AVX-512 register, so
 * one permute looks up 16 lanes and one add finishes 64 multiply-adds.  AVX2 needs two 8-entry permutes and a
 * blend; the baseline indexes the table in memory; NEON has a way of its own (lookup_neon.h).
 *
 * Coefficients are fixed-point integers (quantise.h), so a sum is exact and the same in any order: how inputs are
 * grouped is nobody's business.  Integer additions also run on four ports of a Zen 5 core where float ones have two:
 * 430 against 350 GMAC/s a core.
 */
#ifndef FASTRBM_LOOKUP_H
#define FASTRBM_LOOKUP_H

#include "kernels.h"
#include "lookup_neon.h"
#include "simd.h"

#ifndef FRBM_NEON
/* ---- AVX-512, and the others ------------------------------------------------------------------------------- */

#define NO_BULK ((size_t)-1)

#ifdef FRBM_AVX512
/* Entries that contain coefficient 0, 1, 2, 3.  The empty asm keeps the masks in their registers: left alone, gcc
 * loads the constants again for every table. */
typedef struct {
    __mmask16 m0, m1, m2, m3;
} entry_masks;

INLINE entry_masks table_masks(void) {
    entry_masks m = {0xAAAA, 0xCCCC, 0xF0F0, 0xFF00};
    __asm__("" : "+Yk"(m.m0), "+Yk"(m.m1), "+Yk"(m.m2), "+Yk"(m.m3));
    return m;
}

INLINE void build_table(entry_masks m, int32_t *table, const int32_t *coef, size_t stride) {
    __m512i t = _mm512_maskz_set1_epi32(m.m0, coef[0]);
    t = _mm512_mask_add_epi32(t, m.m1, t, _mm512_set1_epi32(coef[stride]));
    t = _mm512_mask_add_epi32(t, m.m2, t, _mm512_set1_epi32(coef[2 * stride]));
    t = _mm512_mask_add_epi32(t, m.m3, t, _mm512_set1_epi32(coef[3 * stride]));
    _mm512_store_si512(table, t);
}
/* Tables in bulk: the 4 partial sums of two coefficients for 4 tables at once, `low` of coefficients 0 and 1, `high`
 * of 2 and 3; entry e of table q is low[4 q + e % 4] + high[4 q + e / 4].  Three permutes a table instead of four
 * loads. */
typedef struct {
    __m512i quarter, low[4], high[4];
} table_index;

INLINE table_index bulk_index(void) {
    const __m512i lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    table_index t;
    t.quarter = _mm512_srli_epi32(lane, 2);
    for (int q = 0; q < 4; q++) {
        t.low[q] = _mm512_add_epi32(_mm512_and_si512(lane, _mm512_set1_epi32(3)), _mm512_set1_epi32(4 * q));
        t.high[q] = _mm512_add_epi32(t.quarter, _mm512_set1_epi32(4 * q));
    }
    return t;
}

INLINE __m512i sums_of_two(__m512i first_index, __m512i first, __m512i second_index, __m512i second) {
    return _mm512_add_epi32(_mm512_maskz_permutexvar_epi32(0xAAAA, first_index, first),
                            _mm512_maskz_permutexvar_epi32(0xCCCC, second_index, second));
}

INLINE void store_bulk(const table_index *t, int q, __m512i low, __m512i high, int32_t *table) {
    _mm512_store_si512(table, _mm512_add_epi32(_mm512_permutexvar_epi32(t->low[q], low),
                                               _mm512_permutexvar_epi32(t->high[q], high)));
}

/* 4 * n groups of 6 outputs whose coefficients are contiguous over inputs */
static __attribute__((noinline)) void build_contiguous(int32_t *tables, const int32_t *coef, size_t out_stride,
                                                       size_t n) {
    const table_index t = bulk_index();
    const __m512i first = _mm512_slli_epi32(t.quarter, 2), one = _mm512_set1_epi32(1);
    const __m512i second = _mm512_add_epi32(first, one), third = _mm512_add_epi32(second, one);
    const __m512i fourth = _mm512_add_epi32(third, one);
    for (size_t g = 0; g < n; g++, coef += 16, tables += 4 * FRBM_TILE * 16)
        for (size_t o = 0; o < FRBM_TILE; o++) {
            const __m512i c = _mm512_loadu_si512(coef + o * out_stride);
            const __m512i low = sums_of_two(first, c, second, c), high = sums_of_two(third, c, fourth, c);
#pragma GCC unroll 4
            for (int q = 0; q < 4; q++) store_bulk(&t, q, low, high, tables + (q * FRBM_TILE + o) * 16);
        }
}

/* n groups of 6 outputs whose coefficients are contiguous over outputs */
static __attribute__((noinline)) void build_across(int32_t *tables, const int32_t *coef, size_t in_stride, size_t n) {
    const table_index t = bulk_index();
    const __m512i next = _mm512_add_epi32(t.quarter, _mm512_set1_epi32(4));
    for (size_t g = 0; g < n; g++, coef += 4 * in_stride, tables += FRBM_TILE * 16) {
        __m512i c[4];
        for (int q = 0; q < 4; q++) c[q] = _mm512_maskz_loadu_epi32(0x3F, coef + q * in_stride);
        const __m512i low = sums_of_two(t.quarter, c[0], t.quarter, c[1]);
        const __m512i high = sums_of_two(t.quarter, c[2], t.quarter, c[3]);
        const __m512i low2 = sums_of_two(next, c[0], next, c[1]), high2 = sums_of_two(next, c[2], next, c[3]);
#pragma GCC unroll 4
        for (int q = 0; q < 4; q++) store_bulk(&t, q, low, high, tables + q * 16);
        store_bulk(&t, 0, low2, high2, tables + 64);
        store_bulk(&t, 1, low2, high2, tables + 80);
    }
}

/* Tables of n_groups whole groups of `tile` outputs; returns how many groups it did, NO_BULK where it has no way */
INLINE size_t build_bulk(size_t tile, int32_t *tables, const int32_t *coef, size_t out_stride, size_t in_stride,
                         size_t n_groups) {
    if (tile == FRBM_TILE && in_stride == 1) {
        build_contiguous(tables, coef, out_stride, n_groups / 4);
        return n_groups / 4 * 4;
    }
    if (tile == FRBM_TILE && out_stride == 1) {
        build_across(tables, coef, in_stride, n_groups);
        return n_groups;
    }
    return NO_BULK;
}

/* sums[o][16 * v ...] = or += entries, o < tile, v < vectors; tile * vectors accumulators stay in registers.  The
 * empty asm keeps the additions beside their permutes: gcc would do all permutes first and spill. */
INLINE void look_up_block(const int tile, const int vectors, const int add, int32_t *sums, size_t ld,
                          const int32_t *tables, const uint32_t *bits, size_t stride, size_t n_groups) {
    __m512i acc[FRBM_TILE][4], index[4];
#pragma GCC unroll 6
    for (int o = 0; o < tile; o++)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++)
            acc[o][v] = add ? _mm512_loadu_si512(sums + o * ld + 16 * v) : _mm512_setzero_si512();
    while (n_groups) {
        const size_t here = n_groups < 8 ? n_groups : 8;
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) index[v] = _mm512_loadu_si512(bits + 16 * v);
        for (size_t g = 0; g < here; g++) {
#pragma GCC unroll 6
            for (int o = 0; o < tile; o++, tables += 16) {
                __m512i table = _mm512_load_si512(tables);
                __asm__("" : "+v"(table));
#pragma GCC unroll 4
                for (int v = 0; v < vectors; v++) {
                    acc[o][v] = _mm512_add_epi32(acc[o][v], _mm512_permutexvar_epi32(index[v], table));
                    __asm__ volatile("" : "+v"(acc[o][v]));
                }
            }
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++) index[v] = _mm512_srli_epi32(index[v], 4);
        }
        bits += stride;
        n_groups -= here;
    }
#pragma GCC unroll 6
    for (int o = 0; o < tile; o++)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) _mm512_storeu_si512(sums + o * ld + 16 * v, acc[o][v]);
}

static __attribute__((noinline)) void look_up(size_t tile, const int add, int32_t *sums, size_t ld, size_t n_lanes,
                                              const int32_t *tables, const uint32_t *bits, size_t stride,
                                              size_t n_groups) {
#define FRBM_SHAPE(T, V)                                                                  \
    case 4 * T + V - 1:                                                                   \
        look_up_block(T, V, add, sums + lane, ld, tables, bits + lane, stride, n_groups); \
        break;
    for (size_t lane = 0; lane < n_lanes; lane += 64) {
        const size_t vectors = n_lanes - lane >= 64 ? 4 : (n_lanes - lane + 15) / 16;
        switch (4 * tile + vectors - 1) {
            FRBM_SHAPE(6, 4) FRBM_SHAPE(6, 3) FRBM_SHAPE(6, 2) FRBM_SHAPE(6, 1)
            FRBM_SHAPE(4, 4) FRBM_SHAPE(4, 3) FRBM_SHAPE(4, 2) FRBM_SHAPE(4, 1)
            FRBM_SHAPE(2, 4) FRBM_SHAPE(2, 3) FRBM_SHAPE(2, 2) FRBM_SHAPE(2, 1)
        }
    }
#undef FRBM_SHAPE
}
#else
typedef int entry_masks;
INLINE entry_masks table_masks(void) { return 0; }

INLINE void build_table(entry_masks unused, int32_t *table, const int32_t *coef, size_t stride) {
    const int32_t c1 = coef[stride], c2 = coef[2 * stride], c3 = coef[3 * stride];
    (void)unused;
    table[0] = 0;
    table[1] = coef[0];
    table[2] = c1;
    table[3] = table[1] + c1;
    for (int e = 0; e < 4; e++) table[4 + e] = table[e] + c2;
    for (int e = 0; e < 8; e++) table[8 + e] = table[e] + c3;
}

INLINE size_t build_bulk(size_t tile, int32_t *tables, const int32_t *coef, size_t out_stride, size_t in_stride,
                         size_t n_groups) {
    (void)tile, (void)tables, (void)coef, (void)out_stride, (void)in_stride, (void)n_groups;
    return NO_BULK;
}

#ifdef FRBM_AVX2
#define STEP 8
INLINE void look_up_block(const int tile, const int add, int32_t *sums, size_t ld, const int32_t *tables,
                          const uint32_t *bits, size_t stride, size_t n_groups) {
    __m256i acc[FRBM_TILE];
    for (int o = 0; o < tile; o++)
        acc[o] = add ? _mm256_loadu_si256((const __m256i *)(sums + o * ld)) : _mm256_setzero_si256();
    while (n_groups) {
        const size_t here = n_groups < 8 ? n_groups : 8;
        __m256i index = _mm256_loadu_si256((const __m256i *)bits);
        for (size_t g = 0; g < here; g++) {
            /* bit 3 of the index moved to the sign chooses the half */
            const __m256 upper = _mm256_castsi256_ps(_mm256_slli_epi32(index, 28));
            for (int o = 0; o < tile; o++, tables += 16) {
                const __m256 low = _mm256_permutevar8x32_ps(_mm256_load_ps((const float *)tables), index);
                const __m256 high = _mm256_permutevar8x32_ps(_mm256_load_ps((const float *)tables + 8), index);
                acc[o] = _mm256_add_epi32(acc[o], _mm256_castps_si256(_mm256_blendv_ps(low, high, upper)));
            }
            index = _mm256_srli_epi32(index, 4);
        }
        bits += stride;
        n_groups -= here;
    }
    for (int o = 0; o < tile; o++) _mm256_storeu_si256((__m256i *)(sums + o * ld), acc[o]);
}
#else
#define STEP 4
INLINE void look_up_block(const int tile, const int add, int32_t *sums, size_t ld, const int32_t *tables,
                          const uint32_t *bits, size_t stride, size_t n_groups) {
    int32_t acc[FRBM_TILE][4];
    for (int o = 0; o < tile; o++)
        for (int l = 0; l < 4; l++) acc[o][l] = add ? sums[o * ld + l] : 0;
    while (n_groups) {
        const size_t here = n_groups < 8 ? n_groups : 8;
        for (size_t g = 0; g < here; g++, tables += 16 * tile) {
            for (int l = 0; l < 4; l++) {
                const int32_t *entry = tables + (bits[l] >> (4 * g) & 15);
                for (int o = 0; o < tile; o++) acc[o][l] += entry[16 * o];
            }
        }
        bits += stride;
        n_groups -= here;
    }
    for (int o = 0; o < tile; o++)
        for (int l = 0; l < 4; l++) sums[o * ld + l] = acc[o][l];
}
#endif

static __attribute__((noinline)) void look_up(size_t tile, const int add, int32_t *sums, size_t ld, size_t n_lanes,
                                              const int32_t *tables, const uint32_t *bits, size_t stride,
                                              size_t n_groups) {
    for (size_t lane = 0; lane < n_lanes; lane += STEP) {
        switch (tile) {
            case 6: look_up_block(6, add, sums + lane, ld, tables, bits + lane, stride, n_groups); break;
            case 4: look_up_block(4, add, sums + lane, ld, tables, bits + lane, stride, n_groups); break;
            default: look_up_block(2, add, sums + lane, ld, tables, bits + lane, stride, n_groups); break;
        }
    }
}
#endif

/* ---- any ---------------------------------------------------------------------------------------------------- */

/* Tables of n_groups whole groups of `tile` outputs; returns how many groups it did */
INLINE size_t build_whole(size_t tile, int32_t *tables, const int32_t *coef, size_t out_stride, size_t in_stride,
                          size_t n_groups) {
    const size_t done = build_bulk(tile, tables, coef, out_stride, in_stride, n_groups);
    if (done != NO_BULK) return done;
    const entry_masks masks = table_masks();
    for (size_t g = 0; g < n_groups; g++, coef += 4 * in_stride)
        for (size_t o = 0; o < tile; o++, tables += 16) build_table(masks, tables, coef + o * out_stride, in_stride);
    return n_groups;
}

/* Tables of `tile` outputs for n_groups groups from input `first`: tables[group][output][16].  Outputs from n_out on
 * and inputs past the end get zeros. */
INLINE void build_tables(int32_t *tables, const frbm_operand *op, size_t output, size_t n_out, size_t tile,
                         size_t first, size_t n_groups) {
    const int32_t *coef = op->coef + output * op->out_stride + first * op->in_stride;
    size_t whole = (op->n_inputs - first) / 4;
    if (whole > n_groups) whole = n_groups;
    if (n_out != tile) whole = 0;
    whole = build_whole(tile, tables, coef, op->out_stride, op->in_stride, whole);
    const entry_masks masks = table_masks();
    tables += 16 * tile * whole;
    for (size_t g = whole; g < n_groups; g++)
        for (size_t o = 0; o < tile; o++, tables += 16) {
            int32_t padded[4] = {0};
            for (size_t q = 0; o < n_out && q < 4; q++)
                if (first + 4 * g + q < op->n_inputs)
                    padded[q] = coef[o * op->out_stride + (4 * g + q) * op->in_stride];
            build_table(masks, tables, padded, 1);
        }
}

/* sums[o][lane] = product, or += with `add`, for outputs [output, output + n_out), n_out <= FRBM_TILE.  Rows of
 * `sums` up to the next of 2, 4, 6 are written too, and lanes up to a multiple of 16. */
static void look_up_product(const frbm_operand *op, size_t output, size_t n_out, const int add, int32_t *sums,
                            size_t ld, size_t first_lane, size_t n_lanes, int32_t *tables) {
    const size_t tile = n_out > 4 ? 6 : n_out > 2 ? 4 : 2;
    for (size_t first = 0; first < op->n_inputs; first += 32 * FRBM_CHUNK_WORDS) {
        const size_t left = op->n_inputs - first;
        const size_t n_groups = ((left < 32 * FRBM_CHUNK_WORDS ? left : 32 * FRBM_CHUNK_WORDS) + 3) / 4;
        build_tables(tables, op, output, n_out, tile, first, n_groups);
        look_up(tile, add || first, sums, ld, n_lanes, tables, op->bits + first / 32 * op->stride + first_lane,
                op->stride,
                n_groups);
    }
}
#endif

#endif
