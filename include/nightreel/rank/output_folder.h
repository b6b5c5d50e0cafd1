// Where everything of a run lies in OUT. make(), check_…(), sweep(), remove_earlier(), set_aside() and stamp_of_video()
// touch it, the rest are names; any thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace nightreel::rank {

/// The files of one job's set, in the order in which they get their final names: the video last.
struct OutputSet {
  std::string archive;  // empty where none is wanted
  std::string sheet;
  std::string sidecar;
  std::string video;
};

/// One claim of one job. Two queues may have equal ids and tokens in one OUT; a set belongs to one job's hash.
struct Attempt {
  std::string id;
  std::string hash;   // of the job
  std::string token;  // of the lease: a number and the incarnation of its queue
};

class OutputFolder {
 public:
  explicit OutputFolder(std::string root) : root_(std::move(root)) {}
  /// Makes the folders. Throws Error{storage}.
  void make() const;
  /// Writes a file of so many bytes where the videos go, and removes it. Throws Error{storage}.
  void check_writable(std::size_t bytes = 64U << 10U) const;
  /// Whether a video can appear there as publication has it appear (base::check_publishing). Throws Error{storage} with
  /// the fix.
  void check_publishing() const;
  /// Removes what is older than `age` of hidden temporary files, of ranks and renderers that were killed, and of states
  /// of jobs whose video is out. Returns how many; one that cannot be removed is left.
  std::size_t sweep(std::chrono::hours age) const;
  /// Removes the temporary files of job `id`'s attempts before `token`, and of those under the incarnations `before` of
  /// its queue: they are dead, or stale and shall give nothing a final name any more. Those of other queues stay.
  /// Throws Error{storage}.
  void remove_earlier(const std::string& id, const std::string& token, const std::vector<std::string>& before) const;

  /// Of videos/ID.mp4 (base::file_stamp); empty where there is none. Throws Error{storage}.
  std::string stamp_of_video(const std::string& id) const;
  /// Of the video and of the sidecar that says what it is; empty where there is no video. Throws Error{storage}.
  std::string stamp_of_set(const std::string& id) const;
  /// Gives the video of job `id` the name videos/ID.mp4.was-<first 8 digits of its sha256>, with "-2", … behind it
  /// where that is taken, and returns that name. Nothing is removed or replaced, and nothing is done where the file
  /// there is not the one with this stamp any more. Throws Error{storage}.
  std::optional<std::string> set_aside(const std::string& id, const std::string& stamp,
                                       const std::string& sha256) const;

  const std::string& root() const { return root_; }
  std::string run_file(const std::string& run) const { return root_ + "/runs/" + run + ".json"; }
  std::string log_folder(const std::string& run) const { return root_ + "/logs/" + run; }
  std::string checkpoint(const std::string& id) const { return root_ + "/checkpoints/" + id + ".h5"; }
  OutputSet final_names(const std::string& id, bool archive) const;
  /// Hidden names beside the final ones that no other attempt of any rank and any queue uses:
  /// ".ID.mp4.HASH.TOKEN.part".
  OutputSet temporary_names(const Attempt& attempt, bool archive) const;

 private:
  OutputSet names(const std::string& stem_prefix, const std::string& id, const std::string& suffix, bool archive) const;
  std::string root_;
};

}  // namespace nightreel::rank
