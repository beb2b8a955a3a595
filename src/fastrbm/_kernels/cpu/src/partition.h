/* Exact partition sums: the states of one block, in float32 or float64.  Included by tiles.c for each target, once with
 * FRBM_IS_DOUBLE 0 and once with 1.
 *
 * With the bits of a state split into high and low ones, x_i = A_i(high) + S_i the largest input of unit i over the low
 * bits, B_i(low) - S_i = log2 Y_i <= 0 what the low bits take from it, all to base 2,
 *     1 + 2^(A_i + B_i) = 2^max(x_i, 0) (P_i + Q_i Y_i),   (P, Q) = (1, 2^x) if x <= 0, (2^-x, 1) if x > 0.
 * Y is a table made once, P and Q are made once per high state, so that a factor costs one multiply-add and one
 * multiplication and no exp or log.  1 or Y being exact in it, so is the larger summand of a factor.  Factors lie in
 * [least Y, 2]; `stops` says where products must give up their exponent, to an integer, before they can leave the
 * range.  Inputs and all sums are float64: where 2^-x and Y cancel neither, 2^-x needs more digits of x than float32
 * has.
 *
 * Lanes are low states, so nothing is ever summed across them but the weights of the states.  Fused multiply-adds are
 * used where there are any: results differ in their last bits between instruction sets, never between thread counts.
 */
#include "partition_math.h"

#if FRBM_IS_DOUBLE
#define REAL double
#define INT int64_t
#define NAME(x) x##_f64
#define MANTISSA 52
#define ONE_BITS 0x3FF0000000000000
#define BIAS 1023
#define LEAST (-1020.0) /* 2^t below this counts as 0; the least Y is 2^96 times as large */
#else
#define REAL float
#define INT int32_t
#define NAME(x) x##_f32
#define MANTISSA 23
#define ONE_BITS 0x3F800000
#define BIAS 127
#define LEAST (-125.0) /* the least Y is 2^32 times as large */
#endif

#define VEC NAME(partition_vec)
#define IVEC NAME(partition_ivec)
#define LANES (FRBM_REGISTER / sizeof(REAL))
#define TILE 4 /* registers of low states */

typedef REAL VEC __attribute__((vector_size(FRBM_REGISTER)));
typedef INT IVEC __attribute__((vector_size(FRBM_REGISTER)));

/* What 8 values are in the inner precision; half a register or whole ones */
typedef REAL NAME(partition_eight) __attribute__((vector_size(8 * sizeof(REAL))));
typedef INT NAME(partition_eight_i) __attribute__((vector_size(8 * sizeof(REAL))));

INLINE VEC NAME(load_vec)(const REAL *p) {
    VEC v;
    memcpy(&v, p, sizeof v);
    return v;
}

INLINE VEC NAME(multiply_add)(VEC a, VEC b, VEC c) {
#if defined(FRBM_AVX512) && FRBM_IS_DOUBLE
    return (VEC)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
#elif defined(FRBM_AVX512)
    return (VEC)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(FRBM_AVX2) && FRBM_IS_DOUBLE
    return (VEC)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
#elif defined(FRBM_AVX2)
    return (VEC)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
    return a * b + c;
#endif
}

/* Mantissa in [1, 2) in place of f, its biased exponent added to e */
INLINE void NAME(strip)(VEC *f, IVEC *e) {
    const IVEC bits = (IVEC)*f;
    *e += bits >> MANTISSA;
    *f = (VEC)((bits & (((INT)1 << MANTISSA) - 1)) | ONE_BITS);
}

/* input += sign * row; P and Q of all units; returns the sum of max(x, 0) */
INLINE double NAME(prepare)(double *input, const double *row, double sign, size_t ld, REAL *P, REAL *Q) {
    vec_d total = {0};
    for (size_t i = 0; i < ld; i += 8) {
        const vec_d x = fma_d(load_d(row + i), (vec_d){0} + sign, load_d(input + i));
        memcpy(input + i, &x, sizeof x);
        const vec_l on = x > 0.0;
        total += (vec_d)((vec_l)x & on);
        const vec_d t = (vec_d)((vec_l)x | INT64_MIN);
        const vec_l keep = t > LEAST;
        vec_d p = exp2_d((vec_d)(((vec_l)t & keep)));
        p = (vec_d)((vec_l)p & keep);
        const vec_d one = (vec_d){0} + 1.0;
        const NAME(partition_eight) here_p = __builtin_convertvector(select_d(on, p, one), NAME(partition_eight));
        const NAME(partition_eight) here_q = __builtin_convertvector(select_d(on, one, p), NAME(partition_eight));
        memcpy(P + i, &here_p, sizeof here_p);
        memcpy(Q + i, &here_q, sizeof here_q);
    }
    return add_lanes(total);
}

