/* The matmul kernels for one weight type. Set before including: WEIGHT (type), VLOAD (loads VL weights), NAME. */
#include <stdlib.h>
#include "matmul.h"

/* Prefetch the weights of one step. Processors alone do not run far enough ahead of so many short steps. */
INLINE void fetch(const WEIGHT *w) {
    for (int byte = 0; byte < (int)(NR * sizeof(WEIGHT)); byte += 64) __builtin_prefetch((const char *)w + byte, 0, 3);
}

/* rows x (panels * NR) outputs: c[panel][row][NR] += x * w over k. All counts are constants where this is inlined.
 * ahead: how many weights further to prefetch; 0: nothing. */
INLINE void tile(const int rows, const int panels, const float *x, const WEIGHT *w, long panel_step, long k,
                 float *c, long c_step, int first, long ahead) {
    vf acc[24];
    const int nv = 2 * panels;
#pragma GCC unroll 32
    for (int i = 0; i < rows * nv; i++) {
        int r = i / nv, v = i % nv;
        acc[i] = first ? vset(0.0f) : vload_f32(c + (v / 2) * c_step + r * NR + (v % 2) * VL);
    }
    for (long kk = 0; kk < k; kk++) {
        vf b[8];
        if (ahead)
#pragma GCC unroll 4
            for (int p = 0; p < panels; p++) fetch(w + p * panel_step + kk * NR + ahead);
#pragma GCC unroll 8
        for (int v = 0; v < nv; v++) b[v] = VLOAD(w + (v / 2) * panel_step + kk * NR + (v % 2) * VL);
#pragma GCC unroll 16
        for (int r = 0; r < rows; r++) {
            vf a = vset(x[kk * rows + r]);
#pragma GCC unroll 8
            for (int v = 0; v < nv; v++) acc[r * nv + v] = vfma(a, b[v], acc[r * nv + v]);
        }
    }
#pragma GCC unroll 32
    for (int i = 0; i < rows * nv; i++) {
        int r = i / nv, v = i % nv;
        vstore(c + (v / 2) * c_step + r * NR + (v % 2) * VL, acc[i]);
    }
}

#define TILE(rows, panels)                                                                                         \
    static void tile_##rows##x##panels(const float *x, const WEIGHT *w, long ps, long k, float *c, long cs, int f, \
                                       long ahead) {                                                               \
        tile(rows, panels, x, w, ps, k, c, cs, f, ahead);                                                          \
    }
TILE(1, 4) TILE(1, 1) TILE(2, 2) TILE(2, 1) TILE(3, 1) TILE(4, 1) TILE(5, 1) TILE(6, 1)
#if MR == 12
TILE(3, 2) TILE(4, 2) TILE(7, 1) TILE(8, 1) TILE(9, 1) TILE(10, 1) TILE(11, 1) TILE(12, 1)
#endif

typedef void (*TileFn)(const float *, const WEIGHT *, long, long, float *, long, int, long);

static const TileFn ONE_PANEL[MR + 1] = {
    0, tile_1x1, tile_2x1, tile_3x1, tile_4x1, tile_5x1, tile_6x1,
#if MR == 12
    tile_7x1, tile_8x1, tile_9x1, tile_10x1, tile_11x1, tile_12x1,
#endif
};

/* How many panels a short strip takes at once, so that enough independent chains hide the latency of the FMA. */
INLINE int panels_at_once(long rows) { return rows == 1 ? 4 : rows == 2 || (MR == 12 && rows <= 4) ? 2 : 1; }

static TileFn wide_tile(long rows) {
#if MR == 12
    if (rows == 4) return tile_4x2;
    if (rows == 3) return tile_3x2;
#endif
    return rows == 1 ? tile_1x4 : tile_2x2;
}

static void write_out(const Matmul *m, const float *c, long row, long rows, long panel) {
    long column = panel * NR, count = m->n - column < NR ? m->n - column : NR, size = dtype_size(m->out_dtype);
    for (long r = 0; r < rows; r++) {
        float line[NR];
        for (int i = 0; i < NR; i++) line[i] = c[r * NR + i];
        if (m->scale) for (long i = 0; i < count; i++) line[i] *= m->scale[column + i];
        if (m->bias) for (long i = 0; i < count; i++) line[i] += m->bias[column + i];
        store_row(m->out + ((row + r) * m->n + column) * size, line, m->out_dtype, count);
    }
}

/* One strip in all: the weights are read once, from memory, in long runs. */
static void stream_panels(const Matmul *m, long panel, long count) {
    float c[24 * VL];
    long step = m->k * NR, cs = m->rows * NR;
    const WEIGHT *w = (const WEIGHT *)m->w + panel * step;
    /* One or two rows of float32 ask for so many bytes a step that the processor alone is as fast. */
    long ahead = m->rows <= 2 && sizeof(WEIGHT) == 4 ? 0 : AHEAD / (long)sizeof(WEIGHT) / panels_at_once(m->rows);
    if (count > 1) wide_tile(m->rows)(m->x, w, step, m->k, c, cs, 1, ahead);
    else ONE_PANEL[m->rows](m->x, w, step, m->k, c, cs, 1, ahead);
    for (long p = 0; p < count; p++) write_out(m, c + p * cs, 0, m->rows, panel + p);
}

/* Strips [s0, s1) of one panel, cut along K so that a block of the panel is reused from the nearest cache. */
static void blocked_panel(const Matmul *m, float *c, long panel, long s0, long s1) {
    const WEIGHT *w = (const WEIGHT *)m->w + panel * m->k * NR;
    long first_row = strip_start(m, s0), last_row = strip_start(m, s1);
    for (long k0 = 0; k0 < m->k; k0 += KC) {
        long depth = m->k - k0 < KC ? m->k - k0 : KC;
        for (long s = s0; s < s1; s++) {
            long row = strip_start(m, s), rows = strip_start(m, s + 1) - row;
            long ahead = s == s0 + (s1 - s0 > 1) ? KC * NR : 0; /* the second strip fetches the next block for the first */
            ONE_PANEL[rows](m->x + row * m->k + k0 * rows, w + k0 * NR, 0, depth, c + (row - first_row) * NR, 0, k0 == 0,
                            ahead);
        }
    }
    write_out(m, c, first_row, last_row - first_row, panel);
}

void NAME(const Matmul *m, int threads) {
    long panels = (m->n + NR - 1) / NR;
    int shared = WORTH_SHARING(m->n * m->k * (m->rows + 2)); /* reading a weight counts as two operations */
    if (m->strips == 1) {
        int at_once = panels_at_once(m->rows);
        long groups = panels / at_once, rest = panels % at_once, tasks = groups + rest;
        long chunk = tasks / (threads * 8) + 1;
#pragma omp parallel for num_threads(threads) schedule(dynamic, chunk) if (shared)
        for (long t = 0; t < tasks; t++) {
            if (t < groups) stream_panels(m, t * at_once, at_once);
            else stream_panels(m, groups * at_once + t - groups, 1);
        }
        return;
    }
    long group = X_BYTES / (m->k * 4 * MR) + 1, groups = (m->strips + group - 1) / group;
#pragma omp parallel num_threads(threads) if (shared)
    {
        float *c = malloc((size_t)group * MR * NR * 4);
#pragma omp for schedule(dynamic, 1)
        for (long t = 0; t < groups * panels; t++) {
            long s0 = (t / panels) * group, s1 = s0 + group < m->strips ? s0 + group : m->strips;
            blocked_panel(m, c, t % panels, s0, s1);
        }
        free(c);
    }
}
