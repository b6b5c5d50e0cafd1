#include "render/events.h"

#include <c10/util/Exception.h>

#include <condition_variable>
#include <new>

#include "nightreel/base/pipe.h"
#include "nightreel/protocol/message.h"
#include "render/out_of_memory.h"

namespace nightreel::render {

using base::Error;
using base::ErrorKind;

void Events::send(const std::string& line) {
  const std::lock_guard lock(mutex_);
  if (lost_) return;
  try {
    base::write_line(fd_, line);
  } catch (const Error&) {
    lost_ = true;
  }
}

void Events::fail(const std::string& job, std::uint64_t token, ErrorKind kind, const std::string& why) {
  send(protocol::encode(protocol::FailedEvent{job, token, kind, why}));
}

void Events::fail(const std::string& job, std::uint64_t token, const std::exception& thrown) {
  const auto [kind, why] = explain(thrown);
  const auto* memory = dynamic_cast<const OutOfMemory*>(&thrown);
  send(protocol::encode(
      protocol::FailedEvent{job, token, kind, why, memory == nullptr ? std::string() : memory->failed()}));
}

bool Events::lost() const {
  const std::lock_guard lock(mutex_);
  return lost_;
}

void Events::beat(const std::stop_token& stopping, std::chrono::milliseconds every) {
  std::mutex mutex;  // nobody else's: what is waited for is the token
  std::condition_variable_any wake;
  std::unique_lock lock(mutex);
  while (!stopping.stop_requested() && !lost()) {
    send(protocol::encode_plain("heartbeat"));
    wake.wait_for(lock, stopping, every, [] { return false; });
  }
}

int exit_code_of(Events& events, const std::function<int()>& work) {
  try {
    return work();
  } catch (const std::exception& e) {
    const auto [kind, why] = explain(e);
    events.fail("", 0, kind, why);
    return base::traits(kind).exit_code;
  }
}

std::pair<ErrorKind, std::string> explain(const std::exception& thrown) {
  if (const auto* error = dynamic_cast<const Error*>(&thrown)) return {error->kind(), error->what()};
  if (const auto* error = dynamic_cast<const c10::OutOfMemoryError*>(&thrown)) {
    return {ErrorKind::device_memory, error->what_without_backtrace()};
  }
  if (const auto* error = dynamic_cast<const c10::Error*>(&thrown)) {
    const std::string what = error->what_without_backtrace();
    const bool of_host = what.find("DefaultCPUAllocator: ") != std::string::npos;
    return {of_host ? ErrorKind::host_memory : ErrorKind::device, what};
  }
  if (dynamic_cast<const std::bad_alloc*>(&thrown) != nullptr) {
    return {ErrorKind::host_memory, "this host has, or ulimit -v leaves, too little memory"};
  }
  return {ErrorKind::internal, thrown.what()};
}

}  // namespace nightreel::render