/* Products over all units for `n_high` high states (a constant) and TILE registers of low states: mantissas and
 * exponents to m and e, [high][FRBM_PARTITION_LANES] */
INLINE void NAME(tile)(const frbm_partition *a, const int n_high, const REAL *y, const REAL *pq, REAL *m,
                       INT *e) {
    VEC f[FRBM_PARTITION_HIGH][TILE];
    IVEC exponent[FRBM_PARTITION_HIGH][TILE];
#pragma GCC unroll 4
    for (int h = 0; h < n_high; h++)
#pragma GCC unroll 4
        for (int v = 0; v < TILE; v++) {
            f[h][v] = (VEC){0} + (REAL)1;
            exponent[h][v] = (IVEC){0} - (INT)(a->n_stops * BIAS);
        }
    size_t i = 0;
    for (size_t stop = 0; stop < a->n_stops; stop++) {
        for (; i < a->stops[stop]; i++) {
            const REAL *row = y + i * FRBM_PARTITION_LANES;
            VEC Y[TILE];
#pragma GCC unroll 4
            for (int v = 0; v < TILE; v++) Y[v] = NAME(load_vec)(row + v * LANES);
#pragma GCC unroll 4
            for (int h = 0; h < n_high; h++) {
                const VEC P = (VEC){0} + pq[2 * h * a->ld + i], Q = (VEC){0} + pq[(2 * h + 1) * a->ld + i];
#pragma GCC unroll 4
                for (int v = 0; v < TILE; v++) f[h][v] *= NAME(multiply_add)(Q, Y[v], P);
            }
        }
#pragma GCC unroll 4
        for (int h = 0; h < n_high; h++)
#pragma GCC unroll 4
            for (int v = 0; v < TILE; v++) NAME(strip)(&f[h][v], &exponent[h][v]);
    }
#pragma GCC unroll 4
    for (int h = 0; h < n_high; h++) {
        memcpy(m + h * FRBM_PARTITION_LANES, f[h], sizeof f[h]);
        memcpy(e + h * FRBM_PARTITION_LANES, exponent[h], sizeof exponent[h]);
    }
}

/* Weights of FRBM_PARTITION_LANES low states of one high state, mantissa * 2^exponent each, added to a sum */
INLINE void NAME(add_states)(const frbm_partition *a, size_t group, const REAL *m, const INT *e,
                             const partition_high *high, partition_total *sum) {
    const size_t first = group * FRBM_PARTITION_LANES;
    vec_d weight[FRBM_PARTITION_LANES / 8];
    vec_l exponent[FRBM_PARTITION_LANES / 8], largest = (vec_l){0} + INT64_MIN;
    for (int v = 0; v < FRBM_PARTITION_LANES / 8; v++) {
        NAME(partition_eight) here_m;
        NAME(partition_eight_i) here_e;
        memcpy(&here_m, m + 8 * v, sizeof here_m);
        memcpy(&here_e, e + 8 * v, sizeof here_e);
        vec_l low;
        memcpy(&low, a->low_exponent + first + 8 * v, sizeof low);
        weight[v] = __builtin_convertvector(here_m, vec_d) * load_d(a->low_mantissa + first + 8 * v) * high->mantissa;
        exponent[v] = __builtin_convertvector(here_e, vec_l) + low + high->exponent;
        const vec_l more = exponent[v] > largest;
        largest = (exponent[v] & more) | (largest & ~more);
    }
    add_weights(sum, weight, exponent, largest);
    if (a->log_weights)
        for (size_t s = 0; s < FRBM_PARTITION_LANES && first + s < a->n_low_states; s++)
            a->log_weights[high->state | a->low_state[first + s]] =
                LN2 * ((double)exponent[s / 8][s % 8] + log2(weight[s / 8][s % 8]));
}

