/* Paged causal attention: what the three cache types share.
 *
 * Cache layout (see kv_store.py): keys k[block][kv head][D][16], values v[block][kv head][16][D].
 * Order of accumulation, for one query row at position p and one head:
 *   keys are visited in tiles of 64 positions, aligned at position 0; only tiles that hold a visible position count;
 *   a score is one fma chain over d = 0 .. D-1 of (q[d] * scale) * k[d];
 *   online softmax per tile (maximum, then probabilities of 64 lanes, summed by one tree, invisible lanes are 0);
 *   an output element is one fma chain over the tile's visible positions in ascending order, then rescaled.
 * Rows that share loads do not share arithmetic, so prefill, any chunk of it and decode give the same bits.
 * Invisible positions are never multiplied, so what an unused slot holds (NaN included) cannot reach a result.
 */
#ifndef APHRODITE_ATTENTION_H
#define APHRODITE_ATTENTION_H

#include "common.h"

#define BLOCK 16
#define TILE 64
#define TILE_BLOCKS (TILE / BLOCK)
#define NV 4                              /* vectors per row in a micro tile */
#define RMAX (REGISTERS == 32 ? 6 : 3)    /* rows in a micro tile: RMAX * NV accumulators */
#define QUERY_ROWS 48                     /* rows that share a tile of keys while it is in the cache */
#define MAX_DIM 256

typedef struct {
    const char *q;
    char *out;
    const void *k, *v;
    const int32_t *tables, *query_start, *context;
    long q_stride, table_stride, sequences, q_heads, kv_heads, dim;
    int q_dtype;
    float scale, softcap;                 /* softcap 0: none */
    long window;                          /* 0: none */
} Attention;

void attention_f32(const Attention *a, int threads);
void attention_bf16(const Attention *a, int threads);
void attention_f16(const Attention *a, int threads);

#endif
