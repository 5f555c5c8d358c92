/* Matmul out of packed weights: what the weight types share.
 *
 * Packed weight: panels of NR output columns, K-major: w[N / NR][K][NR], the last panel padded with zeros.
 * Packed input:  strips of 1..MR rows, K-major, float32: x[strip][K][rows of the strip].
 * Order of accumulation: each output element is one chain over k = 0, 1, .. K-1 of acc = fma(x[k], w[k], acc),
 * starting at zero; a chain that is cut into blocks of K continues from its float32 value in memory, which is exact.
 * So neither the number of rows, nor the strip a row falls into, nor blocks, nor threads can change a result.
 */
#ifndef APHRODITE_MATMUL_H
#define APHRODITE_MATMUL_H

#include "common.h"

#define NR (2 * VL)
#if REGISTERS == 32
#define MR 12
#else
#define MR 6
#endif
#define KC 256                 /* depth of a block: KC * NR weights stay in the first-level cache */
#define AHEAD 8192             /* bytes that are on their way while weights are read once, from memory */
#define X_BYTES (512 * 1024)   /* input rows that share a pass over a panel: half of a usual second-level cache */

typedef struct {
    const float *x;            /* packed strips */
    const void *w;
    const float *scale;        /* (N,) of int8 weights, which are multiplied by it behind the sum; else NULL */
    const float *bias;         /* (N,) or NULL */
    char *out;                 /* (rows, N) */
    int out_dtype;
    long rows, n, k, strips;
} Matmul;

/* First row of strip s: strips differ by at most one row. */
INLINE long strip_start(const Matmul *m, long s) {
    long base = m->rows / m->strips, extra = m->rows % m->strips;
    return s * base + (s < extra ? s : extra);
}

void matmul_f32(const Matmul *m, int threads);
void matmul_bf16(const Matmul *m, int threads);
void matmul_f16(const Matmul *m, int threads);
void matmul_i8(const Matmul *m, int threads);

#endif
