// One job as somebody wrote it: a JSON object, checked as far as no model is needed.
//
// Plain values, no resources; any thread. A job that cannot be is an Error{job} whose message is "field: reason".
// job_file.h reads files of them; resolve.h completes one to the Settings of one model.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "nightreel/base/json.h"
#include "nightreel/settings/id.h"
#include "nightreel/settings/stated.h"

namespace nightreel::job {

using base::Json;

inline constexpr std::size_t kMaxJob = 192U << 10U;  // bytes of the whole object, as dumped

/// Its settings as stated: `id` always (given, or the hash's first 16 digits), `image`, `last_image` and the LoRAs'
/// paths resolved: absolute, no symbolic links.
struct Job : settings::Stated {
  Json spec;                       // as given
  std::string hash;                // sha256 of spec.dump(), 64 hex digits
  std::uint64_t default_seed = 0;  // the hash's first 8 bytes, big-endian, & 2^63-1
  std::string folder;              // that relative paths count from
  std::string input_root;          // that its files lie under; empty: anywhere
  std::string origin;              // "FILE:LINE" for messages; empty where it came from elsewhere

  /// Equal for equal content: the hash, and where the job names files, which files these are.
  std::string identity() const;
};

/// Which files a job may name.
struct PathRules {
  std::string folder;      // that relative paths count from; empty: a relative path is an error
  std::string input_root;  // nothing outside is read, symbolic links and ".." resolved; empty: everything may be
  bool files = true;       // false: a job that names a file is refused
};

using settings::is_id;

/// The object's fields checked, its paths resolved, its files looked for. Throws Error{job}.
Job make_job(Json spec, const PathRules& rules);

/// The same of JSON text. Throws Error{job}, for what is no JSON too.
Job parse_job(std::string_view text, const PathRules& rules);

/// The text that stands for a job in the queue, and the job again from it: `spec`, `folder` and the `root` that its
/// files lie under, everything else follows. unpack_job looks for the job's files again, under `input_root` where there
/// is one, else under the job's own, and throws Error{job}.
std::string pack_job(const Job& job);
Job unpack_job(std::string_view text, const std::string& input_root);

}  // namespace nightreel::job
