/* What a team of threads runs.  Each worker is one function that every thread of a parallel region enters with its
 * number; work is handed out by a shared ticket, stages end at a barrier.  Who takes which piece never changes a
 * result: each output is computed whole by one thread in a fixed order.
 */
#ifndef FASTRBM_WORKERS_H
#define FASTRBM_WORKERS_H

#include "kernels.h"

#ifdef _OPENMP
#include <omp.h>
static inline int frbm_team_size(void) { return omp_get_num_threads(); }
static inline int frbm_max_threads(void) { return omp_get_max_threads(); }
static inline int frbm_has_openmp(void) { return 1; }
#else
static inline int frbm_team_size(void) { return 1; }
static inline int frbm_max_threads(void) { return 1; }
static inline int frbm_has_openmp(void) { return 0; }
#endif

typedef struct {
    int n_threads; /* set by the region to the team it really got; less while others take its processors, see crew.c */
    int arrived, phase;
    int64_t ticket;
    int stop;
    int reduced, regroup; /* fewer members than were asked for; leave the region, to enter another with all of them */
    int64_t lost;        /* ns that a member was kept waiting for a processor lately */
    int minibatches;     /* of a rehearsal, since the region was entered */
    uint32_t taken[FRBM_SHARES][FRBM_MOST_THREADS][16]; /* first entry; a cache line each, see steal */
} frbm_team;

/* The members of a team.  Each writes their number as it enters the region, while others read it already, and whoever
 * ends a minibatch writes another one: no plain access, and no read of it after one's own arrival at a barrier. */
static inline int frbm_members(const frbm_team *team) { return __atomic_load_n(&team->n_threads, __ATOMIC_RELAXED); }
static inline void frbm_enter(frbm_team *team) {
    __atomic_store_n(&team->n_threads, frbm_team_size(), __ATOMIC_RELAXED);
}

/* Where the clocks, in ns, and a count were when a member last looked, see crew.c */
typedef struct {
    int64_t wall, cpu;
    long preemptions;
} frbm_clocks;

/* What the filters strategies know of one direction; memory from the caller, filled by frbm_filters_prepare */
typedef struct {
    const int32_t *by_output, *by_input; /* fixed-point weights [output][input] and [input][output] */
    size_t by_output_ld, by_input_ld;
    size_t n_in, n_out;
    /* int16 */
    uint32_t *packed; /* [output + 5][word][16] */
    float *packed_quantum, *grow, *shrink;
    float *radius; /* [output]: of int16, or length of the weights (off the basis, with landmarks) */
    float *slack;  /* [output]: rounding of the input itself; part of radius with int16 */
    /* landmarks */
    const float *basis; /* [input][rank], orthonormal columns */
    float *project;     /* [output][rank] */
} frbm_side;

typedef struct {
    const frbm_table *table;
    frbm_strategy strategy;
    frbm_side hidden, visible;
    float quantum;
    size_t rank;
    size_t chunk; /* lanes handled together */
} frbm_filters;

/* What is kept of one direction from step to step of one chunk of chains */
typedef struct {
    int32_t *sums; /* [lane][ld]: exact sums of the state in `seen`; of delta and lcd */
    size_t ld;
    uint32_t *seen, *last; /* [word][chunk]: input states of `sums` and of the step before */
    uint32_t *counts;    /* [lane] */
    float *spread, *coordinates;
    int valid, started;
    int pause; /* of landmarks: half-steps left until they are tried again */
} frbm_memory;

/* The rows of one batch */
typedef struct {
    uint32_t *words, *planes; /* bits */
    float *rows;              /* others, [row][visible_ld] */
    float *lanes;             /* the same, [n_visible][data_ld] */
    uint32_t *levels, *columns; /* levels for products over visible units and over samples; sums of the rows */
    int32_t *sums;
    uint32_t *int16;          /* the same in 16 bits, and the values of 1 in them [data_ld]; with `int16` */
    float *quanta;
} frbm_batch;

