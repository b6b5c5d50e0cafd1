// Errors of the stand-in GPU. One that breaks it stays, as a fault in a real kernel does, and says what it was.
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <string>
#include <utility>

#include "stand_in/gpu.h"

namespace nightreel::stand_in {
namespace {

struct Broken {
  std::mutex mutex;
  bool is = false;
  std::string why;
};

Broken& state() {
  static auto* made = new Broken;
  return *made;
}

thread_local cudaError_t last = cudaSuccess;

const char* unnamed(cudaError_t error) {
  thread_local std::string text;
  text = "error " + std::to_string(error) + " of the stand-in GPU";
  return text.c_str();
}

}  // namespace

std::uint64_t number(const char* variable, std::uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr || *text == '\0' ? otherwise : std::strtoull(text, nullptr, 10);
}

cudaError_t broken() {
  const std::lock_guard lock(state().mutex);
  return state().is ? cudaErrorLaunchFailure : cudaSuccess;
}

cudaError_t break_gpu(const std::string& why) {
  const std::lock_guard lock(state().mutex);
  if (!state().is) state().why = "the stand-in GPU is broken: " + why;
  state().is = true;
  return cudaErrorLaunchFailure;
}

cudaError_t fail(cudaError_t error) {
  return last = error;
}

}  // namespace nightreel::stand_in

using namespace nightreel::stand_in;

STAND_IN_API cudaError_t cudaGetLastError() {
  STAND_IN_UNLESS_BROKEN();
  return std::exchange(last, cudaSuccess);
}

STAND_IN_API cudaError_t cudaPeekAtLastError() {
  STAND_IN_UNLESS_BROKEN();
  return last;
}

STAND_IN_API const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorNotReady:
      return "device not ready";
    case cudaErrorLaunchFailure:
      return broken() == cudaSuccess ? "unspecified launch failure" : state().why.c_str();
    default:
      return unnamed(error);
  }
}

STAND_IN_API const char* cudaGetErrorName(cudaError_t error) {
  return error == cudaErrorMemoryAllocation ? "cudaErrorMemoryAllocation" : "cudaErrorOfTheStandIn";
}
