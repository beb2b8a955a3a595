/* One vocabulary of vectors for all instruction sets: types, loads, masks, and the few operations that plain C does not
 * compile to.  This is the only file that asks for the instruction set, but for whole alternatives of an algorithm,
 * each of which stands in one place: lookup.h, int16.h, int16_filter.h, coincidences.h, decide.h, exact_sum in
 * filters.h, and tile_unit.h with what is built on it.
 *
 * FRBM_AVX512 or FRBM_AVX2 say what a build may use; neither means the baseline, which is SSE2 on x86-64 and plain C
 * elsewhere.  Every operation gives the same bits on all of them, but fused_f and fused_d.
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
#define N_REGISTERS 16
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
#else
INLINE reg_u min_u(reg_u a, reg_u b) {
    const reg_u less = (reg_u)(a < b);
    return (a & less) | (b & ~less);
}
#endif
INLINE int any_below_u(reg_u a, uint32_t limit) {
    const reg_i below = a < limit;
    return MASK_32(below) != 0;
}
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
#else
INLINE reg_f fused_f(reg_f a, reg_f b, reg_f c) { return a * b + c; }
INLINE reg_d fused_d(reg_d a, reg_d b, reg_d c) { return a * b + c; }
#endif

/* Products of the lower halves of 64-bit elements */
INLINE reg_ul multiply_low(reg_ul a, reg_ul b) {
#if defined(FRBM_AVX512)
    return (reg_ul)_mm512_mul_epu32((__m512i)a, (__m512i)b);
#elif defined(FRBM_AVX2)
    return (reg_ul)_mm256_mul_epu32((__m256i)a, (__m256i)b);
#elif defined(__SSE2__)
    return (reg_ul)_mm_mul_epu32((__m128i)a, (__m128i)b);
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
#else
    reg_i out;
    for (int l = 0; l < REGISTER / 4; l++)
        out[l] = (int16_t)a * (int16_t)b[l] + ((int32_t)a >> 16) * (b[l] >> 16);
    return out;
#endif
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

/* ---- transposes of squares in registers ---------------------------------------------------------------------- */

/* out[column][row] = in[row][column] of n rows and columns, row by row */
INLINE void transpose_plain(const int n, const int32_t *in, size_t ld, int32_t *out, size_t out_ld) {
    for (int i = 0; i < n; i++)
        for (int r = 0; r < n; r++) out[(size_t)i * out_ld + (size_t)r] = in[(size_t)r * ld + (size_t)i];
}

#ifdef FRBM_AVX512
#define HAS_SQUARES_OF_16 1
INLINE void transpose_16(const int32_t *in, size_t ld, int32_t *out, size_t out_ld) {
    __m512i a[16], b[16];
    for (int r = 0; r < 16; r++) a[r] = _mm512_loadu_si512(in + (size_t)r * ld);
    for (int r = 0; r < 16; r += 2) {
        b[r] = _mm512_unpacklo_epi32(a[r], a[r + 1]);
        b[r + 1] = _mm512_unpackhi_epi32(a[r], a[r + 1]);
    }
    for (int r = 0; r < 16; r += 4) {
        a[r] = _mm512_unpacklo_epi64(b[r], b[r + 2]);
        a[r + 1] = _mm512_unpackhi_epi64(b[r], b[r + 2]);
        a[r + 2] = _mm512_unpacklo_epi64(b[r + 1], b[r + 3]);
        a[r + 3] = _mm512_unpackhi_epi64(b[r + 1], b[r + 3]);
    }
    /* a[4 q + c]: quarter x holds column 4 x + c of rows 4 q .. 4 q + 3 */
    for (int c = 0; c < 4; c++) {
        const __m512i low01 = _mm512_shuffle_i32x4(a[c], a[4 + c], 0x44);
        const __m512i high01 = _mm512_shuffle_i32x4(a[c], a[4 + c], 0xEE);
        const __m512i low23 = _mm512_shuffle_i32x4(a[8 + c], a[12 + c], 0x44);
        const __m512i high23 = _mm512_shuffle_i32x4(a[8 + c], a[12 + c], 0xEE);
        b[c] = _mm512_shuffle_i32x4(low01, low23, 0x88);
        b[4 + c] = _mm512_shuffle_i32x4(low01, low23, 0xDD);
        b[8 + c] = _mm512_shuffle_i32x4(high01, high23, 0x88);
        b[12 + c] = _mm512_shuffle_i32x4(high01, high23, 0xDD);
    }
    for (int c = 0; c < 16; c++) _mm512_storeu_si512(out + (size_t)c * out_ld, b[c]);
}
#else
#define HAS_SQUARES_OF_16 0
INLINE void transpose_16(const int32_t *in, size_t ld, int32_t *out, size_t out_ld) {
    transpose_plain(16, in, ld, out, out_ld);
}
#endif

#ifdef __SSE2__
#define HAS_SQUARES_OF_4 1
INLINE void transpose_4(const int32_t *in, size_t ld, int32_t *out, size_t out_ld) {
    __m128i a[4];
    for (int r = 0; r < 4; r++) a[r] = _mm_loadu_si128((const __m128i *)(in + (size_t)r * ld));
    const __m128i low01 = _mm_unpacklo_epi32(a[0], a[1]), low23 = _mm_unpacklo_epi32(a[2], a[3]);
    const __m128i high01 = _mm_unpackhi_epi32(a[0], a[1]), high23 = _mm_unpackhi_epi32(a[2], a[3]);
    _mm_storeu_si128((__m128i *)out, _mm_unpacklo_epi64(low01, low23));
    _mm_storeu_si128((__m128i *)(out + out_ld), _mm_unpackhi_epi64(low01, low23));
    _mm_storeu_si128((__m128i *)(out + 2 * out_ld), _mm_unpacklo_epi64(high01, high23));
    _mm_storeu_si128((__m128i *)(out + 3 * out_ld), _mm_unpackhi_epi64(high01, high23));
}
#else
#define HAS_SQUARES_OF_4 0
INLINE void transpose_4(const int32_t *in, size_t ld, int32_t *out, size_t out_ld) {
    transpose_plain(4, in, ld, out, out_ld);
}
#endif

/* ---- costs ------------------------------------------------------------------------------------------------------ */

/* What the cost model of choose.c knows, in cycles; measured */
#if defined(FRBM_TILES)
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
