#include "render/support.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <memory>
#include <stdexcept>
#include <thread>

#include "nightreel/base/error.h"

namespace nightreel::test {
namespace {

using protocol::Json;

bool has_all(const Json& event, const Json& fields) {
  for (const auto& [name, value] : fields.items()) {
    if (!event.contains(name) || event.at(name) != value) return false;
  }
  return true;
}

}  // namespace

void Diary::add(const std::string& what) {
  const std::lock_guard lock(mutex_);
  happened_.push_back(what);
  wake_.notify_all();
}

std::size_t Diary::count(const std::string& what) const {
  return static_cast<std::size_t>(std::count(happened_.begin(), happened_.end(), what));
}

void Diary::wait_for(const std::string& what, std::size_t times) const {
  std::unique_lock lock(mutex_);
  if (wake_.wait_for(lock, kHang, [&] { return count(what) >= times; })) return;
  std::string text = "waited in vain for '" + what + "' after:";
  for (const std::string& one : happened_) text += " '" + one + "'";
  throw std::runtime_error(text);
}

bool Diary::has(const std::string& what) const {
  const std::lock_guard lock(mutex_);
  return count(what) > 0;
}

std::vector<std::string> Diary::all(const std::string& beginning) const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> found;
  for (const std::string& one : happened_) {
    if (one.rfind(beginning, 0) == 0) found.push_back(one);
  }
  return found;
}

Wire::Wire() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) base::throw_errno("cannot make", "a pipe");
  out_ = base::Fd(ends[0]);
  in_ = base::Fd(ends[1]);
}

bool Heard::take() {
  std::string line;
  const auto status = reader_.next(line, kHang);
  if (status == base::LineReader::Status::timeout) throw std::runtime_error("the renderer says nothing");
  if (status == base::LineReader::Status::closed) return false;
  seen_.push_back(protocol::decode_event(line).body);
  return true;
}

Json Heard::wait_for(const Json& fields) {
  const auto until = std::chrono::steady_clock::now() + kHang;
  for (std::size_t at = 0; std::chrono::steady_clock::now() < until;) {
    for (; at < seen_.size(); ++at) {
      if (has_all(seen_[at], fields)) return seen_[at];
    }
    if (!take()) break;
  }
  std::string text = "no event " + fields.dump() + " among:";
  for (const Json& one : seen_) text += " " + one.dump();
  throw std::runtime_error(text);
}

bool Heard::has(const Json& fields) const {
  return std::any_of(seen_.begin(), seen_.end(), [&](const Json& event) { return has_all(event, fields); });
}

const std::vector<Json>& Heard::to_the_end() {
  while (take()) {
  }
  return seen_;
}

protocol::RenderRequest request_for(const std::string& job, std::uint64_t token) {
  protocol::RenderRequest request;
  request.job = job;
  request.token = token;
  request.settings.prompt = job;
  request.spec = {{"prompt", job}};
  request.video = job + ".mp4";
  request.sheet = job + ".jpg";
  request.archive = job + ".h5";
  request.checkpoint = job + ".state";
  request.hash = job + ".hash";
  request.archive_content = "latents";
  request.checkpoint_every = 7;
  request.settings.crf = 23;
  return request;
}

protocol::GroupRequest seat_at(const std::string& address, int rank, int size) {
  protocol::GroupRequest request;
  request.backend = "store";
  request.address = address;
  request.rank = rank;
  request.size = size;
  request.stay = true;
  return request;
}

std::string thrown_text(const std::function<void()>& work) {
  try {
    work();
    return "";
  } catch (const base::Error& e) {
    return std::string(base::traits(e.kind()).name) + ": " + e.what();
  } catch (const std::exception& e) {
    return std::string("no Error: ") + e.what();
  }
}

std::vector<std::string> in_threads(int size, const std::function<void(std::unique_ptr<comm::Communicator>)>& work) {
  const auto rendezvous = comm::make_store_rendezvous("127.0.0.1");
  std::vector<std::string> thrown(static_cast<std::size_t>(size));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank) {
    threads.emplace_back([&, rank] {
      thrown[static_cast<std::size_t>(rank)] =
          thrown_text([&] { work(comm::make_store(rendezvous->address(), rank, size, {kHang})); });
    });
  }
  for (std::thread& thread : threads) thread.join();
  return thrown;
}

}  // namespace nightreel::test
