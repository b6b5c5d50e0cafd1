// A renderer for tests of the rank: it speaks the protocol, draws grey, and misbehaves where a job's prompt says so.
//
// fake_renderer FOLDER. A prompt is a list of words:
//   step_ms=20 encode_ms=0   how long a step and the encoding take
//   until=go encode_until=go the first step, the end of the encoding: not before there is a file FOLDER/go
//   wave=4 wait=2            the first time: so many jobs make a wave, which is begun when all have come; each waits
//                            after this step until the others have come there too
//   at=denoise:2 do=kill     what happens when this stage has come to this step, `times=1` times (FOLDER counts)
//   after=other.1            it does not happen before there is a file FOLDER/other.1: JOB other's first misdeed
//   who=1           in a group of renderers that stays: the member that misbehaves (0, as is one alone)
//   do= kill, exit, stop (SIGSTOP), eat (more memory than it may have), hang (heartbeats go on), garbage, long (an
//   endless line), flood, tear (half of the video is lost), fail:KIND, oom:STAGE=BYTES (out of memory for the second
//   time; in a group it ends, as a renderer does)
// FOLDER/JOB.N has the time, in ms, of the N-th misdeed.
// The members of a group take each step together, by files in FOLDER/ADDRESS, and wait for each other for ever.
// FOLDER/join.kill with a number in it: so many times member 1 dies when it shall join.
// FOLDER/started has a line for each start: what it was told beside FOLDER.
// FOLDER/load.kill, FOLDER/load.hang with a number in it: so many starts die or hang while loading. FOLDER/digest: the
// model's, else "m1".
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <csignal>
#include <deque>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <mutex>
#include <new>
#include <set>
#include <sstream>
#include <thread>

#include "nightreel/base/clock.h"
#include "nightreel/base/file.h"
#include "nightreel/media/video.h"
#include "nightreel/protocol/message.h"

namespace {

using namespace nightreel;
using std::chrono::milliseconds;

std::mutex out_mutex;

void say_raw(const std::string& text) {
  const std::lock_guard lock(out_mutex);
  std::cout << text << std::flush;
}
void say(const std::string& line) {
  say_raw(line + "\n");
}

std::map<std::string, std::string> words(const std::string& prompt) {
  std::map<std::string, std::string> out{{"step_ms", "5"}, {"encode_ms", "0"}, {"times", "1"}, {"who", "0"}};
  std::istringstream in(prompt);
  for (std::string word; in >> word;) out[word.substr(0, word.find('='))] = word.substr(word.find('=') + 1);
  return out;
}

// Takes the next of FILE.1 … FILE.times for this misdeed; false once all are taken. Renderers share the folder: only
// the one that creates a file has taken it.
bool once_more(const std::string& file, int times) {
  for (int next = 1; next <= times; ++next) {
    const int fd = ::open((file + "." + std::to_string(next)).c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0) continue;
    const std::string now = std::to_string(base::now_ms());
    if (::write(fd, now.data(), now.size()) < 0) std::cerr << "no time in " << file << "\n";
    ::close(fd);
    return true;
  }
  return false;
}

// Ends by std::bad_alloc, which nobody here catches.
void eat_memory() {
#if defined(__SANITIZE_ADDRESS__)
  throw std::bad_alloc();  // the sanitizer ends a program that asks for too much with words of its own
#else
  const rlimit little{256U << 20U, RLIM_INFINITY};
  ::setrlimit(RLIMIT_AS, &little);
  for (std::vector<std::string> eaten;;) eaten.emplace_back(32U << 20U, 'x');
#endif
}

struct Failing {
  base::ErrorKind kind;
  std::string memory_failed = {};
};

void misbehave(const std::string& how) {
  if (how == "kill") std::cerr << "last words\n" << std::flush;
  if (how == "kill") ::raise(SIGKILL);
  if (how == "exit") ::_exit(3);
  if (how == "stop") ::raise(SIGSTOP);
  if (how == "eat") eat_memory();
  if (how == "garbage") say("this is no event");
  if (how == "hang") std::this_thread::sleep_for(std::chrono::hours(1));
  while (how == "long") say_raw(std::string(1U << 16U, 'x'));
  while (how == "flood") say(protocol::encode_plain("heartbeat"));
  if (how.rfind("fail:", 0) == 0) throw Failing{base::error_kind(how.substr(5))};
  if (how.rfind("oom:", 0) == 0) throw Failing{base::ErrorKind::device_memory, how.substr(4)};
}

class Fake {
 public:
  explicit Fake(std::string folder) : folder_(std::move(folder)) {}

