#include "media/isolate.h"

#include <atomic>
#include <csignal>
#include <stdexcept>

#include "media/support.h"

namespace nightreel::media::test {
namespace {

using base::Error;
using base::ErrorKind;

TEST_CASE("what the child returns or throws arrives, and what it changes stays behind") {
  int changed = 0;
  const std::string big(3U << 20U, '\xFE');
  CHECK(run_isolated("f", 5, [&] {
          changed = 1;
          return big;
        }) == big);
  CHECK(changed == 0);
  CHECK(run_isolated("f", 5, [] { return std::string(); }).empty());
  const auto thrown = [](ErrorKind kind) {
    return [kind] { run_isolated("f", 5, [kind]() -> std::string { throw Error(kind, "why"); }); };
  };
  CHECK(error_of(ErrorKind::storage, thrown(ErrorKind::storage)) == "why");
  CHECK(error_of(ErrorKind::usage, thrown(ErrorKind::usage)) == "why");
}

TEST_CASE("a child that dies is an error with the name") {
  for (const int signal : {SIGSEGV, SIGABRT, SIGKILL, SIGXCPU}) {
    CAPTURE(signal);
    const std::string error = error_of(ErrorKind::usage, [signal] {
      run_isolated("some.h5", 5, [signal] {
        std::raise(signal);
        return std::string();
      });
    });
    CHECK(contains(error, "some.h5: "));
  }
  error_of(ErrorKind::usage, [] {
    run_isolated("f", 1, [] {
      std::atomic<bool> never{false};
      while (!never) {
      }
      return std::string();
    });
  });
  error_of(ErrorKind::usage, [] { run_isolated("f", 5, []() -> std::string { throw std::runtime_error("x"); }); });
}

}  // namespace
}  // namespace nightreel::media::test
