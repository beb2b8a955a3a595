/* Pseudo-likelihood of rows, in float32 or float64.  Included by tiles.c for each target, once with FRBM_IS_DOUBLE 0
 * and once with 1.
 *
 * With x_j the inputs of the hidden layer and d_ji = (1 - 2 v_i) W_ji, flipping v_i multiplies the hidden part of p(v) by
 *     prod_j (1 + e^(x_j + d_ji)) / (1 + e^(x_j)).
 * Three kinds of factors are told apart by x_j and the largest |d_ji| of the row and the hidden unit, its reach:
 *   x_j beyond the reach by FAR     the factor is e^d_ji where x_j > 0 and 1 elsewhere: a sum, or nothing
 *   reach at most MOST              q_j + p_j e^d_ji, p = sigmoid(x_j), q = sigmoid(-x_j); e^d may be in tables
 *   else                            e^(max(x_j + d, 0) - max(x_j, 0)) (1 + e^-|x_j + d|) / (1 + e^-|x_j|), any size
 * So nothing overflows, and what a row gets depends on no other row.  The products give up their exponent to an
 * integer before they can leave the range. */

#if FRBM_IS_DOUBLE
#define NUMBER double
#define VEC vec_d
#define IVEC vec_l
#define LOAD load_d
#define EXP2 exp2_vec_d
#define MASK lane_mask_d
#define MASK_OF mask_of_bits_d
#define BLEND blend_d
#define SELECT select_vd
#define NAME(x) x##_f64
#define MANTISSA 52
#define ONE_BITS 0x3FF0000000000000
#define BIAS 1023
#define FAR 38.0
#define MOST 600.0
#define ROOM 700.0   /* of the logarithm of a product */
#define LEAST (-700.0) /* smaller exponents count as this */
#define MOST_GAIN 600.0
#define ATANH_TERMS 11
#else
#define NUMBER float
#define VEC vec_f
#define IVEC vec_i
#define LOAD load_f
#define EXP2 exp2_vec
#define MASK lane_mask
#define MASK_OF mask_of_bits
#define BLEND blend
#define SELECT select_f
#define NAME(x) x##_f32
#define MANTISSA 23
#define ONE_BITS 0x3F800000
#define BIAS 127
#define FAR 18.0f
#define MOST 64.0f
#define ROOM 80.0f
#define LEAST (-86.0f)
#define MOST_GAIN 80.0f
#define ATANH_TERMS 5
#endif

#define WIDTH (64 / sizeof(NUMBER)) /* units of a vector */
#define UNITS (4 * WIDTH)           /* visible units that are done at once */
#define LN_2 ((NUMBER)0.69314718055994530942)
#define LOG2_E ((NUMBER)1.44269504088896340736)
#define EXP(x) EXP2((x) * LOG2_E)
#define AND(mask, x) ((VEC)((mask) & (IVEC)(x)))

/* Hidden units of one row by kind: factors with p and q from the front, those of any size from the back */
typedef struct {
    uint32_t *index, *on;
    NUMBER *p, *q, *reach;
    size_t n_products, n_any, n_on;
} NAME(hidden_kinds);

typedef struct {
    VEC product[4], sum[4];
    IVEC exponent[4];
} NAME(ratios);

/* atanh(s), |s| <= 0.172 */
INLINE VEC NAME(atanh_vec)(VEC s) {
    const VEC square = s * s;
    VEC p = (VEC){0} + (NUMBER)1 / (2 * ATANH_TERMS - 1);
#pragma GCC unroll 11
    for (int k = 2 * ATANH_TERMS - 3; k > 0; k -= 2) p = p * square + (NUMBER)1 / k;
    return s * p;
}

INLINE VEC NAME(number_of)(IVEC x) {
#if FRBM_IS_DOUBLE /* few instruction sets convert int64; |x| < 2^51 */
    return (VEC)(x + 0x4338000000000000) - 6755399441055744.0;
#else
    return __builtin_convertvector(x, VEC);
#endif
}

/* log(1 + f e^g), f in [1, 2), any g */
INLINE VEC NAME(log_of_more)(VEC f, VEC g) {
    const VEC zero = {0}, low = zero + (NUMBER)LEAST, high = zero + (NUMBER)MOST_GAIN;
    const VEC far = SELECT(g > high, g - high, zero), near = SELECT(g > high, high, SELECT(g > low, g, low));
    const VEC more = f * EXP(near), u = 1 + more, lost = AND(u < 2, more - (u - 1));
    const IVEC bits = (IVEC)u;
    const VEC m = (VEC)((bits & (((IVEC){0} + 1 << MANTISSA) - 1)) | ONE_BITS);
    const IVEC upper = m > (NUMBER)1.41421356237309504880;
    const VEC reduced = SELECT(upper, m * (NUMBER)0.5, m), s = (reduced - 1) / (reduced + 1);
    return far + (NAME(number_of)((bits >> MANTISSA) - BIAS - upper) * LN_2 + (2 * NAME(atanh_vec)(s) + lost));
}

