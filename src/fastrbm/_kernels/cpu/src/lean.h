/* Lean Contrastive Divergence: ways to draw a layer that do less than the whole product and return the same states.
 *
 * A unit is on iff cell * (1 + e^-x) < 2^23, x = bias + unit * S with the exact integer S (tiles.c).  A filter knows x
 * only as center +- radius.  It accepts what holds for both ends, widened by FRBM_SLACK for the rounding of the test
 * itself; the rest is summed exactly and tested like any other unit.  So states are those of the dense product, bit
 * for bit, whatever the filter.
 *
 * Filters: 16-bit look-ups (half the bits of the weights, rigorous error), and any center given by the caller (a
 * low-rank projection, or the product of an earlier state) with radius[unit] * spread[lane].
 * The delta product keeps S by lanes and adds the rows of the inputs that flipped. */
#ifndef FASTRBM_LEAN_H
#define FASTRBM_LEAN_H

#include "bits.h"
#include "fixed.h"
#include "sparse.h"

/* Relative error of cell * (1 + e^-x) in float32 where it is near 2^23, so |x| < 17: 2e-7 of the exponential and 1e-6 of
 * its argument for either side, and roundings.  That of x itself is part of the radius. */
#define FRBM_SLACK 2e-5f

/* ---- 16-bit look-ups ------------------------------------------------------------------------------------- */

/* Round one output's integers to 16 bits: shift so that any 16 inputs that share a look-up chain fit, and bound what
 * is lost.  packed[16 w + k] = input 32 w + k | input 32 w + 16 + k << 16.  Returns the shift; *error is the largest
 * |sum - 2^shift * rounded sum| over all subsets of inputs. */
static int pack_low(const int32_t *row, size_t n, uint32_t *packed, int64_t *error) {
    uint32_t largest = 0, above = 0, below = 0;
    int32_t tail[32] = {0};
    memcpy(tail, row + n / 32 * 32, n % 32 * sizeof(int32_t));
    for (size_t first = 0; first < n; first += 16) {
        const int32_t *x = first + 16 <= n / 32 * 32 ? row + first : tail + first % 32;
        uint32_t up = 0, down = 0; /* sums of all inputs fit 31 bits (fixed.h) */
        for (int i = 0; i < 16; i++) {
            up += x[i] > 0 ? (uint32_t)x[i] : 0u;
            down += x[i] < 0 ? 0u - (uint32_t)x[i] : 0u;
        }
        largest = up > largest ? up : largest;
        largest = down > largest ? down : largest;
    }
    int shift = 0;
    while ((largest >> shift) + 16 > 32767) shift++; /* 16: every input may round up */
    const int32_t half = shift ? 1 << (shift - 1) : 0;
    for (size_t first = 0; first < n; first += 32, packed += 16) {
        const int32_t *x = first + 32 <= n ? row + first : tail;
        for (int i = 0; i < 16; i++) {
            const int32_t low = (x[i] + half) >> shift, high = (x[i + 16] + half) >> shift;
            const int32_t lost = x[i] - low * (1 << shift), lost_high = x[i + 16] - high * (1 << shift);
            above += (uint32_t)(lost > 0 ? lost : 0) + (uint32_t)(lost_high > 0 ? lost_high : 0);
            below += (uint32_t)(lost < 0 ? -lost : 0) + (uint32_t)(lost_high < 0 ? -lost_high : 0);
            packed[i] = ((uint32_t)low & 0xFFFFu) | (uint32_t)high << 16;
        }
    }
    *error = above > below ? above : below;
    return shift;
}

#ifdef FRBM_AVX512
#define LOW_TILE 6
/* Tables of LOW_TILE outputs, `stride` words each, for n_words words: [word][output][4 groups][32 int16]; entry 2 e + p of group g holds
 * the inputs e of nibble g in half p of the word. */
