/* Products of bits and integers by tiles: limbs of the integers (limbs.h) times bytes that are 0 or 1.
 *
 * The sum over inputs of a limb is exact in int32, and the sums of the limbs, shifted, add up to the product modulo
 * 2^32: the integer that look-ups find.  A tile of limbs meets two tiles of 16 lanes at a time.  Their sums are not
 * renamed as other registers are, and storing them waits; so limbs take turns between two sets of sums, and the sums of
 * a block are merged between the products of the next one.  (byte_matrices.h keeps them in registers.) */
#ifndef FASTRBM_LIMB_PRODUCT_H
#define FASTRBM_LIMB_PRODUCT_H

#include "kernels.h"
#include "limbs.h"
#include "simd.h"
#include "tile_unit.h"

#ifdef FRBM_TILES
typedef int32_t limb_sums[FRBM_LIMBS][2][TILE_ROWS * 16]; /* of a block, by limb and tile of lanes */

/* What a product needs of the scratch */
typedef struct {
    uint8_t states[2 * FRBM_LIMB_STEPS * TILE_BYTES]; /* [tile of 16 lanes][step] */
    limb_sums sums[2];
    uint8_t cut[FRBM_PANEL / 16 * FRBM_LIMBS * FRBM_CUT_STEPS * TILE_BYTES]; /* of a gradient */
    uint8_t high[FRBM_PANEL / 16 * FRBM_CUT_STEPS * 4];
} limb_room;
_Static_assert(sizeof(limb_room) <= sizeof(float) * FRBM_LIMB_FLOATS, "FRBM_LIMB_FLOATS");

/* The same of both tiles of lanes of a pass of n_steps, step `at` of it */
INLINE void spread_pair(const frbm_operand *op, size_t first, size_t lane, limb_room *room, size_t n_steps,
                        size_t at) {
    const uint32_t *bits = op->bits + first / 32 * op->stride + lane;
    const size_t n_words = (op->n_inputs + 31) / 32 - first / 32;
    for (size_t half = 0; half < 2; half++)
        spread_states(bits + 16 * half, op->stride, n_words, room->states + (half * n_steps + at) * TILE_BYTES);
}

/* One pass of n_steps over n_blocks blocks of outputs: sums[output][lane] = or += for 32 lanes */
typedef struct {
    const frbm_limbs *limbs;
    size_t first_block, n_blocks, first_step, n_steps;
    int add;
} limb_pass;

#ifdef FRBM_I8MM
/* 8 outputs and 8 lanes of a block */
INLINE void multiply_square(const limb_pass *p, size_t block, int high, const int lowest, const uint8_t *states,
                            size_t row, int32_t *to, size_t ld) {
    byte_sums sums;
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++)
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) sums[i][j] = vdupq_n_u32(0);
    const uint8_t *limbs = limb_tile(p->limbs, block, 3, p->first_step) + 8 * row;
    for (size_t k = 0; high && k < p->n_steps; k++)
        if (has_high_limb(p->limbs, block, p->first_step + k))
            multiply_bytes(1, 8, limbs + k * TILE_BYTES, states + k * TILE_BYTES, sums);
#pragma GCC unroll 3
    for (int limb = 2; limb >= lowest; limb--) {
        limbs -= p->limbs->n_steps * TILE_BYTES;
        if (limb < 2 || high) shift_sums(8, sums);
        multiply_bytes(limb == 2, 8 * p->n_steps, limbs, states, sums);
    }
    if (lowest == 2) shift_sums(16, sums);
    store_sums(sums, p->add, to + row * ld, ld);
}

INLINE void multiply_pass(const limb_pass *p, const int lowest, limb_room *room, int32_t *sums, size_t ld) {
    for (size_t block = 0; block < p->n_blocks; block++) {
        int high = 0;
        for (size_t k = 0; k < p->n_steps; k++) high |= has_high_limb(p->limbs, p->first_block + block, p->first_step + k);
        for (size_t lane = 0; lane < 32; lane += 8) {
            const uint8_t *states = room->states + lane / 16 * p->n_steps * TILE_BYTES + 8 * (lane % 16);
            for (size_t row = 0; row < 16; row += 8)
                multiply_square(p, p->first_block + block, high, lowest, states, row, sums + 16 * block * ld + lane, ld);
        }
    }
}
#else
/* Sums of a block that wait to be added up: 32 half rows of 16 lanes */
typedef struct {
    const limb_sums *sums;
    int high; /* whether limb 3 is among them */
    int32_t *to;
    int next; /* the half row that is due; 32: none */
} waiting_block;

