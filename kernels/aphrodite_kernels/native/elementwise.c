/* Row-wise kernels: RMS norm, rotary embedding, silu(gate) * up, and the store into the KV cache.
 *
 * Each row (or head of a row) is loaded to float32, computed, and rounded to its dtype at the end; rows are never mixed.
 * A sum of squares runs over 16 lanes (lane i takes elements i, i + 16, ..), added by one tree.
 */
#include <math.h>
#include <stdlib.h>
#include "ops.h"

#define CHUNK 1024

static float inverse_rms(const float *x, long n, float eps) {
    float lanes[16] = {0};
    long i = 0;
    for (; i + 16 <= n; i += 16)
        for (int l = 0; l < 16; l++) lanes[l] = fma1(x[i + l], x[i + l], lanes[l]);
    for (; i < n; i++) lanes[i % 16] = fma1(x[i], x[i], lanes[i % 16]);
    return 1.0f / sqrtf(sum16(lanes) / (float)n + eps);
}

/* y = round(x / rms) * weight; residual not NULL: x += residual first, and the rounded sum is written back to it. */
EXPORT void aphrodite_rms_norm(const char *x, char *residual, const char *weight, char *y, int dtype, long rows, long n,
                               float eps, int threads) {
    long size = dtype_size(dtype), blocks = rows < threads ? rows : threads;
#pragma omp parallel for num_threads(threads) schedule(static, 1) if (blocks > 1 && WORTH_SHARING(rows * n * 8))
    for (long b = 0; b < blocks; b++) {
        float *line = malloc((size_t)n * 4), part[CHUNK];
        for (long r = rows * b / blocks; r < rows * (b + 1) / blocks; r++) {
            load_row(line, x + r * n * size, dtype, n);
            for (long c = 0; residual && c < n; c += CHUNK) {
                long count = n - c < CHUNK ? n - c : CHUNK;
                load_row(part, residual + (r * n + c) * size, dtype, count);
                for (long i = 0; i < count; i++) line[c + i] += part[i];
                round_row(line + c, dtype, count);
                store_row(residual + (r * n + c) * size, line + c, dtype, count);
            }
            float scale = inverse_rms(line, n, eps);
            for (long c = 0; c < n; c += CHUNK) {
                long count = n - c < CHUNK ? n - c : CHUNK;
                load_row(part, weight + c * size, dtype, count);
                for (long i = 0; i < count; i++) line[c + i] *= scale;
                round_row(line + c, dtype, count);
                for (long i = 0; i < count; i++) line[c + i] *= part[i];
                store_row(y + (r * n + c) * size, line + c, dtype, count);
            }
        }
        free(line);
    }
}

/* One head in place: optional RMS norm, then the first `rot` elements turned (half-rotation style, as Llama does). */
static void rotate(char *head, int dtype, long dim, long rot, const float *table, const char *norm, float eps) {
    float x[CHUNK], w[CHUNK];
    long half = rot / 2;
    load_row(x, head, dtype, dim);
    if (norm) {
        float scale = inverse_rms(x, dim, eps);
        load_row(w, norm, dtype, dim);
        for (long i = 0; i < dim; i++) x[i] = x[i] * scale * w[i];
    }
    for (long i = 0; i < half; i++) {
        float a = x[i], b = x[i + half], c = table[i], s = table[half + i];
        x[i] = fma1(a, c, -(b * s));
        x[i + half] = fma1(b, c, a * s);
    }
    store_row(head, x, dtype, dim);
}

EXPORT void aphrodite_rope(char *q, long q_stride, long q_heads, char *k, long k_stride, long k_heads, int dtype,
                           long tokens, long dim, long rot, const int64_t *positions, const float *cos_sin,
                           const char *q_norm, const char *k_norm, float eps, int threads) {
    long size = dtype_size(dtype);
#pragma omp parallel for num_threads(threads) schedule(static) if (WORTH_SHARING(tokens * (q_heads + k_heads) * dim * 8))
    for (long t = 0; t < tokens; t++) {
        const float *table = cos_sin + positions[t] * rot;
        for (long h = 0; h < q_heads; h++)
            rotate(q + (t * q_stride + h * dim) * size, dtype, dim, rot, table, q_norm, eps);
        for (long h = 0; h < k_heads; h++)
            rotate(k + (t * k_stride + h * dim) * size, dtype, dim, rot, table, k_norm, eps);
    }
}

EXPORT void aphrodite_silu_mul(const char *gate_up, char *out, int dtype, long rows, long n, int threads) {
    long size = dtype_size(dtype), chunks = (n + CHUNK - 1) / CHUNK;
#pragma omp parallel for num_threads(threads) schedule(static) if (WORTH_SHARING(rows * n * 16))
    for (long t = 0; t < rows * chunks; t++) {
        float gate[CHUNK], up[CHUNK];
        long r = t / chunks, c = t % chunks * CHUNK, count = n - c < CHUNK ? n - c : CHUNK;
        load_row(gate, gate_up + (r * 2 * n + c) * size, dtype, count);
        load_row(up, gate_up + (r * 2 * n + n + c) * size, dtype, count);
        for (long i = 0; i < count; i++) gate[i] = gate[i] / (1.0f + exp_f32(-gate[i])) * up[i];
        store_row(out + (r * n + c) * size, gate, dtype, count);
    }
}

/* k[block][head][d][slot] and v[block][head][slot][d]; slot -1 is skipped. Elements are copied as they are. */
EXPORT void aphrodite_kv_store(const char *k, long k_stride, const char *v, long v_stride, char *k_cache, char *v_cache,
                               const int64_t *slots, int size, long tokens, long heads, long dim, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static) if (WORTH_SHARING(tokens * heads * dim * 8))
    for (long h = 0; h < heads; h++)
        for (long t = 0; t < tokens; t++) {
            if (slots[t] < 0) continue;
            long at = (slots[t] / 16 * heads + h) * dim * 16, slot = slots[t] % 16;
            const char *key = k + (t * k_stride + h * dim) * size;
            memcpy(v_cache + (at + slot * dim) * size, v + (t * v_stride + h * dim) * size, (size_t)(dim * size));
            if (size == 4) for (long d = 0; d < dim; d++) ((uint32_t *)k_cache)[at + d * 16 + slot] = ((const uint32_t *)key)[d];
            else for (long d = 0; d < dim; d++) ((uint16_t *)k_cache)[at + d * 16 + slot] = ((const uint16_t *)key)[d];
        }
}
