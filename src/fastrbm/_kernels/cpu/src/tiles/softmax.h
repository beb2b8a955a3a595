/* One-hot units: softmax of each group, and the class that is drawn.
 *
 * A group is drawn by the inverse of its distribution function at the uniform of its first unit: class c where
 * e_0 + ... + e_(c-1) <= u * (e_0 + ... + e_(n-1)) < e_0 + ... + e_c, e = exp(input - largest input).  Sums are float64
 * and run through the classes in their order: with float32 ones late classes of many would be drawn too rarely.
 */
#ifndef FASTRBM_SOFTMAX_H
#define FASTRBM_SOFTMAX_H

#include "kernels.h"
#include "lane_math.h"
#include "philox.h"
#include "quantise.h"
#include "simd.h"
#include "transpose.h"

/* e in place of the inputs of 16 lanes and n units, and their sums */
static void exponentials(float *x, size_t ld, size_t n, double total[16]) {
    const vec_f zero = {0};
    vec_f top = load_f(x);
    for (size_t u = 1; u < n; u++) {
        const vec_f here = load_f(x + u * ld);
        top = select_f(here > top, here, top);
    }
    for (int l = 0; l < 16; l++) total[l] = 0.0;
    for (size_t u = 0; u < n; u++) {
        vec_f e = load_f(x + u * ld) - top;
        e = exp_vec(select_f(e < -87.0f, zero - 87.0f, e));
        STORE(x + u * ld, e);
        for (int l = 0; l < 16; l++) total[l] += (double)e[l];
    }
}

static void choose_class(const float *e, size_t ld, size_t n, const double total[16], const uint32_t random[16],
                         int64_t chosen[16]) {
    double sum[16] = {0}, threshold[16];
    for (int l = 0; l < 16; l++) {
        threshold[l] = (double)uniform_lane(random[l]) * total[l];
        chosen[l] = 0;
    }
    for (size_t u = 0; u < n; u++)
        for (int l = 0; l < 16; l++) {
            sum[l] += (double)e[u * ld + l];
            chosen[l] += sum[l] <= threshold[l];
        }
}

/* Means of 16 lanes from their exponentials; 0 in lanes from `valid` on */
INLINE void class_means(const frbm_onehot *o, size_t first, size_t lane, size_t valid, const double total[16]) {
    vec_f share;
    vec_i there;
    for (size_t l = 0; l < 16; l++) {
        share[l] = (float)((double)o->mean_scale / total[l]);
        there[l] = l < valid ? -1 : 0;
    }
    for (size_t u = first; u < first + o->group; u++) {
        const vec_f mean = (vec_f)((vec_i)(load_f(o->inputs + u * o->inputs_ld + lane) * share) & there);
        if (o->means) {
            STORE(o->means + u * o->means_ld + lane, mean);
        } else {
            const vec_i fixed = nearest_vec(mean);
            STORE(o->fixed_means + u * o->means_ld + lane, fixed);
        }
    }
}

static void onehot_block(const frbm_onehot *o, size_t lane, size_t n_lanes) {
    const int sample = o->words || o->planes;
    const philox_step step = philox_step_of(&o->draw);
    if (o->words)
        for (size_t w = 0; w < (o->n_units + 31) / 32; w++) memset(o->words + w * o->words_ld + lane, 0, 32 * 4);
    uint32_t *planes = o->planes ? o->planes + lane / 32 * o->planes_ld : NULL;
    if (planes) memset(planes, 0, o->n_units * sizeof(uint32_t));
    for (size_t first = 0; first < o->n_units; first += o->group)
        for (size_t at = 0; at < frbm_round_up(n_lanes, 16); at += 16) {
            const size_t valid = n_lanes - at < 16 ? n_lanes - at : 16;
            float *x = o->inputs + first * o->inputs_ld + lane + at;
            double total[16];
            exponentials(x, o->inputs_ld, o->group, total);
            if (sample) {
                uint32_t random[4][16];
                int64_t chosen[16];
                philox_lanes(random, (uint32_t)(first / 4), o->draw.first_chain + (uint32_t)(lane + at), &step);
                choose_class(x, o->inputs_ld, o->group, total, random[first % 4], chosen);
                for (size_t l = 0; l < valid; l++) {
                    const size_t u = first + (size_t)chosen[l];
                    if (o->words) o->words[u / 32 * o->words_ld + lane + at + l] |= 1u << (u % 32);
                    if (planes) planes[u] |= 1u << (at + l);
                }
            }
            if (o->means || o->fixed_means) class_means(o, first, lane + at, valid, total);
        }
    if (o->fixed_means && n_lanes <= 16) /* padding up to a multiple of 32, as of other layers */
        for (size_t u = 0; u < o->n_units; u++)
            memset(o->fixed_means + u * o->means_ld + lane + 16, 0, 16 * sizeof(int32_t));
}

/* At most 32 sample-major rows: means in place of inputs or, with a draw, states as bit rows; row r is chain
 * draw->first_chain + r.  Scratch: 32 floats a unit, and a word of 32 rows for each 32 units. */
static void onehot_rows(float *rows, size_t n_rows, size_t n_units, size_t group, const frbm_draw *draw, uint64_t *bits,
                        size_t row_words, float *scratch) {
    uint32_t *words = (uint32_t *)(scratch + 32 * n_units);
    frbm_onehot o = {.inputs = scratch, .inputs_ld = 32, .n_units = n_units, .group = group, .mean_scale = 1.0f};
    transpose_rows((const int32_t *)rows, n_units, 0, n_rows, n_units, (int32_t *)scratch, 32);
    if (draw) {
        o.words = words;
        o.words_ld = 32;
        o.draw = *draw;
    } else {
        o.means = scratch;
        o.means_ld = 32;
    }
    onehot_block(&o, 0, n_rows);
    if (!draw) {
        transpose_rows((const int32_t *)scratch, 32, 0, n_units, n_rows, (int32_t *)rows, n_units);
        return;
    }
    for (size_t r = 0; r < n_rows; r++)
        for (size_t w = 0; w < 2 * row_words; w++)
            ((uint32_t *)(bits + r * row_words))[w] = w < (n_units + 31) / 32 ? words[32 * w + r] : 0;
}

#endif
