// nightreel's own subcommands, called in the test's process: what they print is caught where the descriptors are, so
// that nothing can pass by. One at a time. Test code of the app layer.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "app/nightreel/program.h"
#include "nightreel/base/file.h"

namespace nightreel::test {

/// The thread's signal mask as it was, when the object has gone: `run` keeps signals for itself.
class Signals {
 public:
  Signals() { ::pthread_sigmask(SIG_SETMASK, nullptr, &before_); }
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;
  ~Signals() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_{};
};

/// A standard descriptor as a file in memory, for as long as the object lives.
class Caught {
 public:
  explicit Caught(int descriptor, const std::string& content = "")
      : descriptor_(descriptor),
        saved_(::fcntl(descriptor, F_DUPFD_CLOEXEC, 3)),
        file_(::memfd_create("caught", MFD_CLOEXEC)) {
    flush();
    const auto size = static_cast<ssize_t>(content.size());
    if (!saved_ || !file_ || ::write(file_.get(), content.data(), content.size()) != size ||
        ::lseek(file_.get(), 0, SEEK_SET) != 0 || ::dup2(file_.get(), descriptor_) < 0) {
      throw std::runtime_error("a standard descriptor cannot be caught");
    }
  }
  Caught(const Caught&) = delete;
  Caught& operator=(const Caught&) = delete;
  ~Caught() {
    flush();
    ::dup2(saved_.get(), descriptor_);
  }

  std::string text() const {
    flush();
    std::string out(static_cast<std::size_t>(::lseek(file_.get(), 0, SEEK_END)), '\0');
    return ::pread(file_.get(), out.data(), out.size(), 0) < 0 ? "" : out;
  }

 private:
  static void flush() {
    std::fflush(nullptr);
    std::cout.flush();
  }

  int descriptor_;
  base::Fd saved_;
  base::Fd file_;
};

/// The environment without what would name a Redis or settings, with `more` in it; as it was when the object has gone.
class Environment {
 public:
  explicit Environment(const std::map<std::string, std::string>& more) {
    for (char** entry = environ; *entry != nullptr; ++entry) before_.emplace_back(*entry);
    for (const auto& entry : before_) {
      if (entry.rfind("REDIS_", 0) == 0 || entry.rfind("NIGHTREEL_", 0) == 0) ::unsetenv(name_of(entry).c_str());
    }
    for (const auto& [name, value] : more) ::setenv(name.c_str(), value.c_str(), 1);
  }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;
  ~Environment() {
    ::clearenv();
    for (const auto& entry : before_) {
      ::setenv(name_of(entry).c_str(), entry.substr(name_of(entry).size() + 1).c_str(), 1);
    }
  }

 private:
  static std::string name_of(const std::string& entry) { return entry.substr(0, entry.find('=')); }

  std::vector<std::string> before_;
};

struct How {
  std::map<std::string, std::string> environment = {};
  std::string input = {};   // standard input
  std::string folder = {};  // to be in; empty: this process's
};

struct Ended {
  int code = -1;
  std::string out;
  std::string log;  // stderr

  std::string said() const { return "exit code " + std::to_string(code) + "\n" + out + "\n" + log; }
  std::ptrdiff_t lines() const { return std::count(log.begin(), log.end(), '\n'); }
};

inline Ended call(std::vector<std::string> words, const How& how = {}) {
  words.insert(words.begin(), "nightreel");
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const auto here = std::filesystem::current_path();
  if (!how.folder.empty()) std::filesystem::current_path(how.folder);
  Ended ended;
  {
    const Signals signals;
    const Environment environment(how.environment);
    const Caught in(0, how.input);
    const Caught out(1);
    const Caught log(2);
    ended.code = app::run_nightreel(static_cast<int>(words.size()), argv.data());
    ended.out = out.text();
    ended.log = log.text();
  }
  std::filesystem::current_path(here);
  return ended;
}

/// A file of the repository.
inline std::string repository(const std::string& path) {
  const char* source = std::getenv("NIGHTREEL_SOURCE_DIR");
  return std::string(source == nullptr ? "." : source) + "/" + path;
}

/// A job's line: "a" -> {"id":"a","prompt":"a"} and what `more` has, which begins with a comma.
inline std::string line_of(const std::string& id, const std::string& more = "") {
  return R"({"id":")" + id + R"(","prompt":")" + id + "\"" + more + "}\n";
}

}  // namespace nightreel::test
