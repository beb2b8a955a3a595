/* The gradient in two halves, for samples that are not all here: sums of whole numbers, and the update by them.
 *
 * Both do what `gradient_rows` does in one go, operation for operation, so the bits are the same whoever has added what.
 */
#ifndef FASTRBM_GRADIENT_SUMS_H
#define FASTRBM_GRADIENT_SUMS_H

#include "gradient.h"
#include "levels.h"

/* Sums of the products of bits of a tile; of a phase without samples they are 0 */
static void bit_sums(const frbm_gradient *g, size_t first, size_t count, size_t lane, size_t n_lanes, int32_t *sums,
                     int32_t *tables) {
    if (by_tiles(g) || g->negative_hidden || in_one_word(g)) {
        tile_products(g, first, count, lane, n_lanes, sums, tables);
        return;
    }
    for (size_t j = 0; j < count; j++) memset(sums + j * FRBM_SUM_LD, 0, n_lanes * sizeof *sums);
    if (!g->levels && g->positive.n_inputs)
        look_up_product(&g->positive, first, count, 1, sums, FRBM_SUM_LD, lane, n_lanes, tables);
    if (g->negative.n_inputs)
        look_up_product(&g->negative, first, count, 1, sums, FRBM_SUM_LD, lane, n_lanes, tables);
}

/* Sums of levels beside those of bits: of sampled states the counts of both, of means all in two numbers */
static void level_row(const frbm_gradient *g, const int32_t *high, const int32_t *low, const int32_t *sums, size_t n,
                      int32_t *to, int32_t *other) {
    for (size_t i = 0; i < n; i++) {
        const int64_t levels = g->positive.n_inputs ? (int64_t)high[i] * 65536 + low[i] : 0;
        const int64_t total = levels + 255 * (int64_t)sums[i];
        to[i] = g->negative_hidden ? (int32_t)levels : (int32_t)(total >> FRBM_LOW_BITS);
        other[i] = g->negative_hidden ? sums[i] : (int32_t)(total & ((1 << FRBM_LOW_BITS) - 1));
    }
}

static void tile_sums(const frbm_gradient *g, size_t first, size_t count, size_t lane, size_t n_lanes,
                      const frbm_sums *to, float *scratch) {
    int32_t *tables = (int32_t *)scratch, *sums = (int32_t *)(scratch + FRBM_TABLE_FLOATS);
    int32_t *high = sums + LEVEL_SUM_ROW * FRBM_SUM_LD, *low = high + LEVEL_UNITS * FRBM_SUM_LD;
    bit_sums(g, first, count, lane, n_lanes, sums, tables);
    if (g->levels) level_products(g, first, count, lane, n_lanes, high, low, tables);
    for (size_t j = 0; j < count; j++, sums += FRBM_SUM_LD, high += FRBM_SUM_LD, low += FRBM_SUM_LD) {
        const size_t at = (first + j) * to->ld + lane;
        if (g->levels) {
            level_row(g, high, low, sums, n_lanes, to->weights + at, to->model_weights + at);
            continue;
        }
        memcpy(to->weights + at, sums, n_lanes * sizeof *sums);
        if (to->model_weights)
            memcpy(to->model_weights + at, sums + FRBM_TILE * FRBM_SUM_LD, n_lanes * sizeof *sums);
    }
}

/* Sums of the weights of hidden units [first, first + count) */
static void gradient_sums(const frbm_gradient *g, size_t first, size_t count, const frbm_sums *to, float *scratch) {
    frbm_gradient whole = *g;
    whole.unscaled = 1;
    const size_t size = !by_tiles(g) ? FRBM_TILE : g->levels ? LEVEL_UNITS : FRBM_PANEL;
    for (size_t j = first; j < first + count; j += size) {
        const size_t here = first + count - j < size ? first + count - j : size;
        for (size_t lane = 0; lane < g->n_visible; lane += FRBM_LANE_BLOCK) {
            const size_t left = g->n_visible - lane;
            tile_sums(&whole, j, here, lane, left < FRBM_LANE_BLOCK ? left : FRBM_LANE_BLOCK, to, scratch);
        }
    }
}

