#include "nightreel/base/links.h"

#include <filesystem>

#include "nightreel/base/error.h"

namespace nightreel::base {

std::string dangling_link(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code error;
  if (!fs::is_symlink(path, error) || fs::exists(path, error)) return {};
  const std::string target = fs::read_symlink(path, error).string();
  // A hub's cache: snapshots/COMMIT/FILE -> ../../blobs/HASH
  const bool cached = target.find("blobs/") != std::string::npos;
  return "is a link to " + printable(target) + ", which is not there: " +
         (cached ? "the download was not finished, or its cache was cleared; download the model again"
                 : "put the file there, or correct the link");
}

}  // namespace nightreel::base
