/* One vocabulary of vectors for all instruction sets: types, loads, masks, and the few operations that plain C does not
 * compile to.  This is the only file that asks for the instruction set, but for whole alternatives of an algorithm,
 * each of which stands in one place: lookup.h (lookup_neon.h), int16.h, int16_filter.h, coincidences.h, decide.h,
 * exact_sum in filters.h, and tile_unit.h (byte_matrices.h) with what is built on it.
 *
 * FRBM_AVX512, FRBM_AVX2 or FRBM_NEON say what a build may use; none means the baseline, which is SSE2 on x86-64 and
 * plain C elsewhere.  Every operation gives the same bits on all of them, but fused_f and fused_d.
 *
 * vec_* have 16 lanes, of float64 8, whatever the registers are: the compiler takes as many as it needs.  reg_* are one register each:
 * what is held over a loop is counted in registers, and wider vectors compile badly in comparisons.
 */
#ifndef FASTRBM_SIMD_H
#define FASTRBM_SIMD_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(FRBM_AVX512) || defined(FRBM_AVX2)
#include <immintrin.h>
#elif defined(FRBM_NEON)
#include <arm_neon.h>
#elif defined(__SSE2__)
#include <emmintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))

#if defined(FRBM_AVX512)
#define REGISTER 64    /* bytes of a register */
#define N_REGISTERS 32 /* that there are */
#elif defined(FRBM_AVX2)
#define REGISTER 32
#define N_REGISTERS 16
#else
#define REGISTER 16
#ifdef FRBM_NEON
#define N_REGISTERS 32
#else
#define N_REGISTERS 16
#endif
#endif

typedef float vec_f __attribute__((vector_size(64)));
typedef int32_t vec_i __attribute__((vector_size(64)));
typedef uint32_t vec_u __attribute__((vector_size(64)));
typedef double vec_d __attribute__((vector_size(64)));
typedef int64_t vec_l __attribute__((vector_size(64)));

typedef float reg_f __attribute__((vector_size(REGISTER)));
typedef int32_t reg_i __attribute__((vector_size(REGISTER)));
typedef uint32_t reg_u __attribute__((vector_size(REGISTER)));
typedef double reg_d __attribute__((vector_size(REGISTER)));
typedef int64_t reg_l __attribute__((vector_size(REGISTER)));
typedef uint64_t reg_ul __attribute__((vector_size(REGISTER)));
typedef uint8_t reg_b __attribute__((vector_size(REGISTER)));

/* ---- the same on all of them -------------------------------------------------------------------------------- */

INLINE float float_of(uint32_t bits) {
    float f;
    memcpy(&f, &bits, 4);
    return f;
}

INLINE uint32_t bits_of(float f) {
    uint32_t bits;
    memcpy(&bits, &f, 4);
    return bits;
}

#define FRBM_LOAD(name, type, element) \
    INLINE type name(const element *p) { \
        type v;                        \
        memcpy(&v, p, sizeof v);       \
        return v;                      \
    }
FRBM_LOAD(load_f, vec_f, float)
FRBM_LOAD(load_i, vec_i, void)
FRBM_LOAD(load_u, vec_u, uint32_t)
FRBM_LOAD(load_d, vec_d, double)
FRBM_LOAD(load_reg_f, reg_f, float)
FRBM_LOAD(load_reg_i, reg_i, void)
FRBM_LOAD(load_reg_u, reg_u, uint32_t)
FRBM_LOAD(load_reg_d, reg_d, double)
#undef FRBM_LOAD

/* Has a vector in a register here: not loaded again for each use, nor worked out later, one chain after the other */
#if defined(FRBM_AVX512)
#define KEEP(vector) __asm__ volatile("" : "+v"(vector))
#elif defined(FRBM_NEON)
#define KEEP(vector) __asm__ volatile("" : "+w"(vector))
#elif defined(__SSE2__)
#define KEEP(vector) __asm__ volatile("" : "+x"(vector))
#else
#define KEEP(vector) (void)(vector)
#endif

