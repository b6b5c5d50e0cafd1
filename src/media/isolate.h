// Work on foreign bytes in a child process. HDF5's parser has memory errors that a damaged or hostile file reaches
// (1.10.8 crashes or loops on about one in a hundred files with a few changed bytes), and a crash must cost the file,
// not the program. Any thread may call.
#pragma once

#include <cstddef>
#include <functional>
#include <string>

namespace nightreel::media {

/// The CPU seconds for a file of `bytes`: several times what a slow machine needs. Some damaged files keep HDF5 busy
/// for ever.
constexpr unsigned cpu_seconds(std::size_t bytes) {
  return 2 + static_cast<unsigned>(bytes >> 22U);
}

/// Forks, runs `work` there and gives back the bytes that it returned. A base::Error that `work` throws is thrown here.
/// Fit for processes whose memory allocator survives a fork beside other threads (glibc's does, AddressSanitizer's does
/// not). A child that crashes, or computes for longer than `cpu_s` seconds, is an Error{usage}: "NAME: ...". `work` may
/// use HDF5 and memory, nothing that depends on other threads, and cannot change the caller's state.
std::string run_isolated(const std::string& name, unsigned cpu_s, const std::function<std::string()>& work);

}  // namespace nightreel::media
