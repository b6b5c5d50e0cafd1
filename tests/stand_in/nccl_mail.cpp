#include "stand_in/nccl_mail.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

namespace nightreel::stand_in {
namespace {

constexpr std::chrono::microseconds kLook{100};

std::string base_folder() {
  const char* given = std::getenv("STAND_IN_FOLDER");
  return given != nullptr && *given != '\0' ? given : std::filesystem::temp_directory_path().string();
}

}  // namespace

Mail::Mail(const std::string& name, int rank) : folder_(base_folder() + "/nccl-" + name), rank_(rank) {
  std::filesystem::create_directories(folder_);
}

std::string Mail::path(long call, int from, int to) const {
  return folder_ + "/" + std::to_string(call) + "." + std::to_string(from) + "." + std::to_string(to);
}

void Mail::post(long call, int to, const void* bytes, std::size_t size) {
  const std::string name = path(call, rank_, to);
  const std::string unfinished = name + ".part";
  std::ofstream(unfinished, std::ios::binary)
      .write(static_cast<const char*>(bytes), static_cast<std::streamsize>(size));
  ::rename(unfinished.c_str(), name.c_str());
  if (to == kAll) to_all_.emplace_back(call, name);
}

bool Mail::fetch(long call, int from, int to, void* bytes, std::size_t size) {
  const std::string name = path(call, from, to);
  while (::access(name.c_str(), R_OK) != 0) {
    if (stopped_) return false;
    std::this_thread::sleep_for(kLook);
  }
  std::error_code failed;
  const bool fits = std::filesystem::file_size(name, failed) == size;
  if (fits) std::ifstream(name, std::ios::binary).read(static_cast<char*>(bytes), static_cast<std::streamsize>(size));
  if (to != kAll) ::unlink(name.c_str());
  return fits;
}

void Mail::all_have_begun(long call) {
  const auto is_read = [&](const auto& message) {
    if (message.first >= call) return false;
    ::unlink(message.second.c_str());
    return true;
  };
  to_all_.erase(std::remove_if(to_all_.begin(), to_all_.end(), is_read), to_all_.end());
}

void Mail::leave(int size) {
  const auto mark = [&](int rank) { return folder_ + "/left." + std::to_string(rank); };
  std::ofstream(mark(rank_)).flush();
  for (int rank = 0; rank < size; ++rank) {
    if (::access(mark(rank).c_str(), F_OK) != 0) return;
  }
  std::error_code ignored;  // two may find that they are the last
  std::filesystem::remove_all(folder_, ignored);
}

}  // namespace nightreel::stand_in
