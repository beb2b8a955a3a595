/* Elementwise float32 functions over 16 lanes, in plain C that the compiler vectorises.
 *
 * Built with -ffp-contract=off: every target performs the same multiplications and additions, so results are
 * bit-identical between them.
 */
#ifndef FASTRBM_LANE_MATH_H
#define FASTRBM_LANE_MATH_H

#include "simd.h"

/* exp(x), x clamped to [-87, 87] (both ends are normal floats); relative error below 2e-7.
 * Adding 1.5 * 2^23 rounds x / ln 2 to the nearest integer and leaves it in the low mantissa bits.
 * Polynomial: Taylor to degree 6 on |r| <= ln(2)/2, remainder 1.2e-7 * r relative. */
INLINE float exp_lane(float x) {
    const float magic = 12582912.0f;
    x = x < -87.0f ? -87.0f : x;
    x = x > 87.0f ? 87.0f : x;
    float shifted = x * 1.44269504088896341f + magic;
    float n = shifted - magic;
    float r = x - n * 0.693359375f; /* 9 bits: the product is exact */
    r = r - n * -2.12194440e-4f;
    float p = 1.0f / 5040.0f;
    p = p * r + 1.0f / 720.0f;
    p = p * r + 1.0f / 120.0f;
    p = p * r + 1.0f / 24.0f;
    p = p * r + 1.0f / 6.0f;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    return float_of(bits_of(p) + (bits_of(shifted) << 23));
}

/* exp_lane of 16 lanes without its clamps, for |x| <= 87 */
INLINE vec_f exp_vec(vec_f x) {
    const vec_f shifted = x * 1.44269504088896341f + 12582912.0f;
    const vec_f n = shifted - 12582912.0f;
    const vec_f r = x - n * 0.693359375f - n * -2.12194440e-4f;
    vec_f p = r * (1.0f / 5040.0f) + 1.0f / 720.0f;
    p = p * r + 1.0f / 120.0f;
    p = p * r + 1.0f / 24.0f;
    p = p * r + 1.0f / 6.0f;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    return (vec_f)((vec_u)p + ((vec_u)shifted << 23));
}

/* 1 + e^-x, the reciprocal of a sigmoid.  e^-x = 2^t, t = -x / ln 2 within +-125, split into an integer and a fraction
 * in [-1/2, 1/2]; polynomial of least largest error, 9e-8 relative (2e-7 with rounding).  The rounding of t costs
 * another |x| * 6e-8, no more than half a unit in the last place of x itself does. */
#define FRBM_EXP2(p, f)                      \
    p = f * 0.001326472731307149f;           \
    p = (p + 0.009671512991189957f) * f;     \
    p = (p + 0.05550733581185341f) * f;      \
    p = (p + 0.24022242426872253f) * f;      \
    p = (p + 0.6931470036506653f) * f + 1.0f

/* t[v] = 2^t[v], |t| <= 125, of n registers.  Four of them step by step: one after
 * the other their chains of operations would wait in the scheduler.  Plain arithmetic splits t, as reduce and scalef
 * take two cycles each where additions stand beside the multiplications. */
INLINE void exp2_each(const int n, reg_f t[]) {
    static const float c[] = {0.009671512991189957f, 0.05550733581185341f, 0.24022242426872253f, 0.6931470036506653f,
                              1.0f};
    for (int first = 0; first < n; first += 4) {
        const int here = n - first < 4 ? n - first : 4;
        reg_f shifted[4], f[4], p[4], *x = t + first;
        for (int v = 0; v < here; v++) shifted[v] = x[v] + 12582912.0f; /* the nearest integer in the low bits */
        for (int v = 0; v < here; v++) f[v] = x[v] - (shifted[v] - 12582912.0f);
        for (int v = 0; v < here; v++) p[v] = f[v] * 0.001326472731307149f;
#pragma GCC unroll 5
        for (int k = 0; k < 5; k++)
            for (int v = 0; v < here; v++) {
                p[v] = k < 4 ? (p[v] + c[k]) * f[v] : p[v] + c[k];
                if (n > 1) KEEP(p[v]);
            }
        for (int v = 0; v < here; v++) x[v] = (reg_f)((reg_u)p[v] + ((reg_u)shifted[v] << 23));
    }
}

