/* Strategies, half-step by half-step: which way, with what memory.  Kernels and the proof of sameness: filters.h. */
#include <math.h>
#include <string.h>

#include "team.h"

/* Slack of projections: (a + SLOPPY |w|) (s + SLOPPY |v|) covers float32 rounding of a product of rank <= 256 */
#define SLOPPY 4e-3f
/* An earlier state decides units within its reach; beyond this mean reach (in units of the input) few are */
#define NEAR_REACH 1.0
/* Single sums cost several times the share of a whole product: with more than this open, landmarks rest for some
 * steps */
#define MOST_OPEN 0.05
#define PAUSE 15

static size_t words_of(size_t n) { return pieces(n, 32); }

void frbm_filters_prepare(const frbm_filters *filters, const frbm_side *side, size_t first, size_t count) {
    const double quantum = (double)filters->quantum;
    for (size_t o = first; o < first + count; o++) {
        const int32_t *row = side->by_output + o * side->by_output_ld;
        double size = 0.0;
        for (size_t i = 0; i < side->n_in; i++) size += fabs((double)row[i]);
        /* bias + quantum * S rounds S to 24 bits, here and in the test: it matters where a large sum meets a large
         * bias */
        const double rounding = 2.5e-7 * quantum * size;
        if (filters->strategy == FRBM_INT16) {
            int64_t error;
            const size_t width = 16 * words_of(side->n_in);
            const int shift = filters->table->pack_int16(row, side->n_in, side->packed + o * width, &error);
            const double radius = (double)error * quantum * (1.0 + 1e-6) + rounding;
            side->packed_quantum[o] = (float)ldexp(quantum, shift);
            side->radius[o] = (float)radius;
            side->grow[o] = (float)(exp(radius) * (1.0 + 1e-6));
            side->shrink[o] = (float)(exp(-radius) * (1.0 - 1e-6));
            continue;
        }
        double square = 0.0, within = 0.0;
        for (size_t i = 0; i < side->n_in; i++) square += (double)row[i] * (double)row[i];
        float *project = filters->strategy == FRBM_LANDMARKS ? side->project + o * filters->rank : NULL;
        for (size_t r = 0; project && r < filters->rank; r++) {
            double sum = 0.0;
            for (size_t i = 0; i < side->n_in; i++) sum += (double)row[i] * (double)side->basis[i * filters->rank + r];
            project[r] = (float)(sum * quantum);
            within += sum * sum;
        }
        const double rest = square > within ? square - within : 0.0;
        side->slack[o] = (float)rounding;
        side->radius[o] = (float)(quantum * (sqrt(rest) + (project ? (double)SLOPPY : 1e-6) * sqrt(square)));
    }
}

size_t frbm_filters_scratch(const frbm_filters *filters) {
    const frbm_side *sides[2] = {&filters->hidden, &filters->visible};
    size_t total = 0;
    for (int s = 0; s < 2; s++)
        total += filters->chunk *
                 (frbm_round_up(sides[s]->n_out, 16) + 2 * words_of(sides[s]->n_in) + 2 + filters->rank);
    return total;
}

void frbm_filters_start(const frbm_filters *filters, uint32_t *memory, frbm_memory *hidden, frbm_memory *visible) {
    const frbm_side *sides[2] = {&filters->hidden, &filters->visible};
    frbm_memory *of[2] = {hidden, visible};
    for (int s = 0; s < 2; s++) {
        const size_t n_words = words_of(sides[s]->n_in);
        of[s]->ld = frbm_round_up(sides[s]->n_out, 16);
        of[s]->sums = (int32_t *)memory;
        memory += filters->chunk * of[s]->ld;
        of[s]->seen = memory;
        memory += filters->chunk * n_words;
        of[s]->last = memory;
        memory += filters->chunk * n_words;
        of[s]->counts = memory;
        memory += filters->chunk;
        of[s]->spread = (float *)memory;
        memory += filters->chunk;
        of[s]->coordinates = (float *)memory;
        memory += filters->chunk * filters->rank;
        of[s]->valid = of[s]->started = of[s]->pause = 0;
    }
}