/* Mantissas in [1, 2) in place of the products, their exponents added up */
INLINE void NAME(give_exponents)(NAME(ratios) *r) {
    for (int v = 0; v < 4; v++) {
        const IVEC bits = (IVEC)r->product[v];
        r->exponent[v] += (bits >> MANTISSA) - BIAS;
        r->product[v] = (VEC)((bits & (((IVEC){0} + 1 << MANTISSA) - 1)) | ONE_BITS);
    }
}

/* Weights of hidden unit j from visible unit `unit`; the last ones stand in a padded copy */
INLINE const NUMBER *NAME(weights_at)(const frbm_pseudo *a, size_t j, size_t unit) {
    const size_t whole = a->n_visible / FRBM_LANES * FRBM_LANES;
    return unit < whole ? (const NUMBER *)a->weights + j * a->n_visible + unit
                        : (const NUMBER *)a->tail + j * FRBM_LANES + (unit - whole);
}

/* Tables are [visible units / FRBM_LANES][hidden][FRBM_LANES], so that what is read in turn is in turn in memory */
INLINE size_t NAME(table_at)(const frbm_pseudo *a, size_t j, size_t unit) {
    return (unit / FRBM_LANES * a->n_hidden + j) * FRBM_LANES + unit % FRBM_LANES;
}

/* How e^d is had: from W itself; from W log2 e; or from tables of e^W and e^-W, of all units or of those vectors whose
 * values are all 0 or 1.  The same bits in any way. */
enum NAME(exponentials) { NAME(FROM_WEIGHTS), NAME(FROM_SCALED), NAME(FROM_TABLES) };

/* Factors with p and q */
INLINE void NAME(multiply_products)(const frbm_pseudo *a, const NAME(hidden_kinds) *h, const int way, size_t unit,
                                    const VEC flip[4], const MASK on[4], const int binary[4], NAME(ratios) *r) {
    NUMBER used = 0;
    for (size_t k = 0; k < h->n_products; k++) {
        const size_t j = h->index[k];
        used += h->reach[k];
        if (used > ROOM) {
            NAME(give_exponents)(r);
            used = h->reach[k];
        }
        const VEC p = (VEC){0} + h->p[k], q = (VEC){0} + h->q[k];
        const size_t at = NAME(table_at)(a, j, unit);
        const NUMBER *raise = (const NUMBER *)a->raise + 2 * at - unit % FRBM_LANES, *lower = raise + FRBM_LANES;
        const NUMBER *weights =
            way == NAME(FROM_WEIGHTS) ? NAME(weights_at)(a, j, unit) : (const NUMBER *)a->scaled + at;
#pragma GCC unroll 4
        for (int v = 0; v < 4; v++) {
            VEC e;
            if (way == NAME(FROM_WEIGHTS))
                e = EXP2(flip[v] * (LOAD(weights + WIDTH * v) * LOG2_E));
            else if (way == NAME(FROM_TABLES) || binary[v])
                e = BLEND(on[v], LOAD(lower + WIDTH * v), LOAD(raise + WIDTH * v));
            else
                e = EXP2(flip[v] * LOAD(weights + WIDTH * v));
            r->product[v] *= q + p * e;
        }
    }
    NAME(give_exponents)(r);
}

/* Factors of any size; p holds the input and q the sigmoid of its magnitude */
INLINE void NAME(multiply_any)(const frbm_pseudo *a, const NAME(hidden_kinds) *h, size_t unit, const VEC flip[4],
                               NAME(ratios) *r) {
    const VEC zero = {0}, least = zero + (NUMBER)LEAST;
    size_t used = 0;
    for (size_t k = a->n_hidden - h->n_any; k < a->n_hidden; k++) {
        const NUMBER x = h->p[k], below = x < 0 ? x : 0;
        const NUMBER *weights = NAME(weights_at)(a, h->index[k], unit);
        if (++used > 64) { /* each is within 1/2 and 2 */
            NAME(give_exponents)(r);
            used = 1;
        }
        for (int v = 0; v < 4; v++) {
            const VEC d = flip[v] * LOAD(weights + WIDTH * v), y = d + x, edge = zero - x;
            const VEC down = SELECT(y > zero, -y, y);
            r->sum[v] += SELECT(d > edge, d, edge) + below;
            r->product[v] *= (1 + EXP(SELECT(down > least, down, least))) * h->q[k];
        }
    }
    if (used) NAME(give_exponents)(r);
}

