#include "nightreel/base/process.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>

#include "nightreel/base/pipe.h"
#include "support/comes.h"
#include "support/error.h"
#include "support/temp_folder.h"

namespace nightreel::base {
namespace {

using std::chrono::milliseconds;
using test::contains;
using test::thrown_by;

ChildOptions shell(const std::string& script) {
  ChildOptions options;
  options.argv = {"sh", "-c", script};
  return options;
}

/// The lines that the script prints.
std::vector<std::string> output_of(const ChildOptions& options) {
  const Child child(options);
  LineReader reader(child.stdout_fd(), 1U << 20U);
  std::vector<std::string> lines;
  for (std::string line; reader.next(line, milliseconds(60000)) == LineReader::Status::line;) lines.push_back(line);
  return lines;
}

/// Gone, or a zombie that waits for its parent, which for an orphan is init. A process that ends between the open and
/// the read fails that read with ESRCH: getline() then gives nothing, where a stream's iterator would throw.
bool ends(pid_t pid) {
  return test::comes([&] {
    std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
    std::string text;
    std::getline(stat, text);
    return text.empty() || contains(text, ") Z ");
  });
}

TEST_CASE("a child is spoken to over its pipes") {
  Child child(shell("read a; echo \"got $a\"; exit 3"));
  CHECK(child);
  write_line(child.stdin_fd(), "hello");
  LineReader reader(child.stdout_fd(), 100);
  std::string line;
  REQUIRE(reader.next(line, milliseconds(60000)) == LineReader::Status::line);
  CHECK(line == "got hello");
  CHECK(child.wait(milliseconds(60000)) == "exit code 3");
  CHECK(child.wait(milliseconds(0)) == "exit code 3");
  CHECK(child.code() == 3);
}

TEST_CASE("how a child ended is told: code, signal, or not yet") {
  Child killed(shell("sleep 100"));
  CHECK(killed.wait(milliseconds(20)) == std::nullopt);
  killed.kill(SIGKILL);
  CHECK(killed.wait(milliseconds(60000)) == "signal 9 (Killed)");
  CHECK(killed.code() == 137);
  Child child(shell("cat > /dev/null; exit 0"));
  child.close_stdin();
  CHECK(child.wait(milliseconds(60000)) == "exit code 0");
}

TEST_CASE("an executable that is not there is named") {
  ChildOptions options;
  options.argv = {"/no/such/program"};
  const auto error = thrown_by([&] { Child child(options); });
  CHECK(error.kind == ErrorKind::environment);
  CHECK(error.message == "cannot start /no/such/program: No such file or directory");
}

TEST_CASE("the launcher's variables stay behind, others and the ones set arrive") {
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "SLURM_PROCID"}) ::setenv(name, "7", 1);
  ::setenv("NIGHTREEL_TEST_KEPT", "kept", 1);
  ::setenv("NIGHTREEL_TEST_SET", "old", 1);
  auto options = shell("env");
  options.set_env = {{"NIGHTREEL_TEST_SET", "new"}};
  std::string text = "\n";
  for (const auto& line : output_of(options)) text += line + "\n";
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "SLURM_PROCID", "NIGHTREEL_TEST_KEPT"})
    ::unsetenv(name);
  ::unsetenv("NIGHTREEL_TEST_SET");
  CHECK_FALSE(contains(text, "\nOMPI_"));
  CHECK_FALSE(contains(text, "\nPMIX_"));
  CHECK_FALSE(contains(text, "\nSLURM_"));
  CHECK(contains(text, "\nNIGHTREEL_TEST_KEPT=kept\n"));
  CHECK(contains(text, "\nNIGHTREEL_TEST_SET=new\n"));
  CHECK_FALSE(contains(text, "old"));
  CHECK(contains(text, "\nNIGHTREEL_PARENT_PID=" + std::to_string(::getpid()) + "\n"));
}

