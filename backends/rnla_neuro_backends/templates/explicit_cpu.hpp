// Primitives of the explicit kernel on one CPU core. Vectors are written out (GCC's and Clang's vector extensions),
// so speed does not hang on -ffast-math, and rows are padded to whole vectors, so there are no remainders.

#define RNLA_INLINE inline __attribute__((always_inline))
#define RNLA_FUNCTION inline
#define RNLA_RESTRICT __restrict__
#define RNLA_SIMD _Pragma("omp simd")
#define RNLA_FOR(i, n) for (int i = 0; i < (n); ++i)
#define RNLA_ONCE
#define RNLA_SYNC() ((void)0)
#define RNLA_GROUP                       // what follows is of the action layer alone, and small
#define RNLA_GROUP_SYNC() ((void)0)

constexpr int LANES = 32 / sizeof(real);
typedef real Vector __attribute__((vector_size(32), aligned(sizeof(real)), may_alias));

RNLA_INLINE Vector load(const real* x) { return *reinterpret_cast<const Vector*>(x); }
RNLA_INLINE void store(real* x, Vector v) { *reinterpret_cast<Vector*>(x) = v; }
RNLA_INLINE Vector spread(real x) { return Vector{} + x; }
typedef real Half __attribute__((vector_size(16), may_alias));
template <class V, class H> RNLA_INLINE real add_halves(V v) {
    const H* part = reinterpret_cast<const H*>(&v);
    const H h = part[0] + part[1];
    if constexpr (sizeof(H) == 2 * sizeof(real)) return h[0] + h[1];
    else return (h[0] + h[2]) + (h[1] + h[3]);
}
RNLA_INLINE real add_up(Vector v) { return add_halves<Vector, Half>(v); }

template <class T> RNLA_INLINE T sq(T x) { return x * x; }
template <class T> RNLA_INLINE T rnla_abs(T x) { return x < 0 ? -x : x; }
template <class T> RNLA_INLINE T rnla_max(T a, T b) { return a > b ? a : b; }
template <class T> RNLA_INLINE T rnla_min(T a, T b) { return a < b ? a : b; }
template <class T> RNLA_INLINE T rnla_sign(T x) { return T(x > 0) - T(x < 0); }

// exp to 1-2 units in the last place, in a form that compilers vectorise: 2^n from the bits of a sum, and a polynomial.
RNLA_INLINE double exp_part(double x, double& scale) {     // exp(x) = scale (1 + what is returned)
    constexpr double magic = 6755399441055744.0;           // 1.5 * 2^52: the low bits of x/ln 2 + magic are n
    const double t = x * 1.4426950408889634 + magic, n = t - magic;
    const double r = (x - n * 0.693147180369123816490) - n * 1.90821492927058770002e-10;
    // 1/2! + r/3! + … + r^11/13!, in pairs: a chain of 5 products instead of 11
    const double s = r * r, q = s * s;
    const double a = (0.5 + r * 1.6666666666666666e-01) + s * (4.1666666666666664e-02 + r * 8.333333333333333e-03);
    const double b = (1.388888888888889e-03 + r * 1.984126984126984e-04) + s * (2.48015873015873e-05 + r * 2.7557319223985893e-06);
    const double c = (2.755731922398589e-07 + r * 2.505210838544172e-08) + s * (2.08767569878681e-09 + r * 1.6059043836821613e-10);
    const double p = a + q * (b + q * c);
    const int64_t bits = (__builtin_bit_cast(int64_t, t) << 52) + 0x3ff0000000000000LL;
    scale = __builtin_bit_cast(double, bits);
    return r + s * p;
}
RNLA_INLINE float exp_part(float x, float& scale) {
    constexpr float magic = 12582912.0f;                   // 1.5 * 2^23
    const float t = x * 1.44269504f + magic, n = t - magic;
    const float r = (x - n * 0.693145751953125f) - n * 1.428606765330187e-06f;
    float p = 1.98412698e-04f;
    p = p * r + 1.38888889e-03f;
    p = p * r + 8.33333333e-03f;
    p = p * r + 4.16666667e-02f;
    p = p * r + 1.66666667e-01f;
    p = p * r + 0.5f;
    const int32_t bits = int32_t((uint32_t(__builtin_bit_cast(int32_t, t)) << 23) + 0x3f800000u);
    scale = __builtin_bit_cast(float, bits);
    return r + r * r * p;
}
template <class T> struct Range;
template <> struct Range<double> { static constexpr double low = -708.0, high = 709.0, flat = 22.0; };
template <> struct Range<float> { static constexpr float low = -87.0f, high = 88.0f, flat = 10.0f; };

