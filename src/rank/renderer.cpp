#include "nightreel/rank/renderer.h"

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <utility>

#include "nightreel/protocol/engine_options.h"

namespace nightreel::rank {

using base::Error;
using base::ErrorKind;
using std::chrono::milliseconds;

namespace {

constexpr double kDriver_s = 30;
constexpr int kMostEvents = 5000;           // a second; a renderer has some dozens to tell
constexpr std::uintmax_t kLastWords = 600;  // bytes

std::uintmax_t size_of(const std::string& file) {
  std::error_code error;
  const auto size = std::filesystem::file_size(file, error);
  return error ? 0 : size;
}

}  // namespace

void Renderer::start() {
  base::ChildOptions options;
  options.argv = command_.argv;
  options.environment = command_.environment;
  for (std::string& more : std::exchange(command_.first_argv, {})) options.argv.push_back(std::move(more));
  if (!memory_failed_.empty()) {  // as a renderer told it, who is to read it
    const auto& flag = protocol::engine_flag(&protocol::EngineOptions::memory_failed);
    options.argv.insert(options.argv.end(), {std::string(flag.name), memory_failed_});
  }
  options.stderr_path = command_.stderr_path;
  log_from_ = size_of(command_.stderr_path);
  child_ = base::Child(options);
  reader_.emplace(child_.stdout_fd(), protocol::kMaxLine);
  host_memory_.begin(child_.pid());
  ready_ = false;
  silence_.broken();
  second_ = base::Stopwatch();  // a flood is its own process's
  events_ = 0;
  log_.debug("renderer-start", "renderer process " + std::to_string(child_.pid()));
}

bool Renderer::may_start() {
  if (dead_ <= 0 || !command_.on_gpu) return true;
  try {
    if (command_.on_gpu(dead_)) {
      if (since_end_.seconds() < kDriver_s) return false;
      log_.warn("gpu-held", "the driver still lists the renderer process " + std::to_string(dead_) + " on the GPU");
    }
  } catch (const Error& e) {
    log_.warn("gpu-held", e.what());
  }
  dead_ = -1;
  return true;
}

void Renderer::send(const std::string& line) {
  base::write_line(child_.stdin_fd(), line, milliseconds(2000));
}

Renderer::Event Renderer::ended(const std::string& why) {
  child_.kill(SIGKILL);
  const auto how = child_.wait(milliseconds(5000));
  dead_ = child_.pid();
  since_end_ = base::Stopwatch();
  child_ = base::Child();
  reader_.reset();
  return {std::nullopt, why.empty() ? how.value_or("cannot be killed") : why};
}

// How it ended is asked before it is killed: the exit code or signal is what the operator needs to read.
Renderer::Event Renderer::closed() {
  const auto how = child_.wait(milliseconds(500));
  const std::string memory = how ? host_memory_.verdict(*how, last_words()) : "";
  Event event = ended(how.value_or("closed its event pipe"));
  if (!memory.empty()) event.died += std::string("; ") + kOutOfHostMemory + ": " + memory;
  return event;
}

std::optional<Renderer::Event> Renderer::poll(milliseconds timeout) {
  if (!running()) return std::nullopt;
  host_memory_.look();
  try {
    std::string line;
    switch (reader_->next(line, timeout)) {
      case base::LineReader::Status::line:
        return take(line);
      case base::LineReader::Status::closed:
        return closed();
      case base::LineReader::Status::timeout:
        break;
    }
  } catch (const Error& e) {
    return ended(e.what());
  }
  silence_.look();
  if (silence_.seconds() > (ready_ ? command_.silence_limit_s : command_.loading_limit_s)) {
    Event event = ended(std::string("hung: no event for ") + base::human_duration(silence_.seconds()) +
                        (ready_ ? "" : " of loading"));
    event.hung = true;
    return event;
  }
  return std::nullopt;
}

bool Renderer::floods() {
  if (second_.seconds() > 1) {
    second_ = base::Stopwatch();
    events_ = 0;
  }
  return ++events_ > kMostEvents;
}

Renderer::Event Renderer::take(const std::string& line) {
  silence_.broken();
  if (floods()) return ended("floods its event pipe");
  Event event{protocol::decode_event(line), ""};
  ready_ = ready_ || event.message->type == "ready";
  suspect_host(*event.message);
  return event;
}

// A library that gets no memory calls that an error of its own.
void Renderer::suspect_host(protocol::Message& message) const {
  if (message.type != "failed") return;
  const std::string why = host_memory_.at_limit();
  const ErrorKind kind = base::error_kind(message.text("kind"));
  if (why.empty() || (kind != ErrorKind::internal && kind != ErrorKind::storage && kind != ErrorKind::device)) return;
  message.body["kind"] = base::traits(ErrorKind::host_memory).name;
  message.body["message"] = message.text("message") + "; " + kOutOfHostMemory + ": " + why;
}

std::string Renderer::last_words() const {
  const std::uintmax_t size = size_of(command_.stderr_path);
  std::ifstream log(command_.stderr_path, std::ios::binary);
  log.seekg(static_cast<std::streamoff>(std::max(log_from_, size - std::min(size, kLastWords))));
  std::string words(kLastWords, '\0');
  // Unlike a stream's iterator this throws nothing where storage fails.
  log.read(words.data(), static_cast<std::streamsize>(words.size()));
  words.resize(static_cast<std::size_t>(log.gcount()));
  while (!words.empty() && words.back() == '\n') words.pop_back();
  return base::printable(words, kLastWords);
}

void Renderer::stop(milliseconds grace) {
  if (!running()) return;
  try {
    send(protocol::encode_plain("shutdown"));
    child_.close_stdin();
    child_.wait(grace);
  } catch (const Error&) {
    // It is gone or stuck; what follows ends it either way.
  }
  kill();
}

void Renderer::kill() {
  if (running()) ended("");
}

}  // namespace nightreel::rank
