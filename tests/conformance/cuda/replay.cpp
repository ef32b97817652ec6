// Runs the CUDA text of a kernel on a CPU: replay CALLS RESULTS reads what an engine was given, call by call, and
// writes what every kept array holds after each call. The generated part is in kernel.hpp: the kernel, the table of
// its arrays, and `run`.
#include "cuda_emulation.hpp"
#include <fstream>

#include "kernel.hpp"

template <class T>
static T take(std::ifstream& from) {
    T value;
    if (!from.read(reinterpret_cast<char*>(&value), sizeof value)) cuda_emulation::fail("the calls end too early");
    return value;
}

int main(int argc, char** argv) {
    if (argc != 3) cuda_emulation::fail("usage: replay CALLS RESULTS");
    std::ifstream calls(argv[1], std::ios::binary);
    std::ofstream results(argv[2], std::ios::binary);
    constexpr int N = sizeof table / sizeof table[0];
    void* device[N];
    for (int k = 0; k < N; ++k) {
        cudaMalloc(&device[k], table[k].bytes);
        if (table[k].kept) cudaMemset(device[k], 0, table[k].bytes);  // as brian2cuda does
    }
    for (int n = take<int>(calls); n > 0; --n) {
        const int block = take<int>(calls);
        for (int given = take<int>(calls); given > 0; --given) {
            const int k = take<int>(calls);
            std::vector<char> data(take<int>(calls));
            calls.read(data.data(), data.size());
            if (cudaMemcpy(device[k], data.data(), data.size(), cudaMemcpyHostToDevice)) return 4;
        }
        if (block && (run(device, CHIP_LIMIT) != cudaSuccess || cudaDeviceSynchronize() != cudaSuccess)) return 5;
        for (int k = 0; k < N; ++k) {
            if (!table[k].kept) continue;
            std::vector<char> data(table[k].bytes);
            cudaMemcpy(data.data(), device[k], data.size(), cudaMemcpyDeviceToHost);
            results.write(data.data(), data.size());
        }
    }
    return results.flush() ? 0 : 6;
}
