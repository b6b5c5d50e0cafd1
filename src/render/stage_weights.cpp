#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <map>

#include "nightreel/base/clock.h"
#include "nightreel/base/error.h"
#include "nightreel/base/file.h"
#include "nightreel/base/hash.h"
#include "render/loading.h"

namespace nightreel::render {
namespace {

namespace fs = std::filesystem;
using base::Error;
using base::ErrorKind;

constexpr std::size_t kChunk = 8U << 20U;

struct Source {
  std::uint64_t bytes = 0;
  std::int64_t changed_ns = 0;
};

// A checkpoint's files by their names within it. Links are followed: a hub's cache is made of them.
using Sources = std::map<std::string, Source>;

void list(const fs::path& folder, const std::string& prefix, Sources& sources) {
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name.front() == '.') continue;  // a version control's, a download's
    if (entry.is_directory()) list(entry.path(), prefix + name + "/", sources);
    struct stat status {};
    if (::stat(entry.path().c_str(), &status) != 0) base::throw_errno("cannot stat", entry.path());
    if (!S_ISREG(status.st_mode)) continue;
    sources[prefix + name] = {static_cast<std::uint64_t>(status.st_size),
                              status.st_mtim.tv_sec * 1'000'000'000 + status.st_mtim.tv_nsec};
  }
}

// Another name for every other state of the files.
std::string name_of(const fs::path& model, const Sources& sources) {
  std::string text = model.string() + "\n";
  for (const auto& [name, source] : sources) {
    text += name + " " + std::to_string(source.bytes) + " " + std::to_string(source.changed_ns) + "\n";
  }
  return model.filename().string() + "-" + base::xxh128_hex(text).substr(0, 16);
}

void copy_synced(const std::string& from, const std::string& to) {
  const base::Fd in = base::open_regular(from);
  base::Fd out(::open(to.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  if (!out) base::throw_errno("cannot create", to);
  std::vector<char> chunk(kChunk);
  for (;;) {
    const ssize_t got = ::read(in.get(), chunk.data(), chunk.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) base::throw_errno("cannot read", from);
    if (got == 0) break;
    for (ssize_t at = 0; at < got;) {
      const ssize_t put = ::write(out.get(), chunk.data() + at, static_cast<std::size_t>(got - at));
      if (put < 0 && errno != EINTR) base::throw_errno("cannot write", to);
      at += std::max<ssize_t>(put, 0);
    }
  }
  if (::fsync(out.get()) != 0) base::throw_errno("cannot sync", to);
  out.close(to);
}

void copy_all(const fs::path& model, const Sources& sources, const fs::path& target) {
  std::uint64_t bytes = 0;
  for (const auto& [name, source] : sources) bytes += source.bytes;
  if (base::free_bytes(target.parent_path()) < bytes) {
    throw Error(ErrorKind::storage, target.parent_path().string() + ": no room for " + std::to_string(bytes) +
                                        " bytes; free some or leave --stage-weights out");
  }
  for (const auto& [name, source] : sources) {
    const fs::path to = target / name;
    base::make_folders(to.parent_path());
    copy_synced(model / name, to);
  }
  for (const auto& entry : fs::recursive_directory_iterator(target)) {
    if (entry.is_directory()) base::sync_folder(entry.path());
  }
  base::sync_folder(target);
}

// One process of a host at a time; freed at the end, also of a process that is killed.
base::Fd lock(const std::string& path) {
  base::Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  if (!fd) base::throw_errno("cannot create", path);
  while (::flock(fd.get(), LOCK_EX) != 0) {
    if (errno != EINTR) base::throw_errno("cannot lock", path);
  }
  return fd;
}

std::string staged(const fs::path& model, const fs::path& stage, const base::Logger& log) {
  Sources sources;
  list(model, "", sources);
  base::make_folders(stage);
  const fs::path place = stage / name_of(model, sources);
  if (fs::exists(place)) return place;
  const base::Fd held = lock(place.string() + ".lock");
  if (fs::exists(place)) return place;
  const fs::path partial = place.string() + ".partial";
  fs::remove_all(partial);  // of a process that was killed
  const base::Stopwatch watch;
  try {
    base::make_folders(partial);
    copy_all(model, sources, partial);
    base::rename_file(partial, place);
    base::sync_folder(stage);
  } catch (const std::exception&) {
    std::error_code ignored;
    fs::remove_all(partial, ignored);
    throw;
  }
  log.info("stage-weights",
           "copied " + model.string() + " to " + place.string() + " in " + base::human_duration(watch.seconds()));
  return place;
}

}  // namespace

std::string stage_weights(const std::string& model, const std::string& stage, const base::Logger& log) {
  try {
    return staged(fs::canonical(model), fs::absolute(stage), log);
  } catch (const std::exception& e) {
    log.warn("stage-weights", std::string("reading from ") + model + " itself: " + e.what());
    return model;
  }
}

}  // namespace nightreel::render
