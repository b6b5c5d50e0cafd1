#include "comm/members.h"

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <exception>
#include <utility>

#include "nightreel/base/error.h"

namespace nightreel::test {
namespace {

constexpr std::size_t kRecord = 64;  // written and read in one piece

}  // namespace

Member::Member(const std::function<std::string()>& work) {
  std::array<int, 2> ends{};
  if (::pipe(ends.data()) != 0) base::throw_errno("cannot make", "a pipe");
  pid_ = ::fork();
  if (pid_ == 0) {
    std::string text;
    try {
      text = work();
    } catch (const std::exception& e) {
      text = e.what();
    }
    const bool written = ::write(ends[1], text.data(), text.size()) == static_cast<ssize_t>(text.size());
    ::_exit(written ? 0 : 1);
  }
  ::close(ends[1]);
  out_ = base::Fd(ends[0]);
}

Member::Member(Member&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)), out_(std::move(other.out_)), text_(std::move(other.text_)) {}

Member::~Member() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

void Member::signal(int number) const {
  ::kill(pid_, number);
}

std::string Member::outcome(std::chrono::milliseconds timeout) {
  std::array<char, 4096> buffer{};
  pollfd ready{out_.get(), POLLIN, 0};
  while (::poll(&ready, 1, static_cast<int>(timeout.count())) > 0) {
    const ssize_t got = ::read(out_.get(), buffer.data(), buffer.size());
    if (got <= 0) return text_.empty() ? "(no answer)" : text_;
    text_.append(buffer.data(), static_cast<std::size_t>(got));
  }
  return "(no answer)";
}

Announcement::Announcement() {
  std::array<int, 2> ends{};
  if (::pipe(ends.data()) != 0) base::throw_errno("cannot make", "a pipe");
  reader_ = base::Fd(ends[0]);
  writer_ = base::Fd(ends[1]);
}

void Announcement::tell(const std::string& text, int readers) const {
  std::array<char, kRecord> record{};
  text.copy(record.data(), record.size());
  for (int i = 0; i < readers; ++i) {
    if (::write(writer_.get(), record.data(), record.size()) != kRecord) base::throw_errno("cannot write to", "a pipe");
  }
}

std::string Announcement::wait() const {
  std::array<char, kRecord + 1> record{};
  if (::read(reader_.get(), record.data(), kRecord) != kRecord) base::throw_errno("cannot read from", "a pipe");
  return record.data();
}

std::vector<std::string> run_members(int size, const std::function<std::string(int)>& work,
                                     const std::function<void()>& after_fork) {
  std::vector<Member> members;
  for (int r = 0; r < size; ++r) members.emplace_back([&work, r] { return work(r); });
  after_fork();
  std::vector<std::string> outcomes;
  for (Member& member : members) outcomes.push_back(member.outcome(std::chrono::seconds(100)));
  return outcomes;
}

}  // namespace nightreel::test