/* Adds up `n` half rows; limbs below `lowest` do not exist */
INLINE void merge_rows(waiting_block *wait, int n, const int lowest, size_t ld, int add) {
    for (; n > 0 && wait->next < 32; n--, wait->next++) {
        const int row = wait->next / 2, half = wait->next % 2;
        int32_t *to = wait->to + (size_t)row * ld + 16 * half;
        vec_u x = load_u((const uint32_t *)(*wait->sums)[2][half] + 16 * row);
        if (wait->high) x += load_u((const uint32_t *)(*wait->sums)[3][half] + 16 * row) << 8;
        for (int limb = 1; limb >= lowest; limb--)
            x = (x << 8) + load_u((const uint32_t *)(*wait->sums)[limb][half] + 16 * row);
        if (lowest == 2) x <<= 16;
        if (add) x += load_u((const uint32_t *)to);
        STORE(to, x);
    }
}

#define MULTIPLY(C0, C1, A, PRODUCT)                                                   \
    do {                                                                               \
        TILE_ZERO(C0);                                                                 \
        TILE_ZERO(C1);                                                                 \
        for (size_t k = 0; k < p->n_steps; k++) {                                      \
            if (limb == 3 && !has_high_limb(p->limbs, block, p->first_step + k)) continue; \
            TILE_LOAD(A, limbs + k * TILE_BYTES);                                      \
            TILE_LOAD(6, room->states + k * TILE_BYTES);                               \
            PRODUCT(C0, A, 6);                                                         \
            TILE_LOAD(7, room->states + (p->n_steps + k) * TILE_BYTES);                \
            PRODUCT(C1, A, 7);                                                         \
            merge_rows(&wait, per_step, lowest, ld, p->add);                           \
        }                                                                              \
        TILE_STORE(C0, room->sums[block % 2][limb][0]);                                \
        TILE_STORE(C1, room->sums[block % 2][limb][1]);                                \
    } while (0)

INLINE void multiply_pass(const limb_pass *p, const int lowest, limb_room *room, int32_t *sums, size_t ld) {
    const int n_products = (3 - lowest) * (int)p->n_steps, per_step = (32 + n_products - 1) / n_products;
    waiting_block wait = {NULL, 0, NULL, 32};
    int set = 0;
    TILE_READS();
    for (size_t block = p->first_block; block < p->first_block + p->n_blocks; block++) {
        int high = 0;
        for (size_t k = 0; k < p->n_steps; k++) high |= has_high_limb(p->limbs, block, p->first_step + k);
#pragma GCC unroll 4
        for (int limb = lowest; limb < 3 + high; limb++, set ^= 1) {
            const uint8_t *limbs = limb_tile(p->limbs, block, (size_t)limb, p->first_step);
            if (set && limb < 2)
                MULTIPLY(2, 3, 5, TILE_UNSIGNED);
            else if (set)
                MULTIPLY(2, 3, 5, TILE_SIGNED);
            else if (limb < 2)
                MULTIPLY(0, 1, 4, TILE_UNSIGNED);
            else
                MULTIPLY(0, 1, 4, TILE_SIGNED);
        }
        merge_rows(&wait, 32, lowest, ld, p->add);
        wait = (waiting_block){&room->sums[block % 2], high, sums + 16 * (block - p->first_block) * ld, 0};
    }
    merge_rows(&wait, 32, lowest, ld, p->add);
}
#undef MULTIPLY
#endif

static __attribute__((noinline)) void multiply_limbs(const limb_pass *p, limb_room *room, int32_t *sums, size_t ld) {
    multiply_pass(p, 0, room, sums, ld);
}

static __attribute__((noinline)) void multiply_upper_limbs(const limb_pass *p, limb_room *room, int32_t *sums, size_t ld) {
    multiply_pass(p, 2, room, sums, ld);
}

/* sums[u][lane] of outputs [output, output + n_out), `output` a multiple of 16, n_out at most FRBM_PANEL, by op->limbs;
 * rows up to a multiple of 16 and lanes up to one of 32 are written too */
