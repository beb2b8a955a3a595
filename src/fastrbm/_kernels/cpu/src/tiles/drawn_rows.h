/* States of rows whose probabilities, or inputs, are given as numbers: sample-major in, bits out. */
#ifndef FASTRBM_DRAWN_ROWS_H
#define FASTRBM_DRAWN_ROWS_H

#include "activate.h"
#include "decide.h"
#include "kernels.h"
#include "philox.h"
#include "simd.h"
#include "transpose.h"

/* Bits that are on with the probabilities in rows picked by `order`: lanes [32 block, 32 block + 32) of those that there
 * are, as words and planes.  A unit is on iff its uniform is below its probability. */
static void draw_rows(const float *rows, size_t row_ld, const int64_t *order, size_t n_lanes, size_t n_units,
                      size_t block, const frbm_draw *draw, uint32_t *words, size_t words_ld, uint32_t *planes,
                      size_t planes_ld) {
    const size_t lane0 = 32 * block, here = n_lanes - lane0 < 32 ? n_lanes - lane0 : 32;
    const philox_step step = philox_step_of(draw);
    philox_chains chains[32 / FRBM_REG_LANES];
    const float *source[32];
    for (size_t r = 0; r < here; r++)
        source[r] = rows + (size_t)(order ? order[lane0 + r] : (int64_t)(lane0 + r)) * row_ld;
    for (uint32_t l = 0; l < 32; l += FRBM_REG_LANES)
        chains[l / FRBM_REG_LANES] = philox_chains_of(&step, draw->first_chain + (uint32_t)lane0 + l);
    for (size_t w = 0; w < planes_ld / 32; w++) {
        const size_t first = 32 * w, count = n_units - first < 32 ? n_units - first : 32;
        float given[32][32] = {{0}}, lanes[32][32]; /* 0 is below no uniform: rows and units that are not there */
        uint32_t word[32] = {0}, mask[32] = {0};
        for (size_t r = 0; r < here && first < n_units; r++) memcpy(given[r], source[r] + first, count * sizeof(float));
        transpose_rows((const int32_t *)given, 32, 0, 32, 32, (int32_t *)lanes, 32);
        for (size_t u = 0; u < count && first < n_units; u += 4) {
            const philox_units units = philox_units_of(&step, (uint32_t)((first + u) / 4));
            for (size_t l = 0; l < here; l += FRBM_REG_LANES) {
                reg_u random[4], drawn;
                philox_words(random, &step, &units, &chains[l / FRBM_REG_LANES]);
                memcpy(&drawn, word + l, sizeof drawn);
                for (size_t q = 0; q < 4; q++) {
                    const reg_f p = load_reg_f(lanes[u + q] + l);
                    const reg_mask_f on = less_f(cells_of(random[q]) * (1.0f / FRBM_CELLS), p);
                    drawn = set_bit_f(drawn, on, 1u << (u + q));
                    mask[u + q] |= bits_of_mask_f(on) << l;
                }
                STORE(word + l, drawn);
            }
        }
        memcpy(planes + block * planes_ld + first, mask, sizeof mask);
        if (words) memcpy(words + w * words_ld + lane0, word, here * sizeof(uint32_t));
    }
}

/* Units of FRBM_REG_LANES lanes, `x` their inputs [unit][16] in float32; `exact` their inputs [lane][ld], from `valid` of
 * them on there are none */
static void draw_double_lanes(const float *x, const double *exact, size_t ld, size_t valid, size_t n_units,
                              const draw_block *block, const philox_chains *chains, uint32_t *word) {
    reg_u words = {0};
    for (size_t u4 = 0; u4 < n_units; u4 += 4) {
        reg_u random[4];
        philox_words(random, &block->step, &block->units[u4 / 4], chains);
        for (size_t u = u4; u < u4 + 4 && u < n_units; u++) {
            const reg_u r = random[u - u4];
            reg_u near;
            reg_mask_f on = is_on_double_unless_near(r, load_reg_f(x + 16 * u), &near);
            if (any_below_u(near, 2 * FRBM_NEAR_DOUBLE)) {
                uint32_t drawn[FRBM_REG_LANES], bits = 0;
                STORE(drawn, r);
                for (size_t l = 0; l < FRBM_REG_LANES && l < valid; l++)
                    bits |= (uint32_t)is_on_double(drawn[l], exact[l * ld + u]) << l;
                on = mask_of_bits_f(bits);
            }
            words = set_bit_f(words, on, 1u << u);
        }
    }
    STORE(word, words);
}

/* Bits of Bernoulli units with the given inputs, float32 or float64; row r is chain draw->first_chain + r */
static void draw_inputs(const void *inputs, int is_double, size_t ld, size_t n_rows, size_t n_units,
                        const frbm_draw *draw, uint64_t *rows, size_t row_words) {
    for (size_t r = 0; r < n_rows; r++) memset(rows + r * row_words, 0, row_words * sizeof(uint64_t));
    for (size_t first = 0; first < n_units; first += 32) {
        const size_t count = n_units - first < 32 ? n_units - first : 32;
        draw_block block;
        prepare_draws(draw, first, count, &block);
        for (size_t row0 = 0; row0 < n_rows; row0 += 16) {
            const size_t here = n_rows - row0 < 16 ? n_rows - row0 : 16, corner = row0 * ld + first;
            const double *wide = (const double *)inputs + corner;
            const float *narrow = (const float *)inputs + corner;
            float given[16][32] = {{0}}, x[32 * 16];
            uint32_t word[16];
            for (size_t r = 0; r < here; r++) {
                if (is_double)
                    for (size_t u = 0; u < count; u++) given[r][u] = (float)wide[r * ld + u];
                else
                    memcpy(given[r], narrow + r * ld, count * sizeof(float));
            }
            transpose_rows((const int32_t *)given, 32, 0, 16, count, (int32_t *)x, 16);
            for (size_t l = 0; l < here; l += FRBM_REG_LANES) {
                const philox_chains chains =
                    philox_chains_of(&block.step, draw->first_chain + (uint32_t)(row0 + l));
                if (is_double)
                    draw_double_lanes(x + l, wide + l * ld, ld, here - l, count, &block, &chains, word + l);
                else
                    draw_lanes_alone(x + l, 16, count, &block, &chains, word + l, NULL, 0);
            }
            for (size_t r = 0; r < here; r++)
                rows[(row0 + r) * row_words + first / 64] |= (uint64_t)word[r] << (first % 64);
        }
    }
}

#endif
