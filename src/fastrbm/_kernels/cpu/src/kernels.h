/* What every instruction-set build of the tile kernels provides.
 *
 * The kernels are single-threaded and allocate nothing: threads, work lists and memory belong to the
 * callers (workers.c, _cpu.pyx).  Arithmetic is written so that each output is the same sequence of
 * IEEE float32 operations whatever the vector width, so all targets return identical bits.
 *
 * Layouts
 *   rows     sample-major bits, uint64 [sample][ceil(units/64)], unit u = bit u%64 of word u/64
 *   words    for products over units:   uint32 [ceil(units/32)][lane], lane = sample
 *   planes   for products over samples: uint32 [ceil(samples/32)][lane], lane = unit
 *   sums     unit-major floats [unit][lane], lane = sample
 * The lane stride of `words` and `sums` is a multiple of FRBM_LANES samples; padding lanes are ignored.
 */
#ifndef FASTRBM_KERNELS_H
#define FASTRBM_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#define FRBM_LANES 64       /* lanes are padded to this many samples (or units, for planes) */
#define FRBM_PANEL 32       /* outputs of one panel: one word of sampled bits, so panels never share a word */
#define FRBM_TILE 6         /* outputs whose tables are in use together: 6 x 64 sums fill the register file */
#define FRBM_LANE_BLOCK 1024 /* lanes of one panel pass; bounds the scratch and keeps the sums in L2 */
#define FRBM_SUM_LD (FRBM_LANE_BLOCK + 16) /* row stride of the sums: not a power of two, whose rows share cache sets */
#define FRBM_CHUNK_WORDS 32  /* largest number of 32-input words whose tables are built at once */

/* floats of scratch one thread needs for the tables of a tile plus 64-byte alignment slack */
#define FRBM_TABLE_FLOATS (FRBM_CHUNK_WORDS * 8 * FRBM_TILE * 16)
#define FRBM_SCRATCH_FLOATS (FRBM_TABLE_FLOATS + FRBM_PANEL * FRBM_SUM_LD)

enum frbm_pack_flag { FRBM_GREY = 1, FRBM_BAD = 2 };
enum frbm_stream { FRBM_VISIBLE = 0, FRBM_HIDDEN = 1, FRBM_INPUT = 2 };

/* sum_k bit[k][lane] * coef[output * out_stride + k * in_stride] */
typedef struct {
    const uint32_t *bits;
    size_t stride; /* uint32 from one 32-input word to the next */
    size_t n_inputs;
    const float *coef;
    size_t out_stride, in_stride;
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
    const float *preset; /* sums without bias, [unit][lane] */
    size_t preset_ld;
    const float *bias;
    size_t n_out, n_lanes;
    float *inputs; /* bias + product, [unit][lane] */
    size_t inputs_ld;
    float *means; /* mean_scale * sigmoid(input), [unit][lane]; 0 in padding lanes up to a multiple of 32 */
    size_t means_ld;
    float mean_scale;
    float *means_rows; /* the same by sample, [lane][unit] */
    size_t means_rows_ld;
    uint32_t *words; /* sampled states as words */
    size_t words_ld;
    uint32_t *planes; /* sampled states as planes */
    size_t planes_ld;
    frbm_draw draw;
} frbm_layer;

/* Gradient of one block of hidden units and its update:
 * velocity = momentum * velocity + rate * gradient; W += velocity (velocity NULL: plain SGD). */
typedef struct {
    frbm_operand positive, negative; /* bits: planes of v; coef: means_h [unit][sample], scale and sign included */
    const float *dense_positive;     /* grey data: the positive gradient of these rows, else NULL */
    size_t dense_ld;
    float *weights, *velocity; /* [n_hidden][n_visible] */
    float *bias, *bias_velocity;
    size_t n_visible;
    float rate, momentum;
} frbm_gradient;

