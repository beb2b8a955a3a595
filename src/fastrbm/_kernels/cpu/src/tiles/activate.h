/* What follows the product while its sums are at hand: sigmoid, draw, bits. */
#ifndef FASTRBM_ACTIVATE_H
#define FASTRBM_ACTIVATE_H

#include "kernels.h"
#include "lane_math.h"
#include "philox.h"
#include "quantise.h"
#include "simd.h"

/* Where the means of 16 lanes go: [unit][lane], at most one of the two */
typedef struct {
    float *means;
    int32_t *fixed;
    size_t ld;
    float scale;
} mean_output;

/* Sigmoid, draw and pack for 16 lanes and n_units <= 32: scaled means to `out`, and with `sample` the bits, unit u of
 * lane l as bit u of word[l] and bit l of mask[u]. */
INLINE void activate_lanes(const float *inputs, size_t n_units, mean_output out, const frbm_draw *draw,
                           uint32_t unit_block, uint32_t chain, const int sample, uint32_t word[16],
                           uint16_t mask[32]) {
    vec_u words = {0};
    for (size_t u4 = 0; u4 < n_units; u4 += 4) {
        uint32_t random[4][16];
        if (sample) philox_lanes(random, unit_block + (uint32_t)(u4 / 4), chain, draw);
        for (size_t u = u4; u < u4 + 4 && u < n_units; u++) {
            const vec_f scale = sigmoid_scale(load_f(inputs + u * FRBM_SUM_LD));
            if (out.means) {
                const vec_f mean = 1.0f / scale * out.scale;
                STORE(out.means + u * out.ld, mean);
            } else if (out.fixed) {
                const vec_i mean = nearest_vec(1.0f / scale * out.scale);
                STORE(out.fixed + u * out.ld, mean);
            }
            if (!sample) continue;
            const vec_u r = load_u(random[u - u4]);
            /* uniform_lane(r) * scale < 1, both sides times 2^23 */
            const vec_f cell = __builtin_convertvector((vec_i)(r >> 9), vec_f) + 0.5f;
            const lane_mask on = is_below(cell * scale, 8388608.0f);
            words = set_bit(words, on, 1u << u);
            mask[u] = (uint16_t)bits_of_mask(on);
        }
    }
    STORE(word, words);
}

/* The same for n_units <= 32 of all lanes; `inputs` holds the units' inputs. */
static void activate(const frbm_layer *layer, const float *inputs, size_t unit0, size_t n_units, size_t lane,
                     size_t n_lanes) {
    const int sample = layer->words || layer->planes;
    for (size_t at = 0; at < n_lanes; at += 32, lane += 32) {
        uint32_t word[32] = {0};
        uint16_t mask[2][32] = {{0}};
        const size_t valid = n_lanes - at < 32 ? n_lanes - at : 32, corner = unit0 * layer->means_ld + lane;
        mean_output out = {layer->means ? layer->means + corner : NULL,
                           layer->fixed_means ? layer->fixed_means + corner : NULL, layer->means_ld,
                           layer->mean_scale};
        for (size_t half = 0; 16 * half < valid; half++) {
            const float *x = inputs + at + 16 * half;
            const uint32_t chain = layer->draw.first_chain + (uint32_t)(lane + 16 * half);
            if (sample)
                activate_lanes(x, n_units, out, &layer->draw, (uint32_t)(unit0 / 4), chain, 1, word + 16 * half,
                               mask[half]);
            else
                activate_lanes(x, n_units, out, NULL, 0, 0, 0, word, mask[half]);
            if (out.means) out.means += 16;
            if (out.fixed) out.fixed += 16;
        }
        if (valid < 32)
            for (size_t u = 0; u < n_units; u++) {
                const size_t row = corner + u * layer->means_ld + valid, bytes = (32 - valid) * 4;
                if (layer->means) memset(layer->means + row, 0, bytes);
                if (layer->fixed_means) memset(layer->fixed_means + row, 0, bytes);
            }
        if (layer->words) memcpy(layer->words + unit0 / 32 * layer->words_ld + lane, word, sizeof word);
        if (layer->planes) {
            const uint32_t keep = valid < 32 ? (1u << valid) - 1 : 0xFFFFFFFFu;
            uint32_t *out_planes = layer->planes + lane / 32 * layer->planes_ld + unit0;
            for (size_t u = 0; u < n_units; u++)
                out_planes[u] = ((uint32_t)mask[0][u] | (uint32_t)mask[1][u] << 16) & keep;
        }
    }
}

#endif
