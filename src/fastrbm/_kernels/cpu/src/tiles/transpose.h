/* Transposes of blocks of 32-bit numbers. */
#ifndef FASTRBM_TRANSPOSE_H
#define FASTRBM_TRANSPOSE_H

#include <stddef.h>
#include "simd.h"

/* rows [first, first + count) of `in` to columns of `out` */
static void transpose_rows(const int32_t *in, size_t ld, size_t first, size_t count, size_t width, int32_t *out,
                           size_t out_ld) {
    size_t j = first;
#ifdef FRBM_AVX512
    for (; j + 16 <= first + count; j += 16)
        for (size_t i = 0; i + 16 <= width; i += 16) {
            __m512i a[16], b[16];
            for (int r = 0; r < 16; r++) a[r] = _mm512_loadu_si512(in + (j + r) * ld + i);
            for (int r = 0; r < 16; r += 2) {
                b[r] = _mm512_unpacklo_epi32(a[r], a[r + 1]);
                b[r + 1] = _mm512_unpackhi_epi32(a[r], a[r + 1]);
            }
            for (int r = 0; r < 16; r += 4) {
                a[r] = _mm512_unpacklo_epi64(b[r], b[r + 2]);
                a[r + 1] = _mm512_unpackhi_epi64(b[r], b[r + 2]);
                a[r + 2] = _mm512_unpacklo_epi64(b[r + 1], b[r + 3]);
                a[r + 3] = _mm512_unpackhi_epi64(b[r + 1], b[r + 3]);
            }
            /* a[4 q + c]: quarter x holds column 4 x + c of rows 4 q .. 4 q + 3 */
            for (int c = 0; c < 4; c++) {
                const __m512i low01 = _mm512_shuffle_i32x4(a[c], a[4 + c], 0x44);
                const __m512i high01 = _mm512_shuffle_i32x4(a[c], a[4 + c], 0xEE);
                const __m512i low23 = _mm512_shuffle_i32x4(a[8 + c], a[12 + c], 0x44);
                const __m512i high23 = _mm512_shuffle_i32x4(a[8 + c], a[12 + c], 0xEE);
                b[c] = _mm512_shuffle_i32x4(low01, low23, 0x88);
                b[4 + c] = _mm512_shuffle_i32x4(low01, low23, 0xDD);
                b[8 + c] = _mm512_shuffle_i32x4(high01, high23, 0x88);
                b[12 + c] = _mm512_shuffle_i32x4(high01, high23, 0xDD);
            }
            for (int c = 0; c < 16; c++) _mm512_storeu_si512(out + (i + c) * out_ld + j, b[c]);
        }
    const size_t tail = j > first ? width / 16 * 16 : 0;
    for (size_t i = tail; i < width; i++)
        for (size_t r = first; r < j; r++) out[i * out_ld + r] = in[r * ld + i];
#endif
#ifdef __SSE2__
    for (; j + 4 <= first + count; j += 4) {
        size_t i = 0;
        for (; i + 4 <= width; i += 4) {
            __m128i a[4];
            for (int r = 0; r < 4; r++) a[r] = _mm_loadu_si128((const __m128i *)(in + (j + r) * ld + i));
            const __m128i low01 = _mm_unpacklo_epi32(a[0], a[1]), low23 = _mm_unpacklo_epi32(a[2], a[3]);
            const __m128i high01 = _mm_unpackhi_epi32(a[0], a[1]), high23 = _mm_unpackhi_epi32(a[2], a[3]);
            _mm_storeu_si128((__m128i *)(out + i * out_ld + j), _mm_unpacklo_epi64(low01, low23));
            _mm_storeu_si128((__m128i *)(out + (i + 1) * out_ld + j), _mm_unpackhi_epi64(low01, low23));
            _mm_storeu_si128((__m128i *)(out + (i + 2) * out_ld + j), _mm_unpacklo_epi64(high01, high23));
            _mm_storeu_si128((__m128i *)(out + (i + 3) * out_ld + j), _mm_unpackhi_epi64(high01, high23));
        }
        for (; i < width; i++)
            for (size_t r = 0; r < 4; r++) out[i * out_ld + j + r] = in[(j + r) * ld + i];
    }
#endif
    for (; j < first + count; j += 8) {
        const size_t here = first + count - j < 8 ? first + count - j : 8;
        for (size_t i = 0; i < width; i++)
            for (size_t r = 0; r < here; r++) out[i * out_ld + j + r] = in[(j + r) * ld + i];
    }
}

#endif
