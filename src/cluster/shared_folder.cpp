#include "nightreel/cluster/shared_folder.h"

#include <sys/stat.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "nightreel/base/error.h"
#include "nightreel/base/file.h"
#include "nightreel/base/json.h"
#include "nightreel/base/random.h"

namespace nightreel::cluster {
namespace {

using base::Json;
using Clock = std::chrono::steady_clock;

/// Writes a file and removes it at the end.
class TemporaryFile {
 public:
  TemporaryFile(std::string path, const std::string& content) : path_(std::move(path)) {
    base::replace_file(path_, content);
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() {
    try {
      base::remove_file(path_);
    } catch (const base::Error&) {
      // Nothing depends on its going; the folder's own errors are reported elsewhere.
    }
  }

 private:
  std::string path_;
};

/// "device:inode" of a folder, "" where it cannot be looked at.
std::string identity(const std::string& folder) {
  struct stat info {};
  if (::stat(folder.c_str(), &info) != 0) return "";
  return std::to_string(info.st_dev) + ":" + std::to_string(info.st_ino);
}

std::string mark_path(const std::string& folder, const std::string& nonce) {
  return folder + "/.nightreel-" + nonce;
}

bool sees_mark(const std::string& path, const std::string& nonce) {
  try {
    return base::read_file(path, 1024) == nonce;
  } catch (const base::Error&) {
    return false;
  }
}

/// Why this rank, not rank 0, does not share the folder.
std::optional<std::string> look(const std::string& folder, const Json& mark, bool same_host,
                                std::chrono::milliseconds patience) {
  const std::string nonce = mark.at("nonce").get<std::string>();
  const std::string path = mark_path(folder, nonce);
  const auto until = Clock::now() + patience;
  while (!sees_mark(path, nonce)) {
    // On one machine there is no cache to wait for: another folder is another folder.
    const bool another = same_host && identity(folder) != mark.at("identity").get<std::string>();
    if (another || Clock::now() >= until) {
      return folder + " is not the folder that rank 0 on host " + mark.at("host").get<std::string>() + " sees (" +
             mark.at("folder").get<std::string>() + "): --out must be on storage that all ranks share";
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  try {
    const TemporaryFile own(path + "-" + base::random_hex(4), nonce);
  } catch (const base::Error& e) {
    return std::string(e.what());
  }
  return std::nullopt;
}

}  // namespace

void check_shared_folder(World& world, const std::string& folder, std::chrono::milliseconds patience,
                         std::chrono::milliseconds deadline) {
  std::optional<TemporaryFile> file;
  std::optional<std::string> problem;
  Json mark{{"nonce", base::random_hex(16)}, {"host", world.place().host}, {"folder", folder}};
  if (world.rank() == 0) {
    try {
      base::make_folders(folder);
      const std::string nonce = mark.at("nonce").get<std::string>();
      file.emplace(mark_path(folder, nonce), nonce);
      mark["identity"] = identity(folder);
    } catch (const base::Error& e) {
      problem = e.what();
      mark["failed"] = true;
    }
  }
  const std::string text = base::dump_json(mark);
  const Json theirs = Json::parse(world.broadcast(text, 0, deadline, "the output folder"));
  if (world.rank() != 0 && !theirs.contains("failed")) {
    const bool same_host = world.place().host_index == world.places()[0].host_index;
    problem = look(folder, theirs, same_host, patience);
  }
  world.throw_together(problem, deadline + patience, "the output folder");
}

}  // namespace nightreel::cluster