/* All low states of `n_high` high states */
INLINE void NAME(high_states)(const frbm_partition *a, const int n_high, const REAL *pq,
                              const partition_high *high, partition_total *sum) {
    REAL m[FRBM_PARTITION_HIGH * FRBM_PARTITION_LANES] __attribute__((aligned(64)));
    INT e[FRBM_PARTITION_HIGH * FRBM_PARTITION_LANES] __attribute__((aligned(64)));
    const REAL *table = a->table_y;
    for (size_t group = 0; group * FRBM_PARTITION_LANES < a->n_low_states; group++) {
        const REAL *y = table + group * FRBM_PARTITION_LANES * a->n_units;
        for (size_t lane = 0; lane < FRBM_PARTITION_LANES; lane += TILE * LANES)
            NAME(tile)(a, n_high, y + lane, pq, m + lane, e + lane);
        for (int h = 0; h < n_high; h++)
            NAME(add_states)(a, group, m + h * FRBM_PARTITION_LANES, e + h * FRBM_PARTITION_LANES, &high[h], sum);
    }
}

/* The one state of a high state where no bit is low: lanes are units */
INLINE void NAME(single_state)(const frbm_partition *a, const REAL *pq, const partition_high *high,
                               partition_total *sum) {
    VEC f = (VEC){0} + (REAL)1;
    IVEC e = {0};
    size_t strips = 0;
    for (size_t i = 0; i < a->ld;) {
        for (size_t stop = i + 64 * LANES; i < stop && i < a->ld; i += LANES)
            f *= NAME(load_vec)(pq + i) + NAME(load_vec)(pq + a->ld + i);
        NAME(strip)(&f, &e);
        strips++;
    }
    double mantissa = high->mantissa;
    int64_t exponent = high->exponent - (int64_t)(strips * LANES * BIAS);
    for (size_t l = 0; l < LANES; l++) {
        mantissa *= (double)f[l];
        exponent += (int64_t)e[l];
    }
    vec_d weight[FRBM_PARTITION_LANES / 8] = {{0}};
    vec_l exponents[FRBM_PARTITION_LANES / 8] = {{0}};
    weight[0][0] = mantissa;
    for (int v = 0; v < FRBM_PARTITION_LANES / 8; v++) exponents[v] += exponent;
    add_weights(sum, weight, exponents, exponents[0]);
    if (a->log_weights) a->log_weights[high->state] = LN2 * ((double)exponent + log2(mantissa));
}

/* All states whose high bits from block_bits upwards are those of `block`, the others in Gray order */
static void NAME(partition_block)(const frbm_partition *a, size_t block, void *scratch) {
    double *input = scratch;
    REAL *pq = (REAL *)(input + a->ld);
    partition_total sum = {{0}, INT64_MIN / 2};
    partition_high high[FRBM_PARTITION_HIGH];
    const size_t n_steps = (size_t)1 << a->block_bits;
    const int together = n_steps < FRBM_PARTITION_HIGH || a->n_low_states == 1 ? 1 : FRBM_PARTITION_HIGH;
    partition_start walk = start_block(a, block, input);
    for (size_t step = 0; step < n_steps; step += (size_t)together) {
        for (int h = 0; h < together; h++) {
            double sign;
            const double *row = next_state(a, step + (size_t)h, &walk, &sign);
            REAL *P = pq + 2 * (size_t)h * a->ld;
            high[h] = high_weight(walk.bias + NAME(prepare)(input, row, sign, a->ld, P, P + a->ld), walk.state);
        }
        if (a->n_low_states == 1)
            NAME(single_state)(a, pq, high, &sum);
        else if (together == 1)
            NAME(high_states)(a, 1, pq, high, &sum);
        else
            NAME(high_states)(a, FRBM_PARTITION_HIGH, pq, high, &sum);
    }
    a->sums[block] = add_lanes(sum.sum);
    a->exponents[block] = sum.exponent;
}

#undef REAL
#undef INT
#undef NAME
#undef MANTISSA
#undef ONE_BITS
#undef BIAS
#undef LEAST
#undef VEC
#undef IVEC
#undef LANES
#undef TILE
