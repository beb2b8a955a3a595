/* What follows the product while its sums are at hand: sigmoid, draw, bits. */
#ifndef FASTRBM_ACTIVATE_H
#define FASTRBM_ACTIVATE_H

#include "decide.h"
#include "kernels.h"
#include "lane_math.h"
#include "philox.h"
#include "quantise.h"
#include "simd.h"

#define FRBM_REG_LANES (REGISTER / 4)

/* Where the means of a block of lanes go: [unit][lane], at most one of the two */
typedef struct {
    float *means;
    int32_t *fixed;
    size_t ld;
    float scale;
} mean_output;

/* What the draws of up to 32 units and all lanes have in common */
typedef struct {
    philox_step step;
    philox_units units[8];
} draw_block;

static void prepare_draws(const frbm_draw *draw, size_t unit0, size_t n_units, draw_block *block) {
    block->step = philox_step_of(draw);
    for (size_t u = 0; u < n_units; u += 4)
        block->units[u / 4] = philox_units_of(&block->step, (uint32_t)((unit0 + u) / 4));
}

INLINE void write_means(reg_f scale, size_t u, size_t lane, const mean_output *out) {
    if (out->means) {
        const reg_f mean = 1.0f / scale * out->scale;
        STORE(out->means + u * out->ld + lane, mean);
    } else if (out->fixed) {
        const reg_i mean = nearest_reg(1.0f / scale * out->scale);
        STORE(out->fixed + u * out->ld + lane, mean);
    }
}

/* The draws of FRBM_REG_LANES lanes, unit u of lane l as bit u of word[l] and bit l of mask[u] << at.  In two steps
 * there are no means; returns whether a unit was left open, and then all are to be drawn again. */
INLINE int draw_lanes(const float *inputs, size_t ld, size_t n_units, const mean_output *out, const draw_block *block,
                      const philox_chains *chains, const int two_steps, uint32_t *word, uint32_t *mask, size_t at) {
    reg_u words = {0}, nearest = ~words;
    for (size_t u4 = 0; u4 < n_units; u4 += 4) {
        reg_u random[4];
        philox_words(random, &block->step, &block->units[u4 / 4], chains);
        const size_t here = n_units - u4 < 4 ? n_units - u4 : 4;
#pragma GCC unroll 4
        for (size_t q = 0; q < 4; q++) {
            if (q >= here) break;
            const size_t u = u4 + q;
            const reg_f x = load_reg_f(inputs + u * ld);
            reg_mask_f on;
            if (two_steps) {
                on = is_on_unless_near(random[q], x, &nearest);
            } else {
                const reg_f scale = sigmoid_scale_reg(x);
                write_means(scale, u, at, out);
                on = is_on(random[q], scale);
            }
            words = set_bit_f(words, on, 1u << u);
            if (mask) mask[u] |= bits_of_mask_f(on) << at;
        }
    }
    STORE(word, words);
    return two_steps && any_near(nearest);
}

static __attribute__((noinline)) void draw_lanes_by_rule(const float *inputs, size_t ld, size_t n_units,
                                                         const mean_output *out, const draw_block *block,
                                                         const philox_chains *chains, uint32_t *word, uint32_t *mask,
                                                         size_t at) {
    draw_lanes(inputs, ld, n_units, out, block, chains, 0, word, mask, at);
}

/* Draws without means, by whichever is less work */
INLINE void draw_lanes_alone(const float *inputs, size_t ld, size_t n_units, const draw_block *block,
                             const philox_chains *chains, uint32_t *word, uint32_t *mask, size_t at) {
    const mean_output none = {NULL, NULL, 0, 0.0f};
    if (FRBM_TWO_STEPS && !draw_lanes(inputs, ld, n_units, &none, block, chains, 1, word, mask, at)) return;
    if (FRBM_TWO_STEPS && mask) {
        const uint32_t others = ~(uint32_t)((((uint64_t)1 << FRBM_REG_LANES) - 1) << at);
        for (size_t u = 0; u < n_units; u++) mask[u] &= others;
    }
    draw_lanes_by_rule(inputs, ld, n_units, &none, block, chains, word, mask, at);
}

/* The same for n_units <= 32 of all lanes; `inputs` holds the units' inputs. */
static void activate(const frbm_layer *layer, const float *inputs, size_t unit0, size_t n_units, size_t lane,
                     size_t n_lanes) {
    const int sample = layer->words || layer->planes, means = layer->means || layer->fixed_means;
    draw_block block;
    if (sample) prepare_draws(&layer->draw, unit0, n_units, &block);
    for (size_t at = 0; at < n_lanes; at += 32, lane += 32) {
        uint32_t word[32] = {0}, mask[32] = {0};
        const size_t valid = n_lanes - at < 32 ? n_lanes - at : 32, corner = unit0 * layer->means_ld + lane;
        const mean_output out = {layer->means ? layer->means + corner : NULL,
                                 layer->fixed_means ? layer->fixed_means + corner : NULL, layer->means_ld,
                                 layer->mean_scale};
        for (size_t l = 0; l < frbm_round_up(valid, 16); l += FRBM_REG_LANES) {
            const float *x = inputs + at + l;
            if (!sample) {
                for (size_t u = 0; u < n_units; u++)
                    write_means(sigmoid_scale_reg(load_reg_f(x + u * FRBM_SUM_LD)), u, l, &out);
                continue;
            }
            const philox_chains chains = philox_chains_of(&block.step, layer->draw.first_chain + (uint32_t)(lane + l));
            if (means)
                draw_lanes_by_rule(x, FRBM_SUM_LD, n_units, &out, &block, &chains, word + l, mask, l);
            else
                draw_lanes_alone(x, FRBM_SUM_LD, n_units, &block, &chains, word + l, mask, l);
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
            for (size_t u = 0; u < n_units; u++) out_planes[u] = mask[u] & keep;
        }
    }
}

#endif
