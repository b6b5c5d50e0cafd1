#include "nightreel/media/archive.h"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "media/hdf5.h"
#include "media/isolate.h"
#include "nightreel/base/error.h"
#include "nightreel/base/file.h"
#include "nightreel/base/json.h"

namespace nightreel::media {
namespace {

using base::Error;
using base::ErrorKind;
using nlohmann::json;

constexpr std::int64_t kMaxSide = 65536;
constexpr int kDeflate = 4;

json read_object(const h5::File& file, const std::string& attribute) {
  const std::string text = file.text(attribute);
  json out;
  try {
    out = base::parse_json(text);
  } catch (const Error& e) {
    file.fail("attribute " + attribute + ": " + e.what());
  }
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
void write_latents(h5::File& file, const ArchiveView& archive) {
  const auto& s = archive.latents_shape;
  file.write("latents", h5::Type::float32, {s.begin(), s.end()}, archive.latents.data(), {{1, s[1], s[2], s[3]}, 0});
}

void write_frames(h5::File& file, const Frames& frames) {
  check_frames(frames);
  file.write("frames", h5::Type::uint8, {frames.frames, frames.height, frames.width, 3}, frames.rgb.data(),
             {{1, frames.height, frames.width, 3}, kDeflate});
}

void check_format(const h5::File& file) {
  const std::string format = file.text("format");
  if (format != kArchiveFormat) file.fail("attribute format is \"" + format + "\", must be \"" + kArchiveFormat + "\"");
  const std::int64_t version = file.integer("format_version");
  if (version != kArchiveVersion) {
    file.fail("attribute format_version is " + std::to_string(version) + ", this program reads " +
              std::to_string(kArchiveVersion));
  }
}

h5::DatasetInfo dataset_info(const h5::File& file, const std::string& name, h5::Type type, const char* wanted) {
  h5::DatasetInfo info = file.info(name);
  const auto sane = [](std::int64_t side) { return side >= 1 && side <= kMaxSide; };
  if (info.type != type || info.shape.size() != 4 || !std::all_of(info.shape.begin(), info.shape.end(), sane)) {
    file.fail("dataset /" + name + " must be " + wanted);
  }
  return info;
}

void read_frames(const h5::File& file, Archive& archive) {
  const char* wanted = "uint8 [frames, height, width, 3]";
  const h5::DatasetInfo info = dataset_info(file, "frames", h5::Type::uint8, wanted);
  if (info.shape[3] != 3) file.fail(std::string("dataset /frames must be ") + wanted);
  std::copy(info.shape.begin(), info.shape.end(), archive.frames_shape.begin());
  archive.rgb = file.read<std::uint8_t>("frames", info);
}

Archive parse(const std::string& path, const std::string& content) {
  const h5::File file = h5::File::open(path, content);
  check_format(file);
  Archive archive;
  archive.job = read_object(file, "job");
  archive.settings = read_object(file, "settings");
  archive.model = read_object(file, "model");
  const h5::DatasetInfo info =
      dataset_info(file, "latents", h5::Type::float32, "float32 [channels, frames, height, width]");
  std::copy(info.shape.begin(), info.shape.end(), archive.latents_shape.begin());
  archive.latents = file.read<float>("latents", info);
  if (file.has("frames")) read_frames(file, archive);
  return archive;
}

// From the child that parses to its parent: the JSON on one line, then the values as they lie in memory.
std::string pack(const Archive& archive) {
  const json head{{"job", archive.job},
                  {"settings", archive.settings},
                  {"model", archive.model},
                  {"latents_shape", archive.latents_shape},
                  {"frames_shape", archive.frames_shape},
                  {"latents", archive.latents.size()},
                  {"rgb", archive.rgb.size()}};
  std::string out = base::dump_json(head) + "\n";
  const auto append = [&out](const auto& values) {
    const auto bytes = std::as_bytes(std::span(values));
    const std::size_t at = out.size();
    out.resize(at + bytes.size());
    if (!bytes.empty()) std::memcpy(out.data() + at, bytes.data(), bytes.size());
  };
  append(archive.latents);
  append(archive.rgb);
  return out;
}

template <class T>
std::string_view take(std::string_view bytes, std::vector<T>& values) {
  const std::size_t size = values.size() * sizeof(T);
  if (size > bytes.size()) throw Error(ErrorKind::internal, "archive: the parsed values are cut off");
  if (size > 0) std::memcpy(values.data(), bytes.data(), size);
  return bytes.substr(size);
}

Archive unpack_archive(std::string_view packed) {
  const std::size_t line = packed.find('\n');
  const json head = json::parse(packed.substr(0, line));
  Archive archive;
  archive.job = head.at("job");
  archive.settings = head.at("settings");
  archive.model = head.at("model");
  head.at("latents_shape").get_to(archive.latents_shape);
  head.at("frames_shape").get_to(archive.frames_shape);
  archive.latents.resize(head.at("latents").get<std::size_t>());
  archive.rgb.resize(head.at("rgb").get<std::size_t>());
  take(take(packed.substr(line + 1), archive.latents), archive.rgb);
  return archive;
}

}  // namespace

void write_archive(const std::string& path, const ArchiveView& archive) {
  check_latents(archive);
  h5::File file = h5::File::create(path);
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
  const std::string content = base::read_file(path, h5::kMaxFile);
  try {
    return unpack_archive(run_isolated(path, cpu_seconds(content.size()), [&] { return pack(parse(path, content)); }));
  } catch (const Error& e) {
    if (e.kind() == ErrorKind::storage) throw Error(ErrorKind::usage, e.what());  // the disk was read; the file is bad
    throw;
  }
}

}  // namespace nightreel::media
