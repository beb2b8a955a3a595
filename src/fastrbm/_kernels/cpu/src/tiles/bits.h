/* Dense rows to bits, rows of bits to the words and planes of kernels.h, random bits, counts.
 */
#ifndef FASTRBM_BITS_H
#define FASTRBM_BITS_H

#include "kernels.h"
#include "simd.h"

/* ---- dense rows to bits ----------------------------------------------------------------------------------- */

INLINE int any_bit(const void *x) {
    uint64_t part[REGISTER / 8], all = 0;
    memcpy(part, x, sizeof part);
    for (int l = 0; l < REGISTER / 8; l++) all |= part[l];
    return all != 0;
}

/* The last, partial word of a row, and its flags */
#define FRBM_PACK_TAIL(ON, BAD)                                   \
    if (i < n) {                                                  \
        uint64_t word = 0;                                        \
        for (size_t l = 0; i + l < n; l++) {                      \
            word |= (uint64_t)(row[i + l] == (ON)) << l;          \
            flags |= (row[i + l] != (ON)) & (row[i + l] != 0);    \
            flags |= (BAD) ? FRBM_BAD : 0;                        \
        }                                                         \
        bits[i / 64] = word;                                      \
    }                                                             \
    return flags

static int pack_f32(const float *row, size_t n, uint64_t *bits) {
    reg_i grey = {0}, good = ~(reg_i){0};
    size_t i = 0;
    for (; i + 64 <= n; i += 64) {
        uint64_t word = 0;
        for (int part = 0; part < 64; part += REGISTER / 4) {
            const reg_f x = load_reg_f(row + i + part);
            const reg_i on = x == 1.0f;
            grey |= ~(on | (x == 0.0f));
            good &= (x >= 0.0f) & (x <= 1.0f);
            word |= (uint64_t)MASK_32(on) << part;
        }
        bits[i / 64] = word;
    }
    good = ~good;
    int flags = (any_bit(&grey) ? FRBM_GREY : 0) | (any_bit(&good) ? FRBM_BAD : 0);
    FRBM_PACK_TAIL(1.0f, !((row[i + l] >= 0.0f) & (row[i + l] <= 1.0f)));
}

static int pack_f64(const double *row, size_t n, uint64_t *bits) {
    reg_l grey = {0}, good = ~(reg_l){0};
    size_t i = 0;
    for (; i + 64 <= n; i += 64) {
        uint64_t word = 0;
        for (int part = 0; part < 64; part += REGISTER / 8) {
            reg_d x;
            memcpy(&x, row + i + part, sizeof x);
            const reg_l on = x == 1.0;
            grey |= ~(on | (x == 0.0));
            good &= (x >= 0.0) & (x <= 1.0);
            word |= (uint64_t)MASK_64(on) << part;
        }
        bits[i / 64] = word;
    }
    good = ~good;
    int flags = (any_bit(&grey) ? FRBM_GREY : 0) | (any_bit(&good) ? FRBM_BAD : 0);
    FRBM_PACK_TAIL(1.0, !((row[i + l] >= 0.0) & (row[i + l] <= 1.0)));
}

static int pack_u8(const uint8_t *row, size_t n, uint8_t on_value, uint64_t *bits) {
    reg_b grey = {0};
    size_t i = 0;
    for (; i + 64 <= n; i += 64) {
        uint64_t word = 0;
        for (int part = 0; part < 64; part += REGISTER) {
            reg_b x;
            memcpy(&x, row + i + part, sizeof x);
            const reg_b on = (reg_b)(x == on_value);
            grey |= ~(on | (reg_b)(x == 0));
            word |= (uint64_t)MASK_8(on) << part;
        }
        bits[i / 64] = word;
    }
    int flags = any_bit(&grey) ? FRBM_GREY : 0;
    FRBM_PACK_TAIL(on_value, 0);
}

/* ---- rows of bits to words and planes ---------------------------------------------------------------------- */

/* 16 transposes of 32x32 bits side by side: a[r][l] bit b -> a[b][l] bit r */
static void transpose_32(vec_u a[32]) {
    uint32_t mask = 0x0000FFFFu;
    for (int j = 16; j; j >>= 1, mask ^= mask << j) {
        for (int k = 0; k < 32; k = (k + j + 1) & ~j) {
            const vec_u t = ((a[k] >> j) ^ a[k + j]) & mask;
            a[k] ^= t << j;
            a[k + j] ^= t;
        }
    }
}

