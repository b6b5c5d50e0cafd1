// From a renderer's finished temporary files to the published set of one job, exactly once.
//
// Owns nothing but settings; one thread. Throws Error{storage} for files that are not what they should be or cannot be
// written, and what the queue throws.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "nightreel/protocol/message.h"
#include "nightreel/queue/job_queue.h"
#include "nightreel/rank/output_folder.h"

namespace nightreel::rank {

/// A rank's renderer, as its video's sidecar names it.
struct RenderedOn {
  std::string host;
  std::string gpu;
  std::string gpu_uuid;
};

/// What is the same in every sidecar of a rank.
struct Maker {
  protocol::ReadyEvent renderer;
  std::string model_folder;
  int rank = 0;
  std::vector<RenderedOn> ranks;  // of the whole run, this one among them
  std::string launcher_job;
  int threads = 0;
  int crf = 18;
  bool archive = true;
  bool overwrite = false;
};

struct Finished {
  queue::Lease lease;
  protocol::Json spec;
  std::string id;
  job::Settings settings;
  protocol::DoneEvent done;
  std::vector<int> ranks;  // that rendered it together; none: this one alone
};

enum class Outcome { published, stale, cancel_requested };

class Publisher {
 public:
  Publisher(OutputFolder out, Maker maker) : out_(std::move(out)), maker_(std::move(maker)) {}

  /// What stands under the job's final names, if its video is whole and its sidecar is of this very job: a rank that
  /// published and could not tell the queue any more left it. Throws Error{job} where another video stands there and
  /// may not be replaced: `overwrite` replaces a finished set of this id, and nothing that is no such set.
  std::optional<queue::Published> standing(const std::string& id, const std::string& hash) const;
  /// Checks the video, passes the queue's fence and gives the set its final names; `still_ours`, the lease's own
  /// deadline, is asked before each of them. The queue is still to be told what is `published`. May be called again
  /// after an error of the queue's.
  Outcome publish(queue::JobQueue& jobs, const Finished& finished, const std::function<bool()>& still_ours,
                  queue::Published& published) const;
  /// Removes what an attempt wrote under its temporary names.
  void discard(const std::string& id, const std::string& token) const;

  /// Removes the state of a job whose video is out. One that cannot be removed is left.
  void remove_checkpoint(const std::string& id) const;

 private:
  void check(const Finished& finished, const std::string& video) const;
  void write_sidecar(const Finished& finished, const OutputSet& from, const queue::Published& published) const;
  bool name_set(const OutputSet& from, const OutputSet& to, const std::function<bool()>& still_ours) const;
  OutputFolder out_;
  Maker maker_;
};

}  // namespace nightreel::rank
