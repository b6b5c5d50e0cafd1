#include "nightreel/base/resolved_file.h"

#include <doctest/doctest.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>

#include "support/error.h"
#include "support/temp_folder.h"

namespace nightreel::base {
namespace {

namespace fs = std::filesystem;
using test::contains;
using test::TempFolder;
using test::thrown_by;

// Runs `work` in a thread whose openat2 the kernel answers with `error`, as an old kernel or a container's filter does.
// The filter ends with the thread. 0: as it is.
void without_openat2(int error, const std::function<void()>& work) {
  std::thread thread([&] {
    if (error != 0) {
      std::array<sock_filter, 4> program{{BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
                                          BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
                                          BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<unsigned>(error)),
                                          BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)}};
      const sock_fprog whole{program.size(), program.data()};
      REQUIRE(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
      REQUIRE(::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &whole, 0, 0) == 0);
    }
    work();
  });
  thread.join();
}

std::string content(const std::string& root, const std::string& relative) {
  return read_all(open_beneath(root, relative), relative, 100);
}

TEST_CASE("a file below a root is opened, and nothing that a link or dots lead to") {
  for (const int error : {0, ENOSYS, EPERM}) {
    CAPTURE(error);
    const TempFolder folder;
    folder.write("root/a/b.txt", "inside");
    folder.write("secret.txt", "outside");
    fs::create_symlink("b.txt", folder / "root/a/link.txt");
    fs::create_symlink(folder / "secret.txt", folder / "root/out.txt");
    fs::create_directory_symlink(folder.path(), folder / "root/up");
    const std::string root = folder / "root";
    without_openat2(error, [&] {
      CHECK(content(root, "a/b.txt") == "inside");
      for (const char* path : {"a/link.txt", "out.txt", "up/secret.txt", "../secret.txt", "a/../../secret.txt"}) {
        INFO(path);
        CHECK(thrown_by([&] { open_beneath(root, path); }).kind == ErrorKind::storage);
      }
      CHECK(contains(thrown_by([&] { open_beneath(root, "a/none.txt"); }).message, "No such file"));
    });
  }
}

TEST_CASE("a folder that became a link after a path was resolved leads nowhere") {
  for (const int error : {0, ENOSYS, EPERM}) {
    CAPTURE(error);
    const TempFolder folder;
    const std::string path = folder.write("in/a.txt", "right");
    folder.write("other/a.txt", "wrong");
    without_openat2(error, [&] {
      CHECK(read_all(open_resolved(path), path, 100) == "right");
      fs::rename(folder / "in", folder / "moved");
      fs::create_directory_symlink(folder / "other", folder / "in");
      CHECK(contains(thrown_by([&] { open_resolved(path); }).message, path));
    });
  }
}

TEST_CASE("what is no regular file is refused at once, a FIFO without a writer too") {
  const TempFolder folder;
  fs::create_directory(folder / "d");
  REQUIRE(::mkfifo((folder / "fifo").c_str(), 0600) == 0);
  for (const int error : {0, ENOSYS}) {
    without_openat2(error, [&] {
      CHECK(contains(thrown_by([&] { open_beneath(folder.path(), "d"); }).message, "is a folder"));
      CHECK(contains(thrown_by([&] { open_beneath(folder.path(), "fifo"); }).message, "no regular file"));
      CHECK(contains(thrown_by([&] { open_resolved("/dev/null"); }).message, "no regular file"));
    });
  }
  CHECK(contains(thrown_by([&] { read_file(folder / "fifo", 10); }).message, "no regular file"));
}

}  // namespace
}  // namespace nightreel::base
