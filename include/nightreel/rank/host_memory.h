// Whether a renderer's end was its host's want of memory, which no job is to blame for.
//
// Owns nothing. One thread. Nothing fails: what cannot be read says nothing.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>

#include "nightreel/base/clock.h"

namespace nightreel::rank {

/// What the system says at one moment.
struct HostMemorySigns {
  std::uint64_t oom_kills = 0;      // by the kernel, on this host, since it came up
  std::uint64_t address_space = 0;  // bytes of the process; 0: not known
};

/// Of a process that ended by itself: `how` as base::Child says it, `words` the end of its log, `limit` what ulimit -v
/// lets it have (0: everything). Empty: nothing speaks for it.
std::string why_host_memory(const std::string& how, const std::string& words, const HostMemorySigns& before,
                            const HostMemorySigns& now, std::uint64_t limit);

/// Looks at a process from its start on.
class HostMemoryWatch {
 public:
  void begin(pid_t process);
  /// To be called at every turn; looks once a second.
  void look();
  /// Why an error that it tells of may be want of memory: it has taken what ulimit -v lets it have. Else empty.
  std::string at_limit() const;
  /// After its end.
  std::string verdict(const std::string& how, const std::string& words) const;

 private:
  pid_t process_ = -1;
  base::Stopwatch since_look_;
  HostMemorySigns last_;    // at most a second old
  HostMemorySigns before_;  // the look before
};

}  // namespace nightreel::rank
