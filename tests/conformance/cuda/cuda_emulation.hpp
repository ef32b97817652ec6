// Enough of CUDA on one CPU core to run a generated kernel for real where there is no GPU.
//
// Include it before the CUDA text and compile that with a C++ compiler. The threads of a block are fibers:
// each runs until it waits (`__syncthreads`, `__syncwarp`, a shuffle), then another one runs. Blocks run one
// after the other. Which thread goes next is set by CUDA_EMULATION_ORDER=forward|reverse|<seed>: a text whose
// result depends on it lacks a synchronisation. Under -fsanitize=thread the fibers are known to the sanitizer,
// which then reports every access that no synchronisation orders, whether or not it changed the result.
//
// What it refuses with a message: threads that wait at a `__syncthreads` which others never reach, a shuffle
// from a lane outside its mask, a copy of more than was allocated, a launch with too many threads.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <tuple>
#include <utility>
#include <vector>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#define CUDA_EMULATION_TSAN 1
#else
#define CUDA_EMULATION_TSAN 0
#endif

#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __shared__ static
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(n) alignas(n)
#define RNLA_DYNAMIC_SHARED(name) unsigned char* name = cuda_emulation::dynamic_shared()

struct uint3 {
    unsigned x, y, z;
};
struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

namespace cuda_emulation {

constexpr unsigned WARP = 32;
constexpr std::size_t STACK = 256 * 1024;
constexpr std::size_t SHARED_LIMIT = 227 * 1024;  // of sm_90, with the opt-in for more than 48 KiB

[[noreturn]] inline void fail(const std::string& message) {
    std::fprintf(stderr, "CUDA emulation: %s\n", message.c_str());
    std::exit(3);
}

// A meeting of the threads in `members`; the last one to come lets all of them go on.
struct Barrier {
    unsigned waiting = 0;
    unsigned long generation = 0;
    char token[2] = {};  // what the sanitizer is told, by turns: who meets again may do so before others have gone on
};

#if defined(__x86_64__)
// swapcontext makes two system calls each time, which is what such a run would mostly do: save and load what a called
// function has to keep, nothing more.
using Context = void*;
extern "C" void cuda_emulation_swap(Context* from, Context* to);
asm(R"(
.text
cuda_emulation_swap:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq (%rsi), %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
)");
inline void make_context(Context& context, unsigned char* stack, std::size_t bytes, void (*entry)()) {
    auto top = reinterpret_cast<std::uintptr_t>(stack + bytes) & ~std::uintptr_t(15);
    auto** slots = reinterpret_cast<void**>(top) - 8;
    std::fill(slots, slots + 8, nullptr);
    slots[6] = reinterpret_cast<void*>(entry);  // returned to at the first swap
    context = slots;
}
#else
using Context = ucontext_t;
inline void cuda_emulation_swap(Context* from, Context* to) { swapcontext(from, to); }
inline void make_context(Context& context, unsigned char* stack, std::size_t bytes, void (*entry)()) {
    getcontext(&context);
    context.uc_stack.ss_sp = stack;
    context.uc_stack.ss_size = bytes;
    context.uc_link = nullptr;
    makecontext(&context, entry, 0);
}
#endif

struct Fiber {
    Context context;
    std::vector<unsigned char> stack;
    uint3 thread{};
    unsigned lane = 0, warp = 0;
    bool finished = false;
    const Barrier* blocked_at = nullptr;  // waits for `generation` of this barrier to pass
    unsigned long generation = 0;
    void* tsan = nullptr;
};

struct Warp {
    Barrier barrier;
    unsigned size = 0;
    unsigned char exchange[WARP][16];  // a slot a lane for shuffles
    bool offered[WARP] = {};
};

struct Block {
    dim3 grid, shape;
    uint3 index{};
    unsigned threads = 0, alive = 0;
    std::vector<Fiber> fibers;
    std::vector<Warp> warps;
    Barrier barrier;
    char begun = 0, ended = 0;
    int votes = 0, last_votes = 0;
    std::vector<unsigned char> dynamic_shared;
    std::function<void()> body;
    Context scheduler;
    void* scheduler_tsan = nullptr;
    Fiber* current = nullptr;
};

// What the scheduler itself touches is no concern of the sanitizer.
#if CUDA_EMULATION_TSAN
#define CUDA_EMULATION_UNSEEN __attribute__((no_sanitize("thread"), noinline))
#else
#define CUDA_EMULATION_UNSEEN
#endif

inline Block the_block;
CUDA_EMULATION_UNSEEN inline Block& block() { return the_block; }
CUDA_EMULATION_UNSEEN inline Fiber& fiber() { return *the_block.current; }
CUDA_EMULATION_UNSEEN inline uint3 thread_index() { return the_block.current->thread; }
CUDA_EMULATION_UNSEEN inline uint3 block_index() { return the_block.index; }
CUDA_EMULATION_UNSEEN inline unsigned char* dynamic_shared() { return &the_block.dynamic_shared[0]; }

// The random or fixed order in which threads run between two synchronisations.
struct Order {
    enum Kind { forward, reverse, shuffled } kind = forward;
    std::uint64_t state = 0;
    Order() {
        const char* text = std::getenv("CUDA_EMULATION_ORDER");
        const std::string name = text ? text : "forward";
        if (name == "reverse") kind = reverse;
        else if (name != "forward") kind = shuffled, state = std::strtoull(name.c_str(), nullptr, 10) * 2 + 1;
    }
    unsigned below(unsigned n) {
        state = state * 6364136223846793005ULL + 1442695040888963407ULL;
        return static_cast<unsigned>((state >> 33) % n);
    }
};
inline Order& order() {
    static Order one;
    return one;
}

CUDA_EMULATION_UNSEEN inline void enter(Fiber& f) {
    Block& b = block();
    b.current = &f;
#if CUDA_EMULATION_TSAN
    __tsan_switch_to_fiber(f.tsan, __tsan_switch_to_fiber_no_sync);
#endif
    cuda_emulation_swap(&b.scheduler, &f.context);
    b.current = nullptr;
}

CUDA_EMULATION_UNSEEN inline void leave() {
    Block& b = block();
    Fiber& f = *b.current;
#if CUDA_EMULATION_TSAN
    __tsan_switch_to_fiber(b.scheduler_tsan, __tsan_switch_to_fiber_no_sync);
#endif
    cuda_emulation_swap(&f.context, &b.scheduler);
}

inline void announce(void* at) {
#if CUDA_EMULATION_TSAN
    __tsan_release(at);
#else
    (void)at;
#endif
}
inline void hear(void* at) {
#if CUDA_EMULATION_TSAN
    __tsan_acquire(at);
#else
    (void)at;
#endif
}

// `orders`: whether memory written before is seen afterwards, as with every barrier, but not with a shuffle.
CUDA_EMULATION_UNSEEN inline void meet(Barrier& barrier, unsigned members, bool orders = true) {
    char* const token = &barrier.token[barrier.generation & 1];
    if (orders) announce(token);
    if (++barrier.waiting == members) {
        barrier.waiting = 0;
        ++barrier.generation;
    } else {
        Fiber& f = fiber();
        f.blocked_at = &barrier;
        f.generation = barrier.generation;
        leave();
    }
    if (orders) hear(token);
}

CUDA_EMULATION_UNSEEN inline void trampoline() {
    Block& b = block();
    hear(&b.begun);
    b.body();
    announce(&b.ended);
    b.current->finished = true;
    --b.alive;
    leave();
    fail("a finished thread was run again");
}

CUDA_EMULATION_UNSEEN inline bool runnable(Fiber& f) {
    if (f.finished) return false;
    if (!f.blocked_at) return true;
    if (f.blocked_at->generation == f.generation) return false;
    f.blocked_at = nullptr;
    return true;
}

CUDA_EMULATION_UNSEEN inline void start(Fiber& f, unsigned number) {
    Block& b = block();
    f.thread = {number % b.shape.x, number / b.shape.x % b.shape.y, number / (b.shape.x * b.shape.y)};
    f.lane = number % WARP;
    f.warp = number / WARP;
    f.finished = false;
    f.blocked_at = nullptr;
    f.stack.resize(STACK);
    make_context(f.context, f.stack.data(), STACK, trampoline);
#if CUDA_EMULATION_TSAN
    f.tsan = __tsan_create_fiber(0);
#endif
}

CUDA_EMULATION_UNSEEN inline void run_block() {
    Block& b = block();
    b.alive = b.threads;
    b.barrier = Barrier{};
    b.warps.assign((b.threads + WARP - 1) / WARP, Warp{});
    for (unsigned i = 0; i < b.threads; ++i) {
        start(b.fibers[i], i);
        ++b.warps[b.fibers[i].warp].size;
    }
#if CUDA_EMULATION_TSAN
    b.scheduler_tsan = __tsan_get_current_fiber();
#endif
    announce(&b.begun);  // what the blocks before wrote is seen by this one
    std::vector<unsigned> turn(b.threads);
    for (unsigned i = 0; i < b.threads; ++i) turn[i] = order().kind == Order::reverse ? b.threads - 1 - i : i;
    while (b.alive > 0) {
        if (order().kind == Order::shuffled)
            for (unsigned i = b.threads; i > 1; --i) std::swap(turn[i - 1], turn[order().below(i)]);
        bool progress = false;
        for (unsigned i : turn) {
            if (!runnable(b.fibers[i])) continue;
            enter(b.fibers[i]);
            progress = true;
        }
        if (!progress)
            fail(std::to_string(b.alive) + " of " + std::to_string(b.threads) + " threads of block " +
                 std::to_string(b.index.x) + " wait for others that never come (" +
                 std::to_string(b.barrier.waiting) + " at __syncthreads)");
    }
    hear(&b.ended);
#if CUDA_EMULATION_TSAN
    for (unsigned i = 0; i < b.threads; ++i) __tsan_destroy_fiber(b.fibers[i].tsan);
#endif
}

inline int vote(int predicate) {
    Block& b = block();
    meet(b.barrier, b.threads);
    b.votes += predicate != 0;
    meet(b.barrier, b.threads);
    const int result = b.votes;
    meet(b.barrier, b.threads);
    b.votes = 0;
    meet(b.barrier, b.threads);
    return result;
}

template <class T>
CUDA_EMULATION_UNSEEN T shuffle(unsigned mask, T value, unsigned source) {
    static_assert(sizeof(T) <= 16, "a shuffle moves at most 16 bytes here");
    Fiber& f = fiber();
    Warp& w = block().warps[f.warp];
    if (mask != 0xffffffffu) fail("shuffles of a part of a warp are not emulated");
    if (w.size != WARP) fail("a shuffle in a warp of " + std::to_string(w.size) + " threads");
    std::memcpy(w.exchange[f.lane], &value, sizeof(T));
    meet(w.barrier, w.size, false);
    T result;
    std::memcpy(&result, w.exchange[source % WARP], sizeof(T));
    meet(w.barrier, w.size, false);
    return result;
}

template <class... P, class... A>
void launch(void (*kernel)(P...), dim3 grid, dim3 shape, std::size_t shared, A... arguments) {
    Block& b = block();
    b.grid = grid;
    b.shape = shape;
    b.threads = shape.x * shape.y * shape.z;
    if (b.threads == 0 || b.threads > 1024) fail("a launch with " + std::to_string(b.threads) + " threads a block");
    if (shared > SHARED_LIMIT) fail("a launch with " + std::to_string(shared) + " bytes of shared memory");
    b.fibers.resize(std::max<std::size_t>(b.fibers.size(), b.threads));
    b.body = [=] { kernel(arguments...); };
    for (unsigned z = 0; z < grid.z; ++z)
        for (unsigned y = 0; y < grid.y; ++y)
            for (unsigned x = 0; x < grid.x; ++x) {
                b.index = {x, y, z};
                b.dynamic_shared.assign(shared + 16, 0xff);  // not zero: nothing may rely on that
                run_block();
            }
}

}  // namespace cuda_emulation

