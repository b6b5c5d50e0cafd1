// checkpoints/ID.h5: the state of an unfinished denoising, from which a later attempt goes on.
//
// An HDF5 file behind a 512-byte user block that holds the XXH3-128 of all that follows. The block is compared before
// HDF5 sees a byte, so a torn or bit-flipped file is found without giving it to a parser; and as anybody can compute a
// checksum, HDF5 reads in a confined program of its own, nightreel-hdf5: a file that is made to crash it costs the
// file. What the arrays mean is the caller's business. No state; any thread (HDF5's own lock is taken inside).
// Everything throws Error{storage} with the path, but for a nightreel-hdf5 that cannot be started, which is an
// Error{environment}.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <variant>
#include <vector>

namespace nightreel::media {

inline constexpr const char* kStateFormat = "nightreel-checkpoint";
inline constexpr int kStateVersion = 1;

struct StateArray {
  std::vector<std::int64_t> shape;  // empty: one value
  std::variant<std::vector<float>, std::vector<double>, std::vector<std::int64_t>> values;
};

struct StateFile {
  std::string job_hash;      // of the job that is half done
  std::string model_digest;  // of the model that does it
  nlohmann::json info = nlohmann::json::object();
  std::map<std::string, StateArray> arrays;  // names: letters, digits, "_", "-", "."

  /// The values of `name`; throws Error{storage} where it is missing, or of another type or shape.
  template <class T>
  const std::vector<T>& values(const std::string& name, const std::vector<std::int64_t>& shape) const;
};

/// Replaces `path`, which may hold an earlier state, whole: a reader sees the old or the new one.
void write_state(const std::string& path, const StateFile& state);

StateFile read_state(const std::string& path);

}  // namespace nightreel::media