/* Labels of the rows of a run, and what the classes add to a machine; see train_labels.inc.c */
typedef struct {
    float *classes, *bias; /* [class][n_hidden] and [class], updated in place */
    float *slots[FRBM_SLOTS], *slots_bias[FRBM_SLOTS];
    const int32_t *labels; /* by their place in the order */
    const float *shares;   /* of the rows, adding up to 1 in each batch; NULL: equal ones */
    double *losses;        /* [batch] */
    float *raise;          /* that of `lanes`, made by frbm_lay_out_training as all of `lanes` is */
    float most[FRBM_MOST_THREADS]; /* largest magnitude of a weight of a class */
    frbm_label_lanes lanes;        /* of this batch; n_classes from the caller */
    int sparse;                    /* rows have few values that are not 0: the run is done by `turned` */
    frbm_turned turned; /* its weights and slots from the caller, and ld */
    /* lists of this batch and the next */
    uint32_t *row_at[2], *row_counts[2];
    float *row_values[2];
} frbm_labelling;

/* What a team that trains a share of each minibatch has beside, while others have the rest; see train_sharing.inc.c */
typedef struct {
    size_t n_batches;                       /* of the run; some may have no rows here */
    size_t batch_rows, last_rows, n_chains; /* of all shares: of a minibatch, of the last one, and persistent chains */
    size_t first_row, first_chain;          /* numbers of the first ones here */
    /* Puts the sums of a block of hidden units together with those of the others: begins to (0), or has done so (1).
     * By thread 0; non-zero: it has failed, or another share wishes to stop */
    int (*add)(void *context, size_t block, int done);
    void *context;
    size_t n_blocks, block_units;
    int failed;
    /* made by frbm_lay_out_training: all integers that are added, one after another, and what they are; a wish to stop
     * comes first */
    int32_t *integers;
    size_t n_integers, n_before; /* in all, and before the weights */
    int32_t *visible, *model_visible;
    frbm_sums sums;
} frbm_sharing;

/* Minibatch training, CD-k or PCD-k: the batches of order[0..n_rows) one after another. */
typedef struct {
    const frbm_table *table;
    float *weights, *bias_hidden, *bias_visible;                         /* updated in place */
    float *slots[FRBM_SLOTS], *slots_hidden[FRBM_SLOTS], *slots_visible[FRBM_SLOTS]; /* of the rule, or NULL */
    frbm_rule rule;   /* its scales are those of the update at hand */
    uint64_t updates; /* made before this run */
    /* Layers of spins: parameters are those of spins, these are the biases that the layers have as bits */
    size_t group; /* hidden units of a one-hot group; 0: units of their own */
    frbm_spins spins;
    float *bits_hidden, *bits_visible, *delta_visible;
    frbm_fixed fixed;    /* its copy of the weights; memory from the caller */
    frbm_magnitudes *magnitudes; /* one per thread */
    int exponent, requantise; /* k of `fixed`; it or `int16` changed */
    int int16;           /* 16-bit weights where they are fine enough */
    size_t n_visible, n_hidden;
    frbm_row_kind kind;
    const uint64_t *rows; /* packed data, or NULL */
    size_t row_words;
    const float *dense; /* or these, [row][n_visible] */
    const uint8_t *levels; /* or these, [row][levels_ld] */
    size_t levels_ld;
    int stochastic_input;
    const int64_t *order;
    size_t n_rows, batch_size;
    int persistent;
    int sampled_hidden; /* gradients of sampled hidden states in place of their means */
    size_t n_chains, n_sweeps;
    uint32_t *chains; /* persistent hidden states as words, lane stride padded n_chains */
    uint32_t key[2];
    uint64_t step;
    /* made by frbm_lay_out_training, as are the strides */
    frbm_batch batches[2]; /* this one and the next */
    uint32_t *hidden_words, *visible_words, *visible_planes;
    int32_t *data_fixed, *model_fixed; /* scaled hidden means, coefficients of the gradient; states, of levels */
    /* grey data, and `inputs` of one-hot units; the last is [n_hidden][visible_ld] */
    float *data_means, *inputs, *grey_gradient;
    uint32_t *data_planes, *model_planes;       /* sampled hidden states */
    uint32_t *chains_int16, *weights_int16; /* 16-bit copies and their quanta, with `int16` */
    float *chains_quanta, *weight_quanta;
    /* Gaussian chains by lanes and by rows, and the hidden means they leave; or NULL */
    float *gaussian, *gaussian_rows, *model_means;
    size_t data_ld, chain_ld, visible_ld, hidden_ld;
    frbm_filters *filters; /* strategy of chains of several sweeps; NULL: whole products */
    frbm_work *work; /* one per thread */
    int (*poll)(void *); /* called by thread 0 between batches; non-zero stops */
    void *poll_context;
    size_t batches_done;
    int outgrown;       /* the weights have outgrown fixed point */
    frbm_labelling *labels; /* for frbm_train_labels; NULL */
    frbm_sharing *sharing;  /* NULL: all rows are here */
    frbm_team team;
    frbm_team grey_team; /* its ticket hands out blocks of the grey gradient */
} frbm_training;

