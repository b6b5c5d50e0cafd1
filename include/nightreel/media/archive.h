// archive/ID.h5: the latents of a video (and, if wanted, its frames before video compression), from which it can be
// decoded again. An HDF5 file that h5py and h5dump read; the layout is public and described in docs/formats.md.
//
// No state; any thread (HDF5's own lock is taken inside). Equal content gives equal bytes: no times are stored.
// A file that cannot be read or written is an Error{storage}; one whose content is not an archive, or is damaged, is an
// Error{usage}. Both name the file and what is wrong.
#pragma once

#include <array>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "nightreel/media/frames.h"

namespace nightreel::media {

inline constexpr const char* kArchiveFormat = "nightreel-archive";
inline constexpr int kArchiveVersion = 1;

/// What is written. A view: buffers stay the caller's.
struct ArchiveView {
  nlohmann::json job;                           // objects
  nlohmann::json settings;                      //
  nlohmann::json model;                         //
  std::array<std::int64_t, 4> latents_shape{};  // channels, frames, height, width
  std::span<const float> latents;               // contiguous, as diffusers' output_type="latent" without its batch axis
  Frames frames;                                // no rgb: not stored
};

/// What was read.
struct Archive {
  nlohmann::json job;
  nlohmann::json settings;
  nlohmann::json model;
  std::array<std::int64_t, 4> latents_shape{};
  std::vector<float> latents;
  std::array<std::int64_t, 4> frames_shape{};  // frames, height, width, 3; zeros where the archive has none
  std::vector<std::uint8_t> rgb;

  bool has_frames() const { return !rgb.empty(); }
  Frames frames() const { return {frames_shape[0], frames_shape[1], frames_shape[2], rgb}; }
};

/// Whole or not at all (temporary name, fsync, rename).
void write_archive(const std::string& path, const ArchiveView& archive);

/// A regular file, read by nightreel-hdf5, a confined program of its own: one that crashes HDF5 is an error like any
/// other. Links, external data and filter plug-ins that a foreign file may name are not followed. Where that program
/// cannot be started it is an Error{environment}.
Archive read_archive(const std::string& path);

}  // namespace nightreel::media
