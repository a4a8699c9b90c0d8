// Device functions for generated kernels; each file gets those that it uses, in this order. A line `//# name: others`
// starts a function and names what it calls. Header-free CUDA C++17. Accuracy: docs/gpu.md; no function needs
// -use_fast_math, and none flushes subnormal numbers. Coefficients: python -m tilebuild.targets.cpu.fit

//# tb_floordiv:
__device__ __forceinline__ long long tb_floordiv(long long a, long long b)
{
    const long long q = a / b;
    return q - (a % b != 0 && (a < 0) != (b < 0));
}

//# tb_mod: tb_floordiv
__device__ __forceinline__ long long tb_mod(long long a, long long b) { return a - tb_floordiv(a, b) * b; }

//# tb_min:
__device__ __forceinline__ long long tb_min(long long a, long long b) { return a < b ? a : b; }

//# tb_max:
__device__ __forceinline__ long long tb_max(long long a, long long b) { return a > b ? a : b; }

//# tb_maximum:
// A NaN in either operand comes out; which of +0 and -0 comes out is not determined.
template <class T> __device__ __forceinline__ T tb_maximum(T a, T b) { return a > b || a != a ? a : b; }

//# tb_minimum:
template <class T> __device__ __forceinline__ T tb_minimum(T a, T b) { return a < b || a != a ? a : b; }

//# tb_bits:
__device__ __forceinline__ float tb_bits(unsigned a) { return __uint_as_float(a); }

//# tb_scale: tb_bits
// p * 2**n for z = n + 12583166 (1.5 * 2**23 + 254) and -252 <= n <= 254, rounded once: in two steps, by 2**(n/2)
// rounded down and up; the shifts discard all but n + 254 of the bits of z.
__device__ __forceinline__ float tb_scale(float p, float z)
{
    const unsigned bits = __float_as_uint(z), half = bits >> 1;
    return p * tb_bits(half << 23) * tb_bits((bits - half) << 23);
}

//# tb_clamp:
// NaN comes out.
__device__ __forceinline__ float tb_clamp(float x, float lo, float hi) { return x < lo ? lo : x > hi ? hi : x; }

//# tb_exp: tb_scale tb_clamp
// exp(r) = 1 + (r + r*r * P(r)) on [-0.3467, 0.3467]: 3.1e-09 = 0.05 * 2**-24
__device__ __forceinline__ float tb_exp(float x)
{
    x = tb_clamp(x, -105.0f, 89.0f);
    const float z = fmaf(x, 1.44269504f, 12583166.0f), n = z - 12583166.0f;
    const float r = fmaf(n, 2.90889711e-05f, fmaf(n, -0.69317627f, x));
    float p = fmaf(r, 1.38210552e-03f, 8.36867467e-03f);
    p = fmaf(p, r, 4.16682623e-02f);
    p = fmaf(p, r, 1.66665211e-01f);
    p = fmaf(p, r, 4.9999994e-01f);
    return tb_scale(1.0f + fmaf(r * r, p, r), z);
}

//# tb_exp2: tb_scale tb_clamp
// exp2(r) = 1 + r * P(r) on [-0.5, 0.5]: 3.0e-09 = 0.05 * 2**-24
__device__ __forceinline__ float tb_exp2(float x)
{
    x = tb_clamp(x, -151.0f, 129.0f);
    const float z = x + 12583166.0f, r = x - (z - 12583166.0f);
    float p = fmaf(r, 1.53264627e-04f, 1.33908063e-03f);
    p = fmaf(p, r, 9.61850584e-03f);
    p = fmaf(p, r, 5.55035993e-02f);
    p = fmaf(p, r, 2.40226477e-01f);
    p = fmaf(p, r, 6.93147182e-01f);
    return tb_scale(fmaf(p, r, 1.0f), z);
}

//# tb_split: tb_bits
// x = 2**e * (1 + f), -1/3 <= f < 1/3, for finite x > 0; f is returned.
__device__ __forceinline__ float tb_split(float x, float &e)
{
    const bool small = x < 0x1p-126f;
    const unsigned bits = __float_as_uint(small ? x * 0x1p23f : x) - 0x3f2aaaabu; // 2/3
    e = (float)((int)bits >> 23) - (small ? 23.0f : 0.0f);
    return tb_bits((bits & 0x7fffffu) + 0x3f2aaaabu) - 1.0f;
}

