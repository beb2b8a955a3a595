/* Gradients of sampled hidden states: <v h> counts the samples in which both units are on, AND and popcount of their
 * planes.  One 512-bit AND, popcount and addition do 512 multiply-adds, where a look-up and addition do 64. */
#ifndef FASTRBM_COINCIDENCES_H
#define FASTRBM_COINCIDENCES_H

#include "kernels.h"
#include "simd.h"

/* Samples of two layers as planes, and how they lie */
typedef struct {
    const uint32_t *visible, *hidden;
    size_t visible_ld, hidden_ld, n_words;
} coincidence_planes;

#define BYTE_WORDS 31 /* words whose counts of 8 bits fit a byte */

/* Without a popcount of lanes: bytes are counted, and added up lane by lane every 31 words */
static void count_by_bytes(const coincidence_planes *p, size_t first, size_t n_hidden, size_t lane, size_t n_lanes,
                           int32_t *counts, size_t ld) {
    for (size_t l = 0; l < n_lanes; l += REGISTER / 4)
        for (size_t j = 0; j < n_hidden; j++) {
            const uint32_t *visible = p->visible + lane + l, *hidden = p->hidden + first + j;
            reg_u total = {0};
            for (size_t w = 0; w < p->n_words;) {
                const size_t end = p->n_words - w < BYTE_WORDS ? p->n_words : w + BYTE_WORDS;
                reg_u bytes = {0};
                for (; w < end; w++, visible += p->visible_ld, hidden += p->hidden_ld) {
                    const reg_u v = load_reg_u(visible);
                    bytes += count_bytes(v & *hidden);
                }
                const reg_u halves = (bytes & 0x00FF00FFu) + (bytes >> 8 & 0x00FF00FFu);
                total += (halves & 0xFFFFu) + (halves >> 16);
            }
            STORE(counts + j * ld + l, total);
        }
}

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

static __attribute__((target("avx512vpopcntdq"))) void count_by_popcnt(const coincidence_planes *p, size_t first,
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

/* counts[j][lane] = samples in which hidden unit first + j and visible unit `lane` are both on, j < n_hidden <=
 * FRBM_TILE; lanes up to a multiple of 16 are written */
static void count_coincidences(const coincidence_planes *p, size_t first, size_t n_hidden, size_t lane, size_t n_lanes,
                               int32_t *counts, size_t ld) {
    (frbm_vpopcnt ? count_by_popcnt : count_by_bytes)(p, first, n_hidden, lane, n_lanes, counts, ld);
}
#else
#define count_coincidences count_by_bytes
#endif

#endif