/* Those of their biases */
static void hidden_sums(const frbm_gradient *g, size_t first, size_t count, const frbm_sums *to) {
    const coincidence_planes positive = positive_planes(g), negative = negative_planes(g);
    for (size_t j = first; j < first + count; j++) {
        if (to->model_hidden) {
            to->hidden[j] = to->model_hidden[j] = 0;
            count_planes(positive.hidden, positive.hidden_ld, positive.n_words, j, 1, to->hidden + j);
            count_planes(negative.hidden, negative.hidden_ld, negative.n_words, j, 1, to->model_hidden + j);
            continue;
        }
        const int32_t of_data = fixed_sum(g->positive.coef + j * g->positive.out_stride, g->positive.n_inputs);
        const int32_t of_model = fixed_sum(g->negative.coef + j * g->negative.out_stride, g->negative.n_inputs);
        to->hidden[j] = (int32_t)((uint32_t)of_data + (uint32_t)of_model);
    }
}

/* Row of the gradient of the weights in place of its sums, which are padded to a multiple of 16 */
static void scaled_row(const frbm_gradient *g, int32_t *sums, int32_t *other, size_t n) {
    float *row = (float *)sums;
    if (!other) {
        scale_sums(sums, n, g->quantum);
    } else if (g->levels && g->negative_hidden) {
        for (size_t i = 0; i < n; i++)
            row[i] = g->positive_share * (float)((double)sums[i] * (1.0 / 255.0)) + g->negative_share * (float)other[i];
    } else if (g->levels) {
        for (size_t i = 0; i < n; i++) {
            const double total = (double)(1 << FRBM_LOW_BITS) * (double)sums[i] + (double)other[i];
            row[i] = (float)(total * ((double)g->quantum / 255.0));
        }
    } else {
        const float *of_model = (const float *)other;
        scale_sums(sums, n, g->positive_share);
        scale_sums(other, n, g->negative_share);
        for (size_t i = 0; i < n; i++) row[i] += of_model[i];
    }
}

static void follow_row(const frbm_gradient *g, size_t unit, size_t lane, size_t n, float hidden, const frbm_sums *from,
                       float *scratch) {
    const size_t at = unit * g->n_visible + lane;
    const int32_t *given = from->weights + unit * from->ld + lane;
    if (is_plain(g)) {
        follow_sums(g->weights + at, given, n, g->quantum, g->rule.rate);
        return;
    }
    int32_t *sums = (int32_t *)scratch, *other = from->model_weights ? sums + FRBM_SUM_LD : NULL;
    memcpy(sums, given, n * sizeof *sums);
    if (other) memcpy(other, given + (from->model_weights - from->weights), n * sizeof *sums);
    scaled_row(g, sums, other, n);
    if (g->spins.scale != 0.0f) to_spins(&g->spins, hidden, lane, (float *)sums, n);
    update(&g->rule, 1, g->weights, g->slots, at, (float *)sums, n);
}

static void follow_gradient(const frbm_gradient *g, size_t first, size_t count, const frbm_sums *from,
                            frbm_magnitudes *magnitudes, float *scratch) {
    float hidden[FRBM_PANEL];
    for (size_t j = 0; j < count; j++) {
        const float data = (float)from->hidden[first + j];
        hidden[j] = from->model_hidden
                        ? data * g->positive_share + (float)from->model_hidden[first + j] * g->negative_share
                        : g->quantum * data;
    }
    for (size_t j = 0; j < count; j++)
        for (size_t lane = 0; lane < g->n_visible; lane += FRBM_LANE_BLOCK) {
            const size_t left = g->n_visible - lane;
            follow_row(g, first + j, lane, left < FRBM_LANE_BLOCK ? left : FRBM_LANE_BLOCK, hidden[j], from, scratch);
        }
    follow_hidden(g, first, count, hidden, magnitudes);
}

#endif