template <class T> RNLA_INLINE T rnla_exp(T x) {
    const T low = Range<T>::low, high = Range<T>::high;
    T scale, y = x < low ? low : x;
    y = y > high ? high : y;
    const T p = exp_part(y, scale);
    const T v = scale + scale * p;
    return x < low ? T(0) : v;
}
template <class T> RNLA_INLINE T rnla_tanh(T x) {
    const T flat = Range<T>::flat;
    T scale, y = x < 0 ? -x : x;
    y = y > flat ? flat : y;
    const T p = exp_part(2 * y, scale);
    const T more = scale * p + (scale - 1);                // exp(2 y) - 1, exact near 0
    const T v = more / (more + 2);
    return x < 0 ? -v : v;
}

// In float32: x P(x^2)/Q(x^2) to 3 units in the last place. Its two polynomials run side by side, half the work of exp.
// Bounds are taken on the bits, which order numbers of one sign as their values do: that is one instruction a vector.
RNLA_INLINE float rnla_tanh(float x) {
    const int32_t bits = __builtin_bit_cast(int32_t, x), sign = bits & int32_t(0x80000000u);
    const float y = __builtin_bit_cast(float, rnla_min(bits & 0x7fffffff, 0x41100000));      // |x|, at most 9
    const float t = y * y;
    float p = 1.3354777613621477e-08f, q = 7.776608575242663e-07f;
    p = p * t + 2.060917513460565e-05f;  q = q * t + 3.285644369361815e-04f;
    p = p * t + 3.4955941064717467e-03f; q = q * t + 2.5877005250745645e-02f;
    p = p * t + 1.338103076883958e-01f;  q = q * t + 4.671434636459821e-01f;
    p = p * t + 1.0f;                    q = q * t + 1.0f;
    const int32_t v = __builtin_bit_cast(int32_t, y * p / q);
    return __builtin_bit_cast(float, rnla_min(v, 0x3f800000) | sign);                        // at most 1
}

template <int N> RNLA_INLINE real largest(const real* x) {   // largest |x|; what is not a number is overlooked
    real v = 0;
    int i = 0;
    if constexpr (N >= LANES) {
        Vector top{};
        for (; i + LANES <= N; i += LANES) {
            const Vector y = load(x + i), a = y < -y ? -y : y;
            top = a > top ? a : top;
        }
        for (int k = 0; k < LANES; ++k) v = rnla_max(v, top[k]);
    }
    for (; i < N; ++i) v = rnla_max(v, rnla_abs(x[i]));
    return v;
}
template <int N> RNLA_INLINE real group_max(const real* x) {
    real v = x[0];
    for (int i = 1; i < N; ++i) v = rnla_max(v, x[i]);
    return v;
}
template <int N> RNLA_INLINE real group_sum(const real* x) {
    real v = 0;
    for (int i = 0; i < N; ++i) v += x[i];
    return v;
}

