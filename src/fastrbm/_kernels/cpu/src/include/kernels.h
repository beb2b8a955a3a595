/* What every instruction-set build of the tile kernels provides.
 *
 * The kernels are single-threaded and allocate nothing: threads, work lists and memory belong to the
 * callers (workers.h, _cpu.pyx).  Products of bits are sums of fixed-point integers (quantise.h), exact in any order;
 * elementwise float32 arithmetic is the same sequence of IEEE operations whatever the vector width.  So all targets
 * and all ways to do a product return identical bits.  (Partition sums are the exception; see partition.inc.c.)
 *
 * Layouts
 *   rows     sample-major bits, uint64 [sample][ceil(units/64)], unit u = bit u%64 of word u/64
 *   words    for products over units:   uint32 [ceil(units/32)][lane], lane = sample
 *   planes   for products over samples: uint32 [ceil(samples/32)][lane], lane = unit
 *   sums     unit-major [unit][lane], lane = sample
 *   fixed    int32 weights W * 2^k, [hidden][visible], rows padded to FRBM_LANE_PAD
 * The lane stride of `words` and `sums` is a multiple of FRBM_LANES samples; padding lanes are ignored.
 */
#ifndef FASTRBM_KERNELS_H
#define FASTRBM_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "constants.h"

/* Integers cut into bytes, as tiles of 16 outputs and 64 inputs; see limbs.h */
typedef struct {
    uint8_t *bytes; /* [block of 16 outputs][limb][step of 64 inputs][16][64]; NULL: there are none */
    uint8_t *high;  /* [block][step][4]: whether 16 inputs of a tile have anything in limb 3 */
    size_t n_steps;
} frbm_limbs;

/* sum_k bit[k][lane] * coef[output * out_stride + k * in_stride], exact modulo 2^32 */
typedef struct {
    const uint32_t *bits;
    size_t stride; /* uint32 from one 32-input word to the next */
    size_t n_inputs;
    const int32_t *coef;
    size_t out_stride, in_stride;
    /* the same coefficients as [input][output], each row padded to FRBM_LANE_PAD; NULL: look-ups only */
    const int32_t *rows;
    size_t rows_ld;
    const frbm_limbs *limbs; /* the same coefficients again, or NULL */
} frbm_operand;

typedef struct {
    uint32_t key[2];
    uint64_t step;
    uint32_t stream;
    uint32_t first_chain;
} frbm_draw;

/* One layer given the other: bias + product, then what the non-NULL outputs ask for. */
typedef struct {
    frbm_operand op;     /* op.bits NULL: the product is read from `preset` */
    int sparse;          /* product by op.rows instead of look-ups */
    int tiled;           /* product by op.limbs instead of both */
    int int16;          /* coefficients of 16 bits, see frbm_fixed */
    float quantum;        /* value of 1 in the product: 2^-k */
    const float *preset; /* sums without bias, [unit][lane] */
    size_t preset_ld;
    const float *bias;
    size_t n_out, n_lanes;
    float *inputs; /* bias + product, [unit][lane] */
    size_t inputs_ld;
    float *means; /* sigmoid(input) * mean_scale, [unit][lane]; 0 in padding lanes up to a multiple of 32 */
    int32_t *fixed_means; /* the same rounded to integers, the coefficients of a gradient */
    size_t means_ld;
    float mean_scale;
    float *inputs_rows, *means_rows; /* inputs, and sigmoid(input), by sample: [lane][n_out] */
    uint32_t *words; /* sampled states as words */
    size_t words_ld;
    uint32_t *planes; /* sampled states as planes */
    size_t planes_ld;
    float *gaussian, *gaussian_rows; /* Gaussian states, drawn: [unit][lane], and [lane][unit] unless NULL */
    size_t gaussian_ld, gaussian_rows_ld;
    frbm_draw draw;
} frbm_layer;

