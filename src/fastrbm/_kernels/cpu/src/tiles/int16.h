/* Products of weights rounded to 16 bits (precision="fast"): look-ups of five inputs for 32 lanes at once.
 *
 * Such weights are multiples of 2^16 in the ordinary int32 copy (quantise.h), and every sum of them fits 16 bits.  So
 * any other way to do the product gives the same integers; this one, for AVX-512, is the fast one: 160 multiply-adds a
 * look-up where int32 has 64.
 *
 * Lanes have 16 bits here, of which 15 are three groups of five inputs. */
#ifndef FASTRBM_INT16_H
#define FASTRBM_INT16_H

#include "kernels.h"
#include "simd.h"

#ifdef FRBM_AVX512
#define INT16_LANES 32 /* lanes of a register */

/* Entries that have the coefficient: inputs 0, 1, 2 of the lower eight, 3 and 4 of the upper four */
static const __mmask32 in_eight[3] = {0xAAAAAAAA, 0xCCCCCCCC, 0xF0F0F0F0}, in_four[2] = {0xAAAAAAAA, 0xCCCCCCCC};

#define FOUR(x) x, x, x, x
#define EIGHT(x) FOUR(x), FOUR(x)
/* The upper half of an int32 is the odd one of its two 16-bit lanes */
static const int16_t low_contiguous[32] = {EIGHT(1), EIGHT(11), EIGHT(21), EIGHT(31)};
static const int16_t high_contiguous[32] = {FOUR(7),  FOUR(17), FOUR(27), FOUR(37),
                                            FOUR(47), FOUR(57), FOUR(3),  FOUR(13)}; /* three tables, the rest unused */
static const int16_t low_across[32] = {EIGHT(1), EIGHT(3), EIGHT(5), EIGHT(7)};
static const int16_t high_across[32] = {FOUR(1), FOUR(3), FOUR(5), FOUR(7), FOUR(9), FOUR(11), FOUR(13), FOUR(15)};
static const int16_t entry_of_eight[32] = {0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7,
                                           0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7};
static const int16_t entry_of_four[32] = {EIGHT(0), EIGHT(1), EIGHT(2), EIGHT(3)};
#undef FOUR
#undef EIGHT

INLINE __m512i shifted(const int16_t *lanes, int by) {
    return _mm512_add_epi16(_mm512_loadu_si512(lanes), _mm512_set1_epi16((short)by));
}

INLINE __m512i sum_three(__m512i a, __m512i x, __m512i b, __m512i y, __m512i c, __m512i z) {
    return _mm512_add_epi16(_mm512_add_epi16(_mm512_maskz_permutexvar_epi16(in_eight[0], a, x),
                                             _mm512_maskz_permutexvar_epi16(in_eight[1], b, y)),
                            _mm512_maskz_permutexvar_epi16(in_eight[2], c, z));
}

INLINE __m512i sum_two(__m512i a, __m512i x, __m512i b, __m512i y) {
    return _mm512_add_epi16(_mm512_maskz_permutexvar_epi16(in_four[0], a, x),
                            _mm512_maskz_permutexvar_epi16(in_four[1], b, y));
}

INLINE void store_int16(int32_t *table, __m512i at_low, __m512i low, __m512i at_high, __m512i high) {
    _mm512_store_si512(table, _mm512_add_epi16(_mm512_permutexvar_epi16(at_low, low),
                                               _mm512_permutexvar_epi16(at_high, high)));
}

/* Tables [group][output][32] of n_words words of 15 inputs; coefficients contiguous over inputs.  Rows may be read up
 * to 16 past their end. */
static __attribute__((noinline)) void int16_contiguous(int32_t *tables, const int32_t *coef, size_t out_stride,
                                                        size_t n_out, size_t n_words) {
    __m512i low[3], high[2], at_low[3], at_high[3];
    for (int i = 0; i < 3; i++) {
        low[i] = shifted(low_contiguous, 2 * i);
        at_low[i] = shifted(entry_of_eight, 8 * i);
        at_high[i] = shifted(entry_of_four, 4 * i);
    }
    for (int i = 0; i < 2; i++) high[i] = shifted(high_contiguous, 2 * i);
    for (size_t w = 0; w < n_words; w++, coef += 15, tables += 3 * FRBM_TILE * 16)
        for (size_t o = 0; o < FRBM_TILE; o++) {
            const __m512i c = _mm512_loadu_si512(coef + (o < n_out ? o : 0) * out_stride);
            const __m512i three = sum_three(low[0], c, low[1], c, low[2], c), two = sum_two(high[0], c, high[1], c);
#pragma GCC unroll 3
            for (int q = 0; q < 3; q++)
                store_int16(tables + (q * FRBM_TILE + o) * 16, at_low[q], three, at_high[q], two);
        }
}