// The names, and those alone, that a child of this rule gets of `given`.
std::vector<std::string> names_that_arrive(const EnvironmentRule& rule, const std::vector<std::string>& given) {
  for (const auto& name : given) ::setenv(name.c_str(), "x", 1);
  std::vector<std::string> arrived;
  for (const std::string& entry : child_environment(rule, {})) {
    const std::string name = entry.substr(0, entry.find('='));
    if (std::find(given.begin(), given.end(), name) != given.end()) arrived.push_back(name);
  }
  for (const auto& name : given) ::unsetenv(name.c_str());
  std::sort(arrived.begin(), arrived.end());
  return arrived;
}

TEST_CASE("a renderer gets the listed variables and no secret, whatever it is called") {
  const std::vector<std::string> given{"LC_ALL",
                                       "CUDA_VISIBLE_DEVICES",
                                       "NCCL_DEBUG",
                                       "CUBLASLT_LOG_LEVEL",
                                       "MALLOC_ARENA_MAX",
                                       "NIGHTREEL_A",
                                       "REDIS_PASSWORD",
                                       "REDIS_URL",
                                       "REDISCLI_AUTH",
                                       "HF_TOKEN",
                                       "NIGHTREEL_REDIS",
                                       "NIGHTREEL_TOKEN",
                                       "AWS_SECRET_ACCESS_KEY",
                                       "SSH_AUTH_SOCK",
                                       "OMPI_COMM_WORLD_RANK",
                                       "SLURM_JOB_ID",
                                       "ATEN_CPU_CAPABILITY"};
  using Names = std::vector<std::string>;
  const EnvironmentRule listed{EnvironmentRule::Take::listed, {}};
  CHECK(names_that_arrive(listed, given) ==
        Names{"CUBLASLT_LOG_LEVEL", "CUDA_VISIBLE_DEVICES", "LC_ALL", "MALLOC_ARENA_MAX", "NCCL_DEBUG", "NIGHTREEL_A"});
  const EnvironmentRule more{EnvironmentRule::Take::listed, {"ATEN_CPU_CAPABILITY", "SLURM_*", "HF_TOKEN", "REDIS*"}};
  CHECK(names_that_arrive(more, given) == Names{"ATEN_CPU_CAPABILITY", "CUBLASLT_LOG_LEVEL", "CUDA_VISIBLE_DEVICES",
                                                "LC_ALL", "MALLOC_ARENA_MAX", "NCCL_DEBUG", "NIGHTREEL_A",
                                                "SLURM_JOB_ID"});
  CHECK(names_that_arrive({EnvironmentRule::Take::none, {}}, given).empty());
}

TEST_CASE("an empty environment is empty") {
  auto options = shell("cat /proc/$$/environ | wc -c");
  options.argv[0] = "/bin/sh";
  options.environment.take = EnvironmentRule::Take::none;
  CHECK(output_of(options) == std::vector<std::string>{"0"});
}

TEST_CASE("a password or a token cannot be added to what renderers get") {
  CHECK(checked_variables({"ATEN_CPU_CAPABILITY", "KMP_*"}).size() == 2);
  for (const char* name : {"REDIS_PASSWORD", "REDIS_*", "HF_TOKEN", "NIGHTREEL_REDIS", "A=B", "", "*", "A B"}) {
    CAPTURE(name);
    CHECK(thrown_by([&] { checked_variables({name}); }).kind == ErrorKind::usage);
  }
}

TEST_CASE("a child has a group of its own and sleeps through the signals meant for ranks") {
  Child child(shell("read a; exit 5"));
  CHECK(::getpgid(child.pid()) == child.pid());
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2}) child.kill(signal);
  CHECK(child.wait(milliseconds(100)) == std::nullopt);
  child.close_stdin();
  CHECK(child.wait(milliseconds(60000)) == "exit code 5");

  auto options = shell("read a");
  options.own_group = false;
  options.block_signals = false;
  Child plain(options);
  CHECK(::getpgid(plain.pid()) == ::getpgid(0));
  plain.kill(SIGTERM);
  CHECK(plain.wait(milliseconds(60000)) == "signal 15 (Terminated)");
}

