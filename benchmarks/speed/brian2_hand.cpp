// The workload of brian2_workload.py, written by hand: what generated code is measured against.
//
// Compiled once a net with -DREAL=float|double -DSIZES=64,100,10 -DHELD=0|1. HELD = 0 reads the first weights at
// every step, as if the input moved; HELD = 1 uses that it is held for the block.
// Weights are streamed once a step (drive and feedback in one pass, since the errors of a step depend on its
// voltages alone), W r comes from W rbar, and the eligibility is one matrix product a reward.
//
//     program FOLDER AGENTS BLOCKS LOOPS     prints seconds of processor time a step, all agents together; writes the state after 1 loop
#include <sys/mman.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <utility>
#include <vector>

using real = REAL;
#ifdef __AVX512F__
constexpr int BYTES = 64;
#else
constexpr int BYTES = 32;
#endif
typedef real vec __attribute__((vector_size(BYTES), may_alias));
constexpr int V = BYTES / sizeof(real);
constexpr int SIZE[] = {SIZES};
constexpr int LAYERS = sizeof(SIZE) / sizeof(int) - 1, N_IN = SIZE[0], N_OUT = SIZE[LAYERS];
constexpr int S = 100;  // steps a block
constexpr double DT = 1e-3, TAU_M = 10e-3, TAU_ELIG = 10e-3, BETA = 0.001, GAIN = 50.0, SOFT = 1.0 / (4.0 * 0.25);
constexpr real A = DT / TAU_M, PRO = TAU_M / DT, KEEP = 1.0 - DT / TAU_ELIG;

constexpr int up(int n, int to) { return (n + to - 1) / to * to; }
constexpr int padded(int layer) { return up(SIZE[layer], V); }

template <class T>
T *make(size_t n) {
    const size_t big = size_t(1) << 21, bytes = n * sizeof(T), align = bytes < big ? 64 : big;
    T *p = static_cast<T *>(std::aligned_alloc(align, (bytes + align - 1) / align * align));
    if (!p) std::abort();
    if (align == big) madvise(p, (bytes + align - 1) / align * align, MADV_HUGEPAGE);
    std::memset(p, 0, bytes);
    return p;
}

inline vec &at(real *p) { return *reinterpret_cast<vec *>(p); }
inline vec at(const real *p) { return *reinterpret_cast<const vec *>(p); }
inline real sum(vec v) {
    real s = 0;
    for (int i = 0; i < V; ++i) s += v[i];
    return s;
}

// One matrix of outer * inner weights, the longer dimension contiguous.
template <int L>
struct Shape {
    static constexpr int PRE = SIZE[L - 1], POST = SIZE[L];
    static constexpr bool PRE_INSIDE = PRE >= POST || L > 1;
    static constexpr int OUTER = PRE_INSIDE ? POST : PRE, INNER = PRE_INSIDE ? PRE : POST;
    static constexpr int ROWS = up(OUTER, 8), COLS = up(INNER, V);
};

// y[outer] = W x[inner]
template <int ROWS, int COLS>
void dots(const real *__restrict w, const real *__restrict x, real *__restrict y) {
    for (int j = 0; j < ROWS; j += 8) {
        vec acc[8] = {};
        const real *row = w + size_t(j) * COLS;
        for (int c = 0; c < COLS; c += V) {
            const vec r = at(x + c);
#pragma GCC unroll 8
            for (int i = 0; i < 8; ++i) acc[i] += at(row + size_t(i) * COLS + c) * r;
        }
        for (int i = 0; i < 8; ++i) y[j + i] = sum(acc[i]);
    }
}

// y[outer] = W x[inner] and back[inner] = Wt e[outer], in one pass
template <int ROWS, int COLS>
void dots_and_back(const real *__restrict w, const real *__restrict x, const real *__restrict e,
                   real *__restrict y, real *__restrict back) {
    for (int c = 0; c < COLS; c += V) at(back + c) = vec{};
    for (int j = 0; j < ROWS; j += 4) {
        vec acc[4] = {};
        const real *row = w + size_t(j) * COLS;
        for (int c = 0; c < COLS; c += V) {
            const vec r = at(x + c);
            vec b = at(back + c);
#pragma GCC unroll 4
            for (int i = 0; i < 4; ++i) {
                const vec v = at(row + size_t(i) * COLS + c);
                acc[i] += v * r;
                b += v * e[j + i];
            }
            at(back + c) = b;
        }
        for (int i = 0; i < 4; ++i) y[j + i] = sum(acc[i]);
    }
}

