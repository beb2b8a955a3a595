/* A team of threads: shared tickets hand out work, barriers end stages. */
#ifndef FASTRBM_TEAM_H
#define FASTRBM_TEAM_H

#include <sched.h>

#include "workers.h"

#if defined(__x86_64__) || defined(__i386__)
#define FRBM_PAUSE() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define FRBM_PAUSE() __asm__ __volatile__("yield")
#else
#define FRBM_PAUSE() ((void)0)
#endif

static inline size_t next_piece(frbm_team *team) {
    return (size_t)__atomic_fetch_add(&team->ticket, 1, __ATOMIC_RELAXED);
}

/* One of n pieces: of this thread's own share as long as there are any, then of the others'.  So a thread comes back to
 * the weights that it has in its cache from stage to stage, and nobody waits for a slow one.  Returns n when all are
 * taken. */
static inline size_t steal(frbm_team *team, int kind, int thread, size_t n) {
    const size_t n_threads = (size_t)frbm_members(team);
    for (size_t k = 0; k < n_threads; k++) {
        const size_t owner = ((size_t)thread + k) % n_threads, first = n * owner / n_threads;
        if (first == n * (owner + 1) / n_threads) continue;
        const size_t at = first + __atomic_fetch_add(&team->taken[kind][owner][0], 1, __ATOMIC_RELAXED);
        if (at < n * (owner + 1) / n_threads) return at;
    }
    return n;
}

static inline void deal_again(frbm_team *team) {
    const int n_threads = frbm_members(team);
    team->ticket = 0;
    for (int kind = 0; kind < FRBM_SHARES; kind++)
        for (int t = 0; t < n_threads && t < FRBM_MOST_THREADS; t++) team->taken[kind][t][0] = 0;
}

/* Spins briefly, then gives the processor away: with more threads than processors, or beside another library's
 * pool, waiting must not take the time of whoever is waited for.  Whoever comes last does `last`, if any, for all. */
static inline void barrier_then(frbm_team *team, void (*last)(void *), void *context) {
    const int phase = __atomic_load_n(&team->phase, __ATOMIC_RELAXED);
    /* before the arrival: after it whoever comes last may have let a member go already */
    const int n_threads = frbm_members(team);
    if (n_threads == 1 || __atomic_fetch_add(&team->arrived, 1, __ATOMIC_ACQ_REL) == n_threads - 1) {
        if (last) last(context);
        team->arrived = 0;
        deal_again(team);
        __atomic_store_n(&team->phase, phase + 1, __ATOMIC_RELEASE);
        return;
    }
    for (unsigned spin = 0; __atomic_load_n(&team->phase, __ATOMIC_ACQUIRE) == phase; spin++) {
        if (spin < 100)
            FRBM_PAUSE();
        else
            sched_yield();
    }
}

static inline void barrier(frbm_team *team) { barrier_then(team, NULL, NULL); }

static inline size_t pieces(size_t n, size_t size) { return (n + size - 1) / size; }

/* Panel `index` of a layer cut into panels of `size` units */
static inline void run_panel(const frbm_table *table, const frbm_layer *layer, size_t index, size_t size,
                             float *scratch) {
    const size_t first = index * size;
    table->panel(layer, first, layer->n_out - first < size ? layer->n_out - first : size, scratch);
}

static inline frbm_operand product(const uint32_t *bits, size_t stride, size_t n_inputs, const int32_t *coef,
                                   size_t out_stride, size_t in_stride) {
    return (frbm_operand){bits, stride, n_inputs, coef, out_stride, in_stride, NULL, 0, NULL};
}

/* Inputs of the hidden layer from states of the visible one, by whatever there is of the weights */
static inline frbm_operand hidden_product(const frbm_fixed *f, const uint32_t *bits, size_t stride, size_t n_visible) {
    return (frbm_operand){bits, stride, n_visible, f->weights, f->ld, 1, f->transposed, f->transposed_ld, &f->of_hidden};
}

/* The same the other way round */
static inline frbm_operand visible_product(const frbm_fixed *f, const uint32_t *bits, size_t stride, size_t n_hidden) {
    return (frbm_operand){bits, stride, n_hidden, f->weights, 1, f->ld, f->weights, f->ld, &f->of_visible};
}

#endif