#define threadIdx (cuda_emulation::thread_index())
#define blockIdx (cuda_emulation::block_index())
#define blockDim (cuda_emulation::block().shape)
#define gridDim (cuda_emulation::block().grid)
#define warpSize 32

CUDA_EMULATION_UNSEEN inline void __syncthreads() { cuda_emulation::meet(cuda_emulation::block().barrier, cuda_emulation::block().threads); }
inline int __syncthreads_or(int p) { return cuda_emulation::vote(p) != 0; }
inline int __syncthreads_count(int p) { return cuda_emulation::vote(p); }
inline int __syncthreads_and(int p) {
    return cuda_emulation::vote(p) == static_cast<int>(cuda_emulation::block().threads);
}
inline void __syncwarp(unsigned = 0xffffffffu) {
    auto& warp = cuda_emulation::block().warps[cuda_emulation::fiber().warp];
    cuda_emulation::meet(warp.barrier, warp.size);
}
template <class T>
T __shfl_sync(unsigned mask, T value, int lane) { return cuda_emulation::shuffle(mask, value, lane); }
template <class T>
CUDA_EMULATION_UNSEEN T __shfl_xor_sync(unsigned mask, T value, int bits) {
    return cuda_emulation::shuffle(mask, value, cuda_emulation::fiber().lane ^ bits);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta) {
    const unsigned lane = cuda_emulation::fiber().lane;
    return cuda_emulation::shuffle(mask, value, lane + delta < 32 ? lane + delta : lane);
}

