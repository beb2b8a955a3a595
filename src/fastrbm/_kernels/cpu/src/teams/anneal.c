/* Annealed importance sampling of many chains; each chunk of them goes through all temperatures on one thread. */
#include <string.h>

#include "team.h"

static frbm_layer layer_of(const frbm_annealing *a, size_t first, size_t n, int hidden) {
    frbm_layer layer;
    memset(&layer, 0, sizeof layer);
    layer.op = hidden ? hidden_product(a->fixed, a->visible + first, a->ld, a->n_visible)
                      : visible_product(a->fixed, a->hidden + first, a->ld, a->n_hidden);
    layer.quantum = 1.0f / a->fixed->scale;
    layer.int16 = a->fixed->int16;
    layer.bias = hidden ? a->field_hidden : a->field_visible;
    layer.n_out = hidden ? a->n_hidden : a->n_visible;
    layer.n_lanes = n;
    layer.words = (hidden ? a->hidden : a->visible) + first;
    layer.words_ld = a->ld;
    layer.draw = a->draw;
    layer.draw.stream = hidden ? FRBM_HIDDEN : FRBM_VISIBLE;
    layer.draw.first_chain += (uint32_t)first;
    return layer;
}

size_t frbm_annealing_done(const frbm_annealing *a) { return __atomic_load_n(&a->done, __ATOMIC_RELAXED); }

void frbm_anneal(frbm_annealing *a, int thread, float *scratch) {
    const frbm_table *k = a->table;
    float *bias = scratch + FRBM_SCRATCH_FLOATS; /* of the kept layer at the temperature of the moment */
    const float *kept_field = a->sum_hidden ? a->field_visible : a->field_hidden;
    const float *kept_base = a->sum_hidden ? a->base_visible : a->base_hidden;
    size_t piece;
    while ((piece = next_piece(&a->team)) * a->chunk < a->n_chains) {
        const size_t first = piece * a->chunk, n = a->n_chains - first < a->chunk ? a->n_chains - first : a->chunk;
        frbm_anneal_layer summed = {layer_of(a, first, n, a->sum_hidden), 0, 0, a->base_visible,
                                    a->log_weights + first};
        frbm_layer kept = layer_of(a, first, n, !a->sum_hidden);
        if (a->sum_hidden) summed.base = a->base_hidden;
        const float quantum = kept.quantum;
        kept.bias = bias;
        for (size_t step = 1; step < a->n_betas; step++) {
            const float beta = (float)a->betas[step], before = (float)a->betas[step - 1];
            k->add_field(kept.words, a->ld, kept_field, kept.n_out, (double)beta - (double)before, n,
                         summed.log_weights);
            summed.beta = beta;
            summed.before = before;
            summed.layer.draw.step = kept.draw.step = a->draw.step + step - 1;
            frbm_choose(k, &summed.layer);
            for (size_t u = 0; u < summed.layer.n_out; u += FRBM_PANEL) {
                const size_t left = summed.layer.n_out - u;
                k->anneal_panel(&summed, u, left < FRBM_PANEL ? left : FRBM_PANEL, scratch);
            }
            kept.quantum = beta * quantum;
            for (size_t u = 0; u < kept.n_out; u++) bias[u] = beta * kept_field[u] + kept_base[u];
            frbm_choose(k, &kept);
            for (size_t u = 0; u < pieces(kept.n_out, FRBM_PANEL); u++) run_panel(k, &kept, u, FRBM_PANEL, scratch);
            if (thread == 0 && a->poll && a->poll(a->poll_context))
                __atomic_store_n(&a->team.stop, 1, __ATOMIC_RELAXED);
            if (__atomic_load_n(&a->team.stop, __ATOMIC_RELAXED)) return;
            if (step % 16 == 0) __atomic_fetch_add(&a->done, 16 * n, __ATOMIC_RELAXED);
        }
    }
}
