#include "render/events.h"

#include <c10/util/Exception.h>

#include <chrono>
#include <thread>

#include "nightreel/base/pipe.h"
#include "nightreel/protocol/message.h"

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

bool Events::lost() const {
  const std::lock_guard lock(mutex_);
  return lost_;
}

void Events::beat(const base::CancelToken& stopping) {
  while (!stopping.cancelled() && !lost()) {
    send(protocol::encode_plain("heartbeat"));
    for (int i = 0; i < 20 && !stopping.cancelled(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

std::pair<ErrorKind, std::string> explain(const std::exception& thrown) {
  if (const auto* error = dynamic_cast<const Error*>(&thrown)) return {error->kind(), error->what()};
  if (const auto* error = dynamic_cast<const c10::OutOfMemoryError*>(&thrown)) {
    return {ErrorKind::device_memory, error->what_without_backtrace()};
  }
  if (const auto* error = dynamic_cast<const c10::Error*>(&thrown)) {
    return {ErrorKind::device, error->what_without_backtrace()};
  }
  return {ErrorKind::internal, thrown.what()};
}

}  // namespace nightreel::render