/* One row, UNITS visible units: sum over the first `here` of -log p(v_i | rest) */
INLINE double NAME(pseudo_units)(const frbm_pseudo *a, const NAME(hidden_kinds) *h, const int way, size_t sample,
                                 size_t unit, size_t here) {
    const NUMBER *bias = (const NUMBER *)a->visible_bias + unit;
    const NUMBER *dense = a->rows ? NULL : (const NUMBER *)a->dense + sample * a->dense_ld + unit;
    NUMBER part[2][UNITS] = {0};
    if (here < UNITS) {
        bias = memcpy(part[0], bias, here * sizeof(NUMBER));
        if (dense) dense = memcpy(part[1], dense, here * sizeof(NUMBER));
    }
    uint64_t word = a->rows ? a->rows[sample * a->row_words + unit / 64] >> unit % 64 : 0;
    int binary[4] = {1, 1, 1, 1}, all = 1;
    if (way == NAME(FROM_SCALED)) {
        for (size_t i = 0; i < UNITS; i++) {
            word |= (uint64_t)(dense[i] == 1) << i;
            binary[i / WIDTH] &= (dense[i] == 1) | (dense[i] == 0);
        }
        all = binary[0] & binary[1] & binary[2] & binary[3];
    }
    VEC flip[4];
    MASK on_bits[4];
    NAME(ratios) r;
    for (size_t u = 0; u < 4; u++) {
        const VEC one = (VEC){0} + 1;
        on_bits[u] = MASK_OF((uint32_t)(word >> u * WIDTH) & ((1u << WIDTH) - 1));
        flip[u] = dense ? 1 - 2 * LOAD(dense + WIDTH * u) : BLEND(on_bits[u], -one, one);
        r.product[u] = one;
        r.sum[u] = (VEC){0};
        r.exponent[u] = (IVEC){0};
    }
    if (way == NAME(FROM_SCALED) && all)
        NAME(multiply_products)(a, h, NAME(FROM_TABLES), unit, flip, on_bits, binary, &r);
    else
        NAME(multiply_products)(a, h, way, unit, flip, on_bits, binary, &r);
    if (h->n_any) NAME(multiply_any)(a, h, unit, flip, &r);
    VEC on[4] = {{0}};
    for (size_t k = 0; k < h->n_on; k++) {
        const NUMBER *weights = NAME(weights_at)(a, h->on[k], unit);
        for (int u = 0; u < 4; u++) on[u] += LOAD(weights + WIDTH * u);
    }
    NUMBER terms[UNITS];
    for (int u = 0; u < 4; u++) {
        const VEC ratio = r.sum[u] + NAME(number_of)(r.exponent[u]) * LN_2;
        const VEC term = NAME(log_of_more)(r.product[u], flip[u] * (LOAD(bias + WIDTH * u) + on[u]) + ratio);
        STORE(terms + WIDTH * u, term);
    }
    for (size_t i = here; i < UNITS; i++) terms[i] = 0;
    double lanes[8] = {0}, sum = 0.0;
    for (size_t i = 0; i < UNITS; i += 8)
        for (size_t l = 0; l < 8; l++) lanes[l] += (double)terms[i + l];
    for (size_t l = 0; l < 8; l++) sum += lanes[l];
    return sum;
}

INLINE void NAME(tell_apart)(const frbm_pseudo *a, size_t sample, NAME(hidden_kinds) *h) {
    const NUMBER *inputs = (const NUMBER *)a->inputs + sample * a->n_hidden, *reaches = a->reach;
    NUMBER largest = 1;
    if (!a->rows)
        for (size_t i = 0; i < a->n_visible; i++) {
            const NUMBER flip = 1 - 2 * ((const NUMBER *)a->dense)[sample * a->dense_ld + i];
            const NUMBER size = flip < 0 ? -flip : flip;
            largest = size > largest ? size : largest;
        }
    h->n_products = h->n_any = h->n_on = 0;
    for (size_t j = 0; j < a->n_hidden; j++) {
        const NUMBER x = inputs[j], reach = reaches[j] * largest, beyond = reach + (NUMBER)FAR;
        if (x < -beyond) continue;
        if (x > beyond) {
            h->on[h->n_on++] = (uint32_t)j;
        } else if (reach <= MOST) {
            h->index[h->n_products] = (uint32_t)j;
            h->p[h->n_products] = x;
            h->reach[h->n_products++] = reach;
        } else {
            const size_t k = a->n_hidden - ++h->n_any;
            h->index[k] = (uint32_t)j;
            h->p[k] = x;
        }
    }
    /* the arrays are padded to whole vectors, at both ends */
    for (size_t k = 0; k < h->n_products; k += WIDTH) {
        const VEC x = LOAD(h->p + k), p = 1 / (1 + EXP(-x)), q = 1 / (1 + EXP(x));
        VEC keep_p = p, keep_q = q;
        const size_t valid = h->n_products - k;
        if (valid < WIDTH) memcpy((NUMBER *)&keep_p + valid, h->p + k + valid, (WIDTH - valid) * sizeof(NUMBER));
        STORE(h->p + k, keep_p);
        STORE(h->q + k, keep_q);
    }
    const VEC zero = {0}, least = zero + (NUMBER)LEAST;
    for (size_t k = a->n_hidden - h->n_any; k < a->n_hidden; k++) {
        const NUMBER x = h->p[k];
        const VEC down = zero + (x > 0 ? -x : x), all = 1 / (1 + EXP(SELECT(down > least, down, least)));
        h->q[k] = all[0];
    }
}

