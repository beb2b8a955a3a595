/* Operations that C has not, or defines otherwise. */
#ifndef PTX_NUMBERS_H
#define PTX_NUMBERS_H

#define NUMBER static inline __attribute__((unused))

/* Floats and their bits; there is one NaN. */
NUMBER float f32(uint32_t bits) {
    float x;
    memcpy(&x, &bits, 4);
    return x;
}
NUMBER double f64(uint64_t bits) {
    double x;
    memcpy(&x, &bits, 8);
    return x;
}
NUMBER uint32_t b32(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    return x != x ? 0x7fffffffu : bits;
}
NUMBER uint64_t b64(double x) {
    uint64_t bits;
    memcpy(&bits, &x, 8);
    return x != x ? 0x7fffffffffffffffULL : bits;
}

/* The other one if one is NaN; -0 is below 0. */
#define EXTREMES(T, NAME, BITS) \
    NUMBER T min_##NAME(T a, T b) { return a != a ? b : b != b || a < b || (a == b && signbit(a)) ? a : b; } \
    NUMBER T max_##NAME(T a, T b) { return a != a ? b : b != b || a > b || (a == b && !signbit(a)) ? a : b; }
EXTREMES(float, f32, 32)
EXTREMES(double, f64, 64)
#undef EXTREMES

/* Integers of floats keep to their range; NaN is 0, or the upper bit where 64 bits are in play. */
#define INTEGER_OF(T, NAME, F, LEAST, MOST, NAN_) \
    NUMBER T NAME(F x) { \
        return x != x ? (T)(NAN_) : x <= (F)(LEAST) ? (T)(LEAST) : x >= (F)(MOST) ? (T)(MOST) : (T)x; \
    }
INTEGER_OF(int32_t, s32_of_f32, float, INT32_MIN, INT32_MAX, 0)
INTEGER_OF(uint32_t, u32_of_f32, float, 0, UINT32_MAX, 0)
INTEGER_OF(int64_t, s64_of_f32, float, INT64_MIN, INT64_MAX, INT64_MIN)
INTEGER_OF(uint64_t, u64_of_f32, float, 0, UINT64_MAX, 1ULL << 63)
INTEGER_OF(int32_t, s32_of_f64, double, INT32_MIN, INT32_MAX, INT32_MIN)
INTEGER_OF(uint32_t, u32_of_f64, double, 0, UINT32_MAX, 1u << 31)
INTEGER_OF(int64_t, s64_of_f64, double, INT64_MIN, INT64_MAX, INT64_MIN)
INTEGER_OF(uint64_t, u64_of_f64, double, 0, UINT64_MAX, 1ULL << 63)
#undef INTEGER_OF

#define DIVISION(T, NAME, IS_SIGNED) \
    CALLED T div_##NAME(Thread *t, T a, T b, int line) { \
        if (!b) report(DIVISION_BY_ZERO, t, line, 0, 0); \
        if (!b) return (T)-1; \
        return IS_SIGNED && b == (T)-1 ? (T)(0 - (uint64_t)a) : a / b; \
    } \
    CALLED T rem_##NAME(Thread *t, T a, T b, int line) { \
        if (!b) report(DIVISION_BY_ZERO, t, line, 0, 0); \
        if (!b) return a; \
        return IS_SIGNED && b == (T)-1 ? 0 : a % b; \
    }
DIVISION(int16_t, s16, 1)
DIVISION(uint16_t, u16, 0)
DIVISION(int32_t, s32, 1)
DIVISION(uint32_t, u32, 0)
DIVISION(int64_t, s64, 1)
DIVISION(uint64_t, u64, 0)
#undef DIVISION

NUMBER uint64_t reversed(uint64_t x, int bits) {
    uint64_t y = 0;
    for (int k = 0; k < bits; k++) y |= (x >> k & 1) << (bits - 1 - k);
    return y;
}

