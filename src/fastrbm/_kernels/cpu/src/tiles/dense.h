/* Dense products in float32 and float64.
 *
 * A dense product adds a[row][k] * b[k][lane] in the order of k: the same bits on every instruction set, whatever is a
 * row and what a lane.  In float32 product and sum are rounded once, by the fused operation that all targets but the
 * baseline have; where it counts twice a separate one (Intel, AMD before Zen 5) anything else would lose to BLAS.  In
 * float64, whose fused operation takes some forty others where there is none, they are rounded apart.
 */
#ifndef FASTRBM_DENSE_H
#define FASTRBM_DENSE_H

#include "kernels.h"
#include "simd.h"
#include "transpose.h"

#define DENSE_WIDTH (REGISTER / 4)
#define DENSE_FEW 6 /* rows for which weights are turned, not they */
/* Rows and registers of lanes whose sums take half of all registers: nearly square, so that each number loaded serves
 * as many sums as it can.  On cores of half the width (AMD Zen 4) 4 x 4 is 1.2 times as fast as 8 x 2. */
#define DENSE_ROWS 4
#define DENSE_VECTORS (N_REGISTERS / 8)

/* Rows and registers of lanes that are left, cut to a shape that there is */
INLINE size_t dense_rows_of(size_t left) { return left >= DENSE_ROWS ? DENSE_ROWS : left > 1 ? 2 : 1; }
INLINE size_t dense_vectors_of(size_t left) {
    return left >= 4 && DENSE_VECTORS == 4 ? 4 : left > 1 ? 2 : 1;
}
/* The number of a shape, and all shapes */
#define DENSE_SHAPE(rows, vectors) (8 * (rows) + (vectors))
#if DENSE_VECTORS == 4
#define DENSE_SHAPES(CASE) \
    CASE(4, 4) CASE(4, 2) CASE(4, 1) CASE(2, 4) CASE(2, 2) CASE(2, 1) CASE(1, 4) CASE(1, 2) CASE(1, 1)
#else
#define DENSE_SHAPES(CASE) CASE(4, 2) CASE(4, 1) CASE(2, 2) CASE(2, 1) CASE(1, 2) CASE(1, 1)
#endif

#define FRBM_IS_DOUBLE 0
#include "dense.inc.c"
#undef FRBM_IS_DOUBLE
#define FRBM_IS_DOUBLE 1
#include "dense.inc.c"
#undef FRBM_IS_DOUBLE

#endif
