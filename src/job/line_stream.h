// A file or standard input as lines of bounded length, never whole in memory.
#pragma once

#include <cstddef>
#include <string>

#include "nightreel/base/file.h"
#include "nightreel/job/job_file.h"

namespace nightreel::job {

class LineStream {
 public:
  /// "-" is standard input. Throws Error{usage} naming the file.
  LineStream(const std::string& path, const JobFileLimits& limits);
  enum class Status { line, too_long, end };
  /// The next line without its end. Of a line that is too long nothing is kept. Throws Error{usage} when the file
  /// cannot be read or is too large.
  Status next(std::string& line);
  std::size_t number() const { return number_; }  // of the last line, from 1

 private:
  bool fill();
  std::string path_;
  JobFileLimits limits_;
  base::Fd owned_;
  int fd_ = 0;
  std::size_t number_ = 0;
  std::size_t bytes_ = 0;
  std::string buffer_;
  std::size_t at_ = 0;
};

}  // namespace nightreel::job
