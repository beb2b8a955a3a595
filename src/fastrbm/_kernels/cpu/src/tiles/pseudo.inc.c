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
#define VEC reg_d
#define IVEC reg_l
#define LOAD load_reg_d
#define EXP2 exp2_reg_d
#define EXP2_EACH exp2_each_d
#define MASK reg_mask_d
#define MASK_OF mask_of_bits_d
#define BLEND blend_d
#define SELECT select_d
#define NAME(x) x##_f64
#define MAX max_d
#define MIN min_d
#define MASK_LANES MASK_64
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
#define VEC reg_f
#define IVEC reg_i
#define LOAD load_reg_f
#define EXP2 exp2_reg
#define EXP2_EACH exp2_each
#define MASK reg_mask_f
#define MASK_OF mask_of_bits_f
#define BLEND blend_f
#define SELECT select_rf
#define NAME(x) x##_f32
#define MAX max_f
#define MIN min_f
#define MASK_LANES MASK_32
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

#define WIDTH (REGISTER / sizeof(NUMBER)) /* units of a vector, which is one register: wider ones compile badly */
#define PARTS (64 / REGISTER)             /* vectors of a line of 64 bytes */
#define VECS (4 * PARTS)
#define UNITS (256 / sizeof(NUMBER)) /* visible units that are done at once, on all targets */
#define HIDDEN_AT_ONCE 32 /* whose tables are in L1 together */
#if REGISTER == 64        /* rows that share what is loaded of a table; their products and masks are in registers */
#define ROWS_AT_ONCE 6
#else
#define ROWS_AT_ONCE 4
#endif
#define LN_2 ((NUMBER)0.69314718055994530942)
#define LOG2_E ((NUMBER)1.44269504088896340736)
#define EXP(x) EXP2((x) * LOG2_E)
#define ALL(x) ((x) - (VEC){0}) /* x + 0 would not be a mere broadcast: -0 + 0 is 0 */
#define AND(mask, x) ((VEC)((mask) & (IVEC)(x)))

/* Hidden units of one row; p and q are of all units, 0 and 1 for inputs beyond the reach.  `index` lists those whose
 * factor has p and q, `on` those whose factor is e^d; the others are told apart slab by slab. */
typedef struct {
    const uint64_t *words; /* the row where it is of bits, else NULL */
    uint32_t *index, *on;
    NUMBER *x, *p, *q, largest;
    size_t n_products, n_on;
    int any; /* factors of any size */
} NAME(hidden_kinds);

typedef struct {
    VEC product[VECS], sum[VECS];
    IVEC exponent[VECS];
    VEC on[VECS]; /* weights of hidden units that are on whatever is flipped */
} NAME(ratios);

/* Bit l: sign of lane l */
INLINE uint32_t NAME(signs)(VEC x) { return (uint32_t)MASK_LANES(x); }

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

/* Mantissas in [1, 2) in place of a product, its exponents added up */
INLINE VEC NAME(take_exponent)(VEC product, IVEC *exponent) {
    const IVEC bits = (IVEC)product;
    *exponent += (bits >> MANTISSA) - BIAS;
    return (VEC)((bits & (((IVEC){0} + 1 << MANTISSA) - 1)) | ONE_BITS);
}

/* UNITS visible units of one row */
typedef struct {
    VEC flip[VECS];
    MASK on[VECS];
    int binary[4]; /* of each line of 64 bytes: values are all 0 or 1 */
} NAME(slab_row);

/* Sums of log(1 + more) over the visible units: of each lane of a line of 64 bytes a product of 1 + more, what its
 * rounding lost, and the sum of those too large for a product */
typedef struct {
    VEC product[PARTS], lost[PARTS];
    IVEC exponent[PARTS];
    double far[64 / sizeof(NUMBER)];
} NAME(totals);

