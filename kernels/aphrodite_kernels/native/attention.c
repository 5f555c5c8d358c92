/* Attention entry point; see attention.h for the layout and the order of accumulation. */
#include "attention.h"
#include "ops.h"

EXPORT void aphrodite_attention(const void *q, long q_stride, int q_dtype, const void *k, const void *v, int kv_dtype,
                                const int32_t *tables, long table_stride, const int32_t *query_start,
                                const int32_t *context, void *out, long sequences, long q_heads, long kv_heads,
                                long dim, float scale, long window, float softcap, int threads) {
    Attention a = {q, out, k, v, tables, query_start, context, q_stride, table_stride, sequences,
                   q_heads, kv_heads, dim, q_dtype, scale, softcap, window};
    if (kv_dtype == F32) attention_f32(&a, threads);
    else if (kv_dtype == BF16) attention_bf16(&a, threads);
    else attention_f16(&a, threads);
}
