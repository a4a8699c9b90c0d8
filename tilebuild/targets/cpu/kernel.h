/* What generated kernels use beside the prelude: entry points, launch slots, integer arithmetic, scratch memory. */
#ifndef TILEBUILD_KERNEL_H
#define TILEBUILD_KERNEL_H

#include "prelude.h"
#include "storage.h"
#include "indirect.h"

/* TB_LEVEL is the instruction set's suffix where a library holds several. Programs [total*part/parts,
   total*(part+1)/parts) of the grid run; slots are the launch arguments in the manifest's order. */
#define TB_JOIN_(a, b) a##_##b
#define TB_JOIN(a, b) TB_JOIN_(a, b)
#ifdef TB_LEVEL
#define TB_ENTRY(name) __attribute__((visibility("default"))) void TB_JOIN(name, TB_LEVEL)
#else
#define TB_ENTRY(name) __attribute__((visibility("default"))) void name
#endif

/* This thread's scratch memory, 64-byte aligned; its size is the largest high-water mark of the library's plans. */
char *tilebuild_arena(void);

TB_FN int64_t tb_min_i64(int64_t a, int64_t b) { return a < b ? a : b; }
TB_FN int64_t tb_max_i64(int64_t a, int64_t b) { return a > b ? a : b; }
TB_FN int64_t tb_floordiv_i64(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }
TB_FN int64_t tb_mod_i64(int64_t a, int64_t b) { return a - b * tb_floordiv_i64(a, b); }

TB_FN float tb_slot_f32(int64_t slot)
{
    uint32_t bits = (uint32_t)slot;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

TB_FN int32_t tb_slot_i32(int64_t slot) { return (int32_t)slot; }

/* dst[r][c] = src[c][r] for r < rows, c < cols; in blocks, so that both sides stay in cache lines */
#define TB_TRANSPOSE_(T, S)                                                                                            \
    TB_FN void tb_transpose_##S(T *dst, int64_t dst_cols, const T *src, int64_t src_cols, int64_t rows, int64_t cols)  \
    {                                                                                                                  \
        for (int64_t r0 = 0; r0 < rows; r0 += 16)                                                                      \
            for (int64_t c0 = 0; c0 < cols; c0 += 16)                                                                  \
                for (int64_t r = r0; r < tb_min_i64(r0 + 16, rows); r++)                                               \
                    for (int64_t c = c0; c < tb_min_i64(c0 + 16, cols); c++)                                           \
                        dst[r * dst_cols + c] = src[c * src_cols + r];                                                 \
    }
TB_TRANSPOSE_(float, f32)
TB_TRANSPOSE_(int32_t, i32)

/* dst[r][c] = src[r][c] of boxes with strides of their own between rows and columns, in elements */
#define TB_BOX_(T, S)                                                                                                  \
    TB_FN void tb_box_##S(T *dst, int64_t dst_row, int64_t dst_col, const T *src, int64_t src_row, int64_t src_col,    \
                          int64_t rows, int64_t cols)                                                                  \
    {                                                                                                                  \
        for (int64_t r = 0; r < rows; r++)                                                                             \
            for (int64_t c = 0; c < cols; c++) dst[r * dst_row + c * dst_col] = src[r * src_row + c * src_col];        \
    }
TB_BOX_(float, f32)
TB_BOX_(int32_t, i32)

#endif
