// Do the videos stand in OUT that the queue says are done, as their sidecars say?
//
// A done job whose video is gone is put back. A file that is not what its sidecar says is set aside (OutputFolder::
// set_aside), and its job put back. What was read once is not read again while the stamp of video and sidecar is the
// same (OutputFolder::stamp_of_set, kept in the job's record). Uses the queue: one thread. Throws what the queue
// throws; Error{storage} for a file that cannot be looked at.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "nightreel/base/log.h"
#include "nightreel/queue/job_queue.h"
#include "nightreel/rank/output_folder.h"

namespace nightreel::rank {

struct StandingOptions {
  std::string host;  // this rank's, as jobs' records have it
  // A video of another host may be late to be seen here (NFS): it is gone when its record is as old as this.
  std::chrono::milliseconds settle{60'000};
};

enum class Stands {
  all,       // each done job's video, as it should be
  put_back,  // not all: what did not is pending now
  unsure     // not all, or not known: look again
};

class Standing {
 public:
  Standing(OutputFolder out, queue::JobQueue& jobs, StandingOptions options, base::Logger log)
      : out_(std::move(out)), jobs_(jobs), options_(std::move(options)), log_(std::move(log)) {}

  /// Looks at those of the jobs that are done in this OUT. `stopped` is asked between two pieces of work; then the
  /// answer is `unsure`.
  Stands look(const std::vector<std::string>& ids, const std::function<bool()>& stopped);

 private:
  Stands read(const queue::JobView& job, const std::string& stamp, const std::function<bool()>& stopped);
  Stands judge(const queue::JobView& job, const std::string& stamp, const std::string& sha256);
  bool still_done(const queue::JobView& job);
  Stands look_for(const std::vector<queue::JobView>& missing);
  Stands put_back(const queue::JobView& job, std::chrono::milliseconds age, const std::string& why);
  OutputFolder out_;
  queue::JobQueue& jobs_;
  StandingOptions options_;
  base::Logger log_;
};

}  // namespace nightreel::rank
