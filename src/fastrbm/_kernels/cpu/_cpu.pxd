# C declarations of src/include/kernels.h and src/include/workers.h; the contracts are there.
from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t, uint32_t, uint64_t, uintptr_t

cdef extern from "constants.h" nogil:
    enum:
        FRBM_DENSE_BLOCK
        FRBM_DENSE_ROWS
        FRBM_LANES
        FRBM_LABEL_UNITS
        FRBM_LABEL_FACTORS
        FRBM_LANE_PAD
        FRBM_LARGEST_EXPONENT
        FRBM_LIMBS
        FRBM_MOST_THREADS
        FRBM_PANEL
        FRBM_PARTITION_LANES
        FRBM_PSEUDO_BLOCK
        FRBM_SCRATCH_FLOATS
        FRBM_SLOTS
        FRBM_TURNED_ROWS
        FRBM_SMALLEST_EXPONENT
        FRBM_SGD, FRBM_NESTEROV, FRBM_RMSPROP, FRBM_ADAM, FRBM_AMSGRAD
        FRBM_VISIBLE, FRBM_HIDDEN, FRBM_INPUT
    const float FRBM_MEAN_SCALE
    const float FRBM_MOST_CLASS

    ctypedef enum frbm_strategy:
        FRBM_DENSE, FRBM_DELTA, FRBM_LANDMARKS, FRBM_LCD, FRBM_INT16

    ctypedef enum frbm_row_kind:
        FRBM_BIT_ROWS, FRBM_GREY_ROWS, FRBM_LEVEL_ROWS, FRBM_GAUSSIAN_ROWS


