// Where the arrays of a kernel are in a CUDA program, and how few copies bring them there.
//
// State and working memory are Brian2's arrays on the device. Inputs and outputs are parts of two blocks of memory of
// our own, one on the host (pinned) and one on the device, so that a block's inputs go over in one or two copies and its
// outputs come back in one. The host's side of the exchange reads and writes the pinned block itself.

#ifndef RNLA_DEVICE_HPP
#define RNLA_DEVICE_HPP

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

namespace rnla_device {

enum Role { STATE, INPUT, OUTPUT, SCRATCH };
struct Part {
    const char* name;
    Role role;
    std::size_t bytes;
    void *host, *device;  // of inputs and outputs: set here
};

[[noreturn]] inline void fail(const char* what, cudaError_t error) {
    std::fprintf(stderr, "rnla: CUDA: %s: %s\n", what, cudaGetErrorString(error));
    std::fflush(stderr);
    std::_Exit(3);
}
inline void check(cudaError_t error, const char* what) {
    if (error != cudaSuccess) fail(what, error);
}

class Memory {
  public:
    explicit Memory(std::vector<Part> parts) : parts_(static_cast<std::vector<Part>&&>(parts)), at_(parts_.size()) {
        std::size_t size = 0;
        for (const Role role : {INPUT, OUTPUT}) {
            for (const bool large : {true, false})  // the small ones together, to go in one copy
                for (std::size_t k = 0; k < parts_.size(); ++k)
                    if (parts_[k].role == role && (parts_[k].bytes > GAP) == large) {
                        at_[k] = size;
                        size += (parts_[k].bytes + 255) / 256 * 256;
                    }
        }
        check(cudaMallocHost(reinterpret_cast<void**>(&host_), size), "no pinned memory for inputs and outputs");
        check(cudaMalloc(reinterpret_cast<void**>(&device_), size), "no device memory for inputs and outputs");
        check(cudaMemset(device_, 0, size), "the inputs cannot be cleared");
        for (std::size_t k = 0; k < parts_.size(); ++k)
            if (staged(k)) parts_[k].host = host_ + at_[k], parts_[k].device = device_ + at_[k];
    }

    void* host(std::size_t k) const { return parts_[k].host; }
    void* device(std::size_t k) const { return parts_[k].device; }

    // The host's copy of the first bytes of an array has changed.
    void store(std::size_t k, std::size_t bytes) {
        if (bytes == 0) return;
        if (!staged(k)) {
            check(cudaMemcpy(parts_[k].device, parts_[k].host, bytes, cudaMemcpyHostToDevice), parts_[k].name);
            return;
        }
        const std::size_t first = at_[k], last = at_[k] + bytes;
        if (!spans_.empty() && first >= spans_.back().first && first <= spans_.back().last + GAP)
            spans_.back().last = last;
        else
            spans_.push_back({first, last});
    }

    // Before a block: what was stored goes to the device.
    void give() {
        for (const Span& span : spans_)
            check(cudaMemcpyAsync(device_ + span.first, host_ + span.first, span.last - span.first, cudaMemcpyHostToDevice),
                  "the inputs cannot be copied");
        spans_.clear();
    }

    // After a block was launched: wait for it and for the small outputs.
    void take() {
        for (std::size_t k = 0; k < parts_.size(); ++k)
            if (parts_[k].role == OUTPUT && parts_[k].bytes <= GAP)
                check(cudaMemcpyAsync(parts_[k].host, parts_[k].device, parts_[k].bytes, cudaMemcpyDeviceToHost),
                      "the outputs cannot be copied");
        check(cudaStreamSynchronize(nullptr), "the kernel failed");
    }

    // The host's copy of the first bytes of an array is wanted.
    void fetch(std::size_t k, std::size_t bytes) {
        if (bytes > 0 && (parts_[k].role != OUTPUT || parts_[k].bytes > GAP))
            check(cudaMemcpy(parts_[k].host, parts_[k].device, bytes, cudaMemcpyDeviceToHost), parts_[k].name);
    }

  private:
    static constexpr std::size_t GAP = 32 * 1024;  // copying so much takes less time than starting another copy
    struct Span {
        std::size_t first, last;
    };
    std::vector<Part> parts_;
    std::vector<std::size_t> at_;
    std::vector<Span> spans_;
    unsigned char *host_ = nullptr, *device_ = nullptr;

    bool staged(std::size_t k) const { return parts_[k].role == INPUT || parts_[k].role == OUTPUT; }
};

// The time that the device spends in blocks, printed at the end where RNLA_CUDA_TIMES is set.
class Times {
  public:
    Times() : on_(std::getenv("RNLA_CUDA_TIMES") != nullptr) {
        if (on_) check(cudaEventCreate(&start_), "no event"), check(cudaEventCreate(&stop_), "no event");
    }
    void start() {
        if (on_) cudaEventRecord(start_);
    }
    void stop() {
        if (!on_) return;
        float ms = 0;
        cudaEventRecord(stop_);
        check(cudaEventSynchronize(stop_), "the kernel failed");
        cudaEventElapsedTime(&ms, start_, stop_);
        std::fprintf(stderr, "rnla: CUDA: block %.6f ms\n", double(ms));
    }

  private:
    bool on_;
    cudaEvent_t start_{}, stop_{};
};

// Shared memory that a block of threads may have, on the device in use.
inline std::size_t chip_limit() {
    int device = 0, bytes = 48 * 1024;
    check(cudaGetDevice(&device), "no device");
    cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
    return static_cast<std::size_t>(bytes);
}

Memory& memory();  // defined beside the kernel

}  // namespace rnla_device

#endif
