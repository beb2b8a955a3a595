/* Table look-up products: sums over bits times floats without multiplications.
 *
 * Four input bits select one of 16 partial sums of four coefficients; the 16 entries are one AVX-512 register, so
 * one permute looks up 16 lanes and one add finishes 64 multiply-adds.  AVX2 needs two 8-entry permutes and a
 * blend; the baseline indexes the table in memory.  All add the same entries in the same order.
 *
 * Entry e of a table is ((e&1 ? c0 : 0) + (e&2 ? c1 : 0)) + ..., absent terms skipped.
 */
#ifndef FASTRBM_LOOKUP_H
#define FASTRBM_LOOKUP_H

#include "lane_math.h"

/* Inputs whose tables are in use at once.  AVX-512 re-reads tables for four registers of lanes and streams them
 * from L2; the others re-read them per 8 or 16 lanes, so theirs must stay in L1 (6 * 64 tables = 24 KB). */
#ifdef FRBM_AVX512
#define CHUNK_WORDS FRBM_CHUNK_WORDS
#else
#define CHUNK_WORDS 8
#endif

/* ---- building -------------------------------------------------------------------------------------------- */

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

/* ((c0 where m0, else 0) + c1 where m1) + ...: a whole table, or with masks of 16 lanes their looked-up entries */
INLINE __m512 masked_sum(entry_masks m, const float *coef, size_t stride) {
    __m512 t = _mm512_maskz_mov_ps(m.m0, _mm512_set1_ps(coef[0]));
    t = _mm512_mask_add_ps(t, m.m1, t, _mm512_set1_ps(coef[stride]));
    t = _mm512_mask_add_ps(t, m.m2, t, _mm512_set1_ps(coef[2 * stride]));
    return _mm512_mask_add_ps(t, m.m3, t, _mm512_set1_ps(coef[3 * stride]));
}
#define BUILD_TABLE(table, coef, stride) _mm512_store_ps(table, masked_sum(masks, coef, stride))
#else
INLINE void build_table(float *table, const float *coef, size_t stride) {
    const float c1 = coef[stride], c2 = coef[2 * stride], c3 = coef[3 * stride];
    table[0] = 0.0f;
    table[1] = coef[0];
    /* 0 + c, as the masked additions above give: it turns -0 into 0 */
    table[2] = 0.0f + c1;
    table[3] = table[1] + c1;
    for (int e = 0; e < 4; e++) table[4 + e] = table[e] + c2;
    for (int e = 0; e < 8; e++) table[8 + e] = table[e] + c3;
}
#define BUILD_TABLE(table, coef, stride) build_table(table, coef, stride)
#endif

/* n_groups whole groups of `tile` outputs */
INLINE void build_whole(const size_t tile, float *tables, const float *coef, size_t out_stride, size_t in_stride,
                        size_t n_groups) {
#ifdef FRBM_AVX512
    const entry_masks masks = table_masks();
#endif
    for (size_t g = 0; g < n_groups; g++, coef += 4 * in_stride)
        for (size_t o = 0; o < tile; o++, tables += 16) BUILD_TABLE(tables, coef + o * out_stride, in_stride);
}

/* Coefficients of one group that reaches past the last input, zeros there */
INLINE void pad_group(const frbm_operand *op, size_t output, size_t input, float padded[4]) {
    const float *coef = op->coef + output * op->out_stride + input * op->in_stride;
    for (size_t q = 0; q < 4; q++) padded[q] = input + q < op->n_inputs ? coef[q * op->in_stride] : 0.0f;
}

/* Tables of `tile` outputs for n_groups groups from input `first`: tables[group][output][16].  Outputs from n_out on
 * and inputs past the end get zeros. */
INLINE void build_tables(float *tables, const frbm_operand *op, size_t output, size_t n_out, size_t tile,
                         size_t first, size_t n_groups) {
    const float *coef = op->coef + output * op->out_stride + first * op->in_stride;
    size_t whole = (op->n_inputs - first) / 4;
    if (whole > n_groups) whole = n_groups;
    if (n_out != tile) whole = 0;
    if (tile == 6 && op->in_stride == 1)
        build_whole(6, tables, coef, op->out_stride, 1, whole);
    else if (tile == 6)
        build_whole(6, tables, coef, op->out_stride, op->in_stride, whole);
    else
        build_whole(tile, tables, coef, op->out_stride, op->in_stride, whole);
#ifdef FRBM_AVX512
    const entry_masks masks = table_masks();
#endif
    tables += 16 * tile * whole;
    for (size_t g = whole; g < n_groups; g++)
        for (size_t o = 0; o < tile; o++, tables += 16) {
            float padded[4] = {0};
            if (o < n_out) pad_group(op, output + o, first + 4 * g, padded);
            BUILD_TABLE(tables, padded, 1);
        }
}