// ---- the runtime's functions that a launcher uses ------------------------------------------------------------
using cudaError_t = int;
using cudaStream_t = void*;
constexpr cudaError_t cudaSuccess = 0;
enum cudaMemcpyKind { cudaMemcpyHostToHost, cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost, cudaMemcpyDeviceToDevice };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
enum cudaDeviceAttr { cudaDevAttrMaxSharedMemoryPerBlockOptin = 97 };
using cudaEvent_t = int;

namespace cuda_emulation {
inline std::map<const unsigned char*, std::size_t>& allocated() {
    static std::map<const unsigned char*, std::size_t> all;
    return all;
}
inline void check_device(const void* where, std::size_t bytes) {
    const auto* p = static_cast<const unsigned char*>(where);
    auto it = allocated().upper_bound(p);
    if (it == allocated().begin()) fail("a copy to or from what is not device memory");
    --it;
    if (p + bytes > it->first + it->second) fail("a copy beyond what was allocated on the device");
}
}  // namespace cuda_emulation

template <class T>
cudaError_t cudaMalloc(T** pointer, std::size_t bytes) {
    auto* p = static_cast<unsigned char*>(std::malloc(bytes ? bytes : 1));
    std::memset(p, 0xff, bytes);  // not a number, until something is written
    cuda_emulation::allocated()[p] = bytes;
    *pointer = reinterpret_cast<T*>(p);
    return cudaSuccess;
}
inline cudaError_t cudaFree(void* pointer) {
    cuda_emulation::allocated().erase(static_cast<unsigned char*>(pointer));
    std::free(pointer);
    return cudaSuccess;
}
inline cudaError_t cudaMemcpy(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
    if (kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice) cuda_emulation::check_device(to, bytes);
    if (kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice) cuda_emulation::check_device(from, bytes);
    std::memcpy(to, from, bytes);
    return cudaSuccess;
}
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind, cudaStream_t = nullptr) {
    return cudaMemcpy(to, from, bytes, kind);
}
inline cudaError_t cudaMemset(void* to, int value, std::size_t bytes) {
    cuda_emulation::check_device(to, bytes);
    std::memset(to, value, bytes);
    return cudaSuccess;
}
inline cudaError_t cudaDeviceSynchronize() { return cudaSuccess; }
inline cudaError_t cudaStreamSynchronize(cudaStream_t) { return cudaSuccess; }
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
inline const char* cudaGetErrorString(cudaError_t) { return "no error"; }
inline cudaError_t cudaMallocHost(void** pointer, std::size_t bytes) {
    *pointer = std::calloc(1, bytes ? bytes : 1);
    return cudaSuccess;
}
inline cudaError_t cudaGetDevice(int* device) { return *device = 0, cudaSuccess; }
inline cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr, int) {
    *value = static_cast<int>(cuda_emulation::SHARED_LIMIT);
    return cudaSuccess;
}
inline cudaError_t cudaEventCreate(cudaEvent_t* event) { return *event = 0, cudaSuccess; }
inline cudaError_t cudaEventRecord(cudaEvent_t) { return cudaSuccess; }
inline cudaError_t cudaEventSynchronize(cudaEvent_t) { return cudaSuccess; }
inline cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t, cudaEvent_t) { return *ms = 1, cudaSuccess; }
template <class F>
cudaError_t cudaFuncSetAttribute(F*, cudaFuncAttribute, int) { return cudaSuccess; }

// A launch in a form that both compilers read: RNLA_LAUNCH(kernel, grid, threads, shared bytes, arguments…).
#define RNLA_LAUNCH(kernel, grid, threads, shared, ...) cuda_emulation::launch(kernel, grid, threads, shared, __VA_ARGS__)
