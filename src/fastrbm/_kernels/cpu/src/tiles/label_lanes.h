/* Classes of the rows of a minibatch, lane = row: what training for p(class | row) needs of the layout that products
 * over units leave and take.
 *
 * As in labels.h, 1 + e^o = (1 + e^A) (q + p e^U) with p and q the sigmoids of A and -A.  The first factor is the same
 * for all classes and drops out of p(class | row).  The other ones are multiplied over FRBM_PANEL units; what leaves
 * the range of a float32 goes into powers of two.  Everything goes by lane in the order of the units and the classes, or
 * by unit in the order of 16 sums over lanes, so that it is the same on all targets and for any number of threads. */
#ifndef FASTRBM_LABEL_LANES_H
#define FASTRBM_LABEL_LANES_H

#include "kernels.h"
#include "labels.h"
#include "lane_math.h"
#include "quantise.h"
#include "simd.h"
#include "transpose.h"

/* ---- products over units ----------------------------------------------------------------------------------------- */

/* p and q of 16 lanes from `on`, which holds the inputs */
INLINE void to_sigmoids(const frbm_label_lanes *a, size_t unit, size_t lane) {
    float *on = a->on + unit * a->ld + lane, *off = a->off + unit * a->ld + lane;
    const vec_f x = a->bias ? load_f(on) + a->bias[unit] : load_f(on);
    const vec_f e = far_tail(x), rest = 1.0f / (1.0f + e), other = e * rest;
    const vec_f p = select_f(x > 0, rest, other), q = select_f(x > 0, other, rest);
    STORE(on, p);
    STORE(off, q);
}

/* Products over units of some classes, for 16 lanes; a power of two is split off after every `steps` factors */
INLINE void class_products(const int classes, const frbm_label_lanes *a, size_t first, size_t count, size_t class,
                           size_t lane) {
    const float *raise = a->raise + class * a->class_ld;
    const size_t stop = first + count, to = (first / FRBM_PANEL * a->n_classes + class) * a->ld + lane;
    vec_f whole[8];
    vec_i exponent[8];
    for (int c = 0; c < classes; c++) {
        whole[c] = (vec_f){0} + 1.0f;
        exponent[c] = (vec_i){0};
    }
    for (size_t unit = first; unit < stop;) {
        const size_t here = stop - unit < a->steps ? stop - unit : a->steps;
        vec_f product[8];
#pragma GCC unroll 8
        for (int c = 0; c < classes; c++) product[c] = (vec_f){0} + 1.0f;
        for (size_t end = unit + here; unit < end; unit++) {
            const vec_f p = load_f(a->on + unit * a->ld + lane), q = load_f(a->off + unit * a->ld + lane);
#pragma GCC unroll 8
            for (int c = 0; c < classes; c++)
                product[c] = product[c] * (q + p * raise[(size_t)c * a->class_ld + unit]);
        }
        for (int c = 0; c < classes; c++) {
            const vec_u bits = (vec_u)(whole[c] * product[c]);
            exponent[c] = exponent[c] + (vec_i)(bits >> 23) - 127;
            whole[c] = (vec_f)((bits & 0x007FFFFFu) | 0x3F800000u);
        }
    }
    for (int c = 0; c < classes; c++) {
        STORE(a->mantissas + to + (size_t)c * a->ld, whole[c]);
        STORE(a->exponents + to + (size_t)c * a->ld, exponent[c]);
    }
}

static void label_products(const frbm_label_lanes *a, size_t first, size_t count, size_t lane, size_t n) {
    const size_t end = first + count;
    for (; first < end; first += FRBM_PANEL) {
        const size_t here = end - first < FRBM_PANEL ? end - first : FRBM_PANEL;
        for (size_t at = lane; at < lane + n; at += 16) {
            for (size_t unit = first; unit < first + here; unit++) to_sigmoids(a, unit, at);
            for (size_t c = 0; c < a->n_classes;) {
                const size_t left = a->n_classes - c;
                if (left >= 8) {
                    class_products(8, a, first, here, c, at);
                    c += 8;
                } else if (left >= 4) {
                    class_products(4, a, first, here, c, at);
                    c += 4;
                } else if (left >= 2) {
                    class_products(2, a, first, here, c, at);
                    c += 2;
                } else {
                    class_products(1, a, first, here, c, at);
                    c++;
                }
            }
        }
    }
}

