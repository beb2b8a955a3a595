/* One vocabulary of vectors for all instruction sets: types, loads, masks, and the few operations that no plain C
 * compiles to.  This is the only file with conditions on instruction sets, but for whole alternatives of an algorithm, each
 * of which stands in one place: lookup.h, int16.h, int16_filter.h, coincidences.h, philox.h.
 *
 * FRBM_AVX512 and FRBM_AVX2 say what a build may use; neither: the baseline, SSE2 on x86-64 and plain C elsewhere.
 */
#ifndef FASTRBM_SIMD_H
#define FASTRBM_SIMD_H

#include <stdint.h>
#include <string.h>

#if defined(FRBM_AVX512) || defined(FRBM_AVX2)
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))

/* 16 elements whatever the registers are: the compiler takes as many as it needs */
typedef float vec_f __attribute__((vector_size(64)));
typedef int32_t vec_i __attribute__((vector_size(64)));
typedef uint32_t vec_u __attribute__((vector_size(64)));

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

INLINE vec_f load_f(const float *p) {
    vec_f v;
    memcpy(&v, p, sizeof v);
    return v;
}

INLINE vec_f select_f(vec_i mask, vec_f yes, vec_f no) { return (vec_f)((mask & (vec_i)yes) | (~mask & (vec_i)no)); }

/* bit l of the result = sign bit of x[l] */
INLINE uint32_t sign_mask(const int32_t *x) {
#if defined(FRBM_AVX512)
    return _mm512_movepi32_mask(_mm512_loadu_si512(x));
#elif defined(FRBM_AVX2)
    const uint32_t low = (uint32_t)_mm256_movemask_ps(_mm256_loadu_ps((const float *)x));
    return low | (uint32_t)_mm256_movemask_ps(_mm256_loadu_ps((const float *)(x + 8))) << 8;
#else
    uint32_t mask = 0;
    for (int l = 0; l < 16; l++) mask |= (uint32_t)(x[l] < 0) << l;
    return mask;
#endif
}

/* One register each: wider vectors compile badly in comparisons */
#if defined(FRBM_AVX512)
#define REGISTER 64
#define MASK_32(x) _mm512_movepi32_mask((__m512i)(x))
#define MASK_64(x) _mm512_movepi64_mask((__m512i)(x))
#define MASK_8(x) _mm512_movepi8_mask((__m512i)(x))
#elif defined(FRBM_AVX2)
#define REGISTER 32
#define MASK_32(x) _mm256_movemask_ps((__m256)(x))
#define MASK_64(x) _mm256_movemask_pd((__m256d)(x))
#define MASK_8(x) (uint32_t)_mm256_movemask_epi8((__m256i)(x))
#elif defined(__SSE2__)
#include <emmintrin.h>
#define REGISTER 16
#define MASK_32(x) _mm_movemask_ps((__m128)(x))
#define MASK_64(x) _mm_movemask_pd((__m128d)(x))
#define MASK_8(x) _mm_movemask_epi8((__m128i)(x))
#else
#define REGISTER 16
INLINE uint64_t top_bits(const uint8_t *x, int step) {
    uint64_t mask = 0;
    for (int l = 0; l * step < 16; l++) mask |= (uint64_t)(x[(l + 1) * step - 1] >> 7) << l;
    return mask;
}
#define MASK_32(x) top_bits((const uint8_t *)&(x), 4)
#define MASK_64(x) top_bits((const uint8_t *)&(x), 8)
#define MASK_8(x) top_bits((const uint8_t *)&(x), 1)
#endif
typedef float reg_f __attribute__((vector_size(REGISTER)));
typedef int32_t reg_i __attribute__((vector_size(REGISTER)));
typedef uint32_t reg_u __attribute__((vector_size(REGISTER)));
typedef double reg_d __attribute__((vector_size(REGISTER)));
typedef int64_t reg_l __attribute__((vector_size(REGISTER)));
typedef uint8_t reg_b __attribute__((vector_size(REGISTER)));

#endif
