// The layout: 8 bytes, the header's length, little-endian; the header, JSON; the tensors' bytes
// (huggingface/safetensors, README.md).
#include "nightreel/job/lora_header.h"

#include <sys/stat.h>

#include <fstream>
#include <string_view>

#include "nightreel/base/error.h"
#include "nightreel/base/json.h"

namespace nightreel::job {
namespace {

using base::Error;
using base::ErrorKind;
using base::Json;

constexpr std::uint64_t kMaxHeader = 100U << 20U;  // as safetensors itself has it
constexpr std::size_t kLength = 8;

[[noreturn]] void refuse(const std::string& path, const std::string& why) {
  throw Error(ErrorKind::job, base::printable(path, 4096) + ": " + why);
}

std::uint64_t little_endian(const std::string& bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = kLength; i-- > 0;) value = value << 8U | static_cast<unsigned char>(bytes[i]);
  return value;
}

std::string read_bytes(std::ifstream& file, std::uint64_t count, const std::string& path) {
  std::string bytes(count, '\0');
  if (!file.read(bytes.data(), static_cast<std::streamsize>(count))) refuse(path, "cannot be read");
  return bytes;
}

bool is_range(const Json& tensor, std::uint64_t most) {
  const auto at = tensor.is_object() ? tensor.find("data_offsets") : tensor.end();
  if (at == tensor.end() || !at->is_array() || at->size() != 2) return false;
  if (!(*at)[0].is_number_unsigned() || !(*at)[1].is_number_unsigned()) return false;
  return (*at)[0].get<std::uint64_t>() <= (*at)[1].get<std::uint64_t>() && (*at)[1].get<std::uint64_t>() <= most;
}

void check_tensors(const Json& header, std::uint64_t bytes, const std::string& path) {
  if (!header.is_object()) refuse(path, "is no safetensors file: its header is no JSON object");
  for (const auto& [name, tensor] : header.items()) {
    if (name == "__metadata__" || is_range(tensor, bytes)) continue;
    refuse(path, base::printable(name) + ": lies outside the file; is it cut off?");
  }
}

}  // namespace

void check_lora_header(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) return;  // whether it may be is job.h's to say
  const auto size = static_cast<std::uint64_t>(info.st_size);
  if (size < kLength) refuse(path, "too short to be a safetensors file (" + std::to_string(size) + " bytes)");
  std::ifstream file(path, std::ios::binary);
  const std::string first = read_bytes(file, kLength, path);
  if (first == "version ") refuse(path, "is a Git LFS pointer, not the file itself: run git lfs pull");
  const std::uint64_t length = little_endian(first);
  if (length > kMaxHeader || length > size - kLength) {
    refuse(path, "is no safetensors file, or cut off: its header would be longer than it");
  }
  Json header;
  try {
    header = base::parse_json(read_bytes(file, length, path));
  } catch (const Error& e) {
    if (e.kind() == ErrorKind::job) throw;
    refuse(path, std::string("is no safetensors file: its header is no JSON: ") + e.what());
  }
  check_tensors(header, size - kLength - length, path);
}

}  // namespace nightreel::job