/* ---- p(class | row) ------------------------------------------------------------------------------------------------ */

#define LN_2 0.69314718055994530942
#define WIDE_BLOCKS 512 /* mantissas in [1, 2) whose product is a float64 */

INLINE vec_d wide_of(const float *x) {
    vec_d wide;
    for (int l = 0; l < 8; l++) wide[l] = (double)x[l];
    return wide;
}

/* log_of of 8 lanes */
INLINE vec_d log_wide(vec_d x) {
    const vec_l bits = (vec_l)x;
    /* the exponent as the low bits of 2^52 + exponent */
    const vec_d exponent = (vec_d)((bits >> 52 & 2047) | 0x4330000000000000) - (4503599627370496.0 + 1023.0);
    const vec_d m = (vec_d)((bits & 0x000FFFFFFFFFFFFF) | 0x3FF0000000000000);
    const vec_d t = (m - 1.4142135623730951) / (m + 1.4142135623730951), q = t * t;
    vec_d p = (vec_d){0} + 1.0 / 23;
    for (int k = 21; k > 0; k -= 2) p = p * q + 1.0 / k;
    return (exponent + 0.5) * LN_2 + 2.0 * t * p;
}

/* e^x of 8 lanes, x at most 0 */
INLINE vec_d exp_wide(vec_d x) {
    double values[8];
    STORE(values, x);
    for (int l = 0; l < 8; l++) values[l] = (values[l] < -700.0 ? -700.0 : values[l]) * (1.0 / LN_2);
    reg_d parts[64 / REGISTER];
    memcpy(parts, values, 64);
    exp2_each_d(64 / REGISTER, parts);
    memcpy(&x, parts, 64);
    return x;
}

/* Logs of the products of one class, of 8 lanes */
INLINE vec_d class_scores(const frbm_label_lanes *a, size_t class, size_t lane) {
    const size_t n_blocks = (a->n_units + FRBM_PANEL - 1) / FRBM_PANEL;
    vec_d score = (vec_d){0} + (double)a->class_bias[class];
    int64_t powers[8] = {0};
    for (size_t block = 0; block < n_blocks;) {
        const size_t stop = n_blocks - block < WIDE_BLOCKS ? n_blocks : block + WIDE_BLOCKS;
        vec_d product = (vec_d){0} + 1.0;
        for (; block < stop; block++) {
            const size_t at = (block * a->n_classes + class) * a->ld + lane;
            product = product * wide_of(a->mantissas + at);
            for (int l = 0; l < 8; l++) powers[l] += a->exponents[at + (size_t)l];
        }
        score = score + log_wide(product);
    }
    for (int l = 0; l < 8; l++) score[l] += LN_2 * (double)powers[l];
    return score;
}

/* After label_products of all units: residuals of all classes and lanes, 0 in padding lanes, and the loss */
static void label_residuals(frbm_label_lanes *a) {
    double loss = 0;
    const double equal = 1.0 / (double)a->n_lanes;
    for (size_t c = 0; c < a->n_classes; c++) a->of_bias[c] = 0.0f;
    for (size_t lane = 0; lane < frbm_round_up(a->n_lanes, 16); lane += 8) {
        vec_d top = (vec_d){0}, total = {0};
        for (size_t c = 0; c < a->n_classes; c++) {
            const vec_d score = class_scores(a, c, lane);
            STORE(a->scores + 8 * c, score);
            const vec_l above = score > top;
            top = c ? (vec_d)((above & (vec_l)score) | (~above & (vec_l)top)) : score;
        }
        for (size_t l = 0; l < 8 && lane + l < a->n_lanes; l++) {
            const double own = a->scores[8 * (size_t)a->labels[lane + l] + l] - top[l];
            loss -= (a->shares ? (double)a->shares[lane + l] : equal) * own;
        }
        for (size_t c = 0; c < a->n_classes; c++) {
            const vec_d p = exp_wide(load_d(a->scores + 8 * c) - top);
            STORE(a->scores + 8 * c, p);
            total = total + p;
        }
        const vec_d log_total = log_wide(total);
        for (size_t l = 0; l < 8 && lane + l < a->n_lanes; l++)
            loss += (a->shares ? (double)a->shares[lane + l] : equal) * log_total[l];
        double share[8];
        for (size_t l = 0; l < 8; l++)
            share[l] = lane + l >= a->n_lanes ? 0.0 : a->shares ? (double)a->shares[lane + l] : equal;
        for (size_t c = 0; c < a->n_classes; c++) {
            const vec_d p = load_d(a->scores + 8 * c) / total;
            float *out = a->residuals + c * a->ld + lane;
            for (size_t l = 0; l < 8; l++) {
                const double known = lane + l < a->n_lanes && a->labels[lane + l] == (int32_t)c ? 1.0 : 0.0;
                out[l] = lane + l < a->n_lanes ? (float)(share[l] * (known - p[l])) : 0.0f;
            }
        }
    }
    for (size_t c = 0; c < a->n_classes; c++) {
        double sum = 0;
        for (size_t l = 0; l < a->n_lanes; l++) sum += (double)a->residuals[c * a->ld + l];
        a->of_bias[c] = (float)sum;
    }
    a->loss = loss;
}

