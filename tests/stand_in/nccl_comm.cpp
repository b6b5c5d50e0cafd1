#include "stand_in/nccl_comm.h"

#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <sstream>
#include <utility>

using namespace nightreel::stand_in;

namespace nightreel::stand_in {

// A collective on its stream.
class Collective final : public Work {
 public:
  bool done() override {
    const std::lock_guard lock(mutex_);
    return done_;
  }
  void finish() override {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return done_; });
  }
  void set_done() {
    const std::lock_guard lock(mutex_);
    done_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool done_ = false;
};

namespace {

constexpr int kAsks = 2;
constexpr std::chrono::milliseconds kBeginsItself{50};

Fault wanted_fault() {
  const char* text = std::getenv("STAND_IN_NCCL_FAULT");
  Fault fault;
  if (text == nullptr) return fault;
  std::istringstream words(text);
  char colon = 0;
  std::getline(words, fault.what, ':');
  words >> fault.rank >> colon >> fault.call >> colon >> fault.milliseconds;
  return fault;
}

}  // namespace
}  // namespace nightreel::stand_in

ncclComm::ncclComm(const std::string& name, int rank_, int size_)
    : id(name), rank(rank_), size(size_), mail(name, rank_), fault_(wanted_fault()), thread_([this] { work(); }) {}

ncclComm::~ncclComm() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
    mail.stop();
    changed_.notify_all();
  }
  thread_.join();
  for (const Call& call : waiting_) {
    if (call.work) call.work->set_done();
  }
  for (const auto& work : stuck_) work->set_done();
}

ncclResult_t ncclComm::start(std::optional<cudaStream_t> stream, Transfer transfer) {
  const std::lock_guard lock(mutex_);
  if (error_ != ncclSuccess) return error_;
  Call call{std::move(transfer), nullptr, stream.value_or(nullptr), false};
  if (stream) call.work = std::make_shared<Collective>();
  if (!stream) under_way_ = true;
  asks_ = kAsks;
  waiting_.push_back(std::move(call));
  changed_.notify_all();
  return ncclInProgress;
}

ncclResult_t ncclComm::state() {
  const std::lock_guard lock(mutex_);
  if (error_ != ncclSuccess) return error_;
  if (asks_ > 0) {
    if (--asks_ == 0) begin_all();
    return ncclInProgress;
  }
  return under_way_ ? ncclInProgress : ncclSuccess;
}

bool ncclComm::gather(long call, const void* bytes, std::size_t count, void* out) {
  mail.post(call, Mail::kAll, bytes, count);
  for (int from = 0; from < size; ++from) {
    char* into = static_cast<char*>(out) + static_cast<std::size_t>(from) * count;
    if (!mail.fetch(call, from, Mail::kAll, into, count)) return false;
  }
  mail.all_have_begun(call);
  return true;
}

void ncclComm::refuse(ncclResult_t why) {
  const std::lock_guard lock(mutex_);
  error_ = why;
}

void ncclComm::begin_all() {
  for (Call& call : waiting_) {
    if (!std::exchange(call.begun, true) && call.work) put(call.stream, call.work);
  }
  changed_.notify_all();
}

// Nothing: the communicator ends.
std::optional<ncclComm::Call> ncclComm::next() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return ending_ || !waiting_.empty(); });
  changed_.wait_for(lock, kBeginsItself, [&] { return ending_ || waiting_.front().begun; });
  if (ending_) return std::nullopt;
  begin_all();
  Call call = std::move(waiting_.front());
  waiting_.pop_front();
  return call;
}

// True: the call goes on.
bool ncclComm::suffer(long call) {
  if (fault_.rank != rank || fault_.call != call) return true;
  if (fault_.what == "dies") ::kill(::getpid(), SIGKILL);
  if (fault_.what == "fails") return false;
  std::unique_lock lock(mutex_);
  const auto given_up = [&] { return ending_; };
  if (fault_.what == "late") changed_.wait_for(lock, std::chrono::milliseconds(fault_.milliseconds), given_up);
  if (fault_.what == "hangs") changed_.wait(lock, given_up);
  return !ending_;
}

void ncclComm::work() {
  for (long number = 1;; ++number) {
    const auto call = next();
    if (!call) return;
    const bool good = suffer(number) && call->transfer(number);
    const std::lock_guard lock(mutex_);
    if (!good && error_ == ncclSuccess) error_ = fault_.what == "fails" ? ncclInternalError : ncclRemoteError;
    if (!call->work) under_way_ = false;
    if (call->work && good) call->work->set_done();
    if (call->work && !good) stuck_.push_back(call->work);  // as a kernel that waits for ever, until the abort
  }
}