static void build_low(int32_t *tables, const uint32_t *packed, size_t stride, size_t n_words) {
    const __m512i lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    const __m512i pair = _mm512_srli_epi32(lane, 2), first = _mm512_slli_epi32(pair, 2);
    const __m512i one = _mm512_set1_epi32(1), second = _mm512_add_epi32(first, one);
    const __m512i third = _mm512_add_epi32(second, one), fourth = _mm512_add_epi32(third, one);
    __m512i pick_low[4], pick_high[4];
    for (int q = 0; q < 4; q++) {
        pick_low[q] = _mm512_add_epi32(_mm512_and_si512(lane, _mm512_set1_epi32(3)), _mm512_set1_epi32(4 * q));
        pick_high[q] = _mm512_add_epi32(pair, _mm512_set1_epi32(4 * q));
    }
    for (size_t w = 0; w < n_words; w++)
        for (size_t o = 0; o < LOW_TILE; o++) {
            const __m512i c = _mm512_loadu_si512(packed + (o * stride + w) * 16);
            const __m512i low = _mm512_add_epi16(_mm512_maskz_permutexvar_epi32(0xAAAA, first, c),
                                                 _mm512_maskz_permutexvar_epi32(0xCCCC, second, c));
            const __m512i high = _mm512_add_epi16(_mm512_maskz_permutexvar_epi32(0xAAAA, third, c),
                                                  _mm512_maskz_permutexvar_epi32(0xCCCC, fourth, c));
#pragma GCC unroll 4
            for (int q = 0; q < 4; q++, tables += 16)
                _mm512_store_si512(tables, _mm512_add_epi16(_mm512_permutexvar_epi32(pick_low[q], low),
                                                            _mm512_permutexvar_epi32(pick_high[q], high)));
        }
}

/* sums[o][lane] = or += for 32 lanes, over words whose tables are given */
INLINE void look_up_low(const int add, int32_t *sums, size_t ld, const int32_t *tables, const uint32_t *bits,
                        size_t stride, size_t n_words) {
    const __m512i ones = _mm512_set1_epi16(1), parity = _mm512_set1_epi32(0x00010000);
    __m512i acc[LOW_TILE][2];
#pragma GCC unroll 6
    for (int o = 0; o < LOW_TILE; o++)
#pragma GCC unroll 2
        for (int v = 0; v < 2; v++)
            acc[o][v] = add ? _mm512_loadu_si512(sums + o * ld + 16 * v) : _mm512_setzero_si512();
    for (size_t w = 0; w < n_words; w++, bits += stride) {
        __m512i index[4][2];
#pragma GCC unroll 2
        for (int v = 0; v < 2; v++) {
            /* nibble in bits 1-4, half of the word in bit 0; vpermw ignores the rest */
            const __m512i x = _mm512_loadu_si512(bits + 16 * v);
            index[0][v] = _mm512_ternarylogic_epi32(_mm512_slli_epi16(x, 1), ones, parity, 0xBA);
            index[1][v] = _mm512_ternarylogic_epi32(_mm512_srli_epi16(x, 3), ones, parity, 0xBA);
            index[2][v] = _mm512_ternarylogic_epi32(_mm512_srli_epi16(x, 7), ones, parity, 0xBA);
            index[3][v] = _mm512_ternarylogic_epi32(_mm512_srli_epi16(x, 11), ones, parity, 0xBA);
        }
#pragma GCC unroll 6
        for (int o = 0; o < LOW_TILE; o++, tables += 64) {
            __m512i table[4];
#pragma GCC unroll 4
            for (int g = 0; g < 4; g++) table[g] = _mm512_load_si512(tables + 16 * g);
            __asm__("" : "+v"(table[0]), "+v"(table[1]), "+v"(table[2]), "+v"(table[3]));
#pragma GCC unroll 2
            for (int v = 0; v < 2; v++) {
                __m512i part = _mm512_permutexvar_epi16(index[0][v], table[0]);
#pragma GCC unroll 3
                for (int g = 1; g < 4; g++)
                    part = _mm512_add_epi16(part, _mm512_permutexvar_epi16(index[g][v], table[g]));
                acc[o][v] = _mm512_add_epi32(acc[o][v], _mm512_madd_epi16(part, ones));
                __asm__ volatile("" : "+v"(acc[o][v]));
            }
        }
    }
#pragma GCC unroll 6
    for (int o = 0; o < LOW_TILE; o++)
#pragma GCC unroll 2
        for (int v = 0; v < 2; v++) _mm512_storeu_si512(sums + o * ld + 16 * v, acc[o][v]);
}
#endif

