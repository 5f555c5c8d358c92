/* Matmul entry points: pack weights, look up their rows, pack the input, multiply. See matmul.h for the layout. */
#include <stdlib.h>
#include "matmul.h"
#include "ops.h"

#define MAX_ROWS 1536 /* rows per pass: bounds the workspace at MAX_ROWS * K floats */

EXPORT long aphrodite_panel(void) { return NR; }

/* Copy `rows` rows of a (rows, k) weight of `size`-byte elements to rows first.. of the packed weight. */
EXPORT void aphrodite_pack_rows(const void *src, void *dst, long first, long rows, long k, int size, int threads) {
    long p0 = first / NR, p1 = (first + rows + NR - 1) / NR;
#pragma omp parallel for num_threads(threads) schedule(dynamic, 4)
    for (long p = p0; p < p1; p++) {
        long n0 = p * NR > first ? p * NR : first, n1 = (p + 1) * NR < first + rows ? (p + 1) * NR : first + rows;
        for (long k0 = 0; k0 < k; k0 += 16) { /* 16 columns at a time: one cache line of each source row */
            long k1 = k0 + 16 < k ? k0 + 16 : k;
            for (long n = n0; n < n1; n++) {
                if (size == 4) {
                    const uint32_t *s = (const uint32_t *)src + (n - first) * k;
                    uint32_t *d = (uint32_t *)dst + p * k * NR + n % NR;
                    for (long kk = k0; kk < k1; kk++) d[kk * NR] = s[kk];
                } else if (size == 2) {
                    const uint16_t *s = (const uint16_t *)src + (n - first) * k;
                    uint16_t *d = (uint16_t *)dst + p * k * NR + n % NR;
                    for (long kk = k0; kk < k1; kk++) d[kk * NR] = s[kk];
                } else {
                    const uint8_t *s = (const uint8_t *)src + (n - first) * k;
                    uint8_t *d = (uint8_t *)dst + p * k * NR + n % NR;
                    for (long kk = k0; kk < k1; kk++) d[kk * NR] = s[kk];
                }
            }
        }
    }
}

/* out[t] = row ids[t] of the packed weight. Returns -1, or the index of an id that is out of range. */
EXPORT long aphrodite_weight_rows(const void *w, const int64_t *ids, void *out, long count, long n, long k, int size,
                                  int threads) {
    for (long t = 0; t < count; t++) if (ids[t] < 0 || ids[t] >= n) return t;
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1) if (WORTH_SHARING(count * k * 64))
    for (long t = 0; t < count; t++) {
        long start = ids[t] / NR * k * NR + ids[t] % NR;
        if (size == 4) {
            const uint32_t *s = (const uint32_t *)w + start;
            for (long kk = 0; kk < k; kk++) ((uint32_t *)out)[t * k + kk] = s[kk * NR];
        } else if (size == 2) {
            const uint16_t *s = (const uint16_t *)w + start;
            for (long kk = 0; kk < k; kk++) ((uint16_t *)out)[t * k + kk] = s[kk * NR];
        } else {
            const uint8_t *s = (const uint8_t *)w + start;
            for (long kk = 0; kk < k; kk++) ((uint8_t *)out)[t * k + kk] = s[kk * NR];
        }
    }
    return -1;
}

static void pack_input(const Matmul *m, const char *x, int dtype, float *packed, int threads) {
    long chunks = (m->k + KC - 1) / KC, size = dtype_size(dtype);
#pragma omp parallel for num_threads(threads) schedule(static) if (WORTH_SHARING(m->rows * m->k * 8))
    for (long t = 0; t < m->strips * chunks; t++) {
        long s = t / chunks, k0 = t % chunks * KC, depth = m->k - k0 < KC ? m->k - k0 : KC;
        long row = strip_start(m, s), rows = strip_start(m, s + 1) - row;
        float line[KC], *out = packed + row * m->k + k0 * rows;
        for (long r = 0; r < rows; r++) {
            load_row(line, x + ((row + r) * m->k + k0) * size, dtype, depth);
            for (long i = 0; i < depth; i++) out[i * rows + r] = line[i];
        }
    }
}

/* out (rows, n) = x (rows, k) @ weight^T * scale + bias. Returns 0, or 1 when the workspace cannot be allocated. */
EXPORT int aphrodite_matmul(const void *x, int x_dtype, const void *w, int w_dtype, const float *scale,
                            const float *bias, void *out, int out_dtype, long rows, long n, long k, int threads) {
    long pass = rows < MAX_ROWS ? rows : MAX_ROWS;
    int direct = rows == 1 && x_dtype == F32;
    float *packed = direct ? NULL : malloc((size_t)pass * k * 4);
    if (!direct && !packed) return 1;
    for (long row = 0; row < rows; row += pass) {
        long count = rows - row < pass ? rows - row : pass;
        Matmul m = {direct ? x : packed, w, scale, bias, (char *)out + row * n * dtype_size(out_dtype), out_dtype,
                    count, n, k, (count + MR - 1) / MR};
        if (!direct) pack_input(&m, (const char *)x + row * k * dtype_size(x_dtype), x_dtype, packed, threads);
        if (w_dtype == F32) matmul_f32(&m, threads);
        else if (w_dtype == BF16) matmul_bf16(&m, threads);
        else if (w_dtype == F16) matmul_f16(&m, threads);
        else matmul_i8(&m, threads);
    }
    free(packed);
    return 0;
}
