/* Exact partition sums: the states of one block, in float32 or float64.  Included by tiles.c for each target, once with
 * FRBM_IS_DOUBLE 0 and once with 1.
 *
 * With the bits of a state split into high, middle and low ones, x_i the largest input of unit i over the middle and
 * low bits of a high state, and Y_i, Z_i <= 1 powers of two of what the low and the middle bits take from it (all to
 * base 2),
 *     1 + 2^input_i = 2^max(x_i, 0) (P_i + Q_i Z_i Y_i),   (P, Q) = (1, 2^x) if x <= 0, (2^-x, 1) if x > 0.
 * Y and Z are tables made once and P and Q are made once per high state, so a factor costs one multiply-add and one
 * multiplication and no exp or log.  Where P is 1 it is exact.  Factors lie in [least Y Z, 2]; `stops` says where
 * products must give up their exponent, to an integer, before they can leave the range.  Inputs and all sums are
 * float64: where 2^-x and Y Z are alike and small, 2^-x needs more digits of x than float32 has.
 *
 * Lanes are low states, so nothing is ever summed across them but the weights of the states.  Fused multiply-adds are
 * used where there are any: results differ in their last bits between instruction sets, never between thread counts.
 */
#include "partition_math.h"

#if FRBM_IS_DOUBLE
#define NUMBER double
#define INT int64_t
#define VEC reg_d
#define IVEC reg_l
#define LOAD load_reg_d
#define FUSED fused_d
#define NAME(x) x##_f64
#define MANTISSA 52
#define ONE_BITS 0x3FF0000000000000
#define BIAS 1023
#define LEAST (-1020.0) /* smaller 2^-x counts as 0; the least Y Z is 2^100 times as large */
#define LEAST_Q (-100.0) /* so does smaller 2^x, beside 1; times Y Z it is no subnormal number */
#else
#define NUMBER float
#define INT int32_t
#define VEC reg_f
#define IVEC reg_i
#define LOAD load_reg_f
#define FUSED fused_f
#define NAME(x) x##_f32
#define MANTISSA 23
#define ONE_BITS 0x3F800000
#define BIAS 127
#define LEAST (-125.0) /* the least Y Z is 2^33 times as large */
#define LEAST_Q (-30.0)
#endif

#define LANES (REGISTER / sizeof(NUMBER))
#define TILE 4 /* registers of low states */

/* As many as a register holds float64 */
typedef NUMBER NAME(partition_few) __attribute__((vector_size(DOUBLES * sizeof(NUMBER))));
typedef INT NAME(partition_few_i) __attribute__((vector_size(DOUBLES * sizeof(NUMBER))));

/* Mantissa in [1, 2) in place of f, its biased exponent added to e */
INLINE void NAME(strip)(VEC *f, IVEC *e) {
    const IVEC bits = (IVEC)*f;
    *e += bits >> MANTISSA;
    *f = (VEC)((bits & (((INT)1 << MANTISSA) - 1)) | ONE_BITS);
}

/* input += sign * row; P and Q of all units; returns the sum of max(x, 0) */
INLINE double NAME(prepare)(double *input, const double *row, double sign, size_t ld, NUMBER *P, NUMBER *Q) {
    reg_d total = {0};
    const reg_d one = (reg_d){0} + 1.0, least = (reg_d){0} + LEAST, least_q = (reg_d){0} + LEAST_Q;
    for (size_t i = 0; i < ld; i += DOUBLES) {
        const reg_d x = load_reg_d(row + i) * sign + load_reg_d(input + i);
        STORE(input + i, x);
        const reg_l on = x > 0.0;
        total += (reg_d)((reg_l)x & on);
        const reg_d t = (reg_d)((reg_l)x | INT64_MIN);
        const reg_l keep = t > select_d(on, least, least_q);
        const reg_d p = (reg_d)((reg_l)exp2_d((reg_d)((reg_l)t & keep)) & keep);
        const NAME(partition_few) here_p = __builtin_convertvector(select_d(on, p, one), NAME(partition_few));
        const NAME(partition_few) here_q = __builtin_convertvector(select_d(on, one, p), NAME(partition_few));
        STORE(P + i, here_p);
        STORE(Q + i, here_q);
    }
    return add_lanes(total);
}