TEST_CASE("a child inherits no descriptor but the one that is handed to it") {
  test::TempFolder folder;
  const auto path = folder.write("a", "content\n");
  const Fd open_without_cloexec(::open(path.c_str(), O_RDONLY));
  auto options = shell("{ cat <&3; } 2>/dev/null; ls /proc/self/fd | wc -l");
  // ls itself has its folder open: 0, 1, 2 and that.
  CHECK(output_of(options) == std::vector<std::string>{"4"});
  options.inherit_fd = open_without_cloexec.get();
  CHECK(output_of(options) == std::vector<std::string>{"content", "5"});
}

TEST_CASE("what a child says on stderr goes to the file that was named") {
  test::TempFolder folder;
  auto options = shell("echo oops >&2");
  options.stderr_path = folder / "err.log";
  CHECK(output_of(options).empty());
  CHECK(read_file(folder / "err.log", 100) == "oops\n");
}

TEST_CASE("the owner's end is the end of the whole group") {
  pid_t inner = 0;
  pid_t outer = 0;
  {
    Child child(shell("sleep 1000 & echo $!; read a"));
    outer = child.pid();
    LineReader reader(child.stdout_fd(), 100);
    std::string line;
    REQUIRE(reader.next(line, milliseconds(60000)) == LineReader::Status::line);
    inner = std::stoi(line);
    CHECK(::kill(inner, 0) == 0);
  }
  CHECK(::kill(outer, 0) != 0);  // ended and reaped
  CHECK(ends(inner));
}

TEST_CASE("no program outlives an owner that was killed, whichever it is") {
  int told[2];
  REQUIRE(::pipe2(told, O_CLOEXEC) == 0);
  const pid_t owner = ::fork();
  if (owner == 0) {
    const Child child(shell("exec sleep 1000"));
    const pid_t pid = child.pid();
    if (::write(told[1], &pid, sizeof pid) == sizeof pid) ::pause();
    ::_exit(1);
  }
  pid_t child = 0;
  REQUIRE(::read(told[0], &child, sizeof child) == sizeof child);
  ::close(told[0]);
  ::close(told[1]);
  CHECK(::kill(child, 0) == 0);
  ::kill(owner, SIGKILL);
  ::waitpid(owner, nullptr, 0);
  CHECK(ends(child));
}

TEST_CASE("a child is told nothing of the handlers and the ignored signals of its owner") {
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGHUP, SIG_IGN);
  ChildOptions options;  // no shell: some clear the mask of what they start
  options.argv = {"grep", "-E", "SigIgn|SigBlk|SigCgt", "/proc/self/status"};
  const auto lines = output_of(options);
  ::signal(SIGPIPE, SIG_DFL);
  ::signal(SIGHUP, SIG_DFL);
  REQUIRE(lines.size() == 3);
  const auto mask = [&](std::size_t line) {
    return std::stoull(lines[line].substr(lines[line].find('\t') + 1), nullptr, 16);
  };
  const auto bit = [](int signal) { return 1ULL << static_cast<unsigned>(signal - 1); };
  CHECK(mask(0) == (bit(SIGTERM) | bit(SIGINT) | bit(SIGHUP) | bit(SIGUSR1) | bit(SIGUSR2)));
  CHECK((mask(1) & (bit(SIGPIPE) | bit(SIGHUP))) == 0);
}

TEST_CASE("a child changes hands, and only the last hand ends it") {
  Child first(shell("read a; exit 4"));
  const pid_t pid = first.pid();
  Child second(std::move(first));
  CHECK_FALSE(first);  // NOLINT(bugprone-use-after-move): what is left is what is tested
  CHECK(second.pid() == pid);
  Child third;
  third = std::move(second);
  third.close_stdin();
  CHECK(third.wait(milliseconds(60000)) == "exit code 4");
}

TEST_CASE("the executable's folder is where this test lies") {
  CHECK(::access(companion("base_test").c_str(), X_OK) == 0);
  CHECK(companion("no-such-program").find("/bin/no-such-program") != std::string::npos);
}

}  // namespace
}  // namespace nightreel::base