//# tb_log_edges: tb_bits
// The logarithm of x, given that y is right for finite x > 0.
__device__ __forceinline__ float tb_log_edges(float x, float y)
{
    y = x < tb_bits(0x7f800000u) ? y : x; // +inf and NaN
    y = x < 0.0f ? tb_bits(0x7fc00000u) : y;
    return x == 0.0f ? tb_bits(0xff800000u) : y;
}

//# tb_log: tb_split tb_log_edges
// log(1 + f) = f + f*f * P(f) on [-0.3333, 0.3333]: 4.6e-09 = 0.08 * 2**-24
__device__ __forceinline__ float tb_log(float x)
{
    float e;
    const float f = tb_split(x, e);
    float p = fmaf(f, -1.28776908e-01f, 1.39859751e-01f);
    p = fmaf(p, f, -1.21877499e-01f);
    p = fmaf(p, f, 1.40054747e-01f);
    p = fmaf(p, f, -1.66802078e-01f);
    p = fmaf(p, f, 2.00104386e-01f);
    p = fmaf(p, f, -2.49998048e-01f);
    p = fmaf(p, f, 3.33332151e-01f);
    p = fmaf(p, f, -5.0e-01f);
    // e * 0.69317627 is exact, and so is `lost`: what the sum with f drops
    const float high = e * 0.69317627f, sum = high + f, lost = f - (sum - high);
    return tb_log_edges(x, sum + fmaf(f * f, p, fmaf(e, -2.90889711e-05f, lost)));
}

//# tb_log2: tb_split tb_log_edges
// log2(1 + f) = f + f * P(f) on [-0.3333, 0.3333]: 7.3e-09 = 0.12 * 2**-24
__device__ __forceinline__ float tb_log2(float x)
{
    float e;
    const float f = tb_split(x, e);
    float p = fmaf(f, -1.8162708e-01f, 2.09382817e-01f);
    p = fmaf(p, f, -1.76896662e-01f);
    p = fmaf(p, f, 2.00424388e-01f);
    p = fmaf(p, f, -2.40558162e-01f);
    p = fmaf(p, f, 2.88799375e-01f);
    p = fmaf(p, f, -3.60673249e-01f);
    p = fmaf(p, f, 4.80894208e-01f);
    p = fmaf(p, f, -7.21347511e-01f);
    p = fmaf(p, f, 4.42695051e-01f);
    const float sum = e + f, lost = f - (sum - e);
    return tb_log_edges(x, sum + fmaf(p, f, lost));
}

//# tb_vec:
// V elements that one instruction moves.
template <class T, int V> struct __align__(sizeof(T) * V) tb_vec { T lane[V]; };

//# tb_wide: tb_vec
// Whether vectors of V elements can be read at p.
template <int V, class T> __device__ __forceinline__ bool tb_wide(const T *p)
{
    return V > 1 && (unsigned long long)p % (sizeof(T) * V) == 0;
}

//# tb_load: tb_wide
// Columns c + b * STEP + v of a row of n elements, zeros past its end. All vectors are asked for before any is used.
template <int B, int STEP, int V, class T>
__device__ __forceinline__ void tb_load(T (*to)[V], const T *p, int c, int n)
{
    if (tb_wide<V>(p)) {
#pragma unroll
        for (int b = 0; b < B; b++) {
            tb_vec<T, V> x = {};
            if (c + b * STEP + V <= n) x = *(const tb_vec<T, V> *)(p + c + b * STEP);
#pragma unroll
            for (int v = 0; v < V; v++) to[b][v] = x.lane[v];
        }
#pragma unroll
        for (int b = 0; b < B; b++)
            if (c + b * STEP < n && c + b * STEP + V > n) // the row's last vector is not whole
#pragma unroll
                for (int v = 0; v < V; v++)
                    if (c + b * STEP + v < n) to[b][v] = p[c + b * STEP + v];
    } else {
#pragma unroll
        for (int b = 0; b < B; b++)
#pragma unroll
            for (int v = 0; v < V; v++) to[b][v] = c + b * STEP + v < n ? p[c + b * STEP + v] : T(0);
    }
}

