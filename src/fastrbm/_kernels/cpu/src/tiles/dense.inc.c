/* Dense products, included by dense.h with FRBM_IS_DOUBLE 0 and 1. */
#if FRBM_IS_DOUBLE
#define NUMBER double
#define REG reg_d
#define NAME(x) x##_f64
#define ADD_PRODUCT(sum, a, x) ((sum) + (a) * (x))
#else
#define NUMBER float
#define REG reg_f
#define NAME(x) x##_f32
#define ADD_PRODUCT(sum, a, x) rounded_once(all_f(a), x, sum)
#endif
#define WIDTH (REGISTER / sizeof(NUMBER))

INLINE void NAME(dense_block)(const int rows, const int vectors, const NUMBER *a, size_t lda, const NUMBER *b,
                              size_t ldb, size_t depth, int add, NUMBER *out, size_t ld) {
    REG sum[DENSE_ROWS][DENSE_VECTORS];
#pragma GCC unroll 8
    for (int o = 0; o < rows; o++)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
            sum[o][v] = (REG){0};
            if (add) memcpy(&sum[o][v], out + (size_t)o * ld + WIDTH * v, REGISTER);
        }
    for (size_t k = 0; k < depth; k++, b += ldb) {
        REG x[DENSE_VECTORS];
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) memcpy(&x[v], b + WIDTH * v, REGISTER);
#pragma GCC unroll 8
        for (int o = 0; o < rows; o++)
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++) sum[o][v] = ADD_PRODUCT(sum[o][v], a[(size_t)o * lda + k], x[v]);
    }
#pragma GCC unroll 8
    for (int o = 0; o < rows; o++)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) STORE(out + (size_t)o * ld + WIDTH * v, sum[o][v]);
}

static __attribute__((noinline)) void NAME(dense_rows)(size_t rows, size_t vectors, const NUMBER *a, size_t lda,
                                                       const NUMBER *b, size_t ldb, size_t depth, int add, NUMBER *out,
                                                       size_t ld) {
#define FRBM_SHAPE(R, V) \
    case DENSE_SHAPE(R, V): NAME(dense_block)(R, V, a, lda, b, ldb, depth, add, out, ld); break;
    switch (DENSE_SHAPE(rows, vectors)) { DENSE_SHAPES(FRBM_SHAPE) }
#undef FRBM_SHAPE
}

/* out[row][lane] = or += sum over k of a[row][k] * b[k][lane]; rows of b and out have room up to a multiple of 16
 * lanes */
static void NAME(dense_product)(const NUMBER *a, size_t lda, size_t n_rows, const NUMBER *b, size_t ldb, size_t depth,
                                size_t n_lanes, int add, NUMBER *out, size_t ld) {
    n_lanes = frbm_round_up(n_lanes, 16);
    for (size_t lane = 0; lane < n_lanes;) {
        const size_t vectors = dense_vectors_of((n_lanes - lane) / WIDTH);
        for (size_t row = 0; row < n_rows;) {
            const size_t here = dense_rows_of(n_rows - row);
            NAME(dense_rows)(here, vectors, a + row * lda, lda, b + lane, ldb, depth, add, out + row * ld + lane, ld);
            row += here;
        }
        lane += vectors * WIDTH;
    }
}

/* Rows of `in` to lanes of `out`, with 0 in those up to the next multiple of 16 */
static void NAME(dense_lanes)(const NUMBER *in, size_t ld, size_t n, size_t width, NUMBER *out, size_t out_ld) {
    const size_t padded = frbm_round_up(n, 16);
#if FRBM_IS_DOUBLE
    for (size_t block = 0; block < width; block += 8) {
        const size_t here = width - block < 8 ? width - block : 8;
        for (size_t r = 0; r < n; r++)
            for (size_t i = 0; i < here; i++) out[(block + i) * out_ld + r] = in[r * ld + block + i];
    }
#else
    transpose_rows((const int32_t *)in, ld, 0, n, width, (int32_t *)out, out_ld);
#endif
    if (n < padded)
        for (size_t i = 0; i < width; i++) memset(out + i * out_ld + n, 0, (padded - n) * sizeof(NUMBER));
}

/* dense_product whose `b` and `out` have no room after the last lane: that of `tail`, (depth + n_rows) * 16 numbers,
 * serves for it */