/* total += log(1 + f e^g), f in [1, 2) or 0, any g */
INLINE void NAME(add_log)(NAME(totals) *total, size_t part, VEC f, VEC g) {
    const VEC zero = {0}, high = zero + (NUMBER)MOST_GAIN;
    const VEC near = MIN(MAX(g, zero + (NUMBER)LEAST), high);
    if (NAME(signs)(high - g)) {
        const VEC far = MAX(g - near, zero);
        NUMBER over[WIDTH];
        STORE(over, far);
        for (size_t l = 0; l < WIDTH; l++) total->far[part * WIDTH + l] += (double)over[l];
    }
    const VEC more = f * EXP(near), u = 1 + more;
    total->lost[part] += AND(u < 2, more - (u - 1));
    total->product[part] = NAME(take_exponent)(total->product[part] * u, &total->exponent[part]);
}

INLINE double NAME(sum_of)(const NAME(totals) *total) {
    double sum = 0;
    for (size_t k = 0; k < PARTS; k++) {
        const IVEC upper = total->product[k] > (NUMBER)1.41421356237309504880;
        const VEC m = SELECT(upper, total->product[k] * (NUMBER)0.5, total->product[k]);
        const VEC rest = 2 * NAME(atanh_vec)((m - 1) / (m + 1)) + total->lost[k];
        const IVEC whole = total->exponent[k] - upper;
        for (size_t l = 0; l < WIDTH; l++) sum += (double)whole[l] * 0.69314718055994530942 + (double)rest[l];
    }
    for (size_t l = 0; l < 64 / sizeof(NUMBER); l++) sum += total->far[l];
    return sum;
}

