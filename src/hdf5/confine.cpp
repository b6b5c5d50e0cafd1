#include "hdf5/confine.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <vector>

#include "nightreel/hdf5/content.h"

namespace nightreel::hdf5 {
namespace {

constexpr std::size_t kProgram = std::size_t{256} << 20U;  // bytes: code, libraries, HDF5's own caches

#if defined(__x86_64__)
constexpr unsigned kMachine = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr unsigned kMachine = AUDIT_ARCH_AARCH64;
#else
constexpr unsigned kMachine = 0;  // no filter for it
#endif

// Nothing that opens, connects, starts or signals. What a C library asks for beside, it does without.
constexpr unsigned kAllowed[] = {
    SYS_read,           SYS_pread64,      SYS_write,       SYS_writev,      SYS_lseek,
    SYS_close,          SYS_fstat,        SYS_mmap,        SYS_munmap,      SYS_mprotect,
    SYS_mremap,         SYS_madvise,      SYS_brk,         SYS_futex,       SYS_rt_sigaction,
    SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_sigaltstack, SYS_getpid,      SYS_gettid,
    SYS_clock_gettime,  SYS_gettimeofday, SYS_getrandom,   SYS_sched_yield, SYS_restart_syscall,
    SYS_exit,           SYS_exit_group,
#if defined(__SANITIZE_ADDRESS__)
    SYS_pipe2,  // by which a sanitizer asks whether memory can be read
#endif
};

sock_filter load(std::size_t offset) {
  return BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<unsigned>(offset));
}

sock_filter answer(unsigned what) {
  return BPF_STMT(BPF_RET | BPF_K, what);
}

// Another machine's calls (a 32-bit program's) have other numbers. So have those of x32, whose numbers begin high: they
// equal none of the list.
std::vector<sock_filter> filter() {
  std::vector<sock_filter> program{load(offsetof(seccomp_data, arch)),
                                   BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kMachine, 1, 0),
                                   answer(SECCOMP_RET_KILL_PROCESS), load(offsetof(seccomp_data, nr))};
  for (const unsigned call : kAllowed) {
    program.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1));
    program.push_back(answer(SECCOMP_RET_ALLOW));
  }
  program.push_back(answer(SECCOMP_RET_ERRNO | EPERM));
  return program;
}

void limit(__rlimit_resource resource, std::size_t most) {
  const rlimit both{most, most};
  ::setrlimit(resource, &both);
}

}  // namespace

std::size_t most_memory(std::size_t bytes) {
  return kProgram + 4 * bytes + most_values(bytes);
}

void limit_resources(std::size_t file_bytes) {
  for (const int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGXCPU}) std::signal(signal, SIG_DFL);
  limit(RLIMIT_CPU, cpu_seconds(file_bytes));
  limit(RLIMIT_CORE, 0);
  limit(RLIMIT_FSIZE, 0);
#if !defined(__SANITIZE_ADDRESS__)  // whose shadow is terabytes wide
  limit(RLIMIT_AS, most_memory(file_bytes));
#endif
}

bool forbid_system_calls() {
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || kMachine == 0) return false;
  std::vector<sock_filter> program = filter();
  const sock_fprog whole{static_cast<unsigned short>(program.size()), program.data()};
  return ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &whole, 0, 0) == 0;
}

}  // namespace nightreel::hdf5
