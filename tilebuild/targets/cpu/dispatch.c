/* Which of the levels that a kernel library holds does this machine run? Compiled for the baseline, with
 * -DTB_HAS_V2, -DTB_HAS_V3, -DTB_HAS_V4 for the x86-64 levels that the library was compiled for. The levels are those
 * of the x86-64 psABI ("micro-architecture levels"); the operating system must also save the registers they use. */
#include <stdint.h>

#define EXPORT __attribute__((visibility("default")))

int32_t tilebuild_level(void);

#if defined(__x86_64__)
#include <cpuid.h>

/* bits of CPUID leaf 1 ecx; leaf 7 ebx; leaf 0x80000001 ecx; and of the register XCR0 */
enum {
    SSE3 = 1 << 0, SSSE3 = 1 << 9, FMA = 1 << 12, CX16 = 1 << 13, SSE41 = 1 << 19, SSE42 = 1 << 20, MOVBE = 1 << 22,
    POPCNT = 1 << 23, OSXSAVE = 1 << 27, AVX = 1 << 28, F16C = 1 << 29,
    BMI1 = 1 << 3, AVX2 = 1 << 5, BMI2 = 1 << 8, AVX512F = 1 << 16, AVX512DQ = 1 << 17, AVX512CD = 1 << 28,
    AVX512BW = 1 << 30,
    LAHF = 1 << 0, LZCNT = 1 << 5,
    YMM_STATE = 0x06, ZMM_STATE = 0xe6,
};
#define AVX512VL (1u << 31)

static int has(uint32_t bits, uint32_t wanted) { return (bits & wanted) == wanted; }

static uint32_t saved_state(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

/* 1 (the baseline) to 4 */
static int machine_level(void)
{
    uint32_t eax, ebx, ecx, edx, leaf1 = 0, leaf7 = 0, extended = 0;
    if (__get_cpuid(1, &eax, &ebx, &ecx, &edx)) leaf1 = ecx;
    if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) leaf7 = ebx;
    if (__get_cpuid(0x80000001u, &eax, &ebx, &ecx, &edx)) extended = ecx;
    if (!has(leaf1, SSE3 | SSSE3 | SSE41 | SSE42 | CX16 | POPCNT) || !has(extended, LAHF)) return 1;
    if (!has(leaf1, AVX | F16C | FMA | MOVBE | OSXSAVE) || !has(leaf7, AVX2 | BMI1 | BMI2) || !has(extended, LZCNT))
        return 2;
    uint32_t state = saved_state(); /* OSXSAVE is set, so the instruction exists */
    if (!has(state, YMM_STATE)) return 2;
    if (!has(leaf7, AVX512F | AVX512DQ | AVX512CD | AVX512BW | AVX512VL) || !has(state, ZMM_STATE)) return 3;
    return 4;
}

/* The position, among the levels compiled in, least first, of the best one that this machine runs; -1 if it runs
 * none of them. */
EXPORT int32_t tilebuild_level(void)
{
    int level = machine_level();
    int32_t found = -1;
#ifdef TB_HAS_V2
    found += level >= 2;
#endif
#ifdef TB_HAS_V3
    found += level >= 3;
#endif
#ifdef TB_HAS_V4
    found += level >= 4;
#endif
    (void)level;
    return found;
}
#else
/* Elsewhere a library holds one level. */
EXPORT int32_t tilebuild_level(void) { return 0; }
#endif
