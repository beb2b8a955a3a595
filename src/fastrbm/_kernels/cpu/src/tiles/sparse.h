/* Products by rows: for each lane, the integer rows of its active inputs are added up.
 *
 * Pays where few lanes share a table (small batches), where few inputs are on, and on instruction sets whose
 * look-ups are slow.  Needs the coefficients as [input][output]. */
#ifndef FASTRBM_SPARSE_H
#define FASTRBM_SPARSE_H

#include "kernels.h"
#include "simd.h"
#include "transpose.h"

#define SPARSE_REGISTERS (REGISTER == 64 ? 4 : 8)
#define SPARSE_UNITS (SPARSE_REGISTERS * REGISTER / 4) /* outputs in registers: 64, baseline 32 */
#define SPARSE_LANES 32                                /* lanes that share 64 input rows in L1 */

/* totals[...] += rows[input][...] for every set bit of `active` */
INLINE void sum_active(const int registers, uint64_t active, const int32_t *rows, size_t ld, int32_t *totals) {
    reg_i total[SPARSE_REGISTERS];
    for (int v = 0; v < registers; v++) memcpy(&total[v], totals + REGISTER / 4 * v, REGISTER);
    while (active) {
        const int32_t *row = rows + (size_t)__builtin_ctzll(active) * ld;
        active &= active - 1;
        for (int v = 0; v < registers; v++) {
            const reg_i x = load_reg_i(row + REGISTER / 4 * v);
            total[v] += x;
        }
    }
    for (int v = 0; v < registers; v++) STORE(totals + REGISTER / 4 * v, total[v]);
}

/* sums[unit][lane] = product for the panel's outputs; rows start at the panel's first output and may be read up to the
 * next multiple of 16 outputs */
#define FRBM_ADD(N) \
    case N: sum_active(N, active, block, ld, totals[l]); break;

static void sparse_product(const frbm_operand *op, const int32_t *rows, size_t ld, size_t n_out, int32_t *sums,
                           size_t sum_ld, size_t first_lane, size_t n_lanes) {
    const size_t n_words = (op->n_inputs + 31) / 32;
    for (size_t at = 0; at < n_out; at += SPARSE_UNITS) {
        const size_t here = n_out - at < SPARSE_UNITS ? n_out - at : SPARSE_UNITS;
        const size_t n_registers = (4 * here + REGISTER - 1) / REGISTER;
        for (size_t lane0 = 0; lane0 < n_lanes; lane0 += SPARSE_LANES) {
            const size_t lanes = n_lanes - lane0 < SPARSE_LANES ? n_lanes - lane0 : SPARSE_LANES;
            int32_t totals[SPARSE_LANES][SPARSE_UNITS] __attribute__((aligned(64)));
            memset(totals, 0, lanes * sizeof totals[0]);
            for (size_t w = 0; w < n_words; w += 2) {
                const int32_t *block = rows + 32 * w * ld + at;
                const uint32_t *low = op->bits + w * op->stride + first_lane + lane0;
                for (size_t l = 0; l < lanes; l++) {
                    const uint64_t high = w + 1 < n_words ? low[op->stride + l] : 0, active = low[l] | high << 32;
                    /* one walk over the bits for all registers that are used: its end is hard to predict */
                    switch (n_registers) {
                        FRBM_ADD(1) FRBM_ADD(2) FRBM_ADD(3)
#if SPARSE_REGISTERS > 4
                        FRBM_ADD(4) FRBM_ADD(5) FRBM_ADD(6) FRBM_ADD(7)
#endif
                        default: sum_active(SPARSE_REGISTERS, active, block, ld, totals[l]);
                    }
                }
            }
            transpose_rows(totals[0], SPARSE_UNITS, 0, lanes, here, sums + at * sum_ld + lane0, sum_ld);
        }
    }
}
#undef FRBM_ADD

#endif