/* One-hot units from their inputs, which are overwritten; see softmax.h */
typedef struct {
    float *inputs; /* [unit][lane]; padding lanes up to a multiple of 16 hold numbers */
    size_t inputs_ld, n_units;
    size_t group; /* units of a group; n_units is a multiple */
    /* at most one of the two: softmax * mean_scale, [unit][lane]; `means` may be `inputs` */
    float *means;
    int32_t *fixed_means; /* 0 in padding lanes up to a multiple of 32 */
    size_t means_ld;
    float mean_scale;
    uint32_t *words, *planes; /* drawn states, or NULL */
    size_t words_ld, planes_ld;
    frbm_draw draw;
} frbm_onehot;

/* A layer summed out of the weights of annealed chains and drawn; see anneal.h */
typedef struct {
    frbm_layer layer; /* bias: the field, so that its input is that of inverse temperature 1 less `base` */
    float beta, before;
    const float *base;
    double *log_weights; /* [lane] */
} frbm_anneal_layer;

enum frbm_method {
    FRBM_BY_INT16,    /* center by 16-bit look-ups */
    FRBM_BY_LANDMARKS, /* center by a projection of weights and states on a few directions */
    FRBM_BY_EARLIER_SUMS,   /* center from exact sums of an earlier state */
    FRBM_BY_SUMS    /* exact sums of this state: no filter */
};

/* A layer drawn with less than the whole product; see filters.h.  Only `words` of the layer are written. */
typedef struct {
    frbm_layer layer;
    enum frbm_method method;
    const int32_t *by_output; /* fixed-point weights [output][input], for what a filter leaves open */
    size_t by_output_ld;
    const float *radius;        /* [output]; times spread[lane], plus slack[output], unless spread is NULL */
    const float *slack;
    const float *spread;        /* [lane] */
    const float *grow, *shrink; /* e^radius and its inverse, rounded outwards, where radius <= 1 and no spread */
    const uint32_t *packed;     /* FRBM_BY_INT16: pack_int16 of every output, and room for 5 outputs more */
    const float *packed_quantum;   /* value of 1 in its sums */
    const float *project, *coordinates; /* FRBM_BY_LANDMARKS: [output][rank] and [rank][lane] */
    size_t rank, coordinates_ld;
    const int32_t *sums; /* FRBM_BY_EARLIER_SUMS, FRBM_BY_SUMS: [lane][output] */
    size_t sums_ld;
} frbm_filter;

/* What was done and what was spared.  A decision is one unit of one chain in one step; products are counted in
 * multiply-adds of single inputs. */
typedef struct {
    uint64_t decisions, filtered, recomputed, products, dense_products, refreshes;
} frbm_work;

/* What is known of the size of the weights after an update; see quantise.h.  One per thread. */
typedef struct {
    uint32_t *columns; /* [n_visible] sums of magnitudes over the rows that this thread did */
    uint64_t row;      /* largest sum of a row */
    uint32_t seen;     /* or of all magnitudes */
} frbm_magnitudes;

/* A fixed-point copy of the weights that follows the updates */
typedef struct {
    int32_t *weights; /* [n_hidden][ld] */
    size_t ld;
    int32_t *transposed; /* [n_visible][transposed_ld], or NULL */
    size_t transposed_ld;
    frbm_limbs of_hidden, of_visible; /* limbs for the inputs of the hidden layer, and of the visible one; or none */
    uint32_t *halves; /* [n_hidden][halves_ld] for products with levels, or NULL; see levels.h */
    size_t halves_ld;
    float scale;       /* 2^k */
    int int16;        /* rounded to multiples of 2^16 whose sums fit 32 bits, so 16-bit kernels can do the products */
    float magnitude_scale; /* 2^s */
} frbm_fixed;

/* How parameters follow their gradient; see rules.h */
typedef struct {
    int kind;
    float rate, momentum; /* momentum: beta 1 of Adam */
    float decay, epsilon; /* of the mean square: rho, beta 2 */
    float mean_scale, square_scale; /* Adam at update t: 1 / (1 - momentum^t), 1 / (1 - decay^t) */
    float l1, l2;
    float clip; /* 0: none */
} frbm_rule;

/* Layers of spins s = 2 x - 1, of which the kernels see the bits x.  The gradient of the coupling of the spins is
 * scale * (gradient of bits - visible/2 * that of hidden biases - hidden/2 * that of visible ones). */
