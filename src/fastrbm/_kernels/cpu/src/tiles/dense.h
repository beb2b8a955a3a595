/* Dense products in float32 and float64.
 *
 * A dense product adds a[row][k] * b[k][lane] in the order of k, product and sum rounded apart: the same bits on every
 * instruction set, whatever is a row and what a lane.  That costs nothing on cores which add beside their multipliers
 * (AMD since Zen, 130 GMAC/s at 4 GHz with AVX-512) and half of the speed of fused operations on others.
 */
#ifndef FASTRBM_DENSE_H
#define FASTRBM_DENSE_H

#include "kernels.h"
#include "simd.h"
#include "transpose.h"

#define DENSE_WIDTH (REGISTER / 4)
#define DENSE_FEW 6 /* rows for which weights are turned, not they */
#define DENSE_ROWS (N_REGISTERS / 4) /* rows whose sums, in two registers each, take half of them */

#define FRBM_IS_DOUBLE 0
#include "dense.inc.c"
#undef FRBM_IS_DOUBLE
#define FRBM_IS_DOUBLE 1
#include "dense.inc.c"
#undef FRBM_IS_DOUBLE

#endif