cdef extern from "workers.h" nogil:
    ctypedef struct frbm_draw:
        uint32_t key[2]
        uint64_t step
        uint32_t stream
        uint32_t first_chain

    ctypedef struct frbm_pseudo:
        const void *weights
        const void *tail
        const void *reach
        const void *slab_reach
        size_t slab_ld
        const void *raise_ "raise"
        const void *scaled
        const void *visible_bias
        const void *inputs
        const uint64_t *rows
        size_t row_words
        const void *dense
        size_t dense_ld, n_visible, n_hidden
        double *score

    ctypedef struct frbm_pseudo_tables:
        void *tail
        void *reach
        void *slab_reach
        void *raise_ "raise"
        void *scaled

    ctypedef struct frbm_dense_layer:
        const void *rows
        size_t rows_ld, n_in, n_out
        const void *weights
        const void *bias
        int transpose
        void *out

    ctypedef struct frbm_dense_moments:
        const void *hidden
        const void *visible
        size_t n, n_hidden, n_visible, visible_ld
        double scale
        void *out

    ctypedef struct frbm_labels:
        const float *inputs
        const float *classes
        const float *bias
        const float *raise_ "raise"
        size_t steps
        float *on
        float *off
        size_t ld, n, n_classes
        double *scores
        const float *shares
        const int32_t *labels
        const float *weights
        float *data
        float *model
        float *of_data
        float *of_model

    ctypedef struct frbm_label_lanes:
        size_t n_classes

    ctypedef struct frbm_wave:
        const double *weights
        const double *hidden_bias
        const double *visible_bias
        const int32_t *moves
        const double *grow
        const double *shrink
        const double *linear
        size_t n_sites, n_hidden, ld, n_moves
        int is_complex
        int8_t *states
        size_t n_states
        double *log_psi
        double *tanh_theta
        double *ratios
        frbm_draw draw
        size_t n_sweeps
        int in_order
        uint32_t *accepted

    ctypedef struct frbm_table:
        const char *name
        int (*pack_u8)(const uint8_t *, size_t, uint8_t, uint64_t *) noexcept nogil
        int (*pack_f32)(const float *, size_t, uint64_t *) noexcept nogil
        int (*pack_f64)(const double *, size_t, uint64_t *) noexcept nogil
        void (*gather)(const uint64_t *, size_t, const int64_t *, size_t, size_t, uint32_t *, size_t, uint32_t *,
                       size_t) noexcept nogil
        void (*draw_rows)(const float *, size_t, const int64_t *, size_t, size_t, size_t, const frbm_draw *,
                          uint32_t *, size_t, uint32_t *, size_t) noexcept nogil
        void (*load_levels)(const uint8_t *, size_t, const int64_t *, size_t, size_t, size_t, uint32_t *, size_t,
                            int32_t *, uint32_t *, size_t) noexcept nogil
        void (*cut_weights)(const frbm_fixed *, size_t, size_t, size_t) noexcept nogil
        float look_cost, build_cost, row_cost, int16_cost, tile_cost
        void (*apply_rule)(const frbm_rule *, int, float *, float **, size_t, float *, size_t) noexcept nogil
        void (*gradient_rows)(const frbm_gradient *, size_t, size_t, frbm_magnitudes *, float *) noexcept nogil
        void (*quantise_rows)(const frbm_fixed *, const float *, size_t, size_t, size_t, frbm_magnitudes *) noexcept nogil
        void (*cut_limbs)(const frbm_fixed *, size_t, size_t, size_t) noexcept nogil
        void (*quantise)(const float *, size_t, float, int32_t *) noexcept nogil
        void (*sigmoid)(float *, size_t) noexcept nogil
        size_t (*pseudo_scratch_f32)(const frbm_pseudo *) noexcept nogil
        size_t (*pseudo_scratch_f64)(const frbm_pseudo *) noexcept nogil
        void (*pseudo_block_f32)(const frbm_pseudo *, size_t, size_t, void *) noexcept nogil
        void (*pseudo_block_f64)(const frbm_pseudo *, size_t, size_t, void *) noexcept nogil
        void (*pseudo_tables_f32)(const frbm_pseudo *, size_t, const frbm_pseudo_tables *) noexcept nogil
        void (*pseudo_tables_f64)(const frbm_pseudo *, size_t, const frbm_pseudo_tables *) noexcept nogil
        void (*count_planes)(const uint32_t *, size_t, size_t, size_t, size_t, int32_t *) noexcept nogil
        void (*dense_layer_f32)(const frbm_dense_layer *, size_t, size_t, void *) noexcept nogil
        void (*dense_layer_f64)(const frbm_dense_layer *, size_t, size_t, void *) noexcept nogil
        void (*dense_moments_f32)(const frbm_dense_moments *, size_t, size_t, void *) noexcept nogil
        void (*dense_moments_f64)(const frbm_dense_moments *, size_t, size_t, void *) noexcept nogil
        void (*draw_inputs)(const void *, int, size_t, size_t, size_t, const frbm_draw *, uint64_t *, size_t) noexcept nogil
        void (*label_scores)(const frbm_labels *, size_t) noexcept nogil
        void (*label_means)(const frbm_labels *, size_t) noexcept nogil
        void (*label_raise)(const float *, size_t, float *) noexcept nogil
        void (*wave_state)(const frbm_wave *, size_t, double *) noexcept nogil
        void (*wave_sweeps)(const frbm_wave *, size_t, double *, uint32_t *) noexcept nogil
        void (*philox)(uint32_t *, uint32_t, uint32_t, const frbm_draw *) noexcept nogil
        void (*decide)(const uint32_t *, const void *, int, size_t, uint8_t *) noexcept nogil
        void (*uniform_rows)(void *, int, size_t, size_t, size_t, const frbm_draw *) noexcept nogil
        void (*add_normals)(float *, size_t, size_t, size_t, const frbm_draw *) noexcept nogil
        void (*normal_quantiles)(const uint32_t *, size_t, float *) noexcept nogil
        void (*onehot_rows)(float *, size_t, size_t, size_t, const frbm_draw *, uint64_t *, size_t, float *) noexcept nogil

    ctypedef struct frbm_limbs:
        uint8_t *bytes
        uint8_t *high
        size_t n_steps

    ctypedef struct frbm_operand:
        const uint32_t *bits
        size_t stride, n_inputs
        const int32_t *coef
        size_t out_stride, in_stride
        const int32_t *rows
        size_t rows_ld

    ctypedef struct frbm_magnitudes:
        uint32_t *columns
        uint64_t row
        uint32_t seen

    ctypedef struct frbm_fixed:
        int32_t *weights
        size_t ld
        int32_t *transposed
        size_t transposed_ld
        frbm_limbs of_hidden, of_visible
        uint32_t *halves
        size_t halves_ld
        float scale, magnitude_scale
        int int16

    ctypedef struct frbm_work:
        uint64_t decisions, filtered, recomputed, products, dense_products, refreshes

    ctypedef struct frbm_side:
        size_t n_out
        const float *basis

    ctypedef struct frbm_filters:
        const frbm_table *table
        frbm_strategy strategy
        frbm_side hidden, visible
        float quantum
        size_t rank, chunk

    ctypedef struct frbm_rule:
        int kind
        float rate, momentum, decay, epsilon, mean_scale, square_scale, l1, l2, clip

    ctypedef struct frbm_spins:
        int visible, hidden

    ctypedef struct frbm_gradient:
        frbm_operand positive, negative
        float quantum
        const uint32_t *levels
        size_t levels_ld
        const uint32_t *positive_hidden
        const uint32_t *negative_hidden
        size_t hidden_ld
        float positive_share, negative_share
        float *weights
        float *slots[FRBM_SLOTS]
        float *bias
        float *bias_slots[FRBM_SLOTS]
        size_t n_visible
        frbm_rule rule
        frbm_spins spins
        frbm_fixed fixed

    ctypedef struct frbm_team:
        int n_threads, stop, regroup
        int64_t ticket

    ctypedef struct frbm_turned:
        float *weights
        float *slots[FRBM_SLOTS]
        size_t ld

    ctypedef struct frbm_labelling:
        float *classes
        float *bias
        float *slots[FRBM_SLOTS]
        float *slots_bias[FRBM_SLOTS]
        const int32_t *labels
        const float *shares
        double *losses
        float most[FRBM_MOST_THREADS]
        frbm_label_lanes lanes
        int sparse
        frbm_turned turned

    ctypedef struct frbm_sharing:
        size_t n_batches, batch_rows, last_rows, n_chains, first_row, first_chain
        int (*add)(void *, size_t, int) noexcept nogil
        void *context
        size_t n_blocks, block_units
        int failed
        int32_t *integers
        size_t n_integers, n_before

    ctypedef struct frbm_training:
        const frbm_table *table
        float *weights
        float *bias_hidden
        float *bias_visible
        float *slots[FRBM_SLOTS]
        float *slots_hidden[FRBM_SLOTS]
        float *slots_visible[FRBM_SLOTS]
        frbm_rule rule
        uint64_t updates, step
        size_t group, n_visible, n_hidden, n_rows, batch_size, n_chains, n_sweeps, row_words, chain_ld, batches_done
        frbm_spins spins
        frbm_fixed fixed
        frbm_magnitudes *magnitudes
        frbm_row_kind kind
        int int16, stochastic_input, persistent, sampled_hidden, outgrown
        const uint64_t *rows
        const float *dense
        const uint8_t *levels
        size_t levels_ld
        const int64_t *order
        uint32_t *chains
        uint32_t key[2]
        frbm_filters *filters
        frbm_work *work
        int (*poll)(void *) noexcept nogil
        void *poll_context
        frbm_labelling *labels
        frbm_sharing *sharing
        frbm_team team, grey_team

    ctypedef struct frbm_rows:
        const frbm_table *table
        const uint64_t *rows
        size_t row_words, n_rows
        const uint8_t *levels
        size_t levels_ld
        const uint32_t *halves
        size_t halves_ld
        const int32_t *coef
        const frbm_limbs *limbs
        size_t out_stride, in_stride, n_in, n_out
        float quantum
        int int16
        const float *bias
        float *means
        float *inputs
        uint64_t *samples
        size_t sample_words
        frbm_draw draw
        const frbm_filters *filters
        const frbm_side *side
        frbm_work *work
        const float *visible_bias
        double *energy
        size_t chunk
        frbm_team team

    ctypedef struct frbm_chains:
        const frbm_table *table
        const frbm_fixed *fixed
        const float *bias_hidden
        const float *bias_visible
        size_t n_visible, n_hidden
        uint32_t *hidden
        uint32_t *visible
        size_t n_chains, ld, n_sweeps
        frbm_draw draw
        size_t chunk
        const frbm_filters *filters
        frbm_work *work
        int (*poll)(void *) noexcept nogil
        void *poll_context
        frbm_team team

    ctypedef struct frbm_annealing:
        const frbm_table *table
        const frbm_fixed *fixed
        const float *field_hidden
        const float *field_visible
        const float *base_hidden
        const float *base_visible
        size_t n_visible, n_hidden
        int sum_hidden
        uint32_t *hidden
        uint32_t *visible
        size_t n_chains, ld
        const double *betas
        size_t n_betas
        double *log_weights
        frbm_draw draw
        size_t chunk, done
        int (*poll)(void *) noexcept nogil
        void *poll_context
        frbm_team team

    ctypedef struct frbm_partition:
        size_t n_units, ld, n_high, n_middle_states, n_low_states, block_bits
        const double *high
        const double *start
        const double *high_bias
        const void *middle_table
        const void *low_table
        const double *middle_mantissa
        const double *low_mantissa
        const int64_t *middle_exponent
        const int64_t *low_exponent
        const size_t *stops
        size_t n_stops
        const uint64_t *high_state
        const uint64_t *middle_state
        const uint64_t *low_state
        double *log_weights
        double *sums
        int64_t *exponents

    ctypedef struct frbm_partition_run:
        const frbm_table *table
        frbm_partition sum
        int is_double
        size_t n_blocks, blocks_done
        int (*poll)(void *) noexcept nogil
        void *poll_context
        frbm_team team

    int frbm_crew_rehearse(int)
    int frbm_crew_call(frbm_team *, int)
    void frbm_anneal(frbm_annealing *, int, float *)
    size_t frbm_lay_out_training(frbm_training *, void *)
    size_t frbm_lay_out_filters(frbm_filters *, const frbm_fixed *, size_t, size_t, void *)
    void frbm_give_back(void *, size_t)
    size_t frbm_training_scratch(const frbm_training *)
    void frbm_train(frbm_training *, int, float *)
    void frbm_train_labels(frbm_training *, int, float *)
    size_t frbm_rows_scratch(const frbm_rows *)
    void frbm_run_rows(frbm_rows *, int, float *)
    void frbm_run_chains(frbm_chains *, int, float *)
    int frbm_allow_vpopcnt(int)
    int frbm_allow_vnni(int)
    size_t frbm_partition_scratch(const frbm_partition_run *)
    size_t frbm_partition_done(const frbm_partition_run *)
    size_t frbm_annealing_done(const frbm_annealing *)
    void frbm_run_partition(frbm_partition_run *, int, void *)
    int frbm_is_possible(const char *)
    int frbm_is_built(const char *)
    const frbm_table *frbm_select(const char *)
    void frbm_filters_prepare(const frbm_filters *, const frbm_side *, size_t, size_t)
    size_t frbm_filters_scratch(const frbm_filters *)
    int frbm_magnitude_shift(size_t, size_t)
    int frbm_exponent(const frbm_magnitudes *, int, size_t, size_t, int *)
    int frbm_prefers_tiles(const frbm_table *, double)
    double frbm_whole_cost(const frbm_table *, double, int, int)
    void frbm_enter(frbm_team *team)
    int frbm_max_threads()
    int frbm_has_openmp()


cdef extern from "maps.h":
    ctypedef struct frbm_map:
        pass

    frbm_map *frbm_map_watch(uintptr_t first, uintptr_t last, int *possible)
    bint frbm_map_lost(const frbm_map *map)
    void frbm_map_release(frbm_map *map)
