/* Tile kernels.  Compiled once per instruction set with -DFRBM_TABLE=<name> and one of FRBM_AVX512, FRBM_AVX2, FRBM_NEON
 * or none (baseline), and FRBM_TILES (tile_unit.h), with FRBM_I8MM (byte_matrices.h) on arm64; see setup.py.  Contract and layouts: kernels.h. */
#include <math.h>

#include "anneal.h"
#include "bits.h"
#include "coincidences.h"
#include "decide.h"
#include "delta.h"
#include "dense.h"
#include "dense_zeros.h"
#include "drawn_rows.h"
#include "filters.h"
#include "gaussian.h"
#include "gradient.h"
#include "gradient_sums.h"
#include "int16_dense.h"
#include "kernels.h"
#include "label_lanes.h"
#include "labels.h"
#include "lane_math.h"
#include "layer.h"
#include "levels.h"
#include "limb_product.h"
#include "limbs.h"
#include "normal.h"
#include "philox.h"
#include "rules.h"
#include "softmax.h"
#include "turned.h"
#include "wave.h"

/* ---- likelihood pieces --------------------------------------------------------------------------------------- */

static void add_softplus(const float *inputs, size_t ld, size_t n_units, size_t n_lanes, double *energy) {
    for (size_t u = 0; u < n_units; u++)
        for (size_t l = 0; l < n_lanes; l++) energy[l] += (double)softplus_lane(inputs[u * ld + l]);
}

static void philox(uint32_t *out, uint32_t unit_block, uint32_t first_chain, const frbm_draw *draw) {
    uint32_t random[4][16];
    const philox_step step = philox_step_of(draw);
    philox_lanes(random, unit_block, first_chain, &step);
    memcpy(out, random, sizeof random);
}

/* ---- pseudo-likelihood ---------------------------------------------------------------------------------------- */

#define FRBM_IS_DOUBLE 0
#include "pseudo.inc.c"
#undef FRBM_IS_DOUBLE
#define FRBM_IS_DOUBLE 1
#include "pseudo.inc.c"
#undef FRBM_IS_DOUBLE

/* ---- partition sums ------------------------------------------------------------------------------------------ */

#define FRBM_IS_DOUBLE 0
#include "partition.inc.c"
#undef FRBM_IS_DOUBLE
#define FRBM_IS_DOUBLE 1
#include "partition.inc.c"

#define STRING(x) #x
#define NAME_OF(x) STRING(x)

const frbm_table FRBM_TABLE = {
    .name = NAME_OF(FRBM_TABLE),
    FRBM_COSTS, .pack_u8 = pack_u8,
    .pack_f32 = pack_f32,
    .pack_f64 = pack_f64,
    .gather = gather,
    .transpose_words = transpose_words,
    .draw_rows = draw_rows,
    .load_levels = load_levels,
    .level_inputs = level_inputs,
    .cut_weights = cut_weights,
    .panel = panel,
    .apply_rule = apply_rule,
    .gradient_rows = gradient_rows,
    .gradient_sums = gradient_sums,
    .hidden_sums = hidden_sums,
    .follow_gradient = follow_gradient,
    .quantise_rows = quantise_rows,
    .cut_limbs = cut_limbs,
    .quantise = quantise,
    .add_softplus = add_softplus,
    .sigmoid = sigmoid,
    .pseudo_scratch_f32 = pseudo_scratch_f32,
    .pseudo_scratch_f64 = pseudo_scratch_f64,
    .pseudo_block_f32 = pseudo_block_f32,
    .pseudo_block_f64 = pseudo_block_f64,
    .pseudo_tables_f32 = pseudo_tables_f32,
    .pseudo_tables_f64 = pseudo_tables_f64,
    .count_planes = count_planes,
    .count_flips = count_flips,
    .draw_inputs = draw_inputs,
    .pack_int16 = pack_int16,
    .filter_panel = filter_panel,
    .delta_product = delta_product,
    .anneal_panel = anneal_panel,
    .add_field = add_field,
    .partition_f32 = partition_block_f32,
    .partition_f64 = partition_block_f64,
    .label_scores = label_scores,
    .label_means = label_means,
    .label_raise = label_raise,
    .label_products = label_products,
    .label_residuals = label_residuals,
    .label_pulls = label_pulls,
    .wave_state = wave_state,
    .wave_sweeps = wave_sweeps,
    .philox = philox,
    .decide = decide,
    .uniform_rows = uniform_rows,
    .add_normals = add_normals,
    .normal_quantiles = normal_quantiles,
    .dense_product = dense_product_f32,
    .dense_product_skipping = dense_product_skipping,
    .turned_inputs = turned_inputs,
    .turned_quantise = turned_quantise,
    .turned_gradient = turned_gradient,
    .pull_rows = pull_rows,
    .dense_layer_f32 = dense_layer_f32,
    .dense_layer_f64 = dense_layer_f64,
    .dense_moments_f32 = dense_moments_f32,
    .dense_moments_f64 = dense_moments_f64,
    .load_gaussian = load_gaussian,
    .int16_rows = int16_rows,
    .int16_lanes = int16_lanes,
    .int16_dense_product = int16_dense_product,
    .gaussian_gradient_rows = gaussian_gradient_rows,
    .gaussian_gradient_columns = gaussian_gradient_columns,
    .gaussian_bias = gaussian_bias,
    .onehot_block = onehot_block,
    .onehot_rows = onehot_rows,
};