/* ---- looking up ------------------------------------------------------------------------------------------ */

#ifdef FRBM_AVX512
/* sums[o][16 * v ...] += entries, o < tile, v < vectors; tile * vectors accumulators stay in registers */
INLINE void look_up_block(const int tile, const int vectors, float *sums, size_t ld, const float *tables,
                          const uint32_t *bits, size_t stride, size_t n_groups) {
    __m512 acc[FRBM_TILE][4];
    __m512i index[4];
    for (int o = 0; o < tile; o++)
        for (int v = 0; v < vectors; v++) acc[o][v] = _mm512_loadu_ps(sums + o * ld + 16 * v);
    while (n_groups) {
        const size_t here = n_groups < 8 ? n_groups : 8;
        for (int v = 0; v < vectors; v++) index[v] = _mm512_loadu_si512(bits + 16 * v);
        for (size_t g = 0; g < here; g++) {
            for (int o = 0; o < tile; o++, tables += 16) {
                const __m512 table = _mm512_load_ps(tables);
                for (int v = 0; v < vectors; v++)
                    acc[o][v] = _mm512_add_ps(acc[o][v], _mm512_permutexvar_ps(index[v], table));
            }
            for (int v = 0; v < vectors; v++) index[v] = _mm512_srli_epi32(index[v], 4);
        }
        bits += stride;
        n_groups -= here;
    }
    for (int o = 0; o < tile; o++)
        for (int v = 0; v < vectors; v++) _mm512_storeu_ps(sums + o * ld + 16 * v, acc[o][v]);
}

