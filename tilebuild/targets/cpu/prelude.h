/* The prelude of every generated C file: vectors of VL lanes, the elementwise and reducing operations of
 * tilebuild/optable.py on them, and the packed matrix product.
 *
 * For gcc, clang and zig, on x86-64-v2, -v3, -v4 and aarch64. No operation needs -ffast-math, calls a
 * mathematical function of a library, or keeps state. Accuracy: docs/accuracy.md; the stated bounds hold whether or
 * not the compiler contracts a * b + c to a fused multiply-add. Subnormal numbers are neither flushed nor assumed
 * away. A lane of a comparison's result, or of a bool, is 0 or -1. u32 values live in tb_i32v.
 *
 * Names that end in an underscore are the prelude's own. */
#ifndef TILEBUILD_PRELUDE_H
#define TILEBUILD_PRELUDE_H

#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__) && defined(__AVX512DQ__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#include <immintrin.h>
#define VL 16
#define TB_X86_(op) _mm512_##op
typedef __m512 tb_ps_;
typedef __m512i tb_epi_;
#elif defined(__AVX2__)
#include <immintrin.h>
#define VL 8
#define TB_X86_(op) _mm256_##op
typedef __m256 tb_ps_;
typedef __m256i tb_epi_;
#elif defined(__SSE4_1__)
#include <immintrin.h>
#define VL 4
#define TB_X86_(op) _mm_##op
typedef __m128 tb_ps_;
typedef __m128i tb_epi_;
#elif defined(__aarch64__)
#include <arm_neon.h>
#define VL 4
#else
#error "tilebuild's cpu target needs x86-64-v2 (SSE4.1) or aarch64: compile with -march=x86-64-v2 or better"
#endif

#if defined(__clang__) && VL == 16
/* clang tunes x86-64-v4 for 256 bits and would split the vectors of a function that does not insist */
#define TB_FN static inline __attribute__((always_inline, unused, min_vector_width(512)))
#else
#define TB_FN static inline __attribute__((always_inline, unused))
#endif

/* Before a loop of a constant few rounds over an array of vectors, which then lives in registers. */
#if defined(__clang__)
#define TB_UNROLL_ _Pragma("clang loop unroll(full)")
#else
#define TB_UNROLL_ _Pragma("GCC unroll 16")
#endif

typedef float tb_f32v __attribute__((vector_size(VL * 4)));
typedef int32_t tb_i32v __attribute__((vector_size(VL * 4)));
typedef uint32_t tb_u32v_ __attribute__((vector_size(VL * 4))); /* wraps where a signed overflow is undefined */
typedef float tb_f32u_ __attribute__((vector_size(VL * 4), aligned(4), may_alias));
typedef int32_t tb_i32u_ __attribute__((vector_size(VL * 4), aligned(4), may_alias));

/* ---- the instructions that C cannot name ------------------------------------------------------------------- */

