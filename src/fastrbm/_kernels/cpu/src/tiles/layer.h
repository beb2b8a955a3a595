/* One layer given the other, panel by panel; see frbm_layer in kernels.h. */
#ifndef FASTRBM_LAYER_H
#define FASTRBM_LAYER_H

#include "activate.h"
#include "anneal.h"
#include "gaussian.h"
#include "int16.h"
#include "kernels.h"
#include "lane_math.h"
#include "limb_product.h"
#include "lookup.h"
#include "simd.h"
#include "sparse.h"
#include "transpose.h"

static void sigmoid(float *x, size_t n) {
    for (size_t i = 0; i < n; i++) x[i] = 1.0f / sigmoid_scale_lane(x[i]);
}

/* The panel to sample-major rows */
static void store_rows(const float *inputs, size_t unit0, size_t n_units, size_t lane, size_t n_lanes, float *rows,
                       size_t ld) {
    transpose_rows((const int32_t *)inputs, FRBM_SUM_LD, 0, n_units, n_lanes, (int32_t *)(rows + lane * ld + unit0),
                   ld);
}

/* sums[unit][lane] of a panel; lanes from n_lanes to `padded` hold anything */
static void panel_product(const frbm_layer *layer, size_t unit0, size_t n_units, int32_t *sums, size_t lane,
                          size_t n_lanes, int32_t *tables) {
    if (layer->sparse) {
        sparse_product(&layer->op, layer->op.rows + unit0, layer->op.rows_ld, n_units, sums, FRBM_SUM_LD, lane,
                       n_lanes);
        return;
    }
    void *room = sums + (FRBM_PANEL + FRBM_TILE) * FRBM_SUM_LD;
    if (layer->tiled) {
        limb_product(&layer->op, unit0, n_units, layer->int16, sums, FRBM_SUM_LD, lane, n_lanes, room);
        return;
    }
    if (layer->int16 &&
        int16_product(&layer->op, unit0, n_units, sums, FRBM_SUM_LD, lane, n_lanes, (float *)tables, room))
        return;
    for (size_t u = 0; u < n_units; u += FRBM_TILE) {
        const size_t here = n_units - u < FRBM_TILE ? n_units - u : FRBM_TILE;
        look_up_product(&layer->op, unit0 + u, here, 0, sums + u * FRBM_SUM_LD, FRBM_SUM_LD, lane, n_lanes, tables);
    }
}

/* Inputs in place of the product, 0 in padding lanes */
static void add_bias(const frbm_layer *layer, size_t unit0, size_t n_units, void *sums, size_t lane, size_t n_lanes,
                     size_t padded) {
    for (size_t u = 0; u < n_units; u++) {
        const float bias = layer->bias[unit0 + u];
        float *row = (float *)sums + u * FRBM_SUM_LD;
        if (layer->op.bits) {
            for (size_t l = 0; l < padded; l += 16) {
                const vec_i product = load_i(row + l);
                const vec_f x = bias + layer->quantum * __builtin_convertvector(product, vec_f);
                STORE(row + l, x);
            }
        } else {
            const float *preset = layer->preset + (unit0 + u) * layer->preset_ld + lane;
            for (size_t l = 0; l < n_lanes; l++) row[l] = bias + preset[l];
        }
        for (size_t l = n_lanes; l < padded; l++) row[l] = 0.0f;
    }
}

static void panel(const frbm_layer *layer, size_t unit0, size_t n_units, float *scratch) {
    float *inputs = scratch + FRBM_TABLE_FLOATS;
    for (size_t lane = 0; lane < layer->n_lanes; lane += FRBM_LANE_BLOCK) {
        const size_t n_lanes = layer->n_lanes - lane < FRBM_LANE_BLOCK ? layer->n_lanes - lane : FRBM_LANE_BLOCK;
        const size_t padded = frbm_round_up(n_lanes, 16);
        if (layer->op.bits)
            panel_product(layer, unit0, n_units, (int32_t *)inputs, lane, n_lanes, (int32_t *)scratch);
        add_bias(layer, unit0, n_units, inputs, lane, n_lanes, padded);
        if (layer->inputs)
            for (size_t u = 0; u < n_units; u++)
                memcpy(layer->inputs + (unit0 + u) * layer->inputs_ld + lane, inputs + u * FRBM_SUM_LD,
                       n_lanes * sizeof(float));
        if (layer->means || layer->fixed_means || layer->words || layer->planes)
            for (size_t u = 0; u < n_units; u += 32)
                activate(layer, inputs + u * FRBM_SUM_LD, unit0 + u, n_units - u < 32 ? n_units - u : 32, lane,
                         n_lanes);
        if (layer->gaussian) {
            add_normal_lanes(inputs, unit0, n_units, lane, padded, &layer->draw);
            for (size_t u = 0; u < n_units; u++)
                memcpy(layer->gaussian + (unit0 + u) * layer->gaussian_ld + lane, inputs + u * FRBM_SUM_LD,
                       n_lanes * sizeof(float));
            if (layer->gaussian_rows)
                store_rows(inputs, unit0, n_units, lane, n_lanes, layer->gaussian_rows, layer->gaussian_rows_ld);
        }
        if (layer->inputs_rows) store_rows(inputs, unit0, n_units, lane, n_lanes, layer->inputs_rows, layer->n_out);
        if (layer->means_rows) {
            for (size_t u = 0; u < n_units; u++) sigmoid(inputs + u * FRBM_SUM_LD, n_lanes);
            store_rows(inputs, unit0, n_units, lane, n_lanes, layer->means_rows, layer->n_out);
        }
    }
}

static void anneal_panel(const frbm_anneal_layer *a, size_t unit0, size_t n_units, float *scratch) {
    const frbm_layer *layer = &a->layer;
    float *inputs = scratch + FRBM_TABLE_FLOATS;
    for (size_t lane = 0; lane < layer->n_lanes; lane += FRBM_LANE_BLOCK) {
        const size_t n_lanes = layer->n_lanes - lane < FRBM_LANE_BLOCK ? layer->n_lanes - lane : FRBM_LANE_BLOCK;
        panel_product(layer, unit0, n_units, (int32_t *)inputs, lane, n_lanes, (int32_t *)scratch);
        add_bias(layer, unit0, n_units, inputs, lane, n_lanes, frbm_round_up(n_lanes, 16));
        for (size_t u = 0; u < n_units; u += 32) {
            const size_t here = n_units - u < 32 ? n_units - u : 32;
            anneal_inputs(inputs + u * FRBM_SUM_LD, here, a->base + unit0 + u, a->beta, a->before, n_lanes,
                          a->log_weights + lane);
            activate(layer, inputs + u * FRBM_SUM_LD, unit0 + u, here, lane, n_lanes);
        }
    }
}

#endif
