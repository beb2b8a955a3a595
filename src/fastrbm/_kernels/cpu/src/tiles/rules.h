/* Optimiser rules: what turns a gradient into a change of parameters. */
#ifndef FASTRBM_RULES_H
#define FASTRBM_RULES_H

#include <math.h>

#include "kernels.h"
#include "simd.h"

/* g - l1 sign(w) - l2 w, then limited to [-clip, clip] */
INLINE void penalise(const frbm_rule *rule, const float *value, float *gradient, size_t n) {
    if (rule->l2 != 0.0f)
        for (size_t i = 0; i < n; i++) gradient[i] -= rule->l2 * value[i];
    if (rule->l1 != 0.0f)
        for (size_t i = 0; i < n; i++)
            gradient[i] -= value[i] > 0.0f ? rule->l1 : value[i] < 0.0f ? -rule->l1 : 0.0f;
}

INLINE void clip_values(float *gradient, size_t n, float most) {
    for (size_t i = 0; i < n; i++) {
        const float low = gradient[i] < -most ? -most : gradient[i]; /* a NaN stays one: the fit loop reports it */
        gradient[i] = low > most ? most : low;
    }
}

/* what is rounding becomes 0; a NaN stays one */
INLINE void drop_rounding(float *gradient, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const float size = fabsf(gradient[i]);
        gradient[i] = size < FRBM_ROUNDING_GRADIENT ? 0.0f : gradient[i];
    }
}

INLINE void ascend_plain(const frbm_rule *rule, float *value, const float *gradient, size_t n) {
    for (size_t i = 0; i < n; i++) value[i] += rule->rate * gradient[i];
}

INLINE void ascend_momentum(const frbm_rule *rule, float *value, float *velocity, const float *gradient, size_t n) {
    const float rate = rule->rate, momentum = rule->momentum;
    if (rule->kind == FRBM_NESTEROV) {
        for (size_t i = 0; i < n; i++) {
            const float change = rate * gradient[i];
            velocity[i] = momentum * velocity[i] + change;
            value[i] += momentum * velocity[i] + change;
        }
    } else {
        for (size_t i = 0; i < n; i++) {
            velocity[i] = momentum * velocity[i] + rate * gradient[i];
            value[i] += velocity[i];
        }
    }
}

INLINE void ascend_rmsprop(const frbm_rule *rule, float *value, float *squares, float *velocity,
                           const float *gradient, size_t n) {
    const float keep = rule->decay, add = 1.0f - rule->decay;
    for (size_t i = 0; i < n; i++) {
        squares[i] = keep * squares[i] + add * (gradient[i] * gradient[i]);
        float change = rule->rate * gradient[i] / (sqrtf(squares[i]) + rule->epsilon);
        if (velocity) change = velocity[i] = rule->momentum * velocity[i] + change;
        value[i] += change;
    }
}

INLINE void ascend_adam(const frbm_rule *rule, float *value, float *means, float *squares, float *largest,
                        const float *gradient, size_t n) {
    const float keep = rule->decay, add = 1.0f - rule->decay, keep_mean = rule->momentum, add_mean = 1.0f - keep_mean;
    for (size_t i = 0; i < n; i++) {
        means[i] = keep_mean * means[i] + add_mean * gradient[i];
        squares[i] = keep * squares[i] + add * (gradient[i] * gradient[i]);
        float size = squares[i];
        if (largest) size = largest[i] = size > largest[i] ? size : largest[i];
        value[i] += rule->rate * (means[i] * rule->mean_scale) / (sqrtf(size * rule->square_scale) + rule->epsilon);
    }
}

/* values[at..at + n) and their slots by gradient[0..n), which may be overwritten; one pass while it is in cache */
INLINE void update(const frbm_rule *rule, int penalised, float *values, float *const *slots, size_t at,
                   float *gradient, size_t n) {
    float *value = values + at;
    if (penalised) penalise(rule, value, gradient, n);
    if (rule->clip > 0.0f) clip_values(gradient, n, rule->clip);
    if (rule->kind >= FRBM_RMSPROP) drop_rounding(gradient, n);
    float *slot[FRBM_SLOTS];
    for (int s = 0; s < FRBM_SLOTS; s++) slot[s] = slots[s] ? slots[s] + at : NULL;
    switch (rule->kind) {
        case FRBM_RMSPROP: ascend_rmsprop(rule, value, slot[0], slot[1], gradient, n); break;
        case FRBM_ADAM:
        case FRBM_AMSGRAD: ascend_adam(rule, value, slot[0], slot[1], slot[2], gradient, n); break;
        default:
            if (slot[0])
                ascend_momentum(rule, value, slot[0], gradient, n);
            else
                ascend_plain(rule, value, gradient, n);
    }
}

/* The same behind a pointer */
static void apply_rule(const frbm_rule *rule, int penalised, float *values, float *const *slots, size_t at,
                       float *gradient, size_t n) {
    update(rule, penalised, values, slots, at, gradient, n);
}

#endif
