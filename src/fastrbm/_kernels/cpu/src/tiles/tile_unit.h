/* The tile unit of Intel's AMX: eight registers of 16 rows of 64 bytes, products of bytes added to int32.
 *
 * FRBM_TILES says that a build has one, FRBM_EMULATED that it is the plain C below, for tests on processors without.
 * FRBM_I8MM says that it has matrix instructions of arm64 in its place (byte_matrices.h).
 * Registers are named by literal numbers.  Rows of A are outputs and its columns inputs; B has [input / 4][lane][input % 4],
 * so C += A B is [output][lane]. */
#ifndef FASTRBM_TILE_UNIT_H
#define FASTRBM_TILE_UNIT_H

#include <stdint.h>

#include "byte_matrices.h"
#include "simd.h"

#define TILE_ROWS 16
#define TILE_ROW_BYTES 64
#define TILE_BYTES (TILE_ROWS * TILE_ROW_BYTES)

#ifndef FRBM_I8MM
/* ---- what it multiplies ------------------------------------------------------------------------------------------- */

/* The four low bits of each lane as bytes 0 or 1 */
INLINE vec_u spread_four(vec_u x) {
#ifdef FRBM_AVX512
    const __m512i table = _mm512_set_epi32(0x01010101, 0x01010100, 0x01010001, 0x01010000, 0x01000101, 0x01000100,
                                           0x01000001, 0x01000000, 0x00010101, 0x00010100, 0x00010001, 0x00010000,
                                           0x00000101, 0x00000100, 0x00000001, 0x00000000);
    return (vec_u)_mm512_permutexvar_epi32((__m512i)x, table);
#else
    return (x & 1) | (x & 2) << 7 | (x & 4) << 14 | (x & 8) << 21;
#endif
}

/* One step of 64 inputs, states of 16 lanes as bytes; words from n_words on hold none */
INLINE void spread_states(const uint32_t *bits, size_t stride, size_t n_words, uint8_t *out) {
    for (size_t w = 0; w < 2; w++) {
        vec_u x = {0};
        if (w < n_words) x = load_u(bits + w * stride);
        for (int four = 0; four < 8; four++, out += TILE_ROW_BYTES) {
            const vec_u bytes = spread_four(x);
            STORE(out, bytes);
            x >>= 4;
        }
    }
}

/* Bytes of 16 integers apart: byte b of integer l is byte 16 b + l of the result */
INLINE vec_u split_bytes(vec_u x) {
#ifdef FRBM_AVX512
    const __m512i of_four = _mm512_set4_epi32(0x0F0B0703, 0x0E0A0602, 0x0D090501, 0x0C080400);
    const __m512i of_all = _mm512_set_epi32(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0);
    return (vec_u)_mm512_permutexvar_epi32(of_all, _mm512_shuffle_epi8((__m512i)x, of_four));
#else
    uint8_t out[64];
    for (int b = 0; b < 4; b++)
        for (int l = 0; l < 16; l++) out[16 * b + l] = (uint8_t)(x[l] >> (8 * b));
    return load_u((const uint32_t *)out);
#endif
}

/* Its quarters to memory, `stride` apart */
INLINE void store_quarters(vec_u x, uint8_t *out, size_t stride) {
#ifdef FRBM_AVX512
    _mm_storeu_si128((__m128i *)out, _mm512_castsi512_si128((__m512i)x));
    _mm_storeu_si128((__m128i *)(out + stride), _mm512_extracti32x4_epi32((__m512i)x, 1));
    _mm_storeu_si128((__m128i *)(out + 2 * stride), _mm512_extracti32x4_epi32((__m512i)x, 2));
    _mm_storeu_si128((__m128i *)(out + 3 * stride), _mm512_extracti32x4_epi32((__m512i)x, 3));
#else
    for (size_t b = 0; b < 4; b++) memcpy(out + b * stride, (const uint8_t *)&x + 16 * b, 16);
#endif
}

