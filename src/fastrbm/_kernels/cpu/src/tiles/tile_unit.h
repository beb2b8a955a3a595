/* The tile unit of Intel's AMX: eight registers of 16 rows of 64 bytes, products of bytes added to int32.
 *
 * FRBM_TILES says that a build has one, FRBM_EMULATED that it is the plain C below, for tests on processors without.
 * Registers are named by literal numbers.  Rows of A are outputs and its columns inputs; B has [input / 4][lane][input % 4],
 * so C += A B is [output][lane]. */
#ifndef FASTRBM_TILE_UNIT_H
#define FASTRBM_TILE_UNIT_H

#include <stdint.h>

#include "simd.h"

#define TILE_ROWS 16
#define TILE_ROW_BYTES 64
#define TILE_BYTES (TILE_ROWS * TILE_ROW_BYTES)

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

#define TILE_ZERO(c) _tile_zero(c)
#define TILE_LOAD(c, from) _tile_loadd(c, from, TILE_ROW_BYTES)
#define TILE_STORE(c, to) _tile_stored(c, to, TILE_ROW_BYTES)
#define TILE_UNSIGNED(c, a, b) _tile_dpbuud(c, a, b)
#define TILE_SIGNED(c, a, b) _tile_dpbsud(c, a, b)
#endif

#endif