/* Bits of all lanes that differ from `old` (NULL: that are on); by lane in m->counts */
static uint64_t count(const frbm_filters *filters, frbm_memory *m, const frbm_layer *layer, const uint32_t *old) {
    uint64_t total = 0;
    filters->table->count_flips(layer->op.bits, layer->op.stride, old, filters->chunk, words_of(layer->op.n_inputs),
                             layer->n_lanes, m->counts);
    for (size_t l = 0; l < layer->n_lanes; l++) total += m->counts[l];
    return total;
}

static void remember(uint32_t *copy, size_t copy_ld, const frbm_operand *op, size_t n_lanes) {
    for (size_t w = 0; w < words_of(op->n_inputs); w++)
        memcpy(copy + w * copy_ld, op->bits + w * op->stride, n_lanes * sizeof(uint32_t));
}

static uint64_t draw_filtered(const frbm_filters *filters, const frbm_filter *f, float *scratch, frbm_work *work) {
    const uint64_t before = work->recomputed;
    for (size_t first = 0; first < f->layer.n_out; first += FRBM_PANEL) {
        const size_t left = f->layer.n_out - first;
        filters->table->filter_panel(f, first, left < FRBM_PANEL ? left : FRBM_PANEL, scratch, work);
    }
    if (f->method == FRBM_BY_SUMS) return 0;
    const uint64_t open = work->recomputed - before;
    work->filtered += (uint64_t)f->layer.n_out * f->layer.n_lanes - open;
    work->products += open * f->layer.op.n_inputs;
    return open;
}

static void draw_dense(const frbm_filters *filters, frbm_layer *layer, float *scratch, frbm_work *work) {
    frbm_choose(filters->table, layer);
    for (size_t p = 0; p < pieces(layer->n_out, FRBM_PANEL); p++)
        run_panel(filters->table, layer, p, FRBM_PANEL, scratch);
    work->products += (uint64_t)layer->n_out * layer->op.n_inputs * layer->n_lanes;
}

/* Delta product where flips are few, the whole product where they are not; 1 when the sums are those of now */
static int update_sums(const frbm_filters *filters, const frbm_side *side, frbm_memory *m, const frbm_layer *layer,
                       frbm_work *work) {
    const frbm_operand *op = &layer->op;
    const size_t n = layer->n_lanes;
    const double all = (double)n * (double)op->n_inputs, row_cost = (double)filters->table->row_cost;
    const double active = (double)count(filters, m, layer, NULL) / all;
    const int tiled = op->limbs && op->limbs->bytes && frbm_prefers_tiles(filters->table, (double)n);
    const double whole = frbm_whole_cost(filters->table, (double)n, 0, tiled);
    const double dense = whole < row_cost * active ? whole : row_cost * active;
    /* what a chain flips in a step: against the state before, also when its sums are not at hand */
    const double flips = m->started ? (double)count(filters, m, layer, m->last) / all : active;
    const int worth = m->started && row_cost * flips < dense;
    if (m->started || !m->valid) remember(m->last, filters->chunk, op, n);
    m->started = 1;
    if (!worth) {
        m->valid = 0;
        return 0;
    }
    const uint32_t *before = m->valid ? m->seen : NULL;
    work->products += count(filters, m, layer, before) * side->n_out;
    work->refreshes += before == NULL;
    filters->table->delta_product(op, before, filters->chunk, side->n_out, m->sums, m->ld, n);
    remember(m->seen, filters->chunk, op, n);
    m->valid = 1;
    return 1;
}

