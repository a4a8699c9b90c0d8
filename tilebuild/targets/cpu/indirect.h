/* Elements that are not read where they lie: windows, which may reach beyond an array, and what the data names.
 *
 * Values are lanes of float32 or int32; arrays may hold narrower elements. An update of an element is atomic,
 * except for `set`: programs on other threads may change the same one. */
#ifndef TILEBUILD_INDIRECT_H
#define TILEBUILD_INDIRECT_H

#include "storage.h"

TB_FN int tb_inside_i64(int64_t a, int64_t n) { return a >= 0 && a < n; }

/* ---- windows --------------------------------------------------------------------------------------------------- */

TB_FN float tb_element_f32(const float *p) { return *p; }
TB_FN int32_t tb_element_i32(const int32_t *p) { return *p; }

/* Lanes at, at + 1, ... of a row of a window, n of them: lane k is p[(k - first) * stride] where first <= k <
 * first + count, else fill. */
#define TB_WINDOW_(S, R, T, L)                                                                                         \
    TB_FN tb_##R##v tb_window_##S(const T *p, int64_t stride, int64_t first, int64_t count, int64_t at, int64_t n,     \
                                  L fill)                                                                              \
    {                                                                                                                  \
        if (stride == 1 && n == VL && at >= first && at + VL <= first + count) return tb_load_##S(p + (at - first));   \
        L lanes[VL];                                                                                                   \
        for (int64_t i = 0; i < VL; i++)                                                                               \
            lanes[i] =                                                                                                 \
                i < n && at + i >= first && at + i < first + count                                                     \
                    ? tb_element_##S(p + (at + i - first) * stride)                                                    \
                    : fill;                                                                                            \
        return tb_load_##R(lanes);                                                                                     \
    }
TB_WINDOW_(f32, f32, float, float)
TB_WINDOW_(i32, i32, int32_t, int32_t)
TB_WINDOW_(bf16, f32, uint16_t, float)
TB_WINDOW_(f16, f32, uint16_t, float)
TB_WINDOW_(i8, i32, int8_t, int32_t)
TB_WINDOW_(u8, i32, uint8_t, int32_t)
TB_WINDOW_(bool, i32, uint8_t, int32_t)

/* ---- gathers ---------------------------------------------------------------------------------------------------- */

TB_FN int64_t tb_clamped_(int64_t k, int64_t extent) { return k < 0 ? 0 : k >= extent ? extent - 1 : k; }

/* Lanes i < n: p[k * stride] for k = idx[i] in [0, extent); else zero, or with `clamp` the nearest element. A row: the
 * n elements p[k * down + c * across] for one k. */
#define TB_GATHER_(S, R, T, L)                                                                                         \
    TB_FN tb_##R##v tb_gather_##S(const T *p, int64_t stride, tb_i32v idx, int64_t extent, int64_t n, int clamp)       \
    {                                                                                                                  \
        L lanes[VL] = {0};                                                                                             \
        for (int64_t i = 0; i < n; i++) {                                                                              \
            int64_t k = clamp ? tb_clamped_(idx[i], extent) : idx[i];                                                  \
            if (tb_inside_i64(k, extent)) lanes[i] = tb_element_##S(p + k * stride);                                   \
        }                                                                                                              \
        return tb_load_##R(lanes);                                                                                     \
    }                                                                                                                  \
    TB_FN tb_##R##v tb_gather_row_##S(const T *p, int64_t down, int64_t across, int64_t k, int64_t extent, int64_t n,  \
                                      int clamp)                                                                       \
    {                                                                                                                  \
        if (clamp) k = tb_clamped_(k, extent);                                                                         \
        if (!tb_inside_i64(k, extent)) return tb_splat_##R(0);                                                         \
        if (across == 1 && n == VL) return tb_load_##S(p + k * down);                                                  \
        return tb_load_strided_##S(p + k * down, across, n);                                                           \
    }
TB_GATHER_(f32, f32, float, float)
TB_GATHER_(i32, i32, int32_t, int32_t)
TB_GATHER_(bf16, f32, uint16_t, float)
TB_GATHER_(f16, f32, uint16_t, float)
TB_GATHER_(i8, i32, int8_t, int32_t)
TB_GATHER_(u8, i32, uint8_t, int32_t)
TB_GATHER_(bool, i32, uint8_t, int32_t)

/* ---- scatters and atomic additions ------------------------------------------------------------------------------- */

TB_FN void tb_element_set_f32(float *p, float v) { *p = v; }
TB_FN void tb_element_set_i32(int32_t *p, int32_t v) { *p = v; }
TB_FN void tb_element_add_i32(int32_t *p, int32_t v)
{
    __atomic_fetch_add((uint32_t *)p, (uint32_t)v, __ATOMIC_RELAXED);
}
TB_FN void tb_element_max_i32(int32_t *p, int32_t v)
{
    int32_t old = __atomic_load_n(p, __ATOMIC_RELAXED);
    while (v > old && !__atomic_compare_exchange_n(p, &old, v, 1, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
}

/* A float is exchanged as its bits; NaN wins a maximum, as in tb_maximum_f32. */
#define TB_ELEMENT_(mode, combined)                                                                                    \
    TB_FN void tb_element_##mode##_f32(float *p, float v)                                                              \
    {                                                                                                                  \
        uint32_t *bits = (uint32_t *)p, before = __atomic_load_n(bits, __ATOMIC_RELAXED), after;                       \
        do {                                                                                                           \
            float a, b;                                                                                                \
            memcpy(&a, &before, sizeof a);                                                                             \
            b = combined;                                                                                              \
            memcpy(&after, &b, sizeof b);                                                                              \
        } while (!__atomic_compare_exchange_n(bits, &before, after, 1, __ATOMIC_RELAXED, __ATOMIC_RELAXED));           \
    }
TB_ELEMENT_(add, a + v)
TB_ELEMENT_(max, a != a ? a : v != v ? v : a > v ? a : v)

/* Lanes i < n: the element p[k * stride] for k = idx[i] in [0, extent) is changed; other indices are dropped. */
#define TB_UPDATE_(mode, S, T)                                                                                         \
    TB_FN void tb_update_##mode##_##S(T *p, int64_t stride, tb_i32v idx, int64_t extent, int64_t n, tb_##S##v v)       \
    {                                                                                                                  \
        T lanes[VL];                                                                                                   \
        tb_store_##S(lanes, v);                                                                                        \
        for (int64_t i = 0; i < n; i++)                                                                                \
            if (tb_inside_i64(idx[i], extent)) tb_element_##mode##_##S(p + idx[i] * stride, lanes[i]);                 \
    }
TB_UPDATE_(set, f32, float)
TB_UPDATE_(add, f32, float)
TB_UPDATE_(max, f32, float)
TB_UPDATE_(set, i32, int32_t)
TB_UPDATE_(add, i32, int32_t)
TB_UPDATE_(max, i32, int32_t)

#endif
