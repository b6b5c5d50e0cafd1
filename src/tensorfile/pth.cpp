#include "nightreel/tensorfile/pth.h"

#include <optional>

#include "nightreel/base/error.h"
#include "tensorfile/pickle.h"
#include "tensorfile/zip_index.h"

namespace nightreel::tensorfile {

namespace {

using base::Error;
using base::ErrorKind;

constexpr std::uint64_t kLeast = 22;  // an empty zip file
// A pickled long, torch.serialization's MAGIC_NUMBER, begins a file of the format before PyTorch 1.6.
constexpr std::string_view kLegacyMagic("\x80\x02\x8a\nl\xfc\x9c\x46\xf9 j\xa8P\x19.", 15);

[[noreturn]] void refuse_legacy(const std::string& path) {
  const std::string quoted = base::printable(path, 4096);
  refuse_file(
      path,
      "written in torch's format from before PyTorch 1.6, which is not read; write it anew: python3 -c \"import "
      "sys, torch; p = sys.argv[1]; torch.save(torch.load(p, map_location='cpu', weights_only=True), p)\" '" +
          quoted + "'");
}

/// What is no zip file at all, by its first bytes.
void check_magic(const std::string& path, std::string_view all) {
  if (all.substr(0, kLegacyMagic.size()) == kLegacyMagic) refuse_legacy(path);
  if (all.size() > 262 && all.substr(257, 5) == "ustar") refuse_legacy(path);
  if (all.substr(0, 4) != "PK\x03\x04")
    refuse_file(path, "no file of torch.save: it does not begin as a zip file does");
}

using Entries = std::map<std::string, ZipEntry>;

/// The folder inside the zip file that holds data.pkl. Errors without the file's name.
std::string archive_folder(const Entries& entries) {
  const std::string wanted = "/data.pkl";
  std::optional<std::string> folder;
  for (const auto& [name, entry] : entries) {
    if (name.size() <= wanted.size() || name.compare(name.size() - wanted.size(), wanted.size(), wanted) != 0) continue;
    if (name.find('/') != name.size() - wanted.size()) continue;
    if (folder) throw Error(ErrorKind::model, "has two pickles");
    folder = name.substr(0, name.size() - wanted.size());
  }
  if (!folder) throw Error(ErrorKind::model, "no file of torch.save: the zip file has no data.pkl");
  if (entries.count(*folder + "/constants.pkl") > 0) {
    throw Error(ErrorKind::model, "a TorchScript program, which is not read; save its state_dict() with torch.save");
  }
  return *folder;
}

bool is_row_major(const PickledTensor& tensor) {
  std::int64_t expected = 1;
  for (std::size_t i = tensor.shape.size(); i-- > 0;) {
    if (tensor.shape[i] != 1 && tensor.strides[i] != expected) return false;
    expected *= tensor.shape[i];
  }
  return true;
}

/// Elements from the first to the last, none where the tensor has none or the numbers overflow. `count` is how many
/// there are.
std::optional<std::int64_t> extent(const PickledTensor& tensor, std::int64_t& count) {
  std::int64_t last = 0;
  count = 1;
  for (std::size_t i = 0; i < tensor.shape.size(); ++i) {
    std::int64_t reach = 0;
    if (tensor.shape[i] < 0 || tensor.strides[i] < 0) return std::nullopt;
    if (__builtin_mul_overflow(count, tensor.shape[i], &count)) return std::nullopt;
    if (tensor.shape[i] > 1 && (__builtin_mul_overflow(tensor.shape[i] - 1, tensor.strides[i], &reach) ||
                                __builtin_add_overflow(last, reach, &last))) {
      return std::nullopt;
    }
  }
  return count == 0 ? 0 : last + 1;
}

/// Where the tensor lies in the file: all of it inside its storage, and no element twice more than there are.
StoredTensor place(const PickledTensor& tensor, const ZipEntry& storage) {
  const auto item = static_cast<std::int64_t>(bytes_of(tensor.type));
  const std::int64_t room = tensor.storage_bytes / item;
  std::int64_t count = 0;
  const std::optional<std::int64_t> needed = extent(tensor, count);
  if (!needed) throw Error(ErrorKind::model, "its shape or strides are negative or overflow");
  if (tensor.offset < 0 || tensor.offset > room || *needed > room - tensor.offset || count > room) {
    throw Error(ErrorKind::model,
                "its offset, shape and strides leave its storage of " + std::to_string(room) + " elements");
  }
  StoredTensor stored{tensor.type, tensor.shape, storage.offset + static_cast<std::uint64_t>(tensor.offset * item),
                      static_cast<std::uint64_t>(*needed * item)};
  if (count > 0 && !is_row_major(tensor)) stored.strides = tensor.strides;
  return stored;
}

/// What the zip file holds: where its entries lie, and what its pickle says of them.
struct StateDict {
  Entries entries;
  std::string folder;
  std::map<std::string, PickledTensor> tensors;
};

/// Errors without the file's name.
StateDict read_archive(std::string_view all) {
  StateDict dict;
  dict.entries = read_zip_index(all);
  dict.folder = archive_folder(dict.entries);
  const auto content = [&](const std::string& name) {
    const ZipEntry& entry = dict.entries.at(name);
    return all.substr(entry.offset, entry.bytes);
  };
  dict.tensors = read_state_dict(content(dict.folder + "/data.pkl"));
  const std::string order = dict.folder + "/byteorder";
  if (dict.entries.count(order) > 0 && content(order) != "little") {
    throw Error(ErrorKind::model, "its byte order is not little-endian");
  }
  return dict;
}

const ZipEntry& storage_of(const PickledTensor& tensor, const StateDict& dict) {
  const auto storage = dict.entries.find(dict.folder + "/data/" + tensor.storage);
  if (storage == dict.entries.end()) {
    throw Error(ErrorKind::model, "its storage, data/" + base::printable(tensor.storage) + ", is missing");
  }
  if (storage->second.bytes == static_cast<std::uint64_t>(tensor.storage_bytes)) return storage->second;
  throw Error(ErrorKind::model, "its storage has " + std::to_string(storage->second.bytes) +
                                    " bytes where the pickle says " + std::to_string(tensor.storage_bytes));
}

}  // namespace

MappedFile map_pth(const std::string& path) {
  return MappedFile(path, kLeast, "file of torch.save");
}

Header pth_header(const MappedFile& file) {
  const std::string& path = file.path();
  const std::string_view all = file.bytes();
  check_magic(path, all);
  StateDict dict;
  try {
    dict = read_archive(all);
  } catch (const Error& e) {
    refuse_file(path, e.what());
  }
  Header header;
  for (const auto& [name, tensor] : dict.tensors) {
    try {
      header.tensors.emplace(name, place(tensor, storage_of(tensor, dict)));
    } catch (const Error& e) {
      refuse_file(path, "tensor " + base::printable(name) + ": " + e.what());
    }
  }
  return header;
}

}  // namespace nightreel::tensorfile