/* Pseudo-likelihood of binary rows through products of ratios, without exp or log in the inner loop: flipping v_i
 * multiplies the hidden part of p(v) by prod_j (q_j + p_j r_ji), p = sigmoid(input), q = 1 - p,
 * r = e^W where v_i is 0 (`raise`), e^-W where it is 1 (`lower`).  Needs |W| <= 40 and |input| <= 80. */
typedef struct {
    const float *raise, *lower; /* [hidden][ld], padded to FRBM_LANES visible units */
    size_t ld;
    const float *visible_bias; /* padded likewise */
    const float *inputs;       /* input of hidden unit j, sample s: inputs[j * unit_stride + s * sample_stride] */
    size_t unit_stride, sample_stride;
    const uint64_t *rows;
    size_t row_words;
    const float *grey; /* rows NULL: [sample][ld] in [0, 1]; r = e^((1 - 2 v) W), with W in `raise` */
    size_t n_visible, n_hidden;
    size_t strip; /* factors that can be multiplied before the exponent must be taken out */
    double *score;
} frbm_pseudo;

#define FRBM_PSEUDO_BLOCK 64 /* samples that share one pass over the ratios */

typedef struct {
    const char *name;
    /* one dense row to bits: x == on sets the bit.  Returns FRBM_GREY when some x is neither 0 nor `on`, FRBM_BAD
     * when some x is outside [0, 1] (floats; NaN included), or-ed. */
    int (*pack_u8)(const uint8_t *row, size_t n, uint8_t on, uint64_t *bits);
    int (*pack_f32)(const float *row, size_t n, uint64_t *bits);
    int (*pack_f64)(const double *row, size_t n, uint64_t *bits);
    /* rows picked by order[0..n_lanes) -> words and planes (either may be NULL) */
    void (*gather)(const uint64_t *rows, size_t row_words, const int64_t *order, size_t n_lanes, size_t n_units,
                   uint32_t *words, size_t words_ld, uint32_t *planes, size_t planes_ld);
    /* bits drawn with P(on) = x, x grey rows, for the 32-lane block `block` */
    void (*draw_rows)(const float *rows, size_t row_ld, const int64_t *order, size_t n_lanes, size_t n_units,
                      size_t block, const frbm_draw *draw, uint32_t *words, size_t words_ld, uint32_t *planes,
                      size_t planes_ld);
    void (*panel)(const frbm_layer *layer, size_t panel, float *scratch);
    void (*gradient_rows)(const frbm_gradient *g, size_t first, size_t count, float *scratch);
    /* energy[lane] += sum over units of softplus(inputs[unit][lane]) */
    void (*add_softplus)(const float *inputs, size_t ld, size_t n_units, size_t n_lanes, double *energy);
    void (*sigmoid)(float *x, size_t n);
    /* score[s] += sum over i of log p(v_i | the rest of v) for samples [first, first + count) */
    void (*pseudo_block)(const frbm_pseudo *p, size_t first, size_t count, float *scratch);
    /* counts[unit] += set bits of its plane over n_words words of samples */
    void (*count_planes)(const uint32_t *planes, size_t ld, size_t n_words, size_t first, size_t count,
                         int32_t *counts);
    /* states drawn from at most 32 sample-major rows of inputs (float32, or float64 when is_double) as bit rows;
     * row r is chain draw->first_chain + r.  float64 compares with a 32-bit uniform, float32 with a 23-bit one. */
    void (*draw_inputs)(const void *inputs, int is_double, size_t ld, size_t n_rows, size_t n_units,
                        const frbm_draw *draw, uint64_t *rows, size_t row_words);
    /* 64 words: unit 4 * unit_block + q, chain first_chain + lane at out[16 * q + lane] */
    void (*philox)(uint32_t *out, uint32_t unit_block, uint32_t first_chain, const frbm_draw *draw);
} frbm_table;

extern const frbm_table frbm_table_baseline;
#ifdef FRBM_X86
extern const frbm_table frbm_table_avx2;
extern const frbm_table frbm_table_avx512;
#endif

static inline size_t frbm_round_up(size_t n, size_t multiple) { return (n + multiple - 1) / multiple * multiple; }

#endif
