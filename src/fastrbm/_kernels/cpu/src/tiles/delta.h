/* The delta product: sums of a state of chains from those of an earlier one, by the rows of the inputs that flipped. */
#ifndef FASTRBM_DELTA_H
#define FASTRBM_DELTA_H

#include "kernels.h"
#include "simd.h"
#include "sparse.h"

/* totals[unit] += rows of `on` - rows of `off`, SPARSE_UNITS or fewer outputs */
INLINE void add_flips(const int registers, uint64_t on, uint64_t off, const int32_t *rows, size_t ld,
                      int32_t *totals) {
    reg_i total[SPARSE_REGISTERS];
    for (int v = 0; v < registers; v++) memcpy(&total[v], totals + REGISTER / 4 * v, REGISTER);
    for (; on; on &= on - 1) {
        const int32_t *row = rows + (size_t)__builtin_ctzll(on) * ld;
        for (int v = 0; v < registers; v++) {
            const reg_i x = load_reg_i(row + REGISTER / 4 * v);
            total[v] += x;
        }
    }
    for (; off; off &= off - 1) {
        const int32_t *row = rows + (size_t)__builtin_ctzll(off) * ld;
        for (int v = 0; v < registers; v++) {
            const reg_i x = load_reg_i(row + REGISTER / 4 * v);
            total[v] -= x;
        }
    }
    for (int v = 0; v < registers; v++) STORE(totals + REGISTER / 4 * v, total[v]);
}

/* sums[lane][unit], stride sum_ld, from the product with `before` to that with `now`; before NULL: from nothing */
static void delta_product(const frbm_operand *op, const uint32_t *before, size_t before_ld, size_t n_units,
                          int32_t *sums, size_t sum_ld, size_t n_lanes) {
    const size_t n_words = (op->n_inputs + 31) / 32;
    if (!before)
        for (size_t l = 0; l < n_lanes; l++) memset(sums + l * sum_ld, 0, frbm_round_up(n_units, 16) * sizeof(int32_t));
    for (size_t at = 0; at < n_units; at += SPARSE_UNITS) {
        const size_t here = n_units - at < SPARSE_UNITS ? n_units - at : SPARSE_UNITS;
        for (size_t w = 0; w < n_words; w += 2) {
            const int32_t *block = op->rows + 32 * w * op->rows_ld + at;
            const int second = w + 1 < n_words;
            const uint32_t *low = op->bits + w * op->stride, *old = before ? before + w * before_ld : NULL;
            for (size_t l = 0; l < n_lanes; l++) {
                const uint64_t now = low[l] | (second ? (uint64_t)low[op->stride + l] << 32 : 0);
                const uint64_t was = old ? old[l] | (second ? (uint64_t)old[before_ld + l] << 32 : 0) : 0;
                int32_t *row = sums + l * sum_ld + at;
                if (now == was) continue;
                if (here > SPARSE_UNITS - REGISTER / 4)
                    add_flips(SPARSE_REGISTERS, now & ~was, was & ~now, block, op->rows_ld, row);
                else
                    for (size_t u = 0; u < here; u += REGISTER / 4)
                        add_flips(1, now & ~was, was & ~now, block + u, op->rows_ld, row + u);
            }
        }
    }
}

#endif
