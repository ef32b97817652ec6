// Primitives of the explicit kernel on a CUDA device. One agent is one block of RNLA_THREADS threads (whole warps).
//
// What the kernel's text keeps to, so that no thread reads what another is still writing:
//  1. All threads of a block call a primitive together, with the same arguments, and so do they reach RNLA_SYNC:
//     whatever the flow depends on has the same value in each of them.
//  2. Between the writing of a vector (also with RNLA_FOR, RNLA_ONCE or by a primitive) and its reading by a
//     primitive, or by another index of RNLA_FOR, there is an RNLA_SYNC; and one between its last reading and the
//     next writing. The same index of two RNLA_FOR over vectors of one length is the same thread.
//  3. Primitives do not synchronise the block. Reductions return the same bits to every thread: each warp forms
//     them for itself, in one order.
//  4. RNLA_GROUP is for the action layer. Where it is no larger than a warp, the first warp works alone, and waits
//     within itself (RNLA_GROUP_SYNC): its softmaxes would otherwise be most of what a block waits for.
//  5. A value in memory that steers the flow is read between two RNLA_SYNC in which nobody writes it.
//
// tests/conformance/cuda_emulation.hpp runs this very text on a CPU, in any order of threads, and under the thread
// sanitizer, which finds what breaks these rules.

#define RNLA_INLINE static __device__ __forceinline__
#define RNLA_FUNCTION static __device__ inline
#define RNLA_RESTRICT   /* other threads write what is read after RNLA_SYNC: nothing may be kept in a register */
#define RNLA_SIMD
#define RNLA_FOR(i, n) for (int i = threadIdx.x; i < (n); i += RNLA_THREADS)
#define RNLA_ONCE if (threadIdx.x == 0)
#define RNLA_SYNC() __syncthreads()
#define RNLA_GROUP if (N_OUT > WARP || threadIdx.x < WARP)
#define RNLA_GROUP_SYNC() group_sync<N_OUT>()

// The emulation brings its own.
#ifndef RNLA_DYNAMIC_SHARED
#define RNLA_DYNAMIC_SHARED(name) extern __shared__ __align__(16) unsigned char name[]
#define RNLA_LAUNCH(kernel, grid, threads, shared, ...) kernel<<<grid, threads, shared>>>(__VA_ARGS__)
#endif

constexpr int WARP = 32, WARPS = RNLA_THREADS / WARP;
constexpr unsigned ALL_LANES = 0xffffffffu;
static_assert(RNLA_THREADS % WARP == 0 && RNLA_THREADS > 0 && RNLA_THREADS <= 1024, "whole warps");

template <int N> RNLA_INLINE void group_sync() {
    if (N > WARP) __syncthreads();
    else __syncwarp();
}

template <class T> RNLA_INLINE T sq(T x) { return x * x; }
template <class T> RNLA_INLINE T rnla_abs(T x) { return x < 0 ? -x : x; }
template <class T> RNLA_INLINE T rnla_max(T a, T b) { return a > b ? a : b; }
template <class T> RNLA_INLINE T rnla_min(T a, T b) { return a < b ? a : b; }
template <class T> RNLA_INLINE T rnla_sign(T x) { return T(x > 0) - T(x < 0); }

// With the limits of the CPU's forms: exp neither overflows nor becomes a subnormal number.
RNLA_INLINE double rnla_exp(double x) { return x < -708.0 ? 0.0 : exp(x > 709.0 ? 709.0 : x); }
RNLA_INLINE float rnla_exp(float x) { return x < -87.0f ? 0.0f : expf(x > 88.0f ? 88.0f : x); }
RNLA_INLINE double rnla_tanh(double x) { return tanh(x); }
RNLA_INLINE float rnla_tanh(float x) { return tanhf(x); }

// ---- reductions: the same bits in every thread ------------------------------------------------------------------
template <class F> RNLA_INLINE real over_lanes(real v, F join) {
    for (int bit = WARP / 2; bit > 0; bit /= 2) v = join(v, __shfl_xor_sync(ALL_LANES, v, bit));
    return v;
}

struct Larger { __device__ __forceinline__ real operator()(real a, real b) const { return b > a || b != b ? b : a; } };
struct Maximum { __device__ __forceinline__ real operator()(real a, real b) const { return a > b ? a : b; } };
struct Sum { __device__ __forceinline__ real operator()(real a, real b) const { return a + b; } };

template <int N> RNLA_INLINE real largest(const real* x) {       // largest |x|; not a number where one is none
    real v = 0;
    for (int i = threadIdx.x % WARP; i < N; i += WARP) v = Larger()(v, rnla_abs(x[i]));
    return over_lanes(v, Larger());
}
template <int N> RNLA_INLINE real group_max(const real* x) {
    real v = x[0];
    for (int i = threadIdx.x % WARP; i < N; i += WARP) v = Maximum()(v, x[i]);
    return over_lanes(v, Maximum());
}
template <int N> RNLA_INLINE real group_sum(const real* x) {
    real v = 0;
    for (int i = threadIdx.x % WARP; i < N; i += WARP) v += x[i];
    return over_lanes(v, Sum());
}