//# tb_load_strided:
// The same of elements `stride` apart.
template <int B, int STEP, int V, class T>
__device__ __forceinline__ void tb_load_strided(T (*to)[V], const T *p, long long stride, int c, int n)
{
#pragma unroll
    for (int b = 0; b < B; b++)
#pragma unroll
        for (int v = 0; v < V; v++) to[b][v] = c + b * STEP + v < n ? p[(c + b * STEP + v) * stride] : T(0);
}

//# tb_store: tb_wide
// Writes columns c + b * STEP + v of a row of n elements.
template <int B, int STEP, int V, class T>
__device__ __forceinline__ void tb_store(T *p, const T (*from)[V], int c, int n)
{
    if (tb_wide<V>(p)) {
#pragma unroll
        for (int b = 0; b < B; b++) {
            if (c + b * STEP + V <= n) {
                tb_vec<T, V> x;
#pragma unroll
                for (int v = 0; v < V; v++) x.lane[v] = from[b][v];
                *(tb_vec<T, V> *)(p + c + b * STEP) = x;
            } else {
#pragma unroll
                for (int v = 0; v < V; v++)
                    if (c + b * STEP + v < n) p[c + b * STEP + v] = from[b][v];
            }
        }
    } else {
#pragma unroll
        for (int b = 0; b < B; b++)
#pragma unroll
            for (int v = 0; v < V; v++)
                if (c + b * STEP + v < n) p[c + b * STEP + v] = from[b][v];
    }
}

//# tb_store_strided:
// The same of elements `stride` apart.
template <int B, int STEP, int V, class T>
__device__ __forceinline__ void tb_store_strided(T *p, long long stride, const T (*from)[V], int c, int n)
{
#pragma unroll
    for (int b = 0; b < B; b++)
#pragma unroll
        for (int v = 0; v < V; v++)
            if (c + b * STEP + v < n) p[(c + b * STEP + v) * stride] = from[b][v];
}

//# tb_sum:
__device__ __forceinline__ float tb_sum(float a, float b) { return a + b; }
__device__ __forceinline__ unsigned tb_sum(unsigned a, unsigned b) { return a + b; }
__device__ __forceinline__ int tb_sum(int a, int b) { return (int)((unsigned)a + (unsigned)b); }

//# tb_prod:
__device__ __forceinline__ float tb_prod(float a, float b) { return a * b; }
__device__ __forceinline__ unsigned tb_prod(unsigned a, unsigned b) { return a * b; }
__device__ __forceinline__ int tb_prod(int a, int b) { return (int)((unsigned)a * (unsigned)b); }

//# tb_quotient:
// Rounded down; 0 by 0, and the most negative number by -1 wraps to itself.
__device__ __forceinline__ unsigned tb_quotient(unsigned a, unsigned b) { return b ? a / b : 0u; }
__device__ __forceinline__ int tb_quotient(int a, int b)
{
    if (b == 0) return 0;
    if (b == -1) return (int)(0u - (unsigned)a);
    const int q = a / b;
    return q - (a - q * b != 0 && (a < 0) != (b < 0));
}

//# tb_remainder: tb_quotient
// With the sign of b; 0 by 0.
template <class T> __device__ __forceinline__ T tb_remainder(T a, T b)
{
    return b == 0 ? 0 : (T)((unsigned)a - (unsigned)tb_quotient(a, b) * (unsigned)b);
}

//# tb_combine_sum: tb_sum
// What WIDTH neighbouring threads hold, in all of them.
template <int WIDTH, class T> __device__ __forceinline__ T tb_combine_sum(T x)
{
#pragma unroll
    for (int w = WIDTH / 2; w > 0; w /= 2) x = tb_sum(x, __shfl_xor_sync(0xffffffffu, x, w));
    return x;
}

//# tb_combine_max: tb_maximum
template <int WIDTH, class T> __device__ __forceinline__ T tb_combine_max(T x)
{
#pragma unroll
    for (int w = WIDTH / 2; w > 0; w /= 2) x = tb_maximum(x, __shfl_xor_sync(0xffffffffu, x, w));
    return x;
}

//# tb_combine_min: tb_minimum
template <int WIDTH, class T> __device__ __forceinline__ T tb_combine_min(T x)
{
#pragma unroll
    for (int w = WIDTH / 2; w > 0; w /= 2) x = tb_minimum(x, __shfl_xor_sync(0xffffffffu, x, w));
    return x;
}