static void look_up(size_t tile, float *sums, size_t ld, size_t n_lanes, const float *tables, const uint32_t *bits,
                    size_t stride, size_t n_groups) {
#define FRBM_SHAPE(T, V)                                                                  \
    case 4 * T + V - 1:                                                                   \
        look_up_block(T, V, sums + lane, ld, tables, bits + lane, stride, n_groups); \
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

/* At most 16 lanes: the entries are summed for the lanes at hand, which costs as much as building their table.  The
 * additions are those of a table, so a lane's result does not depend on how many others there are. */
INLINE void direct_block(const size_t tile, const frbm_operand *op, size_t output, float *sums, size_t ld,
                         size_t first_lane) {
    const float *coef = op->coef + output * op->out_stride;
    const __m512i one = _mm512_set1_epi32(1), two = _mm512_set1_epi32(2), four = _mm512_set1_epi32(4),
                  eight = _mm512_set1_epi32(8);
    __m512 acc[FRBM_TILE];
    for (size_t o = 0; o < tile; o++) acc[o] = _mm512_loadu_ps(sums + o * ld);
    __m512i index = one;
    for (size_t k = 0; k < op->n_inputs; k += 4, coef += 4 * op->in_stride) {
        index = k % 32 ? _mm512_srli_epi32(index, 4)
                       : _mm512_loadu_si512(op->bits + k / 32 * op->stride + first_lane);
        const entry_masks m = {_mm512_test_epi32_mask(index, one), _mm512_test_epi32_mask(index, two),
                               _mm512_test_epi32_mask(index, four), _mm512_test_epi32_mask(index, eight)};
        if (k + 4 <= op->n_inputs) {
            for (size_t o = 0; o < tile; o++)
                acc[o] = _mm512_add_ps(acc[o], masked_sum(m, coef + o * op->out_stride, op->in_stride));
        } else {
            for (size_t o = 0; o < tile; o++) {
                float padded[4];
                pad_group(op, output + o, k, padded);
                acc[o] = _mm512_add_ps(acc[o], masked_sum(m, padded, 1));
            }
        }
    }
    for (size_t o = 0; o < tile; o++) _mm512_storeu_ps(sums + o * ld, acc[o]);
}

#elif defined(FRBM_AVX2)
INLINE void look_up_block(const int tile, float *sums, size_t ld, const float *tables, const uint32_t *bits,
                          size_t stride, size_t n_groups) {
    __m256 acc[FRBM_TILE];
    for (int o = 0; o < tile; o++) acc[o] = _mm256_loadu_ps(sums + o * ld);
    while (n_groups) {
        const size_t here = n_groups < 8 ? n_groups : 8;
        __m256i index = _mm256_loadu_si256((const __m256i *)bits);
        for (size_t g = 0; g < here; g++) {
            /* bit 3 of the index moved to the sign chooses the half */
            const __m256 upper = _mm256_castsi256_ps(_mm256_slli_epi32(index, 28));
            for (int o = 0; o < tile; o++, tables += 16) {
                const __m256 low = _mm256_permutevar8x32_ps(_mm256_load_ps(tables), index);
                const __m256 high = _mm256_permutevar8x32_ps(_mm256_load_ps(tables + 8), index);
                acc[o] = _mm256_add_ps(acc[o], _mm256_blendv_ps(low, high, upper));
            }
            index = _mm256_srli_epi32(index, 4);
        }
        bits += stride;
        n_groups -= here;
    }
    for (int o = 0; o < tile; o++) _mm256_storeu_ps(sums + o * ld, acc[o]);
}

static void look_up(size_t tile, float *sums, size_t ld, size_t n_lanes, const float *tables, const uint32_t *bits,
                    size_t stride, size_t n_groups) {
    for (size_t lane = 0; lane < n_lanes; lane += 8) {
        switch (tile) {
            case 6: look_up_block(6, sums + lane, ld, tables, bits + lane, stride, n_groups); break;
            case 4: look_up_block(4, sums + lane, ld, tables, bits + lane, stride, n_groups); break;
            default: look_up_block(2, sums + lane, ld, tables, bits + lane, stride, n_groups); break;
        }
    }
}

#else
INLINE void look_up_block(const int tile, float *sums, size_t ld, const float *tables, const uint32_t *bits,
                          size_t stride, size_t n_groups) {
    float acc[FRBM_TILE][4];
    for (int o = 0; o < tile; o++)
        for (int l = 0; l < 4; l++) acc[o][l] = sums[o * ld + l];
    while (n_groups) {
        const size_t here = n_groups < 8 ? n_groups : 8;
        for (size_t g = 0; g < here; g++, tables += 16 * tile) {
            for (int l = 0; l < 4; l++) {
                const float *entry = tables + (bits[l] >> (4 * g) & 15);
                for (int o = 0; o < tile; o++) acc[o][l] += entry[16 * o];
            }
        }
        bits += stride;
        n_groups -= here;
    }
    for (int o = 0; o < tile; o++)
        for (int l = 0; l < 4; l++) sums[o * ld + l] = acc[o][l];
}

static void look_up(size_t tile, float *sums, size_t ld, size_t n_lanes, const float *tables, const uint32_t *bits,
                    size_t stride, size_t n_groups) {
    for (size_t lane = 0; lane < n_lanes; lane += 4) {
        switch (tile) {
            case 6: look_up_block(6, sums + lane, ld, tables, bits + lane, stride, n_groups); break;
            case 4: look_up_block(4, sums + lane, ld, tables, bits + lane, stride, n_groups); break;
            default: look_up_block(2, sums + lane, ld, tables, bits + lane, stride, n_groups); break;
        }
    }
}
#endif

/* sums[o][lane] += product for outputs [output, output + n_out), n_out <= FRBM_TILE.  Rows of `sums` up to the
 * next of 2, 4, 6 are written too, and lanes up to a multiple of 16. */
static void look_up_product(const frbm_operand *op, size_t output, size_t n_out, float *sums, size_t ld,
                            size_t first_lane, size_t n_lanes, float *tables) {
    const size_t tile = n_out > 4 ? 6 : n_out > 2 ? 4 : 2;
#ifdef FRBM_AVX512
    if (n_lanes <= 16) {
        if (n_out == 6)
            direct_block(6, op, output, sums, ld, first_lane);
        else
            direct_block(n_out, op, output, sums, ld, first_lane);
        return;
    }
#endif
    for (size_t first = 0; first < op->n_inputs; first += 32 * CHUNK_WORDS) {
        const size_t left = op->n_inputs - first;
        const size_t n_groups = ((left < 32 * CHUNK_WORDS ? left : 32 * CHUNK_WORDS) + 3) / 4;
        build_tables(tables, op, output, n_out, tile, first, n_groups);
        look_up(tile, sums, ld, n_lanes, tables, op->bits + first / 32 * op->stride + first_lane, op->stride,
                n_groups);
    }
}

#endif
