#include "rank/last_look.h"

#include <chrono>
#include <thread>

#include "nightreel/base/clock.h"
#include "rank/standing.h"

namespace nightreel::rank {

using base::Error;
using base::ErrorKind;

std::optional<Error> LastLook::operator()(const Ids& ids, double limit_s, double again_s) {
  const base::Stopwatch since;
  const auto stopped = [&] { return since.seconds() > (signals_.asked() == Ask::stop ? kWhenStopped_s : limit_s); };
  try {
    Standing standing(out_, jobs_, {host_}, log_);
    const auto wanted = ids();
    Stands found = standing.look(wanted, stopped);
    for (; found == Stands::unsure && since.seconds() < again_s && !stopped(); found = standing.look(wanted, stopped)) {
      std::this_thread::sleep_for(std::chrono::milliseconds(500));
    }
    if (found == Stands::all) return std::nullopt;
    return Error(ErrorKind::interrupted,
                 found == Stands::unsure
                     ? "whether all videos stand in OUT could not be seen: run the same command again"
                     : "videos of done jobs did not stand in OUT: run the same command again, it makes them");
  } catch (const Error& e) {
    return e;
  }
}

}  // namespace nightreel::rank