// y[inner] = Wt x[outer], the sums in registers
template <int FIRST, int OUTER, int COLS>
void columns(const real *__restrict w, const real *__restrict x, real *__restrict y) {
    if constexpr (FIRST < COLS / V) {
        constexpr int N = COLS / V - FIRST < 13 ? COLS / V - FIRST : 13;
        vec acc[N] = {};
        for (int i = 0; i < OUTER; ++i) {
            const real *row = w + size_t(i) * COLS + FIRST * V;
#pragma GCC unroll 16
            for (int c = 0; c < N; ++c) acc[c] += at(row + c * V) * x[i];
        }
        for (int c = 0; c < N; ++c) at(y + (FIRST + c) * V) = acc[c];
        columns<FIRST + N, OUTER, COLS>(w, x, y);
    }
}

// z = kept z + sum over k of a[k][outer] b[k][inner];  w += gain z
template <int N>
inline void fold_tile(const real *__restrict a, const real *__restrict b, int b_cols, int cols, real *z, real *w, real kept,
                      real gain, int rows) {
    vec acc[4][N] = {};
    for (int k = 0; k < S; ++k) {
        vec right[N];
#pragma GCC unroll 4
        for (int c = 0; c < N; ++c) right[c] = at(b + size_t(k) * b_cols + c * V);
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i)
#pragma GCC unroll 4
            for (int c = 0; c < N; ++c) acc[i][c] += right[c] * a[k * 4 + i];
    }
    for (int i = 0; i < rows; ++i)
        for (int c = 0; c < N; ++c) {
            const size_t o = size_t(i) * cols + c * V;
            const vec e = at(z + o) * kept + acc[i][c];
            at(z + o) = e;
            at(w + o) += e * gain;
        }
}

template <int OUTER, int COLS>
void fold(const real *a, int a_cols, const real *b, int b_cols, real *z, real *w, real kept, real gain) {
    constexpr int BLOCK = 64;
    alignas(64) static real packed[BLOCK * S];
    for (int first = 0; first < OUTER; first += BLOCK) {
        const int n = OUTER - first < BLOCK ? OUTER - first : BLOCK;
        for (int g = 0; g < n; g += 4)
            for (int k = 0; k < S; ++k)
                for (int i = 0; i < 4; ++i)
                    packed[(g / 4 * S + k) * 4 + i] = g + i < n ? a[size_t(k) * a_cols + first + g + i] : real(0);
        for (int c = 0; c < COLS;) {
            const int left = (COLS - c) / V, take = left < 3 ? left : 3;
            for (int g = 0; g < n; g += 4) {
                const size_t o = size_t(first + g) * COLS + c;
                const real *p = packed + g / 4 * S * 4;
                const int rows = n - g < 4 ? n - g : 4;
                if (take == 3) fold_tile<3>(p, b + c, b_cols, COLS, z + o, w + o, kept, gain, rows);
                else if (take == 2) fold_tile<2>(p, b + c, b_cols, COLS, z + o, w + o, kept, gain, rows);
                else fold_tile<1>(p, b + c, b_cols, COLS, z + o, w + o, kept, gain, rows);
            }
            c += take * V;
        }
    }
}

// The same for one pair of vectors: an input that was held
template <int OUTER, int COLS>
void fold_one(const real *a, const real *b, real *z, real *w, real kept, real gain) {
    for (int i = 0; i < OUTER; ++i)
        for (int c = 0; c < COLS; c += V) {
            const size_t o = size_t(i) * COLS + c;
            const vec e = at(z + o) * kept + at(b + c) * a[i];
            at(z + o) = e;
            at(w + o) += e * gain;
        }
}

// Buffers of one block, shared by all agents
template <int L>
struct Buffers {
    static constexpr int PRE = up(SIZE[L - 1], 16), POST = up(SIZE[L], 16);
    real *rate = make<real>(size_t(S) * PRE), *factor = make<real>(size_t(S) * POST);
};