/* A vector to memory, aligned or not */
#define STORE(to, vector) memcpy((to), &(vector), sizeof(vector))

INLINE vec_f select_f(vec_i mask, vec_f yes, vec_f no) { return (vec_f)((mask & (vec_i)yes) | (~mask & (vec_i)no)); }
INLINE reg_f select_rf(reg_i mask, reg_f yes, reg_f no) { return (reg_f)((mask & (reg_i)yes) | (~mask & (reg_i)no)); }
INLINE reg_d select_d(reg_l mask, reg_d yes, reg_d no) { return (reg_d)((mask & (reg_l)yes) | (~mask & (reg_l)no)); }

/* a > b ? a : b, and a < b ? a : b */
#if defined(FRBM_AVX512)
INLINE reg_f max_f(reg_f a, reg_f b) { return (reg_f)_mm512_max_ps((__m512)a, (__m512)b); }
INLINE reg_f min_f(reg_f a, reg_f b) { return (reg_f)_mm512_min_ps((__m512)a, (__m512)b); }
INLINE reg_d max_d(reg_d a, reg_d b) { return (reg_d)_mm512_max_pd((__m512d)a, (__m512d)b); }
INLINE reg_d min_d(reg_d a, reg_d b) { return (reg_d)_mm512_min_pd((__m512d)a, (__m512d)b); }
#elif defined(FRBM_AVX2)
INLINE reg_f max_f(reg_f a, reg_f b) { return (reg_f)_mm256_max_ps((__m256)a, (__m256)b); }
INLINE reg_f min_f(reg_f a, reg_f b) { return (reg_f)_mm256_min_ps((__m256)a, (__m256)b); }
INLINE reg_d max_d(reg_d a, reg_d b) { return (reg_d)_mm256_max_pd((__m256d)a, (__m256d)b); }
INLINE reg_d min_d(reg_d a, reg_d b) { return (reg_d)_mm256_min_pd((__m256d)a, (__m256d)b); }
#elif defined(__SSE2__)
INLINE reg_f max_f(reg_f a, reg_f b) { return (reg_f)_mm_max_ps((__m128)a, (__m128)b); }
INLINE reg_f min_f(reg_f a, reg_f b) { return (reg_f)_mm_min_ps((__m128)a, (__m128)b); }
INLINE reg_d max_d(reg_d a, reg_d b) { return (reg_d)_mm_max_pd((__m128d)a, (__m128d)b); }
INLINE reg_d min_d(reg_d a, reg_d b) { return (reg_d)_mm_min_pd((__m128d)a, (__m128d)b); }
#elif defined(FRBM_NEON)
/* not fmax and fmin, which have rules of their own for nan and zeros */
INLINE reg_f max_f(reg_f a, reg_f b) { return (reg_f)vbslq_f32((uint32x4_t)(a > b), (float32x4_t)a, (float32x4_t)b); }
INLINE reg_f min_f(reg_f a, reg_f b) { return (reg_f)vbslq_f32((uint32x4_t)(a < b), (float32x4_t)a, (float32x4_t)b); }
INLINE reg_d max_d(reg_d a, reg_d b) { return (reg_d)vbslq_f64((uint64x2_t)(a > b), (float64x2_t)a, (float64x2_t)b); }
INLINE reg_d min_d(reg_d a, reg_d b) { return (reg_d)vbslq_f64((uint64x2_t)(a < b), (float64x2_t)a, (float64x2_t)b); }
#else
INLINE reg_f max_f(reg_f a, reg_f b) { return select_rf(a > b, a, b); }
INLINE reg_f min_f(reg_f a, reg_f b) { return select_rf(a < b, a, b); }
INLINE reg_d max_d(reg_d a, reg_d b) { return select_d(a > b, a, b); }
INLINE reg_d min_d(reg_d a, reg_d b) { return select_d(a < b, a, b); }
#endif

INLINE vec_f magnitude(vec_f x) { return (vec_f)((vec_u)x & 0x7FFFFFFFu); }

/* ---- masks ---------------------------------------------------------------------------------------------------- */

