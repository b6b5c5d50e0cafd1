// From a renderer's finished temporary files to the published set of one job, exactly once.
//
// Owns nothing but settings; one thread. Throws Error{storage} for files that are not what they should be or cannot be
// written, and what the queue throws.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "nightreel/protocol/message.h"
#include "nightreel/queue/job_queue.h"
#include "nightreel/rank/making.h"
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
  bool archive = true;
  bool overwrite = false;
};

/// Asked about a set that is whole and of this very job: shall another one be made and take its place all the same?
/// Given the sidecar.
using Anew = std::function<bool(const protocol::Json& sidecar)>;

struct Finished {
  queue::Lease lease;
  protocol::Json spec;
  std::string id;
  settings::Settings settings;
  protocol::DoneEvent done;
  std::vector<int> ranks;                          // that rendered it together; none: this one alone
  std::map<std::string, std::string> inputs = {};  // pictures and LoRAs -> XXH3-128 of what was in them
  Anew anew = {};                                  // none: never
};

enum class Outcome { published, stale, cancel_requested };

class Publisher {
 public:
  Publisher(OutputFolder out, Maker maker) : out_(std::move(out)), maker_(std::move(maker)) {}

  /// What stands under the job's final names, if its video is whole and its sidecar is of this very job: a rank that
  /// published and could not tell the queue any more left it. A video of this job that is not what its sidecar says is
  /// set aside (OutputFolder::set_aside). Throws Error{job} where another job's set stands there, or is being
  /// published: `overwrite` replaces a finished set of this id, and nothing that is no such set.
  std::optional<queue::Published> standing(const std::string& id, const std::string& hash, const Anew& anew = {}) const;
  /// How this rank would make a video otherwise than its sidecar says (making.h); empty: not at all.
  std::string difference(const protocol::Json& sidecar, const settings::Settings& settings,
                         const ContentOf& content_of) const {
    return rank::difference(sidecar, making_of(maker_.renderer), settings, content_of);
  }
  /// Checks the video, passes the queue's fence and gives the set its final names; `still_ours`, the lease's own
  /// deadline, is asked before each of them. The queue is still to be told what is `published`. May be called again
  /// after an error of the queue's.
  Outcome publish(queue::JobQueue& jobs, const Finished& finished, const std::function<bool()>& still_ours,
                  queue::Published& published) const;
  /// Removes what an attempt wrote under its temporary names.
  void discard(const Attempt& attempt) const;

  /// Removes the state of a job whose video is out. One that cannot be removed is left.
  void remove_checkpoint(const std::string& id) const;

 private:
  void check(const Finished& finished, const std::string& video) const;
  void write_sidecar(const Finished& finished, const OutputSet& from, const queue::Published& published) const;
  struct Look;
  Look look(const std::string& id, const std::string& hash, const Anew& anew) const;
  void take_names(const Finished& finished, const OutputSet& from, const OutputSet& to, bool replace) const;
  void check_whole(const Finished& finished, const OutputSet& to, const std::string& stamp,
                   const std::string& sha256) const;
  bool name_set(const Finished& finished, const OutputSet& from, bool replace, const std::function<bool()>& still_ours,
                queue::Published& published) const;
  OutputFolder out_;
  Maker maker_;
};

}  // namespace nightreel::rank
