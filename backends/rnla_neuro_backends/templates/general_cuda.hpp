// Primitives of the general kernel on a CUDA device, beside those of explicit_cuda.hpp, whose rules they keep.

// Which neurons spiked, in their order: the first warp counts.
template <int N> RNLA_INLINE void collect(const int32_t* marks, int32_t* list, int32_t* count) {
    if (threadIdx.x < WARP) {
        const int lane = threadIdx.x;
        int found = 0;
        for (int first = 0; first < N; first += WARP) {
            const int i = first + lane, fires = i < N ? marks[i] : 0;
            int before = fires;                              // how many up to this lane
            for (int bit = 1; bit < WARP; bit *= 2) {
                const int other = __shfl_sync(ALL_LANES, before, lane >= bit ? lane - bit : lane);
                if (lane >= bit) before += other;
            }
            if (fires) list[found + before - 1] = i;
            found += __shfl_sync(ALL_LANES, before, WARP - 1);
        }
        if (lane == 0) *count = found;
    }
}

// y <- keep y + raise (the rows of the neurons that spiked): a thread a column.
template <int ROW>
RNLA_INLINE void decay_and_add(const real* W, const int32_t* list, int count, real keep, real raise, real* y) {
    RNLA_FOR(j, ROW) {
        real sum = 0;
        for (int k = 0; k < count; ++k) sum += W[long(list[k]) * ROW + j];
        y[j] = keep * y[j] + raise * sum;
    }
}

template <int T, int PRE1, int ROW, class Fill>
RNLA_INLINE void all_rows(real* z, real* w, const double* carry, const double* gain, const bool* reset, Fill fill) {
    RNLA_FOR(at, PRE1 * ROW) {
        real v[T];
        for (int k = 0; k < T; ++k) {
            v[k] = 0;
            for (int l = 0; l < T; ++l) v[k] += real(carry[k * T + l]) * z[long(l) * PRE1 * ROW + at];
        }
        fill(at / ROW, at % ROW, v);
        if (gain) {
            real sum = w[at];
            for (int k = 0; k < T; ++k) sum += real(gain[k]) * v[k];
            w[at] = sum;
        }
        for (int k = 0; k < T; ++k) z[long(k) * PRE1 * ROW + at] = gain && reset[k] ? real(0) : v[k];
    }
}

// Traces z (T matrices) <- carry z + sum_c pre[c] post[c]; with gains, w += sum gain z in the same pass, and z = 0 where
// reset. post[c] is (T, ROW), pre[c] is (SENT).
template <int T, int PRE1, int SENT, int ROW>
RNLA_INLINE void factor_rows(real* z, real* w, const double* carry, int count, const real* post, const real* pre, const double* gain,
                             const bool* reset) {
    all_rows<T, PRE1, ROW>(z, w, carry, gain, reset, [&](int j, int i, real* v) {
        for (int c = 0; c < count; ++c) {
            const real x = pre[long(c) * SENT + j];
            for (int k = 0; k < T; ++k) v[k] += x * post[(long(c) * T + k) * ROW + i];
        }
    });
}

// The same where the presynaptic factor is a + b s of a filtered spike train: row j gets a total + b s[j] post[0], and
// for each of its spikes (begins[j] to begins[j + 1]) a coefficient times post[slot]. The last row is the bias unit's.
template <int T, int PRE, int ROW>
RNLA_INLINE void train_rows(real* z, real* w, const double* carry, int count, const real* post, const real* total, const real* s, real a,
                            real b, real bias, const int32_t* begins, const int32_t* slots, const real* coefficient, const double* gain,
                            const bool* reset) {
    all_rows<T, PRE + 1, ROW>(z, w, carry, gain, reset, [&](int j, int i, real* v) {
        if (count == 0) return;
        const real every = j < PRE ? a : bias, first = j < PRE ? b * s[j] : real(0);
        for (int k = 0; k < T; ++k) v[k] += every * total[k * ROW + i] + first * post[k * ROW + i];
        if (j == PRE) return;
        for (int e = begins[j]; e < begins[j + 1]; ++e)
            for (int k = 0; k < T; ++k) v[k] += coefficient[e] * post[(long(slots[e]) * T + k) * ROW + i];
    });
}
