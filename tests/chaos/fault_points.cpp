// Preloaded into the ranks and renderers of a chaos run: faults at named points of a job's life, without a line of test
// code in the program itself.
//
// A point is WHO.WHEN.OPERATION.WHAT, as in rank.before.link.videos.mp4 or rank.after.send.complete. WHO is rank, rankN
// or renderer; an operation is open (for writing), write, fsync, close, link, rename or unlink of a file below
// $CHAOS_OUT, open of a file with weights below $CHAOS_MODEL (WHAT is model.safetensors), or send of a queue script
// whose SHA1 stands in $CHAOS_SCRIPTS ("sha=name,…"). A file $CHAOS_TRAPS/POINT is a trap: the first process that comes
// by takes it and does what its content says:
//   kill, stop           SIGKILL or SIGSTOP to itself
//   eio, enospc, erofs   the operation is not done and fails so
//   did-eio              the operation is done and fails all the same
//   cut                  of send: the script is sent and the connection's end follows, so that its reply is lost
//   slow                 the operation takes $CHAOS_SLOW_MS
//   hold                 the thread stands still until there is a file $CHAOS_TRAPS/go or $CHAOS_TRAPS/POINT.go
//   note                 nothing: the line in the log is wanted
// With " always" behind it the trap stays for whoever comes by; with " then " and another word that is the trap for
// whoever comes by next. What happened is a line "milliseconds pid point action" at the end of $CHAOS_TRAPS/log.
// Nothing here allocates.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string_view>

namespace {

using Text = std::array<char, 512>;

std::string_view environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string_view() : std::string_view(value);
}

// Ranks and renderers alone: mpirun and their other children pass unharmed.
const char* who() {
  const char* parent = std::getenv("NIGHTREEL_PARENT_PID");
  if (parent != nullptr) return std::atoi(parent) == ::getppid() ? "renderer" : nullptr;
  return std::strcmp(program_invocation_short_name, "nightreel") == 0 ? "rank" : nullptr;
}

// "videos.mp4" of OUT/videos/ID.mp4, "videos.mp4.part" of what is not its final name yet, "videos.probe" of the file
// with which a rank asks whether it can write; empty for other files.
std::string_view kind_of(std::string_view path, Text& out) {
  const std::string_view root = environment("CHAOS_OUT");
  if (root.empty() || path.substr(0, root.size()) != root || path.size() < root.size() + 2) return {};
  path.remove_prefix(root.size() + 1);
  const std::string_view folder = path.substr(0, path.find('/'));
  const char* part = path.find("/.") == std::string_view::npos ? "" : ".part";
  if (path.find(".probe-") != std::string_view::npos) return "videos.probe";
  for (const std::string_view suffix : {".mp4", ".jpg", ".json", ".h5"}) {
    if (path.find(suffix) == std::string_view::npos) continue;
    const int n = std::snprintf(out.data(), out.size(), "%.*s%.*s%s", static_cast<int>(folder.size()), folder.data(),
                                static_cast<int>(suffix.size()), suffix.data(), part);
    return {out.data(), static_cast<std::size_t>(n)};
  }
  return {};
}

std::string_view weights_of(std::string_view path) {
  const std::string_view model = environment("CHAOS_MODEL");
  const bool here = !model.empty() && path.substr(0, model.size()) == model;
  return here && path.find(".safetensors") != std::string_view::npos ? "model.safetensors" : std::string_view();
}

// The name of the queue script that a Redis command calls; empty for other commands.
std::string_view script_of(std::string_view command) {
  if (command.substr(0, 1) != "*" || command.substr(0, 40).find("EVALSHA") == std::string_view::npos) return {};
  std::string_view list = environment("CHAOS_SCRIPTS");
  while (list.size() > 41) {
    const std::string_view sha = list.substr(0, 40);
    const std::string_view name = list.substr(41, list.find(',') - 41);
    if (command.substr(0, 100).find(sha) != std::string_view::npos) return name;
    list.remove_prefix(std::min(list.size(), 41 + name.size() + 1));
  }
  return {};
}

