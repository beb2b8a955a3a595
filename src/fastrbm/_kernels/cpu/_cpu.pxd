# C declarations of src/include/kernels.h and src/include/workers.h; the contracts are there.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

cdef extern from "workers.h" nogil:
    enum:
        FRBM_LANES
        FRBM_LANE_PAD
        FRBM_PANEL
        FRBM_SCRATCH_FLOATS
        FRBM_GAUSSIAN_COLUMNS
        FRBM_PSEUDO_BLOCK
        FRBM_PARTITION_LANES

    ctypedef struct frbm_draw:
        uint32_t key[2]
        uint64_t step
        uint32_t stream
        uint32_t first_chain

    ctypedef struct frbm_onehot:
        float *inputs
        size_t inputs_ld, n_units, group
        float *means
        int32_t *fixed_means
        size_t means_ld
        float mean_scale
        uint32_t *words
        uint32_t *planes
        size_t words_ld, planes_ld
        frbm_draw draw

    ctypedef struct frbm_pseudo:
        const float *raise_ "raise"
        const float *lower
        size_t ld
        const float *visible_bias
        const float *inputs
        size_t unit_stride, sample_stride
        const float *grey
        size_t n_visible, n_hidden, strip
        double *score

    ctypedef struct frbm_table:
        const char *name
        int (*pack_u8)(const uint8_t *, size_t, uint8_t, uint64_t *) noexcept nogil
        int (*pack_f32)(const float *, size_t, uint64_t *) noexcept nogil
        int (*pack_f64)(const double *, size_t, uint64_t *) noexcept nogil
        void (*gather)(const uint64_t *, size_t, const int64_t *, size_t, size_t, uint32_t *, size_t, uint32_t *,
                       size_t) noexcept nogil
        void (*draw_rows)(const float *, size_t, const int64_t *, size_t, size_t, size_t, const frbm_draw *,
                          uint32_t *, size_t, uint32_t *, size_t) noexcept nogil
        float look_cost, build_cost, row_cost, int16_cost
        void (*apply_rule)(const frbm_rule *, int, float *, float **, size_t, float *, size_t) noexcept nogil
        void (*gradient_rows)(const frbm_gradient *, size_t, size_t, frbm_magnitudes *, float *) noexcept nogil
        void (*quantise_rows)(const frbm_fixed *, const float *, size_t, size_t, size_t, frbm_magnitudes *) noexcept nogil
        void (*quantise)(const float *, size_t, float, int32_t *) noexcept nogil
        void (*sigmoid)(float *, size_t) noexcept nogil
        void (*pseudo_block)(const frbm_pseudo *, size_t, size_t, float *) noexcept nogil
        void (*count_planes)(const uint32_t *, size_t, size_t, size_t, size_t, int32_t *) noexcept nogil
        void (*draw_inputs)(const void *, int, size_t, size_t, size_t, const frbm_draw *, uint64_t *, size_t) noexcept nogil
        void (*philox)(uint32_t *, uint32_t, uint32_t, const frbm_draw *) noexcept nogil
        void (*uniform_rows)(void *, int, size_t, size_t, size_t, const frbm_draw *) noexcept nogil
        void (*add_normals)(float *, size_t, size_t, size_t, const frbm_draw *) noexcept nogil
        void (*normal_quantiles)(const uint32_t *, size_t, float *) noexcept nogil
        void (*dense_product)(const float *, size_t, size_t, const float *, size_t, size_t, size_t, int, float *,
                              size_t) noexcept nogil
        void (*onehot_block)(const frbm_onehot *, size_t, size_t) noexcept nogil
        void (*onehot_rows)(float *, size_t, size_t, size_t, const frbm_draw *, uint64_t *, size_t, float *) noexcept nogil

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
        float scale, magnitude_scale
        int int16

    ctypedef struct frbm_work:
        uint64_t decisions, filtered, recomputed, products, dense_products, refreshes

    ctypedef enum frbm_strategy:
        FRBM_DENSE, FRBM_DELTA, FRBM_LANDMARKS, FRBM_LCD, FRBM_INT16

    ctypedef struct frbm_side:
        const int32_t *by_output
        const int32_t *by_input
        size_t by_output_ld, by_input_ld, n_in, n_out
        uint32_t *packed
        float *packed_quantum
        float *grow
        float *shrink
        float *radius
        float *slack
        const float *basis
        float *project

    ctypedef struct frbm_filters:
        const frbm_table *table
        frbm_strategy strategy
        frbm_side hidden, visible
        float quantum
        size_t rank, chunk

    enum: FRBM_SLOTS

    ctypedef struct frbm_rule:
        int kind
        float rate, momentum, decay, epsilon, mean_scale, square_scale, l1, l2, clip

    ctypedef struct frbm_spins:
        int visible, hidden
        const float *delta_visible
        float scale

    ctypedef struct frbm_gradient:
        frbm_operand positive, negative
        float quantum
        const uint32_t *positive_hidden
        const uint32_t *negative_hidden
        size_t hidden_ld
        float positive_share, negative_share
        float *weights
        float *slots[3]
        float *bias
        float *bias_slots[3]
        size_t n_visible
        frbm_rule rule
        frbm_spins spins
        frbm_fixed fixed

    ctypedef struct frbm_team:
        int n_threads
        int64_t ticket
        int stop

    ctypedef void (*frbm_sgemm)(char *, char *, int *, int *, int *, float *, float *, int *, float *, int *, float *,
                                float *, int *) noexcept nogil

    ctypedef struct frbm_batch:
        uint32_t *words
        uint32_t *planes
        float *grey
        float *lanes
        uint32_t *int16
        float *quanta

    ctypedef struct frbm_training:
        const frbm_table *table
        float *weights
        float *bias_hidden
        float *bias_visible
        float *slots[3]
        float *slots_hidden[3]
        float *slots_visible[3]
        frbm_rule rule
        uint64_t updates
        size_t group
        frbm_spins spins
        float *bits_hidden
        float *bits_visible
        float *delta_visible
        frbm_fixed fixed
        frbm_magnitudes *magnitudes
        int int16
        size_t n_visible, n_hidden
        const uint64_t *rows
        size_t row_words
        const float *grey
        int stochastic_input
        const int64_t *order
        size_t n_rows, batch_size
        int persistent, sampled_hidden
        size_t n_chains, n_sweeps
        uint32_t *chains
        uint32_t key[2]
        uint64_t step
        frbm_sgemm sgemm
        frbm_batch batches[2]
        uint32_t *hidden_words
        uint32_t *visible_words
        uint32_t *visible_planes
        int32_t *data_fixed
        int32_t *model_fixed
        float *data_means
        float *inputs
        float *grey_gradient
        uint32_t *data_planes
        uint32_t *model_planes
        uint32_t *chains_int16
        uint32_t *weights_int16
        float *chains_quanta
        float *weight_quanta
        float *gaussian
        float *gaussian_rows
        float *model_means
        size_t data_ld, chain_ld, visible_ld, hidden_ld
        frbm_filters *filters
        frbm_work *work
        int (*poll)(void *) noexcept nogil
        void *poll_context
        size_t batches_done
        int outgrown
        frbm_team team, grey_team

    ctypedef struct frbm_rows:
        const frbm_table *table
        const uint64_t *rows
        size_t row_words, n_rows
        const int32_t *coef
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
        double *score
        const float *raise_ "raise"
        const float *lower
        size_t ratio_ld, strip, chunk
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

    void frbm_anneal(frbm_annealing *, int, float *)
    void frbm_train(frbm_training *, int, float *)
    size_t frbm_rows_scratch(const frbm_rows *)
    void frbm_run_rows(frbm_rows *, int, float *)
    void frbm_run_chains(frbm_chains *, int, float *)
    int frbm_allow_vpopcnt(int)
    size_t frbm_partition_scratch(const frbm_partition_run *)
    size_t frbm_partition_done(const frbm_partition_run *)
    void frbm_run_partition(frbm_partition_run *, int, void *)
    const frbm_table *frbm_select(const char *)
    void frbm_filters_prepare(const frbm_filters *, const frbm_side *, size_t, size_t)
    size_t frbm_filters_scratch(const frbm_filters *)
    int frbm_magnitude_shift(size_t, size_t)
    int frbm_exponent(const frbm_magnitudes *, int, size_t, size_t, int *)
    int frbm_prefers_rows(const frbm_table *, double, double, int)
    int frbm_team_size()
    int frbm_max_threads()
    int frbm_has_openmp()