// y = W x; W has POST rows of length ROW, x is as long as a row.
template <int POST, int ROW> RNLA_INLINE void matvec(const real* RNLA_RESTRICT W, const real* RNLA_RESTRICT x, real* RNLA_RESTRICT y) {
    int i = 0;
    for (; i + 4 <= POST; i += 4) {
        const real *a = W + long(i) * ROW, *b = a + ROW, *c = b + ROW, *d = c + ROW;
        Vector va{}, vb{}, vc{}, vd{};
        for (int j = 0; j < ROW; j += LANES) {
            const Vector v = load(x + j);
            va += load(a + j) * v; vb += load(b + j) * v; vc += load(c + j) * v; vd += load(d + j) * v;
        }
        y[i] = add_up(va); y[i + 1] = add_up(vb); y[i + 2] = add_up(vc); y[i + 3] = add_up(vd);
    }
    for (; i + 2 <= POST; i += 2) {
        const real *a = W + long(i) * ROW, *b = a + ROW;
        Vector va{}, vb{};
        for (int j = 0; j < ROW; j += LANES) {
            const Vector v = load(x + j);
            va += load(a + j) * v; vb += load(b + j) * v;
        }
        y[i] = add_up(va); y[i + 1] = add_up(vb);
    }
    for (; i < POST; ++i) {
        const real* a = W + long(i) * ROW;
        Vector va{}, vb{};
        int j = 0;
        for (; j + 2 * LANES <= ROW; j += 2 * LANES) { va += load(a + j) * load(x + j); vb += load(a + j + LANES) * load(x + j + LANES); }
        for (; j < ROW; j += LANES) va += load(a + j) * load(x + j);
        y[i] = add_up(va + vb);
    }
}

// y = W^T e, as long as a row.
template <int POST, int ROW>
RNLA_INLINE void matvec_transposed(const real* RNLA_RESTRICT W, const real* RNLA_RESTRICT e, real* RNLA_RESTRICT y) {
    if (POST <= 16) {                    // few rows: each column is summed in registers
        for (int j = 0; j < ROW; j += LANES) {
            Vector v{};
            for (int i = 0; i < POST; ++i) v += spread(e[i]) * load(W + long(i) * ROW + j);
            store(y + j, v);
        }
        return;
    }
    for (int j = 0; j < ROW; j += LANES) store(y + j, Vector{});
    int i = 0;
    for (; i + 4 <= POST; i += 4) {
        const real *a = W + long(i) * ROW, *b = a + ROW, *c = b + ROW, *d = c + ROW;
        const Vector ea = spread(e[i]), eb = spread(e[i + 1]), ec = spread(e[i + 2]), ed = spread(e[i + 3]);
        for (int j = 0; j < ROW; j += LANES)
            store(y + j, load(y + j) + (ea * load(a + j) + eb * load(b + j)) + (ec * load(c + j) + ed * load(d + j)));
    }
    for (; i < POST; ++i) {
        const real* a = W + long(i) * ROW;
        const Vector ea = spread(e[i]);
        for (int j = 0; j < ROW; j += LANES) store(y + j, load(y + j) + ea * load(a + j));
    }
}

// Both in one pass over W: y = W x and back = W^T e.
template <int POST, int ROW>
RNLA_INLINE void matvec_both(const real* RNLA_RESTRICT W, const real* RNLA_RESTRICT x, const real* RNLA_RESTRICT e, real* RNLA_RESTRICT y,
                             real* RNLA_RESTRICT back) {
    for (int j = 0; j < ROW; j += LANES) store(back + j, Vector{});
    int i = 0;
    for (; i + 4 <= POST; i += 4) {
        const real *a = W + long(i) * ROW, *b = a + ROW, *c = b + ROW, *d = c + ROW;
        const Vector ea = spread(e[i]), eb = spread(e[i + 1]), ec = spread(e[i + 2]), ed = spread(e[i + 3]);
        Vector va{}, vb{}, vc{}, vd{};
        for (int j = 0; j < ROW; j += LANES) {
            const Vector v = load(x + j), wa = load(a + j), wb = load(b + j), wc = load(c + j), wd = load(d + j);
            va += wa * v; vb += wb * v; vc += wc * v; vd += wd * v;
            store(back + j, load(back + j) + (ea * wa + eb * wb) + (ec * wc + ed * wd));
        }
        y[i] = add_up(va); y[i + 1] = add_up(vb); y[i + 2] = add_up(vc); y[i + 3] = add_up(vd);
    }
    for (; i < POST; ++i) {
        const real* a = W + long(i) * ROW;
        const Vector ea = spread(e[i]);
        Vector va{};
        for (int j = 0; j < ROW; j += LANES) {
            const Vector wa = load(a + j);
            va += wa * load(x + j);
            store(back + j, load(back + j) + ea * wa);
        }
        y[i] = add_up(va);
    }
}

