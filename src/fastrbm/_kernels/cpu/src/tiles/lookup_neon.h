/* Table look-up products of NEON, whose look-ups are of bytes: tables of lookup.h cut into the four bytes of their
 * entries.
 *
 * x = b0 + 2^8 b1 + 2^16 b2 + 2^24 b3 modulo 2^32, where byte 2 is signed and byte 3 has its carry: that is 0 for
 * entries of 24 bits, and bytes 0 and 1 are 0 for weights of 16 bits (quantise.h), so most tables are looked up in two
 * or three bytes.  A look-up finds a byte of 16 lanes.  Bytes 0 to 2 are added up in 16 bits, 64 groups at most; of the
 * sum of bytes 3 no more than 8 bits are of use. */
#ifndef FASTRBM_LOOKUP_NEON_H
#define FASTRBM_LOOKUP_NEON_H

#include "kernels.h"
#include "simd.h"

#ifdef FRBM_NEON
#define CHUNK_GROUPS (8 * FRBM_CHUNK_WORDS)

typedef uint8x16_t byte_table[4]; /* 16 entries by byte */

/* Whether tables of an output have anything in bytes 0 and 1, and in byte 3 */
typedef struct {
    uint8x16_t lower, highest;
} bytes_in_use;

INLINE int any_byte(uint8x16_t x) { return vmaxvq_u8(x) != 0; }

INLINE void build_byte_table(int32x4_t c, byte_table out, bytes_in_use *use) {
    static const uint8_t first[16] = {255, 255, 255, 255, 0, 1, 2, 3, 255, 255, 255, 255, 0, 1, 2, 3};
    static const uint8_t second[16] = {255, 255, 255, 255, 255, 255, 255, 255, 4, 5, 6, 7, 4, 5, 6, 7};
    const int32x4_t of_first = (int32x4_t)vqtbl1q_u8((uint8x16_t)c, vld1q_u8(first));
    const int32x4_t of_second = (int32x4_t)vqtbl1q_u8((uint8x16_t)c, vld1q_u8(second));
    int32x4_t entry[4];
    /* 2^23 too much has byte 3 take the carry of a signed byte 2 */
    entry[0] = vaddq_s32(vaddq_s32(of_first, vdupq_n_s32(0x800000)), of_second);
    entry[1] = vaddq_s32(entry[0], vdupq_laneq_s32(c, 2));
    entry[2] = vaddq_s32(entry[0], vdupq_laneq_s32(c, 3));
    entry[3] = vaddq_s32(entry[1], vdupq_laneq_s32(c, 3));
    uint8x16_t low[2], high[2];
    for (int half = 0; half < 2; half++) {
        const int16x8_t x = (int16x8_t)entry[2 * half], y = (int16x8_t)entry[2 * half + 1];
        low[half] = (uint8x16_t)vuzp1q_s16(x, y);
        high[half] = (uint8x16_t)vuzp2q_s16(x, y);
    }
    out[0] = vuzp1q_u8(low[0], low[1]);
    out[1] = vuzp2q_u8(low[0], low[1]);
    out[2] = veorq_u8(vuzp1q_u8(high[0], high[1]), vdupq_n_u8(0x80));
    out[3] = vuzp2q_u8(high[0], high[1]);
    use->lower = vorrq_u8(use->lower, vorrq_u8(out[0], out[1]));
    use->highest = vorrq_u8(use->highest, out[3]);
}

/* Tables of one output for n_groups groups from input `first`; inputs past the end have 0 */
static __attribute__((noinline)) bytes_in_use build_byte_tables(const frbm_operand *op, size_t output, size_t first,
                                                                size_t n_groups, byte_table *tables) {
    const size_t stride = op->in_stride;
    const int32_t *coef = op->coef + output * op->out_stride + first * stride;
    const size_t whole = (op->n_inputs - first) / 4 < n_groups ? (op->n_inputs - first) / 4 : n_groups;
    bytes_in_use use = {vdupq_n_u8(0), vdupq_n_u8(0)};
    if (stride == 1)
        for (size_t g = 0; g < whole; g++) build_byte_table(vld1q_s32(coef + 4 * g), tables[g], &use);
    else
        for (size_t g = 0; g < whole; g++) {
            const int32_t *at = coef + 4 * g * stride;
            int32x4_t c = vld1q_dup_s32(at);
            c = vld1q_lane_s32(at + stride, c, 1);
            c = vld1q_lane_s32(at + 2 * stride, c, 2);
            c = vld1q_lane_s32(at + 3 * stride, c, 3);
            build_byte_table(c, tables[g], &use);
        }
    for (size_t g = whole; g < n_groups; g++) {
        int32_t padded[4] = {0};
        for (size_t q = 0; q < 4; q++)
            if (first + 4 * g + q < op->n_inputs) padded[q] = coef[(4 * g + q) * stride];
        build_byte_table(vld1q_s32(padded), tables[g], &use);
    }
    return use;
}

