/* Annealed importance sampling, one temperature of one layer: what the step from inverse temperature `before` to `beta`
 * adds to the log weights of the chains when this layer is summed out, and its states drawn at `beta`.
 *
 * With d = field + W s the input of a unit is beta d + base, and its part of the log weight is
 *   softplus(beta d + base) - softplus(before d + base),   softplus(x) = max(x, 0) + log(1 + e^-|x|).
 * 1 + e^-|x| is between 1 and 2, so the factors of 32 units are multiplied before one log is taken: neither overflow
 * nor cancellation, whatever the inputs. */
#ifndef FASTRBM_ANNEAL_H
#define FASTRBM_ANNEAL_H

#include "kernels.h"
#include "lane_math.h"
#include "simd.h"

/* Positive, normal x: 2^e m with m in [1/sqrt 2, sqrt 2] */
INLINE float log_lane(float x) {
    const int32_t e = (int32_t)(bits_of(x) - 0x3F3504F3u) >> 23;
    const float m = float_of(bits_of(x) - ((uint32_t)e << 23));
    return (float)e * 0.693147180559945309f + 2.0f * atanh_lane((m - 1.0f) / (m + 1.0f));
}

/* inputs[u][lane] = d becomes beta d + base, for at most 32 units; the gain goes to log_weights[lane] */
static void anneal_inputs(float *inputs, size_t n_units, const float *base, float beta, float before, size_t n_lanes,
                          double *log_weights) {
    for (size_t at = 0; at < n_lanes; at += 16) {
        vec_f above = {0}, below = above, gain = above;
        above += 1.0f;
        below += 1.0f;
        for (size_t u = 0; u < n_units; u++) {
            const vec_f d = load_f(inputs + u * FRBM_SUM_LD + at);
            const vec_f now = d * beta + base[u], then = d * before + base[u];
            const vec_f size_now = magnitude(now), size_then = magnitude(then);
            above *= sigmoid_scale(size_now);
            below *= sigmoid_scale(size_then);
            gain += (now + size_now) - (then + size_then); /* twice that of max(x, 0) */
            STORE(inputs + u * FRBM_SUM_LD + at, now);
        }
        float ratio[16], linear[16];
        above /= below;
        gain *= 0.5f;
        memcpy(ratio, &above, sizeof ratio);
        memcpy(linear, &gain, sizeof linear);
        for (int l = 0; l < 16; l++) ratio[l] = log_lane(ratio[l]) + linear[l];
        for (size_t l = 0; l < 16 && at + l < n_lanes; l++) log_weights[at + l] += (double)ratio[l];
    }
}

/* log_weights[lane] += step * field . state, for states as words */
static void add_field(const uint32_t *words, size_t ld, const float *field, size_t n_units, double step, size_t n_lanes,
                      double *log_weights) {
    for (size_t at = 0; at < n_lanes; at += 16) {
        const size_t here = n_lanes - at < 16 ? n_lanes - at : 16;
        double total[16] = {0};
        for (size_t first = 0; first < n_units; first += 32) {
            const size_t n = n_units - first < 32 ? n_units - first : 32;
            float part[16];
            vec_u x = {0};
            vec_f sum = {0};
            memcpy(&x, words + first / 32 * ld + at, here * sizeof(uint32_t));
            for (size_t b = 0; b < n; b++) {
                const vec_u on = -(x >> (uint32_t)b & 1u);
                sum += (vec_f)(on & bits_of(field[first + b]));
            }
            memcpy(part, &sum, sizeof part);
            for (int l = 0; l < 16; l++) total[l] += (double)part[l];
        }
        for (size_t l = 0; l < here; l++) log_weights[at + l] += step * total[l];
    }
}

#endif
