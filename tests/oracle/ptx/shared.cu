// Kernels that touch shared memory: "ok_" ones stay inside, "bad_" ones do not, of "open_" ones nobody can know.
// "hard_" ones stay inside in a way that is not proved. A comment names the code of the finding on its line. Compiled by NVRTC 13.5 to shared.ptx (--gpu-architecture=compute_90
// -lineinfo) and to debug.ptx (-G instead of -lineinfo); see test_ptx.py.
#define KERNEL(name, x, y) extern "C" __global__ void __block_size__((x, y, 1)) name

KERNEL(bad_constant, 64, 1)(float *out)
{
    __shared__ volatile float s[64];
    s[threadIdx.x] = 1;
    __syncthreads();
    out[threadIdx.x] = s[64]; // O-PTX-01
}
KERNEL(ok_constant, 64, 1)(float *out)
{
    __shared__ volatile float s[64];
    s[threadIdx.x] = 1;
    __syncthreads();
    out[threadIdx.x] = s[63];
}
KERNEL(bad_thread, 128, 1)(float *out)
{
    __shared__ volatile float s[127];
    s[threadIdx.x] = out[threadIdx.x]; // O-PTX-01
    __syncthreads();
    out[threadIdx.x] = s[0];
}
KERNEL(bad_before, 128, 1)(float *out)
{
    __shared__ volatile float s[128];
    s[threadIdx.x] = out[threadIdx.x];
    __syncthreads();
    out[threadIdx.x] = s[(int)threadIdx.x - 1]; // O-PTX-01
}
KERNEL(ok_guarded, 128, 1)(float *out)
{
    __shared__ volatile float s[100];
    if (threadIdx.x < 100) s[threadIdx.x] = out[threadIdx.x];
    __syncthreads();
    if (threadIdx.x >= 1 && threadIdx.x <= 100) out[threadIdx.x] = s[threadIdx.x - 1];
}
KERNEL(bad_guard, 128, 1)(float *out)
{
    __shared__ volatile float s[100];
    if (threadIdx.x <= 100) s[threadIdx.x] = out[threadIdx.x]; // O-PTX-01
    __syncthreads();
    out[threadIdx.x] = s[0];
}
KERNEL(ok_two_dimensions, 16, 8)(float *out)
{
    __shared__ volatile float s[8][17];
    s[threadIdx.y][threadIdx.x + 1] = out[threadIdx.x];
    __syncthreads();
    out[threadIdx.y] = s[threadIdx.y][16 - threadIdx.x];
}
KERNEL(bad_two_dimensions, 16, 8)(float *out)
{
    __shared__ volatile float s[8][17];
    s[threadIdx.y][threadIdx.x + 2] = out[threadIdx.x]; // O-PTX-01
    __syncthreads();
    out[threadIdx.y] = s[threadIdx.y][0];
}
KERNEL(ok_loop, 32, 1)(float *out)
{
    __shared__ volatile float s[32 * 8];
#pragma unroll 1
    for (int i = threadIdx.x; i < 256; i += 32) s[i] = out[i];
    __syncthreads();
    float sum = 0;
#pragma unroll 1
    for (int i = 0; i < 8; i++) sum += s[i * 32 + threadIdx.x];
    out[threadIdx.x] = sum;
}
KERNEL(bad_loop, 32, 1)(float *out)
{
    __shared__ volatile float s[256];
    float sum = 0;
    s[threadIdx.x] = sum;
#pragma unroll 1
    for (int i = 0; i < 9; i++) sum += s[i * 32 + threadIdx.x]; // O-PTX-01
    out[threadIdx.x] = sum;
}
KERNEL(hard_unrolled_loop, 64, 1)(float *out, int n)
{
    __shared__ volatile float s[128];
    s[threadIdx.x] = s[threadIdx.x + 64] = out[threadIdx.x];
    __syncthreads();
    float sum = 0;
    n = n < 0 ? 0 : n > 128 ? 128 : n;
    for (int i = 0; i < n; i++) sum += s[i]; // O-PTX-01
    out[threadIdx.x] = sum;
}
KERNEL(ok_clamped_loop, 64, 1)(float *out, int n)
{
    __shared__ volatile float s[128];
    s[threadIdx.x] = s[threadIdx.x + 64] = out[threadIdx.x];
    __syncthreads();
    float sum = 0;
    n = max(min(n, 128), 0);
#pragma unroll 1
    for (int i = 0; i < n; i++) sum += s[i];
    out[threadIdx.x] = sum;
}
KERNEL(bad_clamped_loop, 64, 1)(float *out, int n)
{
    __shared__ volatile float s[120];
    s[threadIdx.x] = s[threadIdx.x + 56] = out[threadIdx.x];
    __syncthreads();
    float sum = 0;
    n = max(min(n, 128), 0);
#pragma unroll 1
    for (int i = 0; i < n; i++) sum += s[i + 120]; // O-PTX-01
    out[threadIdx.x] = sum;
}
KERNEL(open_loop, 64, 1)(float *out, int n)
{
    __shared__ volatile float s[128];
    s[threadIdx.x] = s[threadIdx.x + 64] = out[threadIdx.x];
    __syncthreads();
    float sum = 0;
    for (int i = 0; i < n; i++) sum += s[i]; // O-PTX-01
    out[threadIdx.x] = sum;
}
KERNEL(ok_halving, 256, 1)(float *out)
{
    __shared__ volatile float s[256];
    s[threadIdx.x] = out[threadIdx.x];
#pragma unroll 1
    for (unsigned k = 128; k > 0; k >>= 1) {
        __syncthreads();
        if (threadIdx.x < k) s[threadIdx.x] += s[threadIdx.x + k];
    }
    if (threadIdx.x == 0) out[0] = s[0];
}
KERNEL(open_halving, 256, 1)(float *out)
{
    __shared__ volatile float s[256];
    s[threadIdx.x] = out[threadIdx.x];
#pragma unroll 1
    for (unsigned k = 128; k > 0; k >>= 1) {
        __syncthreads();
        if (threadIdx.x <= k) s[threadIdx.x] += s[threadIdx.x + k]; // O-PTX-01
    }
    if (threadIdx.x == 0) out[0] = s[0];
}
KERNEL(ok_nested_loops, 32, 1)(float *out)
{
    __shared__ volatile float s[16][33];
#pragma unroll 1
    for (int i = threadIdx.x; i < 16 * 33; i += 32) ((volatile float *)s)[i] = out[i];
    __syncthreads();
    float sum = 0;
#pragma unroll 1
    for (int i = 0; i < 16; i++)
#pragma unroll 1
        for (int j = 0; j <= i; j++) sum += s[i][j] * s[j][i];
    out[threadIdx.x] = sum;
}
KERNEL(hard_remainder, 32, 1)(float *out)
{
    __shared__ volatile float s[528];
    for (int i = threadIdx.x; i < 528; i += 32) s[i] = out[i]; // O-PTX-01
    __syncthreads();
    out[threadIdx.x] = s[threadIdx.x];
}
KERNEL(bad_after_a_guard, 128, 1)(float *out, int n)
{
    __shared__ volatile float s[120];
    float x = 0;
    if (blockIdx.x * 128 + threadIdx.x < n) x = sinf(out[blockIdx.x * 128 + threadIdx.x]);
    s[threadIdx.x] = x; // O-PTX-01
    __syncthreads();
    out[threadIdx.x] = s[0];
}
KERNEL(open_guard, 128, 1)(float *out, int n)
{
    __shared__ volatile float s[120];
    if (threadIdx.x * 3 < n) s[threadIdx.x] = 1; // O-PTX-01
    __syncthreads();
    out[threadIdx.x] = s[0];
}
KERNEL(ok_sum_of_two, 8, 8)(float *out)
{
    __shared__ volatile float s[12];
    if (threadIdx.x + threadIdx.y < 12) s[threadIdx.x + threadIdx.y] = 1;
    __syncthreads();
    out[threadIdx.x] = s[threadIdx.x];
}
KERNEL(ok_lane_guard, 256, 1)(float *out)
{
    __shared__ volatile float s[8];
    const int lane = threadIdx.x & 31, warp = threadIdx.x / 32;
    if (lane == 0) s[warp] = out[threadIdx.x];
    __syncthreads();
    if (lane < 8) out[lane] = s[lane];
    if ((threadIdx.x & 31) < 8 && threadIdx.x < 32) out[lane] += s[threadIdx.x];
}
KERNEL(ok_swizzle, 128, 1)(float *out)
{
    __shared__ volatile float s[128];
    const int row = threadIdx.x / 8, column = threadIdx.x % 8;
    s[row * 8 + (column ^ (row & 7))] = out[threadIdx.x];
    __syncthreads();
    out[threadIdx.x] = s[column * 16 + row];
}
KERNEL(ok_two_arrays, 64, 1)(float *out)
{
    __shared__ volatile float a[64];
    __shared__ volatile int b[32];
    a[threadIdx.x] = 1;
    if (threadIdx.x < 32) b[threadIdx.x] = 2;
    __syncthreads();
    out[threadIdx.x] = a[63 - threadIdx.x] + b[threadIdx.x / 2];
}
KERNEL(bad_two_arrays, 64, 1)(float *out)
{
    __shared__ volatile float a[64];
    __shared__ volatile int b[32];
    a[threadIdx.x] = 1;
    b[threadIdx.x] = 2; // O-PTX-01
    __syncthreads();
    out[threadIdx.x] = a[threadIdx.x] + b[0];
}
KERNEL(ok_quotients, 256, 1)(float *out)
{
    __shared__ volatile float s[40 * 36];
    for (int t = 0; t < 5; t++) {
        const int e = t * 256 + threadIdx.x;
        if (e < 40 * 31) s[e / 31 * 36 + e % 31 + 5] = out[e];
    }
    __syncthreads();
    out[threadIdx.x] = s[(threadIdx.x >> 5) * 36 + (threadIdx.x & 31)];
}
KERNEL(bad_quotients, 256, 1)(float *out)
{
    __shared__ volatile float s[8 * 36];
    s[threadIdx.x] = 0;
    out[threadIdx.x] = s[(threadIdx.x >> 5) * 36 + (threadIdx.x & 31) + 5]; // O-PTX-01
}
KERNEL(ok_vectors, 32, 1)(float4 *out)
{
    __shared__ float4 s[32];
    s[threadIdx.x] = out[threadIdx.x];
    __syncthreads();
    out[threadIdx.x] = s[31 - threadIdx.x];
}
KERNEL(bad_vectors, 32, 1)(float4 *out)
{
    __shared__ __align__(16) float s[130];
    *(float4 *)&s[threadIdx.x * 4 + 3] = out[threadIdx.x]; // O-PTX-01 O-PTX-02
    __syncthreads();
    out[threadIdx.x] = *(float4 *)&s[0];
}
KERNEL(bad_alignment, 32, 1)(float4 *out)
{
    __shared__ __align__(16) float s[160];
    *(float4 *)&s[threadIdx.x * 4] = out[threadIdx.x];
    __syncthreads();
    out[threadIdx.x] = *(float4 *)&s[threadIdx.x]; // O-PTX-02
}
KERNEL(ok_atomics, 64, 1)(int *out)
{
    __shared__ int bins[16];
    if (threadIdx.x < 16) bins[threadIdx.x] = 0;
    __syncthreads();
    atomicAdd(&bins[out[threadIdx.x] & 15], 1);
    __syncthreads();
    if (threadIdx.x < 16) out[threadIdx.x] = bins[threadIdx.x];
}
KERNEL(open_atomics, 64, 1)(int *out)
{
    __shared__ int bins[16];
    if (threadIdx.x < 16) bins[threadIdx.x] = 0;
    __syncthreads();
    atomicAdd(&bins[out[threadIdx.x]], 1); // O-PTX-01
    __syncthreads();
    if (threadIdx.x < 16) out[threadIdx.x] = bins[threadIdx.x];
}
KERNEL(ok_dynamic, 64, 1)(float *out)
{
    extern __shared__ float dynamic[];
    dynamic[threadIdx.x] = out[threadIdx.x];
    __syncthreads();
    out[threadIdx.x] = dynamic[63 - threadIdx.x];
}
__device__ __noinline__ float pick(const float *from, int at) { return from[at]; }