/* sums[u][lane] of the rounded integers of n_units outputs, n_lanes up to a multiple of 32; rows of `sums` up to a
 * multiple of 6 are written too.  `packed` holds n_words * 16 dwords an output, with room for a whole tile. */
static void low_product(const uint32_t *packed, size_t n_words, size_t n_units, const uint32_t *bits, size_t stride,
                        size_t n_lanes, int32_t *sums, size_t ld, int32_t *tables) {
#ifdef FRBM_AVX512
    for (size_t u = 0; u < n_units; u += LOW_TILE)
        for (size_t first = 0; first < n_words; first += 2 * FRBM_CHUNK_WORDS) {
            const size_t here = n_words - first < 2 * FRBM_CHUNK_WORDS ? n_words - first : 2 * FRBM_CHUNK_WORDS;
            build_low(tables, packed + (u * n_words + first) * 16, n_words, here);
            for (size_t lane = 0; lane < n_lanes; lane += 32)
                look_up_low(first > 0, sums + u * ld + lane, ld, tables, bits + first * stride + lane, stride, here);
        }
#else
    (void)tables;
    for (size_t u = 0; u < n_units; u++)
        for (size_t lane = 0; lane < n_lanes; lane++) {
            int32_t sum = 0;
            for (size_t w = 0; w < n_words; w++) {
                const uint32_t *half = packed + (u * n_words + w) * 16;
                for (uint32_t active = bits[w * stride + lane]; active; active &= active - 1) {
                    const int k = __builtin_ctz(active);
                    sum += (int16_t)(half[k % 16] >> (k / 16 * 16));
                }
            }
            sums[u * ld + lane] = sum;
        }
#endif
}

/* ---- exact sums of single units and of flips -------------------------------------------------------------- */

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
#else
    uint32_t sum = 0;
    for (size_t k = 0; k < n_inputs; k += 32, bits += stride)
        for (uint32_t active = *bits; active; active &= active - 1)
            sum += (uint32_t)coef[k + (size_t)__builtin_ctz(active)];
    return (int32_t)sum;
#endif
}

/* totals[unit] += rows of `on` - rows of `off`, SPARSE_UNITS or fewer outputs */
INLINE void add_flips(const int registers, uint64_t on, uint64_t off, const int32_t *rows, size_t ld,
                      int32_t *totals) {
    reg_i total[SPARSE_REGISTERS];
    for (int v = 0; v < registers; v++) memcpy(&total[v], totals + REGISTER / 4 * v, REGISTER);
    for (; on; on &= on - 1) {
        const int32_t *row = rows + (size_t)__builtin_ctzll(on) * ld;
        for (int v = 0; v < registers; v++) {
            reg_i x;
            memcpy(&x, row + REGISTER / 4 * v, REGISTER);
            total[v] += x;
        }
    }
    for (; off; off &= off - 1) {
        const int32_t *row = rows + (size_t)__builtin_ctzll(off) * ld;
        for (int v = 0; v < registers; v++) {
            reg_i x;
            memcpy(&x, row + REGISTER / 4 * v, REGISTER);
            total[v] -= x;
        }
    }
    for (int v = 0; v < registers; v++) memcpy(totals + REGISTER / 4 * v, &total[v], REGISTER);
}

