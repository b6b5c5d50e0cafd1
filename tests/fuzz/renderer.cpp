// A whole session of `nightreel-engine render` on models/shapes: the input is what its rank would write to it, "@" for
// the folder of its files. The engine is a process of its own, $NIGHTREEL_FUZZ_ENGINE or the one beside this program;
// it must answer in the protocol's words, end by itself when its input ends, and neither crash nor call a bug its own.
#include <chrono>
#include <cstdlib>
#include <filesystem>

#include "fuzz/fuzz.h"
#include "fuzz/session_mutator.h"
#include "nightreel/base/clock.h"
#include "nightreel/base/pipe.h"
#include "nightreel/base/process.h"
#include "nightreel/protocol/message.h"

namespace nightreel::fuzz {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr double kVideos_s = 20;  // for all videos of a session; one that asks for more is left at that
constexpr seconds kEnd{300};      // only a hang reaches it

std::string engine() {
  const char* named = std::getenv("NIGHTREEL_FUZZ_ENGINE");
  return named != nullptr ? named : base::companion("nightreel-engine");
}

/// Bounded, as a session may ask for videos of any size, and in a folder of its own.
base::ChildOptions plan(const std::string& folder) {
  base::ChildOptions options;
  options.argv = {"prlimit",
                  "--as=12884901888",
                  "--fsize=268435456",
                  "env",
                  "-C",
                  folder,
                  engine(),
                  "render",
                  "--device",
                  "cpu",
                  "--threads",
                  "1",
                  "--model",
                  source_file("models/shapes")};
  options.stderr_path = folder + "/log";
  return options;
}

std::string with_folder(std::string_view text, const std::string& folder) {
  std::string out;
  for (const char c : text) c == '@' ? out += folder : out += c;
  return out;
}

bool is_render(const std::string& line) {
  try {
    const auto message = protocol::decode_request(line);
    if (message.type == "render") protocol::render_request(message);
    return message.type == "render";
  } catch (const base::Error&) {
    return false;
  }
}

/// Whether the engine has taken it all; one that has ended takes no more.
int send(int fd, std::string_view session) {
  int renders = 0;
  while (!session.empty()) {
    const auto end = std::min(session.find('\n'), session.size());
    const std::string line(session.substr(0, end));
    session.remove_prefix(std::min(end + 1, session.size()));
    try {
      base::write_line(fd, line, seconds(60));
    } catch (const base::Error&) {
      return renders;
    }
    renders += is_render(line) ? 1 : 0;
  }
  return renders;
}

/// Looks at each field of what the engine says. Returns whether it is the end of a job.
bool check_event(const std::string& line) {
  bool ended = false;
  const bool good = answers_well({ErrorKind::renderer}, [&] {
    const auto event = protocol::decode_event(line);
    if (event.type == "ready") protocol::ready_event(event);
    if (event.type == "progress") protocol::progress_event(event);
    if (event.type == "done") protocol::done_event(event);
    if (event.type != "failed") return void(ended = event.type == "done");
    const auto failed = protocol::failed_event(event);
    ended = !failed.job.empty();
    const bool library = failed.message.find("json.exception") != std::string::npos;
    expect(!library || failed.kind != ErrorKind::internal, "a request's fault is told as a bug of the engine's own");
    expect(fit_to_show(base::printable(failed.message, failed.message.size()), false), "words unfit to be shown");
  });
  if (!good) found("the engine says " + base::printable(line, 400));
  return ended;
}

/// Until `jobs` have ended, or for so long; then closes the engine's input and reads on to its end.
void listen(base::Child& child, int jobs) {
  base::LineReader events(child.stdout_fd(), protocol::kMaxLine);
  const base::Stopwatch watch;
  std::string line;
  for (bool open = true;;) {
    if (open && (jobs <= 0 || watch.seconds() > kVideos_s)) {
      child.close_stdin();
      open = false;
    }
    const auto status = events.next(line, milliseconds(200));
    if (status == base::LineReader::Status::closed) return;
    if (status == base::LineReader::Status::line && check_event(line)) --jobs;
    if (watch.seconds() > std::chrono::duration<double>(kEnd).count()) found("the engine does not end with its input");
  }
}

void check_end(base::Child& child) {
  const auto how = child.wait(kEnd);
  if (!how) found("the engine does not end");
  if (child.code() >= 128 || child.code() == 4) found("the engine ended with " + *how);
}

}  // namespace
}  // namespace nightreel::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace nightreel;
  const std::string folder = fuzz::scratch() / "session";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  base::Child child(fuzz::plan(folder));
  const int jobs = fuzz::send(child.stdin_fd(), fuzz::with_folder(fuzz::text_of(data, size), folder));
  fuzz::listen(child, jobs);
  fuzz::check_end(child);
  return 0;
}
