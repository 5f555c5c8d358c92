/* Layers of a Llama-style decoder in one call: the ops that Python would call, in its order, so their bits too.
 * What it saves is the way there: checks, allocations and calls, a dozen microseconds an op.
 */
#include "ops.h"

/* These structures are declared again in native_layers.py. */
typedef struct {
    const void *data;                     /* packed */
    const float *scale, *bias;            /* (n,), or NULL */
    long n, k;
} Weight;

typedef struct {
    Weight qkv, output, gate_up, down;
    const char *q_norm, *k_norm;          /* (D,), or NULL */
    const char *post_norm, *next_norm;    /* (hidden,) */
    long window;                          /* 0: none */
} Layer;

typedef struct {
    const int64_t *positions, *slots;
    const int32_t *tables, *query_start, *context;
    const float *cos_sin;
    long tokens, sequences, table_width, q_heads, kv_heads, dim, rot;
    int dtype, weight_dtype;
    float scale, eps;
} Step;

static int multiply(const Step *s, const void *x, const Weight *w, void *out, int threads) {
    return aphrodite_matmul(x, s->dtype, w->data, s->weight_dtype, w->scale, w->bias, out, s->dtype, s->tokens, w->n,
                            w->k, threads);
}

/* hidden and residual (T, hidden) are both read and written; work holds T rows of each of wide, narrow and hidden, where
 * wide has room for q, k and v or gate and up, narrow for the attended heads or what is left of gate and up.
 * caches: keys and values of each layer in turn. Returns 0, or 1 when the workspace of a matmul cannot be allocated. */
EXPORT int aphrodite_decoder_layers(const Layer *layers, void *const *caches, long count, const Step *s, char *hidden,
                                    char *residual, char *work, long wide, long narrow, int threads) {
    long size = dtype_size(s->dtype), q_width = s->q_heads * s->dim, kv_width = s->kv_heads * s->dim;
    long packed = q_width + 2 * kv_width;
    char *heads = work, *attended = heads + s->tokens * wide * size, *added = attended + s->tokens * narrow * size;
    char *k = heads + q_width * size, *v = k + kv_width * size;
    for (long i = 0; i < count; i++) {
        const Layer *l = layers + i;
        char *keys = caches[2 * i], *values = caches[2 * i + 1];
        if (multiply(s, hidden, &l->qkv, heads, threads)) return 1;
        aphrodite_rope(heads, packed, s->q_heads, k, packed, s->kv_heads, s->dtype, s->tokens, s->dim, s->rot,
                       s->positions, s->cos_sin, l->q_norm, l->k_norm, s->eps, threads);
        aphrodite_kv_store(k, packed, v, packed, keys, values, s->slots, (int)size, s->tokens, s->kv_heads, s->dim,
                           threads);
        aphrodite_attention(heads, packed, s->dtype, keys, values, s->dtype, s->tables, s->table_width, s->query_start,
                            s->context, attended, s->sequences, s->q_heads, s->kv_heads, s->dim, s->scale, l->window,
                            0.0f, threads);
        if (multiply(s, attended, &l->output, added, threads)) return 1;
        aphrodite_rms_norm(added, residual, l->post_norm, hidden, s->dtype, s->tokens, l->output.n, s->eps, threads);
        if (multiply(s, hidden, &l->gate_up, heads, threads)) return 1;
        aphrodite_silu_mul(heads, attended, s->dtype, s->tokens, l->down.k, threads);
        if (multiply(s, attended, &l->down, added, threads)) return 1;
        aphrodite_rms_norm(added, residual, l->next_norm, hidden, s->dtype, s->tokens, l->down.n, s->eps, threads);
    }
    return 0;
}
