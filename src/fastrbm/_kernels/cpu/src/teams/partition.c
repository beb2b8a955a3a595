/* Exact partition sums by a team of threads.  The blocks of states do not depend on the thread count, and the caller
 * adds their sums up in order, so neither does the result.  Compiled once, without special instructions. */
#include "team.h"

size_t frbm_partition_scratch(const frbm_partition_run *r) {
    const size_t value = r->is_double ? sizeof(double) : sizeof(float);
    return r->sum.ld * (sizeof(double) + (2 + FRBM_PARTITION_MOST_MIDDLE) * value);
}

size_t frbm_partition_done(const frbm_partition_run *r) { return __atomic_load_n(&r->blocks_done, __ATOMIC_RELAXED); }

void frbm_run_partition(frbm_partition_run *r, int thread, void *scratch) {
    size_t block;
    while ((block = next_piece(&r->team)) < r->n_blocks) {
        (r->is_double ? r->table->partition_f64 : r->table->partition_f32)(&r->sum, block, scratch);
        __atomic_fetch_add(&r->blocks_done, 1, __ATOMIC_RELAXED);
        /* only the calling thread may run signal handlers */
        if (thread == 0 && r->poll && r->poll(r->poll_context)) __atomic_store_n(&r->team.stop, 1, __ATOMIC_RELAXED);
        if (__atomic_load_n(&r->team.stop, __ATOMIC_RELAXED)) return;
    }
}
