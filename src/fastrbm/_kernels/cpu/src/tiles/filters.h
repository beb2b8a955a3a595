/* Lean Contrastive Divergence: ways to draw a layer that do less than the whole product and return the same states.
 *
 * A unit is on iff cell * (1 + e^-x) < 2^23, x = bias + quantum * S with the exact integer S (activate.h).  A filter
 * knows x only as center +- radius.  It accepts what holds for both ends, widened by FRBM_SLACK for the rounding of
 * the test itself; the rest is summed exactly and tested like any other unit.  So states are those of the dense
 * product, bit for bit, whatever the filter.
 *
 * Filters: 16-bit look-ups (half the bits of the weights, rigorous error), and any center given by the caller (a
 * low-rank projection, or the product of an earlier state) with radius[unit] * spread[lane].
 * The delta product keeps S by lanes and adds the rows of the inputs that flipped. */
#ifndef FASTRBM_FILTERS_H
#define FASTRBM_FILTERS_H

#include "activate.h"
#include "int16_filter.h"
#include "kernels.h"
#include "lane_math.h"
#include "philox.h"
#include "simd.h"
#include "transpose.h"

/* Relative error of cell * (1 + e^-x) in float32 where it is near 2^23, so |x| < 17: 2e-7 of the exponential of the
 * rule, 3e-6 of the one here, 1e-6 of its argument for either side, and roundings.  That of x itself is part of the
 * radius. */
#define WIDER (1.0f + 2e-5f)
#define NARROWER (1.0f - 2e-5f)

/* ---- exact sums of single units ----------------------------------------------------------------------------- */

/* sum over active inputs of one lane; coef contiguous over inputs */
INLINE int32_t exact_sum(const int32_t *coef, size_t n_inputs, const uint32_t *bits, size_t stride) {
#ifdef FRBM_AVX512
    __m512i a = _mm512_setzero_si512(), b = a;
    size_t k = 0;
    for (; k + 32 <= n_inputs; k += 32, bits += stride) {
        a = _mm512_mask_add_epi32(a, (__mmask16)*bits, a, _mm512_loadu_si512(coef + k));
        b = _mm512_mask_add_epi32(b, (__mmask16)(*bits >> 16), b, _mm512_loadu_si512(coef + k + 16));
    }
    if (k < n_inputs) {
        const uint32_t mask = *bits & (uint32_t)(((uint64_t)1 << (n_inputs - k)) - 1);
        a = _mm512_add_epi32(a, _mm512_maskz_loadu_epi32((__mmask16)mask, coef + k));
        b = _mm512_add_epi32(b, _mm512_maskz_loadu_epi32((__mmask16)(mask >> 16), coef + k + 16));
    }
    return _mm512_reduce_add_epi32(_mm512_add_epi32(a, b));
#elif defined(FRBM_NEON)
    static const uint32_t of_lane[4] = {1, 2, 4, 8};
    const uint32x4_t first = vld1q_u32(of_lane);
    uint32x4_t sums[2] = {vdupq_n_u32(0), vdupq_n_u32(0)};
    size_t k = 0;
    for (; k + 32 <= n_inputs; k += 32, bits += stride) {
        const uint32x4_t word = vdupq_n_u32(*bits);
#pragma GCC unroll 8
        for (int part = 0; part < 8; part++) {
            const uint32x4_t on = vtstq_u32(word, vshlq_n_u32(first, 4 * part));
            sums[part % 2] = vaddq_u32(sums[part % 2], vandq_u32(on, (uint32x4_t)vld1q_s32(coef + k + 4 * part)));
        }
    }
    uint32_t sum = vaddvq_u32(vaddq_u32(sums[0], sums[1]));
    if (k < n_inputs)
        for (uint32_t active = *bits & (uint32_t)(((uint64_t)1 << (n_inputs - k)) - 1); active; active &= active - 1)
            sum += (uint32_t)coef[k + (size_t)__builtin_ctz(active)];
    return (int32_t)sum;
#else
    uint32_t sum = 0;
    for (size_t k = 0; k < n_inputs; k += 32, bits += stride)
        for (uint32_t active = *bits; active; active &= active - 1)
            sum += (uint32_t)coef[k + (size_t)__builtin_ctz(active)];
    return (int32_t)sum;
#endif
}

