/* Arrays of narrow dtypes and windows: lanes take four bytes in registers and in the arena, their own in arrays. Loads
 * and stores as in prelude.h; a store takes what has a value of the narrow dtype already. */
#ifndef TILEBUILD_STORAGE_H
#define TILEBUILD_STORAGE_H

#include "prelude.h"

TB_FN tb_i32v tb_i32_from_i8(tb_i32v a) { return a; }
TB_FN tb_i32v tb_i32_from_u8(tb_i32v a) { return a; }
TB_FN tb_i32v tb_i8_from_i32(tb_i32v a) { return (tb_i32v)((tb_u32v_)a << 24) >> 24; }
TB_FN tb_i32v tb_u8_from_i32(tb_i32v a) { return a & 255; }
TB_FN tb_f32v tb_f32_from_f16(tb_f32v a) { return a; }
TB_FN tb_f32v tb_f32_from_bf16(tb_f32v a) { return a; }

/* To the nearest number that ends `zeros` bits earlier, of two the even one; an infinity stays, NaN is not asked. */
TB_FN tb_u32v_ tb_shorter_(tb_f32v a, int zeros)
{
    tb_u32v_ bits = (tb_u32v_)a;
    return (bits + ((1u << (zeros - 1)) - 1u) + ((bits >> zeros) & 1u)) & ~((1u << zeros) - 1u);
}
/* The nearest bf16 and the nearest f16, as the f32 that they are. */
TB_FN tb_f32v tb_bf16_from_f32(tb_f32v a) { return tb_select_f32(a == a, (tb_f32v)tb_shorter_(a, 16), a); }
TB_FN tb_f32v tb_f16_from_f32(tb_f32v a)
{
    tb_f32v size = (tb_f32v)((tb_i32v)a & 0x7fffffff);
    tb_f32v normal = (tb_f32v)tb_shorter_(size, 13);
    normal = tb_select_f32(normal >= 65536.0f, tb_splat_f32(__builtin_inff()), normal);
    /* below 2**-14 they are 2**-24 apart, as the f32 in [1/2, 1] are: the sum is rounded there */
    tb_f32v found = tb_select_f32(size < 0x1p-14f, (size + 0.5f) - 0.5f, normal);
    return tb_select_f32(a == a, (tb_f32v)((tb_i32v)found | ((tb_i32v)a & INT32_MIN)), a);
}

/* Arrays of narrow dtypes: widened as they are read; what is written has a value of the narrow dtype already. */
typedef uint16_t tb_u16n_ __attribute__((vector_size(VL * 2)));
typedef int8_t tb_i8n_ __attribute__((vector_size(VL)));
typedef uint8_t tb_u8n_ __attribute__((vector_size(VL)));
TB_FN tb_f32v tb_wide_bf16_(tb_u16n_ a) { return (tb_f32v)(__builtin_convertvector(a, tb_u32v_) << 16); }
TB_FN tb_u16n_ tb_narrow_bf16_(tb_f32v a) { return __builtin_convertvector((tb_u32v_)a >> 16, tb_u16n_); }
TB_FN tb_f32v tb_wide_f16_(tb_u16n_ a)
{
    tb_u32v_ bits = __builtin_convertvector(a, tb_u32v_), size = (bits & 0x7fffu) << 13;
    tb_i32v number = (tb_i32v)(size < 0x0f800000u); /* neither infinite nor NaN */
    tb_f32v found = tb_select_f32(number, (tb_f32v)size * 0x1p112f, (tb_f32v)(size | 0x7f800000u));
    return (tb_f32v)((tb_u32v_)found | ((bits & 0x8000u) << 16));
}
TB_FN tb_u16n_ tb_narrow_f16_(tb_f32v a)
{
    tb_u32v_ bits = (tb_u32v_)a, size = bits & 0x7fffffffu;
    tb_u32v_ number = (tb_u32v_)((tb_f32v)size * 0x1p-112f) >> 13; /* exact, also below the normal f32 */
    tb_u32v_ other = 0x7c00u | ((tb_u32v_)(size > 0x7f800000u) & 0x200u);
    tb_u32v_ found = (tb_u32v_)tb_select_i32((tb_i32v)(size < 0x7f800000u), (tb_i32v)number, (tb_i32v)other);
    return __builtin_convertvector(found | ((bits >> 16) & 0x8000u), tb_u16n_);
}
TB_FN tb_i32v tb_wide_i8_(tb_i8n_ a) { return __builtin_convertvector(a, tb_i32v); }
TB_FN tb_i8n_ tb_narrow_i8_(tb_i32v a) { return __builtin_convertvector(a, tb_i8n_); }
TB_FN tb_i32v tb_wide_u8_(tb_u8n_ a) { return __builtin_convertvector(a, tb_i32v); }
TB_FN tb_u8n_ tb_narrow_u8_(tb_i32v a) { return __builtin_convertvector(a, tb_u8n_); }
TB_FN tb_i32v tb_wide_bool_(tb_u8n_ a) { return __builtin_convertvector(a, tb_i32v) != 0; }
TB_FN tb_u8n_ tb_narrow_bool_(tb_i32v a) { return __builtin_convertvector(a & 1, tb_u8n_); }

