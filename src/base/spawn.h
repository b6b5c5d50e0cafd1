// From the decision to start a program to its first instruction. Private to the base layer; any thread.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace nightreel::base {

struct SpawnPlan {
  std::vector<std::string> argv;  // argv[0]: path or a name to be found in PATH
  std::vector<std::string> env;
  int in = -1;              // becomes 0; -1: /dev/null
  int out = -1;             // becomes 1; -1: this process's
  std::string stderr_path;  // appended to; empty: this process's
  int extra = -1;           // becomes 3; -1: none
  bool own_group = true;
  bool block_signals = true;
  bool die_with_thread = true;
};

/// Starts it, where `die_with_thread` so that it ends with the thread that calls this, from before its first
/// instruction on: no program has to help, and none outlives its owner. Throws Error{environment} "cannot start NAME:
/// reason".
pid_t spawn(const SpawnPlan& plan);

}  // namespace nightreel::base