/* Products over all units for n_mid middle states (a constant) and TILE registers of low states: mantissas and
 * exponents to m and e, [middle][FRBM_PARTITION_LANES].  Q includes Z, [middle][ld]. */
INLINE void NAME(tile)(const frbm_partition *a, const int n_mid, const NUMBER *y, const NUMBER *P, const NUMBER *Q,
                       NUMBER *m, INT *e) {
    const VEC zero = {0};
    VEC f[FRBM_PARTITION_MIDDLE][TILE];
    IVEC exponent[FRBM_PARTITION_MIDDLE][TILE];
#pragma GCC unroll 4
    for (int h = 0; h < n_mid; h++)
#pragma GCC unroll 4
        for (int v = 0; v < TILE; v++) {
            f[h][v] = (VEC){0} + (NUMBER)1;
            exponent[h][v] = (IVEC){0} - (INT)(a->n_stops * BIAS);
        }
    size_t i = 0;
    for (size_t stop = 0; stop < a->n_stops; stop++) {
        for (; i < a->stops[stop]; i++) {
            const NUMBER *row = y + i * FRBM_PARTITION_LANES;
            const VEC p = P[i] - zero; /* x - 0 is x, which compilers know: a broadcast from memory */
            VEC Y[TILE];
#pragma GCC unroll 4
            for (int v = 0; v < TILE; v++) Y[v] = LOAD(row + v * LANES);
#pragma GCC unroll 4
            for (int h = 0; h < n_mid; h++) {
                const VEC q = Q[h * a->ld + i] - zero;
#pragma GCC unroll 4
                for (int v = 0; v < TILE; v++) f[h][v] *= FUSED(q, Y[v], p);
            }
        }
#pragma GCC unroll 4
        for (int h = 0; h < n_mid; h++)
#pragma GCC unroll 4
            for (int v = 0; v < TILE; v++) NAME(strip)(&f[h][v], &exponent[h][v]);
    }
#pragma GCC unroll 4
    for (int h = 0; h < n_mid; h++) {
        memcpy(m + h * FRBM_PARTITION_LANES, f[h], sizeof f[h]);
        memcpy(e + h * FRBM_PARTITION_LANES, exponent[h], sizeof exponent[h]);
    }
}

/* Weights of FRBM_PARTITION_LANES low states of one high and middle state, mantissa * 2^exponent each, to a sum */
INLINE void NAME(add_states)(const frbm_partition *a, size_t first, const NUMBER *m, const INT *e,
                             const partition_weight *rest, partition_total *sum) {
    reg_d weight[PARTITION_VECTORS];
    reg_l exponent[PARTITION_VECTORS], largest = (reg_l){0} + INT64_MIN;
    for (int v = 0; v < PARTITION_VECTORS; v++) {
        NAME(partition_few) here_m;
        NAME(partition_few_i) here_e;
        reg_l low;
        memcpy(&here_m, m + DOUBLES * v, sizeof here_m);
        memcpy(&here_e, e + DOUBLES * v, sizeof here_e);
        memcpy(&low, a->low_exponent + first + DOUBLES * v, sizeof low);
        weight[v] = __builtin_convertvector(here_m, reg_d) * load_reg_d(a->low_mantissa + first + DOUBLES * v) *
                    rest->mantissa;
        exponent[v] = __builtin_convertvector(here_e, reg_l) + low + rest->exponent;
        const reg_l more = exponent[v] > largest;
        largest = (exponent[v] & more) | (largest & ~more);
    }
    add_weights(sum, weight, exponent, largest);
    if (a->log_weights)
        for (size_t s = 0; s < FRBM_PARTITION_LANES && first + s < a->n_low_states; s++)
            a->log_weights[rest->state | a->low_state[first + s]] =
                LN2 * ((double)exponent[s / DOUBLES][s % DOUBLES] + log2(weight[s / DOUBLES][s % DOUBLES]));
}