/* MASK_32(x): bit l of the result = sign bit of element l of a register of 32-bit elements; MASK_64, MASK_8 alike */
#if defined(FRBM_AVX512)
#define MASK_32(x) _mm512_movepi32_mask((__m512i)(x))
#define MASK_64(x) _mm512_movepi64_mask((__m512i)(x))
#define MASK_8(x) _mm512_movepi8_mask((__m512i)(x))
#elif defined(FRBM_AVX2)
#define MASK_32(x) _mm256_movemask_ps((__m256)(x))
#define MASK_64(x) _mm256_movemask_pd((__m256d)(x))
#define MASK_8(x) (uint32_t)_mm256_movemask_epi8((__m256i)(x))
#elif defined(__SSE2__)
#define MASK_32(x) _mm_movemask_ps((__m128)(x))
#define MASK_64(x) _mm_movemask_pd((__m128d)(x))
#define MASK_8(x) _mm_movemask_epi8((__m128i)(x))
#elif defined(FRBM_NEON)
/* the sign of each element as its bit, and all of them added up */
INLINE uint32_t mask_of_signs_32(int32x4_t x) {
    static const uint32_t bit[4] = {1, 2, 4, 8};
    return vaddvq_u32(vandq_u32((uint32x4_t)vshrq_n_s32(x, 31), vld1q_u32(bit)));
}
INLINE uint32_t mask_of_signs_64(int64x2_t x) {
    static const uint64_t bit[2] = {1, 2};
    return (uint32_t)vaddvq_u64(vandq_u64((uint64x2_t)vshrq_n_s64(x, 63), vld1q_u64(bit)));
}
INLINE uint32_t mask_of_signs_8(int8x16_t x) {
    static const uint8_t bit[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    const uint8x16_t on = vandq_u8((uint8x16_t)vshrq_n_s8(x, 7), vld1q_u8(bit));
    return vaddv_u8(vget_low_u8(on)) | (uint32_t)vaddv_u8(vget_high_u8(on)) << 8;
}
#define MASK_32(x) mask_of_signs_32((int32x4_t)(x))
#define MASK_64(x) mask_of_signs_64((int64x2_t)(x))
#define MASK_8(x) mask_of_signs_8((int8x16_t)(x))
#else
INLINE uint64_t top_bits(const uint8_t *x, int step) {
    uint64_t mask = 0;
    for (int l = 0; l * step < 16; l++) mask |= (uint64_t)(x[(l + 1) * step - 1] >> 7) << l;
    return mask;
}
#define MASK_32(x) top_bits((const uint8_t *)&(x), 4)
#define MASK_64(x) top_bits((const uint8_t *)&(x), 8)
#define MASK_8(x) top_bits((const uint8_t *)&(x), 1)
#endif

/* A truth value for each lane of a register: elements of `yes` where it holds, of `no` elsewhere; a < b, which does not
 * hold for nan; a and not b; `bit` in the words where it holds */
#if defined(FRBM_AVX512)
typedef __mmask16 reg_mask_f;
typedef __mmask8 reg_mask_d;
INLINE reg_mask_f mask_of_bits_f(uint32_t bits) { return (reg_mask_f)bits; }
INLINE reg_mask_d mask_of_bits_d(uint32_t bits) { return (reg_mask_d)bits; }
INLINE uint32_t bits_of_mask_f(reg_mask_f mask) { return mask; }
INLINE reg_mask_f less_f(reg_f a, reg_f b) { return _mm512_cmp_ps_mask((__m512)a, (__m512)b, _CMP_LT_OQ); }
INLINE reg_mask_f and_not_f(reg_mask_f a, reg_mask_f b) { return _kandn_mask16(b, a); }
INLINE reg_u set_bit_f(reg_u words, reg_mask_f mask, uint32_t bit) {
    return (reg_u)_mm512_mask_or_epi32((__m512i)words, mask, (__m512i)words, _mm512_set1_epi32((int)bit));
}
INLINE reg_f blend_f(reg_mask_f mask, reg_f yes, reg_f no) {
    return (reg_f)_mm512_mask_blend_ps(mask, (__m512)no, (__m512)yes);
}
INLINE reg_d blend_d(reg_mask_d mask, reg_d yes, reg_d no) {
    return (reg_d)_mm512_mask_blend_pd(mask, (__m512d)no, (__m512d)yes);
}
#else
typedef reg_i reg_mask_f;
typedef reg_l reg_mask_d;
INLINE reg_mask_f mask_of_bits_f(uint32_t bits) {
    static const int32_t lane[8] = {1, 2, 4, 8, 16, 32, 64, 128};
    return (load_reg_i(lane) & (int32_t)bits) != 0;
}
INLINE reg_mask_d mask_of_bits_d(uint32_t bits) {
    static const int64_t lane[4] = {1, 2, 4, 8};
    return ((reg_l)load_reg_i(lane) & (int64_t)bits) != 0;
}
INLINE uint32_t bits_of_mask_f(reg_mask_f mask) { return (uint32_t)MASK_32(mask); }
INLINE reg_mask_f less_f(reg_f a, reg_f b) { return a < b; }
INLINE reg_mask_f and_not_f(reg_mask_f a, reg_mask_f b) { return a & ~b; }
INLINE reg_u set_bit_f(reg_u words, reg_mask_f mask, uint32_t bit) { return words | ((reg_u)mask & bit); }
#if defined(FRBM_AVX2)
INLINE reg_f blend_f(reg_mask_f mask, reg_f yes, reg_f no) {
    return (reg_f)_mm256_blendv_ps((__m256)no, (__m256)yes, (__m256)mask);
}
INLINE reg_d blend_d(reg_mask_d mask, reg_d yes, reg_d no) {
    return (reg_d)_mm256_blendv_pd((__m256d)no, (__m256d)yes, (__m256d)mask);
}
#elif defined(FRBM_NEON)
INLINE reg_f blend_f(reg_mask_f mask, reg_f yes, reg_f no) {
    return (reg_f)vbslq_f32((uint32x4_t)mask, (float32x4_t)yes, (float32x4_t)no);
}
INLINE reg_d blend_d(reg_mask_d mask, reg_d yes, reg_d no) {
    return (reg_d)vbslq_f64((uint64x2_t)mask, (float64x2_t)yes, (float64x2_t)no);
}
#else
INLINE reg_f blend_f(reg_mask_f mask, reg_f yes, reg_f no) { return select_rf(mask, yes, no); }
INLINE reg_d blend_d(reg_mask_d mask, reg_d yes, reg_d no) { return select_d(mask, yes, no); }
#endif
#endif

INLINE reg_mask_f below_f(reg_f x, float limit) { return less_f(x, (reg_f){0} + limit); }

/* The smaller of unsigned integers; whether any is below a limit */
#if defined(FRBM_AVX512)
INLINE reg_u min_u(reg_u a, reg_u b) { return (reg_u)_mm512_min_epu32((__m512i)a, (__m512i)b); }
INLINE int any_below_u(reg_u a, uint32_t limit) {
    return _mm512_cmplt_epu32_mask((__m512i)a, _mm512_set1_epi32((int)limit)) != 0;
}
#else
#if defined(FRBM_AVX2)
INLINE reg_u min_u(reg_u a, reg_u b) { return (reg_u)_mm256_min_epu32((__m256i)a, (__m256i)b); }
#elif defined(FRBM_NEON)
INLINE reg_u min_u(reg_u a, reg_u b) { return (reg_u)vminq_u32((uint32x4_t)a, (uint32x4_t)b); }
#else
INLINE reg_u min_u(reg_u a, reg_u b) {
    const reg_u less = (reg_u)(a < b);
    return (a & less) | (b & ~less);
}
#endif
#ifdef FRBM_NEON
INLINE int any_below_u(reg_u a, uint32_t limit) { return vminvq_u32((uint32x4_t)a) < limit; }
#else
INLINE int any_below_u(reg_u a, uint32_t limit) {
    const reg_i below = a < limit;
    return MASK_32(below) != 0;
}
#endif
#endif

/* ---- arithmetic ------------------------------------------------------------------------------------------------ */

/* t limited to +-125 as whole + fraction, fraction in [-1/2, 1/2]; `whole` is for scale_by alone */
typedef struct {
    reg_f whole, fraction;
} split_exponent;

#if defined(FRBM_AVX512)
INLINE split_exponent split(reg_f t) {
    /* scalef underflows by itself, and 1 + 0 is what 1 + 2^-125 is; min returns its second operand for nan */
    const __m512 limited = _mm512_min_ps(_mm512_set1_ps(125.0f), (__m512)t);
    return (split_exponent){(reg_f)limited, (reg_f)_mm512_reduce_ps(limited, 0)};
}
/* p * 2^whole */
INLINE reg_f scale_by(reg_f p, reg_f whole) {
    return (reg_f)_mm512_scalef_ps((__m512)p, _mm512_roundscale_ps((__m512)whole, 0));
}
#else
INLINE split_exponent split(reg_f t) {
    const reg_f zero = {0};
    t = min_f(zero + 125.0f, max_f(zero - 125.0f, t)); /* the second operand for nan, too */
    const reg_f shifted = t + 12582912.0f; /* 1.5 * 2^23 leaves the nearest integer in the low bits */
    return (split_exponent){shifted, t - (shifted - 12582912.0f)};
}
INLINE reg_f scale_by(reg_f p, reg_f whole) { return (reg_f)((reg_u)p + ((reg_u)whole << 23)); }
#endif

/* a * b + c, rounded once where there are fused operations */
#if defined(FRBM_AVX512)
INLINE reg_f fused_f(reg_f a, reg_f b, reg_f c) { return (reg_f)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c); }
INLINE reg_d fused_d(reg_d a, reg_d b, reg_d c) { return (reg_d)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c); }
#elif defined(FRBM_AVX2)
INLINE reg_f fused_f(reg_f a, reg_f b, reg_f c) { return (reg_f)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c); }
INLINE reg_d fused_d(reg_d a, reg_d b, reg_d c) { return (reg_d)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c); }
#elif defined(FRBM_NEON)
INLINE reg_f fused_f(reg_f a, reg_f b, reg_f c) {
    return (reg_f)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
}
INLINE reg_d fused_d(reg_d a, reg_d b, reg_d c) {
    return (reg_d)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
}
#else
INLINE reg_f fused_f(reg_f a, reg_f b, reg_f c) { return a * b + c; }
INLINE reg_d fused_d(reg_d a, reg_d b, reg_d c) { return a * b + c; }
#endif

