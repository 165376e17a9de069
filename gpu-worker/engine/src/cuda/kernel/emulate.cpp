// Runs the kernels of multi_lora.cu on the CPU, thread by thread, so that their logic can be
// tested, and used for what is small, on a machine without CUDA.
//
// Each thread of a block is a coroutine; it gives way where it must wait for the others: at a
// barrier of the block, or in an operation of its whole warp. A barrier that some thread never
// reaches is found and reported.

#include <setjmp.h>
#include <ucontext.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

struct Dim {
    unsigned x, y;
};
struct uint4 {
    unsigned x, y, z, w;
};
struct float4 {
    float x, y, z, w;
};

constexpr size_t STACK = 64 * 1024;
constexpr unsigned WARP = 32;

struct Barrier {
    unsigned arrived = 0;
    uint64_t generation = 0;
};

// Begun by its context, resumed by its jump: a jump makes no system call.
struct Thread {
    ucontext_t context;
    jmp_buf jump;
    bool begun = false;
    bool done = false;
};

struct Mma {
    float c[4];
    unsigned a[4], b[2];
};

struct Block {
    std::vector<Thread> threads;
    std::vector<char> stacks;
    std::vector<Barrier> warps;
    std::vector<float> floats;
    std::vector<Mma> products;
    Barrier all;
    jmp_buf scheduler;
    unsigned current = 0;
    bool moved = false;
};

thread_local Block *block = nullptr;
thread_local Dim blockIdx, threadIdx;

void give_way() {
    if (_setjmp(block->threads[block->current].jump) == 0) _longjmp(block->scheduler, 1);
}

void wait(Barrier &barrier, unsigned members) {
    block->moved = true;
    const uint64_t generation = barrier.generation;
    if (++barrier.arrived == members) {
        barrier.arrived = 0;
        barrier.generation++;
    }
    while (barrier.generation == generation) give_way();
}

void wait_warp() { wait(block->warps[threadIdx.x / WARP], WARP); }

void __syncthreads() { wait(block->all, static_cast<unsigned>(block->threads.size())); }

float __shfl_xor_sync(unsigned, float value, int distance) {
    block->floats[threadIdx.x] = value;
    wait_warp();
    const float other = block->floats[threadIdx.x ^ static_cast<unsigned>(distance)];
    wait_warp();
    return other;
}

template <typename T> T __ldg(const T *at) { return *at; }

float __uint_as_float(unsigned bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

unsigned round_bf16(float value) {
    unsigned bits;
    std::memcpy(&bits, &value, sizeof bits);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fffu; // not a number
    return (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
}

unsigned pack_bf16(float low, float high) { return round_bf16(low) | (round_bf16(high) << 16); }

float half_of(unsigned word, unsigned which) {
    return __uint_as_float(which == 0 ? word << 16 : word & 0xffff0000u);
}

// c [16, 8] += a [16, 16] b [16, 8]. The layout is the one in the PTX manual for
// mma.m16n8k16 with .bf16 operands.
void mma_bf16(float (&c)[4], unsigned a0, unsigned a1, unsigned a2, unsigned a3, unsigned b0,
              unsigned b1) {
    const unsigned lane = threadIdx.x % WARP, first = threadIdx.x - lane;
    Mma &mine = block->products[threadIdx.x];
    mine = Mma{{c[0], c[1], c[2], c[3]}, {a0, a1, a2, a3}, {b0, b1}};
    wait_warp();
    for (unsigned i = 0; i < 4; i++) {
        const unsigned row = lane / 4 + 8 * (i / 2), column = lane % 4 * 2 + i % 2;
        float sum = c[i];
        for (unsigned k = 0; k < 16; k++) {
            const Mma &left = block->products[first + row % 8 * 4 + k % 8 / 2];
            const Mma &right = block->products[first + column * 4 + k % 8 / 2];
            const unsigned a = left.a[row / 8 + 2 * (k / 8)], b = right.b[k / 8];
            sum += half_of(a, k % 2) * half_of(b, k % 2);
        }
        c[i] = sum;
    }
    wait_warp();
}

int min(int a, int b) { return a < b ? a : b; }

#define __global__ static
#define __device__
#define __forceinline__ inline
#define __grid_constant__
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))
// A block has its OS thread to itself while it runs.
#define __shared__ static thread_local

// The device's source marks its entry points so for NVRTC; here they stay inside this file.
#define KERNEL

#include "multi_lora.cu"

using Kernel = void (*)(const Launch);
thread_local Kernel running = nullptr;
thread_local const Launch *launched = nullptr;

void enter() {
    threadIdx.x = block->current;
    running(*launched);
    block->threads[block->current].done = true;
    block->moved = true;
    _longjmp(block->scheduler, 1);
}

// Lets thread `i` run until it gives way or ends. A function of its own: the jump back leaves its
// caller's variables as they are.
__attribute__((noinline)) void resume(unsigned i) {
    block->current = i;
    threadIdx.x = i;
    if (_setjmp(block->scheduler) != 0) return;
    Thread &thread = block->threads[i];
    if (thread.begun) _longjmp(thread.jump, 1);
    thread.begun = true;
    setcontext(&thread.context);
}

bool run_block(unsigned x, unsigned y) {
    blockIdx = {x, y};
    block->all = Barrier{};
    for (Barrier &warp : block->warps) warp = Barrier{};
    for (size_t i = 0; i < block->threads.size(); i++) {
        Thread &thread = block->threads[i];
        thread.done = thread.begun = false;
        getcontext(&thread.context);
        thread.context.uc_stack.ss_sp = &block->stacks[i * STACK];
        thread.context.uc_stack.ss_size = STACK;
        thread.context.uc_link = nullptr;
        makecontext(&thread.context, enter, 0);
    }
    size_t left = block->threads.size();
    while (left > 0) {
        block->moved = false;
        left = 0;
        for (unsigned i = 0; i < block->threads.size(); i++) {
            if (block->threads[i].done) continue;
            resume(i);
            if (!block->threads[i].done) left++;
        }
        if (left > 0 && !block->moved) return false;
    }
    return true;
}

} // namespace

// Runs kernel 0 to 3 (shrink few, expand few, shrink many, expand many) over a grid. Gives 0, 1
// when there is no such kernel, or 2 when threads wait at a barrier that others do not reach.
extern "C" int tributary_emulate(int kernel, const void *launch, unsigned grid_x, unsigned grid_y) {
    const Kernel kernels[4] = {lora_shrink_few, lora_expand_few, lora_shrink_many, lora_expand_many};
    if (kernel < 0 || kernel > 3) return 1;
    const unsigned count = kernel < 2 ? FEW_THREADS : MANY_THREADS;
    Block mine;
    mine.threads.resize(count);
    mine.stacks.resize(count * STACK);
    mine.warps.resize(count / WARP);
    mine.floats.resize(count);
    mine.products.resize(count);
    block = &mine;
    running = kernels[kernel];
    launched = static_cast<const Launch *>(launch);
    bool whole = true;
    for (unsigned y = 0; y < grid_y && whole; y++) {
        for (unsigned x = 0; x < grid_x && whole; x++) whole = run_block(x, y);
    }
    block = nullptr;
    return whole ? 0 : 2;
}

extern "C" size_t tributary_emulate_launch_size() { return sizeof(Launch); }
