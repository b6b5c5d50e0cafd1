// Would this run make a video as the finished one was made?
//
// Plain values; any thread.
#pragma once

#include <functional>
#include <string>

#include "nightreel/base/json.h"
#include "nightreel/protocol/message.h"
#include "nightreel/settings/settings.h"

namespace nightreel::rank {

/// How a run makes its videos, beside their settings.
struct Making {
  std::string model_digest;
  std::string dtype;  // that is computed in; empty: not known
};

Making making_of(const protocol::ReadyEvent& renderer);

/// What is in a file now, as InputHashes has it.
using ContentOf = std::function<std::string(const std::string& path)>;

/// The first thing that differs, for people ("the model", "crf", "flow_shift", "the content of
/// /loras/style.safetensors"); empty where nothing does. What the sidecar does not tell (0.1 told less) counts as
/// alike; an input that cannot be read any more does not.
std::string difference(const base::Json& sidecar, const Making& making, const settings::Settings& settings,
                       const ContentOf& content_of);

}  // namespace nightreel::rank