// ---- products ---------------------------------------------------------------------------------------------------
// Sums of G rows over the lanes of a warp at once: at each exchange a lane gives half of its sums away. The sum of
// row r is returned to the lanes r * (WARP / G) and following. One shuffle a row, where a row alone takes five.
template <int G> RNLA_INLINE real add_rows(real (&v)[G]) {
    const int lane = threadIdx.x % WARP;
    int bit = WARP / 2;
#pragma unroll
    for (int n = G / 2; n > 0; n /= 2, bit /= 2) {
        const bool upper = lane & bit;
#pragma unroll
        for (int k = 0; k < n; ++k) {
            const real given = upper ? v[k] : v[k + n], kept = upper ? v[k + n] : v[k];
            v[k] = kept + __shfl_xor_sync(ALL_LANES, given, bit);
        }
    }
    for (; bit > 0; bit /= 2) v[0] += __shfl_xor_sync(ALL_LANES, v[0], bit);
    return v[0];
}

// y = W x; W has POST rows of length ROW, x is as long as a row. A warp takes G rows at a time: as many as leave work
// for every warp.
template <int POST, int ROW> RNLA_INLINE void matvec(const real* W, const real* x, real* y) {
    constexpr int G = POST >= 8 * WARPS ? 8 : POST >= 4 * WARPS ? 4 : POST >= 2 * WARPS ? 2 : 1;
    const int lane = threadIdx.x % WARP;
    for (int first = threadIdx.x / WARP * G; first < POST; first += WARPS * G) {
        real v[G] = {};
        const real* rows[G];
#pragma unroll
        for (int r = 0; r < G; ++r) rows[r] = W + long(first + r < POST ? first + r : POST - 1) * ROW;
#pragma unroll 4
        for (int j = lane; j < ROW; j += WARP) {
            const real value = x[j];
#pragma unroll
            for (int r = 0; r < G; ++r) v[r] += rows[r][j] * value;
        }
        const real sum = add_rows<G>(v);
        const int row = first + lane / (WARP / G);
        if (lane % (WARP / G) == 0 && row < POST) y[row] = sum;
    }
}

// y = W^T e, as long as a row: a thread a column, so that neighbours read neighbours.
template <int POST, int ROW> RNLA_INLINE void matvec_transposed(const real* W, const real* e, real* y) {
    RNLA_FOR(j, ROW) {
        real even = 0, odd = 0;
        const real* w = W + j;
        int i = 0;
#pragma unroll 8
        for (; i + 2 <= POST; i += 2, w += 2 * ROW) {
            even += e[i] * w[0];
            odd += e[i + 1] * w[ROW];
        }
        if (i < POST) even += e[i] * w[0];
        y[j] = even + odd;
    }
}

// Both: y = W x and back = W^T e.
template <int POST, int ROW>
RNLA_INLINE void matvec_both(const real* W, const real* x, const real* e, real* y, real* back) {
    matvec<POST, ROW>(W, x, y);
    matvec_transposed<POST, ROW>(W, e, back);
}

// Traces z (T matrices) <- carry z + sum_c a[c] pre[c]^T; with gains, w += sum gain z in the same pass, and z = 0 where
// reset. a[c] is (T, POST), pre[c] a row. A thread takes one column of a few rows.
template <int T, int POST, int ROW>
RNLA_INLINE void rank_update(real* z, real* w, const double* carry, int count, const real* a, const real* pre, const double* gain,
                             const bool* reset) {
    constexpr int R = T == 1 ? 4 : 2, TILES = (POST + R - 1) / R;
    RNLA_FOR(tile, TILES * ROW) {
        const int j = tile % ROW, i = tile / ROW * R;
        real v[T][R];
#pragma unroll
        for (int k = 0; k < T; ++k)
#pragma unroll
            for (int r = 0; r < R; ++r) {
                v[k][r] = 0;
#pragma unroll
                for (int l = 0; l < T; ++l)
                    if (i + r < POST) v[k][r] += real(carry[k * T + l]) * z[(long(l) * POST + i + r) * ROW + j];
            }
#pragma unroll 4
        for (int c = 0; c < count; ++c) {
            const real x = pre[long(c) * ROW + j];
            const real* f = a + long(c) * T * POST + i;
#pragma unroll
            for (int k = 0; k < T; ++k)
#pragma unroll
                for (int r = 0; r < R; ++r)
                    if (i + r < POST) v[k][r] += f[k * POST + r] * x;
        }
#pragma unroll
        for (int r = 0; r < R; ++r) {
            if (i + r >= POST) continue;
            if (gain) {
                real* at = w + long(i + r) * ROW + j;
                real sum = *at;
#pragma unroll
                for (int k = 0; k < T; ++k) sum += real(gain[k]) * v[k][r];
                *at = sum;
            }
#pragma unroll
            for (int k = 0; k < T; ++k)
                z[(long(k) * POST + i + r) * ROW + j] = gain && reset[k] ? real(0) : v[k][r];
        }
    }
}
