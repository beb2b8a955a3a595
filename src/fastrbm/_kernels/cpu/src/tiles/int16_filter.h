/* 16-bit look-ups of a filter: half the bits of the weights, and a rigorous bound on what that loses. */
#ifndef FASTRBM_INT16_FILTER_H
#define FASTRBM_INT16_FILTER_H

#include "kernels.h"
#include "simd.h"

/* Round one output's integers to 16 bits: shift so that any 16 inputs that share a look-up chain fit, and bound what
 * is lost.  packed[16 w + k] = input 32 w + k | input 32 w + 16 + k << 16.  Returns the shift; *error is the largest
 * |sum - 2^shift * rounded sum| over all subsets of inputs. */
static int pack_int16(const int32_t *row, size_t n, uint32_t *packed, int64_t *error) {
    uint32_t largest = 0, above = 0, below = 0;
    int32_t tail[32] = {0};
    memcpy(tail, row + n / 32 * 32, n % 32 * sizeof(int32_t));
    for (size_t first = 0; first < n; first += 16) {
        const int32_t *x = first + 16 <= n / 32 * 32 ? row + first : tail + first % 32;
        uint32_t up = 0, down = 0; /* sums of all inputs fit 31 bits (quantise.h) */
        for (int i = 0; i < 16; i++) {
            up += x[i] > 0 ? (uint32_t)x[i] : 0u;
            down += x[i] < 0 ? 0u - (uint32_t)x[i] : 0u;
        }
        largest = up > largest ? up : largest;
        largest = down > largest ? down : largest;
    }
    int shift = 0;
    while ((largest >> shift) + 16 > 32767) shift++; /* 16: every input may round up */
    const int32_t half = shift ? 1 << (shift - 1) : 0;
    for (size_t first = 0; first < n; first += 32, packed += 16) {
        const int32_t *x = first + 32 <= n ? row + first : tail;
        for (int i = 0; i < 16; i++) {
            const int32_t low = (x[i] + half) >> shift, high = (x[i + 16] + half) >> shift;
            const int32_t lost = x[i] - low * (1 << shift), lost_high = x[i + 16] - high * (1 << shift);
            above += (uint32_t)(lost > 0 ? lost : 0) + (uint32_t)(lost_high > 0 ? lost_high : 0);
            below += (uint32_t)(lost < 0 ? -lost : 0) + (uint32_t)(lost_high < 0 ? -lost_high : 0);
            packed[i] = ((uint32_t)low & 0xFFFFu) | (uint32_t)high << 16;
        }
    }
    *error = above > below ? above : below;
    return shift;
}

#ifdef FRBM_AVX512
#define FILTER_TILE 6
/* Tables of FILTER_TILE outputs, `stride` words each, for n_words words: [word][output][4 groups][32 int16]; entry 2
 * e + p of group g holds the inputs e of nibble g in half p of the word. */
static void build_filter_tables(int32_t *tables, const uint32_t *packed, size_t stride, size_t n_words) {
    const __m512i lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    const __m512i quarter = _mm512_srli_epi32(lane, 2), first = _mm512_slli_epi32(quarter, 2);
    const __m512i one = _mm512_set1_epi32(1), second = _mm512_add_epi32(first, one);
    const __m512i third = _mm512_add_epi32(second, one), fourth = _mm512_add_epi32(third, one);
    __m512i pick_low[4], pick_high[4];
    for (int q = 0; q < 4; q++) {
        pick_low[q] = _mm512_add_epi32(_mm512_and_si512(lane, _mm512_set1_epi32(3)), _mm512_set1_epi32(4 * q));
        pick_high[q] = _mm512_add_epi32(quarter, _mm512_set1_epi32(4 * q));
    }
    for (size_t w = 0; w < n_words; w++)
        for (size_t o = 0; o < FILTER_TILE; o++) {
            const __m512i c = _mm512_loadu_si512(packed + (o * stride + w) * 16);
            const __m512i low = _mm512_add_epi16(_mm512_maskz_permutexvar_epi32(0xAAAA, first, c),
                                                 _mm512_maskz_permutexvar_epi32(0xCCCC, second, c));
            const __m512i high = _mm512_add_epi16(_mm512_maskz_permutexvar_epi32(0xAAAA, third, c),
                                                  _mm512_maskz_permutexvar_epi32(0xCCCC, fourth, c));
#pragma GCC unroll 4
            for (int q = 0; q < 4; q++, tables += 16)
                _mm512_store_si512(tables, _mm512_add_epi16(_mm512_permutexvar_epi32(pick_low[q], low),
                                                            _mm512_permutexvar_epi32(pick_high[q], high)));
        }
}

