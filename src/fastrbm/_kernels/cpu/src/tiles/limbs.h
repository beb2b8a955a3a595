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
#include "transpose.h"

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

/* Limbs of one row, n integers of 16, to a row of a tile and of the tiles `stride` apart; returns the last ones */
INLINE vec_u cut_row(const int32_t *in, size_t n, uint8_t *out, size_t stride) {
    vec_u x = {0};
    if (n >= 16)
        x = load_u((const uint32_t *)in);
    else
        memcpy(&x, in, n * sizeof *in);
    x = (x + 0x800000u) ^ 0x800000u; /* byte 3 is what is left when byte 2 is signed */
    store_bytes(x, out, stride);
    return x;
}

/* Rows of up to 16 integers to columns [16 * quarter, 16 * quarter + 16) of a tile; integers from n on are 0 */
INLINE void cut_square(const int32_t *in, size_t ld, size_t n_rows, size_t n, const frbm_limbs *l, size_t block,
                       size_t step, size_t quarter) {
    uint8_t *out = limb_tile(l, block, 0, step) + 16 * quarter;
    const size_t stride = l->n_steps * TILE_BYTES;
    vec_u any = {0};
    uint32_t high = 0;
    if (n >= 16)
        for (size_t r = 0; r < n_rows; r++) any |= cut_row(in + r * ld, 16, out + r * TILE_ROW_BYTES, stride);
    else
        for (size_t r = 0; r < n_rows; r++) any |= cut_row(in + r * ld, n, out + r * TILE_ROW_BYTES, stride);
    for (int i = 0; i < 16; i++) high |= any[i];
    high_limbs(l, block, step)[quarter] = high >> 24 != 0;
}

/* Limbs of hidden units [first, first + count), first a multiple of 16, in the directions that there is room for */
static void cut_limbs(const frbm_fixed *f, size_t n_visible, size_t first, size_t count) {
    for (size_t i = 0; i < n_visible; i += 16) {
        const size_t n = n_visible - i < 16 ? n_visible - i : 16;
        for (size_t j = first; j < first + count; j += 16) {
            const size_t n_rows = first + count - j < 16 ? first + count - j : 16;
            const int32_t *weights = f->weights + j * f->ld + i;
            if (f->of_hidden.bytes) cut_square(weights, f->ld, n_rows, n, &f->of_hidden, j / 16, i / 64, i % 64 / 16);
            if (!f->of_visible.bytes) continue;
            int32_t turned[16 * 16];
            if (!f->transposed) transpose_rows(weights, f->ld, 0, n_rows, n, turned, 16);
            cut_square(f->transposed ? f->transposed + i * f->transposed_ld + j : turned,
                       f->transposed ? f->transposed_ld : 16, n, n_rows, &f->of_visible, i / 16, j / 64, j % 64 / 16);
        }
    }
}
#else
static void cut_limbs(const frbm_fixed *f, size_t n_visible, size_t first, size_t count) {
    (void)f, (void)n_visible, (void)first, (void)count;
}
#endif

#endif
