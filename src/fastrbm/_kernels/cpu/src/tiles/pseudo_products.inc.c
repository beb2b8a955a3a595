/* Pseudo-likelihood: what holds of one row and one slab of visible units, and the products over hidden units. Included by
 * pseudo.inc.c, which says what is computed and defines the macros. */

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
    return (VEC)((bits & ((((IVEC){0} + 1) << MANTISSA) - 1)) | ONE_BITS);
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
