/* Uniforms and normal draws of whole rows. */
#ifndef FASTRBM_NORMAL_H
#define FASTRBM_NORMAL_H

#include "kernels.h"
#include "philox.h"
#include "simd.h"

/* The uniforms of fastrbm._kernels.draws.uniforms, bit for bit: float32 from 23 bits, float64 from 32. */
static void uniform_rows(void *out, int is_double, size_t ld, size_t n_rows, size_t n_units, const frbm_draw *draw) {
    const philox_step step = philox_step_of(draw);
    if (n_units < 16) { /* 16 rows at once instead of 64 units */
        for (size_t row = 0; row < n_rows; row += 16)
            for (size_t unit = 0; unit < n_units; unit += 4) {
                const size_t rows = n_rows - row < 16 ? n_rows - row : 16, units = n_units - unit < 4 ? n_units - unit : 4;
                uint32_t words[4][16];
                philox_lanes(words, (uint32_t)(unit / 4), draw->first_chain + (uint32_t)row, &step);
                for (size_t r = 0; r < rows; r++)
                    for (size_t u = 0; u < units; u++) {
                        const size_t at = (row + r) * ld + unit + u;
                        if (is_double)
                            ((double *)out)[at] = ((double)words[u][r] + 0.5) * 2.3283064365386963e-10;
                        else
                            ((float *)out)[at] = uniform_lane(words[u][r]);
                    }
            }
        return;
    }
    for (size_t r = 0; r < n_rows; r++)
        for (size_t first = 0; first < n_units; first += 64) {
            const size_t here = n_units - first < 64 ? n_units - first : 64;
            uint32_t words[64];
            philox_row(words, (uint32_t)(first / 4), draw->first_chain + (uint32_t)r, &step);
            if (is_double) {
                double *to = (double *)out + r * ld + first;
                for (size_t i = 0; i < here; i++) to[i] = ((double)words[i] + 0.5) * 2.3283064365386963e-10;
            } else {
                float *to = (float *)out + r * ld + first;
                for (size_t i = 0; i < here; i++) to[i] = uniform_lane(words[i]);
            }
        }
}

/* Normal quantile of q = (k + 1/2) 2^-23, k < 2^22: k + 1/2 = 2^e (3/2 + t), e = -1 ... 21, and for each octave e a
 * polynomial in t, |t| <= 1/2, that interpolates the quantile at Chebyshev nodes.  No logarithm or root, and the error
 * is below 8e-7 over all k, most of it the rounding of values up to 5.3.  [power][octave], padded for permutations. */
