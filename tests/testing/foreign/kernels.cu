// Kernels of our own for scripts/make_foreign_ptx.py, compiled by nvcc as they are shipped (-O3), unoptimised, and for a
// debugger: with calls, generic addresses, local memory, tables of functions. launch.json says how each is launched.
#define WARP_SUM(x) for (int d = 16; d; d /= 2) x += __shfl_xor_sync(0xffffffffu, x, d)

__device__ __noinline__ float block_sum(float x, float *scratch)
{
    WARP_SUM(x);
    if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = x;
    __syncthreads();
    float sum = 0;
    for (int i = 0; i < (int)blockDim.x / 32; i++) sum += scratch[i];
    __syncthreads();
    return sum;
}

extern "C" __global__ void rmsnorm(const float *x, float *y, int columns, float eps)
{
    __shared__ float scratch[32];
    const float *row = x + (size_t)blockIdx.x * columns;
    float squares = 0;
    for (int i = threadIdx.x; i < columns; i += blockDim.x) squares += row[i] * row[i];
    const float scale = rsqrtf(block_sum(squares, scratch) / columns + eps);
    for (int i = threadIdx.x; i < columns; i += blockDim.x) y[(size_t)blockIdx.x * columns + i] = row[i] * scale;
}

extern "C" __global__ void histogram(const int *x, unsigned *bins, int n)
{
    __shared__ unsigned own[64];
    if (threadIdx.x < 64) own[threadIdx.x] = 0;
    __syncthreads();
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) atomicAdd(&own[x[i] & 63], 1u);
    __syncthreads();
    if (threadIdx.x < 64) atomicAdd(&bins[threadIdx.x], own[threadIdx.x]);
}

__device__ float twice(float x) { return x + x; }
__device__ float squared(float x) { return x * x; }
__device__ float negated(float x) { return -x; }
__device__ float (*const table[3])(float) = {twice, squared, negated};

extern "C" __global__ void by_table(const int *which, float *x, int n)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) x[i] = table[which[i]](x[i]);
}

extern "C" __global__ void sort_rows(int *x, int rows)
{
    int own[16];
    const int row = blockIdx.x * blockDim.x + threadIdx.x;
    if (row >= rows) return;
    for (int i = 0; i < 16; i++) {
        const int value = x[row * 16 + i];
        int at = i;
        while (at > 0 && own[at - 1] > value) {
            own[at] = own[at - 1];
            at--;
        }
        own[at] = value;
    }
    for (int i = 0; i < 16; i++) x[row * 16 + i] = own[i];
}

extern "C" __global__ void by_case(const int *code, int *x, int n)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n) return;
    int v = x[i];
    switch (code[i]) {
    case 0: v = v * 3 - 1; break;
    case 1: v = __mulhi(v, 0x12345678); break;
    case 2: v = __brev(v); break;
    case 3: v = __popc(v) * 100 + __clz(v); break;
    case 4: v = __funnelshift_l(v, v ^ 0x55555555, 7); break;
    case 5: v = __byte_perm(v, 0x01020304, 0x2716); break;
    case 6: v = v / 7 + v % 11; break;
    case 7: v = (int)((long long)v * v >> 13); break;
    case 8: v = __ffs(v); break;
    default: v = -v;
    }
    x[i] = v;
}

extern "C" __global__ void roots(const double *x, double *y, int n)
{
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = sqrt(x[i]) / (1.0 + exp(-x[i]));
}

__device__ __noinline__ float pick(const float *from, int at) { return from[at]; }

extern "C" __global__ void any_space(const float *x, float *y)
{
    __shared__ float near[64];
    float mine[4];
    for (int i = 0; i < 4; i++) mine[i] = x[threadIdx.x] * (i + 1);
    near[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    const float *from = threadIdx.x % 3 == 0 ? x : threadIdx.x % 3 == 1 ? near : mine;
    y[threadIdx.x] = pick(from, threadIdx.x % 4);
}

struct Matrix {
    float *data;
    int rows, columns;
    long long stride;
};

extern "C" __global__ void transpose(Matrix from, Matrix to)
{
    __shared__ float tile[32][33];
    int row = blockIdx.y * 32 + threadIdx.y, column = blockIdx.x * 32 + threadIdx.x;
    for (int i = 0; i < 32; i += 8)
        if (row + i < from.rows && column < from.columns) tile[threadIdx.y + i][threadIdx.x] = from.data[(row + i) * from.stride + column];
    __syncthreads();
    row = blockIdx.x * 32 + threadIdx.y, column = blockIdx.y * 32 + threadIdx.x;
    for (int i = 0; i < 32; i += 8)
        if (row + i < to.rows && column < to.columns) to.data[(row + i) * to.stride + column] = tile[threadIdx.x][threadIdx.y + i];
}

extern "C" __global__ void compact(const float *x, float *y, int *kept, int n)
{
    // the positive numbers of each warp's 32, in order, and how many there are
    const int i = blockIdx.x * blockDim.x + threadIdx.x, lane = threadIdx.x % 32;
    const float v = i < n ? x[i] : 0;
    const unsigned mask = __ballot_sync(0xffffffffu, v > 0);
    if (v > 0) y[i - lane + __popc(mask & ((1u << lane) - 1))] = v;
    if (lane == 0) kept[i / 32] = __popc(mask);
}

extern "C" __global__ void two_stages(const float4 *x, float4 *y, int steps)
{
    extern __shared__ float4 ring[]; // two stages of a block's float4s
    const unsigned base = (unsigned)__cvta_generic_to_shared(ring) + threadIdx.x * 16;
    const unsigned stage = blockDim.x * 16;
    const float4 *from = x + (size_t)blockIdx.x * steps * blockDim.x + threadIdx.x;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(base), "l"(from) : "memory");
    asm volatile("cp.async.commit_group;" ::: "memory");
    float4 sum = {0, 0, 0, 0};
    for (int s = 0; s < steps; s++) {
        const int more = s + 1 < steps ? 16 : 0;
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(base + (s + 1) % 2 * stage),
                     "l"(from + (more ? (size_t)(s + 1) * blockDim.x : 0)), "r"(more)
                     : "memory");
        asm volatile("cp.async.commit_group;" ::: "memory");
        asm volatile("cp.async.wait_group 1;" ::: "memory");
        __syncthreads();
        const float4 v = ring[s % 2 * blockDim.x + (threadIdx.x + 1) % blockDim.x];
        sum.x += v.x, sum.y += v.y, sum.z += v.z, sum.w += v.w;
        __syncthreads();
    }
    y[blockIdx.x * blockDim.x + threadIdx.x] = sum;
}

extern "C" __global__ void lock(int *mutex, int *total, int *last)
{
    // every thread in turn: the threads of a warp must each make progress
    bool done = false;
    while (!done) {
        if (atomicCAS(mutex, 0, 1) == 0) {
            __threadfence();
            *(volatile int *)total = *(volatile int *)total + 1;
            *(volatile int *)last = threadIdx.x;
            __threadfence();
            atomicExch(mutex, 0);
            done = true;
        }
    }
}
