#include "nightreel/media/archive.h"

#include <algorithm>
#include <string_view>

#include "media/hdf5_content.h"
#include "media/isolate.h"
#include "nightreel/base/error.h"
#include "nightreel/base/file.h"
#include "nightreel/base/json.h"
#include "nightreel/hdf5/file.h"

namespace nightreel::media {
namespace {

using base::Error;
using base::ErrorKind;
using nlohmann::json;

constexpr std::int64_t kMaxSide = 65536;
constexpr int kDeflate = 4;

json read_object(const Hdf5Content& file, const std::string& attribute) {
  json out = file.json(attribute);
  if (!out.is_object()) file.fail("attribute " + attribute + ": must be a JSON object");
  return out;
}

void check_latents(const ArchiveView& archive) {
  std::size_t left = archive.latents.size();
  for (const std::int64_t side : archive.latents_shape) {
    const bool fits = side >= 1 && side <= kMaxSide && left % static_cast<std::size_t>(side) == 0;
    left = fits ? left / static_cast<std::size_t>(side) : 0;
  }
  if (left != 1) {
    throw Error(ErrorKind::internal,
                "archive: latents_shape does not fit " + std::to_string(archive.latents.size()) + " values");
  }
}

// A chunk a channel, and a chunk a frame: each then has its own checksum.
void write_latents(hdf5::File& file, const ArchiveView& archive) {
  const auto& s = archive.latents_shape;
  file.write("latents", hdf5::Type::float32, {s.begin(), s.end()}, archive.latents.data(), {{1, s[1], s[2], s[3]}, 0});
}

void write_frames(hdf5::File& file, const Frames& frames) {
  check_frames(frames);
  file.write("frames", hdf5::Type::uint8, {frames.frames, frames.height, frames.width, 3}, frames.rgb.data(),
             {{1, frames.height, frames.width, 3}, kDeflate});
}

void check_format(const Hdf5Content& file) {
  const std::string format = file.text("format");
  if (format != kArchiveFormat) file.fail("attribute format is \"" + format + "\", must be \"" + kArchiveFormat + "\"");
  const std::int64_t version = file.integer("format_version");
  if (version != kArchiveVersion) {
    file.fail("attribute format_version is " + std::to_string(version) + ", this program reads " +
              std::to_string(kArchiveVersion));
  }
}

const hdf5::Entry& dataset(const Hdf5Content& file, const std::string& name, hdf5::Type type, const char* wanted) {
  const hdf5::Entry& found = file.dataset(name);
  const auto sane = [](std::int64_t side) { return side >= 1 && side <= kMaxSide; };
  if (found.type != type || found.shape.size() != 4 || !std::all_of(found.shape.begin(), found.shape.end(), sane)) {
    file.fail("dataset /" + name + " must be " + wanted);
  }
  return found;
}

void read_frames(const Hdf5Content& file, Archive& archive) {
  const char* wanted = "uint8 [frames, height, width, 3]";
  const hdf5::Entry& frames = dataset(file, "frames", hdf5::Type::uint8, wanted);
  if (frames.shape[3] != 3) file.fail(std::string("dataset /frames must be ") + wanted);
  std::copy(frames.shape.begin(), frames.shape.end(), archive.frames_shape.begin());
  archive.rgb = file.values<std::uint8_t>(frames);
}

Archive take_archive(const Hdf5Content& file) {
  check_format(file);
  Archive archive;
  archive.job = read_object(file, "job");
  archive.settings = read_object(file, "settings");
  archive.model = read_object(file, "model");
  const hdf5::Entry& latents =
      dataset(file, "latents", hdf5::Type::float32, "float32 [channels, frames, height, width]");
  std::copy(latents.shape.begin(), latents.shape.end(), archive.latents_shape.begin());
  archive.latents = file.values<float>(latents);
  if (file.has("frames")) read_frames(file, archive);
  return archive;
}

}  // namespace

void write_archive(const std::string& path, const ArchiveView& archive) {
  check_latents(archive);
  hdf5::File file = hdf5::File::create(path);
  file.write_text("format", kArchiveFormat);
  file.write_integer("format_version", kArchiveVersion);
  file.write_text("job", base::dump_json(archive.job));
  file.write_text("settings", base::dump_json(archive.settings));
  file.write_text("model", base::dump_json(archive.model));
  write_latents(file, archive);
  if (!archive.frames.rgb.empty()) write_frames(file, archive.frames);
  base::replace_file(path, file.close());
}

Archive read_archive(const std::string& path) {
  const base::Fd opened = base::open_regular(path);
  try {
    const hdf5::Content content = read_apart(opened, path,
                                             {"text:format", "integer:format_version", "text:job", "text:settings",
                                              "text:model", "data:latents", "data:frames"});
    return take_archive(Hdf5Content(content, path));
  } catch (const Error& e) {
    if (e.kind() == ErrorKind::storage) throw Error(ErrorKind::usage, e.what());  // the disk was read; the file is bad
    throw;
  }
}

}  // namespace nightreel::media
