/* Fixed-point weights: W = round(W * 2^k) as int32, one k for the whole matrix.
 *
 * k is the largest number with which no row or column of |W| can overflow a sum, so every product of bits with W is
 * exact, whatever the order: dense, sparse, by flips and on all instruction sets the same integer.  Rounding moves a
 * weight by at most 2^-(k+1), 3e-8 for sums of |W| up to 128: less than float32 rounds in a sum of that range.
 *
 * With `narrow` (precision="fast") W is rounded to multiples of 2^(16-k) with a k of its own, so that 16 bits hold
 * every sum, and stays an int32 with 16 zero bits: all products of it work as before, narrow.h does them faster.
 *
 * `bound` measures the sums in integers too (order-free): floor(|w| * 2^s), s from frbm_bound_shift.
 */
#ifndef FASTRBM_FIXED_H
#define FASTRBM_FIXED_H

#include "bits.h" /* for its SSE2 */

/* Nearest integer, halves away from zero: the same IEEE operations on every target.  From 2^23 on x + 0.5 may round
 * to the next integer, one step of 2^-k. */
INLINE int32_t nearest_lane(float x) {
    return (int32_t)(x + float_of((bits_of(x) & 0x80000000u) | 0x3F000000u));
}

INLINE vec_i nearest_vec(vec_f x) {
    return __builtin_convertvector(x + (vec_f)(((vec_u)x & 0x80000000u) | 0x3F000000u), vec_i);
}

static void fix(const float *x, size_t n, float scale, int32_t *out) {
    for (size_t i = 0; i < n; i++) out[i] = nearest_lane(x[i] * scale);
}

/* To multiples of 2^16 */
static void fix_narrow(const float *x, size_t n, float scale, int32_t *out) {
    const float coarse = scale * (1.0f / 65536.0f);
    for (size_t i = 0; i < n; i++) out[i] = nearest_lane(x[i] * coarse) * 65536;
}

/* |w| in steps of 2^-s; values that do not fit become 2^31 - 1 or above, which `seen` shows */
INLINE uint32_t magnitude_lane(float w, float scale) {
    const float a = __builtin_fabsf(w) * scale;
    return a < 1073741824.0f ? (uint32_t)(int32_t)a : 0x7FFFFFFFu; /* NaN too */
}

/* columns[i] += |w[i]| in steps of 2^-s; returns the sum of the row, or-s all magnitudes into *seen */
static uint64_t add_bounds(const float *w, size_t n, float scale, uint32_t *columns, uint32_t *seen) {
    uint32_t part[16] = {0}, any[16] = {0};
    uint64_t total = 0;
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (int l = 0; l < 16; l++) {
            const uint32_t m = magnitude_lane(w[i + l], scale);
            part[l] += m;
            any[l] |= m;
            columns[i + l] += m;
        }
    for (size_t l = 0; i < n; i++, l++) {
        const uint32_t m = magnitude_lane(w[i], scale);
        part[l] += m;
        any[l] |= m;
        columns[i] += m;
    }
    for (int l = 0; l < 16; l++) {
        total += part[l];
        *seen |= any[l];
    }
    return total;
}

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
