#include "nightreel/base/publishing.h"

#include <vector>

#include "nightreel/base/error.h"
#include "nightreel/base/file.h"
#include "nightreel/base/random.h"

namespace nightreel::base {
namespace {

// Names that are gone at the end, whatever happened. A run sweeps what a killed process leaves (OutputFolder::sweep).
class ProbeNames {
 public:
  explicit ProbeNames(const std::string& folder) : stem_(folder + "/.probe-" + random_hex(8)) {}
  ProbeNames(const ProbeNames&) = delete;
  ProbeNames& operator=(const ProbeNames&) = delete;
  ~ProbeNames() {
    for (const auto& path : made_) {
      try {
        remove_file(path);
      } catch (const Error&) {
        // The check itself has said what is wrong with the folder.
      }
    }
  }
  std::string make(const std::string& what) {
    made_.push_back(stem_ + what + ".part");
    return made_.back();
  }

 private:
  std::string stem_;
  std::vector<std::string> made_;
};

[[noreturn]] void fail(const std::string& path, const std::string& what) {
  throw Error(ErrorKind::storage, path + ": " + what + ", so no video is safe there; " + kPublishingFix);
}

}  // namespace

void check_publishing(const std::string& folder) {
  ProbeNames names(folder);
  const std::string first = names.make("-first");
  const std::string second = names.make("-second");
  const std::string final_name = names.make("");
  replace_file(first, "first");
  if (!publish(first, final_name)) fail(final_name, "a new name counts as taken");
  replace_file(second, "second");
  if (publish(second, final_name) || read_file(final_name, 64) != "first") {
    fail(final_name, "a link replaced a file that was there");
  }
  rename_file(second, final_name);
  if (read_file(final_name, 64) != "second") fail(final_name, "a rename did not replace the file");
}

}  // namespace nightreel::base