/* sums[o][lane] = or += for 32 lanes, over words whose tables are given */
INLINE void look_up_filter(const int add, int32_t *sums, size_t ld, const int32_t *tables, const uint32_t *bits,
                        size_t stride, size_t n_words) {
    const __m512i ones = _mm512_set1_epi16(1), parity = _mm512_set1_epi32(0x00010000);
    __m512i acc[FILTER_TILE][2];
#pragma GCC unroll 6
    for (int o = 0; o < FILTER_TILE; o++)
#pragma GCC unroll 2
        for (int v = 0; v < 2; v++)
            acc[o][v] = add ? _mm512_loadu_si512(sums + o * ld + 16 * v) : _mm512_setzero_si512();
    for (size_t w = 0; w < n_words; w++, bits += stride) {
        __m512i index[4][2];
#pragma GCC unroll 2
        for (int v = 0; v < 2; v++) {
            /* nibble in bits 1-4, half of the word in bit 0; vpermw ignores the rest */
            const __m512i x = _mm512_loadu_si512(bits + 16 * v);
            index[0][v] = _mm512_ternarylogic_epi32(_mm512_slli_epi16(x, 1), ones, parity, 0xBA);
            index[1][v] = _mm512_ternarylogic_epi32(_mm512_srli_epi16(x, 3), ones, parity, 0xBA);
            index[2][v] = _mm512_ternarylogic_epi32(_mm512_srli_epi16(x, 7), ones, parity, 0xBA);
            index[3][v] = _mm512_ternarylogic_epi32(_mm512_srli_epi16(x, 11), ones, parity, 0xBA);
        }
#pragma GCC unroll 6
        for (int o = 0; o < FILTER_TILE; o++, tables += 64) {
            __m512i table[4];
#pragma GCC unroll 4
            for (int g = 0; g < 4; g++) table[g] = _mm512_load_si512(tables + 16 * g);
            __asm__("" : "+v"(table[0]), "+v"(table[1]), "+v"(table[2]), "+v"(table[3]));
#pragma GCC unroll 2
            for (int v = 0; v < 2; v++) {
                __m512i part = _mm512_permutexvar_epi16(index[0][v], table[0]);
#pragma GCC unroll 3
                for (int g = 1; g < 4; g++)
                    part = _mm512_add_epi16(part, _mm512_permutexvar_epi16(index[g][v], table[g]));
                acc[o][v] = _mm512_add_epi32(acc[o][v], _mm512_madd_epi16(part, ones));
                __asm__ volatile("" : "+v"(acc[o][v]));
            }
        }
    }
#pragma GCC unroll 6
    for (int o = 0; o < FILTER_TILE; o++)
#pragma GCC unroll 2
        for (int v = 0; v < 2; v++) _mm512_storeu_si512(sums + o * ld + 16 * v, acc[o][v]);
}

/* sums[u][lane] of the rounded integers of n_units outputs, n_lanes up to a multiple of 32; rows of `sums` up to a
 * multiple of 6 are written too.  `packed` holds n_words * 16 dwords an output, with room for a whole tile. */
static void filter_product(const uint32_t *packed, size_t n_words, size_t n_units, const uint32_t *bits, size_t stride,
                        size_t n_lanes, int32_t *sums, size_t ld, int32_t *tables) {
    for (size_t u = 0; u < n_units; u += FILTER_TILE)
        for (size_t first = 0; first < n_words; first += 2 * FRBM_CHUNK_WORDS) {
            const size_t here = n_words - first < 2 * FRBM_CHUNK_WORDS ? n_words - first : 2 * FRBM_CHUNK_WORDS;
            build_filter_tables(tables, packed + (u * n_words + first) * 16, n_words, here);
            for (size_t lane = 0; lane < n_lanes; lane += 32)
                look_up_filter(first > 0, sums + u * ld + lane, ld, tables, bits + first * stride + lane, stride, here);
        }
}
#else
static void filter_product(const uint32_t *packed, size_t n_words, size_t n_units, const uint32_t *bits, size_t stride,
                        size_t n_lanes, int32_t *sums, size_t ld, int32_t *tables) {
    (void)tables;
    for (size_t u = 0; u < n_units; u++)
        for (size_t lane = 0; lane < n_lanes; lane++) {
            int32_t sum = 0;
            for (size_t w = 0; w < n_words; w++) {
                const uint32_t *half = packed + (u * n_words + w) * 16;
                for (uint32_t active = bits[w * stride + lane]; active; active &= active - 1) {
                    const int k = __builtin_ctz(active);
                    sum += (int16_t)(half[k % 16] >> (k / 16 * 16));
                }
            }
            sums[u * ld + lane] = sum;
        }
}
#endif

#endif
