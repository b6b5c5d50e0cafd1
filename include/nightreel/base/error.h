// One exception type for the whole program, with a closed set of kinds.
//
// A kind decides, in one table (error.cpp), whether a job that met it is tried again, which exit code a run ends with
// when it met it, and what it is called in logs and in Redis. Library layers throw it and never print or exit; it is
// caught per job and in main.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace nightreel::base {

enum class ErrorKind {
  usage,          // a flag or a job file that cannot be used
  job,            // one job that this model, or any, cannot render
  model,          // a checkpoint that is missing, broken or of an unknown kind
  environment,    // wrong ranks, GPUs, launcher, folders
  queue,          // Redis is away, full, or refuses
  storage,        // a file that cannot be written or read back
  renderer,       // the renderer process died, hung or spoke garbage
  device,         // the GPU failed
  device_memory,  // the GPU has too little memory
  host_memory,    // the host has, or a limit (ulimit -v, a cgroup) leaves too little
  numeric,        // latents that are not finite
  comm,           // a collective between renderers failed or ran out of time
  interrupted,    // somebody asked to stop
  internal        // a bug of ours
};

struct ErrorTraits {
  std::string_view name;
  bool retry;     // may another attempt of the same job succeed?
  int exit_code;  // of a program that ends because of it
};

const ErrorTraits& traits(ErrorKind kind);

/// The kind whose name is `name`; `internal` for a name that no version of the program wrote.
ErrorKind error_kind(std::string_view name);

/// `text` with control characters as \xNN, so that a prompt or a file name cannot drive a terminal; cut at `limit`
/// bytes (on a UTF-8 boundary) with an ellipsis. What was made printable stays as it is.
std::string printable(std::string_view text, std::size_t limit = 200);

/// Its message is one line without control characters, whatever names, paths and libraries' words it was made of.
class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& message) : Error(kind, printable(message, std::string::npos), Lines()) {}
  /// Of several lines, each an error of its own (a job file's): line ends stay, whatever else is a control character
  /// does not. Lines must not be made of names with line ends in them: what parse_job says is not.
  static Error of_lines(ErrorKind kind, const std::string& lines);
  ErrorKind kind() const { return kind_; }

 private:
  struct Lines {};
  Error(ErrorKind kind, const std::string& message, Lines) : std::runtime_error(message), kind_(kind) {}
  ErrorKind kind_;
};

/// An Error of the kind storage: "WHAT PATH: strerror(errno)". Reads errno at the call.
[[noreturn]] void throw_errno(const std::string& what, const std::string& path);

/// The entry of `known` with the smallest edit distance to `word`, empty if none is near: "did you mean".
std::string nearest(std::string_view word, const std::vector<std::string>& known);

}  // namespace nightreel::base