static void limb_product(const frbm_operand *op, size_t output, size_t n_out, int int16, int32_t *sums, size_t ld,
                         size_t first_lane, size_t n_lanes, void *scratch) {
    limb_room *room = scratch;
    limb_pass pass = {op->limbs, output / 16, (n_out + 15) / 16, 0, 0, 0};
    tile_begin();
    for (; pass.first_step < op->limbs->n_steps; pass.first_step += pass.n_steps, pass.add = 1) {
        const size_t left = op->limbs->n_steps - pass.first_step;
        pass.n_steps = left < FRBM_LIMB_STEPS ? left : FRBM_LIMB_STEPS;
        for (size_t lane = 0; lane < n_lanes; lane += 32) {
            for (size_t k = 0; k < pass.n_steps; k++)
                spread_pair(op, 64 * (pass.first_step + k), first_lane + lane, room, pass.n_steps, k);
            (int16 ? multiply_upper_limbs : multiply_limbs)(&pass, room, sums + lane, ld);
        }
    }
    tile_end();
}

/* 64 samples of a phase of a gradient */
typedef struct {
    const frbm_operand *op;
    size_t first;
} limb_samples;

/* Step `at` of the phases, one after the other */
INLINE limb_samples samples_of(const frbm_operand *const phases[2], size_t at) {
    const size_t of_first = (phases[0]->n_inputs + 63) / 64;
    return at < of_first ? (limb_samples){phases[0], 64 * at} : (limb_samples){phases[1], 64 * (at - of_first)};
}

/* Coefficients of outputs [output, output + n_out) for one step of a pass */
static void cut_samples(limb_samples s, size_t output, size_t n_out, const frbm_limbs *to, size_t step) {
    for (size_t block = 0; 16 * block < n_out; block++)
        for (size_t quarter = 0; quarter < 4; quarter++) {
            const size_t at = s.first + 16 * quarter, n = s.op->n_inputs > at ? s.op->n_inputs - at : 0;
            const size_t n_rows = n_out - 16 * block < 16 ? n_out - 16 * block : 16;
            const int32_t *coef = s.op->coef + (output + 16 * block) * s.op->out_stride + at;
            vec_u rows[16];
            const int high = cut_rows(coef, s.op->out_stride, n_rows, n, rows);
            store_rows_of_limbs(rows, high, to, block, step, quarter);
        }
}

/* sums[u][lane] of two products with coefficients [output][sample] together, the phases of a gradient; bounds as in
 * limb_product */
static void limb_gradient(const frbm_operand *const phases[2], size_t output, size_t n_out, int32_t *sums, size_t ld,
                          size_t first_lane, size_t n_lanes, void *scratch) {
    limb_room *room = scratch;
    const size_t n_steps = (phases[0]->n_inputs + 63) / 64 + (phases[1]->n_inputs + 63) / 64;
    frbm_limbs cut = {room->cut, room->high, 0};
    limb_pass pass = {&cut, 0, (n_out + 15) / 16, 0, 0, 0};
    tile_begin();
    for (size_t step = 0; step < n_steps; step += pass.n_steps, pass.add = 1) {
        cut.n_steps = pass.n_steps = n_steps - step < FRBM_CUT_STEPS ? n_steps - step : FRBM_CUT_STEPS;
        for (size_t k = 0; k < pass.n_steps; k++) cut_samples(samples_of(phases, step + k), output, n_out, &cut, k);
        for (size_t lane = 0; lane < n_lanes; lane += 32) {
            for (size_t k = 0; k < pass.n_steps; k++) {
                const limb_samples s = samples_of(phases, step + k);
                spread_pair(s.op, s.first, first_lane + lane, room, pass.n_steps, k);
            }
            multiply_limbs(&pass, room, sums + lane, ld);
        }
    }
    tile_end();
}

/* Whether the gradient of a phase of so many samples goes by tiles */
INLINE int fills_tiles(size_t n_samples) { return n_samples >= FRBM_TILE_LANES; }
#else
static void limb_product(const frbm_operand *op, size_t output, size_t n_out, int int16, int32_t *sums, size_t ld,
                         size_t first_lane, size_t n_lanes, void *scratch) {
    (void)op, (void)output, (void)n_out, (void)int16, (void)sums, (void)ld, (void)first_lane, (void)n_lanes;
    (void)scratch;
}
static void limb_gradient(const frbm_operand *const phases[2], size_t output, size_t n_out, int32_t *sums, size_t ld,
                          size_t first_lane, size_t n_lanes, void *scratch) {
    (void)phases, (void)output, (void)n_out, (void)sums, (void)ld, (void)first_lane, (void)n_lanes, (void)scratch;
}
INLINE int fills_tiles(size_t n_samples) {
    (void)n_samples;
    return 0;
}
#endif

#endif
