/* Products of bytes by the matrix instructions of arm64 (i8mm): limbs.h and limb_product.h without a tile unit.
 *
 * An instruction multiplies two rows of 8 bytes by two columns of 8 and adds the four sums to int32.  So tiles lie
 * otherwise than in tile_unit.h: limbs as [input / 8][output / 2][output % 2][input % 8], 16 outputs and 64 inputs, and
 * states as the same with lanes in the place of outputs.  Sums of 8 outputs and 8 lanes stay in registers for all limbs,
 * from the highest to the lowest: before each they are shifted by a byte. */
#ifndef FASTRBM_BYTE_MATRICES_H
#define FASTRBM_BYTE_MATRICES_H

#include "simd.h"

#ifdef FRBM_I8MM
/* Bytes of 16 integers apart: byte b of integer l is byte 16 b + l of the result */
INLINE vec_u split_bytes(vec_u x) {
    uint16x8_t in[4];
    uint8x16_t out[4];
    memcpy(in, &x, sizeof in);
    const uint8x16_t low0 = (uint8x16_t)vuzp1q_u16(in[0], in[1]), low1 = (uint8x16_t)vuzp1q_u16(in[2], in[3]);
    const uint8x16_t high0 = (uint8x16_t)vuzp2q_u16(in[0], in[1]), high1 = (uint8x16_t)vuzp2q_u16(in[2], in[3]);
    out[0] = vuzp1q_u8(low0, low1);
    out[1] = vuzp2q_u8(low0, low1);
    out[2] = vuzp1q_u8(high0, high1);
    out[3] = vuzp2q_u8(high0, high1);
    memcpy(&x, out, sizeof out);
    return x;
}

/* Squares of 16 x 16 bytes, the quarters of 16 vectors, exchange rows and columns */
INLINE void transpose_quarters(vec_u rows[16]) {
    for (int quarter = 0; quarter < 4; quarter++) {
        uint8x16_t x[16], next[16];
#pragma GCC unroll 16
        for (int r = 0; r < 16; r++) x[r] = vld1q_u8((const uint8_t *)&rows[r] + 16 * quarter);
#pragma GCC unroll 4
        for (int round = 0; round < 4; round++) { /* each moves a bit of the row's number into that of the column */
#pragma GCC unroll 8
            for (int r = 0; r < 8; r++) {
                next[2 * r] = vzip1q_u8(x[r], x[r + 8]);
                next[2 * r + 1] = vzip2q_u8(x[r], x[r + 8]);
            }
#pragma GCC unroll 16
            for (int r = 0; r < 16; r++) x[r] = next[r];
        }
#pragma GCC unroll 16
        for (int r = 0; r < 16; r++) vst1q_u8((uint8_t *)&rows[r] + 16 * quarter, x[r]);
    }
}

/* Limbs of 16 outputs to inputs [16 * quarter, 16 * quarter + 16) of tiles that are `stride` apart */
INLINE void store_limbs(const vec_u rows[16], uint8_t *tile, size_t quarter, size_t stride) {
    for (size_t limb = 0; limb < 4; limb++, tile += stride) {
        uint8_t *out = tile + 256 * quarter;
#pragma GCC unroll 8
        for (size_t r = 0; r < 16; r += 2, out += 16) {
            const uint64x2_t a = (uint64x2_t)vld1q_u8((const uint8_t *)&rows[r] + 16 * limb);
            const uint64x2_t b = (uint64x2_t)vld1q_u8((const uint8_t *)&rows[r + 1] + 16 * limb);
            vst1q_u8(out, (uint8x16_t)vzip1q_u64(a, b));
            vst1q_u8(out + 128, (uint8x16_t)vzip2q_u64(a, b));
        }
    }
}

/* One step of 64 inputs, states of 16 lanes as bytes 0 or 1; words from n_words on hold none */
INLINE void spread_states(const uint32_t *bits, size_t stride, size_t n_words, uint8_t *out) {
    static const uint8_t of_two[16] = {0, 0, 0, 0, 0, 0, 0, 0, 4, 4, 4, 4, 4, 4, 4, 4};
    static const uint8_t bit[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    const uint8x16_t mask = vld1q_u8(bit), one = vdupq_n_u8(1);
    for (size_t w = 0; w < 2; w++)
        for (size_t four = 0; four < 4; four++) {
            uint8x16_t words = vdupq_n_u8(0);
            if (w < n_words) words = vld1q_u8((const uint8_t *)(bits + w * stride + 4 * four));
#pragma GCC unroll 2
            for (size_t pair = 0; pair < 2; pair++) {
                uint8_t *to = out + 512 * w + 16 * (2 * four + pair);
                const uint8x16_t from = vaddq_u8(vld1q_u8(of_two), vdupq_n_u8((uint8_t)(8 * pair)));
#pragma GCC unroll 4
                for (size_t b = 0; b < 4; b++) {
                    const uint8x16_t spread = vqtbl1q_u8(words, vaddq_u8(from, vdupq_n_u8((uint8_t)b)));
                    vst1q_u8(to + 128 * b, vandq_u8(vtstq_u8(spread, mask), one));
                }
            }
        }
}

/* There is nothing to be asked for, or given back */
INLINE void tile_begin(void) {}
INLINE void tile_end(void) {}

typedef uint32x4_t byte_sums[4][4]; /* [pair of outputs][pair of lanes], two by two */

/* sums += limbs * states of `n` steps of 8 inputs; both point at 8 of their 16 outputs or lanes */
INLINE void multiply_bytes(const int is_signed, size_t n, const uint8_t *limbs, const uint8_t *states, byte_sums sums) {
    for (size_t k = 0; k < n; k++, limbs += 128, states += 128) {
        uint8x16_t a[4], b[4];
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) a[i] = vld1q_u8(limbs + 16 * i);
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++) b[i] = vld1q_u8(states + 16 * i);
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++)
#pragma GCC unroll 4
            for (int j = 0; j < 4; j++)
                sums[i][j] = is_signed ? (uint32x4_t)vmmlaq_s32((int32x4_t)sums[i][j], (int8x16_t)a[i], (int8x16_t)b[j])
                                       : vmmlaq_u32(sums[i][j], a[i], b[j]);
    }
}

INLINE void shift_sums(const int by, byte_sums sums) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++)
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) sums[i][j] = vshlq_n_u32(sums[i][j], by);
}

INLINE void store_sums(byte_sums sums, int add, int32_t *to, size_t ld) {
#pragma GCC unroll 4
    for (size_t i = 0; i < 4; i++)
#pragma GCC unroll 2
        for (size_t j = 0; j < 4; j += 2) {
            const uint64x2_t left = (uint64x2_t)sums[i][j], right = (uint64x2_t)sums[i][j + 1];
            uint32_t *at = (uint32_t *)to + 2 * i * ld + 2 * j;
            uint32x4_t even = (uint32x4_t)vzip1q_u64(left, right), odd = (uint32x4_t)vzip2q_u64(left, right);
            if (add) {
                even = vaddq_u32(even, vld1q_u32(at));
                odd = vaddq_u32(odd, vld1q_u32(at + ld));
            }
            vst1q_u32(at, even);
            vst1q_u32(at + ld, odd);
        }
}
#endif

#endif