/* Squares of 16 x 16 bytes, the quarters of 16 vectors, exchange rows and columns */
INLINE void transpose_quarters(vec_u rows[16]) {
#ifdef FRBM_AVX512
    for (int round = 0; round < 4; round++) { /* each moves a bit of the row's number into that of the column */
        vec_u next[16];
#pragma GCC unroll 8
        for (int r = 0; r < 8; r++) {
            next[2 * r] = (vec_u)_mm512_unpacklo_epi8((__m512i)rows[r], (__m512i)rows[r + 8]);
            next[2 * r + 1] = (vec_u)_mm512_unpackhi_epi8((__m512i)rows[r], (__m512i)rows[r + 8]);
        }
#pragma GCC unroll 16
        for (int r = 0; r < 16; r++) rows[r] = next[r];
    }
#else
    uint8_t in[16][64], out[16][64];
    memcpy(in, rows, sizeof in);
    for (int r = 0; r < 16; r++)
        for (int c = 0; c < 64; c++) out[r][c] = in[c % 16][c / 16 * 16 + r];
    memcpy(rows, out, sizeof out);
#endif
}

/* ---- the unit ------------------------------------------------------------------------------------------------------- */

#if defined(FRBM_EMULATED)
static _Thread_local uint8_t emulated_tiles[8][TILE_BYTES] __attribute__((aligned(64)));

INLINE void tile_begin(void) { memset(emulated_tiles, 0xA5, sizeof emulated_tiles); } /* nothing to rely on */
INLINE void tile_end(void) { memset(emulated_tiles, 0x5A, sizeof emulated_tiles); }

static void emulate_product(int c, int a, int b, const int is_signed) {
    for (int row = 0; row < TILE_ROWS; row++) {
        const uint8_t *left = emulated_tiles[a] + row * TILE_ROW_BYTES;
        vec_u sum = load_u((const uint32_t *)(emulated_tiles[c] + row * TILE_ROW_BYTES));
        for (int four = 0; four < TILE_ROWS; four++) {
            const vec_u right = load_u((const uint32_t *)(emulated_tiles[b] + four * TILE_ROW_BYTES));
            for (int i = 0; i < 4; i++) {
                const uint8_t x = left[4 * four + i];
                const uint32_t factor = is_signed ? (uint32_t)(int32_t)(int8_t)x : x;
                sum += factor * (right >> (uint32_t)(8 * i) & 0xFFu);
            }
        }
        memcpy(emulated_tiles[c] + row * TILE_ROW_BYTES, &sum, sizeof sum);
    }
}

#define TILE_READS() ((void)0)
#define TILE_ZERO(c) memset(emulated_tiles[c], 0, TILE_BYTES)
#define TILE_LOAD(c, from) memcpy(emulated_tiles[c], from, TILE_BYTES)
#define TILE_STORE(c, to) memcpy(to, emulated_tiles[c], TILE_BYTES)
#define TILE_UNSIGNED(c, a, b) emulate_product(c, a, b, 0) /* both are unsigned */
#define TILE_SIGNED(c, a, b) emulate_product(c, a, b, 1)   /* A is signed, B is not */

#elif defined(FRBM_TILES)
typedef struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_config;

/* The registers are given back after each product (70 ns for both), so nothing of them is saved at a switch of threads,
 * and no thread has a state that another caller of the unit could find. */
INLINE void tile_begin(void) {
    tile_config config = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        config.row_bytes[i] = TILE_ROW_BYTES;
        config.rows[i] = TILE_ROWS;
    }
    /* gcc 12 has _tile_loadconfig read the first 8 bytes alone, and would drop the stores to the others */
    __asm__ volatile("" : : "r"(&config) : "memory");
    _tile_loadconfig(&config);
}
INLINE void tile_end(void) { _tile_release(); }

/* gcc's tile loads do not say that they read memory: what they read has to be there from here on */
#define TILE_READS() __asm__ volatile("" : : : "memory")
#define TILE_ZERO(c) _tile_zero(c)
#define TILE_LOAD(c, from) _tile_loadd(c, from, TILE_ROW_BYTES)
#define TILE_STORE(c, to) _tile_stored(c, to, TILE_ROW_BYTES)
#define TILE_UNSIGNED(c, a, b) _tile_dpbuud(c, a, b)
#define TILE_SIGNED(c, a, b) _tile_dpbsud(c, a, b)
#endif
#endif

#endif
