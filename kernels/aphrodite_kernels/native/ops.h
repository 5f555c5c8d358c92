/* The entry points that other C code calls, as the sources define them. */
#ifndef APHRODITE_OPS_H
#define APHRODITE_OPS_H

#include "common.h"

EXPORT int aphrodite_matmul(const void *x, int x_dtype, const void *w, int w_dtype, const float *scale,
                            const float *bias, void *out, int out_dtype, long rows, long n, long k, int threads);
EXPORT void aphrodite_rms_norm(const char *x, char *residual, const char *weight, char *y, int dtype, long rows, long n,
                               float eps, int threads);
EXPORT void aphrodite_rope(char *q, long q_stride, long q_heads, char *k, long k_stride, long k_heads, int dtype,
                           long tokens, long dim, long rot, const int64_t *positions, const float *cos_sin,
                           const char *q_norm, const char *k_norm, float eps, int threads);
EXPORT void aphrodite_silu_mul(const char *gate_up, char *out, int dtype, long rows, long n, int threads);
EXPORT void aphrodite_kv_store(const char *k, long k_stride, const char *v, long v_stride, char *k_cache, char *v_cache,
                               const int64_t *slots, int size, long tokens, long heads, long dim, int threads);
EXPORT void aphrodite_attention(const void *q, long q_stride, int q_dtype, const void *k, const void *v, int kv_dtype,
                                const int32_t *tables, long table_stride, const int32_t *query_start,
                                const int32_t *context, void *out, long sequences, long q_heads, long kv_heads,
                                long dim, float scale, long window, float softcap, int threads);

#endif