/* One layer given rows of bits of the other. Outputs that are NULL are not computed. */
typedef struct {
    const frbm_table *table;
    const uint64_t *rows;
    size_t row_words, n_rows;
    const uint8_t *levels; /* or levels, [row][levels_ld], and the halves of the weights */
    size_t levels_ld;
    const uint32_t *halves;
    size_t halves_ld;
    const int32_t *coef; /* fixed-point weights */
    const frbm_limbs *limbs; /* of them, or NULL */
    size_t out_stride, in_stride, n_in, n_out;
    float quantum; /* value of 1 in them */
    int int16; /* as in frbm_fixed */
    const float *bias;
    float *means;  /* [row][n_out] */
    float *inputs; /* [row][n_out] */
    uint64_t *samples;
    size_t sample_words;
    frbm_draw draw;
    const frbm_filters *filters; /* with samples alone: strategy that draws them; NULL: whole products */
    const frbm_side *side;
    frbm_work *work; /* one per thread */
    const float *visible_bias; /* with energy */
    double *energy;            /* free energy of each row */
    size_t chunk; /* rows per piece of work, a multiple of 32 */
    frbm_team team;
} frbm_rows;

/* Chains run on their own: sweeps of v ~ p(v|h), h ~ p(h|v) at steps draw.step, draw.step + 1, ... */
typedef struct {
    const frbm_table *table;
    const frbm_fixed *fixed;
    const float *bias_hidden, *bias_visible;
    size_t n_visible, n_hidden;
    uint32_t *hidden, *visible; /* words, lane stride ld */
    size_t n_chains, ld, n_sweeps;
    frbm_draw draw;
    size_t chunk;
    const frbm_filters *filters; /* NULL: whole products */
    frbm_work *work;       /* one per thread */
    int (*poll)(void *);
    void *poll_context;
    frbm_team team;
} frbm_chains;

/* Annealing along betas[0] .. betas[n_betas - 1]: chains at betas[0], one sweep at each of the others.  The layers have
 * the inputs beta * (field + W s) + base; one of them is summed out of the weights. */
typedef struct {
    const frbm_table *table;
    const frbm_fixed *fixed;
    const float *field_hidden, *field_visible, *base_hidden, *base_visible;
    size_t n_visible, n_hidden;
    int sum_hidden;
    uint32_t *hidden, *visible; /* words, lane stride ld; those of the kept layer are the start */
    size_t n_chains, ld;
    const double *betas;
    size_t n_betas;
    double *log_weights; /* [chain], added to */
    frbm_draw draw;
    size_t chunk;
    size_t done; /* steps of chains, by and by */
    int (*poll)(void *);
    void *poll_context;
    frbm_team team;
} frbm_annealing;

/* A partition sum: blocks of 2^block_bits high states each */
typedef struct {
    const frbm_table *table;
    frbm_partition sum;
    int is_double;
    size_t n_blocks, blocks_done;
    int (*poll)(void *); /* called by thread 0 between blocks; non-zero stops */
    void *poll_context;
    frbm_team team;
} frbm_partition_run;

/* A new team, of which it returns how many threads of those wanted shall enter; then by each member as it enters */
int frbm_crew_call(frbm_team *team, int wanted);
void frbm_crew_join(frbm_clocks *at);
/* By each member before the last barrier of a minibatch; by one for all, at it.  Whose number is not below
 * team->n_threads then returns, and all do where it says `regroup` */