#ifdef TB_X86_
#define TB_F1_(op, a) ((tb_f32v)TB_X86_(op)((tb_ps_)(a)))
#define TB_F2_(op, a, b) ((tb_f32v)TB_X86_(op)((tb_ps_)(a), (tb_ps_)(b)))
#define TB_I2_(op, a, b) ((tb_i32v)TB_X86_(op)((tb_epi_)(a), (tb_epi_)(b)))
#if VL == 16
#define TB_ROUND_PS_(a, how) ((tb_f32v)_mm512_roundscale_ps((tb_ps_)(a), (how) | _MM_FROUND_NO_EXC))
#else
#define TB_ROUND_PS_(a, how) ((tb_f32v)TB_X86_(round_ps)((tb_ps_)(a), (how) | _MM_FROUND_NO_EXC))
#endif
TB_FN tb_f32v tb_splat_f32(float s) { return (tb_f32v)TB_X86_(set1_ps)(s); }
TB_FN tb_i32v tb_splat_i32(int32_t s) { return (tb_i32v)TB_X86_(set1_epi32)(s); }
TB_FN tb_f32v tb_sqrt_f32(tb_f32v a) { return TB_F1_(sqrt_ps, a); }
TB_FN tb_f32v tb_floor_f32(tb_f32v a) { return TB_F1_(floor_ps, a); }
TB_FN tb_f32v tb_ceil_f32(tb_f32v a) { return TB_F1_(ceil_ps, a); }
TB_FN tb_f32v tb_round_f32(tb_f32v a) { return TB_ROUND_PS_(a, _MM_FROUND_TO_NEAREST_INT); }
TB_FN tb_f32v tb_trunc_f32(tb_f32v a) { return TB_ROUND_PS_(a, _MM_FROUND_TO_ZERO); }
TB_FN tb_i32v tb_maximum_i32(tb_i32v a, tb_i32v b) { return TB_I2_(max_epi32, a, b); }
TB_FN tb_i32v tb_minimum_i32(tb_i32v a, tb_i32v b) { return TB_I2_(min_epi32, a, b); }
TB_FN tb_i32v tb_maximum_u32(tb_i32v a, tb_i32v b) { return TB_I2_(max_epu32, a, b); }
TB_FN tb_i32v tb_minimum_u32(tb_i32v a, tb_i32v b) { return TB_I2_(min_epu32, a, b); }
/* Towards zero; what a NaN or a value outside of int32 becomes is the machine's choice. */
TB_FN tb_i32v tb_i32_from_f32(tb_f32v a) { return (tb_i32v)TB_X86_(cvttps_epi32)((tb_ps_)a); }
TB_FN tb_f32v tb_f32_from_i32(tb_i32v a) { return (tb_f32v)TB_X86_(cvtepi32_ps)((tb_epi_)a); }
/* One instruction each where `bound` holds no NaN: a NaN in `a` comes out again. */
TB_FN tb_f32v tb_maximum_number_f32(tb_f32v a, tb_f32v bound) { return TB_F2_(max_ps, bound, a); }
TB_FN tb_f32v tb_minimum_number_f32(tb_f32v a, tb_f32v bound) { return TB_F2_(min_ps, bound, a); }
#else
TB_FN tb_f32v tb_splat_f32(float s) { return (tb_f32v)vdupq_n_f32(s); }
TB_FN tb_i32v tb_splat_i32(int32_t s) { return (tb_i32v)vdupq_n_s32(s); }
TB_FN tb_f32v tb_sqrt_f32(tb_f32v a) { return (tb_f32v)vsqrtq_f32((float32x4_t)a); }
TB_FN tb_f32v tb_floor_f32(tb_f32v a) { return (tb_f32v)vrndmq_f32((float32x4_t)a); }
TB_FN tb_f32v tb_ceil_f32(tb_f32v a) { return (tb_f32v)vrndpq_f32((float32x4_t)a); }
TB_FN tb_f32v tb_round_f32(tb_f32v a) { return (tb_f32v)vrndnq_f32((float32x4_t)a); }
TB_FN tb_f32v tb_trunc_f32(tb_f32v a) { return (tb_f32v)vrndq_f32((float32x4_t)a); }
TB_FN tb_i32v tb_maximum_i32(tb_i32v a, tb_i32v b) { return (tb_i32v)vmaxq_s32((int32x4_t)a, (int32x4_t)b); }
TB_FN tb_i32v tb_minimum_i32(tb_i32v a, tb_i32v b) { return (tb_i32v)vminq_s32((int32x4_t)a, (int32x4_t)b); }
TB_FN tb_i32v tb_maximum_u32(tb_i32v a, tb_i32v b) { return (tb_i32v)vmaxq_u32((uint32x4_t)a, (uint32x4_t)b); }
TB_FN tb_i32v tb_minimum_u32(tb_i32v a, tb_i32v b) { return (tb_i32v)vminq_u32((uint32x4_t)a, (uint32x4_t)b); }
TB_FN tb_i32v tb_i32_from_f32(tb_f32v a) { return (tb_i32v)vcvtq_s32_f32((float32x4_t)a); }
TB_FN tb_f32v tb_f32_from_i32(tb_i32v a) { return (tb_f32v)vcvtq_f32_s32((int32x4_t)a); }
TB_FN tb_f32v tb_maximum_number_f32(tb_f32v a, tb_f32v b) { return (tb_f32v)vmaxq_f32((float32x4_t)a, (float32x4_t)b); }
TB_FN tb_f32v tb_minimum_number_f32(tb_f32v a, tb_f32v b) { return (tb_f32v)vminq_f32((float32x4_t)a, (float32x4_t)b); }
#endif

#if VL == 16
TB_FN tb_f32v tb_select_f32(tb_i32v mask, tb_f32v a, tb_f32v b)
{
    return (tb_f32v)(((tb_i32v)a & mask) | ((tb_i32v)b & ~mask)); /* one vpternlogd; gcc does not fold a blend */
}
#elif defined(TB_X86_)
TB_FN tb_f32v tb_select_f32(tb_i32v mask, tb_f32v a, tb_f32v b)
{
    return (tb_f32v)TB_X86_(blendv_ps)((tb_ps_)b, (tb_ps_)a, (tb_ps_)mask);
}
#else
TB_FN tb_f32v tb_select_f32(tb_i32v mask, tb_f32v a, tb_f32v b)
{
    return (tb_f32v)vbslq_f32((uint32x4_t)mask, (float32x4_t)a, (float32x4_t)b);
}
#endif
TB_FN tb_i32v tb_select_i32(tb_i32v mask, tb_i32v a, tb_i32v b)
{
    return (tb_i32v)tb_select_f32(mask, (tb_f32v)a, (tb_f32v)b);
}

