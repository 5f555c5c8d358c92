/* The attention kernels for one cache type. Set before including: ELEMENT, VLOAD, TO_F32, NAME. */
#include <stdlib.h>
#include "attention.h"

typedef struct { float m, l; long position; int lo, hi; } Row; /* lo, hi: the visible part of the current tile */

/* s[r][64] = q[r] . k for the four blocks of a tile. */
INLINE void score_tile(const int rows, const float *q, long dim, const ELEMENT *const *blocks, float *s) {
    for (int start = 0; start < TILE; start += NV * VL) {
        vf acc[RMAX * NV];
        const ELEMENT *k[NV];
#pragma GCC unroll 4
        for (int v = 0; v < NV; v++) k[v] = blocks[(start + v * VL) / BLOCK] + (start + v * VL) % BLOCK;
#pragma GCC unroll 32
        for (int i = 0; i < rows * NV; i++) acc[i] = vset(0.0f);
        for (long d = 0; d < dim; d++) {
            vf b[NV];
#pragma GCC unroll 4
            for (int v = 0; v < NV; v++) b[v] = VLOAD(k[v] + d * BLOCK);
#pragma GCC unroll 8
            for (int r = 0; r < rows; r++) {
                vf a = vset(q[r * dim + d]);
#pragma GCC unroll 4
                for (int v = 0; v < NV; v++) acc[r * NV + v] = vfma(a, b[v], acc[r * NV + v]);
            }
        }
#pragma GCC unroll 32
        for (int i = 0; i < rows * NV; i++) vstore(s + i / NV * TILE + start + i % NV * VL, acc[i]);
    }
}

/* o[r][d0 .. d0 + nv * VL) += p[r][j] * v[j] for j in [lo, hi) of a tile, ascending. */
INLINE void value_columns(const int rows, const int nv, const float *p, long dim, long d0,
                          const ELEMENT *const *blocks, int lo, int hi, float *o) {
    vf acc[RMAX * NV];
#pragma GCC unroll 32
    for (int i = 0; i < rows * nv; i++) acc[i] = vload_f32(o + i / nv * dim + d0 + i % nv * VL);
    for (int j = lo; j < hi; j++) {
        const ELEMENT *row = blocks[j / BLOCK] + (j % BLOCK) * dim + d0;
        vf b[NV];
#pragma GCC unroll 4
        for (int v = 0; v < nv; v++) b[v] = VLOAD(row + v * VL);
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            vf a = vset(p[r * TILE + j]);
#pragma GCC unroll 4
            for (int v = 0; v < nv; v++) acc[r * nv + v] = vfma(a, b[v], acc[r * nv + v]);
        }
    }
#pragma GCC unroll 32
    for (int i = 0; i < rows * nv; i++) vstore(o + i / nv * dim + d0 + i % nv * VL, acc[i]);
}

/* Columns that do not fill NV vectors: the same chains, a vector and at last an element at a time. */
static void value_rest(int rows, const float *p, long dim, long d0, const ELEMENT *const *blocks, int lo, int hi,
                       float *o) {
    for (; d0 + VL <= dim; d0 += VL)
        for (int r = 0; r < rows; r++) value_columns(1, 1, p + r * TILE, dim, d0, blocks, lo, hi, o + r * dim);
    for (int r = 0; r < rows; r++)
        for (int j = lo; j < hi; j++) {
            const ELEMENT *row = blocks[j / BLOCK] + (j % BLOCK) * dim;
            for (long d = d0; d < dim; d++) o[r * dim + d] = fma1(p[r * TILE + j], TO_F32(row[d]), o[r * dim + d]);
        }
}

INLINE void value_tile(const int rows, const float *p, long dim, const ELEMENT *const *blocks, int lo, int hi, float *o) {
    long d = 0;
    for (; d + NV * VL <= dim; d += NV * VL) value_columns(rows, NV, p, dim, d, blocks, lo, hi, o);
    if (d < dim) value_rest(rows, p, dim, d, blocks, lo, hi, o);
}