//# tb_combine_prod: tb_prod
template <int WIDTH, class T> __device__ __forceinline__ T tb_combine_prod(T x)
{
#pragma unroll
    for (int w = WIDTH / 2; w > 0; w /= 2) x = tb_prod(x, __shfl_xor_sync(0xffffffffu, x, w));
    return x;
}

//# tb_stage: tb_wide
// Copies a box of rows x cols elements, `stride` between its rows, to shared memory, PITCH between its rows, and fills
// the rest of ROWS x COLS with zeros. Everything is read before anything is written: THREADS threads with ids `id`.
template <int ROWS, int COLS, int PITCH, int THREADS, int V, class T>
__device__ __forceinline__ void tb_stage(T *to, const T *p, long long stride, int rows, int cols, int id)
{
    constexpr int VECTORS = COLS / V, TOTAL = ROWS * VECTORS, TURNS = (TOTAL + THREADS - 1) / THREADS;
    tb_vec<T, V> x[TURNS];
    const bool wide = tb_wide<V>(p) && stride % V == 0;
#pragma unroll
    for (int t = 0; t < TURNS; t++) {
        const int e = t * THREADS + id, r = e / VECTORS, c = e % VECTORS * V;
        const T *const row = p + r * stride;
        x[t] = {};
        if (wide && r < rows && c + V <= cols) {
            x[t] = *(const tb_vec<T, V> *)(row + c);
        } else {
#pragma unroll
            for (int v = 0; v < V; v++)
                if (r < rows && c + v < cols) x[t].lane[v] = row[c + v];
        }
    }
#pragma unroll
    for (int t = 0; t < TURNS; t++) {
        const int e = t * THREADS + id;
        if (TOTAL % THREADS == 0 || e < TOTAL)
            *(tb_vec<T, V> *)(to + e / VECTORS * PITCH + e % VECTORS * V) = x[t];
    }
}

//# tb_stage_strided:
// The same of an array whose columns are `across` apart; neighbouring threads read neighbouring rows.
template <int ROWS, int COLS, int PITCH, int THREADS, class T>
__device__ __forceinline__ void tb_stage_strided(T *to, const T *p, long long stride, long long across, int rows,
                                                 int cols, int id)
{
#pragma unroll 4
    for (int e = id; e < ROWS * COLS; e += THREADS) {
        const int r = e % ROWS, c = e / ROWS;
        to[r * PITCH + c] = r < rows && c < cols ? p[r * stride + c * across] : T(0);
    }
}

//# tb_dot: tb_vec
// acc[i][q][v] += sum over k of a[row i][k] * b[k][column (q, v)], in the order of k, U of them at a time; k is rounded
// up to that, which meets zeros. ROWS, COLS and INNER are the tiles', GROUPS and THREADS the block's, LDA and LDB the
// pitches. k never exceeds INNER; saying so in 32 bits lets whoever reads the PTX see where the loop ends.
template <int ROWS, int COLS, int INNER, int GROUPS, int THREADS, int LDA, int LDB, int U, int M, int Q, int V>
__device__ __forceinline__ void tb_dot(float (&acc)[M][Q][V], const float *a, const float *b, int k, int group,
                                       int thread)
{
    k = min(max(k, 0), INNER);
#pragma unroll 1
    for (int p = 0; p < k; p += U) {
        tb_vec<float, U> x[M];
#pragma unroll
        for (int i = 0; i < M; i++) {
            const int r = i * GROUPS + group;
            x[i] = *(const tb_vec<float, U> *)(a + (ROWS % GROUPS == 0 || r < ROWS ? r : ROWS - 1) * LDA + p);
        }
#pragma unroll
        for (int u = 0; u < U; u++) {
            tb_vec<float, V> y[Q];
#pragma unroll
            for (int q = 0; q < Q; q++) {
                const int c = (q * THREADS + thread) * V;
                const int here = COLS % (THREADS * V) == 0 || c < COLS ? c : COLS - V;
                y[q] = *(const tb_vec<float, V> *)(b + (p + u) * LDB + here);
            }
#pragma unroll
            for (int i = 0; i < M; i++)
#pragma unroll
                for (int q = 0; q < Q; q++)
#pragma unroll
                    for (int v = 0; v < V; v++) acc[i][q][v] = fmaf(x[i].lane[u], y[q].lane[v], acc[i][q][v]);
        }
    }
}
