// How long videos like these took before, for whoever must not begin one that does not end in time.
//
// Plain values; any thread. Nothing is thrown: a sidecar that cannot be read tells nothing.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "nightreel/rank/output_folder.h"
#include "nightreel/settings/settings.h"

namespace nightreel::rank {

class PastTimes {
 public:
  PastTimes() = default;
  /// What the sidecars in OUT say of videos of this model.
  PastTimes(const OutputFolder& out, const std::string& model_digest);

  void add(const settings::Settings& settings, double seconds);
  /// Seconds of the slowest one of this height, width and number of frames; nothing where there was none.
  std::optional<double> slowest(const settings::Settings& settings) const;

 private:
  void add(const std::string& size, double seconds);
  std::map<std::string, double> slowest_;  // by size
};

/// "832x480, 81 frames".
std::string size_of(const settings::Settings& settings);

}  // namespace nightreel::rank