void note(const char* point, const char* action) {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  Text path;
  std::snprintf(path.data(), path.size(), "%s/log", std::getenv("CHAOS_TRAPS"));
  Text line;
  const int n =
      std::snprintf(line.data(), line.size(), "%lld %d %s %s\n",
                    static_cast<long long>(now.tv_sec) * 1000 + now.tv_nsec / 1000000, ::getpid(), point, action);
  const long fd = ::syscall(SYS_openat, AT_FDCWD, path.data(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  ::syscall(SYS_write, fd, line.data(), static_cast<std::size_t>(n));
  ::syscall(SYS_close, fd);
}

// A trap appears whole.
void set_trap(const Text& trap, const char* action) {
  Text next;
  std::snprintf(next.data(), next.size(), "%s.%d.next", trap.data(), ::getpid());
  const long fd = ::syscall(SYS_openat, AT_FDCWD, next.data(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  ::syscall(SYS_write, fd, action, std::strlen(action));
  ::syscall(SYS_close, fd);
  ::syscall(SYS_renameat, AT_FDCWD, next.data(), AT_FDCWD, trap.data());
}

// What the trap at this point says, if there is one and it is this process's.
bool take_trap(const char* point, Text& action) {
  Text trap;
  std::snprintf(trap.data(), trap.size(), "%s/%s", std::getenv("CHAOS_TRAPS"), point);
  const long fd = ::syscall(SYS_openat, AT_FDCWD, trap.data(), O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0) return false;
  const long n = ::syscall(SYS_read, fd, action.data(), action.size() - 1);
  ::syscall(SYS_close, fd);
  action[static_cast<std::size_t>(n > 0 ? n : 0)] = '\0';
  if (char* always = std::strstr(action.data(), " always"); always != nullptr) {
    *always = '\0';
  } else {
    Text mine;
    std::snprintf(mine.data(), mine.size(), "%s.%d.taken", trap.data(), ::getpid());
    if (::syscall(SYS_renameat, AT_FDCWD, trap.data(), AT_FDCWD, mine.data()) != 0) return false;
    constexpr std::string_view kThen = " then ";
    if (char* then = std::strstr(action.data(), kThen.data()); then != nullptr) {
      *then = '\0';
      set_trap(trap, then + kThen.size());
    }
  }
  note(point, action.data());
  return true;
}

void be_slow() {
  const char* given = std::getenv("CHAOS_SLOW_MS");
  const int ms = given == nullptr ? 1000 : std::atoi(given);
  timespec left{ms / 1000, ms % 1000 * 1000000L};
  while (::nanosleep(&left, &left) != 0 && errno == EINTR) {
  }
}

bool may_go(const char* point, const char* end) {
  Text go;
  std::snprintf(go.data(), go.size(), "%s/%s%s", std::getenv("CHAOS_TRAPS"), point, end);
  return ::syscall(SYS_faccessat, AT_FDCWD, go.data(), F_OK) == 0;
}

void be_held(const char* point) {
  const timespec turn{0, 10000000L};
  while (!may_go("", "go") && !may_go(point, ".go")) ::nanosleep(&turn, nullptr);
}

enum class Fault { none, error, did_error, cut };

// Does what the trap says; an error that the operation shall fail with is left in `error`.
Fault obey(const char* point, std::string_view said, int& error) {
  if (said == "kill") ::syscall(SYS_kill, ::getpid(), SIGKILL);
  if (said == "stop") ::syscall(SYS_kill, ::getpid(), SIGSTOP);
  if (said == "slow") be_slow();
  if (said == "hold") be_held(point);
  error = said == "enospc" ? ENOSPC : said == "erofs" ? EROFS : EIO;
  if (said == "did-eio") return Fault::did_error;
  if (said == "cut") return Fault::cut;
  return said == "eio" || said == "enospc" || said == "erofs" ? Fault::error : Fault::none;
}

Fault pass(const char* when, const char* operation, std::string_view what, int& error) {
  if (what.empty() || std::getenv("CHAOS_TRAPS") == nullptr || who() == nullptr) return Fault::none;
  const int saved = errno;
  const char* rank = std::getenv("OMPI_COMM_WORLD_RANK");
  Fault fault = Fault::none;
  for (const char* number : {"", rank}) {
    if (number == nullptr || fault != Fault::none) continue;
    Text point;
    std::snprintf(point.data(), point.size(), "%s%s.%s.%s.%.*s", who(), number, when, operation,
                  static_cast<int>(what.size()), what.data());
    if (*number == '\0' && std::getenv("CHAOS_TRACE") != nullptr) note(point.data(), "passed");
    Text action;
    if (take_trap(point.data(), action)) fault = obey(point.data(), action.data(), error);
  }
  errno = saved;
  return fault;
}

template <typename Call>
auto around(const char* operation, std::string_view what, Call call) -> decltype(call()) {
  int error = 0;
  const Fault fault = pass("before", operation, what, error);
  if (fault == Fault::error) {
    errno = error;
    return -1;
  }
  const auto result = call();
  int ignored = 0;
  pass("after", operation, what, ignored);
  if (fault != Fault::did_error) return result;
  errno = error;
  return -1;
}

// The kind of an open file.
std::string_view kind_of(int fd, Text& out) {
  if (environment("CHAOS_OUT").empty()) return {};
  const int saved = errno;
  Text link_name;
  Text path;
  std::snprintf(link_name.data(), link_name.size(), "/proc/self/fd/%d", fd);
  const long n = ::syscall(SYS_readlinkat, AT_FDCWD, link_name.data(), path.data(), path.size());
  errno = saved;
  return kind_of(std::string_view(path.data(), n > 0 ? static_cast<std::size_t>(n) : 0), out);
}

int open_file(const char* path, int flags, unsigned mode) {
  Text kind;
  const bool writes = (flags & O_ACCMODE) != O_RDONLY;
  return around("open", writes ? kind_of(path, kind) : weights_of(path),
                [&] { return static_cast<int>(::syscall(SYS_openat, AT_FDCWD, path, flags, mode)); });
}

// The server reads what has been sent before it sees the end.
ssize_t send_script(int fd, std::string_view script, std::string_view command) {
  int error = 0;
  const Fault fault = pass("before", "send", script, error);
  if (fault == Fault::error) {
    errno = error;
    return -1;
  }
  const long sent = ::syscall(SYS_write, fd, command.data(), command.size());
  if (fault == Fault::cut) ::shutdown(fd, SHUT_RDWR);
  pass("after", "send", script, error);
  return sent;
}

unsigned mode_of(int flags, va_list more) {
  return (flags & O_CREAT) == 0 && (flags & O_TMPFILE) != O_TMPFILE ? 0 : va_arg(more, unsigned);
}

}  // namespace

extern "C" {

int link(const char* from, const char* to) noexcept {
  Text kind;
  return around("link", kind_of(to, kind),
                [&] { return static_cast<int>(::syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0)); });
}

int unlink(const char* path) noexcept {
  Text kind;
  return around("unlink", kind_of(path, kind),
                [&] { return static_cast<int>(::syscall(SYS_unlinkat, AT_FDCWD, path, 0)); });
}

int rename(const char* from, const char* to) noexcept {
  Text kind;
  return around("rename", kind_of(to, kind),
                [&] { return static_cast<int>(::syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to)); });
}

int open(const char* path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  const unsigned mode = mode_of(flags, more);
  va_end(more);
  return open_file(path, flags, mode);
}

int open64(const char* path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  const unsigned mode = mode_of(flags, more);
  va_end(more);
  return open_file(path, flags | O_LARGEFILE, mode);
}

int fsync(int fd) {
  Text kind;
  return around("fsync", kind_of(fd, kind), [&] { return static_cast<int>(::syscall(SYS_fsync, fd)); });
}

int close(int fd) {
  Text kind;
  return around("close", kind_of(fd, kind), [&] { return static_cast<int>(::syscall(SYS_close, fd)); });
}

ssize_t write(int fd, const void* bytes, size_t size) {
  const std::string_view command(static_cast<const char*>(bytes), size);
  const std::string_view script = script_of(command);
  if (!script.empty()) return send_script(fd, script, command);
  Text kind;
  return around("write", kind_of(fd, kind),
                [&] { return static_cast<ssize_t>(::syscall(SYS_write, fd, bytes, size)); });
}

}  // extern "C"