/* All low states of n_mid middle states from `mid` on */
INLINE void NAME(middle_states)(const frbm_partition *a, const int n_mid, size_t mid, const NUMBER *P, NUMBER *scaled,
                                const partition_weight *high, partition_total *sum) {
    NUMBER m[FRBM_PARTITION_MIDDLE * FRBM_PARTITION_LANES] __attribute__((aligned(64)));
    INT e[FRBM_PARTITION_MIDDLE * FRBM_PARTITION_LANES] __attribute__((aligned(64)));
    const NUMBER *Q = P + a->ld, *z = (const NUMBER *)a->middle_table + mid * a->ld;
    for (int h = 0; h < n_mid; h++)
        for (size_t i = 0; i < a->ld; i++) scaled[h * a->ld + i] = Q[i] * z[h * a->ld + i];
    for (size_t first = 0; first < a->n_low_states; first += FRBM_PARTITION_LANES) {
        const NUMBER *y = (const NUMBER *)a->low_table + first * a->n_units;
        for (size_t lane = 0; lane < FRBM_PARTITION_LANES; lane += TILE * LANES)
            NAME(tile)(a, n_mid, y + lane, P, scaled, m + lane, e + lane);
        for (int h = 0; h < n_mid; h++) {
            const partition_weight rest = {high->mantissa * a->middle_mantissa[mid + h],
                                           high->exponent + a->middle_exponent[mid + h],
                                           high->state | a->middle_state[mid + h]};
            NAME(add_states)(a, first, m + h * FRBM_PARTITION_LANES, e + h * FRBM_PARTITION_LANES, &rest, sum);
        }
    }
}

/* The one state of a high state where all bits are high: lanes are units */
INLINE void NAME(single_state)(const frbm_partition *a, const NUMBER *P, const partition_weight *high,
                               partition_total *sum) {
    VEC f = (VEC){0} + (NUMBER)1;
    IVEC e = {0};
    size_t strips = 0;
    for (size_t i = 0; i < a->ld; strips++) {
        for (size_t stop = i + 64 * LANES; i < stop && i < a->ld; i += LANES)
            f *= LOAD(P + i) + LOAD(P + a->ld + i);
        NAME(strip)(&f, &e);
    }
    double mantissa = high->mantissa;
    int64_t exponent = high->exponent - (int64_t)(strips * LANES * BIAS);
    for (size_t l = 0; l < LANES; l++) {
        mantissa *= (double)f[l];
        exponent += (int64_t)e[l];
    }
    add_weight(sum, mantissa, exponent);
    if (a->log_weights) a->log_weights[high->state] = LN2 * ((double)exponent + log2(mantissa));
}

/* All states whose high bits from block_bits upwards are those of `block`, the others in Gray order */
static void NAME(partition_block)(const frbm_partition *a, size_t block, void *scratch) {
    double *input = scratch;
    NUMBER *P = (NUMBER *)(input + a->ld), *Q = P + a->ld, *scaled = Q + a->ld;
    partition_total sum = {{0}, INT64_MIN / 2};
    partition_walk walk = start_block(a, block, input);
    for (size_t step = 0; step < (size_t)1 << a->block_bits; step++) {
        double sign;
        const double *row = next_state(a, step, &walk, &sign);
        const double clipped = NAME(prepare)(input, row, sign, a->ld, P, Q);
        const partition_weight high = high_weight(walk.bias + clipped, walk.state);
        if (a->n_low_states == 1)
            NAME(single_state)(a, P, &high, &sum);
        else if (a->n_middle_states < FRBM_PARTITION_MIDDLE)
            for (size_t mid = 0; mid < a->n_middle_states; mid++)
                NAME(middle_states)(a, 1, mid, P, scaled, &high, &sum);
        else
            for (size_t mid = 0; mid < a->n_middle_states; mid += FRBM_PARTITION_MIDDLE)
                NAME(middle_states)(a, FRBM_PARTITION_MIDDLE, mid, P, scaled, &high, &sum);
    }
    a->sums[block] = add_lanes(sum.sum);
    a->exponents[block] = sum.exponent;
}

#undef NUMBER
#undef INT
#undef NAME
#undef MANTISSA
#undef ONE_BITS
#undef BIAS
#undef LEAST
#undef LEAST_Q
#undef VEC
#undef IVEC
#undef LOAD
#undef FUSED
#undef LANES
#undef TILE
