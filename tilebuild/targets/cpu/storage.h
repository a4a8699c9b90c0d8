/* Arrays of 16-bit floating point: lanes are float32 values in registers and in the arena, and take two bytes in arrays.
 * The conversions round to nearest, ties to even; a NaN stays one. Loads and stores as in prelude.h. */
#ifndef TILEBUILD_STORAGE_H
#define TILEBUILD_STORAGE_H

#include "prelude.h"

typedef uint16_t tb_u16v_ __attribute__((vector_size(VL * 2)));

TB_FN tb_u16v_ tb_narrow_(tb_u32v_ a) { return __builtin_convertvector(a, tb_u16v_); }
TB_FN tb_u32v_ tb_widen_(tb_u16v_ a) { return __builtin_convertvector(a, tb_u32v_); }

TB_FN tb_u32v_ tb_pick_(tb_i32v mask, tb_u32v_ a, tb_u32v_ b)
{
    return (tb_u32v_)tb_select_i32(mask, (tb_i32v)a, (tb_i32v)b);
}

/* bf16 is the upper half of a float32. */
TB_FN tb_f32v tb_unpack_bf16_(tb_u32v_ a) { return (tb_f32v)(a << 16); }
TB_FN tb_u32v_ tb_pack_bf16_(tb_f32v a)
{
    tb_u32v_ bits = (tb_u32v_)a;
    return tb_pick_(a != a, bits >> 16 | 0x40u, (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

/* f16: 5 bits of exponent, 10 of mantissa. A subnormal f16 times 2**112, with its bits in a float32's places, is
 * normal; and adding 0.5 to a float32 below 2**-14 leaves its multiple of 2**-24 in the last bits. */
TB_FN tb_f32v tb_unpack_f16_(tb_u32v_ a)
{
    tb_u32v_ bits = (a & 0x7fffu) << 13;
    tb_f32v scaled = (tb_f32v)bits * 0x1p112f;
    tb_u32v_ value = tb_pick_((tb_i32v)(bits >= 0x0f800000u), bits | 0x7f800000u, (tb_u32v_)scaled);
    return (tb_f32v)(value | (a & 0x8000u) << 16);
}
TB_FN tb_u32v_ tb_pack_f16_(tb_f32v a)
{
    tb_u32v_ bits = (tb_u32v_)a & 0x7fffffffu, sign = (tb_u32v_)a >> 16 & 0x8000u;
    tb_u32v_ normal = (bits + 0xfffu + (bits >> 13 & 1u) - 0x38000000u) >> 13;
    tb_u32v_ small = (tb_u32v_)((tb_f32v)bits + 0.5f) - 0x3f000000u;
    tb_u32v_ half = tb_pick_((tb_i32v)(bits < 0x38800000u), small, normal);
    half = tb_pick_((tb_i32v)(bits >= 0x477ff000u), (tb_u32v_)tb_splat_i32(0x7c00), half); /* 65520 and above */
    half = tb_pick_((tb_i32v)(bits > 0x7f800000u), (tb_u32v_)tb_splat_i32(0x7e00), half);
    return half | sign;
}

#define TB_STORAGE_(S)                                                                                                 \
    TB_FN tb_f32v tb_##S##_from_f32(tb_f32v a) { return tb_unpack_##S##_(tb_pack_##S##_(a)); }                         \
    TB_FN tb_f32v tb_f32_from_##S(tb_f32v a) { return a; }                                                             \
    TB_FN float tb_value_##S(uint16_t a) { return tb_unpack_##S##_((tb_u32v_)tb_splat_i32(a))[0]; }                    \
    TB_FN tb_f32v tb_load_##S(const uint16_t *p)                                                                       \
    {                                                                                                                  \
        tb_u16v_ lanes;                                                                                                \
        memcpy(&lanes, p, sizeof lanes);                                                                               \
        return tb_unpack_##S##_(tb_widen_(lanes));                                                                     \
    }                                                                                                                  \
    TB_FN tb_f32v tb_load_strided_##S(const uint16_t *p, int64_t stride, int64_t n)                                    \
    {                                                                                                                  \
        uint16_t lanes[VL] = {0};                                                                                      \
        for (int64_t i = 0; i < n; i++) lanes[i] = p[i * stride];                                                      \
        return tb_load_##S(lanes);                                                                                     \
    }                                                                                                                  \
    TB_FN tb_f32v tb_load_n_##S(const uint16_t *p, int64_t n) { return tb_load_strided_##S(p, 1, n); }                 \
    TB_FN void tb_store_##S(uint16_t *p, tb_f32v v)                                                                    \
    {                                                                                                                  \
        tb_u16v_ lanes = tb_narrow_(tb_pack_##S##_(v));                                                                \
        memcpy(p, &lanes, sizeof lanes);                                                                               \
    }                                                                                                                  \
    TB_FN void tb_store_strided_##S(uint16_t *p, int64_t stride, int64_t n, tb_f32v v)                                 \
    {                                                                                                                  \
        uint16_t lanes[VL];                                                                                            \
        tb_store_##S(lanes, v);                                                                                        \
        for (int64_t i = 0; i < n; i++) p[i * stride] = lanes[i];                                                      \
    }                                                                                                                  \
    TB_FN void tb_store_n_##S(uint16_t *p, int64_t n, tb_f32v v) { tb_store_strided_##S(p, 1, n, v); }                 \
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
TB_STORAGE_(bf16)
TB_STORAGE_(f16)

/* ---- windows --------------------------------------------------------------------------------------------------- */

#define TB_VALUE_(a) (a)
/* Lanes at, at + 1, ... of a row of a window, n of them: lane k is p[(k - first) * stride] where first <= k <
 * first + count, else fill. */
#define TB_WINDOW_(S, R, T, L, value)                                                                                  \
    TB_FN tb_##R##v tb_window_##S(const T *p, int64_t stride, int64_t first, int64_t count, int64_t at, int64_t n,     \
                                  L fill)                                                                              \
    {                                                                                                                  \
        if (stride == 1 && n == VL && at >= first && at + VL <= first + count) return tb_load_##S(p + (at - first));   \
        L lanes[VL];                                                                                                   \
        for (int64_t i = 0; i < VL; i++)                                                                               \
            lanes[i] = i < n && at + i >= first && at + i < first + count ? value(p[(at + i - first) * stride]) : fill; \
        return tb_load_##R(lanes);                                                                                     \
    }
TB_WINDOW_(f32, f32, float, float, TB_VALUE_)
TB_WINDOW_(i32, i32, int32_t, int32_t, TB_VALUE_)
TB_WINDOW_(bf16, f32, uint16_t, float, tb_value_bf16)
TB_WINDOW_(f16, f32, uint16_t, float, tb_value_f16)

#endif
