// What was in the files that a job names: their paths say nothing about that.
//
// Remembers what it has read by the files' stamps. One thread. Throws Error{storage} for a file that cannot be read.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "nightreel/settings/settings.h"

namespace nightreel::rank {

/// Path -> XXH3-128 of the bytes, 32 hex digits.
using Inputs = std::map<std::string, std::string>;

/// The pictures and LoRAs that the settings name.
std::vector<std::string> input_files(const settings::Settings& settings);

class InputHashes {
 public:
  /// Of a file, or of all files in a folder and their names.
  std::string of(const std::string& path);
  /// Of each of input_files().
  Inputs of(const settings::Settings& settings);

 private:
  struct Known {
    std::string stamp;
    std::string hash;
  };
  std::string of_file(const std::string& path);
  std::map<std::string, Known> known_;
};

/// `before` and `after` the work: a file that was not the same all the time has an empty hash, which is no file's.
Inputs unchanged(const Inputs& before, const Inputs& after);

}  // namespace nightreel::rank
