// A stand-in for AMD's HIP runtime (libamdhip64.so, hiprtc), for tests alone: devices are memory and processors of this
// machine. What every part needs.
#pragma once
#define __HIP_PLATFORM_AMD__ 1
#define __HIP_DISABLE_CPP_FUNCTIONS__ 1
#include <hip/hip_runtime_api.h>

#include <cstdint>
#include <string>

#define API extern "C" __attribute__((visibility("default")))

namespace standin {

// What the environment asks for.
std::string setting(const char* name, const char* otherwise);  // HIP_STANDIN_<name>
int device_count();                                            // DEVICES: 1 unless said otherwise
std::string architecture();                                    // ARCH: gfx942
bool instructions();                                           // MODE=instructions: kernels are that GPU's code
long fault(const char* name);  // a number of FAULTS ("memory=1000000,launch=3,lost=5,slow=200", copies.cpp), or -1

// The device that is current in this thread.
int& current();

// Every answer passes through here: remembers the error of this thread, and answers for a device that is lost.
hipError_t answer(hipError_t error);

// The device is gone from now on, or what ran on it has failed: every later call says so, as HIP does.
void lose(hipError_t error);

}  // namespace standin