// Traces z (T matrices) <- carry z + sum_c a[c] pre[c]^T; with gains, w += sum gain z in the same pass, and z = 0 where
// reset. a[c] is (T, POST), pre[c] a row.
template <int T, int POST, int ROW>
RNLA_INLINE void rank_update(real* RNLA_RESTRICT z, real* RNLA_RESTRICT w, const double* carry, int count, const real* RNLA_RESTRICT a,
                             const real* RNLA_RESTRICT pre, const double* gain, const bool* reset) {
    constexpr int TILE = 2;              // vectors of a row that are kept in registers for
    constexpr int ROWS = T == 1 ? 4 : 2; // so many rows at a time
    real keep[T * T], grow[T];
    for (int k = 0; k < T * T; ++k) keep[k] = real(carry[k]);
    for (int k = 0; k < T; ++k) grow[k] = gain ? real(gain[k]) : real(0);
    auto block = [&](int i, int j, auto rows_, auto tile_) {
        constexpr int R = decltype(rows_)::value, V = decltype(tile_)::value;
        Vector v[T][R][V];
        for (int k = 0; k < T; ++k)
            for (int r = 0; r < R; ++r)
                for (int q = 0; q < V; ++q) v[k][r][q] = Vector{};
        for (int l = 0; l < T; ++l)
            for (int r = 0; r < R; ++r)
                for (int q = 0; q < V; ++q) {
                    const Vector old = load(z + (long(l) * POST + i + r) * ROW + j + q * LANES);
                    for (int k = 0; k < T; ++k) v[k][r][q] += spread(keep[k * T + l]) * old;
                }
        for (int c = 0; c < count; ++c) {
            Vector x[V];
            for (int q = 0; q < V; ++q) x[q] = load(pre + long(c) * ROW + j + q * LANES);
            const real* f = a + long(c) * T * POST + i;
            for (int k = 0; k < T; ++k)
                for (int r = 0; r < R; ++r) {
                    const Vector e = spread(f[k * POST + r]);
                    for (int q = 0; q < V; ++q) v[k][r][q] += e * x[q];
                }
        }
        for (int r = 0; r < R; ++r)
            for (int q = 0; q < V; ++q) {
                if (gain) {
                    real* at = w + long(i + r) * ROW + j + q * LANES;
                    Vector sum = load(at);
                    for (int k = 0; k < T; ++k) sum += spread(grow[k]) * v[k][r][q];
                    store(at, sum);
                }
                for (int k = 0; k < T; ++k)
                    store(z + (long(k) * POST + i + r) * ROW + j + q * LANES, gain && reset[k] ? Vector{} : v[k][r][q]);
            }
    };
    auto rows = [&](int i, auto rows_) {
        int j = 0;
        for (; j + TILE * LANES <= ROW; j += TILE * LANES) block(i, j, rows_, std::integral_constant<int, TILE>{});
        for (; j < ROW; j += LANES) block(i, j, rows_, std::integral_constant<int, 1>{});
    };
    int i = 0;
    for (; i + ROWS <= POST; i += ROWS) rows(i, std::integral_constant<int, ROWS>{});
    for (; i < POST; ++i) rows(i, std::integral_constant<int, 1>{});
}