/* The same for coefficients contiguous over outputs; inputs from n_inputs on, whose bits are 0, may be anything */
static __attribute__((noinline)) void int16_across(int32_t *tables, const int32_t *coef, size_t in_stride,
                                                    size_t n_inputs, size_t n_words) {
    const __m512i first = shifted(low_across, 0), second = shifted(low_across, 8), two_inputs = shifted(high_across, 0);
    __m512i at_low[4], at_high[6];
    for (int q = 0; q < 4; q++) at_low[q] = shifted(entry_of_eight, 8 * q);
    for (int q = 0; q < 6; q++) at_high[q] = shifted(entry_of_four, 4 * q);
    for (size_t input = 0; input < 15 * n_words; input += 5, tables += FRBM_TILE * 16) {
        __m512i c[5];
        for (size_t i = 0; i < 5; i++)
            c[i] = _mm512_loadu_si512(coef + (input + i < n_inputs ? input + i : n_inputs - 1) * in_stride);
        const __m512i three = sum_three(first, c[0], first, c[1], first, c[2]);
        const __m512i more = sum_three(second, c[0], second, c[1], second, c[2]);
        const __m512i two = sum_two(two_inputs, c[3], two_inputs, c[4]);
#pragma GCC unroll 4
        for (int q = 0; q < 4; q++) store_int16(tables + 16 * q, at_low[q], three, at_high[q], two);
        store_int16(tables + 64, at_low[0], more, at_high[4], two);
        store_int16(tables + 80, at_low[1], more, at_high[5], two);
    }
}

/* Bits [first, first + 15 * n_words) of each lane as words of 15 in 16 bits: out[word][lane], FRBM_LANE_BLOCK a row */
static void words_of_15(const frbm_operand *op, size_t first, size_t n_words, size_t first_lane, size_t n_lanes,
                        uint16_t *out) {
    const size_t last = (op->n_inputs - 1) / 32;
    for (size_t w = 0; w < n_words; w++, out += FRBM_LANE_BLOCK) {
        const size_t bit = first + 15 * w, source = bit / 32;
        const uint32_t *words = op->bits + source * op->stride + first_lane;
        const __m128i shift = _mm_cvtsi32_si128((int)(bit % 32)), back = _mm_cvtsi32_si128(32 - (int)(bit % 32));
        const int crosses = bit % 32 > 17 && source < last;
        for (size_t lane = 0; lane < frbm_round_up(n_lanes, INT16_LANES); lane += 16) {
            __m512i x = _mm512_srl_epi32(_mm512_loadu_si512(words + lane), shift);
            if (crosses)
                x = _mm512_or_si512(x, _mm512_sll_epi32(_mm512_loadu_si512(words + op->stride + lane), back));
            _mm256_storeu_si256((__m256i *)(out + lane), _mm512_cvtepi32_epi16(x));
        }
    }
}

/* sums[o][32 * v ...] = or += entries, 16 bits, FRBM_TILE outputs and `vectors` registers of lanes */
INLINE void look_up_int16_block(const int vectors, const int add, int16_t *sums, size_t ld, const int32_t *tables,
                                 const uint16_t *bits, size_t n_words) {
    __m512i acc[FRBM_TILE][4], index[4];
#pragma GCC unroll 6
    for (int o = 0; o < FRBM_TILE; o++)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++)
            acc[o][v] = add ? _mm512_loadu_si512(sums + o * ld + INT16_LANES * v) : _mm512_setzero_si512();
    for (size_t w = 0; w < n_words; w++, bits += FRBM_LANE_BLOCK) {
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) index[v] = _mm512_loadu_si512(bits + INT16_LANES * v);
        for (int g = 0; g < 3; g++) {
#pragma GCC unroll 6
            for (int o = 0; o < FRBM_TILE; o++, tables += 16) {
                __m512i table = _mm512_load_si512(tables);
                __asm__("" : "+v"(table));
#pragma GCC unroll 4
                for (int v = 0; v < vectors; v++) {
                    acc[o][v] = _mm512_add_epi16(acc[o][v], _mm512_permutexvar_epi16(index[v], table));
                    __asm__ volatile("" : "+v"(acc[o][v]));
                }
            }
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++) index[v] = _mm512_srli_epi16(index[v], 5);
        }
    }