void frbm_crew_look(frbm_team *team, frbm_clocks *at);
void frbm_crew_settle(frbm_team *team);
/* For tests: from now on teams lose a member every so many minibatches, and call it again after the next; 0: no more.
 * Returns how often members were called again since the last time */
int frbm_crew_rehearse(int every);

/* The strides of a run and its buffers, one after another in `memory`, which is on a cache line and holds zeros; NULL:
 * only the bytes that are needed, which is returned.  Asks for sizes, kind and flags: n_visible, n_hidden, n_rows,
 * batch_size, kind, persistent (with n_chains), sampled_hidden, group, int16, spins.visible and spins.hidden. */
size_t frbm_lay_out_training(frbm_training *t, void *memory);
/* The same of what a strategy knows of the weights in `fixed`; asks for strategy, rank and the bases */
size_t frbm_lay_out_filters(frbm_filters *filters, const frbm_fixed *fixed, size_t n_visible, size_t n_hidden,
                            void *memory);
/* To be called before memory that was laid out serves another purpose: lifts the watch of sanitizers */
void frbm_give_back(void *memory, size_t bytes);
size_t frbm_training_scratch(const frbm_training *t); /* floats a thread needs */
void frbm_train(frbm_training *t, int thread, float *scratch);
void frbm_train_labels(frbm_training *t, int thread, float *scratch);
void frbm_anneal(frbm_annealing *a, int thread, float *scratch);
size_t frbm_annealing_done(const frbm_annealing *a); /* steps of chains, while it runs */
size_t frbm_rows_scratch(const frbm_rows *r);
void frbm_run_rows(frbm_rows *r, int thread, float *scratch);
void frbm_run_chains(frbm_chains *c, int thread, float *scratch);
size_t frbm_partition_scratch(const frbm_partition_run *r); /* bytes */
size_t frbm_partition_done(const frbm_partition_run *r);    /* blocks */
void frbm_run_partition(frbm_partition_run *r, int thread, void *scratch);

/* Whether AVX-512 kernels use AVX512_VPOPCNTDQ: if allowed and there; tests switch it off */
int frbm_allow_vpopcnt(int allow);
int frbm_allow_vnni(int allow); /* the same of AVX512_VNNI */
/* whether processors of the architecture that this was built for may have an instruction set; whether this build does */
int frbm_is_possible(const char *name);
int frbm_is_built(const char *name);
const frbm_table *frbm_select(const char *name); /* NULL: not built or not supported by this processor */

/* Outputs [first, first + count) of one direction, after the fixed-point weights have changed */
void frbm_filters_prepare(const frbm_filters *filters, const frbm_side *side, size_t first, size_t count);
/* uint32 of memory a chunk needs for both directions */
size_t frbm_filters_scratch(const frbm_filters *filters);
void frbm_filters_start(const frbm_filters *filters, uint32_t *memory, frbm_memory *hidden, frbm_memory *visible);
/* Draws layer->words from layer->op.bits for at most `chunk` lanes */
void frbm_filtered_layer(const frbm_filters *filters, const frbm_side *side, frbm_memory *memory, frbm_layer *layer,
                     float *scratch, frbm_work *work);

/* s of the magnitudes in quantise.h; negative: layers too large for fixed point */
int frbm_magnitude_shift(size_t n_visible, size_t n_hidden);
/* The largest k for which no product can overflow; -1: none in range, use floating point.  *int16 asks for weights of
 * 16 bits and is cleared where they would be too coarse. */
int frbm_exponent(const frbm_magnitudes *magnitudes, int n_sharing, size_t n_visible, size_t n_hidden, int *int16);
/* Whether the product of so many lanes goes by tiles, of weights whose limbs there are or will be */
int frbm_prefers_tiles(const frbm_table *table, double n_lanes);
/* Cycles per multiply-add of whole products, by tiles or by look-ups */
double frbm_whole_cost(const frbm_table *table, double n_lanes, int int16, int tiled);
/* Sets layer->sparse and layer->tiled by what is in op */
void frbm_choose(const frbm_table *table, frbm_layer *layer);

#endif
