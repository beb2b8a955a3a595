/* Pseudo-likelihood of rows, in float32 or float64.  Included by tiles.c for each target, once with FRBM_IS_DOUBLE 0
 * and once with 1.
 *
 * With x_j the inputs of the hidden layer and d_ji = (1 - 2 v_i) W_ji, flipping v_i multiplies the hidden part of p(v) by
 *     prod_j (1 + e^(x_j + d_ji)) / (1 + e^(x_j)).
 * Factors are told apart by x_j and the largest |d_ji| of the row and the hidden unit, its reach:
 *   reach at most MOST   q_j + p_j e^d_ji, p = sigmoid(x_j), q = sigmoid(-x_j), and 0 and 1 for x_j beyond the reach by
 *                        FAR.  Rows of bits have e^d in tables and go six at a time; others may leave units beyond the
 *                        reach to a sum of weights, or out
 *   else                 e^(max(x_j + d, 0) - max(x_j, 0)) (1 + e^-|x_j + d|) / (1 + e^-|x_j|), any size; beyond the
 *                        reach within the slab of visible units a sum of weights, or nothing, and without exponentials
 *                        where all x_j + d of the slab are beyond FAR
 * So nothing overflows, and what a row gets depends on no other row.  The products give up their exponent to an
 * integer before they can leave the range, and so do the products over visible units whose logarithm is the score. */

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

#include "pseudo_products.inc.c"

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