TB_FN tb_i32v tb_iota_i32(void)
{
#if VL == 16
    return (tb_i32v){0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
#elif VL == 8
    return (tb_i32v){0, 1, 2, 3, 4, 5, 6, 7};
#else
    return (tb_i32v){0, 1, 2, 3};
#endif
}

/* Lanes below n; n is any number. */
TB_FN tb_i32v tb_mask_n(int64_t n)
{
    return tb_iota_i32() < tb_splat_i32(n < 0 ? 0 : n > VL ? VL : (int32_t)n);
}

/* ---- memory: any alignment; the `_n` and `_strided` forms touch the first n lanes only, 0 <= n <= VL, and give
 * zeros in the others ------------------------------------------------------------------------------------------ */

#if VL == 16
#define TB_MASK16_(n) ((__mmask16)((1u << (n)) - 1u))
TB_FN tb_f32v tb_load_n_f32(const float *p, int64_t n) { return (tb_f32v)_mm512_maskz_loadu_ps(TB_MASK16_(n), p); }
TB_FN tb_i32v tb_load_n_i32(const int32_t *p, int64_t n) { return (tb_i32v)_mm512_maskz_loadu_epi32(TB_MASK16_(n), p); }
TB_FN void tb_store_n_f32(float *p, int64_t n, tb_f32v v) { _mm512_mask_storeu_ps(p, TB_MASK16_(n), (__m512)v); }
TB_FN void tb_store_n_i32(int32_t *p, int64_t n, tb_i32v v) { _mm512_mask_storeu_epi32(p, TB_MASK16_(n), (__m512i)v); }
#elif VL == 8
TB_FN tb_f32v tb_load_n_f32(const float *p, int64_t n) { return (tb_f32v)_mm256_maskload_ps(p, (__m256i)tb_mask_n(n)); }
TB_FN tb_i32v tb_load_n_i32(const int32_t *p, int64_t n)
{
    return (tb_i32v)_mm256_maskload_epi32((const int *)p, (__m256i)tb_mask_n(n));
}
TB_FN void tb_store_n_f32(float *p, int64_t n, tb_f32v v) { _mm256_maskstore_ps(p, (__m256i)tb_mask_n(n), (__m256)v); }
TB_FN void tb_store_n_i32(int32_t *p, int64_t n, tb_i32v v)
{
    _mm256_maskstore_epi32((int *)p, (__m256i)tb_mask_n(n), (__m256i)v);
}
#endif

#define TB_MEMORY_(T, S)                                                                                             \
    TB_FN tb_##S##v tb_load_##S(const T *p) { return (tb_##S##v)(*(const tb_##S##u_ *)p); }                          \
    TB_FN void tb_store_##S(T *p, tb_##S##v v) { *(tb_##S##u_ *)p = (tb_##S##u_)v; }                                 \
    TB_FN tb_##S##v tb_load_strided_##S(const T *p, int64_t stride, int64_t n)                                       \
    {                                                                                                                \
        T lanes[VL] = {0};                                                                                           \
        for (int64_t i = 0; i < n; i++) lanes[i] = p[i * stride];                                                    \
        return tb_load_##S(lanes);                                                                                   \
    }                                                                                                                \
    TB_FN void tb_store_strided_##S(T *p, int64_t stride, int64_t n, tb_##S##v v)                                    \
    {                                                                                                                \
        T lanes[VL];                                                                                                 \
        tb_store_##S(lanes, v);                                                                                      \
        for (int64_t i = 0; i < n; i++) p[i * stride] = lanes[i];                                                    \
    }
TB_MEMORY_(float, f32)
TB_MEMORY_(int32_t, i32)

#if VL == 4
/* No masked accesses here, and three lanes are too few for a loop: lane by lane. */
#define TB_TAIL_(T, S)                                                                                               \
    TB_FN tb_##S##v tb_load_n_##S(const T *p, int64_t n)                                                             \
    {                                                                                                                \
        return (tb_##S##v){n > 0 ? p[0] : 0, n > 1 ? p[1] : 0, n > 2 ? p[2] : 0, n > 3 ? p[3] : 0};                  \
    }                                                                                                                \
    TB_FN void tb_store_n_##S(T *p, int64_t n, tb_##S##v v)                                                          \
    {                                                                                                                \
        if (n > 0) p[0] = v[0];                                                                                      \
        if (n > 1) p[1] = v[1];                                                                                      \
        if (n > 2) p[2] = v[2];                                                                                      \
        if (n > 3) p[3] = v[3];                                                                                      \
    }
TB_TAIL_(float, f32)
TB_TAIL_(int32_t, i32)
#endif

/* ---- elementwise: exact or rounded once ----------------------------------------------------------------------- */

#define TB_COMPARE_(name, op)                                                                                        \
    TB_FN tb_i32v tb_##name##_f32(tb_f32v a, tb_f32v b) { return a op b; }                                           \
    TB_FN tb_i32v tb_##name##_i32(tb_i32v a, tb_i32v b) { return a op b; }                                           \
    TB_FN tb_i32v tb_##name##_u32(tb_i32v a, tb_i32v b) { return (tb_i32v)((tb_u32v_)a op (tb_u32v_)b); }
TB_COMPARE_(lt, <)
TB_COMPARE_(le, <=)
TB_COMPARE_(gt, >)
TB_COMPARE_(ge, >=)
TB_COMPARE_(eq, ==)
TB_COMPARE_(ne, !=)

#define TB_ARITHMETIC_(name, op)                                                                                     \
    TB_FN tb_f32v tb_##name##_f32(tb_f32v a, tb_f32v b) { return a op b; }                                           \
    TB_FN tb_i32v tb_##name##_i32(tb_i32v a, tb_i32v b) { return (tb_i32v)((tb_u32v_)a op (tb_u32v_)b); }
TB_ARITHMETIC_(add, +)
TB_ARITHMETIC_(sub, -)
TB_ARITHMETIC_(mul, *)
TB_FN tb_f32v tb_div_f32(tb_f32v a, tb_f32v b) { return a / b; }
TB_FN tb_f32v tb_recip_f32(tb_f32v a) { return 1.0f / a; }
TB_FN tb_f32v tb_rsqrt_f32(tb_f32v a) { return 1.0f / tb_sqrt_f32(a); }

TB_FN tb_i32v tb_and_i32(tb_i32v a, tb_i32v b) { return a & b; }
TB_FN tb_i32v tb_or_i32(tb_i32v a, tb_i32v b) { return a | b; }
TB_FN tb_i32v tb_xor_i32(tb_i32v a, tb_i32v b) { return a ^ b; }
TB_FN tb_i32v tb_not_i32(tb_i32v a) { return ~a; }

/* Only the low five bits of the second operand count. */
TB_FN tb_i32v tb_shl_i32(tb_i32v a, tb_i32v b) { return (tb_i32v)((tb_u32v_)a << ((tb_u32v_)b & 31u)); }
TB_FN tb_i32v tb_shr_i32(tb_i32v a, tb_i32v b) { return a >> (b & 31); }
TB_FN tb_i32v tb_shr_u32(tb_i32v a, tb_i32v b) { return (tb_i32v)((tb_u32v_)a >> ((tb_u32v_)b & 31u)); }

/* Rounded down, lane by lane: no level has a vector division of integers. By 0, which would trap, gives 0; so does
 * the other operand of a lane that nobody sees. */
TB_FN int32_t tb_floordiv1_i32_(int32_t a, int32_t b)
{
    if (b == 0) return 0;
    int64_t q = (int64_t)a / b; /* wide: the most negative number by -1 would trap */
    return (int32_t)(q - (q * b != a && (a < 0) != (b < 0)));
}
TB_FN tb_i32v tb_floordiv_i32(tb_i32v a, tb_i32v b)
{
    for (int i = 0; i < VL; i++) a[i] = tb_floordiv1_i32_(a[i], b[i]);
    return a;
}
TB_FN tb_i32v tb_mod_i32(tb_i32v a, tb_i32v b)
{
    tb_u32v_ q = (tb_u32v_)tb_floordiv_i32(a, b);
    return (tb_i32v)((tb_u32v_)a - q * (tb_u32v_)b) & (b != 0);
}
TB_FN tb_i32v tb_floordiv_u32(tb_i32v a, tb_i32v b)
{
    for (int i = 0; i < VL; i++) a[i] = b[i] ? (int32_t)((uint32_t)a[i] / (uint32_t)b[i]) : 0;
    return a;
}
TB_FN tb_i32v tb_mod_u32(tb_i32v a, tb_i32v b)
{
    return (tb_i32v)((tb_u32v_)a - (tb_u32v_)tb_floordiv_u32(a, b) * (tb_u32v_)b) & (b != 0);
}

TB_FN tb_f32v tb_neg_f32(tb_f32v a) { return -a; }
TB_FN tb_f32v tb_abs_f32(tb_f32v a) { return (tb_f32v)((tb_i32v)a & 0x7fffffff); }
TB_FN tb_i32v tb_neg_i32(tb_i32v a) { return (tb_i32v)(0u - (tb_u32v_)a); }
TB_FN tb_i32v tb_abs_i32(tb_i32v a) { return tb_maximum_i32(a, tb_neg_i32(a)); }
TB_FN tb_i32v tb_abs_u32(tb_i32v a) { return a; }

/* A NaN in either operand comes out; which of +0 and -0 comes out is the machine's choice. */
#if VL == 16
TB_FN tb_f32v tb_maximum_f32(tb_f32v a, tb_f32v b)
{
    __mmask16 ordered = _mm512_cmp_ps_mask((__m512)a, (__m512)a, _CMP_ORD_Q);
    return (tb_f32v)_mm512_mask_max_ps((__m512)a, ordered, (__m512)a, (__m512)b);
}
TB_FN tb_f32v tb_minimum_f32(tb_f32v a, tb_f32v b)
{
    __mmask16 ordered = _mm512_cmp_ps_mask((__m512)a, (__m512)a, _CMP_ORD_Q);
    return (tb_f32v)_mm512_mask_min_ps((__m512)a, ordered, (__m512)a, (__m512)b);
}
#elif defined(TB_X86_)
/* The instruction gives b where either is NaN; all ones are a NaN, and cheaper than a blend. */
TB_FN tb_f32v tb_maximum_f32(tb_f32v a, tb_f32v b) { return (tb_f32v)((tb_i32v)TB_F2_(max_ps, a, b) | (a != a)); }
TB_FN tb_f32v tb_minimum_f32(tb_f32v a, tb_f32v b) { return (tb_f32v)((tb_i32v)TB_F2_(min_ps, a, b) | (a != a)); }
#else
TB_FN tb_f32v tb_maximum_f32(tb_f32v a, tb_f32v b) { return tb_maximum_number_f32(a, b); }
TB_FN tb_f32v tb_minimum_f32(tb_f32v a, tb_f32v b) { return tb_minimum_number_f32(a, b); }
#endif

/* ---- casts ---------------------------------------------------------------------------------------------------- */

TB_FN tb_f32v tb_f32_from_u32(tb_i32v a) /* both halves are exact, so the sum is rounded once */
{
    return tb_f32_from_i32((tb_i32v)((tb_u32v_)a >> 16)) * 65536.0f + tb_f32_from_i32(a & 0xffff);
}
TB_FN tb_i32v tb_u32_from_f32(tb_f32v a)
{
    tb_i32v high = a >= 0x1p31f;
    tb_f32v low = a - (tb_f32v)((tb_i32v)tb_splat_f32(0x1p31f) & high);
    return tb_i32_from_f32(low) ^ (high & INT32_MIN);
}
TB_FN tb_i32v tb_i32_from_u32(tb_i32v a) { return a; }
TB_FN tb_i32v tb_u32_from_i32(tb_i32v a) { return a; }
TB_FN tb_i32v tb_u32_from_bool(tb_i32v a) { return a & 1; }
TB_FN tb_i32v tb_bool_from_u32(tb_i32v a) { return a != 0; }
TB_FN tb_i32v tb_i32_from_bool(tb_i32v a) { return a & 1; }
TB_FN tb_f32v tb_f32_from_bool(tb_i32v a) { return (tb_f32v)(a & (tb_i32v)tb_splat_f32(1.0f)); }
TB_FN tb_i32v tb_bool_from_i32(tb_i32v a) { return a != 0; }
TB_FN tb_i32v tb_bool_from_f32(tb_f32v a) { return a != 0.0f; }

/* ---- elementwise: exp, exp2, log, log2. Coefficients: python -m tilebuild.targets.cpu.fit ---------------------- */

#define TB_LN2_HI 0.69317627f
#define TB_LN2_LO -2.90889711e-05f
/* exp(r) = 1 + (r + r*r * P(r)) on [-0.3467, 0.3467]: 3.1e-09 = 0.05 * 2**-24 */
#define TB_EXP_0 4.9999994e-01f
#define TB_EXP_1 1.66665211e-01f
#define TB_EXP_2 4.16682623e-02f
#define TB_EXP_3 8.36867467e-03f
#define TB_EXP_4 1.38210552e-03f
/* exp2(r) = 1 + r * P(r) on [-0.5, 0.5]: 3.0e-09 = 0.05 * 2**-24 */
#define TB_EXP2_0 6.93147182e-01f
#define TB_EXP2_1 2.40226477e-01f
#define TB_EXP2_2 5.55035993e-02f
#define TB_EXP2_3 9.61850584e-03f
#define TB_EXP2_4 1.33908063e-03f
#define TB_EXP2_5 1.53264627e-04f
/* log(1 + f) = f + f*f * P(f) on [-0.3333, 0.3333]: 4.6e-09 = 0.08 * 2**-24 */
#define TB_LOG_0 -5.0e-01f
#define TB_LOG_1 3.33332151e-01f
#define TB_LOG_2 -2.49998048e-01f
#define TB_LOG_3 2.00104386e-01f
#define TB_LOG_4 -1.66802078e-01f
#define TB_LOG_5 1.40054747e-01f
#define TB_LOG_6 -1.21877499e-01f
#define TB_LOG_7 1.39859751e-01f
#define TB_LOG_8 -1.28776908e-01f
/* log2(1 + f) = f + f * P(f) on [-0.3333, 0.3333]: 7.3e-09 = 0.12 * 2**-24 */
#define TB_LOG2_0 4.42695051e-01f
#define TB_LOG2_1 -7.21347511e-01f
#define TB_LOG2_2 4.80894208e-01f
#define TB_LOG2_3 -3.60673249e-01f
#define TB_LOG2_4 2.88799375e-01f
#define TB_LOG2_5 -2.40558162e-01f
#define TB_LOG2_6 2.00424388e-01f
#define TB_LOG2_7 -1.76896662e-01f
#define TB_LOG2_8 2.09382817e-01f
#define TB_LOG2_9 -1.8162708e-01f

/* Adding it to |x| < 2**22 rounds x to an integer n, and leaves n + 254 in the low bits of the sum. */
#define TB_ROUND_ 12583166.0f

/* p * 2**n, rounded once, for -252 <= n <= 254 and z = n + TB_ROUND_: so an overflow gives infinity and an underflow
 * is gradual. */
TB_FN tb_f32v tb_scale_(tb_f32v p, tb_f32v z)
{
#if VL == 16
    return (tb_f32v)_mm512_scalef_ps((__m512)p, (__m512)(z - TB_ROUND_));
#else
    /* in two steps, by 2**(n/2) rounded down and up: the shifts discard all but n + 254 from the bits of z */
    tb_u32v_ bits = (tb_u32v_)z, half = bits >> 1;
    return p * (tb_f32v)(half << 23) * (tb_f32v)((bits - half) << 23);
#endif
}

TB_FN tb_f32v tb_exp_f32(tb_f32v x)
{
    x = tb_minimum_number_f32(tb_maximum_number_f32(x, tb_splat_f32(-105.0f)), tb_splat_f32(89.0f));
    tb_f32v z = x * 1.44269504f + TB_ROUND_, n = z - TB_ROUND_;
    tb_f32v r = x - n * TB_LN2_HI - n * TB_LN2_LO;
    tb_f32v p = r * TB_EXP_4 + TB_EXP_3;
    p = p * r + TB_EXP_2;
    p = p * r + TB_EXP_1;
    p = p * r + TB_EXP_0;
    return tb_scale_(1.0f + (r * r * p + r), z);
}

TB_FN tb_f32v tb_exp2_f32(tb_f32v x)
{
    x = tb_minimum_number_f32(tb_maximum_number_f32(x, tb_splat_f32(-151.0f)), tb_splat_f32(129.0f));
    tb_f32v z = x + TB_ROUND_, r = x - (z - TB_ROUND_);
    tb_f32v p = r * TB_EXP2_5 + TB_EXP2_4;
    p = p * r + TB_EXP2_3;
    p = p * r + TB_EXP2_2;
    p = p * r + TB_EXP2_1;
    p = p * r + TB_EXP2_0;
    return tb_scale_(1.0f + p * r, z);
}

/* x = 2**e * (1 + f), -1/3 <= f < 1/3, for finite x > 0; f is returned. */
TB_FN tb_f32v tb_split_(tb_f32v x, tb_f32v *e)
{
    tb_i32v small = x < 0x1p-126f;
    tb_u32v_ bits = (tb_u32v_)tb_select_f32(small, x * 0x1p23f, x) - 0x3f2aaaabu; /* 2/3 */
    *e = tb_f32_from_i32((tb_i32v)bits >> 23) - (tb_f32v)(small & (tb_i32v)tb_splat_f32(23.0f));
    return (tb_f32v)((bits & 0x7fffffu) + 0x3f2aaaabu) - 1.0f;
}

/* The logarithm of x, given that y is right for finite x > 0. */
TB_FN tb_f32v tb_log_edges_(tb_f32v x, tb_f32v y)
{
    tb_f32v infinity = tb_splat_f32(__builtin_inff());
    y = tb_select_f32(x < infinity, y, x); /* +inf and NaN */
    y = tb_select_f32(x < 0.0f, tb_splat_f32(__builtin_nanf("")), y);
    return tb_select_f32(x == 0.0f, -infinity, y);
}

TB_FN tb_f32v tb_log_f32(tb_f32v x)
{
    tb_f32v e, f = tb_split_(x, &e), p = f * TB_LOG_8 + TB_LOG_7;
    p = p * f + TB_LOG_6;
    p = p * f + TB_LOG_5;
    p = p * f + TB_LOG_4;
    p = p * f + TB_LOG_3;
    p = p * f + TB_LOG_2;
    p = p * f + TB_LOG_1;
    p = p * f + TB_LOG_0;
    /* e * TB_LN2_HI is exact, and so is `lost`: what the sum with f drops */
    tb_f32v sum = e * TB_LN2_HI + f, lost = f - (sum - e * TB_LN2_HI);
    return tb_log_edges_(x, sum + (f * f * p + (e * TB_LN2_LO + lost)));
}

TB_FN tb_f32v tb_log2_f32(tb_f32v x)
{
    tb_f32v e, f = tb_split_(x, &e), p = f * TB_LOG2_9 + TB_LOG2_8;
    p = p * f + TB_LOG2_7;
    p = p * f + TB_LOG2_6;
    p = p * f + TB_LOG2_5;
    p = p * f + TB_LOG2_4;
    p = p * f + TB_LOG2_3;
    p = p * f + TB_LOG2_2;
    p = p * f + TB_LOG2_1;
    p = p * f + TB_LOG2_0;
    tb_f32v sum = e + f, lost = f - (sum - e);
    return tb_log_edges_(x, sum + (p * f + lost));
}

/* ---- reductions of one vector to a scalar --------------------------------------------------------------------- */

/* Lane i of the result is lane i ^ w of v. */
#if !defined(__clang__)
#define TB_SWAP_(v, w) __builtin_shuffle(v, tb_iota_i32() ^ (w))
#elif VL == 16
#define TB_SWAP_(v, w)                                                                                               \
    __builtin_shufflevector(v, v, 0 ^ w, 1 ^ w, 2 ^ w, 3 ^ w, 4 ^ w, 5 ^ w, 6 ^ w, 7 ^ w, 8 ^ w, 9 ^ w, 10 ^ w,     \
                            11 ^ w, 12 ^ w, 13 ^ w, 14 ^ w, 15 ^ w)
#elif VL == 8
#define TB_SWAP_(v, w) __builtin_shufflevector(v, v, 0 ^ w, 1 ^ w, 2 ^ w, 3 ^ w, 4 ^ w, 5 ^ w, 6 ^ w, 7 ^ w)
#else
#define TB_SWAP_(v, w) __builtin_shufflevector(v, v, 0 ^ w, 1 ^ w, 2 ^ w, 3 ^ w)
#endif

/* Halves are combined, then quarters, and so on: a sum over VL lanes is rounded log2(VL) times. */
#define TB_REDUCE_(name, T, V, combine)                                                                              \
    TB_FN T tb_##name(V v)                                                                                           \
    {                                                                                                                \
        if (VL == 16) v = combine(v, TB_SWAP_(v, (8 % VL)));                                                         \
        if (VL >= 8) v = combine(v, TB_SWAP_(v, (4 % VL)));                                                          \
        v = combine(v, TB_SWAP_(v, 2));                                                                              \
        v = combine(v, TB_SWAP_(v, 1));                                                                              \
        return (T)v[0];                                                                                              \
    }
TB_REDUCE_(sum_f32, float, tb_f32v, tb_add_f32)
TB_REDUCE_(max_f32, float, tb_f32v, tb_maximum_f32)
TB_REDUCE_(min_f32, float, tb_f32v, tb_minimum_f32)
TB_REDUCE_(prod_f32, float, tb_f32v, tb_mul_f32)
TB_REDUCE_(prod_i32, int32_t, tb_i32v, tb_mul_i32)
TB_REDUCE_(prod_u32, uint32_t, tb_i32v, tb_mul_i32)
TB_REDUCE_(sum_i32, int32_t, tb_i32v, tb_add_i32)
TB_REDUCE_(max_i32, int32_t, tb_i32v, tb_maximum_i32)
TB_REDUCE_(min_i32, int32_t, tb_i32v, tb_minimum_i32)
TB_REDUCE_(sum_u32, uint32_t, tb_i32v, tb_add_i32)
TB_REDUCE_(max_u32, uint32_t, tb_i32v, tb_maximum_u32)
TB_REDUCE_(min_u32, uint32_t, tb_i32v, tb_minimum_u32)

/* ---- matrix product ------------------------------------------------------------------------------------------- */

#define TB_PANEL 32 /* columns of a packed panel */

/* Packs src[k, n] (strides in elements) into panels of 32 columns: element (r, c) goes to
 * dst[c / 32 * kb * 32 + r * 32 + c % 32]. Columns n up to the next multiple of 32 become zero; dst holds
 * kb * roundup(n, 32) elements, of which rows k and above of each panel are left as they are. */
TB_FN void tb_pack_panels32_f32(float *dst, int64_t kb, const float *src, int64_t row_stride, int64_t col_stride,
                                int64_t k, int64_t n)
{
    int64_t whole = col_stride == 1 ? n / TB_PANEL * TB_PANEL : 0;
    /* eight rows at a time: whole rows would write to too many panels at once, whole panels would come back to each
     * page of src once a panel */
    for (int64_t r = 0; r < k; r += 8)
        for (int64_t j = 0; j < whole; j += TB_PANEL)
            for (int64_t q = r; q < k && q < r + 8; q++)
                for (int c = 0; c < TB_PANEL; c += VL)
                    tb_store_f32(dst + j * kb + q * TB_PANEL + c, tb_load_f32(src + q * row_stride + j + c));
    for (int64_t j = whole; j < n; j += TB_PANEL)
        for (int64_t c = 0; c < TB_PANEL; c++) {
            float *to = dst + j * kb + c;
            const float *from = src + (j + c) * col_stride;
            if (j + c < n)
                for (int64_t r = 0; r < k; r++) to[r * TB_PANEL] = from[r * row_stride];
            else
                for (int64_t r = 0; r < k; r++) to[r * TB_PANEL] = 0.0f;
        }
}

/* Register tiles: rows x vectors that leave room for a row of B and, where an operand cannot come from memory,
 * for a broadcast element of A. */
#if VL == 16
#define TB_DOT_ROWS_ 12
#define TB_DOT_VECTORS_ 2
#elif VL == 8
#define TB_DOT_ROWS_ 6
#define TB_DOT_VECTORS_ 2
#elif defined(TB_X86_)
#define TB_DOT_ROWS_ 6
#define TB_DOT_VECTORS_ 2
#else
#define TB_DOT_ROWS_ 6
#define TB_DOT_VECTORS_ 4
#endif

/* c[rows, n] += a[rows, k] @ b[k, n] for n <= VL * TB_DOT_VECTORS_ columns of one panel. `rows` is a constant. */
TB_FN void tb_dot_tile_(int rows, int64_t n, int64_t k, const float *a, int64_t lda, const float *b, float *c,
                        int64_t ldc)
{
    tb_f32v t[TB_DOT_ROWS_][TB_DOT_VECTORS_] = {0};
    for (int64_t p = 0; p < k; p++) {
        tb_f32v bv[TB_DOT_VECTORS_];
        TB_UNROLL_
        for (int j = 0; j < TB_DOT_VECTORS_; j++) bv[j] = tb_load_f32(b + p * TB_PANEL + j * VL);
        TB_UNROLL_
        for (int i = 0; i < rows; i++)
            TB_UNROLL_
            for (int j = 0; j < TB_DOT_VECTORS_; j++) t[i][j] += a[i * lda + p] * bv[j];
    }
    TB_UNROLL_
    for (int i = 0; i < rows; i++)
        TB_UNROLL_
        for (int j = 0; j < TB_DOT_VECTORS_; j++) {
            float *to = c + i * ldc + j * VL;
            int64_t left = n - j * VL;
            if (left >= VL)
                tb_store_f32(to, tb_load_f32(to) + t[i][j]);
            else if (left > 0)
                tb_store_n_f32(to, left, tb_load_n_f32(to, left) + t[i][j]);
        }
}

/* c[m, n] += a[m, k] @ b, with b packed by tb_pack_panels32_f32 with the same kb. Reads nothing of a outside of
 * [m, k] and writes nothing of c outside of [m, n]. The sum over k is taken in order, in one accumulator. */
TB_FN void tb_dot_f32(int64_t m, int64_t n, int64_t k, const float *a, int64_t lda, const float *b_panels, int64_t kb,
                      float *c, int64_t ldc)
{
    int64_t tiles = m / TB_DOT_ROWS_ * TB_DOT_ROWS_, fours = tiles + (m - tiles) / 4 * 4;
    for (int64_t j = 0; j < n; j += VL * TB_DOT_VECTORS_) {
        const float *b = b_panels + j / TB_PANEL * kb * TB_PANEL + j % TB_PANEL;
        for (int64_t i = 0; i < tiles; i += TB_DOT_ROWS_)
            tb_dot_tile_(TB_DOT_ROWS_, n - j, k, a + i * lda, lda, b, c + i * ldc + j, ldc);
        for (int64_t i = tiles; i < fours; i += 4)
            tb_dot_tile_(4, n - j, k, a + i * lda, lda, b, c + i * ldc + j, ldc);
        for (int64_t i = fours; i < m; i++)
            tb_dot_tile_(1, n - j, k, a + i * lda, lda, b, c + i * ldc + j, ldc);
    }
}

#endif
