// Files of jobs: one JSON object a line.
//
// Blank lines, a carriage return before the line's end and a byte-order mark at its start are let through (files come
// from Windows editors too, and are joined with cat); nothing else is. Reads line by line; holds no state; any thread.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "nightreel/job/job.h"

namespace nightreel::job {

struct JobFileLimits {
  std::size_t line = 1U << 20U;  // bytes
  std::size_t file = 1U << 30U;  // bytes
  std::size_t shown = 20;        // bad lines in one message; the rest are counted
};

/// The jobs of all files in order, each id once: the same id with equal content is one job, with other content an
/// error. "-" is standard input, whose relative paths count from the current folder; those of a file count from its own
/// folder. Throws one Error{usage} for all files together whose message has a line "FILE:LINE: field: reason" for each
/// bad line (the first reason of each).
std::vector<Job> read_job_files(const std::vector<std::string>& paths, const std::string& input_root = {},
                                const JobFileLimits& limits = {});

/// Gathers the lines of such a message.
class BadLines {
 public:
  explicit BadLines(std::size_t shown) : shown_(shown) {}
  void add(const std::string& line);
  /// Throws Error{usage} if there was any.
  void check() const;

 private:
  std::size_t shown_;
  std::size_t count_ = 0;
  std::string text_;
};

}  // namespace nightreel::job