/* ---- pulls ----------------------------------------------------------------------------------------------------------- */

/* Adds residual * mean of two classes, by one division, to 16 lanes of `pulls` and to the sums of the classes */
INLINE void pull_of_two(vec_f p, vec_f q, float first, float second, const float *residuals, size_t ld, vec_f *pull,
                        vec_f *sum, vec_f *other) {
    const vec_f up = p * first, above = p * second, one = q + up, two = q + above, rest = 1.0f / (one * two);
    const vec_f mine = load_f(residuals) * (up * two * rest), next = load_f(residuals + ld) * (above * one * rest);
    *pull = *pull + mine + next;
    *sum = *sum + mine;
    *other = *other + next;
}

INLINE void pull_of_one(vec_f p, vec_f q, float raise, const float *residuals, vec_f *pull, vec_f *sum) {
    const vec_f up = p * raise, mine = load_f(residuals) * (up / (q + up));
    *pull = *pull + mine;
    *sum = *sum + mine;
}

/* Pulls of one unit; sums over the lanes, 16 of each class, to sums[class][16 units][16] */
INLINE void pulls_of_unit(const frbm_label_lanes *a, size_t unit, float *sums) {
    const float *on = a->on + unit * a->ld, *off = a->off + unit * a->ld;
    for (size_t c = 0; c < a->n_classes; c += 2) {
        const int two = c + 1 < a->n_classes;
        const float first = a->raise[c * a->class_ld + unit];
        const float next = two ? a->raise[(c + 1) * a->class_ld + unit] : 0.0f;
        vec_f sum = {0}, other = {0};
        for (size_t lane = 0; lane < a->n_lanes; lane += 16) {
            float *out = a->pulls + unit * a->ld + lane;
            const float *residuals = a->residuals + c * a->ld + lane;
            vec_f pull = c ? load_f(out) : (vec_f){0};
            const vec_f p = load_f(on + lane), q = load_f(off + lane);
            if (two)
                pull_of_two(p, q, first, next, residuals, a->ld, &pull, &sum, &other);
            else
                pull_of_one(p, q, first, residuals, &pull, &sum);
            STORE(out, pull);
        }
        STORE(sums + 256 * c, sum);
        if (two) STORE(sums + 256 * (c + 1), other);
    }
}

static void label_pulls(const frbm_label_lanes *a, size_t first, size_t count, float *scratch) {
    float *turned = scratch + 256 * a->n_classes;
    for (size_t unit = first; unit < first + count; unit += 16) {
        const size_t here = first + count - unit < 16 ? first + count - unit : 16;
        for (size_t u = 0; u < here; u++) pulls_of_unit(a, unit + u, scratch + 16 * u);
        for (size_t c = 0; c < a->n_classes; c++) {
            transpose_rows((const int32_t *)(scratch + 256 * c), 16, 0, 16, 16, (int32_t *)turned, 16);
            vec_f sum = load_f(turned);
            for (int l = 1; l < 16; l++) sum = sum + load_f(turned + 16 * l);
            STORE(a->of_classes + c * a->class_ld + unit, sum);
        }
    }
    if (a->fixed_pulls)
        for (size_t unit = first; unit < first + count; unit++)
            for (size_t lane = 0; lane < a->n_lanes; lane += 16) {
                const vec_i fixed = nearest_vec(load_f(a->pulls + unit * a->ld + lane) * FRBM_MEAN_SCALE);
                STORE(a->fixed_pulls + unit * a->ld + lane, fixed);
            }
}

#undef LN_2
#undef WIDE_BLOCKS

#endif