/* A number in all lanes; subtracted, not added, as x - 0 is x whatever its sign and takes no operation */
INLINE reg_f all_f(float x) { return x - (reg_f){0}; }

/* a * b + c, rounded once everywhere */
#if defined(FRBM_AVX512) || defined(FRBM_AVX2) || defined(FRBM_NEON)
INLINE reg_f rounded_once(reg_f a, reg_f b, reg_f c) { return fused_f(a, b, c); }
#elif defined(__FP_FAST_FMAF)
INLINE reg_f rounded_once(reg_f a, reg_f b, reg_f c) {
    for (int i = 0; i < REGISTER / 4; i++) c[i] = __builtin_fmaf(a[i], b[i], c[i]);
    return c;
}
#else
#include "rounded_once.inc.c"
#endif

/* Products of the lower halves of 64-bit elements */
INLINE reg_ul multiply_low(reg_ul a, reg_ul b) {
#if defined(FRBM_AVX512)
    return (reg_ul)_mm512_mul_epu32((__m512i)a, (__m512i)b);
#elif defined(FRBM_AVX2)
    return (reg_ul)_mm256_mul_epu32((__m256i)a, (__m256i)b);
#elif defined(__SSE2__)
    return (reg_ul)_mm_mul_epu32((__m128i)a, (__m128i)b);
#elif defined(FRBM_NEON)
    return (reg_ul)vmull_u32(vmovn_u64((uint64x2_t)a), vmovn_u64((uint64x2_t)b));
#else
    return (a & 0xFFFFFFFFu) * (b & 0xFFFFFFFFu);
#endif
}