static void NAME(pseudo_block)(const frbm_pseudo *a, size_t first, size_t count, void *scratch) {
    NAME(hidden_kinds) kinds[FRBM_PSEUDO_BLOCK];
    const size_t n = frbm_round_up(a->n_hidden, 16) + 16;
    for (size_t s = 0; s < count; s++) {
        NUMBER *numbers = (NUMBER *)scratch + 3 * n * s;
        uint32_t *indices = (uint32_t *)((NUMBER *)scratch + 3 * n * count) + 2 * n * s;
        kinds[s].p = numbers;
        kinds[s].q = numbers + n;
        kinds[s].reach = numbers + 2 * n;
        kinds[s].index = indices;
        kinds[s].on = indices + n;
        NAME(tell_apart)(a, first + s, &kinds[s]);
    }
    /* all rows of the block read one slab of weights while it is in cache */
    for (size_t unit = 0; unit < a->n_visible; unit += UNITS) {
        const size_t here = a->n_visible - unit < UNITS ? a->n_visible - unit : UNITS;
        for (size_t s = 0; s < count; s++)
            a->score[first + s] -=
                a->scaled  ? NAME(pseudo_units)(a, &kinds[s], NAME(FROM_SCALED), first + s, unit, here)
                : a->raise ? NAME(pseudo_units)(a, &kinds[s], NAME(FROM_TABLES), first + s, unit, here)
                           : NAME(pseudo_units)(a, &kinds[s], NAME(FROM_WEIGHTS), first + s, unit, here);
    }
}

/* What hidden unit j adds to tables, the padded copy and reaches */
static void NAME(pseudo_tables)(const frbm_pseudo *a, size_t j, const frbm_pseudo_tables *to) {
    const NUMBER *weights = (const NUMBER *)a->weights + j * a->n_visible;
    const size_t whole = a->n_visible / FRBM_LANES * FRBM_LANES;
    NUMBER *last = (NUMBER *)to->tail + j * FRBM_LANES, largest[WIDTH] = {0};
    memset(last, 0, FRBM_LANES * sizeof(NUMBER));
    memcpy(last, weights + whole, (a->n_visible - whole) * sizeof(NUMBER));
    const VEC zero = {0};
    VEC most = zero;
    for (size_t unit = 0; unit < frbm_round_up(a->n_visible, FRBM_LANES); unit += WIDTH) {
        const VEC w = LOAD(NAME(weights_at)(a, j, unit)), size = SELECT(w < zero, -w, w);
        most = SELECT(size > most, size, most);
        if (!to->raise) continue;
        /* of use where the reach is at most MOST alone */
        const VEC scaled = w * LOG2_E, near = SELECT(size > zero + MOST, zero, scaled);
        const VEC up = EXP2(near), down = EXP2(-near);
        const size_t at = NAME(table_at)(a, j, unit);
        NUMBER *both = (NUMBER *)to->raise + 2 * at - unit % FRBM_LANES;
        STORE(both, up);
        STORE(both + FRBM_LANES, down);
        if (to->scaled) STORE((NUMBER *)to->scaled + at, scaled);
    }
    STORE(largest, most);
    for (size_t l = 1; l < WIDTH; l++) largest[0] = largest[l] > largest[0] ? largest[l] : largest[0];
    ((NUMBER *)to->reach)[j] = largest[0];
}

#undef NUMBER
#undef VEC
#undef IVEC
#undef LOAD
#undef EXP2
#undef EXP
#undef MASK
#undef MASK_OF
#undef BLEND
#undef LOG2_E
#undef SELECT
#undef NAME
#undef MANTISSA
#undef ONE_BITS
#undef BIAS
#undef FAR
#undef MOST
#undef ROOM
#undef LEAST
#undef MOST_GAIN
#undef ATANH_TERMS
#undef LN_2
#undef WIDTH
#undef UNITS
#undef AND