KERNEL(ok_call, 64, 1)(float *out)
{
    __shared__ float s[64];
    s[threadIdx.x] = out[threadIdx.x];
    __syncthreads();
    out[threadIdx.x] = pick(s, threadIdx.x);
}
KERNEL(ok_generic, 64, 1)(float *out, int which)
{
    __shared__ float a[64], b[64];
    a[threadIdx.x] = b[threadIdx.x] = out[threadIdx.x];
    __syncthreads();
    float *p = a;
    asm volatile("" : "+l"(p));
    out[threadIdx.x] = a[threadIdx.x] + b[which & 63];
}
KERNEL(ok_async, 32, 1)(float *out, const float4 *in)
{
    __shared__ __align__(16) float s[128];
    const unsigned to = (unsigned)__cvta_generic_to_shared(&s[threadIdx.x * 4]);
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(in + threadIdx.x));
    asm volatile("cp.async.commit_group;");
    asm volatile("cp.async.wait_group 0;");
    __syncthreads();
    unsigned a, b, c, d;
    asm volatile("{ .reg .b32 t; mov.b32 t, %4; ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [t]; }"
                 : "=r"(a), "=r"(b), "=r"(c), "=r"(d)
                 : "r"(to));
    out[threadIdx.x] = __uint_as_float(a + b + c + d);
}
KERNEL(bad_async, 32, 1)(float *out, const float4 *in)
{
    __shared__ __align__(16) float s[124];
    const unsigned to = (unsigned)__cvta_generic_to_shared(&s[threadIdx.x * 4]);
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(in + threadIdx.x)); // O-PTX-01
    asm volatile("cp.async.wait_all;");
    __syncthreads();
    out[threadIdx.x] = s[threadIdx.x];
}
KERNEL(ok_predicated, 64, 1)(float *out)
{
    __shared__ float s[32];
    const unsigned to = (unsigned)__cvta_generic_to_shared(&s[threadIdx.x]);
    asm volatile("{ .reg .pred p; setp.lt.u32 p, %2, 32; @p st.shared.f32 [%0], %1; }" ::"r"(to), "f"(out[0]), "r"(threadIdx.x));
    __syncthreads();
    asm volatile("{ .reg .pred p; setp.ge.u32 p, %2, 32; @!p st.shared.f32 [%0], %1; }" ::"r"(to), "f"(out[1]), "r"(threadIdx.x));
    __syncthreads();
    out[threadIdx.x] = s[threadIdx.x & 31];
}
KERNEL(bad_predicated, 64, 1)(float *out)
{
    __shared__ float s[32];
    const unsigned to = (unsigned)__cvta_generic_to_shared(&s[threadIdx.x]);
    asm volatile("{ .reg .pred p; setp.gt.u32 p, %2, 31; @p st.shared.f32 [%0], %1; }" ::"r"(to), "f"(out[0]), "r"(threadIdx.x)); // O-PTX-01
    __syncthreads();
    out[threadIdx.x] = s[threadIdx.x & 31];
}
