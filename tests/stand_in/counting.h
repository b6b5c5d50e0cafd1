// What the counting stand-in has counted, for the program that it is preloaded into.
#pragma once

#include "stand_in/gpu.h"

namespace nightreel::stand_in {

/// Notes a kernel of a library that is not there: `name` is what a report shows.
void count_kernel(const std::string& name);
/// Kernels so far, of this process.
long kernels_counted();
/// Notes bytes that an operator's kernels go over.
void count_bytes_of_operators(std::uint64_t bytes);

}  // namespace nightreel::stand_in

/// Begins to count anew, peaks too.
STAND_IN_API void stand_in_reset();
/// JSON: {"calls": {NAME: [TIMES, BYTES]}, "kernels": {NAME: TIMES}, "operator_bytes": n, "memory": {"card", "context",
/// "used", "most", "refused"}}. Valid until the next call.
STAND_IN_API const char* stand_in_report();
