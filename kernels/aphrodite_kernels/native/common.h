/* What every kernel here shares: one vector type, explicit multiply-add, element conversions, exp, log and tanh.
 *
 * The rule behind all of it: a result for a row may not depend on which other rows are in the call. So the compiler
 * may not contract or reassociate (-ffp-contract=off, no -ffast-math); every fused multiply-add is written down.
 * VL is the number of floats in a vector: 16 with AVX-512, 8 with AVX2, 4 with NEON or plain C.
 */
#ifndef APHRODITE_COMMON_H
#define APHRODITE_COMMON_H

#include <stdint.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))
/* Row-sized helpers: inlining them would only cost compile time. */
#define ROW_FUNCTION static __attribute__((noinline, unused))
#define EXPORT __attribute__((visibility("default")))

/* Starting a team of threads costs a few microseconds, and a whole time slice where another process holds a core:
 * work that one thread does in about 10 microseconds is not shared out. In float operations of vectorised code. */
#define WORTH_SHARING(operations) ((operations) > 500000)

enum { F32 = 0, BF16 = 1, F16 = 2, I8 = 3 }; /* I8: weights only */
INLINE long dtype_size(int dtype) { return dtype == F32 ? 4 : dtype == I8 ? 1 : 2; }

INLINE uint32_t to_bits(float x) { uint32_t u; memcpy(&u, &x, 4); return u; }
INLINE float from_bits(uint32_t u) { float x; memcpy(&x, &u, 4); return x; }

/* ---- element conversions: plain integer arithmetic, so loops over them vectorise everywhere ---- */

INLINE float bf16_to_f32(uint16_t h) { return from_bits((uint32_t)h << 16); }

INLINE uint16_t f32_to_bf16(float x) {  /* round to nearest even; NaN stays NaN */
    uint32_t u = to_bits(x);
    uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
    return (uint16_t)((u & 0x7fffffffu) > 0x7f800000u ? 0x7fc0u : rounded);
}

INLINE float f16_to_f32(uint16_t h) {  /* exact, subnormals included: shift the exponent in by a multiplication */
    uint32_t magnitude = ((uint32_t)h & 0x7fffu) << 13, sign = ((uint32_t)h & 0x8000u) << 16;
    uint32_t finite = to_bits(from_bits(magnitude) * 0x1p112f);
    return from_bits((magnitude >= (0x7c00u << 13) ? (magnitude | 0x7f800000u) : finite) | sign);
}

INLINE uint16_t f32_to_f16(float x) {  /* round to nearest even, overflow to infinity */
    uint32_t u = to_bits(x), sign = (u >> 16) & 0x8000u;
    u &= 0x7fffffffu;
    uint32_t normal = (u - (112u << 23) + 0xfffu + ((u >> 13) & 1u)) >> 13;
    uint32_t subnormal = to_bits(from_bits(u) + 0.5f) - to_bits(0.5f);
    uint32_t special = u > 0x7f800000u ? 0x7e00u : 0x7c00u;
    return (uint16_t)((u >= 0x47800000u ? special : u < 0x38800000u ? subnormal : normal) | sign);
}

ROW_FUNCTION void load_row(float *restrict out, const void *src, int dtype, long n) {
    const uint16_t *half = src;
    if (dtype == F32) memcpy(out, src, (size_t)n * 4);
    else if (dtype == BF16) for (long i = 0; i < n; i++) out[i] = bf16_to_f32(half[i]);
    else for (long i = 0; i < n; i++) out[i] = f16_to_f32(half[i]);
}

ROW_FUNCTION void store_row(void *dst, const float *restrict src, int dtype, long n) {
    uint16_t *half = dst;
    if (dtype == F32) memcpy(dst, src, (size_t)n * 4);
    else if (dtype == BF16) for (long i = 0; i < n; i++) half[i] = f32_to_bf16(src[i]);
    else for (long i = 0; i < n; i++) half[i] = f32_to_f16(src[i]);
}

