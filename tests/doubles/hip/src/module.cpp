// Loading modules, and launching kernels on streams.
#include "module.h"

#include <atomic>
#include <cstring>
#include <map>
#include <mutex>

#include "stream.h"

namespace standin {

constexpr size_t kMostThreads = 1024;
constexpr int kThreadsOfMultiprocessor = 2048, kWavefrontsAtLeast = 64;

// The length of an ELF file whose table of sections is its end, as linkers make it; 0 where it is none.
static size_t length_of(const unsigned char* image) {
  if (std::memcmp(image, "\x7f" "ELF\x02", 5) != 0) return 0;
  uint64_t table;
  uint16_t entry, count;
  std::memcpy(&table, image + 40, 8);
  std::memcpy(&entry, image + 58, 2);
  std::memcpy(&count, image + 60, 2);
  return table + size_t{entry} * count;
}

struct Loaded {
  std::unique_ptr<Module> module;
  std::map<std::string, std::shared_ptr<Kernel>> kernels;
};

static hipError_t launch(Kernel& kernel, Size grid, Size block, hipStream_t handle, void** parameters, void** extra) {
  if (grid.all() == 0 || block.all() == 0 || block.all() > kMostThreads) return hipErrorInvalidConfiguration;
  auto stream = stream_of(handle);
  if (stream == nullptr) return hipErrorInvalidHandle;
  if (stream->device != current()) return hipErrorInvalidHandle;
  static std::atomic<long> launches{0};
  long number = ++launches;
  if (fault("lost") == number) lose(hipErrorUnknown);
  const char* packed = nullptr;
  for (void** at = extra; parameters == nullptr && at != nullptr && *at != HIP_LAUNCH_PARAM_END; at += 2) {
    if (*at == HIP_LAUNCH_PARAM_BUFFER_POINTER) packed = static_cast<const char*>(at[1]);
  }
  std::vector<char> values;
  for (size_t i = 0; i < kernel.arguments.size(); i++) {
    Argument where = kernel.arguments[i];
    if (parameters == nullptr && packed == nullptr) return hipErrorInvalidValue;
    values.resize(where.offset + where.bytes);
    std::memcpy(&values[where.offset], parameters ? parameters[i] : packed + where.offset, where.bytes);
  }
  bool fails = fault("launch") == number;
  stream->give([&kernel, grid, block, values, fails] {
    hipError_t error = fails ? hipErrorLaunchFailure : kernel.run(grid, block, values);
    if (error != hipSuccess) lose(error);
  });
  return hipSuccess;
}

}  // namespace standin

using namespace standin;

API hipError_t hipModuleLoadData(hipModule_t* result, const void* image) {
  auto* bytes = static_cast<const unsigned char*>(image);
  size_t length = bytes == nullptr ? 0 : length_of(bytes);
  if (length == 0) return answer(hipErrorInvalidImage);
  constexpr unsigned char kMachineOfAmdGpus = 224;
  std::string copy(static_cast<const char*>(image), length);
  auto made = std::make_unique<Loaded>();
  bool amd = bytes[18] == kMachineOfAmdGpus;
  if (amd == instructions()) made->module = amd ? load_code(copy) : load_library(copy);
  if (made->module == nullptr) return answer(hipErrorNoBinaryForGpu);
  *result = reinterpret_cast<hipModule_t>(made.release());
  return answer(hipSuccess);
}
API hipError_t hipModuleUnload(hipModule_t module) {
  synchronize_device();
  delete reinterpret_cast<Loaded*>(module);
  return answer(hipSuccess);
}
API hipError_t hipModuleGetFunction(hipFunction_t* result, hipModule_t module, const char* name) {
  auto& loaded = *reinterpret_cast<Loaded*>(module);
  auto& kernel = loaded.kernels[name];
  if (kernel == nullptr) kernel = loaded.module->kernel(name);
  if (kernel == nullptr) return answer(hipErrorNotFound);
  *result = reinterpret_cast<hipFunction_t>(kernel.get());
  return answer(hipSuccess);
}
API hipError_t hipModuleOccupancyMaxActiveBlocksPerMultiprocessor(int* result, hipFunction_t, int threads, size_t) {
  *result = kThreadsOfMultiprocessor / (threads < kWavefrontsAtLeast ? kWavefrontsAtLeast : threads);
  return answer(hipSuccess);
}
API hipError_t hipModuleLaunchKernel(hipFunction_t kernel, unsigned gx, unsigned gy, unsigned gz, unsigned bx,
                                     unsigned by, unsigned bz, unsigned, hipStream_t stream, void** parameters,
                                     void** extra) {
  if (kernel == nullptr) return answer(hipErrorInvalidHandle);
  auto& chosen = *reinterpret_cast<Kernel*>(kernel);
  return answer(launch(chosen, {gx, gy, gz}, {bx, by, bz}, stream, parameters, extra));
}