/* What 64 lanes, or fewer, look up: index[group][16 lanes], `vectors` of 16 lanes a group */
INLINE void spread_index(const int vectors, const uint32_t *bits, size_t stride, size_t n_groups, uint8x16_t *index) {
    for (size_t g = 0; g < n_groups; g += 8, bits += stride)
        for (int v = 0; v < vectors; v++) {
            const uint8x16x4_t bytes = vld4q_u8((const uint8_t *)(bits + 16 * v)); /* byte by byte of 16 words */
            for (size_t b = 0; b < 4; b++) {
                index[(g + 2 * b) * (size_t)vectors + (size_t)v] = vandq_u8(bytes.val[b], vdupq_n_u8(15));
                index[(g + 2 * b + 1) * (size_t)vectors + (size_t)v] = vshrq_n_u8(bytes.val[b], 4);
            }
        }
}

INLINE uint32x4_t widened(uint16x8_t x, int half) {
    return half ? vmovl_high_u16(x) : vmovl_u16(vget_low_u16(x));
}

/* sums[16 * v ...] = or += bytes `lowest` to `most` of the entries of one output; bytes 0 to 2, or one of 2 and 3 */
INLINE void look_up_bytes(const int lowest, const int most, const int vectors, int add, int32_t *sums,
                          const byte_table *tables, const uint8x16_t *index, size_t n_groups) {
    uint16x8_t wide[3][4][2];
    uint8x16_t highest[4];
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) {
        highest[v] = vdupq_n_u8(0);
#pragma GCC unroll 3
        for (int b = 0; b < 3; b++) wide[b][v][0] = wide[b][v][1] = vdupq_n_u16(0);
    }
    for (size_t g = 0; g < n_groups; g++, tables++, index += vectors) {
#pragma GCC unroll 4
        for (int b = lowest; b <= most; b++) {
            const uint8x16_t table = (*tables)[b];
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++) {
                const uint8x16_t found = vqtbl1q_u8(table, index[v]);
                if (b == 3) {
                    highest[v] = vaddq_u8(highest[v], found);
                } else if (b == 2) {
                    const int8x16_t part = (int8x16_t)found;
                    wide[2][v][0] = (uint16x8_t)vaddw_s8((int16x8_t)wide[2][v][0], vget_low_s8(part));
                    wide[2][v][1] = (uint16x8_t)vaddw_high_s8((int16x8_t)wide[2][v][1], part);
                } else {
                    wide[b][v][0] = vaddw_u8(wide[b][v][0], vget_low_u8(found));
                    wide[b][v][1] = vaddw_high_u8(wide[b][v][1], found);
                }
            }
        }
    }
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) {
        uint16x8_t carry[2];
        carry[0] = vshll_n_u8(vget_low_u8(highest[v]), 8);
        carry[1] = vshll_high_n_u8(highest[v], 8);
#pragma GCC unroll 4
        for (int part = 0; part < 4; part++) {
            uint32_t *to = (uint32_t *)sums + 16 * v + 4 * part;
            const int which = part / 2, half = part % 2;
            uint32x4_t x = vdupq_n_u32(0);
            if (most == 3) x = widened(carry[which], half);
            if (most >= 2 && lowest <= 2) x = vaddq_u32(x, widened(wide[2][v][which], half)); /* 16 bits of it count */
            x = vshlq_n_u32(x, 16);
            if (lowest == 0) {
                x = vaddq_u32(x, vshlq_n_u32(widened(wide[1][v][which], half), 8));
                x = vaddq_u32(x, widened(wide[0][v][which], half));
            }
            if (add) x = vaddq_u32(x, vld1q_u32(to));
            vst1q_u32(to, x);
        }
    }
}