/* ---- filtered draw ----------------------------------------------------------------------------------------- */

/* What a filter left open: exact sums, and the test of `activate` */
static uint32_t decide_exactly(const frbm_filter *f, uint32_t open, size_t unit, size_t lane,
                               const uint32_t *random) {
    const frbm_layer *layer = &f->layer;
    uint32_t on = 0;
    for (; open; open &= open - 1) {
        const size_t l = (size_t)__builtin_ctz(open);
        const int32_t sum = exact_sum(f->by_output + unit * f->by_output_ld, layer->op.n_inputs,
                                      layer->op.bits + lane + l, layer->op.stride);
        const float input = layer->bias[unit] + layer->quantum * (float)sum;
        const float cell = (float)(int32_t)(random[l] >> 9) + 0.5f;
        on |= (uint32_t)(cell * sigmoid_scale_lane(input) < 8388608.0f) << l;
    }
    return on;
}

INLINE float slack(const frbm_filter *f, size_t unit) { return f->spread ? f->slack[unit] : 0.0f; }

/* Decide n_units <= 32 units of n_lanes lanes from center[unit][lane] and its radius; what stays open is summed
 * exactly. */
INLINE void filter_block(const frbm_filter *f, const int small_radius, const float *center, size_t ld, size_t unit0,
                         size_t n_units, size_t n_lanes, frbm_work *work) {
    const frbm_layer *layer = &f->layer;
    uint64_t recomputed = 0;
    draw_block block;
    float grow[32], shrink[32];
    for (size_t u = 0; small_radius && u < n_units; u++) {
        grow[u] = f->grow[unit0 + u] * WIDER;
        shrink[u] = f->shrink[unit0 + u] * NARROWER;
    }
    prepare_draws(&layer->draw, unit0, n_units, &block);
    for (size_t lane = 0; lane < n_lanes; lane += FRBM_REG_LANES) {
        const size_t valid = n_lanes - lane < FRBM_REG_LANES ? n_lanes - lane : FRBM_REG_LANES;
        const uint32_t in_use = (1u << valid) - 1;
        const philox_chains chains = philox_chains_of(&block.step, layer->draw.first_chain + (uint32_t)lane);
        reg_u words = {0};
        const reg_f none = {0};
        reg_f spread = none;
        if (f->spread)
            memcpy(&spread, f->spread + lane, valid * sizeof(float));
        else
            spread += 1.0f;
        for (size_t u4 = 0; u4 < n_units; u4 += 4) {
            reg_u random[4];
            philox_words(random, &block.step, &block.units[u4 / 4], &chains);
            for (size_t u = u4; u < u4 + 4 && u < n_units; u++) {
                const reg_u r = random[u - u4];
                const reg_f cells = cells_of(r), x = load_reg_f(center + u * ld + lane);
                reg_f most, least; /* 1 + e^-x at center - radius and center + radius, and more than its errors further */
                if (small_radius) {
                    const reg_f e = near_exponential(x);
                    most = fused_f(e, none + grow[u], none + WIDER);
                    least = fused_f(e, none + shrink[u], none + NARROWER);
                } else {
                    const reg_f reach = f->radius[unit0 + u] * spread + slack(f, unit0 + u);
                    most = (1.0f + near_exponential(x - reach)) * WIDER;
                    least = (1.0f + near_exponential(x + reach)) * NARROWER;
                }
                const reg_mask_f on = below_f(cells * most, FRBM_CELLS);
                const reg_mask_f possible = below_f(cells * least, FRBM_CELLS);
                const uint32_t open = bits_of_mask_f(and_not_f(possible, on)) & in_use;
                words = set_bit_f(words, on, 1u << u);
                if (__builtin_expect(open != 0, 0)) {
                    recomputed += (uint64_t)__builtin_popcount(open);
                    uint32_t drawn[FRBM_REG_LANES];
                    STORE(drawn, r);
                    const uint32_t exact = decide_exactly(f, open, unit0 + u, lane, drawn);
                    words = set_bit_f(words, mask_of_bits_f(exact), 1u << u);
                }
            }
        }
        memcpy(layer->words + unit0 / 32 * layer->words_ld + lane, &words, valid * sizeof(uint32_t));
    }
    work->recomputed += recomputed;
}