static void scores(int rows, const float *q, long dim, const ELEMENT *const *blocks, float *s) {
    if (rows == 5) { /* not worth a variant of its own */
        scores(3, q, dim, blocks, s);
        scores(2, q + 3 * dim, dim, blocks, s + 3 * TILE);
        return;
    }
    switch (rows) {
        case 1: score_tile(1, q, dim, blocks, s); break;
        case 2: score_tile(2, q, dim, blocks, s); break;
        case 3: score_tile(3, q, dim, blocks, s); break;
#if REGISTERS == 32
        case 4: score_tile(4, q, dim, blocks, s); break;
        case 6: score_tile(6, q, dim, blocks, s); break;
#endif
    }
}

static void values(int rows, const float *p, long dim, const ELEMENT *const *blocks, int lo, int hi, float *o) {
    if (lo >= hi) return;
    if (rows == 5) { /* not worth a variant of its own */
        values(3, p, dim, blocks, lo, hi, o);
        values(2, p + 3 * TILE, dim, blocks, lo, hi, o + 3 * dim);
        return;
    }
    switch (rows) {
        case 1: value_tile(1, p, dim, blocks, lo, hi, o); break;
        case 2: value_tile(2, p, dim, blocks, lo, hi, o); break;
        case 3: value_tile(3, p, dim, blocks, lo, hi, o); break;
#if REGISTERS == 32
        case 4: value_tile(4, p, dim, blocks, lo, hi, o); break;
        case 6: value_tile(6, p, dim, blocks, lo, hi, o); break;
#endif
    }
}

/* Scores of one row and tile become probabilities; the row's maximum, sum and output so far are rescaled. */
static void softmax_tile(float *s, Row *row, float softcap, float *o, long dim) {
    float t[16], m = row->m;
    if (softcap > 0.0f) for (int i = 0; i < TILE; i++) s[i] = softcap * tanh_f32(s[i] / softcap);
    for (int i = 0; i < TILE; i++) s[i] = i >= row->lo && i < row->hi ? s[i] : -__builtin_inff();
    for (int i = 0; i < 16; i++) {
        float a = s[i] > s[i + 16] ? s[i] : s[i + 16], b = s[i + 32] > s[i + 48] ? s[i + 32] : s[i + 48];
        t[i] = a > b ? a : b;
    }
    float top = max16(t);
    if (top > m) {
        float alpha = exp_f32(m - top);
        row->l *= alpha;
        for (long d = 0; d < dim; d++) o[d] *= alpha;
        row->m = m = top;
    }
    for (int i = 0; i < TILE; i++) s[i] = exp_f32(s[i] - m);
    for (int i = 0; i < 16; i++) t[i] = (s[i] + s[i + 16]) + (s[i + 32] + s[i + 48]);
    row->l += sum16(t);
}

/* One tile for up to RMAX rows. The part that all see is multiplied together, the edges row by row, in order. */
static void micro_tile(const Attention *a, int rows, const float *q, Row *state, float *o, const ELEMENT *const *k,
                       const ELEMENT *const *v, long tile) {
    float s[RMAX * TILE];
    int low = 0, high = TILE, any = 0;
    for (int r = 0; r < rows; r++) {
        long hi = state[r].position + 1 - tile, lo = a->window ? hi - a->window : 0;
        state[r].hi = (int)(hi > TILE ? TILE : hi);
        state[r].lo = (int)(lo > 0 ? lo : 0);
        any |= state[r].hi > state[r].lo;
        low = state[r].lo > low ? state[r].lo : low;
        high = state[r].hi < high ? state[r].hi : high;
    }
    if (!any) return;
    if (high < low) high = low = TILE;
    scores(rows, q, a->dim, k, s);
    for (int r = 0; r < rows; r++) {
        if (state[r].hi <= state[r].lo) continue;
        softmax_tile(s + r * TILE, &state[r], a->softcap, o + r * a->dim, a->dim);
        values(1, s + r * TILE, a->dim, v, state[r].lo, low < state[r].hi ? low : state[r].hi, o + r * a->dim);
    }
    values(rows, s, a->dim, v, low, high, o);
    for (int r = 0; r < rows; r++)
        values(1, s + r * TILE, a->dim, v, high > state[r].lo ? high : state[r].lo, state[r].hi, o + r * a->dim);
}