static const float QUANTILE[7][32] __attribute__((aligned(64))) = {
    {-5.22011328f, -5.09023094f, -4.95717478f, -4.82070589f, -4.68055296f, -4.53640795f, -4.387918f, -4.23467541f,
     -4.07620668f, -3.91195297f, -3.74125242f, -3.56330776f, -3.37714601f, -3.18155956f, -2.97502065f, -2.75554895f,
     -2.52050233f, -2.26622677f, -1.98742783f, -1.67593968f, -1.31801093f, -0.887146533f, -0.318639368f},
    {0.123467118f, 0.126413316f, 0.129576385f, 0.132983953f, 0.136668831f, 0.14067024f, 0.145035595f, 0.149822772f,
     0.155103236f, 0.160966501f, 0.167526275f, 0.174929515f, 0.183370054f, 0.193109363f, 0.204510003f, 0.218091398f,
     0.234628126f, 0.255334526f, 0.282241702f, 0.319054544f, 0.373417526f, 0.464415848f, 0.659298003f},
    {-0.0397878624f, -0.0406715982f, -0.0416154005f, -0.0426262692f, -0.0437123701f, -0.0448833071f, -0.0461504646f,
     -0.0475274138f, -0.0490305088f, -0.0506796055f, -0.0524990559f, -0.0545190498f, -0.0567774028f, -0.0593219958f,
     -0.0622140244f, -0.0655321777f, -0.0693772212f, -0.0738741532f, -0.0791597143f, -0.0853020474f, -0.0918926448f,
     -0.0956718475f, -0.0692545101f},
    {0.0173177887f, 0.017690463f, 0.0180876423f, 0.0185120814f, 0.018966984f, 0.0194560923f, 0.0199838132f,
     0.0205553733f, 0.0211770143f, 0.0218562614f, 0.0226022713f, 0.023426285f, 0.0243422575f, 0.0253676996f,
     0.0265248362f, 0.0278421808f, 0.0293566678f, 0.0311164726f, 0.0331847221f, 0.0356461555f, 0.0386419967f,
     0.0427706279f, 0.0572370775f},
    {-0.00856404193f, -0.00874461606f, -0.0089368159f, -0.00914192107f, -0.00936141331f, -0.00959701836f,
     -0.00985076185f, -0.0101250345f, -0.0104226824f, -0.0107471189f, -0.0111024752f, -0.0114937974f, -0.011927315f,
     -0.0124107962f, -0.0129540395f, -0.0135695469f, -0.0142734358f, -0.0150866695f, -0.0160366204f, -0.0171587486f,
     -0.0184958447f, -0.0200404413f, -0.0189638734f},
    {0.0052632778f, 0.00537225045f, 0.00548810977f, 0.00561159896f, 0.00574357715f, 0.00588504178f, 0.00603715982f,
     0.0062013045f, 0.00637910375f, 0.00657250406f, 0.00678384909f, 0.00701599149f, 0.00727243256f, 0.00755751831f,
     0.00787670072f, 0.00823689904f, 0.0086469911f, 0.00911848433f, 0.00966639724f, 0.0103103472f, 0.0110757928f,
     0.0120022502f, 0.0141017642f},
    {-0.00292849983f, -0.00298844837f, -0.00305214152f, -0.00311997882f, -0.00319242128f, -0.00327000255f,
     -0.00335334684f, -0.00344318617f, -0.00354038738f, -0.00364598329f, -0.00376121537f, -0.00388758956f,
     -0.00402694894f, -0.00418157456f, -0.00435431721f, -0.00454878341f, -0.00476958463f, -0.00502268225f,
     -0.0053158463f, -0.00565923844f, -0.00606605085f, -0.00655198097f, -0.00681531196f}};

/* Normal quantile of uniform_lane of 16 words */
INLINE vec_f normal_vec(vec_u words) {
    const vec_u cell = words >> 9, upper = 0u - (cell >> 22);
    const vec_f x = __builtin_convertvector((vec_i)((cell ^ upper) & 0x3FFFFFu), vec_f) + 0.5f;
    const vec_u octave = ((vec_u)x >> 23) - 126u;
    const vec_f t = (vec_f)(((vec_u)x & 0x7FFFFFu) | 0x3F800000u) - 1.5f;
    vec_f z = pick_of_24(QUANTILE[6], octave);
    for (int power = 5; power >= 0; power--) z = z * t + pick_of_24(QUANTILE[power], octave);
    return (vec_f)((vec_u)z ^ (upper << 31));
}

/* out = quantiles of the words' uniforms, n a multiple of 16 */
static void normal_quantiles(const uint32_t *words, size_t n, float *out) {
    for (size_t i = 0; i < n; i += 16) {
        const vec_u w = load_u(words + i);
        const vec_f z = normal_vec(w);
        STORE(out + i, z);
    }
}

/* rows += standard normal draws, the quantiles of their float32 uniforms */
static void add_normals(float *rows, size_t ld, size_t n_rows, size_t n_units, const frbm_draw *draw) {
    const philox_step step = philox_step_of(draw);
    for (size_t r = 0; r < n_rows; r++)
        for (size_t first = 0; first < n_units; first += 64) {
            const size_t here = n_units - first < 64 ? n_units - first : 64;
            uint32_t words[64];
            float sums[64] = {0};
            float *to = rows + r * ld + first;
            philox_row(words, (uint32_t)(first / 4), draw->first_chain + (uint32_t)r, &step);
            float *at = to;
            if (here < 64) {
                memcpy(sums, to, here * sizeof(float));
                at = sums;
            }
            for (int v = 0; v < 64; v += 16) {
                const vec_u w = load_u(words + v);
                const vec_f sum = load_f(at + v) + normal_vec(w);
                STORE(at + v, sum);
            }
            if (here < 64) memcpy(to, sums, here * sizeof(float));
        }
}

#endif
