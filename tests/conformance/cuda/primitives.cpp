// The primitives of explicit_cuda.hpp against plain loops, for sizes around those of a warp and of a block of threads.
#include "cuda_emulation.hpp"

#include <limits>
#include <random>

#define RNLA_THREADS THREADS
using real = REAL;
#include "explicit_cuda.hpp"

constexpr real NAN_ = std::numeric_limits<real>::quiet_NaN();
static std::mt19937 generator(1);
static int failures = 0;

static void expect(const char* what, int post, int row, const std::vector<real>& found, const std::vector<real>& exact) {
    real error = 0, scale = 0;
    for (std::size_t k = 0; k < exact.size(); ++k) {
        const real off = std::fabs(found[k] - exact[k]);
        error = off <= error ? error : off;  // also where it is not a number
        scale = std::max(scale, std::fabs(exact[k]));
    }
    if (error <= 40 * std::numeric_limits<real>::epsilon() * (scale + 1)) return;
    std::printf("%s %dx%d: off by %g\n", what, post, row, double(error));
    ++failures;
}

template <class T>
struct OnDevice {
    T* at = nullptr;
    std::size_t size;
    explicit OnDevice(const std::vector<T>& values) : size(values.size()) {
        cudaMalloc(&at, size * sizeof(T));
        cudaMemcpy(at, values.data(), size * sizeof(T), cudaMemcpyHostToDevice);
    }
    ~OnDevice() { cudaFree(at); }
    std::vector<T> get() const {
        std::vector<T> values(size);
        cudaMemcpy(values.data(), at, size * sizeof(T), cudaMemcpyDeviceToHost);
        return values;
    }
};

static std::vector<real> draw(std::size_t n) {
    std::vector<real> values(n);
    std::normal_distribution<double> normal;
    for (real& v : values) v = real(normal(generator));
    return values;
}

template <int POST, int ROW>
__global__ void products(const real* W, const real* x, const real* e, real* y, real* back, real* y2, real* back2) {
    matvec<POST, ROW>(W, x, y);
    matvec_transposed<POST, ROW>(W, e, back);
    matvec_both<POST, ROW>(W, x, e, y2, back2);
}

template <int N>
__global__ void reductions(const real* x, real* out) {  // every thread must have got the same
    const real all[3] = {largest<N>(x), group_max<N>(x), group_sum<N>(x)};
    for (int k = 0; k < 3; ++k) out[k * RNLA_THREADS + threadIdx.x] = all[k];
}

template <int T, int POST, int ROW>
__global__ void update(real* z, real* w, const double* carry, int count, const real* a, const real* pre, const double* gain,
                       const bool* reset, int events) {
    rank_update<T, POST, ROW>(z, w, carry, count, a, pre, events ? gain : nullptr, reset);
}

template <int POST, int ROW>
static void check_products() {
    const auto W = draw(POST * ROW), x = draw(ROW), e = draw(POST);
    std::vector<real> y(POST), back(ROW);
    for (int i = 0; i < POST; ++i)
        for (int j = 0; j < ROW; ++j) y[i] += W[i * ROW + j] * x[j], back[j] += W[i * ROW + j] * e[i];
    OnDevice<real> dW(W), dx(x), de(e), y1(y), b1(back), y2(y), b2(back);
    for (auto* out : {&y1, &y2, &b1, &b2}) cudaMemset(out->at, 0xff, out->size * sizeof(real));
    RNLA_LAUNCH((products<POST, ROW>), 1, RNLA_THREADS, 0, (const real*)dW.at, (const real*)dx.at, (const real*)de.at, y1.at, b1.at, y2.at, b2.at);
    expect("matvec", POST, ROW, y1.get(), y);
    expect("matvec_transposed", POST, ROW, b1.get(), back);
    expect("matvec_both, forward", POST, ROW, y2.get(), y);
    expect("matvec_both, back", POST, ROW, b2.get(), back);
}

template <int N>
static void check_reductions() {
    auto x = draw(N);
    real greatest = x[0], sum = 0, size = 0;
    for (real v : x) greatest = std::max(greatest, v), sum += v, size = std::max(size, std::fabs(v));
    OnDevice<real> dx(x), out(std::vector<real>(3 * RNLA_THREADS));
    RNLA_LAUNCH(reductions<N>, 1, RNLA_THREADS, 0, (const real*)dx.at, out.at);
    const auto found = out.get();
    std::vector<real> exact;
    for (real v : {size, greatest, sum}) exact.insert(exact.end(), RNLA_THREADS, v);
    expect("reductions", N, 1, found, exact);
    for (int k = 0; k < 3 * RNLA_THREADS; ++k)  // to the bit: the flow depends on it
        if (found[k] != found[k / RNLA_THREADS * RNLA_THREADS]) std::printf("thread %d has another result\n", k), ++failures;
    x[N / 2] = NAN_;
    OnDevice<real> broken(x);
    RNLA_LAUNCH(reductions<N>, 1, RNLA_THREADS, 0, (const real*)broken.at, out.at);
    if (out.get()[0] == out.get()[0]) std::printf("largest<%d> hides what is not a number\n", N), ++failures;
}

template <int T, int POST, int ROW>
static void check_update(int count, bool events) {
    auto z = draw(T * POST * ROW), w = draw(POST * ROW);
    const auto a = draw(std::max(1, count * T * POST)), pre = draw(std::max(1, count * ROW));
    std::vector<double> carry(T * T), gain(T);
    for (int k = 0; k < T * T; ++k) carry[k] = draw(1)[0];
    for (int k = 0; k < T; ++k) gain[k] = draw(1)[0];
    bool reset[3] = {false, true, true};
    OnDevice<real> dz(z), dw(w), da(a), dpre(pre);
    OnDevice<double> dcarry(carry), dgain(gain);
    RNLA_LAUNCH((update<T, POST, ROW>), 1, RNLA_THREADS, 0, dz.at, dw.at, (const double*)dcarry.at, count, (const real*)da.at,
                (const real*)dpre.at, (const double*)dgain.at, (const bool*)reset, int(events));
    std::vector<real> fresh(z.size());
    for (int k = 0; k < T; ++k)
        for (int i = 0; i < POST; ++i)
            for (int j = 0; j < ROW; ++j) {
                real v = 0;
                for (int l = 0; l < T; ++l) v += real(carry[k * T + l]) * z[(l * POST + i) * ROW + j];
                for (int c = 0; c < count; ++c) v += a[(c * T + k) * POST + i] * pre[c * ROW + j];
                if (events) w[i * ROW + j] += real(gain[k]) * v;
                fresh[(k * POST + i) * ROW + j] = events && reset[k] ? real(0) : v;
            }
    expect("rank_update, traces", POST, ROW, dz.get(), fresh);
    expect("rank_update, weights", POST, ROW, dw.get(), w);
}

int main() {
    check_products<1, 8>(), check_products<3, 8>(), check_products<10, 104>(), check_products<31, 32>();
    check_products<33, 40>(), check_products<64, 72>(), check_products<65, 64>(), check_products<300, 24>();
    check_reductions<1>(), check_reductions<2>(), check_reductions<31>(), check_reductions<32>(), check_reductions<33>();
    check_reductions<100>();
    check_update<1, 1, 8>(1, true), check_update<1, 7, 8>(5, false), check_update<2, 5, 40>(3, true);
    check_update<3, 6, 16>(9, true), check_update<1, 67, 72>(0, true), check_update<2, 3, 8>(0, false);
    std::printf("%d failures\n", failures);
    return failures != 0;
}