/* sums[lane][unit], stride sum_ld, from the product with `before` to that with `now`; before NULL: from nothing */
static void delta_product(const frbm_operand *op, const uint32_t *before, size_t before_ld, size_t n_units,
                          int32_t *sums, size_t sum_ld, size_t n_lanes) {
    const size_t n_words = (op->n_inputs + 31) / 32;
    if (!before)
        for (size_t l = 0; l < n_lanes; l++) memset(sums + l * sum_ld, 0, frbm_round_up(n_units, 16) * sizeof(int32_t));
    for (size_t at = 0; at < n_units; at += SPARSE_UNITS) {
        const size_t here = n_units - at < SPARSE_UNITS ? n_units - at : SPARSE_UNITS;
        for (size_t w = 0; w < n_words; w += 2) {
            const int32_t *block = op->rows + 32 * w * op->rows_ld + at;
            const int second = w + 1 < n_words;
            const uint32_t *low = op->bits + w * op->stride, *old = before ? before + w * before_ld : NULL;
            for (size_t l = 0; l < n_lanes; l++) {
                const uint64_t now = low[l] | (second ? (uint64_t)low[op->stride + l] << 32 : 0);
                const uint64_t was = old ? old[l] | (second ? (uint64_t)old[before_ld + l] << 32 : 0) : 0;
                int32_t *row = sums + l * sum_ld + at;
                if (now == was) continue;
                if (here > SPARSE_UNITS - REGISTER / 4)
                    add_flips(SPARSE_REGISTERS, now & ~was, was & ~now, block, op->rows_ld, row);
                else
                    for (size_t u = 0; u < here; u += REGISTER / 4)
                        add_flips(1, now & ~was, was & ~now, block + u, op->rows_ld, row + u);
            }
        }
    }
}

/* ---- filtered draw ----------------------------------------------------------------------------------------- */

#ifdef FRBM_AVX512
typedef __mmask16 lane_mask;
INLINE lane_mask below(vec_f x) { return _mm512_cmp_ps_mask((__m512)x, _mm512_set1_ps(8388608.0f), _CMP_LT_OQ); }
INLINE lane_mask and_not(lane_mask a, lane_mask b) { return _kandn_mask16(b, a); }
INLINE vec_u set_bit(vec_u words, lane_mask mask, size_t u) {
    return (vec_u)_mm512_mask_or_epi32((__m512i)words, mask, (__m512i)words, _mm512_set1_epi32((int)(1u << u)));
}
#else
typedef uint32_t lane_mask;
INLINE lane_mask below(vec_f x) {
    const vec_i less = x < 8388608.0f;
    return sign_mask((const int32_t *)&less);
}
INLINE lane_mask and_not(lane_mask a, lane_mask b) { return a & ~b; }
INLINE vec_u set_bit(vec_u words, lane_mask mask, size_t u) {
    for (; mask; mask &= mask - 1) words[__builtin_ctz(mask)] |= 1u << u;
    return words;
}
#endif