static __attribute__((noinline)) void look_up_lower_bytes(int vectors, int add, int32_t *sums, const byte_table *tables,
                                                          const uint8x16_t *index, size_t n_groups) {
    switch (vectors) {
        case 4: look_up_bytes(0, 2, 4, add, sums, tables, index, n_groups); break;
        case 2: look_up_bytes(0, 2, 2, add, sums, tables, index, n_groups); break;
        default: look_up_bytes(0, 2, 1, add, sums, tables, index, n_groups); break;
    }
}

static __attribute__((noinline)) void look_up_upper_bytes(int vectors, int add, int32_t *sums, const byte_table *tables,
                                                          const uint8x16_t *index, size_t n_groups) {
    switch (vectors) {
        case 4: look_up_bytes(2, 3, 4, add, sums, tables, index, n_groups); break;
        case 2: look_up_bytes(2, 3, 2, add, sums, tables, index, n_groups); break;
        default: look_up_bytes(2, 3, 1, add, sums, tables, index, n_groups); break;
    }
}

static __attribute__((noinline)) void look_up_highest_byte(int vectors, int32_t *sums, const byte_table *tables,
                                                           const uint8x16_t *index, size_t n_groups) {
    switch (vectors) {
        case 4: look_up_bytes(3, 3, 4, 1, sums, tables, index, n_groups); break;
        case 2: look_up_bytes(3, 3, 2, 1, sums, tables, index, n_groups); break;
        default: look_up_bytes(3, 3, 1, 1, sums, tables, index, n_groups); break;
    }
}

/* Some groups of at most FRBM_TILE outputs for all lanes */
static void look_up_chunk(int32_t *sums, size_t ld, size_t n_out, int add, size_t n_lanes, const byte_table *tables,
                          const bytes_in_use *use, const uint32_t *bits, size_t stride, size_t n_groups) {
    uint8x16_t index[4 * CHUNK_GROUPS];
    for (size_t lane = 0; lane < n_lanes;) {
        const int vectors = n_lanes - lane > 48 ? 4 : n_lanes - lane > 16 ? 2 : 1;
        switch (vectors) {
            case 4: spread_index(4, bits + lane, stride, n_groups, index); break;
            case 2: spread_index(2, bits + lane, stride, n_groups, index); break;
            default: spread_index(1, bits + lane, stride, n_groups, index); break;
        }
        for (size_t o = 0; o < n_out; o++) {
            const byte_table *of_output = tables + o * CHUNK_GROUPS;
            int32_t *to = sums + o * ld + lane;
            if (!any_byte(use[o].lower)) {
                look_up_upper_bytes(vectors, add, to, of_output, index, n_groups);
                continue;
            }
            look_up_lower_bytes(vectors, add, to, of_output, index, n_groups);
            if (any_byte(use[o].highest)) look_up_highest_byte(vectors, to, of_output, index, n_groups);
        }
        lane += 16 * (size_t)vectors;
    }
}

/* As in lookup.h; no more than n_out rows are written */
static void look_up_product(const frbm_operand *op, size_t output, size_t n_out, const int add, int32_t *sums,
                            size_t ld, size_t first_lane, size_t n_lanes, int32_t *tables) {
    byte_table *of_outputs = (byte_table *)tables;
    for (size_t first = 0; first < op->n_inputs; first += 4 * CHUNK_GROUPS) {
        const size_t left = (op->n_inputs - first + 3) / 4, n_groups = left < CHUNK_GROUPS ? left : CHUNK_GROUPS;
        bytes_in_use use[FRBM_TILE];
        for (size_t o = 0; o < n_out; o++)
            use[o] = build_byte_tables(op, output + o, first, n_groups, of_outputs + o * CHUNK_GROUPS);
        look_up_chunk(sums, ld, n_out, add || first, n_lanes, of_outputs, use,
                      op->bits + first / 32 * op->stride + first_lane, op->stride, n_groups);
    }
}
_Static_assert(sizeof(byte_table) * CHUNK_GROUPS * FRBM_TILE <= sizeof(int32_t) * FRBM_TABLE_FLOATS, "tables");
#endif

#endif
