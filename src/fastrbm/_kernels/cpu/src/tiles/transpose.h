/* Transposes of blocks of 32-bit numbers. */
#ifndef FASTRBM_TRANSPOSE_H
#define FASTRBM_TRANSPOSE_H

#include <stddef.h>

#include "squares.h"

/* Rows [first, first + n) of `in` from column `from` on to columns of `out` */
INLINE void transpose_rest(const int32_t *in, size_t ld, size_t first, const size_t n, size_t from, size_t width,
                           int32_t *out, size_t out_ld) {
    for (size_t i = from; i < width; i++)
        for (size_t r = first; r < first + n; r++) out[i * out_ld + r] = in[r * ld + i];
}

/* Rows [first, first + count) of `in` to columns of `out` */
static void transpose_rows(const int32_t *in, size_t ld, size_t first, size_t count, size_t width, int32_t *out,
                           size_t out_ld) {
    size_t j = first;
    for (; HAS_SQUARES_OF_16 && j + 16 <= first + count; j += 16) {
        for (size_t i = 0; i + 16 <= width; i += 16) transpose_16(in + j * ld + i, ld, out + i * out_ld + j, out_ld);
        transpose_rest(in, ld, j, 16, width / 16 * 16, width, out, out_ld);
    }
    for (; HAS_SQUARES_OF_4 && j + 4 <= first + count; j += 4) {
        for (size_t i = 0; i + 4 <= width; i += 4) transpose_4(in + j * ld + i, ld, out + i * out_ld + j, out_ld);
        transpose_rest(in, ld, j, 4, width / 4 * 4, width, out, out_ld);
    }
    for (; j < first + count; j += 8)
        transpose_rest(in, ld, j, first + count - j < 8 ? first + count - j : 8, 0, width, out, out_ld);
}

#endif