/* Whether the sums of an earlier state decide most units: reach |w| sqrt(flips) by the Cauchy-Schwarz inequality */
static int near_enough(const frbm_filters *filters, const frbm_side *side, frbm_memory *m, const frbm_layer *layer) {
    double spread = 0.0, radius = 0.0;
    if (!m->valid) return 0;
    count(filters, m, layer, m->seen);
    for (size_t l = 0; l < layer->n_lanes; l++) {
        m->spread[l] = sqrtf((float)m->counts[l]) * (1.0f + 1e-6f);
        spread += (double)m->spread[l] / (double)layer->n_lanes;
    }
    for (size_t o = 0; o < side->n_out; o++) radius += (double)side->radius[o] / (double)side->n_out;
    return spread * radius < NEAR_REACH;
}

/* Coordinates of the states in the basis and what lies off it */
static void project_states(const frbm_filters *filters, const frbm_side *side, frbm_memory *m,
                           const frbm_layer *layer) {
    const frbm_operand *op = &layer->op;
    for (size_t l = 0; l < layer->n_lanes; l++) {
        float at[256] = {0};
        double within = 0.0;
        size_t active = 0;
        for (size_t w = 0; w < words_of(op->n_inputs); w++)
            for (uint32_t on = op->bits[w * op->stride + l]; on; on &= on - 1, active++) {
                const float *row = side->basis + (32 * w + (size_t)__builtin_ctz(on)) * filters->rank;
                for (size_t r = 0; r < filters->rank; r++) at[r] += row[r];
            }
        for (size_t r = 0; r < filters->rank; r++) {
            m->coordinates[r * filters->chunk + l] = at[r];
            within += (double)at[r] * (double)at[r];
        }
        const double rest = (double)active > within ? (double)active - within : 0.0;
        m->spread[l] = (float)(sqrt(rest) + (double)SLOPPY * sqrt((double)active));
    }
}

void frbm_filtered_layer(const frbm_filters *filters, const frbm_side *side, frbm_memory *m, frbm_layer *layer,
                         float *scratch, frbm_work *work) {
    layer->op.rows = side->by_input;
    layer->op.rows_ld = side->by_input_ld;
    work->decisions += (uint64_t)layer->n_out * layer->n_lanes;
    work->dense_products += (uint64_t)layer->n_out * layer->n_lanes * layer->op.n_inputs;
    frbm_filter f;
    memset(&f, 0, sizeof f);
    f.layer = *layer;
    f.by_output = side->by_output;
    f.by_output_ld = side->by_output_ld;
    f.radius = side->radius;
    f.slack = side->slack;
    f.sums = m->sums;
    f.sums_ld = m->ld;
    switch (filters->strategy) {
        case FRBM_INT16:
            f.method = FRBM_BY_INT16;
            f.grow = side->grow;
            f.shrink = side->shrink;
            f.packed = side->packed;
            f.packed_quantum = side->packed_quantum;
            break;
        case FRBM_LANDMARKS:
            if (m->pause) {
                m->pause--;
                draw_dense(filters, layer, scratch, work);
                return;
            }
            project_states(filters, side, m, layer);
            f.method = FRBM_BY_LANDMARKS;
            f.spread = m->spread;
            f.project = side->project;
            f.coordinates = m->coordinates;
            f.coordinates_ld = filters->chunk;
            f.rank = filters->rank;
            break;
        case FRBM_LCD:
            if (near_enough(filters, side, m, layer)) {
                f.method = FRBM_BY_EARLIER_SUMS;
                f.spread = m->spread;
                break;
            } /* fall through */
        case FRBM_DELTA:
            if (update_sums(filters, side, m, layer, work)) {
                f.method = FRBM_BY_SUMS;
                break;
            } /* fall through */
        default: draw_dense(filters, layer, scratch, work); return;
    }
    const uint64_t open = draw_filtered(filters, &f, scratch, work);
    if ((double)open > MOST_OPEN * (double)layer->n_out * (double)layer->n_lanes) m->pause = PAUSE;
}
