// OUT: can every rank write, sync, link and rename there, is it one folder for all, is there room for the queue?
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "doctor/context.h"
#include "doctor/queued.h"
#include "nightreel/card/card.h"

namespace nightreel::doctor {

struct StorageFacts {
  std::string file_system;       // "nfs", "ext4"; its number where the name is not known
  std::uint64_t free_bytes = 0;  //
  double write_mb_s = 0;         // of one file with its fsync; 0: not measured by this rank
  double sync_ms = 0;            // to write, sync and rename a small file: the median
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(StorageFacts, file_system, free_bytes, write_mb_s, sync_ms)

/// Makes the folder where it is not there, as a run does, and leaves nothing in it. `measure`: writes 16 MiB too.
/// Throws Error{storage} that names the step.
StorageFacts storage_facts(const std::string& out, bool measure);

Findings judge_storage(const Places& places, const std::vector<Answer<StorageFacts>>& answers);

/// What a run keeps of one video, in bytes: latents, video, contact sheet; and its checkpoint while it is in hand. What
/// `size` leaves out is the model's usual size; without a model, 832x480 with 81 frames.
std::uint64_t bytes_a_video(const std::optional<card::Card>& card, const VideoSize& size = {});

struct VideoBytes {
  std::uint64_t mean = 0;
  std::uint64_t largest = 0;
};
/// Of the jobs that were sampled; where there are none, of the usual size.
VideoBytes bytes_of(const std::optional<card::Card>& card, const std::vector<VideoSize>& sample);

/// `jobs`, those queued: absent where no queue could be asked.
Finding judge_space(std::uint64_t free_bytes, std::optional<std::int64_t> jobs, std::size_t ranks,
                    const VideoBytes& video);

}  // namespace nightreel::doctor
