/* Hidden layers given inputs and a class: o = A[row][unit] + U[class][unit], of all classes at once.
 *
 * With p and q the sigmoids of A and -A, 1 + e^o = (1 + e^A) (q + p e^U), and the mean is p e^U / (q + p e^U): one
 * exponential for all classes of a row, one for all rows of a class.  What is in parentheses is between e^-|U| and
 * e^|U|, so that a product of some of them is a float32 and their logs need not be taken one by one.  Where some |U| is
 * above FRBM_MOST_CLASS every o has its own exponential.  Sums go by lane in the order of the units, or in the order of
 * the rows, so that they are the same on all targets and for any number of threads. */
#ifndef FASTRBM_LABELS_H
#define FASTRBM_LABELS_H

#include "kernels.h"
#include "lane_math.h"

/* log(x), x positive and normal: an exponent, and 2 atanh((m - s) / (m + s)) of a mantissa m around s = sqrt(2) */
INLINE double log_of(double x) {
    uint64_t bits;
    memcpy(&bits, &x, 8);
    const double exponent = (double)((int64_t)(bits >> 52) - 1023);
    bits = (bits & 0x000FFFFFFFFFFFFFull) | 0x3FF0000000000000ull;
    double m;
    memcpy(&m, &bits, 8);
    const double t = (m - 1.4142135623730951) / (m + 1.4142135623730951), q = t * t;
    double p = 1.0 / 23;
    for (int k = 21; k > 0; k -= 2) p = p * q + 1.0 / k;
    return (exponent + 0.5) * 0.69314718055994530942 + 2.0 * t * p;
}

/* Sum of the logs of the lanes of a product, positive and normal, and of the lanes of a vector */
INLINE double sum_of_logs(vec_f product) {
    float f[16];
    double sum = 0;
    STORE(f, product);
    for (int l = 0; l < 16; l += 4)
        sum += log_of(((double)f[l] * (double)f[l + 1]) * ((double)f[l + 2] * (double)f[l + 3]));
    return sum;
}

INLINE double sum_of_lanes(vec_f x) {
    float f[16];
    double sum = 0;
    STORE(f, x);
    for (int l = 0; l < 16; l += 4)
        sum += ((double)f[l] + (double)f[l + 1]) + ((double)f[l + 2] + (double)f[l + 3]);
    return sum;
}

INLINE vec_f far_tail(vec_f o) { /* e^-|o| */
    const vec_f size = magnitude(o);
    return exp_vec(-select_f(size < 87.0f, size, (vec_f){0} + 87.0f));
}

/* sum over units of log(1 + e^o), o = x + u, or x alone where u is NULL */
INLINE double sum_of_softplus(const float *x, const float *u, size_t n) {
    double sum = 0;
    for (size_t unit = 0; unit < n;) {
        const size_t stop = unit + 16 * 96 < n ? unit + 16 * 96 : n; /* factors of at most 2 */
        vec_f product = (vec_f){0} + 1.0f, above = {0};
        for (; unit < stop; unit += 16) {
            const vec_f o = u ? load_f(x + unit) + load_f(u + unit) : load_f(x + unit);
            product = product * (1.0f + far_tail(o));
            above = above + select_f(o > 0, o, (vec_f){0});
        }
        sum += sum_of_logs(product) + sum_of_lanes(above);
    }
    return sum;
}

/* score[row][class] = bias + sum over units of log(1 + e^o), of one row; leaves p and q of it in on and off */
static void label_scores(const frbm_labels *a, size_t row) {
    const float *x = a->inputs + row * a->ld;
    double *scores = a->scores + row * a->n_classes;
    if (!a->raise) {
        for (size_t c = 0; c < a->n_classes; c++)
            scores[c] = sum_of_softplus(x, a->classes + c * a->ld, a->ld) + (double)a->bias[c];
        return;
    }
    float *on = a->on + row * a->ld, *off = a->off + row * a->ld;
    for (size_t unit = 0; unit < a->ld; unit += 16) {
        const vec_f o = load_f(x + unit), e = far_tail(o), rest = 1.0f / (1.0f + e);
        const vec_f p = select_f(o > 0, rest, e * rest), q = select_f(o > 0, e * rest, rest);
        STORE(on + unit, p);
        STORE(off + unit, q);
    }
    const double alone = sum_of_softplus(x, NULL, a->ld);
    for (size_t c = 0; c < a->n_classes; c++) {
        const float *raise = a->raise + c * a->ld;
        double sum = alone;
        for (size_t unit = 0; unit < a->ld;) {
            const size_t stop = unit + 16 * a->steps < a->ld ? unit + 16 * a->steps : a->ld;
            vec_f product = (vec_f){0} + 1.0f;
            for (; unit < stop; unit += 16)
                product = product * (load_f(off + unit) + load_f(on + unit) * load_f(raise + unit));
            sum += sum_of_logs(product);
        }
        scores[c] = sum + (double)a->bias[c];
    }
}

INLINE vec_f mean_given(const frbm_labels *a, size_t at, size_t class_at) {
    if (a->raise) {
        const vec_f up = load_f(a->on + at) * load_f(a->raise + class_at);
        return up / (load_f(a->off + at) + up);
    }
    const vec_f o = load_f(a->inputs + at) + load_f(a->classes + class_at), e = far_tail(o), rest = 1.0f / (1.0f + e);
    return select_f(o > 0, rest, e * rest);
}

/* Means of units [first, first + FRBM_LABEL_UNITS) given each class, after label_scores: those of the row's own class
 * into data, the mean over the classes by `shares` into model; their sums over the rows by class, times the weights of
 * the rows, into of_data and of_model. */
static void label_means(const frbm_labels *a, size_t first) {
    const size_t here = a->ld - first < FRBM_LABEL_UNITS ? a->ld - first : FRBM_LABEL_UNITS;
    for (size_t row = 0; row < a->n; row++) {
        const float weight = a->weights[row];
        for (size_t at = first; at < first + here; at += 16) {
            vec_f model = {0}, data = {0};
            for (size_t c = 0; c < a->n_classes; c++) {
                const float share = a->shares[row * a->n_classes + c];
                const vec_f mean = mean_given(a, row * a->ld + at, c * a->ld + at);
                float *of_model = a->of_model + c * a->ld + at, *of_data = a->of_data + c * a->ld + at;
                vec_f sum = load_f(of_model) + (weight * share) * mean;
                STORE(of_model, sum);
                model = model + share * mean;
                if (a->labels[row] != (int32_t)c) continue;
                data = mean;
                sum = load_f(of_data) + weight * mean;
                STORE(of_data, sum);
            }
            STORE(a->model + row * a->ld + at, model);
            STORE(a->data + row * a->ld + at, data);
        }
    }
}

/* raise = e^U of classes within FRBM_MOST_CLASS */
static void label_raise(const float *classes, size_t n, float *raise) {
    for (size_t at = 0; at < n; at += 16) {
        const vec_f e = exp_vec(load_f(classes + at));
        STORE(raise + at, e);
    }
}

#endif