typedef struct {
    int visible, hidden;        /* which layers are spins */
    const float *delta_visible; /* gradient of the visible biases, as bits */
    float scale;                /* 2 for each layer of spins */
} frbm_spins;

/* Gradient of one block of hidden units and its update */
typedef struct {
    frbm_operand positive, negative; /* bits: planes of v; coef: fixed_means [unit][sample], scale and sign included */
    float quantum;                    /* value of 1 in them */
    const float *dense_positive;     /* grey data: the positive gradient of these rows, else NULL */
    const float *dense_means;        /* and its hidden means [unit][sample] */
    size_t dense_ld;
    const uint32_t *levels; /* or the rows as levels, [samples / 2][levels_ld], for positive.coef; else NULL */
    size_t levels_ld;
    /* sampled hidden states as planes in place of coefficients; NULL: means.  A coincidence adds the share. */
    const uint32_t *positive_hidden, *negative_hidden;
    size_t hidden_ld;
    float positive_share, negative_share; /* 1 / samples and -1 / chains */
    float *weights, *slots[FRBM_SLOTS]; /* [n_hidden][n_visible] */
    float *bias, *bias_slots[FRBM_SLOTS];
    size_t n_visible;
    frbm_rule rule;
    frbm_spins spins; /* scale 0: both layers are bits */
    frbm_fixed fixed; /* fixed.weights NULL: no copy wanted */
    int unscaled;     /* products are left as the whole numbers that they are */
} frbm_gradient;

/* The whole numbers that the gradient of weights and hidden biases is made of.  With sampled states those of the data
 * are in `weights` and `hidden`, those of the chains in the others; with means of rows of levels `model_weights` are the
 * lower FRBM_LOW_BITS bits.  NULL where there are none. */
typedef struct {
    int32_t *weights, *model_weights; /* [n_hidden][ld] */
    size_t ld;
    int32_t *hidden, *model_hidden; /* [n_hidden] */
} frbm_sums;

/* Products of the halves of weights with levels by lanes; see levels.h */
typedef struct {
    const uint32_t *halves; /* [output][ld] */
    size_t ld;
    const uint32_t *lanes; /* [(n_inputs + 1) / 2][lanes_ld] */
    size_t lanes_ld;
    const int32_t *sums; /* [lane]: sums of the levels */
    size_t n_inputs, n_lanes;
    double scale;
} frbm_level_product;

/* Gradient of weights and hidden biases with Gaussian visible states of both phases, and its update; see gaussian.h */
typedef struct {
    size_t n_data, n_model, n_visible, n_hidden;
    const float *data_rows, *model_rows; /* with means: [sample][rows_ld], room up to a multiple of 16 units */
    size_t rows_ld;
    const float *data_lanes, *model_lanes; /* the same, [visible][sample] */
    size_t data_ld, model_ld;
    const float *data_means, *model_means; /* [hidden][data_ld], [hidden][model_ld]: times 1 / samples, -1 / chains */
    const uint32_t *data_hidden, *model_hidden; /* or sampled states as planes */
    size_t hidden_ld;
    float *weights, *slots[FRBM_SLOTS], *bias, *bias_slots[FRBM_SLOTS];
    frbm_rule rule;
    frbm_fixed fixed;
} frbm_gaussian_gradient;

/* Pseudo-likelihood of rows, their visible units flipped one at a time; see pseudo.inc.c.  Numbers are float32 or
 * float64, weights of any size. */
typedef struct {
    const void *weights; /* [hidden][visible] */
    /* made by pseudo_tables: the last visible units, [hidden][FRBM_LANES]; the largest magnitude of each row, and of
     * each slab of 256 bytes of it, [slab][slab_ld], both of hidden units padded to 64 with zeros */
    const void *tail, *reach, *slab_reach;
    size_t slab_ld;
    /* and for many rows, or NULL, of visible units in blocks of FRBM_LANES: e^W and e^-W (or twice W where it is large),
     * [block][hidden][2][lane], and
     * for dense ones W log2 e, [block][hidden][lane] */
    const void *raise, *scaled;
    const void *visible_bias, *inputs; /* inputs of the hidden layer, [sample][hidden] */
    const uint64_t *rows;              /* bits */
    size_t row_words;
    const void *dense; /* rows NULL: [sample][dense_ld], any values */
    size_t dense_ld;
    size_t n_visible, n_hidden;
    double *score;
} frbm_pseudo;