INLINE reg_f exp2_reg(reg_f t) {
    exp2_each(1, &t);
    return t;
}

/* The same of float64 for |t| <= 1020: the Taylor series of e^(f ln 2), |f| <= 1/2, to degree 12: remainder 2e-16 */
INLINE void exp2_each_d(const int n, reg_d t[]) {
    static const double c[] = {2.5678435993488205e-11, 4.445538271870811e-10, 7.054911620801121e-09,
                               1.0178086009239696e-07, 1.3215486790144305e-06, 1.5252733804059838e-05,
                               1.540353039338161e-04,  1.3333558146428443e-03, 9.618129107628477e-03,
                               5.550410866482158e-02,  2.402265069591007e-01,  6.931471805599453e-01, 1.0};
    for (int first = 0; first < n; first += 4) {
        const int here = n - first < 4 ? n - first : 4;
        reg_d shifted[4], f[4], p[4], *x = t + first;
        for (int v = 0; v < here; v++) shifted[v] = x[v] + 6755399441055744.0; /* 1.5 * 2^52 */
        for (int v = 0; v < here; v++) f[v] = x[v] - (shifted[v] - 6755399441055744.0);
        for (int v = 0; v < here; v++) p[v] = (reg_d){0} + c[0];
#pragma GCC unroll 12
        for (int k = 1; k < 13; k++)
            for (int v = 0; v < here; v++) {
                p[v] = p[v] * f[v] + c[k];
                if (n > 1) KEEP(p[v]);
            }
        for (int v = 0; v < here; v++) x[v] = (reg_d)((reg_l)p[v] + ((reg_l)shifted[v] << 52));
    }
}

INLINE reg_d exp2_reg_d(reg_d t) {
    exp2_each_d(1, &t);
    return t;
}

INLINE float sigmoid_scale_lane(float x) {
    float t = x * -1.44269504088896341f, p;
    t = t < -125.0f ? -125.0f : t;
    t = t > 125.0f ? 125.0f : t;
    const float shifted = t + 12582912.0f, f = t - (shifted - 12582912.0f);
    FRBM_EXP2(p, f);
    return float_of(bits_of(p) + (bits_of(shifted) << 23)) + 1.0f;
}

INLINE reg_f sigmoid_scale_reg(reg_f x) {
    const split_exponent t = split(x * -1.44269504088896341f);
    reg_f p;
    FRBM_EXP2(p, t.fraction);
    return scale_by(p, t.whole) + 1.0f;
}

INLINE vec_f sigmoid_scale(vec_f x) {
    reg_f part[64 / REGISTER];
    memcpy(part, &x, sizeof part);
    for (int v = 0; v < 64 / REGISTER; v++) part[v] = sigmoid_scale_reg(part[v]);
    return load_f((const float *)part);
}

/* atanh(s), |s| <= 1/3: the odd series to s^15, remainder below 1e-8 relative */
INLINE float atanh_lane(float s) {
    const float q = s * s;
    float p = 1.0f / 15.0f;
    p = p * q + 1.0f / 13.0f;
    p = p * q + 1.0f / 11.0f;
    p = p * q + 1.0f / 9.0f;
    p = p * q + 1.0f / 7.0f;
    p = p * q + 1.0f / 5.0f;
    p = p * q + 1.0f / 3.0f;
    p = p * q + 1.0f;
    return s * p;
}

/* log(1 + e^x) = max(x, 0) + 2 atanh(t / (2 + t)), t = e^-|x|: accurate relative to its value where t is tiny, too */
INLINE float softplus_lane(float x) {
    const float t = exp_lane(-__builtin_fabsf(x));
    return (x > 0.0f ? x : 0.0f) + 2.0f * atanh_lane(t / (2.0f + t));
}

#endif
