// Primitives of the general kernel on one CPU core, beside those of explicit_cpu.hpp. Weights and traces have a row for
// each presynaptic neuron, the bias unit last: a spike adds one row.

// Which neurons spiked, in their order.
template <int N> RNLA_INLINE void collect(const int32_t* marks, int32_t* list, int32_t* count) {
    int found = 0;
    for (int i = 0; i < N; ++i) {
        list[found] = i;
        found += marks[i];
    }
    *count = found;
}

// y <- keep y + raise (the rows of the neurons that spiked).
template <int ROW>
RNLA_INLINE void decay_and_add(const real* RNLA_RESTRICT W, const int32_t* list, int count, real keep, real raise, real* RNLA_RESTRICT y) {
    const Vector d = spread(keep), c = spread(raise);
    int k = 0;
    if (count >= 4) {
        const real *a0 = W + long(list[0]) * ROW, *a1 = W + long(list[1]) * ROW, *a2 = W + long(list[2]) * ROW, *a3 = W + long(list[3]) * ROW;
        for (int j = 0; j < ROW; j += LANES)
            store(y + j, d * load(y + j) + c * ((load(a0 + j) + load(a1 + j)) + (load(a2 + j) + load(a3 + j))));
        k = 4;
    } else {
        for (int j = 0; j < ROW; j += LANES) store(y + j, d * load(y + j));
    }
    for (; k + 4 <= count; k += 4) {
        const real *a0 = W + long(list[k]) * ROW, *a1 = W + long(list[k + 1]) * ROW, *a2 = W + long(list[k + 2]) * ROW, *a3 = W + long(list[k + 3]) * ROW;
        for (int j = 0; j < ROW; j += LANES)
            store(y + j, load(y + j) + c * ((load(a0 + j) + load(a1 + j)) + (load(a2 + j) + load(a3 + j))));
    }
    for (; k < count; ++k) {
        const real* a0 = W + long(list[k]) * ROW;
        for (int j = 0; j < ROW; j += LANES) store(y + j, load(y + j) + c * load(a0 + j));
    }
}

// One row of the traces: what is carried over, what is added, and the weights in the same pass.
template <int T, int V>
RNLA_INLINE void trace_row(real* const* z, real* w, const real* keep, const real* grow, const bool* reset, Vector (&v)[T][V]) {
    for (int l = 0; l < T; ++l)
        for (int q = 0; q < V; ++q) {
            const Vector old = load(z[l] + q * LANES);
            for (int k = 0; k < T; ++k) v[k][q] += spread(keep[k * T + l]) * old;
        }
    if (w)
        for (int q = 0; q < V; ++q) {
            Vector sum = load(w + q * LANES);
            for (int k = 0; k < T; ++k) sum += spread(grow[k]) * v[k][q];
            store(w + q * LANES, sum);
        }
    for (int k = 0; k < T; ++k)
        for (int q = 0; q < V; ++q) store(z[k] + q * LANES, w && reset[k] ? Vector{} : v[k][q]);
}

template <int T, int PRE1, int ROW, class Fill>
RNLA_INLINE void all_rows(real* RNLA_RESTRICT z, real* RNLA_RESTRICT w, const double* carry, const double* gain, const bool* reset, Fill fill) {
    constexpr int TILE = T == 1 ? 8 : T == 2 ? 4 : 2;       // vectors of a row that stay in registers
    real keep[T * T], grow[T];
    for (int k = 0; k < T * T; ++k) keep[k] = real(carry[k]);
    for (int k = 0; k < T; ++k) grow[k] = gain ? real(gain[k]) : real(0);
    auto tile = [&](int at, auto tile_) {
        constexpr int V = decltype(tile_)::value;
        for (int j = 0; j < PRE1; ++j) {
            Vector v[T][V];
            for (int k = 0; k < T; ++k)
                for (int q = 0; q < V; ++q) v[k][q] = Vector{};
            fill(j, at, v);
            real* rows[T];
            for (int k = 0; k < T; ++k) rows[k] = z + (long(k) * PRE1 + j) * ROW + at;
            trace_row<T, V>(rows, gain ? w + long(j) * ROW + at : nullptr, keep, grow, reset, v);
        }
    };
    int at = 0;
    for (; at + TILE * LANES <= ROW; at += TILE * LANES) tile(at, std::integral_constant<int, TILE>{});
    for (; at < ROW; at += LANES) tile(at, std::integral_constant<int, 1>{});
}

// Traces z (T matrices) <- carry z + sum_c pre[c] post[c]; with gains, w += sum gain z in the same pass, and z = 0 where
// reset. post[c] is (T, ROW), pre[c] is (SENT).
template <int T, int PRE1, int SENT, int ROW>
RNLA_INLINE void factor_rows(real* RNLA_RESTRICT z, real* RNLA_RESTRICT w, const double* carry, int count, const real* RNLA_RESTRICT post,
                             const real* RNLA_RESTRICT pre, const double* gain, const bool* reset) {
    all_rows<T, PRE1, ROW>(z, w, carry, gain, reset, [&](int j, int at, auto& v) {
        constexpr int V = sizeof(v[0]) / sizeof(Vector);
        for (int c = 0; c < count; ++c) {
            const Vector x = spread(pre[long(c) * SENT + j]);
            for (int k = 0; k < T; ++k)
                for (int q = 0; q < V; ++q) v[k][q] += x * load(post + (long(c) * T + k) * ROW + at + q * LANES);
        }
    });
}

// The same where the presynaptic factor is a + b s of a filtered spike train: row j gets a total + b s[j] post[0], and
// for each of its spikes (begins[j] to begins[j + 1]) a coefficient times post[slot]. The last row is the bias unit's.
template <int T, int PRE, int ROW>
RNLA_INLINE void train_rows(real* RNLA_RESTRICT z, real* RNLA_RESTRICT w, const double* carry, int count, const real* RNLA_RESTRICT post,
                            const real* RNLA_RESTRICT total, const real* RNLA_RESTRICT s, real a, real b, real bias, const int32_t* begins,
                            const int32_t* slots, const real* coefficient, const double* gain, const bool* reset) {
    all_rows<T, PRE + 1, ROW>(z, w, carry, gain, reset, [&](int j, int at, auto& v) {
        constexpr int V = sizeof(v[0]) / sizeof(Vector);
        if (count == 0) return;
        const real every = j < PRE ? a : bias, first = j < PRE ? b * s[j] : real(0);
        for (int k = 0; k < T; ++k)
            for (int q = 0; q < V; ++q)
                v[k][q] += spread(every) * load(total + k * ROW + at + q * LANES) + spread(first) * load(post + k * ROW + at + q * LANES);
        if (j == PRE) return;
        for (int e = begins[j]; e < begins[j + 1]; ++e) {
            const Vector x = spread(coefficient[e]);
            const real* from = post + long(slots[e]) * T * ROW + at;
            for (int k = 0; k < T; ++k)
                for (int q = 0; q < V; ++q) v[k][q] += x * load(from + k * ROW + q * LANES);
        }
    });
}