typedef struct {
    void *tail, *reach, *slab_reach, *raise, *scaled;
} frbm_pseudo_tables;

/* A sum over all states of high, middle and low units, n_units other units summed out; see partition.inc.c.
 * Everything is to base 2.  The weight that the biases give to a middle or low state is mantissa * 2^exponent.
 * Numbers of states are powers of two; arrays [low] are padded to FRBM_PARTITION_LANES with mantissa 0 and an
 * exponent far below all others. n_low_states is 1 where all bits are high: no tables then. */
typedef struct {
    size_t n_units, ld; /* ld: padded to 16; padding has inputs far below 0 */
    size_t n_high, n_middle_states, n_low_states, block_bits;
    const double *high;       /* [n_high][ld]: weights of the high units */
    const double *start;      /* [ld]: x of the state with all high bits off */
    const double *high_bias;  /* [n_high] */
    const void *middle_table; /* Z, [middle][ld], float or double */
    const void *low_table;    /* Y, [low / FRBM_PARTITION_LANES][n_units][FRBM_PARTITION_LANES] */
    const double *middle_mantissa, *low_mantissa;
    const int64_t *middle_exponent, *low_exponent;
    const size_t *stops; /* units before which products give up their exponent; the last is n_units */
    size_t n_stops;
    const uint64_t *high_state, *middle_state, *low_state; /* their bits in the caller's states */
    double *log_weights;                                   /* [state], natural logarithms, or NULL */
    double *sums;                                          /* [block]: its sum is sums * 2^exponents */
    int64_t *exponents;
} frbm_partition;

/* A layer given dense rows of the other, or its transpose: weights [n_out][n_in] or, with `transpose`, [n_in][n_out].
 * Numbers are float32 or float64; sums go in the order of the inputs. */
typedef struct {
    const void *rows; /* [row][rows_ld] */
    size_t rows_ld, n_in, n_out;
    const void *weights, *bias;
    int transpose;
    void *out; /* [row][n_out] */
} frbm_dense_layer;

/* Sums over samples of products of two dense layers, in the order of the samples */
typedef struct {
    const void *hidden, *visible; /* [sample][n_hidden], [sample][visible_ld] */
    size_t n, n_hidden, n_visible, visible_ld;
    double scale;
    void *out; /* [n_hidden][n_visible], added to */
} frbm_dense_moments;

/* Classes of rows: inputs of the hidden layer [row][ld] and what each class adds to them [class][ld], ld a multiple of
 * 16; padding is far below 0 in `inputs`.  See labels.h. */
typedef struct {
    const float *inputs, *classes, *bias; /* bias [class] */
    const float *raise;                   /* e^classes, or NULL where that is too large or too small */
    size_t steps;                         /* factors between e^-|U| and e^|U| whose product is a float32 */
    float *on, *off;                      /* [row][ld]: sigmoids of the inputs and of minus them; with raise */
    size_t ld, n, n_classes;
    double *scores;         /* [row][class] */
    const float *shares;    /* [row][class]: probabilities */
    const int32_t *labels;  /* of rows; none of the classes: no label */
    const float *weights;   /* of rows */
    float *data, *model;    /* [row][ld] */
    float *of_data, *of_model; /* [class][ld], added to */
} frbm_labels;

