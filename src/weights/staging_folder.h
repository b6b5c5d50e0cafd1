// A folder that appears whole or not at all.
//
// It is filled under a temporary name beside its place and renamed at the end; the destructor removes what was never
// published. Owns a lock on the temporary folder, so that two programs do not fill the same one; what a killed one left
// there is removed. One thread. Error{usage} where the place is taken, Error{storage} where the system refuses.
#pragma once

#include <string>

#include "nightreel/base/file.h"

namespace nightreel::weights {

class StagingFolder {
 public:
  /// `target` must not exist, or be an empty folder.
  explicit StagingFolder(const std::string& target);
  StagingFolder(const StagingFolder&) = delete;
  StagingFolder& operator=(const StagingFolder&) = delete;
  ~StagingFolder();

  const std::string& path() const { return path_; }
  /// Everything in it was made safe before (fsync): gives the folder its name.
  void publish();

 private:
  std::string target_;
  std::string path_;
  base::Fd lock_;
};

}  // namespace nightreel::weights
