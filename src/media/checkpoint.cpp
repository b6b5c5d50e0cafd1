#include "nightreel/media/checkpoint.h"

#include <algorithm>
#include <string_view>

#include "media/hdf5_content.h"
#include "media/isolate.h"
#include "nightreel/base/error.h"
#include "nightreel/base/file.h"
#include "nightreel/base/hash.h"
#include "nightreel/base/json.h"
#include "nightreel/hdf5/file.h"

namespace nightreel::media {
namespace {

using base::Error;
using base::ErrorKind;
using nlohmann::json;

constexpr std::string_view kData = "data:";
constexpr std::size_t kBlock = 512;  // HDF5 looks for its signature at 0, 512, 1024, …
constexpr std::string_view kMagic = "nightreel-checkpoint xxh3-128 ";

std::string user_block(std::string_view image) {
  std::string block = std::string(kMagic) + base::xxh128_hex(image) + "\n";
  block.resize(kBlock, '\0');
  return block;
}

[[noreturn]] void fail_state(const std::string& path, const std::string& what) {
  throw Error(ErrorKind::storage, base::printable(path, 4096) + ": " + what);
}

// The HDF5 part, once its checksum has been found right.
std::string_view checked_image(const std::string& path, std::string_view content) {
  if (content.size() <= kBlock || content.substr(0, kMagic.size()) != kMagic) {
    fail_state(path, "is no checkpoint, or its start is lost; without it the job starts from the beginning");
  }
  const std::string_view image = content.substr(kBlock);
  if (content.substr(0, kBlock) != user_block(image)) {
    fail_state(path, "is damaged: its checksum does not match; without it the job starts from the beginning");
  }
  return image;
}

bool is_name(const std::string& name) {
  constexpr std::string_view kAllowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.";
  return !name.empty() && name.size() <= 200 && name.front() != '.' &&
         name.find_first_not_of(kAllowed) == std::string::npos;
}

std::size_t held(const StateArray& array) {
  return std::visit([](const auto& values) { return values.size(); }, array.values);
}

bool fits(const std::vector<std::int64_t>& shape, std::size_t count) {
  const bool empty = std::find(shape.begin(), shape.end(), 0) != shape.end();
  if (empty) return count == 0;
  for (const std::int64_t side : shape) {
    if (side < 0 || count % static_cast<std::size_t>(side) != 0) return false;
    count /= static_cast<std::size_t>(side);
  }
  return count == 1;
}

void check_array(const std::string& name, const StateArray& array) {
  if (!is_name(name)) throw Error(ErrorKind::internal, "checkpoint: bad array name " + base::printable(name));
  if (array.shape.size() > hdf5::kMaxRank || !fits(array.shape, held(array))) {
    throw Error(ErrorKind::internal, "checkpoint: the shape of the array " + name + " does not fit its " +
                                         std::to_string(held(array)) + " values");
  }
}

void write_array(hdf5::File& file, const std::string& name, const StateArray& array) {
  check_array(name, array);
  std::visit(
      [&]<class T>(const std::vector<T>& values) {
        file.write(name, hdf5::TypeOf<T>::value, array.shape, values.data(), {});
      },
      array.values);
}

StateArray read_array(const Hdf5Content& file, const std::string& name) {
  const hdf5::Entry& found = file.dataset(name);
  switch (found.type) {
    case hdf5::Type::float32:
      return {found.shape, file.values<float>(found)};
    case hdf5::Type::float64:
      return {found.shape, file.values<double>(found)};
    case hdf5::Type::int64:
      return {found.shape, file.values<std::int64_t>(found)};
    case hdf5::Type::uint8:
      break;
  }
  file.fail(name + ": its type is none of float32, float64, int64");
}

StateFile take_state(const hdf5::Content& content, const std::string& path) {
  const Hdf5Content file(content, path);
  if (file.text("format") != kStateFormat) file.fail(std::string("attribute format must be ") + kStateFormat);
  const std::int64_t version = file.integer("format_version");
  if (version != kStateVersion) {
    file.fail("attribute format_version is " + std::to_string(version) + ", this program reads " +
              std::to_string(kStateVersion) + "; without the file the job starts from the beginning");
  }
  StateFile state;
  state.job_hash = file.text("job_hash");
  state.model_digest = file.text("model_digest");
  state.info = file.json("info");
  for (const hdf5::Entry& entry : content.entries) {
    if (!entry.word.starts_with(kData)) continue;
    const std::string name = entry.word.substr(kData.size());
    if (!is_name(name)) file.fail("has an array with an impossible name: " + base::printable(name));
    state.arrays.emplace(name, read_array(file, name));
  }
  return state;
}

}  // namespace

template <class T>
const std::vector<T>& StateFile::values(const std::string& name, const std::vector<std::int64_t>& shape) const {
  const auto found = arrays.find(name);
  if (found == arrays.end()) throw Error(ErrorKind::storage, "checkpoint: array " + name + " is missing");
  const auto* held = std::get_if<std::vector<T>>(&found->second.values);
  if (held == nullptr || found->second.shape != shape) {
    throw Error(ErrorKind::storage, "checkpoint: array " + name + " has another type or shape than this job needs");
  }
  return *held;
}

template const std::vector<float>& StateFile::values(const std::string&, const std::vector<std::int64_t>&) const;
template const std::vector<double>& StateFile::values(const std::string&, const std::vector<std::int64_t>&) const;
template const std::vector<std::int64_t>& StateFile::values(const std::string&, const std::vector<std::int64_t>&) const;

void write_state(const std::string& path, const StateFile& state) {
  hdf5::File file = hdf5::File::create(path);
  file.write_text("format", kStateFormat);
  file.write_integer("format_version", kStateVersion);
  file.write_text("job_hash", state.job_hash);
  file.write_text("model_digest", state.model_digest);
  file.write_text("info", base::dump_json(state.info));
  for (const auto& [name, array] : state.arrays) write_array(file, name, array);
  const std::string image = file.close();
  base::replace_file(path, user_block(image) + image);
}

StateFile read_state(const std::string& path) {
  const std::string content = base::read_file(path, hdf5::kMaxFile);
  const std::string_view image = checked_image(path, content);
  try {
    return take_state(read_apart(image, path,
                                 {"text:format", "integer:format_version", "text:job_hash", "text:model_digest",
                                  "text:info", "data:*"}),
                      path);
  } catch (const Error& e) {
    if (e.kind() == ErrorKind::environment) throw;  // the reader is missing: it is not the file's fault
    throw Error(ErrorKind::storage, e.what());
  }
}

}  // namespace nightreel::media