/* Classes of the rows of a minibatch by lanes, lane = row: arrays [unit][ld], ld a multiple of 16.  See label_lanes.h. */
typedef struct {
    size_t n_units, n_lanes, ld, n_classes, class_ld; /* class_ld: units up to a multiple of 16 */
    const float *bias;  /* of the units, to be added to `on`; NULL: it is there already */
    const float *raise; /* [class][class_ld]: e^U, |U| at most FRBM_MOST_CLASS */
    size_t steps;       /* factors between e^-|U| and e^|U| whose product is a float32 */
    float *on, *off;    /* inputs; then sigmoids of them and of minus them */
    float *mantissas;   /* [block of FRBM_PANEL units][class][ld]: products over units of off + on e^U, */
    int32_t *exponents; /* and their powers of two */
    const float *class_bias;
    const int32_t *labels; /* [lane] */
    const float *shares;   /* [lane]: of the rows, adding up to 1; NULL: equal ones */
    float *residuals;      /* [class][ld]: share * ((label is the class) - p(class | row)) */
    float *of_bias;        /* [class]: sums of the residuals */
    double *scores;        /* [class][8]: room */
    double loss;           /* mean of -log p(label | row) by the shares */
    float *pulls;          /* [unit][ld]: sum over classes of residual * mean, or the same in integers */
    int32_t *fixed_pulls;
    float *of_classes; /* [class][class_ld]: sums over the lanes */
} frbm_label_lanes;

/* Weights [input][output] and a minibatch by lists of what is not 0 in its rows.  See turned.h. */
typedef struct {
    size_t n_rows, n_visible, ld; /* ld: a multiple of 16, and room for whole panels of outputs, 0 past the last one */
    float *weights, *slots[FRBM_SLOTS]; /* [n_visible][ld] */
    float *bias, *bias_slots[FRBM_SLOTS];
    frbm_rule rule;
    int32_t *fixed; /* bits: the weights in fixed point; NULL: rows of other values */
    float scale, quantum, magnitude_scale; /* as in frbm_fixed; quantum = 1 / scale */
    const uint32_t *row_at, *row_counts; /* inputs of each row, [row][n_visible] */
    const float *row_values;
    uint32_t *column_at, *column_counts; /* rows of each input, [n_visible][column_ld] */
    float *column_values;
    size_t column_ld;
} frbm_turned;

/* A wave function of spins and moves of them; complex rows are real parts, then imaginary ones.  See wave.h. */
typedef struct {
    const double *weights, *hidden_bias, *visible_bias; /* [site][ld], [ld], [site] */
    const int32_t *moves;         /* [move][3]: site, a second one or -1, its sign over that of the first */
    const double *grow, *shrink;  /* [move][ld]: e^(2 D), e^(-2 D) */
    const double *linear;         /* [move][2]: what the field of the sites adds to the ratio, sigma -1 and +1 */
    size_t n_sites, n_hidden, ld, n_moves;
    int is_complex;
    int8_t *states; /* [state][site], -1 or +1 */
    size_t n_states;
    double *log_psi, *tanh_theta, *ratios; /* [state], [state][ld], [state][move]; or NULL */
    /* chains */
    frbm_draw draw;
    size_t n_sweeps;
    int in_order;       /* every move once, by heat bath; else moves at random, Metropolis */
    uint32_t *accepted; /* [state], added to */
} frbm_wave;

/* Vectors rounded to 16 bits, two entries in a word; see int16_dense.h */
typedef struct {
    const uint32_t *words;
    size_t ld;
    const float *quanta; /* value of 1 in each vector */
} frbm_int16_vectors;