INLINE void NAME(give_exponents)(NAME(ratios) *r) {
    for (int v = 0; v < VECS; v++) r->product[v] = NAME(take_exponent)(r->product[v], &r->exponent[v]);
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

/* e^W from visible unit `unit`; FRBM_LANES further e^-W */
INLINE const NUMBER *NAME(raised)(const frbm_pseudo *a, size_t j, size_t unit) {
    return (const NUMBER *)a->raise + 2 * NAME(table_at)(a, j, unit) - unit % FRBM_LANES;
}

/* Factors with p and q of one row.  e^d is had from W, or for the last vectors, those whose values are all 0 or 1, from
 * tables of e^W and e^-W; the same bits in either way.  `place` says where the vectors of the slab stand. */
INLINE void NAME(multiply_products)(const frbm_pseudo *a, const NAME(hidden_kinds) *h, const int tables,
                                    const int n_real, size_t unit, const int place[VECS], const VEC flip[VECS],
                                    const MASK on[VECS], NAME(ratios) *r) {
    NUMBER used = 0;
    const size_t n_products = h->n_products;
    const NUMBER largest = h->largest, *reaches = a->reach;
    VEC product[VECS], real[VECS];
    MASK bits[VECS];
    for (int v = 0; v < VECS; v++) {
        product[v] = (VEC){0} + 1;
        real[v] = flip[place[v]];
        bits[v] = on[place[v]];
    }
    for (size_t k = 0; k < n_products; k++) {
        const size_t j = h->index[k];
        const NUMBER reach = reaches[j] * largest;
        used += reach;
        if (used > ROOM) {
            for (int v = 0; v < VECS; v++) product[v] = NAME(take_exponent)(product[v], &r->exponent[place[v]]);
            used = reach;
        }
        const VEC p = ALL(h->p[j]), q = ALL(h->q[j]);
        const size_t at = NAME(table_at)(a, j, unit);
        const NUMBER *raise = NAME(raised)(a, j, unit), *lower = raise + FRBM_LANES;
        const NUMBER *weights = tables ? (const NUMBER *)a->scaled + at : NAME(weights_at)(a, j, unit);
        VEC e[VECS];
#pragma GCC unroll 16
        for (int v = 0; v < n_real * PARTS; v++) {
            const VEC w = LOAD(weights + WIDTH * place[v]);
            e[v] = real[v] * (tables ? w : w * LOG2_E);
        }
        EXP2_EACH(n_real * PARTS, e);
#pragma GCC unroll 16
        for (int v = n_real * PARTS; v < VECS; v++)
            e[v] = BLEND(bits[v], LOAD(lower + WIDTH * place[v]), LOAD(raise + WIDTH * place[v]));
#pragma GCC unroll 16
        for (int v = 0; v < VECS; v++) e[v] = p * e[v];
#pragma GCC unroll 16
        for (int v = 0; v < VECS; v++) product[v] *= q + e[v];
    }
    for (int v = 0; v < VECS; v++) r->product[place[v]] = NAME(take_exponent)(product[v], &r->exponent[place[v]]);
}

/* The same of vector v of n_rows rows of bits, hidden units [first, end).  From unit j to next[j] the products stay
 * within range, and have p and q. */
INLINE void NAME(multiply_bits)(const frbm_pseudo *a, const int n_rows, const NAME(hidden_kinds) *h,
                                const NAME(slab_row) *rows, const uint32_t *next, size_t first, size_t end,
                                size_t unit, int v, NAME(ratios) *r) {
    VEC product[ROWS_AT_ONCE];
    MASK on[ROWS_AT_ONCE];
    const NUMBER *p_of[ROWS_AT_ONCE], *q_of[ROWS_AT_ONCE];
    for (int s = 0; s < n_rows; s++) {
        p_of[s] = h[s].p;
        q_of[s] = h[s].q;
        product[s] = r[s].product[v];
        on[s] = rows[s].on[v];
    }
    while (first < end) {
        const size_t stop = next[first];
        if (((const NUMBER *)a->reach)[first] <= MOST) {
            const NUMBER *table = NAME(raised)(a, first, unit) + WIDTH * v;
            for (size_t j = first; j < stop; j++, table += 2 * FRBM_LANES) {
                VEC up = LOAD(table), down = LOAD(table + FRBM_LANES);
                if (n_rows > 1) {
                    KEEP(up);
                    KEEP(down);
                }
#pragma GCC unroll 6
                for (int s = 0; s < n_rows; s++)
                    product[s] *= ALL(q_of[s][j]) + ALL(p_of[s][j]) * BLEND(on[s], down, up);
            }
            for (int s = 0; s < n_rows; s++) product[s] = NAME(take_exponent)(product[s], &r[s].exponent[v]);
        }
        first = stop;
    }
    for (int s = 0; s < n_rows; s++) r[s].product[v] = product[s];
}

/* Factors of any size of hidden units [first, end), `first` a multiple of 64 and `end` at most 64 further */
INLINE void NAME(multiply_any)(const frbm_pseudo *a, const NAME(hidden_kinds) *h, size_t first, size_t end,
                               size_t unit, const VEC flip_of[VECS], NAME(ratios) *r) {
    const NUMBER *reach = a->reach, *here = (const NUMBER *)a->slab_reach + unit / UNITS * a->slab_ld;
    const NUMBER largest = h->largest;
    /* where e^W is of no use, its table holds W */
    const int tables = a->raise && largest == 1;
    const NUMBER *weights = tables ? NAME(raised)(a, first, unit) : NAME(weights_at)(a, first, unit);
    const size_t ld = tables ? 2 * FRBM_LANES : (size_t)(NAME(weights_at)(a, 1, unit) - NAME(weights_at)(a, 0, unit));
    uint64_t any = 0, always = 0;
    for (size_t l = 0; l < end - first; l += WIDTH) {
        const VEC x = LOAD(h->x + first + l), far = LOAD(here + first + l) * largest + (NUMBER)FAR;
        const VEC more = MOST - LOAD(reach + first + l) * largest, below = x + far, above = far - x;
        const uint64_t large = (uint32_t)MASK_LANES(more);
        const uint64_t never = (uint32_t)MASK_LANES(below), over = (uint32_t)MASK_LANES(above);
        any |= (large & ~never & ~over) << l;
        always |= (large & over) << l;
    }
    if (always) {
        VEC on[VECS] = {{0}};
        memcpy(on, r->on, sizeof on);
        for (; always; always &= always - 1) {
            const NUMBER *w = weights + (size_t)__builtin_ctzll(always) * ld;
            for (int v = 0; v < VECS; v++) on[v] += LOAD(w + WIDTH * v);
        }
        for (int v = 0; v < VECS; v++) r->on[v] = on[v];
    }
    if (!any) return;
    const VEC zero = {0}, least = zero + (NUMBER)LEAST, limit = zero + (NUMBER)FAR;
    VEC flip[VECS], sum[VECS];
    memcpy(flip, flip_of, sizeof flip);
    memcpy(sum, r->sum, sizeof sum);
    for (; any; any &= any - 1) {
        const size_t l = (size_t)__builtin_ctzll(any);
        const NUMBER *w = weights + l * ld;
        /* no branches on the sign of x: they would be guessed wrong half of the time */
        const VEC x = ALL(h->x[first + l]), edge = MIN(-x, zero), below = MIN(x, zero);
        const VEC all = MAX(ALL(h->p[first + l]), ALL(h->q[first + l]));
        VEC size[VECS], nearest = limit;
        for (int v = 0; v < VECS; v++) {
            const VEC d = flip[v] * LOAD(w + WIDTH * v), y = d + x;
            sum[v] += MAX(d + below, edge);
            size[v] = MAX(y, -y);
            nearest = MIN(nearest, size[v]);
        }
        /* where all x + d are far from 0 there is no exponential; each product is within 1/2 and 2 */
        if (NAME(signs)(nearest - limit)) {
            for (int v = 0; v < VECS; v++) size[v] = MAX(-size[v], least) * LOG2_E;
            EXP2_EACH(VECS, size);
            for (int v = 0; v < VECS; v++) r->product[v] *= (1 + size[v]) * all;
        } else if (all[0] != 1)
            for (int v = 0; v < VECS; v++) r->product[v] *= all;
    }
    for (int v = 0; v < VECS; v++) r->sum[v] = sum[v];
    NAME(give_exponents)(r);
}

INLINE void NAME(start)(NAME(ratios) *r) {
    for (int v = 0; v < VECS; v++) {
        r->product[v] = (VEC){0} + 1;
        r->sum[v] = (VEC){0};
        r->exponent[v] = (IVEC){0};
        r->on[v] = (VEC){0};
    }
}

INLINE void NAME(load_row)(const frbm_pseudo *a, const NAME(hidden_kinds) *h, size_t sample, size_t unit, size_t here,
                           NAME(slab_row) *row) {
    const NUMBER *dense = h->words ? NULL : (const NUMBER *)a->dense + sample * a->dense_ld + unit;
    NUMBER last[UNITS] = {0};
    if (dense && here < UNITS) dense = memcpy(last, dense, here * sizeof(NUMBER));
    uint64_t word = h->words ? h->words[unit / 64] >> unit % 64 : 0;
    for (size_t v = 0; v < VECS; v++) {
        const VEC one = (VEC){0} + 1;
        if (v % PARTS == 0) row->binary[v / PARTS] = 1;
        if (dense) {
            const VEC x = LOAD(dense + WIDTH * v);
            word |= (uint64_t)NAME(signs)((VEC)(x == 1)) << v * WIDTH;
            row->binary[v / PARTS] &= NAME(signs)((VEC)((x == 1) | (x == 0))) == (1u << WIDTH) - 1;
        }
        row->on[v] = MASK_OF((uint32_t)(word >> v * WIDTH) & ((1u << WIDTH) - 1));
        row->flip[v] = dense ? 1 - 2 * LOAD(dense + WIDTH * v) : BLEND(row->on[v], -one, one);
    }
}

INLINE void NAME(multiply_row)(const frbm_pseudo *a, const NAME(hidden_kinds) *h, const NAME(slab_row) *row,
                               size_t unit, NAME(ratios) *r) {
    int place[VECS], n_real = 0, last = 4;
    for (int line = 0; line < 4; line++) {
        const int to = row->binary[line] ? --last : n_real++;
        for (int part = 0; part < PARTS; part++) place[to * PARTS + part] = line * PARTS + part;
    }
    switch (a->scaled ? n_real : -1) {
    case 0: NAME(multiply_products)(a, h, 1, 0, unit, place, row->flip, row->on, r); break;
    case 1: NAME(multiply_products)(a, h, 1, 1, unit, place, row->flip, row->on, r); break;
    case 2: NAME(multiply_products)(a, h, 1, 2, unit, place, row->flip, row->on, r); break;
    case 3: NAME(multiply_products)(a, h, 1, 3, unit, place, row->flip, row->on, r); break;
    case 4: NAME(multiply_products)(a, h, 1, 4, unit, place, row->flip, row->on, r); break;
    default: NAME(multiply_products)(a, h, 0, 4, unit, place, row->flip, row->on, r);
    }
    for (size_t k = 0; k < h->n_on; k++) {
        const NUMBER *weights = NAME(weights_at)(a, h->on[k], unit);
        for (int v = 0; v < VECS; v++) r->on[v] += LOAD(weights + WIDTH * v);
    }
}

/* total += -log p(v_i | rest) of the first `here` units */
INLINE void NAME(add_units)(const frbm_pseudo *a, const NAME(slab_row) *row, const NAME(ratios) *r, size_t unit,
                            size_t here, NAME(totals) *total) {
    const NUMBER *bias = (const NUMBER *)a->visible_bias + unit;
    NUMBER part[2][WIDTH], last[UNITS] = {0};
    if (here < UNITS) bias = memcpy(last, bias, here * sizeof(NUMBER));
    for (size_t u = 0; u < VECS; u++) {
        const VEC ratio = r->sum[u] + NAME(number_of)(r->exponent[u]) * LN_2;
        VEC f = r->product[u], g = row->flip[u] * (LOAD(bias + WIDTH * u) + r->on[u]) + ratio;
        if (here < UNITS) { /* units beyond the last one add nothing */
            const size_t valid = here < WIDTH * u ? 0 : here < WIDTH * (u + 1) ? here - WIDTH * u : WIDTH;
            memset(part, 0, sizeof part);
            memcpy(part[0], &f, valid * sizeof(NUMBER));
            memcpy(part[1], &g, valid * sizeof(NUMBER));
            f = LOAD(part[0]);
            g = LOAD(part[1]);
        }
        NAME(add_log)(total, u % PARTS, f, g);
    }
}

/* Bits of a dense row; NULL where it holds other values.  Its largest |1 - 2 v|, at least 1, in either case. */
INLINE const uint64_t *NAME(bits_of_row)(const frbm_pseudo *a, size_t sample, uint64_t *to, NUMBER *largest) {
    const NUMBER *row = (const NUMBER *)a->dense + sample * a->dense_ld;
    const size_t n = a->n_visible;
    VEC most = (VEC){0} + 1;
    NUMBER part[WIDTH] = {0};
    int binary = 1;
    for (size_t i = 0; i < n; i += WIDTH) {
        const VEC v = LOAD(n - i < WIDTH ? memcpy(part, row + i, (n - i) * sizeof(NUMBER)) : row + i), flip = 1 - 2 * v;
        most = MAX(most, MAX(flip, -flip));
        if (binary) {
            const uint32_t one = NAME(signs)((VEC)(v == 1));
            binary = (one | NAME(signs)((VEC)(v == 0))) == (1u << WIDTH) - 1;
            to[i / 64] = (i % 64 ? to[i / 64] : 0) | (uint64_t)one << i % 64;
        }
    }
    STORE(part, most);
    *largest = 1;
    for (size_t l = 0; l < WIDTH; l++) *largest = part[l] > *largest ? part[l] : *largest;
    return binary ? to : NULL;
}

INLINE void NAME(tell_apart)(const frbm_pseudo *a, size_t sample, uint64_t *words, NAME(hidden_kinds) *h) {
    const NUMBER *inputs = (const NUMBER *)a->inputs + sample * a->n_hidden, *reaches = a->reach;
    const VEC zero = {0}, one = zero + 1, end = zero + (NUMBER)-LEAST;
    h->largest = 1;
    h->words = a->rows ? a->rows + sample * a->row_words : NAME(bits_of_row)(a, sample, words, &h->largest);
    const size_t padded = frbm_round_up(a->n_hidden, 64);
    memcpy(h->x, inputs, a->n_hidden * sizeof(NUMBER));
    memset(h->x + a->n_hidden, 0, (padded - a->n_hidden) * sizeof(NUMBER));
    for (size_t j = 0; j < a->n_hidden; j += WIDTH) {
        const VEC x = LOAD(h->x + j), beyond = LOAD(reaches + j) * h->largest + (NUMBER)FAR;
        const VEC near = SELECT(x > end, end, SELECT(x < -end, -end, x));
        const VEC p = 1 / (1 + EXP(-near)), q = 1 / (1 + EXP(near));
        const IVEC over = x > beyond, under = x < -beyond;
        const VEC exact_p = SELECT(over, one, SELECT(under, zero, p)), exact_q = SELECT(under, one, SELECT(over, zero, q));
        STORE(h->p + j, exact_p);
        STORE(h->q + j, exact_q);
    }
    h->n_products = h->n_on = 0;
    h->any = 0;
    for (size_t j = 0; j < a->n_hidden; j++) h->any |= reaches[j] * h->largest > MOST;
    if (h->words && a->raise) return;
    for (size_t j = 0; j < a->n_hidden; j++) {
        if (reaches[j] * h->largest > MOST || h->p[j] == 0) continue;
        if (h->q[j] == 0 && !h->words)
            h->on[h->n_on++] = (uint32_t)j;
        else
            h->index[h->n_products++] = (uint32_t)j;
    }
}

/* Ends of the runs of hidden units that multiply_bits takes together */
INLINE void NAME(find_runs)(const frbm_pseudo *a, uint32_t *next) {
    const NUMBER *reach = a->reach;
    for (size_t first = 0, j = 0; first < a->n_hidden; first = j) {
        const size_t end = (first / HIDDEN_AT_ONCE + 1) * HIDDEN_AT_ONCE;
        NUMBER used = 0;
        const int any = reach[first] > MOST;
        for (j = first; j < a->n_hidden && j < end && (reach[j] > MOST) == any && (any || used + reach[j] <= ROOM); j++)
            used += reach[j];
        next[first] = (uint32_t)j;
    }
}

/* Numbers of one kind of a row; never a power of two, or those of several rows would share sets of the L1 */
INLINE size_t NAME(padded_hidden)(const frbm_pseudo *a) { return frbm_round_up(a->n_hidden, 64) + 16; }

/* Scratch of one row */
static size_t NAME(pseudo_scratch)(const frbm_pseudo *a) {
    return NAME(padded_hidden)(a) * (3 * sizeof(NUMBER) + 12) + sizeof(NAME(ratios)) + sizeof(NAME(totals)) +
           sizeof(NAME(slab_row)) +            frbm_round_up(a->n_visible, 512) / 8;
}

static void NAME(pseudo_block)(const frbm_pseudo *a, size_t first, size_t count, void *scratch) {
    NAME(hidden_kinds) kinds[FRBM_PSEUDO_BLOCK];
    const size_t n = NAME(padded_hidden)(a), words = frbm_round_up(a->n_visible, 512) / 64;
    NAME(ratios) *ratios = scratch;
    NAME(totals) *totals = (NAME(totals) *)(ratios + count);
    NAME(slab_row) *rows = (NAME(slab_row) *)(totals + count);
    NUMBER *numbers = (NUMBER *)(rows + count);
    uint64_t *bits = (uint64_t *)(numbers + 3 * n * count);
    uint32_t *indices = (uint32_t *)(bits + words * count), *next = indices + 2 * n * count;
    size_t n_bits = 0, order[FRBM_PSEUDO_BLOCK], n_others = 0;
    /* rows of bits from the front, others from the back */
    for (size_t s = 0; s < count; s++) {
        NAME(hidden_kinds) h = {.index = indices + 2 * n * s, .on = indices + 2 * n * s + n,
                                .x = numbers + 3 * n * s, .p = numbers + 3 * n * s + n, .q = numbers + 3 * n * s + 2 * n};
        NAME(tell_apart)(a, first + s, bits + words * s, &h);
        const size_t at = h.words && a->raise ? n_bits++ : count - ++n_others;
        kinds[at] = h;
        order[at] = first + s;
        memset(totals + s, 0, sizeof totals[s]);
        for (size_t k = 0; k < PARTS; k++) totals[s].product[k] = (VEC){0} + 1;
    }
    NAME(find_runs)(a, next);
    int any = 0;
    for (size_t s = 0; s < count; s++) any |= kinds[s].any;
    /* all rows of the block read one slab of weights while it is in cache, and of it HIDDEN_AT_ONCE while in L1 */
    for (size_t unit = 0; unit < a->n_visible; unit += UNITS) {
        const size_t here = a->n_visible - unit < UNITS ? a->n_visible - unit : UNITS;
        for (size_t s = 0; s < count; s++) {
            NAME(load_row)(a, kinds + s, order[s], unit, here, rows + s);
            NAME(start)(ratios + s);
        }
        for (size_t j = 0; n_bits && j < a->n_hidden; j += HIDDEN_AT_ONCE) {
            const size_t end = a->n_hidden - j < HIDDEN_AT_ONCE ? a->n_hidden : j + HIDDEN_AT_ONCE;
            if (next[j] == end && ((const NUMBER *)a->reach)[j] > MOST) continue;
            for (int v = 0; v < VECS; v++) {
                size_t s = 0;
                for (; s + ROWS_AT_ONCE <= n_bits; s += ROWS_AT_ONCE)
                    NAME(multiply_bits)(a, ROWS_AT_ONCE, kinds + s, rows + s, next, j, end, unit, v, ratios + s);
                for (; s < n_bits; s++)
                    NAME(multiply_bits)(a, 1, kinds + s, rows + s, next, j, end, unit, v, ratios + s);
            }
        }
        for (size_t s = n_bits; s < count; s++) NAME(multiply_row)(a, kinds + s, rows + s, unit, ratios + s);
        for (size_t j = 0; any && j < a->n_hidden; j += 64) {
            const size_t end = a->n_hidden - j < 64 ? a->n_hidden : j + 64;
            for (size_t s = 0; s < count; s++)
                if (kinds[s].any) NAME(multiply_any)(a, kinds + s, j, end, unit, rows[s].flip, ratios + s);
        }
        for (size_t s = 0; s < count; s++) NAME(add_units)(a, rows + s, ratios + s, unit, here, totals + s);
    }
    for (size_t s = 0; s < count; s++) a->score[order[s]] -= NAME(sum_of)(totals + s);
}

/* What hidden unit j adds to tables, the padded copy and reaches */
static void NAME(pseudo_tables)(const frbm_pseudo *a, size_t j, const frbm_pseudo_tables *to) {
    const NUMBER *weights = (const NUMBER *)a->weights + j * a->n_visible;
    const size_t whole = a->n_visible / FRBM_LANES * FRBM_LANES;
    NUMBER *last = (NUMBER *)to->tail + j * FRBM_LANES, reach = 0;
    memset(last, 0, FRBM_LANES * sizeof(NUMBER));
    memcpy(last, weights + whole, (a->n_visible - whole) * sizeof(NUMBER));
    const VEC zero = {0};
    VEC most = zero;
    const size_t end = frbm_round_up(a->n_visible, FRBM_LANES);
    for (size_t unit = 0; unit < end; unit += WIDTH) {
        const VEC w = LOAD(NAME(weights_at)(a, j, unit));
        most = MAX(most, MAX(w, -w));
        if ((unit + WIDTH) % UNITS) continue;
        NUMBER largest[WIDTH];
        STORE(largest, most);
        for (size_t l = 1; l < WIDTH; l++) largest[0] = largest[l] > largest[0] ? largest[l] : largest[0];
        ((NUMBER *)to->slab_reach)[unit / UNITS * a->slab_ld + j] = largest[0];
        reach = largest[0] > reach ? largest[0] : reach;
        most = zero;
    }
    ((NUMBER *)to->reach)[j] = reach;
    for (size_t unit = 0; to->raise && unit < end; unit += WIDTH) {
        const VEC w = LOAD(NAME(weights_at)(a, j, unit)), scaled = w * LOG2_E;
        const VEC up = reach > MOST ? w : EXP2(scaled), down = reach > MOST ? w : EXP2(-scaled);
        const size_t at = NAME(table_at)(a, j, unit);
        NUMBER *both = (NUMBER *)to->raise + 2 * at - unit % FRBM_LANES;
        STORE(both, up);
        STORE(both + FRBM_LANES, down);
        if (to->scaled) STORE((NUMBER *)to->scaled + at, scaled);
    }
}

#undef NUMBER
#undef VEC
#undef IVEC
#undef LOAD
#undef EXP2
#undef EXP2_EACH
#undef EXP
#undef ALL
#undef MASK
#undef MASK_OF
#undef BLEND
#undef LOG2_E
#undef SELECT
#undef NAME
#undef MAX
#undef MIN
#undef MASK_LANES
#undef HIDDEN_AT_ONCE
#undef ROWS_AT_ONCE
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
#undef PARTS
#undef VECS
#undef UNITS
#undef AND