template <int L>
struct Projection {
    using Is = Shape<L>;
    static constexpr int POST = up(SIZE[L], 16), PRE = up(SIZE[L - 1], 16);
    real *w = make<real>(size_t(Is::ROWS) * Is::COLS), *z = make<real>(size_t(Is::ROWS) * Is::COLS);
    real *z_hom = L == LAYERS ? make<real>(size_t(Is::ROWS) * Is::COLS) : nullptr;
    real *b = make<real>(POST), *zb = make<real>(POST), *zb_hom = make<real>(POST);
    real *u = make<real>(POST), *ebar = make<real>(POST), *ebar_prev = make<real>(POST);
    real *drive = make<real>(POST), *drive_prev = make<real>(POST), *back = make<real>(PRE);
    real *rate_prev = make<real>(PRE);

    void product(const real *x, real *y) const {
        if constexpr (Is::PRE_INSIDE) dots<Is::ROWS, Is::COLS>(w, x, y);
        else columns<0, Is::OUTER, Is::COLS>(w, x, y);
        for (int j = 0; j < POST; ++j) y[j] += b[j];
    }
    void reward(const real *rate, const real *factor, real *z, real *zb, real kept, real gain) {
        if constexpr (Is::PRE_INSIDE) fold<Is::OUTER, Is::COLS>(factor, POST, rate, PRE, z, w, kept, gain);
        else fold<Is::OUTER, Is::COLS>(rate, PRE, factor, POST, z, w, kept, gain);
        alignas(64) real total[POST] = {};
        for (int k = 0; k < S; ++k)
            for (int j = 0; j < POST; ++j) total[j] += factor[k * POST + j];
        bias(total, zb, kept, gain);
    }
    void reward_held(const real *x, const real *factor, real kept, real gain) {
        alignas(64) real total[POST] = {};
        for (int k = 0; k < S; ++k)
            for (int j = 0; j < POST; ++j) total[j] += factor[k * POST + j];
        if constexpr (Is::PRE_INSIDE) fold_one<Is::OUTER, Is::COLS>(total, x, z, w, kept, gain);
        else fold_one<Is::OUTER, Is::COLS>(x, total, z, w, kept, gain);
        bias(total, zb, kept, gain);
    }
    void bias(const real *total, real *zb, real kept, real gain) {
        for (int j = 0; j < POST; ++j) {
            zb[j] = zb[j] * kept + total[j];
            b[j] += gain * zb[j];
        }
    }
};

template <class>
struct AgentOf;
template <int... I>
struct AgentOf<std::integer_sequence<int, I...>> : Projection<I + 1>... {
    real *noise_bar = make<real>(up(N_OUT, 16));
    template <int L>
    Projection<L> &layer() { return *this; }
};
using Agent = AgentOf<std::make_integer_sequence<int, LAYERS>>;
template <class>
struct AllBuffersOf;
template <int... I>
struct AllBuffersOf<std::integer_sequence<int, I...>> : Buffers<I + 1>... {
    real *hom = make<real>(size_t(S) * up(N_OUT, 16)), *decay = make<real>(S);
    template <int L>
    Buffers<L> &layer() { return *this; }
};
using AllBuffers = AllBuffersOf<std::make_integer_sequence<int, LAYERS>>;

struct Tables {
    std::vector<double> gains;  // hidden, action, homeostasis
    std::vector<real> inputs, noise, deltas;
};

inline void softmax(const real *u, real scale, real *p) {
    constexpr int N = up(N_OUT, V);
    real top = u[0], total = 0;
    for (int j = 1; j < N_OUT; ++j) top = u[j] > top ? u[j] : top;
    for (int j = 0; j < N; ++j) p[j] = std::exp(scale * ((j < N_OUT ? u[j] : top) - top));
    for (int j = 0; j < N_OUT; ++j) total += p[j];
    const real inverse = 1 / total;
    for (int j = 0; j < N_OUT; ++j) p[j] *= inverse;
}

// Rates of all hidden layers
template <int L>
void rates(Agent &agent, AllBuffers &all, int k) {
    if constexpr (L <= LAYERS) {
        const real *u = agent.template layer<L - 1>().u;
        real *rate = all.template layer<L>().rate + size_t(k) * Buffers<L>::PRE;
        for (int i = 0; i < padded(L - 1); ++i) rate[i] = std::tanh(u[i]);
        rates<L + 1>(agent, all, k);
    }
}

