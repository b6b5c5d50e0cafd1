#include "nightreel/hdf5/content.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <functional>

#include "hdf5/confine.h"
#include "support/error.h"

namespace nightreel::hdf5 {
namespace {

using base::ErrorKind;
using test::contains;
using test::error_of;

Content some_content() {
  Content content;
  content.entries = {{"text:a", "", false, "words", 0, Type::float32, {}},
                     {"integer:n", "", false, "", -7, Type::float32, {}},
                     {"data:d", "", false, std::string(24, 'x'), 0, Type::float64, {3, 1}},
                     {"data:e", "", false, "", 0, Type::uint8, {0, 4}},
                     {"data:m", "", true, "", 0, Type::float32, {}},
                     {"data:p", "m cannot be read", false, "", 0, Type::float32, {}}};
  return content;
}

TEST_CASE("an answer comes back as it was") {
  const Content content = decode(encode(some_content()));
  CHECK(encode(content) == encode(some_content()));
  CHECK(content.find("data:d")->shape == Shape{3, 1});
  CHECK(content.find("data:d")->bytes == std::string(24, 'x'));
  CHECK(content.find("integer:n")->integer == -7);
  CHECK(content.find("data:m")->missing);
  CHECK(content.find("data:p")->problem == "m cannot be read");
  CHECK(content.find("data:q") == nullptr);
}

std::string answer(const std::string& entry, const std::string& bytes = "") {
  return R"({"confined":true,"entries":[)" + entry + "]}\n" + bytes;
}

TEST_CASE("an answer that no reader writes is refused, whatever it claims") {
  const std::string data = R"({"word":"data:d","integer":0,"type":0,"shape":[1],"bytes":4})";
  REQUIRE(decode(answer(data, "abcd")).entries.size() == 1);
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string changed = data;
    changed.replace(changed.find(from), from.size(), to);
    return answer(changed, "abcd");
  };
  for (const std::string& bytes : {std::string(),
                                   std::string("{}"),
                                   std::string("{}\n"),
                                   std::string("[]\n"),
                                   std::string("7\n"),
                                   std::string(R"({"confined":1,"entries":[]})") + "\n",
                                   std::string(R"({"entries":[]})") + "\n",
                                   answer("7"),
                                   answer("{}"),
                                   answer(R"({"word":"data:d"})"),
                                   answer(R"({"word":7,"problem":"x"})"),
                                   answer(R"({"word":"data:d","problem":7})"),
                                   answer(R"({"word":"data:d","problem":""})"),
                                   answer(data, "abc"),
                                   answer(data, "abcde"),
                                   with(R"("type":0)", R"("type":4)"),
                                   with(R"("type":0)", R"("type":-1)"),
                                   with(R"("type":0)", R"("type":1.5)"),
                                   with(R"("type":0)", R"("type":18446744073709551615)"),
                                   with(R"("type":0)", R"("type":1)"),
                                   with("[1]", "[2]"),
                                   with("[1]", "[0]"),
                                   with("[1]", "[-1]"),
                                   with("[1]", "[1,1,1,1,1,1,1,1,1]"),
                                   with("[1]", "[4611686018427387904,4]"),
                                   with("[1]", R"("x")"),
                                   with(R"("bytes":4)", R"("bytes":9223372036854775807)"),
                                   with(R"("bytes":4)", R"("bytes":-4)"),
                                   with(R"("integer":0)", R"("integer":1e300)"),
                                   with("data:d", "text:d") + "\xff",
                                   answer(R"({"word":"text:d","integer":0,"type":0,"shape":[],"bytes":1})", "\xff")}) {
    INFO(bytes);
    CHECK(contains(error_of(ErrorKind::usage, [&] { decode(bytes); }), "an answer that cannot be"));
  }
}

TEST_CASE("what an answer says of a problem cannot drive a terminal") {
  const Content content = decode(answer(R"({"word":"data:d","problem":"\u001b[31m\n"})"));
  CHECK(content.find("data:d")->problem == "\\x1b[31m\\x0a");
}

// The errno that `call` leaves in a process that has given up what the reader gives up; 0 where it works.
int errno_of(const std::function<int()>& call) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    if (!forbid_system_calls()) ::_exit(255);
    ::_exit(call() < 0 ? errno : 0);
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
}

TEST_CASE("who is confined opens nothing, connects to nothing and starts nothing") {
  const int read = errno_of([] {
    char byte = 0;
    return static_cast<int>(::read(-1, &byte, 1));
  });
  if (read == 255) {
    MESSAGE("this kernel allows no filter of system calls");
    return;
  }
  CHECK(read == EBADF);  // the call itself is allowed
  CHECK(errno_of([] { return ::open("/dev/null", O_RDONLY); }) == EPERM);
  CHECK(errno_of([] { return ::socket(AF_INET, SOCK_STREAM, 0); }) == EPERM);
  CHECK(errno_of([] { return ::socket(AF_UNIX, SOCK_STREAM, 0); }) == EPERM);
  CHECK(errno_of([] {
          char name[] = "/bin/true";
          char* const words[] = {name, nullptr};
          return ::execv(name, words);
        }) == EPERM);
  CHECK(errno_of([] { return ::kill(::getppid(), 0); }) == EPERM);
  CHECK(errno_of([] { return ::fork(); }) == EPERM);
}

TEST_CASE("the memory that a reader may take grows with its file, and not by hundreds") {
  CHECK(most_memory(10'000) < (std::size_t{400} << 20U));
  CHECK(most_memory(std::size_t{1} << 30U) < std::size_t{30} << 30U);
  CHECK(most_values(0) < (std::size_t{100} << 20U));
}

}  // namespace
}  // namespace nightreel::hdf5