#define TB_NARROW_(S, T, N, V, E)                                                                                      \
    TB_FN V tb_load_n_##S(const T *p, int64_t n)                                                                       \
    {                                                                                                                  \
        T lanes[VL] = {0};                                                                                             \
        N v;                                                                                                           \
        for (int64_t i = 0; i < n; i++) lanes[i] = p[i];                                                               \
        memcpy(&v, lanes, sizeof v);                                                                                   \
        return tb_wide_##S##_(v);                                                                                      \
    }                                                                                                                  \
    TB_FN V tb_load_##S(const T *p)                                                                                    \
    {                                                                                                                  \
        N v;                                                                                                           \
        memcpy(&v, p, sizeof v);                                                                                       \
        return tb_wide_##S##_(v);                                                                                      \
    }                                                                                                                  \
    TB_FN V tb_load_strided_##S(const T *p, int64_t stride, int64_t n)                                                 \
    {                                                                                                                  \
        T lanes[VL] = {0};                                                                                             \
        N v;                                                                                                           \
        for (int64_t i = 0; i < n; i++) lanes[i] = p[i * stride];                                                      \
        memcpy(&v, lanes, sizeof v);                                                                                   \
        return tb_wide_##S##_(v);                                                                                      \
    }                                                                                                                  \
    TB_FN E tb_element_##S(const T *p) { return tb_load_n_##S(p, 1)[0]; }                                              \
    TB_FN void tb_store_##S(T *p, V a)                                                                                 \
    {                                                                                                                  \
        N v = tb_narrow_##S##_(a);                                                                                     \
        memcpy(p, &v, sizeof v);                                                                                       \
    }                                                                                                                  \
    TB_FN void tb_store_strided_##S(T *p, int64_t stride, int64_t n, V a)                                              \
    {                                                                                                                  \
        N v = tb_narrow_##S##_(a);                                                                                     \
        for (int64_t i = 0; i < n; i++) p[i * stride] = v[i];                                                          \
    }                                                                                                                  \
    TB_FN void tb_store_n_##S(T *p, int64_t n, V a) { tb_store_strided_##S(p, 1, n, a); }
TB_NARROW_(bf16, uint16_t, tb_u16n_, tb_f32v, float)
TB_NARROW_(f16, uint16_t, tb_u16n_, tb_f32v, float)
TB_NARROW_(i8, int8_t, tb_i8n_, tb_i32v, int32_t)
TB_NARROW_(u8, uint8_t, tb_u8n_, tb_i32v, int32_t)
TB_NARROW_(bool, uint8_t, tb_u8n_, tb_i32v, int32_t)

#define TB_PACK_(S)                                                                                                    \
    /* tb_pack_panels32_f32 of an array of 16-bit elements */                                                          \
    TB_FN void tb_pack_panels32_##S(float *dst, int64_t kb, const uint16_t *src, int64_t row_stride,                   \
                                    int64_t col_stride, int64_t k, int64_t n)                                          \
    {                                                                                                                  \
        for (int64_t j = 0; j < n; j += TB_PANEL)                                                                      \
            for (int64_t r = 0; r < k; r++)                                                                            \
                for (int64_t c = 0; c < TB_PANEL; c += VL) {                                                           \
                    int64_t left = n - j - c;                                                                          \
                    const uint16_t *from = src + r * row_stride + (j + c) * col_stride;                                \
                    tb_f32v v = left <= 0 ? tb_splat_f32(0.0f)                                                         \
                                : left >= VL && col_stride == 1                                                        \
                                    ? tb_load_##S(from)                                                                \
                                    : tb_load_strided_##S(from, col_stride, left < VL ? left : VL);                    \
                    tb_store_f32(dst + j * kb + r * TB_PANEL + c, v);                                                  \
                }                                                                                                      \
    }
TB_PACK_(bf16)
TB_PACK_(f16)

#endif