// Drives and errors, from the action layer down
template <int L>
void sums(Agent &agent, AllBuffers &all, int k) {
    auto &here = agent.template layer<L>();
    using Is = Shape<L>;
    if constexpr (L > 1) {
        const real *rate = all.template layer<L>().rate + size_t(k) * Buffers<L>::PRE;
        auto &below = agent.template layer<L - 1>();
        dots_and_back<Is::ROWS, Is::COLS>(here.w, rate, here.ebar, here.drive, here.back);
        for (int j = 0; j < SIZE[L]; ++j) here.drive[j] += here.b[j];
        for (int i = 0; i < SIZE[L - 1]; ++i) below.ebar[i] = (1 - rate[i] * rate[i]) * here.back[i];
        sums<L - 1>(agent, all, k);
    } else if (!HELD) {
        here.product(all.template layer<1>().rate + size_t(k) * Buffers<1>::PRE, here.drive);
    }
}

// Factors of the traces, and voltages
template <int L>
void move(Agent &agent, AllBuffers &all, int k, const real *current) {
    if constexpr (L <= LAYERS) {
        auto &here = agent.template layer<L>();
        real *__restrict u = here.u, *__restrict drive = here.drive, *__restrict before = here.drive_prev;
        real *__restrict ebar = here.ebar, *__restrict past = here.ebar_prev, *__restrict noise = agent.noise_bar;
        real *__restrict factor = all.template layer<L>().factor + size_t(k) * Buffers<L>::POST;
        real *__restrict hom = all.hom + size_t(k) * up(N_OUT, 16);
        const real decay = all.decay[k];
        for (int j = 0; j < SIZE[L]; ++j) {
            real f = u[j] - drive[j], push = 0;
            if (L == LAYERS) {
                f -= noise[j];
                hom[j] = -decay * u[j];  // u_trg is 0
                push = current[j];
                noise[j] += A * (current[j] - noise[j]);
            }
            factor[j] = decay * f;
            const real I = drive[j] + PRO * (drive[j] - before[j]), err = ebar[j] + PRO * (ebar[j] - past[j]);
            u[j] += A * (I + push - u[j] + err);
            before[j] = drive[j];
            past[j] = ebar[j];
        }
        move<L + 1>(agent, all, k, current);
    }
}

// Eligibility of the block that has passed, the weights, and W rbar of the step before
template <int L>
void reward(Agent &agent, AllBuffers &all, const Tables &tables, real delta, real kept) {
    if constexpr (L <= LAYERS) {
        auto &here = agent.template layer<L>();
        auto &buffer = all.template layer<L>();
        const real gain = real(tables.gains[L == LAYERS ? 1 : 0]) * delta;
        if (L == 1 && HELD) here.reward_held(here.rate_prev, buffer.factor, kept, gain);
        else here.reward(buffer.rate, buffer.factor, here.z, here.zb, kept, gain);
        if (L == LAYERS) {
            const real also = real(tables.gains[2]) * std::fabs(delta);
            here.reward(buffer.rate, all.hom, here.z_hom, here.zb_hom, kept, also);
        }
        here.product(here.rate_prev, here.drive_prev);
        reward<L + 1>(agent, all, tables, delta, kept);
    }
}

template <int L>
void remember(Agent &agent, AllBuffers &all) {
    if constexpr (L <= LAYERS) {
        std::memcpy(agent.template layer<L>().rate_prev, all.template layer<L>().rate + size_t(S - 1) * Buffers<L>::PRE,
                    Buffers<L>::PRE * sizeof(real));
        remember<L + 1>(agent, all);
    }
}

void block(Agent &agent, AllBuffers &all, const Tables &tables, int b) {
    const real *x = &tables.inputs[size_t(b) * N_IN];
    auto &first = agent.layer<1>();
    if (HELD) {
        std::memcpy(all.layer<1>().rate, x, N_IN * sizeof(real));
        first.product(all.layer<1>().rate, first.drive);
    } else {
        for (int k = 0; k < S; ++k) std::memcpy(all.layer<1>().rate + size_t(k) * Buffers<1>::PRE, x, N_IN * sizeof(real));
    }
    alignas(64) real p[up(N_OUT, 16)], q[up(N_OUT, 16)];
    auto &action = agent.layer<LAYERS>();
    for (int k = 0; k < S; ++k) {
        rates<2>(agent, all, k);
        softmax(action.u, GAIN, p);
        softmax(action.u, SOFT, q);
        for (int j = 0; j < N_OUT; ++j) action.ebar[j] = real(BETA) * (p[j] - q[j]);
        sums<LAYERS>(agent, all, k);
        move<1>(agent, all, k, &tables.noise[(size_t(b) * S + k) * N_OUT]);
    }
    if (HELD) std::memcpy(first.rate_prev, all.layer<1>().rate, N_IN * sizeof(real));
    remember<HELD ? 2 : 1>(agent, all);
}

