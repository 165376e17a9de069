// What tch does not reach: streams, events, allocator figures, switches, memory pools of graphs.
//
// Everything goes through interfaces that the CPU part of PyTorch declares (device guard, device
// allocator, global context) and that the CUDA part fills in when it is loaded. So the program
// links without CUDA and runs without it: then each function gives an error text.
//
// Every function gives nullptr, or a text that lives until the thread's next call.

#include <dlfcn.h>

#include <cstdint>
#include <exception>
#include <string>

#include <ATen/Context.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/Stream.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <c10/cuda/CUDACachingAllocator.h>

namespace {

thread_local std::string last_error;

template <typename F>
const char* guarded(F&& body) {
  try {
    body();
    return nullptr;
  } catch (const c10::Error& error) {
    last_error = error.what_without_backtrace();
  } catch (const std::exception& error) {
    last_error = error.what();
  } catch (...) {
    last_error = "an exception of an unknown kind";
  }
  return last_error.c_str();
}

const c10::impl::DeviceGuardImplInterface& guard() {
  return *c10::impl::getDeviceGuardImpl(c10::DeviceType::CUDA);
}

c10::Device device(int32_t index) {
  return c10::Device(c10::DeviceType::CUDA, static_cast<c10::DeviceIndex>(index));
}

c10::DeviceAllocator& allocator() {
  // The allocator fills its tables only when the device is first used.
  at::globalContext().lazyInitDevice(c10::DeviceType::CUDA);
  return *c10::getDeviceAllocator(c10::DeviceType::CUDA);
}

c10::cuda::CUDACachingAllocator::CUDAAllocator& cuda_allocator() {
  // The one that is registered for CUDA is always of this class.
  return static_cast<c10::cuda::CUDACachingAllocator::CUDAAllocator&>(allocator());
}

struct RawStream {
  int64_t id;
  int64_t device;
  void* native;
};

c10::Stream unpack(const RawStream& raw) {
  return c10::Stream(c10::Stream::UNSAFE, device(static_cast<int32_t>(raw.device)), raw.id);
}

void pack(const c10::Stream& stream, RawStream* out) {
  out->id = stream.id();
  out->device = stream.device_index();
  out->native = guard().getStreamNativeHandle(stream);
}

c10::MempoolId_t pool(uint64_t id) {
  // The form of pools that a user names; those of PyTorch's own graphs have the first part set.
  return {0, id};
}

}  // namespace