/* The lower halves of 64-bit elements side by side: of every four lanes, two from a and two from b */
INLINE reg_u lower_halves(reg_ul a, reg_ul b) {
#if defined(FRBM_AVX512)
    return (reg_u)_mm512_shuffle_ps((__m512)a, (__m512)b, 0x88);
#elif defined(FRBM_AVX2)
    return (reg_u)_mm256_shuffle_ps((__m256)a, (__m256)b, 0x88);
#elif defined(__SSE2__)
    return (reg_u)_mm_shuffle_ps((__m128)a, (__m128)b, 0x88);
#else
    return (reg_u){(uint32_t)a[0], (uint32_t)a[1], (uint32_t)b[0], (uint32_t)b[1]};
#endif
}

INLINE reg_ul xor_three(reg_ul a, reg_ul b, reg_ul c) {
#ifdef FRBM_AVX512
    return (reg_ul)_mm512_ternarylogic_epi64((__m512i)a, (__m512i)b, (__m512i)c, 0x96);
#else
    return a ^ b ^ c;
#endif
}

/* Of each word, lower half of a * lower half of b + upper half of a * upper half of b, all of them int16 */
INLINE reg_i multiply_int16(uint32_t a, reg_i b) {
#if defined(FRBM_AVX512)
    return (reg_i)_mm512_madd_epi16(_mm512_set1_epi32((int)a), (__m512i)b);
#elif defined(FRBM_AVX2)
    return (reg_i)_mm256_madd_epi16(_mm256_set1_epi32((int)a), (__m256i)b);
#elif defined(__SSE2__)
    return (reg_i)_mm_madd_epi16(_mm_set1_epi32((int)a), (__m128i)b);
#elif defined(FRBM_NEON)
    const int16x8_t x = vreinterpretq_s16_u32(vdupq_n_u32(a)), y = (int16x8_t)b;
    return (reg_i)vpaddq_s32(vmull_s16(vget_low_s16(x), vget_low_s16(y)), vmull_high_s16(x, y));
#else
    reg_i out;
    for (int l = 0; l < REGISTER / 4; l++)
        out[l] = (int16_t)a * (int16_t)b[l] + ((int32_t)a >> 16) * (b[l] >> 16);
    return out;
#endif
}

