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

typedef uint32_t vu __attribute__((vector_size(4 * VL)));

/* Both halves of word * m. Spelled out for x86, where compilers take a slow 64-bit multiplication instead. */
INLINE void multiply(vu word, uint32_t m, vu *high, vu *low) {
#if VL == 16
    __m512i x = (__m512i)word, by = _mm512_set1_epi32((int)m);
    __m512i even = _mm512_mul_epu32(x, by), odd = _mm512_mul_epu32(_mm512_srli_epi64(x, 32), by);
    *low = (vu)_mm512_mask_blend_epi32(0xaaaa, even, _mm512_slli_epi64(odd, 32));
    *high = (vu)_mm512_mask_blend_epi32(0xaaaa, _mm512_srli_epi64(even, 32), odd);
#elif VL == 8
    __m256i x = (__m256i)word, by = _mm256_set1_epi32((int)m);
    __m256i even = _mm256_mul_epu32(x, by), odd = _mm256_mul_epu32(_mm256_srli_epi64(x, 32), by);
    *low = (vu)_mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xaa);
    *high = (vu)_mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa);
#else
    for (int i = 0; i < VL; i++) {
        uint64_t product = (uint64_t)word[i] * m;
        (*high)[i] = (uint32_t)(product >> 32);
        (*low)[i] = (uint32_t)product;
    }
#endif
}

/* words[4 * i + w] = word w of counter `group + i`. */
static void philox(const Stream *s, uint32_t group, uint32_t *restrict words) {
    for (int start = 0; start < GROUPS; start += VL) {
        uint32_t counter[VL], out[4][VL];
        for (int i = 0; i < VL; i++) counter[i] = group + (uint32_t)(start + i);
        vu a, b = (vu){0} + s->position, c = (vu){0} + s->sequence, d = (vu){0} + s->purpose;
        memcpy(&a, counter, sizeof a);
        uint32_t key0 = s->key0, key1 = s->key1;
        for (int round = 0; round < 10; round++) {
            vu p_high, p_low, q_high, q_low;
            multiply(a, 0xD2511F53u, &p_high, &p_low);
            multiply(c, 0xCD9E8D57u, &q_high, &q_low);
            a = q_high ^ b ^ key0;
            b = q_low;
            c = p_high ^ d ^ key1;
            d = p_low;
            key0 += 0x9E3779B9u;
            key1 += 0xBB67AE85u;
        }
        memcpy(out[0], &a, sizeof a);
        memcpy(out[1], &b, sizeof b);
        memcpy(out[2], &c, sizeof c);
        memcpy(out[3], &d, sizeof d);
        for (int i = 0; i < VL; i++)
            for (int w = 0; w < 4; w++) words[4 * (start + i) + w] = out[w][i];
    }
}

INLINE float uniform(uint32_t word) { return (float)(int32_t)((word >> 9) * 2u + 1u) * 0x1p-24f; }

EXPORT void aphrodite_philox_uniform(const int64_t *seeds, const int64_t *sequence, const int64_t *position,
                                     int64_t purpose, float *out, long rows, long n, int threads) {
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1) if (rows > 1 && WORTH_SHARING(rows * n * 32))
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
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1) if (rows > 1 && WORTH_SHARING(rows * n * 4))
    for (long r = 0; r < rows; r++) out[r] = pick(logits + r * n, n, 0);
}

EXPORT void aphrodite_gumbel_argmax(const float *logits, const int64_t *seeds, const int64_t *sequence,
                                    const int64_t *position, int64_t purpose, int64_t *out, long rows, long n,
                                    int threads) {
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1) if (rows > 1 && WORTH_SHARING(rows * n * 32))
    for (long r = 0; r < rows; r++) {
        Stream s = stream_of(seeds[r], sequence[r], position[r], purpose);
        out[r] = pick(logits + r * n, n, &s);
    }
}
