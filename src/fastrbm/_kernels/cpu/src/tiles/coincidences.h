/* Gradients of sampled hidden states: <v h> counts the samples in which both units are on, AND and popcount of their
 * planes.  One 512-bit AND, popcount and addition do 512 multiply-adds, where a look-up and addition do 64. */
#ifndef FASTRBM_COINCIDENCES_H
#define FASTRBM_COINCIDENCES_H

#include "kernels.h"
#include "simd.h"

/* Samples of two layers as planes, and what a pair that is on adds to the gradient */
typedef struct {
    const uint32_t *visible, *hidden;
    size_t visible_ld, hidden_ld, n_words;
} coincidence_planes;

#ifdef FRBM_AVX512
/* counts of `tile` hidden units with 16 * vectors visible ones */
INLINE __attribute__((target("avx512vpopcntdq"))) void count_block(const int tile, const int vectors,
                                                                   const uint32_t *visible, size_t visible_ld,
                                                                   const uint32_t *hidden, size_t hidden_ld,
                                                                   size_t n_words, int32_t *counts, size_t ld) {
    __m512i total[FRBM_TILE][4];
    for (int j = 0; j < tile; j++)
        for (int q = 0; q < vectors; q++) total[j][q] = _mm512_setzero_si512();
    for (size_t w = 0; w < n_words; w++, visible += visible_ld, hidden += hidden_ld) {
        __m512i v[4];
        for (int q = 0; q < vectors; q++) v[q] = _mm512_loadu_si512(visible + 16 * q);
        for (int j = 0; j < tile; j++) {
            const __m512i h = _mm512_set1_epi32((int)hidden[j]);
            for (int q = 0; q < vectors; q++)
                total[j][q] = _mm512_add_epi32(total[j][q], _mm512_popcnt_epi32(_mm512_and_si512(v[q], h)));
        }
    }
    for (int j = 0; j < tile; j++)
        for (int q = 0; q < vectors; q++) _mm512_storeu_si512(counts + j * ld + 16 * q, total[j][q]);
}

static __attribute__((target("avx512vpopcntdq"))) void count_coincidences_popcnt(const coincidence_planes *p, size_t first,
                                                                          size_t n_hidden, size_t lane, size_t n_lanes,
                                                                          int32_t *counts, size_t ld) {
    const uint32_t *hidden = p->hidden + first;
    size_t l = 0;
    for (; l + 64 <= n_lanes && n_hidden == FRBM_TILE; l += 64)
        count_block(FRBM_TILE, 4, p->visible + lane + l, p->visible_ld, hidden, p->hidden_ld, p->n_words, counts + l,
                    ld);
    for (; l < n_lanes && n_hidden == FRBM_TILE; l += 16)
        count_block(FRBM_TILE, 1, p->visible + lane + l, p->visible_ld, hidden, p->hidden_ld, p->n_words, counts + l,
                    ld);
    for (; l < n_lanes; l += 16)
        for (size_t j = 0; j < n_hidden; j++)
            count_block(1, 1, p->visible + lane + l, p->visible_ld, hidden + j, p->hidden_ld, p->n_words,
                        counts + j * ld + l, ld);
}
#endif

/* Set bits of each byte */
INLINE reg_u count_bytes(reg_u x) {
#if defined(FRBM_AVX512)
    const __m512i table = _mm512_set4_epi32(0x04030302, 0x03020201, 0x03020201, 0x02010100);
    const __m512i low = _mm512_set1_epi8(15), b = (__m512i)x;
    return (reg_u)_mm512_add_epi8(_mm512_shuffle_epi8(table, _mm512_and_si512(b, low)),
                                  _mm512_shuffle_epi8(table, _mm512_and_si512(_mm512_srli_epi32(b, 4), low)));
#elif defined(FRBM_AVX2)
    const __m256i table = _mm256_broadcastsi128_si256(_mm_set_epi32(0x04030302, 0x03020201, 0x03020201, 0x02010100));
    const __m256i low = _mm256_set1_epi8(15), b = (__m256i)x;
    return (reg_u)_mm256_add_epi8(_mm256_shuffle_epi8(table, _mm256_and_si256(b, low)),
                                  _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi32(b, 4), low)));
#else
    x = x - (x >> 1 & 0x55555555u);
    x = (x & 0x33333333u) + (x >> 2 & 0x33333333u);
    return (x + (x >> 4)) & 0x0F0F0F0Fu;
#endif
}

#define BYTE_WORDS 31 /* words whose counts of 8 bits fit a byte */

/* Without a popcount of lanes: bytes are counted, and added up lane by lane every 31 words */
static void count_coincidences_bytes(const coincidence_planes *p, size_t first, size_t n_hidden, size_t lane, size_t n_lanes,
                              int32_t *counts, size_t ld) {
    for (size_t l = 0; l < n_lanes; l += REGISTER / 4)
        for (size_t j = 0; j < n_hidden; j++) {
            const uint32_t *visible = p->visible + lane + l, *hidden = p->hidden + first + j;
            reg_u total = {0};
            for (size_t w = 0; w < p->n_words;) {
                const size_t end = p->n_words - w < BYTE_WORDS ? p->n_words : w + BYTE_WORDS;
                reg_u bytes = {0};
                for (; w < end; w++, visible += p->visible_ld, hidden += p->hidden_ld) {
                    reg_u v;
                    memcpy(&v, visible, sizeof v);
                    bytes += count_bytes(v & *hidden);
                }
                const reg_u halves = (bytes & 0x00FF00FFu) + (bytes >> 8 & 0x00FF00FFu);
                total += (halves & 0xFFFFu) + (halves >> 16);
            }
            memcpy(counts + j * ld + l, &total, sizeof total);
        }
}

/* counts[j][lane] = samples in which hidden unit first + j and visible unit `lane` are both on, j < n_hidden <=
 * FRBM_TILE; lanes up to a multiple of 16 are written */
static void count_coincidences(const coincidence_planes *p, size_t first, size_t n_hidden, size_t lane, size_t n_lanes,
                        int32_t *counts, size_t ld) {
#ifdef FRBM_AVX512
    if (frbm_vpopcnt) {
        count_coincidences_popcnt(p, first, n_hidden, lane, n_lanes, counts, ld);
        return;
    }
#endif
    count_coincidences_bytes(p, first, n_hidden, lane, n_lanes, counts, ld);
}

#endif
