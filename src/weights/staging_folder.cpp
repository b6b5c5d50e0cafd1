#include "weights/staging_folder.h"

#include <fcntl.h>
#include <sys/file.h>

#include <filesystem>

#include "nightreel/base/error.h"

namespace nightreel::weights {

namespace {

namespace fs = std::filesystem;
using base::Error;
using base::ErrorKind;

/// Without a slash at its end, so that it has a last name.
std::string plain(const std::string& path) {
  fs::path normal = fs::absolute(path).lexically_normal();
  return normal.has_filename() ? normal.string() : normal.parent_path().string();
}

void require_free(const std::string& target) {
  std::error_code error;
  const fs::file_status status = fs::symlink_status(target, error);
  if (!fs::exists(status) || (fs::is_directory(status) && fs::is_empty(target, error) && !error)) return;
  throw Error(ErrorKind::usage, base::printable(target) + ": is there already; remove it, or name another folder");
}

}  // namespace

StagingFolder::StagingFolder(const std::string& target) : target_(plain(target)) {
  require_free(target_);
  const std::string parent = base::parent_folder(target_);
  base::make_folders(parent);
  path_ = parent + "/." + fs::path(target_).filename().string() + ".part";
  base::make_folders(path_);
  lock_ = base::Fd(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!lock_) base::throw_errno("cannot open", path_);
  if (::flock(lock_.get(), LOCK_EX | LOCK_NB) != 0) {
    lock_.reset();
    throw Error(ErrorKind::usage, base::printable(path_) + ": another program is writing there");
  }
  for (const auto& left : fs::directory_iterator(path_)) fs::remove_all(left.path());
}

StagingFolder::~StagingFolder() {
  std::error_code ignored;
  if (lock_) fs::remove_all(path_, ignored);
}

void StagingFolder::publish() {
  for (const auto& entry : fs::recursive_directory_iterator(path_)) {
    if (entry.is_directory()) base::sync_folder(entry.path().string());
  }
  base::sync_folder(path_);
  require_free(target_);
  base::rename_file(path_, target_);
  lock_.reset();
  base::sync_folder(base::parent_folder(target_));
}

}  // namespace nightreel::weights