/* sum + multiply_int16(*a, b); `fused`: in one operation, which processors with AVX512_VNNI have */
INLINE reg_i add_int16_products(const int fused, reg_i sum, const uint32_t *a, reg_i b) {
#if defined(FRBM_AVX512)
    if (fused) { /* not by its intrinsic, for which all that it is inlined into must ask for the instruction set */
        __asm__("vpdpwssd %2%{1to16%}, %1, %0" : "+v"(sum) : "v"(b), "m"(*a));
        return sum;
    }
#endif
    (void)fused;
    return sum + multiply_int16(*a, b);
}

/* Lane l of the result is lane (l + by) % 8 of x, a vec_d; `by` is a constant */
#if defined(__clang__)
#define ROTATE_D(x, by) \
    __builtin_shufflevector(x, x, (by) % 8, ((by) + 1) % 8, ((by) + 2) % 8, ((by) + 3) % 8, ((by) + 4) % 8, \
                            ((by) + 5) % 8, ((by) + 6) % 8, ((by) + 7) % 8)
#else
#define ROTATE_D(x, by) __builtin_shuffle(x, ((vec_l){0, 1, 2, 3, 4, 5, 6, 7} + (by)) & 7)
#endif

/* Set bits of each byte */
INLINE reg_u count_bytes(reg_u x) {
#if defined(FRBM_AVX512)
    const __m512i table = _mm512_set4_epi32(0x04030302, 0x03020201, 0x03020201, 0x02010100);
    const __m512i low = _mm512_set1_epi8(15), b = (__m512i)x;
    return (reg_u)_mm512_add_epi8(_mm512_shuffle_epi8(table, _mm512_and_si512(b, low)),
                                  _mm512_shuffle_epi8(table, _mm512_and_si512(_mm512_srli_epi32(b, 4), low)));
#elif defined(FRBM_AVX2)
    const __m256i table = _mm256_broadcastsi128_si256(_mm_set_epi32(0x04030302, 0x03020201, 0x03020201, 0x02010100));
    const __m256i low = _mm256_set1_epi8(15), b = (__m256i)x;
    return (reg_u)_mm256_add_epi8(_mm256_shuffle_epi8(table, _mm256_and_si256(b, low)),
                                  _mm256_shuffle_epi8(table, _mm256_and_si256(_mm256_srli_epi32(b, 4), low)));
#elif defined(FRBM_NEON)
    return (reg_u)vcntq_u8((uint8x16_t)x);
#else
    x = x - (x >> 1 & 0x55555555u);
    x = (x & 0x33333333u) + (x >> 2 & 0x33333333u);
    return (x + (x >> 4)) & 0x0F0F0F0Fu;
#endif
}