/* What a filter left open: exact sums, and the test of `activate` */
static uint32_t decide_exactly(const frbm_filter *f, uint32_t open, size_t unit, size_t lane, const uint32_t random[16]) {
    const frbm_layer *layer = &f->layer;
    uint32_t on = 0;
    for (; open; open &= open - 1) {
        const size_t l = (size_t)__builtin_ctz(open);
        const int32_t sum = exact_sum(f->by_output + unit * f->by_output_ld, layer->op.n_inputs,
                                      layer->op.bits + lane + l, layer->op.stride);
        const float input = layer->bias[unit] + layer->unit * (float)sum;
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
    for (size_t lane = 0; lane < n_lanes; lane += 16) {
        const size_t valid = n_lanes - lane < 16 ? n_lanes - lane : 16;
        const lane_mask in_use = (lane_mask)((1u << valid) - 1);
        vec_u words = {0};
        vec_f spread = {0};
        if (f->spread)
            memcpy(&spread, f->spread + lane, valid * sizeof(float));
        else
            spread += 1.0f;
        for (size_t u4 = 0; u4 < n_units; u4 += 4) {
            uint32_t random[4][16];
            philox_lanes(random, (uint32_t)((unit0 + u4) / 4), layer->draw.first_chain + (uint32_t)lane, &layer->draw);
            for (size_t u = u4; u < u4 + 4 && u < n_units; u++) {
                vec_u r;
                memcpy(&r, random[u - u4], sizeof r);
                const vec_f cell = __builtin_convertvector((vec_i)(r >> 9), vec_f) + 0.5f;
                const vec_f x = load_f(center + u * ld + lane);
                vec_f most, least; /* 1 + e^-x at center - radius and center + radius */
                if (small_radius) {
                    const vec_f e = sigmoid_scale(x) - 1.0f;
                    most = 1.0f + e * f->grow[unit0 + u];
                    least = 1.0f + e * f->shrink[unit0 + u];
                } else {
                    const vec_f reach = f->radius[unit0 + u] * spread + slack(f, unit0 + u);
                    most = sigmoid_scale(x - reach);
                    least = sigmoid_scale(x + reach);
                }
                const lane_mask on = below(cell * (1.0f + FRBM_SLACK) * most);
                const lane_mask open = and_not(below(cell * (1.0f - FRBM_SLACK) * least), on) & in_use;
                words = set_bit(words, on, u);
                if (__builtin_expect(open != 0, 0)) {
                    recomputed += (uint64_t)__builtin_popcount(open);
                    words = set_bit(words, (lane_mask)decide_exactly(f, open, unit0 + u, lane, random[u - u4]), u);
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
static void lean_panel(const frbm_filter *f, size_t unit0, size_t n_units, float *scratch, frbm_work *work) {
    const frbm_layer *layer = &f->layer;
    float *inputs = scratch + FRBM_TABLE_FLOATS;
    int32_t *sums = (int32_t *)inputs;
    const size_t n_lanes = layer->n_lanes, padded = frbm_round_up(n_lanes, 16);
    if (f->method == FRBM_LOW) {
        const size_t n_words = (layer->op.n_inputs + 31) / 32;
        low_product(f->packed + unit0 * n_words * 16, n_words, n_units, layer->op.bits, layer->op.stride, n_lanes, sums,
                    FRBM_SUM_LD, (int32_t *)scratch);
    } else if (f->method != FRBM_CENTER) {
        transpose_rows(f->sums + unit0, f->sums_ld, 0, padded, n_units, sums, FRBM_SUM_LD);
    }
    for (size_t u = 0; u < n_units; u++) {
        const float bias = layer->bias[unit0 + u];
        const float unit = f->method == FRBM_LOW ? f->packed_unit[unit0 + u] : layer->unit;
        float *row = inputs + u * FRBM_SUM_LD;
        if (f->method == FRBM_CENTER) {
            for (size_t l = 0; l < padded; l++) row[l] = bias;
            for (size_t r = 0; r < f->rank; r++) {
                const float along = f->project[(unit0 + u) * f->rank + r], *at = f->coordinates + r * f->coordinates_ld;
                for (size_t l = 0; l < n_lanes; l++) row[l] += along * at[l];
            }
            continue;
        }
        for (size_t l = 0; l < padded; l += 16) {
            vec_i sum;
            memcpy(&sum, row + l, sizeof sum);
            const vec_f x = bias + unit * __builtin_convertvector(sum, vec_f);
            memcpy(row + l, &x, sizeof x);
        }
    }
    for (size_t u = 0; u < n_units; u += 32) {
        const size_t here = n_units - u < 32 ? n_units - u : 32;
        if (f->method == FRBM_SUMS)
            activate(layer, inputs + u * FRBM_SUM_LD, unit0 + u, here, 0, n_lanes);
        else
            filter_units(f, inputs + u * FRBM_SUM_LD, FRBM_SUM_LD, unit0 + u, here, n_lanes, work);
    }
}

#endif
