/* a * b + c rounded once to float32, on processors without fused operations, included by simd.h.
 *
 * In float64 the product is exact and only the sum is rounded, so that rounding it again to float32 errs only where it
 * lies in the middle of two float32 numbers: there, and where the result is so small that its last bits are elsewhere,
 * the sum is rounded to odd instead (Boldo, Melquiond, Emulation of a FMA and correctly rounded sums, 2008). */
/* A sum whose last bit is 1 wherever it is not exact: on the right side of every tie of float32 */
INLINE reg_d sum_to_odd(reg_d a, reg_d b) {
    const reg_d zero = {0}, sum = a + b, part = sum - a, rest = (a - (sum - part)) + (b - part);
    const reg_l away = ((rest > zero) & (sum > zero)) | ((rest < zero) & (sum < zero));
    const reg_l back = ((rest > zero) & (sum < zero)) | ((rest < zero) & (sum > zero)); /* -1 where the sum is too large */
    return (reg_d)(((reg_l)sum + back) | ((away | back) & 1));
}
static __attribute__((noinline, unused)) reg_f rounded_by_odd(reg_f a, reg_f b, reg_f c) {
    typedef float half_reg_f __attribute__((vector_size(REGISTER / 2)));
    half_reg_f x[2], y[2], z[2];
    memcpy(x, &a, sizeof a);
    memcpy(y, &b, sizeof b);
    memcpy(z, &c, sizeof c);
    for (int h = 0; h < 2; h++) {
        const reg_d product = __builtin_convertvector(x[h], reg_d) * __builtin_convertvector(y[h], reg_d);
        z[h] = __builtin_convertvector(sum_to_odd(product, __builtin_convertvector(z[h], reg_d)), half_reg_f);
    }
    memcpy(&c, z, sizeof c);
    return c;
}

#ifdef __SSE2__
#define BITS_ONLY_OF_F64 0x1fffffffu
#define MIDDLE 0x10000000u
#define SMALLEST_NORMAL 0x38100000u /* upper half of 2^-126 as float64: below it float32 has fewer bits */

INLINE reg_f rounded_once(reg_f a, reg_f b, reg_f c) {
    const __m128 x = (__m128)a, y = (__m128)b, z = (__m128)c;
#define UPPER(x) _mm_cvtps_pd(_mm_movehl_ps(x, x))
    const __m128d lower = _mm_add_pd(_mm_mul_pd(_mm_cvtps_pd(x), _mm_cvtps_pd(y)), _mm_cvtps_pd(z));
    const __m128d upper = _mm_add_pd(_mm_mul_pd(UPPER(x), UPPER(y)), UPPER(z));
#undef UPPER
    /* Lower and upper halves of the bits of the four sums; doubled, the latter are without signs */
    const reg_u low = (reg_u)_mm_shuffle_ps((__m128)lower, (__m128)upper, _MM_SHUFFLE(2, 0, 2, 0));
    const reg_u high = 2 * (reg_u)_mm_shuffle_ps((__m128)lower, (__m128)upper, _MM_SHUFFLE(3, 1, 3, 1));
    const reg_i too_small = (reg_i)(2 * SMALLEST_NORMAL + INT32_MAX - (reg_u){0});
    const reg_i doubt = ((low & BITS_ONLY_OF_F64) == MIDDLE) | ((reg_i)(high + INT32_MAX) < too_small); /* 0 is none */
    if (__builtin_expect(MASK_32(doubt), 0)) return rounded_by_odd(a, b, c);
    return (reg_f)_mm_movelh_ps(_mm_cvtpd_ps(lower), _mm_cvtpd_ps(upper));
}
#else
INLINE reg_f rounded_once(reg_f a, reg_f b, reg_f c) { return rounded_by_odd(a, b, c); }
#endif
