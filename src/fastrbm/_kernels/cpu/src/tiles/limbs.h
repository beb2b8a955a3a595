/* Integers cut into bytes, for products by tiles: x = b0 + 2^8 b1 + 2^16 b2 + 2^24 b3 modulo 2^32.
 *
 * Limb 2 is signed, and limb 3 has the carry: it is 0 for all integers of 24 bits, which most weights are, and for all
 * means of more than 128 samples.  Only those of its tiles that hold something else are multiplied.  Weights of 16 bits
 * (quantise.h) have limbs 2 and 3 alone.
 *
 * Weights are cut when they are quantised, for both directions and all threads; the coefficients of a gradient serve
 * one thread, which cuts them itself (limb_product.h). */
#ifndef FASTRBM_LIMBS_H
#define FASTRBM_LIMBS_H

#include "kernels.h"
#include "simd.h"
#include "tile_unit.h"

#ifdef FRBM_TILES
/* Limb `limb` of a tile: 16 outputs from 16 * block on, 64 inputs from 64 * step on */
INLINE uint8_t *limb_tile(const frbm_limbs *l, size_t block, size_t limb, size_t step) {
    return l->bytes + ((block * FRBM_LIMBS + limb) * l->n_steps + step) * TILE_BYTES;
}

/* Whether limb 3 of it has anything; 16 inputs have a byte of their own, so that who cuts them asks nobody */
INLINE uint8_t *high_limbs(const frbm_limbs *l, size_t block, size_t step) {
    return l->high + (block * l->n_steps + step) * 4;
}

INLINE int has_high_limb(const frbm_limbs *l, size_t block, size_t step) {
    uint32_t any;
    memcpy(&any, high_limbs(l, block, step), sizeof any);
    return any != 0;
}

/* Limbs of 16 integers: byte 3 is what is left when byte 2 is signed */
INLINE vec_u limbs_of(vec_u x, vec_u *any) {
    x = (x + 0x800000u) ^ 0x800000u;
    *any |= x;
    return split_bytes(x);
}

/* Limbs of a square of integers, n_rows rows of n, 0 past them: [row][limb][column].  Returns whether one has anything
 * in limb 3. */
INLINE int cut_rows(const int32_t *in, size_t ld, size_t n_rows, size_t n, vec_u rows[16]) {
    vec_u any = {0};
    uint32_t high = 0;
    if (n_rows >= 16 && n >= 16) {
#pragma GCC unroll 16
        for (size_t r = 0; r < 16; r++) rows[r] = limbs_of(load_u((const uint32_t *)in + r * ld), &any);
    } else {
        for (size_t r = 0; r < 16; r++) {
            vec_u x = {0};
            if (r < n_rows) memcpy(&x, in + r * ld, (n < 16 ? n : 16) * sizeof *in);
            rows[r] = limbs_of(x, &any);
        }
    }
    for (int i = 0; i < 16; i++) high |= any[i];
    return high >> 24 != 0;
}

/* Such limbs to columns [16 * quarter, 16 * quarter + 16) of a tile */
INLINE void store_rows_of_limbs(const vec_u rows[16], int high, const frbm_limbs *l, size_t block, size_t step,
                                size_t quarter) {
#ifdef FRBM_I8MM
    store_limbs(rows, limb_tile(l, block, 0, step), quarter, l->n_steps * TILE_BYTES);
#else
    uint8_t *out = limb_tile(l, block, 0, step) + 16 * quarter;
#pragma GCC unroll 16
    for (size_t r = 0; r < 16; r++) store_quarters(rows[r], out + r * TILE_ROW_BYTES, l->n_steps * TILE_BYTES);
#endif
    high_limbs(l, block, step)[quarter] = (uint8_t)high;
}

/* Limbs of hidden units [first, first + count), first a multiple of 16, in the directions that there is room for */
static void cut_limbs(const frbm_fixed *f, size_t n_visible, size_t first, size_t count) {
    for (size_t i = 0; i < n_visible; i += 16) {
        const size_t n = n_visible - i < 16 ? n_visible - i : 16;
        for (size_t j = first; j < first + count; j += 16) {
            vec_u rows[16];
            const size_t n_rows = first + count - j < 16 ? first + count - j : 16;
            const int high = cut_rows(f->weights + j * f->ld + i, f->ld, n_rows, n, rows);
            if (f->of_hidden.bytes) store_rows_of_limbs(rows, high, &f->of_hidden, j / 16, i / 64, i % 64 / 16);
            if (!f->of_visible.bytes) continue;
            transpose_quarters(rows);
            store_rows_of_limbs(rows, high, &f->of_visible, i / 16, j / 64, j % 64 / 16);
        }
    }
}
#else
static void cut_limbs(const frbm_fixed *f, size_t n_visible, size_t first, size_t count) {
    (void)f, (void)n_visible, (void)first, (void)count;
}
#endif

#endif
