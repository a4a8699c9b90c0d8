// Runs generated CUDA C++ as ordinary C++: every thread of a block is a fiber, and the next one to run is chosen at
// random wherever threads wait for each other. Shared memory is poisoned before each block and fenced after its end.
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))

struct tb_dim { int x, y, z; };
static tb_dim threadIdx, blockIdx;

static inline int min(int a, int b) { return a < b ? a : b; }
static inline int max(int a, int b) { return a > b ? a : b; }
static inline float __uint_as_float(unsigned a) { float f; memcpy(&f, &a, 4); return f; }
static inline unsigned __float_as_uint(float f) { unsigned a; memcpy(&a, &f, 4); return a; }

namespace shim {
enum State { READY, AT_BARRIER, AT_SHUFFLE, DONE };
const int MOST = 1024, STACK = 256 * 1024, SHARED = 256 * 1024;
static ucontext_t scheduler, fibers[MOST];
static State states[MOST];
static int where[MOST], lane_mask[MOST];
static uint32_t given[MOST], taken[MOST];
static int current, threads, width;
static char *stacks;
static uint64_t random_state;
alignas(16) static unsigned char shared_memory[SHARED];
static void (*body)();
static const char *error;

static unsigned next_random()
{
    random_state ^= random_state << 13, random_state ^= random_state >> 7, random_state ^= random_state << 17;
    return (unsigned)(random_state >> 33);
}

static void wait(State state, int line)
{
    states[current] = state, where[current] = line;
    swapcontext(&fibers[current], &scheduler);
}

static void start()
{
    body();
    states[current] = DONE;
    swapcontext(&fibers[current], &scheduler);
}

// Threads that all wait at one place go on together; a place that only some of them reach is an error.
static bool release(State state, int first, int count)
{
    for (int t = first; t < first + count; t++) {
        if (states[t] != state) return false;
        if (where[t] != where[first]) { error = "threads wait at different places"; return false; }
    }
    for (int t = first; t < first + count; t++) {
        if (state == AT_SHUFFLE) taken[t] = given[first + ((t - first) ^ lane_mask[t])];
        states[t] = READY;
    }
    return true;
}

static void run_block(int block, int threads_x, int threads_y, int used)
{
    threads = threads_x * threads_y, width = threads_x;
    if (!stacks) stacks = (char *)malloc((size_t)MOST * STACK);
    memset(shared_memory, 0xff, SHARED); // NaN
    for (int t = 0; t < threads; t++) {
        getcontext(&fibers[t]);
        fibers[t].uc_stack.ss_sp = stacks + (size_t)t * STACK, fibers[t].uc_stack.ss_size = STACK;
        makecontext(&fibers[t], start, 0);
        states[t] = READY;
    }
    int warp = 0; // runs until it waits for the others: what it does too early then shows
    for (int left = threads; left > 0 && !error;) {
        release(AT_SHUFFLE, warp * 32, 32);
        int ready = 0, chosen = -1, elsewhere = 0, other = -1;
        for (int t = 0; t < threads; t++) {
            if (states[t] != READY) continue;
            if (t / 32 == warp) {
                if (next_random() % ++ready == 0) chosen = t;
            } else if (next_random() % ++elsewhere == 0) {
                other = t;
            }
        }
        if (chosen < 0 && other >= 0) warp = other / 32, chosen = other;
        if (chosen >= 0) {
            current = chosen;
            threadIdx = {chosen % threads_x, chosen / threads_x, 0}, blockIdx = {block, 0, 0};
            swapcontext(&scheduler, &fibers[chosen]);
            left -= states[chosen] == DONE;
        } else if (!release(AT_BARRIER, 0, threads)) {
            bool moved = false;
            for (int w = 0; w + 32 <= threads && !error; w += 32) moved |= release(AT_SHUFFLE, w, 32);
            if (!moved && !error) error = "some threads wait for others that never come";
        }
    }
    for (int i = used; i < SHARED && !error; i++)
        if (shared_memory[i] != 0xff) error = "a write past the end of shared memory";
}
} // namespace shim

#define __syncthreads() shim::wait(shim::AT_BARRIER, __LINE__)

template <class T> static inline T __shfl_xor_sync(unsigned mask, T value, int lanes)
{
    static_assert(sizeof(T) == 4, "one register");
    if (mask != 0xffffffffu) shim::error = "a partial mask";
    memcpy(&shim::given[shim::current], &value, 4);
    shim::lane_mask[shim::current] = lanes;
    shim::wait(shim::AT_SHUFFLE, lanes);
    memcpy(&value, &shim::taken[shim::current], 4);
    return value;
}
