/* Transposes of squares in registers. */
#ifndef FASTRBM_SQUARES_H
#define FASTRBM_SQUARES_H

#include "simd.h"

/* out[column][row] = in[row][column] of n rows and columns, row by row */
INLINE void transpose_plain(const int n, const int32_t *in, size_t ld, int32_t *out, size_t out_ld) {
    for (int i = 0; i < n; i++)
        for (int r = 0; r < n; r++) out[(size_t)i * out_ld + (size_t)r] = in[(size_t)r * ld + (size_t)i];
}

#ifdef FRBM_AVX512
#define HAS_SQUARES_OF_16 1
INLINE void transpose_16(const int32_t *in, size_t ld, int32_t *out, size_t out_ld) {
    __m512i a[16], b[16];
    for (int r = 0; r < 16; r++) a[r] = _mm512_loadu_si512(in + (size_t)r * ld);
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
    for (int c = 0; c < 16; c++) _mm512_storeu_si512(out + (size_t)c * out_ld, b[c]);
}
#else
#define HAS_SQUARES_OF_16 0
INLINE void transpose_16(const int32_t *in, size_t ld, int32_t *out, size_t out_ld) {
    transpose_plain(16, in, ld, out, out_ld);
}
#endif

#if defined(FRBM_NEON)
#define HAS_SQUARES_OF_4 1
INLINE void transpose_4(const int32_t *in, size_t ld, int32_t *out, size_t out_ld) {
    int32x4_t a[4];
    for (int r = 0; r < 4; r++) a[r] = vld1q_s32(in + (size_t)r * ld);
    const int64x2_t even01 = (int64x2_t)vtrn1q_s32(a[0], a[1]), even23 = (int64x2_t)vtrn1q_s32(a[2], a[3]);
    const int64x2_t odd01 = (int64x2_t)vtrn2q_s32(a[0], a[1]), odd23 = (int64x2_t)vtrn2q_s32(a[2], a[3]);
    vst1q_s32(out, (int32x4_t)vtrn1q_s64(even01, even23));
    vst1q_s32(out + out_ld, (int32x4_t)vtrn1q_s64(odd01, odd23));
    vst1q_s32(out + 2 * out_ld, (int32x4_t)vtrn2q_s64(even01, even23));
    vst1q_s32(out + 3 * out_ld, (int32x4_t)vtrn2q_s64(odd01, odd23));
}
#elif defined(__SSE2__)
#define HAS_SQUARES_OF_4 1
INLINE void transpose_4(const int32_t *in, size_t ld, int32_t *out, size_t out_ld) {
    __m128i a[4];
    for (int r = 0; r < 4; r++) a[r] = _mm_loadu_si128((const __m128i *)(in + (size_t)r * ld));
    const __m128i low01 = _mm_unpacklo_epi32(a[0], a[1]), low23 = _mm_unpacklo_epi32(a[2], a[3]);
    const __m128i high01 = _mm_unpackhi_epi32(a[0], a[1]), high23 = _mm_unpackhi_epi32(a[2], a[3]);
    _mm_storeu_si128((__m128i *)out, _mm_unpacklo_epi64(low01, low23));
    _mm_storeu_si128((__m128i *)(out + out_ld), _mm_unpackhi_epi64(low01, low23));
    _mm_storeu_si128((__m128i *)(out + 2 * out_ld), _mm_unpacklo_epi64(high01, high23));
    _mm_storeu_si128((__m128i *)(out + 3 * out_ld), _mm_unpackhi_epi64(high01, high23));
}
#else
#define HAS_SQUARES_OF_4 0
INLINE void transpose_4(const int32_t *in, size_t ld, int32_t *out, size_t out_ld) {
    transpose_plain(4, in, ld, out, out_ld);
}
#endif

#endif