/* Round values to what `dtype` can hold, keeping them as floats. */
ROW_FUNCTION void round_row(float *x, int dtype, long n) {
    if (dtype == BF16) for (long i = 0; i < n; i++) x[i] = bf16_to_f32(f32_to_bf16(x[i]));
    else if (dtype == F16) for (long i = 0; i < n; i++) x[i] = f16_to_f32(f32_to_f16(x[i]));
}

/* ---- multiply-add and vectors ---- */

#if defined(__FMA__) || defined(__aarch64__)
INLINE float fma1(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
#else
INLINE float fma1(float a, float b, float c) { return a * b + c; }
#endif

#if defined(__AVX512F__)
#include <immintrin.h>
#define VL 16
typedef __m512 vf;
INLINE vf vset(float x) { return _mm512_set1_ps(x); }
INLINE vf vfma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
INLINE vf vload_f32(const float *p) { return _mm512_loadu_ps(p); }
INLINE void vstore(float *p, vf v) { _mm512_storeu_ps(p, v); }
INLINE vf vload_bf16(const uint16_t *p) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p)), 16));
}
INLINE vf vload_f16(const uint16_t *p) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p)); }
INLINE vf vload_i8(const int8_t *p) { return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p))); }
#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#include <immintrin.h>
#define VL 8
typedef __m256 vf;
INLINE vf vset(float x) { return _mm256_set1_ps(x); }
INLINE vf vfma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
INLINE vf vload_f32(const float *p) { return _mm256_loadu_ps(p); }
INLINE void vstore(float *p, vf v) { _mm256_storeu_ps(p, v); }
INLINE vf vload_bf16(const uint16_t *p) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p)), 16));
}
INLINE vf vload_f16(const uint16_t *p) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p)); }
INLINE vf vload_i8(const int8_t *p) { return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)p))); }
#elif defined(__aarch64__)
#include <arm_neon.h>
#define VL 4
typedef float32x4_t vf;
INLINE vf vset(float x) { return vdupq_n_f32(x); }
INLINE vf vfma(vf a, vf b, vf c) { return vfmaq_f32(c, a, b); }
INLINE vf vload_f32(const float *p) { return vld1q_f32(p); }
INLINE void vstore(float *p, vf v) { vst1q_f32(p, v); }
INLINE vf vload_bf16(const uint16_t *p) { return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16)); }
INLINE vf vload_f16(const uint16_t *p) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p))); }
INLINE vf vload_i8(const int8_t *p) { return (vf){p[0], p[1], p[2], p[3]}; }
#else
#define VL 4
typedef float vf __attribute__((vector_size(16)));
INLINE vf vset(float x) { return (vf){x, x, x, x}; }
INLINE vf vfma(vf a, vf b, vf c) { return a * b + c; }
INLINE vf vload_f32(const float *p) { vf v; memcpy(&v, p, 16); return v; }
INLINE void vstore(float *p, vf v) { memcpy(p, &v, 16); }
INLINE vf vload_bf16(const uint16_t *p) {
    return (vf){bf16_to_f32(p[0]), bf16_to_f32(p[1]), bf16_to_f32(p[2]), bf16_to_f32(p[3])};
}
INLINE vf vload_f16(const uint16_t *p) {
    return (vf){f16_to_f32(p[0]), f16_to_f32(p[1]), f16_to_f32(p[2]), f16_to_f32(p[3])};
}
INLINE vf vload_i8(const int8_t *p) { return (vf){p[0], p[1], p[2], p[3]}; }
#endif

/* Number of vector registers: how large a tile of accumulators may be. */
#if defined(__AVX512F__) || defined(__aarch64__)
#define REGISTERS 32
#else
#define REGISTERS 16
#endif

/* ---- functions (branch-free scalars: loops over them vectorise) ---- */