/* The addresses of a tile's four blocks; those that no row needs point at one that is needed. */
static void tile_blocks(const Attention *a, const int32_t *table, long tile, long first, long last, long head,
                        const ELEMENT **k, const ELEMENT **v) {
    for (long i = 0; i < TILE_BLOCKS; i++) {
        long b = tile / BLOCK + i;
        b = b < first ? first : b > last ? last : b;
        long at = ((long)table[b] * a->kv_heads + head) * a->dim * BLOCK;
        k[i] = (const ELEMENT *)a->k + at;
        v[i] = (const ELEMENT *)a->v + at;
    }
}

/* Rows [r0, r1) of the (position, head of the group) rows of one sequence and kv head. */
static void attend(const Attention *a, long b, long head, long r0, long r1) {
    float q[QUERY_ROWS * MAX_DIM], o[QUERY_ROWS * MAX_DIM];
    Row state[QUERY_ROWS];
    long group = a->q_heads / a->kv_heads, dim = a->dim, size = dtype_size(a->q_dtype), rows = r1 - r0;
    long start = a->query_start[b], context = a->context[b];
    for (long r = 0; r < rows; r++) {
        long token = start + (r0 + r) / group, h = head * group + (r0 + r) % group;
        load_row(q + r * dim, a->q + (token * a->q_stride + h * dim) * size, a->q_dtype, dim);
        for (long d = 0; d < dim; d++) q[r * dim + d] *= a->scale;
        state[r] = (Row){-__builtin_inff(), 0.0f, context + (r0 + r) / group, 0, 0};
    }
    memset(o, 0, (size_t)(rows * dim) * 4);
    long seen = a->window ? state[0].position - a->window + 1 : 0;
    long first = (seen > 0 ? seen : 0) / BLOCK, last = state[rows - 1].position / BLOCK;
    for (long tile = first * BLOCK / TILE * TILE; tile <= last * BLOCK; tile += TILE) {
        const ELEMENT *k[TILE_BLOCKS], *v[TILE_BLOCKS];
        tile_blocks(a, a->tables + b * a->table_stride, tile, first, last, head, k, v);
        for (long r = 0; r < rows; r += RMAX) {
            int count = (int)(rows - r < RMAX ? rows - r : RMAX);
            micro_tile(a, count, q + r * dim, state + r, o + r * dim, k, v, tile);
        }
    }
    for (long r = 0; r < rows; r++) {
        long token = start + (r0 + r) / group, h = head * group + (r0 + r) % group;
        for (long d = 0; d < dim; d++) o[r * dim + d] /= state[r].l;
        store_row(a->out + (token * a->q_heads + h) * dim * size, o + r * dim, a->q_dtype, dim);
    }
}

void NAME(const Attention *a, int threads) {
    long group = a->q_heads / a->kv_heads, tasks = 0, seen = 0;
    long *before = malloc((size_t)(a->sequences + 1) * sizeof(long)); /* tasks of the sequences before b */
    for (long b = 0; b < a->sequences; b++) {
        long rows = (a->query_start[b + 1] - a->query_start[b]) * group;
        before[b] = tasks;
        seen += rows * (a->context[b] + rows / group / 2 + TILE);
        tasks += (rows + QUERY_ROWS - 1) / QUERY_ROWS * a->kv_heads;
    }
    before[a->sequences] = tasks;
    /* From the last task down: within a prompt the last rows see the most keys, and long tasks should start first. */
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1) if (tasks > 1 && WORTH_SHARING(seen * a->kv_heads * a->dim))
    for (long t = 0; t < tasks; t++) {
        long task = tasks - 1 - t, lo = 0, hi = a->sequences;
        while (hi - lo > 1) {
            long mid = (lo + hi) / 2;
            if (before[mid] <= task) lo = mid; else hi = mid;
        }
        long rows = (a->query_start[lo + 1] - a->query_start[lo]) * group, r0 = (task - before[lo]) / a->kv_heads * QUERY_ROWS;
        attend(a, lo, (task - before[lo]) % a->kv_heads, r0, r0 + QUERY_ROWS < rows ? r0 + QUERY_ROWS : rows);
    }
    free(before);
}
