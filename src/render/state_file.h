// A denoising that stands between two steps, as a file, and back.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "nightreel/base/log.h"
#include "nightreel/pipeline/denoise.h"
#include "nightreel/settings/settings.h"

namespace nightreel::render {

/// Whose state it is: another job, other settings or another model must not go on from it.
struct StateKey {
  std::string settings_hash;
  std::string model_digest;
  std::string hash_of_0_1 = {};  // by which version 0.1 named the same state; empty: it could not make it
};

/// `inputs_hash`: of the pictures' pixels and the LoRAs' numbers, which may change behind the paths that the settings
/// name. `job_hash`: two queues may have jobs of one id in one OUT; empty: nobody's.
StateKey state_key(const settings::Settings& settings, const std::string& inputs_hash, const std::string& model_digest,
                   const std::string& job_hash = {});

/// `plan`: the memory plan that it was made with, for people; null: not told. Throws Error{storage}.
void save_state(const std::string& path, const StateKey& key, const pipeline::DenoiseState& state,
                const nlohmann::json& plan = {});

/// Nothing where there is no file, or where it is another's or broken: it is then set aside as PATH.broken, `log` is
/// told why on one line, and the job starts afresh.
std::optional<pipeline::DenoiseState> load_state(const std::string& path, const StateKey& key,
                                                 const base::Logger& log = {});

/// Why a state that can be read is not the key's; empty: it is.
std::string misfit(const std::string& settings_hash, const std::string& model_digest, const StateKey& key);

}  // namespace nightreel::render