  void run() {
    load();
    std::thread([] {
      for (;; std::this_thread::sleep_for(milliseconds(100))) say(protocol::encode_plain("heartbeat"));
    }).detach();
    std::thread([this] { render_all(); }).detach();
    std::thread([this] { write_all(); }).detach();
    for (std::string line; std::getline(std::cin, line);) {
      const auto message = protocol::decode_request(line);
      if (message.type == "shutdown") return;
      if (message.type == "group") meet(protocol::group_request(message));
      const std::lock_guard lock(mutex_);
      if (message.type == "render") {
        to_render_.push_back(protocol::render_request(message));
        cancelled_.erase(message.text("job"));
      }
      if (message.type == "checkpoint_and_stop") to_save_.insert(message.text("job"));
      if (message.type == "cancel") cancelled_.insert(message.text("job"));
      wake_.notify_all();
    }
  }

 private:
  void load() {
    for (const std::string how : {"kill", "hang"}) {
      std::ifstream loads(folder_ + "/load." + how);
      int times = 0;
      if (loads >> times && once_more(folder_ + "/load.count", times)) misbehave(how);
    }
    protocol::ReadyEvent ready;
    ready.model_digest = "m1";
    std::ifstream(folder_ + "/digest") >> ready.model_digest;
    ready.model = ready.versions = protocol::Json::object();
    say(protocol::encode(ready));
  }

  // A number in FOLDER/NAME: it happens so many times.
  bool due(const std::string& name) const {
    std::ifstream file(folder_ + "/" + name);
    int times = 0;
    return file >> times && once_more(folder_ + "/" + name, times);
  }

  void meet(const protocol::GroupRequest& request) {
    if (request.address.empty()) {
      const std::string address = "fake-" + std::to_string(::getpid()) + "-" + std::to_string(++meetings_);
      base::make_folders(folder_ + "/" + address);
      return say(protocol::encode(protocol::RendezvousEvent{address, false}));
    }
    if (request.rank == 1 && due("join.kill")) misbehave("kill");
    if (request.stay) {
      group_ = request;
      together("join", "");
    }
    say(protocol::encode(protocol::RendezvousEvent{request.address, true}));
  }

  // Until every member has come to `point`. Throws where the first has let go of the job meanwhile.
  void together(const std::string& point, const std::string& job) {
    if (group_.size == 1) return;
    const std::string here = folder_ + "/" + group_.address + "/" + point + ".";
    base::replace_file(here + std::to_string(group_.rank), "");
    for (int other = 0; other < group_.size; std::this_thread::sleep_for(milliseconds(2))) {
      if (!job.empty()) throw_if_let_go(job);
      while (other < group_.size && std::filesystem::exists(here + std::to_string(other))) ++other;
    }
  }
  void throw_if_let_go(const std::string& job) const {
    if (!std::filesystem::exists(let_go_of(job))) return;
    throw base::Error(base::ErrorKind::interrupted, "the first member has let go of it");
  }
  std::string let_go_of(const std::string& job) const { return folder_ + "/" + group_.address + "/" + job + ".over"; }
  static std::string name_of(const protocol::RenderRequest& r) { return r.job + "-" + std::to_string(r.token); }

  [[noreturn]] void let_go(const protocol::RenderRequest& r, const char* why) const {
    if (group_.size > 1) base::replace_file(let_go_of(name_of(r)), "");
    throw base::Error(base::ErrorKind::interrupted, why);
  }

  void reach(const protocol::RenderRequest& r, const std::string& stage, std::int64_t step, std::int64_t steps) {
    say(protocol::encode(protocol::ProgressEvent{r.job, r.token, stage, step, steps}));
    auto wish = words(r.settings.prompt);
    if (std::stoi(wish["who"]) != group_.rank) return;
    if (wish["at"] != stage + ":" + std::to_string(step)) return;
    await(r, "after", [] {});
    if (!once_more(folder_ + "/" + r.job, std::stoi(wish["times"]))) return;
    if (wish["do"] == "tear") std::filesystem::resize_file(r.video, std::filesystem::file_size(r.video) / 2);
    misbehave(wish["do"]);
  }

  template <typename Work>
  void guarded(const protocol::RenderRequest& r, Work work) {
    try {
      work();
    } catch (const Failing& failing) {
      const bool ends = group_.size > 1 && !failing.memory_failed.empty();
      say(protocol::encode(protocol::FailedEvent{ends ? "" : r.job, ends ? 0 : r.token, failing.kind,
                                                 "as the prompt says", failing.memory_failed}));
      if (ends) ::_exit(3);
    } catch (const base::Error& e) {
      say(protocol::encode(protocol::FailedEvent{r.job, r.token, e.kind(), e.what()}));
    }
  }

  protocol::RenderRequest take(std::deque<protocol::RenderRequest>& from) {
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [&] { return !from.empty(); });
    auto request = from.front();
    from.pop_front();
    return request;
  }