extern "C" {

// Loads a library for the rest of the process, its symbols visible to what is loaded later.
const char* tributary_load_library(const char* path) {
  return guarded([&] {
    if (dlopen(path, RTLD_NOW | RTLD_GLOBAL) == nullptr) {
      const char* reason = dlerror();
      throw std::runtime_error(reason != nullptr ? reason : "the library cannot be loaded");
    }
  });
}

// Folder and name of the library that PyTorch's core was loaded from.
const char* tributary_torch_library(char* out, size_t capacity) {
  return guarded([&] {
    Dl_info info;
    const void* symbol = reinterpret_cast<const void*>(&c10::impl::device_guard_impl_registry);
    if (dladdr(symbol, &info) == 0 || info.dli_fname == nullptr) {
      throw std::runtime_error("the loader does not know where PyTorch came from");
    }
    const std::string path = info.dli_fname;
    if (path.size() + 1 > capacity) {
      throw std::runtime_error("the path of PyTorch's library is too long");
    }
    std::copy(path.c_str(), path.c_str() + path.size() + 1, out);
  });
}

int32_t tributary_has_cuda() {
  return c10::impl::hasDeviceGuardImpl(c10::DeviceType::CUDA) ? 1 : 0;
}

const char* tributary_device_count(int32_t* out) {
  return guarded([&] { *out = guard().deviceCount(); });
}

const char* tributary_device_use(int32_t index) {
  return guarded([&] {
    at::globalContext().lazyInitDevice(c10::DeviceType::CUDA);
    guard().setDevice(device(index));
  });
}

const char* tributary_device_synchronize(int32_t index) {
  return guarded([&] { guard().synchronizeDevice(static_cast<c10::DeviceIndex>(index)); });
}

const char* tributary_stream_current(int32_t index, RawStream* out) {
  return guarded([&] {
    at::globalContext().lazyInitDevice(c10::DeviceType::CUDA);
    pack(guard().getStream(device(index)), out);
  });
}

const char* tributary_stream_new(int32_t index, int32_t high_priority, RawStream* out) {
  return guarded([&] {
    at::globalContext().lazyInitDevice(c10::DeviceType::CUDA);
    pack(guard().getStreamFromGlobalPool(device(index), high_priority != 0), out);
  });
}

const char* tributary_stream_exchange(const RawStream* next, RawStream* previous) {
  return guarded([&] { pack(guard().exchangeStream(unpack(*next)), previous); });
}

const char* tributary_stream_synchronize(const RawStream* stream) {
  return guarded([&] { guard().synchronizeStream(unpack(*stream)); });
}

const char* tributary_stream_idle(const RawStream* stream, int32_t* out) {
  return guarded([&] { *out = guard().queryStream(unpack(*stream)) ? 1 : 0; });
}

// Records `event`, made on first use, at the present end of `stream`.
const char* tributary_event_record(void** event, const RawStream* stream) {
  return guarded([&] {
    const c10::Stream on = unpack(*stream);
    // The flag of this name is the one that keeps times.
    guard().record(event, on, on.device_index(), c10::EventFlag::BACKEND_DEFAULT);
  });
}

const char* tributary_event_block(void* event, const RawStream* stream) {
  return guarded([&] { guard().block(event, unpack(*stream)); });
}

const char* tributary_event_done(void* event, int32_t* out) {
  return guarded([&] { *out = guard().queryEvent(event) ? 1 : 0; });
}

const char* tributary_event_synchronize(void* event) {
  return guarded([&] { guard().synchronizeEvent(event); });
}

const char* tributary_event_elapsed(void* first, void* second, int32_t index, double* ms) {
  return guarded([&] {
    *ms = guard().elapsedTime(first, second, static_cast<c10::DeviceIndex>(index));
  });
}

void tributary_event_destroy(void* event, int32_t index) {
  if (c10::impl::hasDeviceGuardImpl(c10::DeviceType::CUDA)) {
    guard().destroyEvent(event, static_cast<c10::DeviceIndex>(index));
  }
}

// allocated now, allocated at most, reserved now, reserved at most, failed allocations
const char* tributary_memory(int32_t index, int64_t* out) {
  return guarded([&] {
    const auto stats = allocator().getDeviceStats(static_cast<c10::DeviceIndex>(index));
    const auto all = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
    out[0] = stats.allocated_bytes[all].current;
    out[1] = stats.allocated_bytes[all].peak;
    out[2] = stats.reserved_bytes[all].current;
    out[3] = stats.reserved_bytes[all].peak;
    out[4] = stats.num_ooms;
  });
}

const char* tributary_memory_reset_peak(int32_t index) {
  return guarded([&] { allocator().resetPeakStats(static_cast<c10::DeviceIndex>(index)); });
}

const char* tributary_memory_empty_cache() {
  return guarded([&] { allocator().emptyCache(); });
}

struct Switches {
  uint8_t deterministic;
  uint8_t tf32;
  uint8_t reduced_bf16;
  uint8_t reduced_f16;
  uint8_t sdp_flash;
  uint8_t sdp_efficient;
  uint8_t sdp_cudnn;
  uint8_t sdp_math;
};

const char* tributary_switches_get(Switches* out) {
  return guarded([&] {
    auto& context = at::globalContext();
    out->deterministic = context.deterministicAlgorithms();
    out->tf32 = context.allowTF32CuBLAS();
    using Reduction = at::CuBLASReductionOption;
    out->reduced_bf16 =
        context.allowBF16ReductionCuBLAS() != Reduction::DisallowReducedPrecisionDisallowSplitK &&
        context.allowBF16ReductionCuBLAS() != Reduction::DisallowReducedPrecisionAllowSplitK;
    out->reduced_f16 =
        context.allowFP16ReductionCuBLAS() != Reduction::DisallowReducedPrecisionDisallowSplitK &&
        context.allowFP16ReductionCuBLAS() != Reduction::DisallowReducedPrecisionAllowSplitK;
    out->sdp_flash = context.userEnabledFlashSDP();
    out->sdp_efficient = context.userEnabledMemEfficientSDP();
    out->sdp_cudnn = context.userEnabledCuDNNSDP();
    out->sdp_math = context.userEnabledMathSDP();
  });
}

const char* tributary_switches_set(const Switches* in) {
  return guarded([&] {
    auto& context = at::globalContext();
    context.setDeterministicAlgorithms(in->deterministic, false);
    context.setDeterministicCuDNN(in->deterministic);
    context.setBenchmarkCuDNN(!in->deterministic);
    context.setAllowTF32CuBLAS(in->tf32);
    context.setAllowTF32CuDNN(in->tf32);
    context.setAllowBF16ReductionCuBLAS(in->reduced_bf16 != 0, true);
    context.setAllowFP16ReductionCuBLAS(in->reduced_f16 != 0, true);
    context.setSDPUseFlash(in->sdp_flash);
    context.setSDPUseMemEfficient(in->sdp_efficient);
    context.setSDPUseCuDNN(in->sdp_cudnn);
    context.setSDPUseMath(in->sdp_math);
  });
}

// Until `tributary_pool_end`, memory that is asked for on `native` comes from pool `id`, whose
// blocks are kept until the pool is released: what a captured graph writes to stays its own.
const char* tributary_pool_begin(int32_t index, uint64_t id, void* native) {
  return guarded([&] {
    cuda_allocator().beginAllocateToPool(
        static_cast<c10::DeviceIndex>(index), pool(id),
        [native](cudaStream_t stream) { return static_cast<void*>(stream) == native; });
  });
}

const char* tributary_pool_end(int32_t index, uint64_t id) {
  return guarded([&] {
    cuda_allocator().endAllocateToPool(static_cast<c10::DeviceIndex>(index), pool(id));
  });
}

const char* tributary_pool_release(int32_t index, uint64_t id) {
  return guarded([&] {
    cuda_allocator().releasePool(static_cast<c10::DeviceIndex>(index), pool(id));
  });
}

}  // extern "C"