/* Bytes of two words by four selectors, of which bit 3 asks for the sign of the byte eight times. */
CALLED uint32_t permuted(uint32_t a, uint32_t b, uint32_t selectors) {
    const uint64_t both = (uint64_t)b << 32 | a;
    uint32_t result = 0;
    for (int k = 0; k < 4; k++) {
        const uint32_t selector = selectors >> 4 * k & 15, byte = both >> 8 * (selector & 7) & 255;
        result |= (selector & 8 ? byte >> 7 ? 255u : 0u : byte) << 8 * k;
    }
    return result;
}

NUMBER uint64_t low_bits(uint32_t n) { return n >= 64 ? ~0ULL : (1ULL << n) - 1; }

/* `field` put into `into`; place and width are taken from eight bits. */
CALLED uint64_t inserted(uint64_t field, uint64_t into, uint32_t place, uint32_t width, int bits) {
    place &= 255, width &= 255;
    if (place >= (uint32_t)bits) return into;
    const uint64_t mask = low_bits(width) << place;
    return ((into & ~mask) | (field << place & mask)) & low_bits((uint32_t)bits);
}

CALLED uint64_t extracted(uint64_t x, uint32_t place, uint32_t width, int bits, int is_signed) {
    place &= 255, width &= 255;
    const uint32_t top = (uint32_t)bits - 1, last = place + width - 1 < top ? place + width - 1 : top;
    const uint64_t sign = is_signed && width ? x >> last & 1 : 0;
    uint64_t result = 0;
    for (uint32_t k = 0; k < (uint32_t)bits; k++) {
        const uint64_t inside = k < width && place + k <= top;
        result |= (inside ? x >> (place + k) & 1 : sign) << k;
    }
    return result;
}

/* Approximations: the rounded value, moved by `off_by` units; powers of two stay, as those of integers are exact on
 * devices and the compiler's library relies on it. */
NUMBER float flushed(float x) { return fabsf(x) < 0x1p-126f ? copysignf(0, x) : x; }
NUMBER uint32_t moved(float x) {
    const uint32_t bits = b32(x);
    return isfinite(x) && bits << 9 ? bits + (uint32_t)off_by : bits;
}
NUMBER uint32_t near_ex2_f32(float x) { return moved(flushed((float)exp2((double)flushed(x)))); }
NUMBER uint32_t near_lg2_f32(float x) { return moved((float)log2((double)flushed(x))); }
NUMBER uint32_t near_rcp_f32(float x) { return moved(flushed((float)(1.0 / flushed(x)))); }
NUMBER uint32_t near_rsqrt_f32(float x) { return moved((float)(1.0 / sqrt((double)flushed(x)))); }

/* Those of float64 take and give the upper word alone, but for the root that has no .ftz. */
NUMBER double upper_word(double x) { return f64(b64(x) & 0xffffffff00000000ULL); }
NUMBER uint64_t moved_upper(double x) {
    const uint64_t bits = b64(upper_word(x));
    return bits << 12 ? bits + ((uint64_t)(int64_t)off_by << 32) : bits;
}
NUMBER uint64_t near_rcp_f64(double x) {
    x = upper_word(x);
    if (x != x) return b64(x);
    if (isinf(x)) return b64(copysign(0, x));
    if (fabs(x) < 0x1p-1022) return b64(copysign(INFINITY, x));
    return fabs(1 / x) < 0x1p-1022 ? b64(copysign(0, x)) : moved_upper(1 / x);
}
NUMBER uint64_t near_rsqrt_f64(double x) {
    x = upper_word(x);
    if (fabs(x) < 0x1p-1022) x = copysign(0, x);
    return x > 0 && !isinf(x) ? moved_upper(1 / sqrt(x)) : b64(1 / sqrt(x));
}
NUMBER uint64_t near_rsqrt_all_f64(double x) {
    const uint64_t bits = b64(1 / sqrt(x));
    return x > 0 && !isinf(x) && bits << 12 ? bits + (uint64_t)(int64_t)off_by : bits;
}

#endif