/* row[index] of 16 lanes, each index below 24; the row is aligned to 64 bytes */
INLINE vec_f pick_of_24(const float row[32], vec_u index) {
#if defined(FRBM_AVX512)
    return (vec_f)_mm512_permutex2var_ps(_mm512_load_ps(row), (__m512i)index, _mm512_load_ps(row + 16));
#elif defined(FRBM_AVX2)
    __m256i at[2];
    __m256 found[2];
    memcpy(at, &index, sizeof at);
    for (int v = 0; v < 2; v++) {
        const __m256 low = _mm256_permutevar8x32_ps(_mm256_load_ps(row), at[v]);
        const __m256 middle = _mm256_permutevar8x32_ps(_mm256_load_ps(row + 8), at[v]);
        const __m256 high = _mm256_permutevar8x32_ps(_mm256_load_ps(row + 16), at[v]);
        const __m256 bit3 = _mm256_castsi256_ps(_mm256_slli_epi32(at[v], 28));
        const __m256 bit4 = _mm256_castsi256_ps(_mm256_slli_epi32(at[v], 27));
        found[v] = _mm256_blendv_ps(_mm256_blendv_ps(low, middle, bit3), high, bit4);
    }
    return load_f((const float *)found);
#else
    vec_f out;
    for (int l = 0; l < 16; l++) out[l] = row[index[l]];
    return out;
#endif
}

/* ---- costs ------------------------------------------------------------------------------------------------------ */

/* What the cost model of choose.c knows, in cycles; measured, but for those of NEON, which are numbers of instructions
 * over three, no processor being at hand, and for rows a little more: the end of a walk over bits is hard to predict */
#if defined(FRBM_I8MM)
#define FRBM_COSTS .look_cost = 0.058f, .build_cost = 2.0f, .row_cost = 0.22f, .tile_cost = 0.0145f
#elif defined(FRBM_NEON)
#define FRBM_COSTS .look_cost = 0.058f, .build_cost = 2.0f, .row_cost = 0.22f
#elif defined(FRBM_TILES)
/* of one Xeon, which has permutes on one port; what it was not seen to do is as in AVX-512 */
#define FRBM_COSTS \
    .look_cost = 0.015f, .int16_cost = 0.006f, .build_cost = 1.2f, .row_cost = 0.067f, .tile_cost = 0.00175f
#elif defined(FRBM_AVX512)
#define FRBM_COSTS .look_cost = 0.0097f, .int16_cost = 0.0045f, .build_cost = 0.6f, .row_cost = 0.067f
#elif defined(FRBM_AVX2)
#define FRBM_COSTS .look_cost = 0.060f, .build_cost = 1.0f, .row_cost = 0.14f
#else
#define FRBM_COSTS .look_cost = 0.14f, .build_cost = 1.0f, .row_cost = 0.24f
#endif

#endif