  void save_if_asked(const protocol::RenderRequest& r, std::int64_t step) {
    const std::lock_guard lock(mutex_);
    if (to_save_.erase(r.job) == 0) return;
    base::replace_file(r.checkpoint, std::to_string(step));
    say(protocol::encode(protocol::CheckpointEvent{r.job, r.token, step}));
    let_go(r, "stopped");
  }

  void throw_if_cancelled(const protocol::RenderRequest& r) {
    const std::lock_guard lock(mutex_);
    if (cancelled_.erase(r.job) > 0) let_go(r, "cancelled");
  }

  void render_all() {
    for (;;) {
      const auto first = take(to_render_);
      auto wish = words(first.settings.prompt);
      const bool together = wish.count("wave") > 0 && once_more(folder_ + "/wave", 1);
      together ? render_wave(first, std::stoul(wish["wave"]), std::stoi(wish["wait"])) : render(first);
    }
  }

  void render(const protocol::RenderRequest& r) {
    guarded(r, [&] {
      throw_if_cancelled(r);
      begin(r, r.settings.num_inference_steps);
      end(r, r.settings.num_inference_steps);
    });
  }

  void render_wave(const protocol::RenderRequest& first, std::size_t size, std::int64_t wait) {
    std::vector<protocol::RenderRequest> wave{first};
    while (wave.size() < size) wave.push_back(take(to_render_));
    for (const auto& r : wave) {
      guarded(r, [&] {
        begin(r, wait);
        reach(r, "wait", wait, r.settings.num_inference_steps);
      });
    }
    for (const auto& r : wave) {
      guarded(r, [&] { end(r, wait); });
    }
  }

  void begin(const protocol::RenderRequest& r, std::int64_t until) {
    reach(r, "text", 0, 0);
    reach(r, "denoise", 0, r.settings.num_inference_steps);
    await(r, "until", [&] {
      throw_if_cancelled(r);
      throw_if_let_go(name_of(r));
    });
    step(r, 1, until);
  }

  /// The file that the prompt names with this word; `meanwhile` is called again and again.
  template <typename Work>
  void await(const protocol::RenderRequest& r, const std::string& word, Work meanwhile) const {
    const auto wish = words(r.settings.prompt);
    const auto file = wish.find(word);
    if (file == wish.end()) return;
    while (!std::filesystem::exists(folder_ + "/" + file->second)) {
      meanwhile();
      std::this_thread::sleep_for(milliseconds(2));
    }
  }

  void end(const protocol::RenderRequest& r, std::int64_t from) {
    step(r, from + 1, r.settings.num_inference_steps);
    reach(r, "decode", 0, 0);
    const std::lock_guard lock(mutex_);
    to_write_.push_back(r);
    wake_.notify_all();
  }

  void step(const protocol::RenderRequest& r, std::int64_t from, std::int64_t to) {
    for (std::int64_t step = from; step <= to; ++step) {
      std::this_thread::sleep_for(milliseconds(std::stoi(words(r.settings.prompt)["step_ms"])));
      throw_if_cancelled(r);
      reach(r, "denoise", step, r.settings.num_inference_steps);
      together(name_of(r) + "-" + std::to_string(step), name_of(r));
      save_if_asked(r, step);
    }
  }

  static void say_done(const protocol::RenderRequest& r) {
    const auto& s = r.settings;
    say(protocol::encode(protocol::DoneEvent{r.job, r.token, s.num_frames, s.height, s.width, 0, {}}));
  }

  void write_all() {
    for (;;) {
      const auto r = take(to_write_);
      guarded(r, [&] {
        const auto& s = r.settings;
        if (r.video.empty()) return say_done(r);
        const std::vector<std::uint8_t> rgb(static_cast<std::size_t>(s.num_frames * s.height * s.width * 3), 90);
        media::write_video(r.video, {s.num_frames, s.height, s.width, rgb}, {});
        base::replace_file(r.sheet, "sheet of " + r.job);
        if (!r.archive.empty()) base::replace_file(r.archive, "archive of " + r.job);
        reach(r, "encode", 0, 0);
        std::this_thread::sleep_for(milliseconds(std::stoi(words(s.prompt)["encode_ms"])));
        await(r, "encode_until", [] {});
        say_done(r);
      });
    }
  }

  std::string folder_;
  protocol::GroupRequest group_;  // that it stays in; of one alone: one of one
  int meetings_ = 0;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<protocol::RenderRequest> to_render_;
  std::deque<protocol::RenderRequest> to_write_;
  std::set<std::string> cancelled_;
  std::set<std::string> to_save_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  std::string told;
  for (int i = 2; i < argc; ++i) told += std::string(argv[i]) + " ";
  std::ofstream(std::string(argv[1]) + "/started", std::ios::app) << told + "\n";
  Fake(argv[1]).run();
  ::_exit(0);  // threads of it still run
}
