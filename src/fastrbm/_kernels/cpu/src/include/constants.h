/* Every number that the kernels and their callers must agree on.  Cython reads them here and hands Python those it
 * needs (`_cpu.CONSTANTS`); nobody writes one down twice. */
#ifndef FASTRBM_CONSTANTS_H
#define FASTRBM_CONSTANTS_H

/* ---- sizes of tiles and their scratch ------------------------------------------------------------------------ */

#define FRBM_LANES 64 /* lanes are padded to this many samples (or units, for planes) */
#define FRBM_LANE_PAD 16 /* rows of fixed-point weights are padded to this many */
#define FRBM_PANEL 64 /* most outputs of one panel; whole words of sampled bits, so panels never share a word */
#define FRBM_TILE 6 /* outputs whose tables are in use together: 6 x 64 sums fill the register file */
#define FRBM_UPDATE_ROWS 16 /* hidden units whose gradient is one piece of work, where nothing asks for others */
#define FRBM_LANE_BLOCK 1024 /* lanes of one panel pass; bounds the scratch and keeps the sums in L2 */
#define FRBM_SUM_LD (FRBM_LANE_BLOCK + 16) /* row stride of the sums: not a power of two, whose rows share cache sets */
#define FRBM_CHUNK_WORDS 8 /* 32-input words whose tables are built at once: 24 KB, so that they stay in L1 */

/* floats of scratch one thread needs: the tables of a tile, the sums of a panel and of what its last tile overhangs,
 * and the words of int16.h, or what products by limbs need */
#define FRBM_TABLE_FLOATS (FRBM_CHUNK_WORDS * 8 * FRBM_TILE * 16)
#define FRBM_INT16_WORDS 21 /* words of 15 inputs whose 16-bit tables are built at once: 24 KB again */
#define FRBM_INT16_FLOATS (FRBM_INT16_WORDS * FRBM_LANE_BLOCK / 2)
#define FRBM_LIMB_FLOATS 45088 /* limb_room of limb_product.h, in the place of int16.h's */
#define FRBM_SCRATCH_FLOATS (FRBM_TABLE_FLOATS + (FRBM_PANEL + FRBM_TILE) * FRBM_SUM_LD + FRBM_LIMB_FLOATS)
#define FRBM_LIMBS 4
#define FRBM_LIMB_STEPS 16 /* steps of 64 inputs that a product by limbs takes at once: their states are 32 KB */
#define FRBM_CUT_STEPS 8 /* steps of 64 samples that a gradient by limbs takes at once: its coefficients are 128 KB */
#define FRBM_LEVEL_WORDS 128 /* words of two levels whose products with halves of coefficients fit 32 bits */
#define FRBM_TILE_LANES 32 /* fewer lanes, or samples, are better off without tiles */
#define FRBM_GAUSSIAN_COLUMNS 48 /* visible units of one call of gaussian_gradient_columns, at most */
#define FRBM_DENSE_BLOCK 64 /* rows of one call of dense_layer, units of one of dense_moments, at most */
#define FRBM_DENSE_ROWS 256 /* rows that dense_moments turns at once */
#define FRBM_PSEUDO_BLOCK 64 /* samples that share one pass over the ratios */
#define FRBM_LABEL_UNITS 64 /* hidden units of one call of label_means, at most */
#define FRBM_PULL_UNITS 48 /* hidden units of a piece of the gradient of labels: whole tiles and cache lines */
#define FRBM_TURNED_ROWS 1024 /* rows of a minibatch that is done by lists of what is not 0, at most */
#define FRBM_MOST_CLASS 40.0f /* largest |U| whose exponential serves all rows: two such factors make a float32 */
#define FRBM_LABEL_FACTORS 96 /* of a product, at most */
#define FRBM_PARTITION_LANES 64 /* low states of a partition sum that lie side by side in its table */
#define FRBM_PARTITION_MOST_MIDDLE 4 /* middle states that share a pass over the table, at most */

/* ---- teams ----------------------------------------------------------------------------------------------------- */

#define FRBM_SHARES 3 /* kinds of pieces in one stage */
#define FRBM_MOST_THREADS 64 /* of a team whose threads steal, or have magnitudes or counters of their own */

/* ---- fixed point ----------------------------------------------------------------------------------------------- */

#define FRBM_LARGEST_EXPONENT 26
#define FRBM_SMALLEST_EXPONENT 14
#define FRBM_INT16_EXPONENT 22 /* 16-bit weights are multiples of 2^-6 at least, for sums up to 512 */
#define FRBM_LOW_BITS 20 /* of sums of levels that are added up: 2^11 of them fit 32 bits */
#define FRBM_MEAN_SCALE 1073741824.0f /* 2^30, of hidden means: coefficients of a gradient add up to at most 1 */

/* Entries of a gradient nearer to 0 than this, 2^-22, are the rounding of means of numbers of size 1; rules that divide
 * by the size of a gradient would make whole steps of them, each backend its own, so they are 0 there. */
#define FRBM_ROUNDING_GRADIENT 2.384185791015625e-7f

/* ---- numbers of things ------------------------------------------------------------------------------------------- */

#define FRBM_SLOTS 3 /* arrays of the size of the parameters that a rule keeps, at most */

enum frbm_pack_flag { FRBM_GREY = 1, FRBM_BAD = 2 };
enum frbm_stream { FRBM_VISIBLE = 0, FRBM_HIDDEN = 1, FRBM_INPUT = 2 };
enum frbm_rule_kind { FRBM_SGD, FRBM_NESTEROV, FRBM_RMSPROP, FRBM_ADAM, FRBM_AMSGRAD };
typedef enum { FRBM_DENSE, FRBM_DELTA, FRBM_LANDMARKS, FRBM_LCD, FRBM_INT16 } frbm_strategy;
/* Rows of a training run: bits (given, or drawn from grey rows), probabilities, the same as 255ths, real numbers */
typedef enum { FRBM_BIT_ROWS, FRBM_GREY_ROWS, FRBM_LEVEL_ROWS, FRBM_GAUSSIAN_ROWS } frbm_row_kind;

#endif