#pragma GCC unroll 6
    for (int o = 0; o < FRBM_TILE; o++)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) _mm512_storeu_si512(sums + o * ld + INT16_LANES * v, acc[o][v]);
}

static __attribute__((noinline)) void look_up_int16(const int add, int16_t *sums, size_t ld, const int32_t *tables,
                                                     const uint16_t *bits, size_t n_words, size_t n_lanes) {
    for (size_t lane = 0; lane < n_lanes; lane += 4 * INT16_LANES)
        switch (n_lanes - lane > 3 * INT16_LANES ? 4 : (n_lanes - lane + INT16_LANES - 1) / INT16_LANES) {
            case 4: look_up_int16_block(4, add, sums + lane, ld, tables, bits + lane, n_words); break;
            case 3: look_up_int16_block(3, add, sums + lane, ld, tables, bits + lane, n_words); break;
            case 2: look_up_int16_block(2, add, sums + lane, ld, tables, bits + lane, n_words); break;
            default: look_up_int16_block(1, add, sums + lane, ld, tables, bits + lane, n_words); break;
        }
}

/* One row of 16-bit sums to int32 in its place, from the end so that nothing is overwritten unread */
INLINE void widen_row(int32_t *row, size_t n_lanes) {
    for (size_t lane = frbm_round_up(n_lanes, INT16_LANES); lane; lane -= INT16_LANES) {
        const __m512i x = _mm512_loadu_si512((const int16_t *)row + lane - INT16_LANES);
        const __m512i low = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(x));
        const __m512i high = _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(x, 1));
        _mm512_storeu_si512(row + lane - 16, _mm512_slli_epi32(high, 16));
        _mm512_storeu_si512(row + lane - 32, _mm512_slli_epi32(low, 16));
    }
}

/* sums[u][lane] of outputs [output, output + n_out) for at most FRBM_LANE_BLOCK lanes; rows up to a multiple of
 * FRBM_TILE and lanes up to a multiple of 32 are written too.  Returns 0 where this way does not exist. */
static int int16_product(const frbm_operand *op, size_t output, size_t n_out, int32_t *sums, size_t ld,
                         size_t first_lane, size_t n_lanes, float *scratch, uint16_t *bits) {
    int32_t *tables = (int32_t *)scratch;
    for (size_t first = 0; first < op->n_inputs; first += 15 * FRBM_INT16_WORDS) {
        const size_t left = op->n_inputs - first;
        const size_t n_words = left < 15 * FRBM_INT16_WORDS ? (left + 14) / 15 : FRBM_INT16_WORDS;
        words_of_15(op, first, n_words, first_lane, n_lanes, bits);
        for (size_t u = 0; u < n_out; u += FRBM_TILE) {
            const int32_t *coef = op->coef + (output + u) * op->out_stride + first * op->in_stride;
            if (op->in_stride == 1)
                int16_contiguous(tables, coef, op->out_stride, n_out - u, n_words);
            else
                int16_across(tables, coef, op->in_stride, left, n_words);
            look_up_int16(first > 0, (int16_t *)(sums + u * ld), 2 * ld, tables, bits, n_words, n_lanes);
        }
    }
    for (size_t u = 0; u < n_out; u++) widen_row(sums + u * ld, n_lanes);
    return 1;
}
#else
static int int16_product(const frbm_operand *op, size_t output, size_t n_out, int32_t *sums, size_t ld,
                         size_t first_lane, size_t n_lanes, float *scratch, uint16_t *bits) {
    (void)op, (void)output, (void)n_out, (void)sums, (void)ld, (void)first_lane, (void)n_lanes, (void)scratch;
    (void)bits;
    return 0;
}
#endif

#endif
