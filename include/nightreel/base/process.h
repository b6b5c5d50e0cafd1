// Child processes: renderers, the private redis-server, test servers.
//
// The traps that this file knows (docs/architecture.md tells how they were met): mpirun signals a rank's whole process
// group, so a child gets its own group and starts with TERM, INT, HUP, USR1 and USR2 blocked; a child must not outlive
// its parent, so PR_SET_PDEATHSIG (SIGKILL) is set before it becomes the program, whichever that is. It belongs to the
// thread that spawned: spawn from a thread that lives as long as the child should. Every descriptor above 2 is closed;
// variables go by a rule (child_environment.h).
#pragma once

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "nightreel/base/child_environment.h"
#include "nightreel/base/file.h"

namespace nightreel::base {

struct ChildOptions {
  std::vector<std::string> argv;                             // argv[0]: path or a name to be found in PATH
  EnvironmentRule environment = {};                          // which of this process's variables it gets
  std::vector<std::pair<std::string, std::string>> set_env;  // on top of these
  bool pipe_stdin = true;                                    // else /dev/null
  bool pipe_stdout = true;                                   // else this process's
  std::string stderr_path;                                   // appended; empty: this process's
  int inherit_fd = -1;                                       // becomes the child's descriptor 3; -1: none
  bool own_group = true;
  bool block_signals = true;
  bool die_with_thread = true;  // SIGKILL when the thread that started it ends; false: it is its owner's to end
};

/// Owns the process: the destructor kills its group with SIGKILL and reaps it. Move-only, one thread at a time.
class Child {
 public:
  Child() = default;
  /// Throws Error{environment} naming argv[0].
  explicit Child(const ChildOptions& options);
  Child(Child&& other) noexcept;
  Child& operator=(Child&& other) noexcept;
  ~Child();

  pid_t pid() const { return pid_; }
  explicit operator bool() const { return pid_ > 0; }
  int stdin_fd() const { return in_.get(); }
  int stdout_fd() const { return out_.get(); }
  void close_stdin() { in_.reset(); }
  /// The whole group where it has its own.
  void kill(int signal) const;
  /// "exit code 3", "signal 9 (Killed)" once it has ended; reaps it.
  std::optional<std::string> wait(std::chrono::milliseconds timeout);
  /// After wait() gave an answer: exit code, or 128 + signal.
  int code() const { return code_; }

 private:
  pid_t pid_ = -1;
  bool group_ = false;
  int code_ = -1;
  std::string ended_;
  Fd in_;
  Fd out_;
};

/// To be called first thing in the main of a child that something between may have started: dies with its parent
/// (PR_SET_PDEATHSIG SIGKILL) and exits at once if the parent is gone already. The parent's id travels in
/// NIGHTREEL_PARENT_PID, which Child sets.
void die_with_parent();

/// Another executable of this program: NAME beside the running one, or in ../libexec/nightreel, where an installation
/// has it; the first of the two that is there, else the path beside.
std::string companion(const std::string& name);

}  // namespace nightreel::base