static void NAME(dense_tight)(const NUMBER *a, size_t lda, size_t n_rows, const NUMBER *b, size_t ldb, size_t depth,
                              size_t n_lanes, int add, NUMBER *out, size_t ld, NUMBER *tail) {
    const size_t whole = n_lanes / 16 * 16, bytes = (n_lanes - whole) * sizeof(NUMBER);
    NUMBER *sums = tail + 16 * depth;
    if (whole) NAME(dense_product)(a, lda, n_rows, b, ldb, depth, whole, add, out, ld);
    if (!bytes) return;
    memset(tail, 0, (depth + n_rows) * 16 * sizeof(NUMBER));
    for (size_t k = 0; k < depth; k++) memcpy(tail + 16 * k, b + k * ldb + whole, bytes);
    if (add)
        for (size_t r = 0; r < n_rows; r++) memcpy(sums + 16 * r, out + r * ld + whole, bytes);
    NAME(dense_product)(a, lda, n_rows, tail, 16, depth, 16, add, sums, 16);
    for (size_t r = 0; r < n_rows; r++) memcpy(out + r * ld + whole, sums + 16 * r, bytes);
}

/* out[row][unit] = bias[unit] + sum over the inputs; see kernels.h */
static void NAME(dense_layer)(const frbm_dense_layer *layer, size_t first, size_t n, void *scratch) {
    const size_t n_in = layer->n_in, n_out = layer->n_out;
    const NUMBER *x = (const NUMBER *)layer->rows + first * layer->rows_ld, *weights = layer->weights;
    const NUMBER *bias = layer->bias;
    NUMBER *out = (NUMBER *)layer->out + first * n_out, *given = scratch, *sums = given + n_in * FRBM_DENSE_BLOCK;
    if (layer->transpose) {
        NAME(dense_tight)(x, layer->rows_ld, n, weights, n_out, n_in, n_out, 0, out, n_out, given);
        for (size_t r = 0; r < n; r++)
            for (size_t u = 0; u < n_out; u++) out[r * n_out + u] += bias[u];
        return;
    }
    if (n <= DENSE_FEW) {
        for (size_t unit = 0; unit < n_out; unit += FRBM_DENSE_BLOCK) {
            const size_t here = n_out - unit < FRBM_DENSE_BLOCK ? n_out - unit : FRBM_DENSE_BLOCK;
            NAME(dense_lanes)(weights + unit * n_in, n_in, here, n_in, given, FRBM_DENSE_BLOCK);
            NAME(dense_product)(x, layer->rows_ld, n, given, FRBM_DENSE_BLOCK, n_in, here, 0, sums, FRBM_DENSE_BLOCK);
            for (size_t r = 0; r < n; r++)
                for (size_t u = 0; u < here; u++)
                    out[r * n_out + unit + u] = sums[r * FRBM_DENSE_BLOCK + u] + bias[unit + u];
        }
        return;
    }
    NAME(dense_lanes)(x, layer->rows_ld, n, n_in, given, FRBM_DENSE_BLOCK);
    for (size_t unit = 0; unit < n_out; unit += FRBM_DENSE_BLOCK) {
        const size_t here = n_out - unit < FRBM_DENSE_BLOCK ? n_out - unit : FRBM_DENSE_BLOCK;
        NAME(dense_product)(weights + unit * n_in, n_in, here, given, FRBM_DENSE_BLOCK, n_in, n, 0, sums,
                            FRBM_DENSE_BLOCK);
        for (size_t r = 0; r < n; r++)
            for (size_t u = 0; u < here; u++)
                out[r * n_out + unit + u] = sums[u * FRBM_DENSE_BLOCK + r] + bias[unit + u];
    }
}

/* out[unit][column] += sum over the rows of scale * hidden[row][unit] * visible[row][column]; see kernels.h */
static void NAME(dense_moments)(const frbm_dense_moments *m, size_t first, size_t count, void *scratch) {
    const NUMBER *hidden = (const NUMBER *)m->hidden + first, *visible = m->visible;
    const NUMBER scale = (NUMBER)m->scale;
    NUMBER *turned = scratch, *tail = turned + FRBM_DENSE_BLOCK * FRBM_DENSE_ROWS;
    NUMBER *out = (NUMBER *)m->out + first * m->n_visible;
    for (size_t row = 0; row < m->n; row += FRBM_DENSE_ROWS) {
        const size_t here = m->n - row < FRBM_DENSE_ROWS ? m->n - row : FRBM_DENSE_ROWS;
        NAME(dense_lanes)(hidden + row * m->n_hidden, m->n_hidden, here, count, turned, FRBM_DENSE_ROWS);
        for (size_t j = 0; j < count; j++)
            for (size_t r = 0; r < here; r++) turned[j * FRBM_DENSE_ROWS + r] *= scale;
        NAME(dense_tight)(turned, FRBM_DENSE_ROWS, count, visible + row * m->visible_ld, m->visible_ld, here,
                          m->n_visible, 1, out, m->n_visible, tail);
    }
}

#undef NUMBER
#undef REG
#undef NAME
#undef ADD_PRODUCT
#undef WIDTH