static void gather(const uint64_t *rows, size_t row_words, const int64_t *order, size_t n_lanes, size_t n_units,
                   uint32_t *words, size_t words_ld, uint32_t *planes, size_t planes_ld) {
    const size_t n_words = 2 * row_words;
    (void)n_units;
    for (size_t block = 0; block < n_lanes; block += 32) {
        const size_t here = n_lanes - block < 32 ? n_lanes - block : 32;
        const uint32_t *source[32];
        for (size_t r = 0; r < here; r++) {
            const size_t row = order ? (size_t)order[block + r] : block + r;
            source[r] = (const uint32_t *)(rows + row * row_words);
        }
        if (words)
            for (size_t w = 0; w < n_words; w++)
                for (size_t r = 0; r < here; r++) words[w * words_ld + block + r] = source[r][w];
        if (!planes) continue;
        for (size_t first = 0; first < n_words; first += 16) {
            const size_t count = n_words - first < 16 ? n_words - first : 16;
            vec_u a[32];
            memset(a, 0, sizeof a);
            for (size_t r = 0; r < here; r++) memcpy(&a[r], source[r] + first, count * sizeof(uint32_t));
            transpose_32(a);
            uint32_t *out = planes + block / 32 * planes_ld + 32 * first;
            for (size_t w = 0; w < count; w++)
                for (int b = 0; b < 32; b++) out[32 * w + b] = a[b][w];
        }
    }
}

/* planes of up to 32 lanes from their words */
static void transpose_words(const uint32_t *words, size_t words_ld, size_t n_lanes, size_t n_words, uint32_t *planes) {
    for (size_t first = 0; first < n_words; first += 16) {
        const size_t count = n_words - first < 16 ? n_words - first : 16;
        vec_u a[32];
        memset(a, 0, sizeof a);
        for (size_t w = 0; w < count; w++)
            for (size_t l = 0; l < n_lanes; l++) a[l][w] = words[(first + w) * words_ld + l];
        transpose_32(a);
        for (size_t w = 0; w < count; w++)
            for (int b = 0; b < 32; b++) planes[32 * (first + w) + b] = a[b][w];
    }
}

INLINE vec_u count_bits(vec_u x) {
    x = x - (x >> 1 & 0x55555555u);
    x = (x & 0x33333333u) + (x >> 2 & 0x33333333u);
    x = (x + (x >> 4)) & 0x0F0F0F0Fu;
    return x * 0x01010101u >> 24;
}

/* counts[lane] = bits that differ between two sets of words; old NULL: bits that are on */
static void count_flips(const uint32_t *now, size_t now_ld, const uint32_t *old, size_t old_ld, size_t n_words,
                        size_t n_lanes, uint32_t *counts) {
    for (size_t lane = 0; lane < n_lanes; lane += 16) {
        const size_t bytes = (n_lanes - lane < 16 ? n_lanes - lane : 16) * sizeof(uint32_t);
        vec_u total = {0};
        for (size_t w = 0; w < n_words; w++) {
            vec_u x = {0}, y = {0};
            memcpy(&x, now + w * now_ld + lane, bytes);
            if (old) memcpy(&y, old + w * old_ld + lane, bytes);
            total += count_bits(x ^ y);
        }
        memcpy(counts + lane, &total, bytes);
    }
}

static void count_planes(const uint32_t *planes, size_t ld, size_t n_words, size_t first, size_t count,
                         int32_t *counts) {
    for (size_t w = 0; w < n_words; w++) {
        const uint32_t *plane = planes + w * ld + first;
        for (size_t i = 0; i < count; i++) {
            uint32_t x = plane[i];
            x = x - (x >> 1 & 0x55555555u);
            x = (x & 0x33333333u) + (x >> 2 & 0x33333333u);
            x = (x + (x >> 4)) & 0x0F0F0F0Fu;
            counts[i] += (int32_t)(x * 0x01010101u >> 24);
        }
    }
}

#endif
