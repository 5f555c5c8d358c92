/* The smallest set of most likely tokens that reaches a mass, by two histograms instead of a sort.
 *
 * The bits of a float32 from 0 to 1 order like the number, so the upper 16 name a band and the lower 16 a value in it.
 * Mass is added in double, in the order of ids within a band and downwards over bands and values.
 */
#include <stdlib.h>

#include "common.h"

#define ONE 0x3f800000u /* larger bits are no probability: NaN, or negative */
#define BANDS (0x3f80 + 1)
#define VALUES 0x10000

typedef struct { double mass[BANDS]; uint32_t count[VALUES]; } Histograms;

/* The least value kept, and how many tokens of exactly that value. */
typedef struct { uint32_t bits; long ties; } Edge;

static Edge find_edge(const float *p, long n, double mass, Histograms *h) {
    memset(h->mass, 0, sizeof h->mass);
    for (long i = 0; i < n; i++) if (to_bits(p[i]) <= ONE) h->mass[to_bits(p[i]) >> 16] += p[i];
    double above = 0, with = 0;
    long band = BANDS - 1;
    for (;; band--) {
        with = above + h->mass[band];
        if (with >= mass || band == 0) break;
        above = with;
    }
    memset(h->count, 0, sizeof h->count);
    for (long i = 0; i < n; i++) {
        uint32_t bits = to_bits(p[i]);
        if ((long)(bits >> 16) == band) h->count[bits & 0xffffu]++;
    }
    Edge edge = {0, 0};
    long kept = 0;
    for (long low = VALUES - 1; low >= 0; low--) {
        if (!h->count[low]) continue;
        uint32_t bits = ((uint32_t)band << 16) | (uint32_t)low;
        float value = from_bits(bits);
        long ties = 0;
        /* A sum of equals, not a product: as if they were walked one by one. */
        for (; ties < (long)h->count[low] && ((above < mass && value > 0) || kept == 0); ties++, kept++) above += value;
        if (ties) edge = (Edge){bits, ties};
        if (ties < (long)h->count[low]) break;
    }
    return edge;
}

EXPORT int aphrodite_nucleus(const float *probabilities, const double *mass, uint8_t *keep, long rows, long n,
                             int threads) {
    int failed = 0;
#pragma omp parallel num_threads(threads) if (rows > 1 && WORTH_SHARING(rows * n * 4))
    {
        Histograms *h = malloc(sizeof *h);
        if (!h) {
#pragma omp atomic write
            failed = 1;
        }
#pragma omp for schedule(dynamic, 1)
        for (long r = 0; r < rows; r++) {
            if (!h) continue;
            const float *p = probabilities + r * n;
            uint8_t *out = keep + r * n;
            Edge edge = find_edge(p, n, mass[r], h);
            long ties = 0;
            for (long i = 0; i < n; i++) out[i] = to_bits(p[i]) > edge.bits && to_bits(p[i]) <= ONE;
            for (long i = 0; i < n && ties < edge.ties; i++)
                if (to_bits(p[i]) == edge.bits) { out[i] = 1; ties++; }
        }
        free(h);
    }
    return failed;
}