typedef struct {
    const char *name;
    /* cycles per multiply-add of look-ups, per coefficient of their tables, per active multiply-add of row sums */
    float look_cost, build_cost, row_cost;
    float int16_cost; /* of 16-bit look-ups, 0 where there are none */
    float tile_cost;  /* of one limb by tiles, 0 where there are none */
    /* one dense row to bits: x == on sets the bit.  Returns FRBM_GREY when some x is neither 0 nor `on`, FRBM_BAD
     * when some x is outside [0, 1] (floats; NaN included), or-ed. */
    int (*pack_u8)(const uint8_t *row, size_t n, uint8_t on, uint64_t *bits);
    int (*pack_f32)(const float *row, size_t n, uint64_t *bits);
    int (*pack_f64)(const double *row, size_t n, uint64_t *bits);
    /* rows picked by order[0..n_lanes) -> words and planes (either may be NULL) */
    void (*gather)(const uint64_t *rows, size_t row_words, const int64_t *order, size_t n_lanes, size_t n_units,
                   uint32_t *words, size_t words_ld, uint32_t *planes, size_t planes_ld);
    /* planes of up to 32 lanes from their words */
    void (*transpose_words)(const uint32_t *words, size_t words_ld, size_t n_lanes, size_t n_words, uint32_t *planes);
    /* bits drawn with P(on) = x, x grey rows, for the 32-lane block `block` */
    void (*draw_rows)(const float *rows, size_t row_ld, const int64_t *order, size_t n_lanes, size_t n_units,
                      size_t block, const frbm_draw *draw, uint32_t *words, size_t words_ld, uint32_t *planes,
                      size_t planes_ld);
    /* at most 32 rows of levels from `at`, a multiple of 32, for both kinds of products; any of the outputs may be NULL */
    void (*load_levels)(const uint8_t *rows, size_t row_ld, const int64_t *order, size_t at, size_t n, size_t n_units,
                        uint32_t *lanes, size_t lanes_ld, int32_t *sums, uint32_t *columns, size_t columns_ld);
    /* outputs [first, first + count) as out[output][lane] */
    void (*level_inputs)(const frbm_level_product *p, size_t first, size_t count, float *out, size_t ld);
    /* the halves of weights alone */
    void (*cut_weights)(const frbm_fixed *f, size_t n_visible, size_t first, size_t count);
    /* units [first, first + count), first a multiple of 32, count at most FRBM_PANEL */
    void (*panel)(const frbm_layer *layer, size_t first, size_t count, float *scratch);
    void (*apply_rule)(const frbm_rule *rule, int penalised, float *values, float *const *slots, size_t at,
                       float *gradient, size_t n);
    /* at most FRBM_PANEL hidden units; with limbs in g->fixed, first is a multiple of 16 */
    void (*gradient_rows)(const frbm_gradient *g, size_t first, size_t count, frbm_magnitudes *magnitudes,
                          float *scratch);
    /* the two halves of that, for bits: sums of weights and of biases, to which those of others may be added, and the
     * update by them */
    void (*gradient_sums)(const frbm_gradient *g, size_t first, size_t count, const frbm_sums *sums, float *scratch);
    void (*hidden_sums)(const frbm_gradient *g, size_t first, size_t count, const frbm_sums *sums);
    void (*follow_gradient)(const frbm_gradient *g, size_t first, size_t count, const frbm_sums *sums,
                            frbm_magnitudes *magnitudes, float *scratch);
    /* fixed-point copy of hidden units [first, first + count), and its limbs where there is room for them: then first
     * is a multiple of 16 */
    void (*quantise_rows)(const frbm_fixed *f, const float *weights, size_t n_visible, size_t first, size_t count,
                     frbm_magnitudes *magnitudes);
    /* the limbs alone */
    void (*cut_limbs)(const frbm_fixed *f, size_t n_visible, size_t first, size_t count);
    /* nearest integers of x * scale */
    void (*quantise)(const float *x, size_t n, float scale, int32_t *out);
    /* energy[lane] += sum over units of softplus(inputs[unit][lane]) */
    void (*add_softplus)(const float *inputs, size_t ld, size_t n_units, size_t n_lanes, double *energy);
    void (*sigmoid)(float *x, size_t n);
    /* score[s] += sum over i of log p(v_i | the rest of v) for samples [first, first + count), at most FRBM_PSEUDO_BLOCK;
     * scratch: pseudo_scratch bytes for each of them, aligned to 64 */
    size_t (*pseudo_scratch_f32)(const frbm_pseudo *p);
    size_t (*pseudo_scratch_f64)(const frbm_pseudo *p);
    void (*pseudo_block_f32)(const frbm_pseudo *p, size_t first, size_t count, void *scratch);
    void (*pseudo_block_f64)(const frbm_pseudo *p, size_t first, size_t count, void *scratch);
    void (*pseudo_tables_f32)(const frbm_pseudo *p, size_t hidden, const frbm_pseudo_tables *to);
    void (*pseudo_tables_f64)(const frbm_pseudo *p, size_t hidden, const frbm_pseudo_tables *to);
    /* counts[unit] += set bits of its plane over n_words words of samples */
    void (*count_planes)(const uint32_t *planes, size_t ld, size_t n_words, size_t first, size_t count,
                         int32_t *counts);
    /* counts[lane] = bits that differ between two sets of words; old NULL: bits that are on */
    void (*count_flips)(const uint32_t *now, size_t now_ld, const uint32_t *old, size_t old_ld, size_t n_words,
                        size_t n_lanes, uint32_t *counts);
    /* states drawn from at most 32 sample-major rows of inputs (float32, or float64 when is_double) as bit rows;
     * row r is chain draw->first_chain + r.  float64 compares with a 32-bit uniform, float32 with a 23-bit one. */
    void (*draw_inputs)(const void *inputs, int is_double, size_t ld, size_t n_rows, size_t n_units,
                        const frbm_draw *draw, uint64_t *rows, size_t row_words);
    int (*pack_int16)(const int32_t *row, size_t n, uint32_t *packed, int64_t *error);
    void (*filter_panel)(const frbm_filter *f, size_t first, size_t count, float *scratch, frbm_work *work);
    void (*delta_product)(const frbm_operand *op, const uint32_t *before, size_t before_ld, size_t n_units,
                          int32_t *sums, size_t sum_ld, size_t n_lanes);
    void (*anneal_panel)(const frbm_anneal_layer *a, size_t first, size_t count, float *scratch);
    /* log_weights[lane] += step * field . state */
    void (*add_field)(const uint32_t *words, size_t ld, const float *field, size_t n_units, double step, size_t n_lanes,
                      double *log_weights);
    /* sum of the states of one block */
    void (*partition_f32)(const frbm_partition *p, size_t block, void *scratch);
    void (*partition_f64)(const frbm_partition *p, size_t block, void *scratch);
    void (*label_scores)(const frbm_labels *a, size_t row);
    void (*label_means)(const frbm_labels *a, size_t first);
    void (*label_raise)(const float *classes, size_t n, float *raise);
    /* units [first, first + count), first a multiple of FRBM_PANEL; lanes [lane, lane + n), lane a multiple of 16 */
    void (*label_products)(const frbm_label_lanes *a, size_t first, size_t count, size_t lane, size_t n);
    void (*label_residuals)(frbm_label_lanes *a);
    /* units [first, first + count), first a multiple of 16; scratch: 16 * 16 floats for each class and another */
    void (*label_pulls)(const frbm_label_lanes *a, size_t first, size_t count, float *scratch);
    /* one state; pq: 2 ld numbers, 4 ld where they are complex */
    void (*wave_state)(const frbm_wave *w, size_t state, double *pq);
    /* chains [first, first + 16); words: 64 for every two moves */
    void (*wave_sweeps)(const frbm_wave *w, size_t first, double *pq, uint32_t *words);
    /* 64 words: unit 4 * unit_block + q, chain first_chain + lane at out[16 * q + lane] */
    void (*philox)(uint32_t *out, uint32_t unit_block, uint32_t first_chain, const frbm_draw *draw);
    /* of each word and input (float32, or float64 when is_double): bit 0 whether the unit is on, bit 1 whether the first
     * step says so, bit 2 where that says nothing; n is a multiple of 16 */
    void (*decide)(const uint32_t *words, const void *inputs, int is_double, size_t n, uint8_t *out);
    /* sample-major rows of uniforms (float32, or float64 when is_double); row r is chain draw->first_chain + r */
    void (*uniform_rows)(void *out, int is_double, size_t ld, size_t n_rows, size_t n_units, const frbm_draw *draw);
    /* rows += normal quantiles of their float32 uniforms */
    void (*add_normals)(float *rows, size_t ld, size_t n_rows, size_t n_units, const frbm_draw *draw);
    void (*normal_quantiles)(const uint32_t *words, size_t n, float *out);
    /* out[row][lane] = or += sum over k of a[row][k] * b[k][lane], in float32; lanes up to a multiple of 16 are read and
     * written */
    void (*dense_product)(const float *a, size_t lda, size_t n_rows, const float *b, size_t ldb, size_t depth,
                          size_t n_lanes, int add, float *out, size_t ld);
    /* the same of finite a where many b are 0; scratch: FRBM_TABLE_FLOATS */
    void (*dense_product_skipping)(const float *a, size_t lda, size_t n_rows, const float *b, size_t ldb, size_t depth,
                                   size_t n_lanes, float *out, size_t ld, float *scratch);
    /* outputs [first, first + count), first a multiple of FRBM_PANEL, count at most that */
    void (*turned_inputs)(const frbm_turned *w, size_t first, size_t count, float *out, size_t ld, float *scratch);
    void (*turned_quantise)(const frbm_turned *w, size_t first, frbm_magnitudes *magnitudes);
    void (*turned_gradient)(const frbm_turned *w, size_t first, size_t count, const void *pulls, size_t ld,
                            frbm_magnitudes *magnitudes, float *scratch);
    /* at most FRBM_PULL_UNITS hidden units, by data_means and data_rows alone */
    void (*pull_rows)(const frbm_gaussian_gradient *g, size_t first, size_t count, float *scratch);
    /* rows [first, first + n), n at most FRBM_DENSE_BLOCK; scratch: (n_in + FRBM_DENSE_BLOCK) * FRBM_DENSE_BLOCK
     * numbers */
    void (*dense_layer_f32)(const frbm_dense_layer *layer, size_t first, size_t n, void *scratch);
    void (*dense_layer_f64)(const frbm_dense_layer *layer, size_t first, size_t n, void *scratch);
    /* hidden units [first, first + count), count at most FRBM_DENSE_BLOCK; scratch: (FRBM_DENSE_BLOCK + 16) *
     * FRBM_DENSE_ROWS + 16 * FRBM_DENSE_BLOCK numbers */
    void (*dense_moments_f32)(const frbm_dense_moments *m, size_t first, size_t count, void *scratch);
    void (*dense_moments_f64)(const frbm_dense_moments *m, size_t first, size_t count, void *scratch);
    /* the same rounded to 16 bits; see int16_dense.h */
    void (*int16_rows)(const float *rows, size_t n_rows, size_t n, uint32_t *words, float *quanta);
    void (*int16_lanes)(const float *lanes, size_t ld, size_t n, size_t first, size_t n_lanes, uint32_t *words,
                       float *quanta);
    void (*int16_dense_product)(const frbm_int16_vectors *rows, size_t n_rows, const frbm_int16_vectors *lanes,
                                size_t depth, size_t n_lanes, float *out, size_t ld);
    /* rows at, ..., at + n - 1 of a batch of Gaussian states, by rows and by lanes */
    void (*load_gaussian)(const float *from, const int64_t *order, size_t at, size_t n, size_t n_units, float *rows,
                      size_t ld, float *lanes, size_t lanes_ld);
    void (*gaussian_gradient_rows)(const frbm_gaussian_gradient *g, size_t first, size_t count,
                                   frbm_magnitudes *magnitudes, float *scratch);
    void (*gaussian_gradient_columns)(const frbm_gaussian_gradient *g, size_t first, size_t count, float *scratch);
    void (*gaussian_bias)(const frbm_gaussian_gradient *g, size_t first, size_t count, float *out);
    /* at most 32 lanes from `lane`, a multiple of 32 */
    void (*onehot_block)(const frbm_onehot *o, size_t lane, size_t n_lanes);
    /* at most 32 rows: their means in place of inputs (draw NULL), or states as bits */
    void (*onehot_rows)(float *rows, size_t n_rows, size_t n_units, size_t group, const frbm_draw *draw, uint64_t *bits,
                        size_t row_words, float *scratch);
} frbm_table;

extern int frbm_vpopcnt; /* whether AVX-512 kernels may count bits of lanes (AVX512_VPOPCNTDQ) */
extern int frbm_vnni;    /* whether they may add products of 16 bits in one operation (AVX512_VNNI) */

/* One for each target; choose.c asks for those that are built */
extern const frbm_table frbm_table_baseline, frbm_table_avx2, frbm_table_avx512, frbm_table_amx;
extern const frbm_table frbm_table_amx_emulated, frbm_table_amx_plain, frbm_table_neon, frbm_table_neon_i8mm;

static inline size_t frbm_round_up(size_t n, size_t multiple) { return (n + multiple - 1) / multiple * multiple; }

#endif