/* e^x within 2 ulp; 0 below -87.33, infinity above 88.72, NaN stays NaN. Polynomial: Cephes expf. */
INLINE float exp_f32(float x) {
    float c = x < -87.33654f ? -87.33654f : x;
    c = c > 88.72283f ? 88.72283f : c;
    float shifted = fma1(c, 1.44269504088896f, 12582912.0f); /* 1.5 * 2^23: the low bits now hold round(c / ln 2) */
    float n = shifted - 12582912.0f;
    float r = fma1(n, 2.12194440e-4f, fma1(n, -0.693359375f, c));
    float p = fma1(1.9875691500e-4f, r, 1.3981999507e-3f);
    p = fma1(p, r, 8.3334519073e-3f);
    p = fma1(p, r, 4.1665795894e-2f);
    p = fma1(p, r, 1.6666665459e-1f);
    p = fma1(p, r, 5.0000001201e-1f);
    p = fma1(p, r * r, r) + 1.0f;
    uint32_t k = to_bits(shifted) - to_bits(12582912.0f);
    float y = p * from_bits((k + 126u) << 23) * 2.0f; /* 2^(k-1) * 2, so that k = 128 does not overflow */
    y = x < -87.33654f ? 0.0f : y;
    return x > 88.72283f ? from_bits(0x7f800000u) : y;
}

/* ln x for positive normal x, within 2 ulp. Polynomial: Cephes logf. */
INLINE float log_f32(float x) {
    int32_t e = (int32_t)(to_bits(x) - 0x3f3504f3u) >> 23; /* mantissa in [sqrt(1/2), sqrt(2)) */
    float f = from_bits(to_bits(x) - ((uint32_t)e << 23)) - 1.0f, k = (float)e, z = f * f;
    float p = fma1(7.0376836292e-2f, f, -1.1514610310e-1f);
    p = fma1(p, f, 1.1676998740e-1f);
    p = fma1(p, f, -1.2420140846e-1f);
    p = fma1(p, f, 1.4249322787e-1f);
    p = fma1(p, f, -1.6668057665e-1f);
    p = fma1(p, f, 2.0000714765e-1f);
    p = fma1(p, f, -2.4999993993e-1f);
    p = fma1(p, f, 3.3333331174e-1f);
    float y = fma1(k, -2.12194440e-4f, p * f * z);
    y = fma1(-0.5f, z, y);
    return fma1(k, 0.693359375f, f + y);
}

/* tanh within a few ulp: the rational approximation that Eigen uses (ptanh). */
INLINE float tanh_f32(float x) {
    float c = x < -7.90531110763549805f ? -7.90531110763549805f : x;
    c = c > 7.90531110763549805f ? 7.90531110763549805f : c;
    float z = c * c;
    float p = fma1(-2.76076847742355e-16f, z, 2.00018790482477e-13f);
    p = fma1(p, z, -8.60467152213735e-11f);
    p = fma1(p, z, 5.12229709037114e-08f);
    p = fma1(p, z, 1.48572235717979e-05f);
    p = fma1(p, z, 6.37261928875436e-04f);
    p = fma1(p, z, 4.89352455891786e-03f);
    float q = fma1(1.19825839466702e-06f, z, 1.18534705686654e-04f);
    q = fma1(q, z, 2.26843463243900e-03f);
    q = fma1(q, z, 4.89352518554385e-03f);
    return c * p / q;
}

/* Sum and maximum of 16 lanes by one fixed tree. */
INLINE float sum16(float *t) {
    for (int i = 0; i < 8; i++) t[i] += t[i + 8];
    for (int i = 0; i < 4; i++) t[i] += t[i + 4];
    return (t[0] + t[2]) + (t[1] + t[3]);
}
INLINE float max16(float *t) {
    for (int i = 0; i < 8; i++) t[i] = t[i] > t[i + 8] ? t[i] : t[i + 8];
    for (int i = 0; i < 4; i++) t[i] = t[i] > t[i + 4] ? t[i] : t[i + 4];
    float a = t[0] > t[2] ? t[0] : t[2], b = t[1] > t[3] ? t[1] : t[3];
    return a > b ? a : b;
}

#endif