static void filter_units(const frbm_filter *f, const float *center, size_t ld, size_t unit0, size_t n_units,
                         size_t n_lanes, frbm_work *work) {
    int small_radius = f->spread == NULL;
    for (size_t u = 0; u < n_units; u++) small_radius &= f->radius[unit0 + u] <= 1.0f;
    if (small_radius)
        filter_block(f, 1, center, ld, unit0, n_units, n_lanes, work);
    else
        filter_block(f, 0, center, ld, unit0, n_units, n_lanes, work);
}

/* ---- one layer ----------------------------------------------------------------------------------------------- */

/* Units [unit0, unit0 + n_units), first a multiple of 32, from what f->method says; at most FRBM_LANE_BLOCK lanes. */
static void filter_panel(const frbm_filter *f, size_t unit0, size_t n_units, float *scratch, frbm_work *work) {
    const frbm_layer *layer = &f->layer;
    float *inputs = scratch + FRBM_TABLE_FLOATS;
    int32_t *sums = (int32_t *)inputs;
    const size_t n_lanes = layer->n_lanes, padded = frbm_round_up(n_lanes, 16);
    if (f->method == FRBM_BY_INT16) {
        const size_t n_words = (layer->op.n_inputs + 31) / 32;
        filter_product(f->packed + unit0 * n_words * 16, n_words, n_units, layer->op.bits, layer->op.stride, n_lanes,
                       sums, FRBM_SUM_LD, (int32_t *)scratch);
    } else if (f->method != FRBM_BY_LANDMARKS) {
        transpose_rows(f->sums + unit0, f->sums_ld, 0, padded, n_units, sums, FRBM_SUM_LD);
    }
    for (size_t u = 0; u < n_units; u++) {
        const float bias = layer->bias[unit0 + u];
        const float quantum = f->method == FRBM_BY_INT16 ? f->packed_quantum[unit0 + u] : layer->quantum;
        float *row = inputs + u * FRBM_SUM_LD;
        if (f->method == FRBM_BY_LANDMARKS) {
            for (size_t l = 0; l < padded; l++) row[l] = bias;
            for (size_t r = 0; r < f->rank; r++) {
                const float along = f->project[(unit0 + u) * f->rank + r], *at = f->coordinates + r * f->coordinates_ld;
                for (size_t l = 0; l < n_lanes; l++) row[l] += along * at[l];
            }
            continue;
        }
        for (size_t l = 0; l < padded; l += 16) {
            const vec_i sum = load_i(row + l);
            const vec_f x = bias + quantum * __builtin_convertvector(sum, vec_f);
            STORE(row + l, x);
        }
    }
    for (size_t u = 0; u < n_units; u += 32) {
        const size_t here = n_units - u < 32 ? n_units - u : 32;
        if (f->method == FRBM_BY_SUMS)
            activate(layer, inputs + u * FRBM_SUM_LD, unit0 + u, here, 0, n_lanes);
        else
            filter_units(f, inputs + u * FRBM_SUM_LD, FRBM_SUM_LD, unit0 + u, here, n_lanes, work);
    }
}

#endif