std::vector<double> read(const std::string &path) {
    FILE *f = std::fopen(path.c_str(), "rb");
    if (!f) std::exit(2);
    std::fseek(f, 0, SEEK_END);
    std::vector<double> data(size_t(std::ftell(f)) / sizeof(double));
    std::rewind(f);
    if (std::fread(data.data(), sizeof(double), data.size(), f) != data.size()) std::exit(2);
    std::fclose(f);
    return data;
}

template <int L>
void load(Agent &agent, const std::string &folder) {
    if constexpr (L <= LAYERS) {
        using Is = Shape<L>;
        auto &here = agent.template layer<L>();
        const auto w = read(folder + "/w" + std::to_string(L));  // (post, pre + 1)
        for (int j = 0; j < Is::POST; ++j) {
            for (int i = 0; i < Is::PRE; ++i)
                here.w[Is::PRE_INSIDE ? size_t(j) * Is::COLS + i : size_t(i) * Is::COLS + j] = w[size_t(j) * (Is::PRE + 1) + i];
            here.b[j] = w[size_t(j) * (Is::PRE + 1) + Is::PRE];
        }
        load<L + 1>(agent, folder);
    }
}

template <int L>
void save(Agent &agent, const std::string &folder) {
    if constexpr (L <= LAYERS) {
        using Is = Shape<L>;
        auto &here = agent.template layer<L>();
        for (const bool trace : {false, true}) {
            FILE *f = std::fopen((folder + (trace ? "/E_end" : "/w_end") + std::to_string(L)).c_str(), "wb");
            const real *m = trace ? here.z : here.w, *b = trace ? here.zb : here.b;
            for (int j = 0; j < Is::POST; ++j)
                for (int i = 0; i <= Is::PRE; ++i) {
                    const double x = i == Is::PRE ? b[j] : m[Is::PRE_INSIDE ? size_t(j) * Is::COLS + i : size_t(i) * Is::COLS + j];
                    std::fwrite(&x, sizeof x, 1, f);
                }
            std::fclose(f);
        }
        FILE *f = std::fopen((folder + "/u_end" + std::to_string(L)).c_str(), "wb");
        for (int j = 0; j < SIZE[L]; ++j) {
            const double x = here.u[j];
            std::fwrite(&x, sizeof x, 1, f);
        }
        std::fclose(f);
        save<L + 1>(agent, folder);
    }
}

int main(int, char **argv) {
    const std::string folder = argv[1];
    const int n_agents = std::atoi(argv[2]), blocks = std::atoi(argv[3]), loops = std::atoi(argv[4]);
    auto real_table = [&](const char *name) {
        const auto data = read(folder + name);
        return std::vector<real>(data.begin(), data.end());
    };
    const Tables tables{read(folder + "/gains"), real_table("/inputs"), real_table("/noise"), real_table("/deltas")};
    std::vector<Agent> agents(n_agents);
    AllBuffers all;
    double keep = DT / TAU_ELIG;
    for (int k = S - 1; k >= 0; --k, keep *= KEEP) all.decay[k] = keep;
    const real kept = std::pow(1.0 - DT / TAU_ELIG, S);
    for (auto &agent : agents) {
        load<1>(agent, folder);
        std::memcpy(agent.layer<1>().rate_prev, tables.inputs.data(), N_IN * sizeof(real));
        agent.layer<1>().product(agent.layer<1>().rate_prev, agent.layer<1>().drive_prev);
    }
    const std::clock_t begun = std::clock();
    for (int loop = 0; loop < loops; ++loop)
        for (int b = 0; b < blocks; ++b)
            for (int a = 0; a < n_agents; ++a) {
                block(agents[a], all, tables, b);
                const double delta = tables.deltas[(b + 1) % blocks];
                reward<1>(agents[a], all, tables, b + 1 < blocks || loops > 1 ? delta : 0.0, kept);
            }
    const double took = double(std::clock() - begun) / CLOCKS_PER_SEC;
    if (loops == 1) save<1>(agents[0], folder);
    std::printf("%.9e\n", took / loops / blocks / S);
}
