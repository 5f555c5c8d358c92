/* Counter-based randomness and token selection.
 *
 * Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011). Key: the 64-bit seed, low word
 * first. Counter: (token index / 4, position, sequence, purpose); word i % 4 of the output belongs to token i.
 * A word x becomes u = (2 * (x >> 9) + 1) / 2^24: exact in float32, never 0 or 1.
 * Rows are cut into 64 lanes; lane i sees tokens i, i + 64, .. and keeps its first maximum; the lanes are compared last.
 */
#include "common.h"

#define LANES 64
#define GROUPS (LANES / 4)
#define MAX_GUMBEL 16.6356f /* above -ln(-ln u) at the largest u, 1 - 2^-24 */

typedef struct { uint32_t key0, key1, position, sequence, purpose; } Stream;

static Stream stream_of(int64_t seed, int64_t sequence, int64_t position, int64_t purpose) {
    uint64_t s = (uint64_t)seed;
    return (Stream){(uint32_t)s, (uint32_t)(s >> 32), (uint32_t)position, (uint32_t)sequence, (uint32_t)purpose};
}

/* words[4 * i + w] = word w of counter `group + i`. */
static void philox(const Stream *s, uint32_t group, uint32_t *restrict words) {
    uint32_t a[GROUPS], b[GROUPS], c[GROUPS], d[GROUPS];
    uint32_t key0 = s->key0, key1 = s->key1;
    for (int i = 0; i < GROUPS; i++) {
        a[i] = group + (uint32_t)i;
        b[i] = s->position;
        c[i] = s->sequence;
        d[i] = s->purpose;
    }
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < GROUPS; i++) {
            uint64_t p = (uint64_t)0xD2511F53u * a[i], q = (uint64_t)0xCD9E8D57u * c[i];
            a[i] = (uint32_t)(q >> 32) ^ b[i] ^ key0;
            b[i] = (uint32_t)q;
            c[i] = (uint32_t)(p >> 32) ^ d[i] ^ key1;
            d[i] = (uint32_t)p;
        }
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    for (int i = 0; i < GROUPS; i++) {
        words[4 * i] = a[i];
        words[4 * i + 1] = b[i];
        words[4 * i + 2] = c[i];
        words[4 * i + 3] = d[i];
    }
}

INLINE float uniform(uint32_t word) { return (float)(int32_t)((word >> 9) * 2u + 1u) * 0x1p-24f; }

EXPORT void aphrodite_philox_uniform(const int64_t *seeds, const int64_t *sequence, const int64_t *position,
                                     int64_t purpose, float *out, long rows, long n, int threads) {
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1) if (rows > 1 && rows * n > 8192)
    for (long r = 0; r < rows; r++) {
        Stream s = stream_of(seeds[r], sequence[r], position[r], purpose);
        for (long start = 0; start < n; start += LANES) {
            uint32_t words[LANES];
            float u[LANES];
            philox(&s, (uint32_t)(start / 4), words);
            for (int i = 0; i < LANES; i++) u[i] = uniform(words[i]);
            memcpy(out + r * n + start, u, (size_t)(n - start < LANES ? n - start : LANES) * 4);
        }
    }
}

INLINE float max_lanes(const float *x) {
    float t[16];
    for (int i = 0; i < 16; i++) {
        float a = x[i] > x[i + 16] ? x[i] : x[i + 16], b = x[i + 32] > x[i + 48] ? x[i + 32] : x[i + 48];
        t[i] = a > b ? a : b;
    }
    return max16(t);
}

/* The lowest id of the largest logit (plus Gumbel noise when `s` is given); -1 when none is above -infinity. */
static int64_t pick(const float *logits, long n, const Stream *s) {
    float best[LANES], y[LANES], tail[LANES], top = -__builtin_inff();
    int32_t where[LANES];
    for (int i = 0; i < LANES; i++) { best[i] = -__builtin_inff(); where[i] = -1; }
    for (long start = 0; start < n; start += LANES) {
        const float *x = logits + start;
        if (n - start < LANES) {
            for (int i = 0; i < LANES; i++) tail[i] = i < n - start ? x[i] : -__builtin_inff();
            x = tail;
        }
        if (s) {
            /* Rounding is monotonic: a block whose largest possible sum is below the best so far cannot win. */
            if (max_lanes(x) + MAX_GUMBEL < top) continue;
            uint32_t words[LANES];
            philox(s, (uint32_t)(start / 4), words);
            for (int i = 0; i < LANES; i++) y[i] = x[i] - log_f32(-log_f32(uniform(words[i])));
        } else memcpy(y, x, sizeof y);
        for (int i = 0; i < LANES; i++) {
            where[i] = y[i] > best[i] ? (int32_t)start : where[i];
            best[i] = y[i] > best[i] ? y[i] : best[i];
        }
        if (s) top = max_lanes(best);
    }
    int64_t id = -1;
    top = -__builtin_inff();
    for (int i = 0; i < LANES; i++) {
        if (where[i] < 0 || best[i] < top) continue;
        if (best[i] > top || where[i] + i < id) id = where[i] + i;
        top = best[i];
    }
    return id;
}

EXPORT void aphrodite_argmax(const float *logits, int64_t *out, long rows, long n, int threads) {
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1) if (rows > 1 && rows * n > 32768)
    for (long r = 0; r < rows; r++) out[r] = pick(logits + r * n, n, 0);
}

EXPORT void aphrodite_gumbel_argmax(const float *logits, const int64_t *seeds, const int64_t *sequence,
                                    const int64_t *position, int64_t purpose, int64_t *out, long rows, long n,
                                    int threads) {
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1) if (rows > 1 && rows * n > 4096)
    for (long r = 0; r < rows; r++) {
        Stream s = stream_of(seeds[r], sequence[r], position[r], purpose);
        out[r] = pick(logits + r * n, n, &s);
    }
}
