#include "job/paths.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "nightreel/base/fields.h"
#include "nightreel/base/links.h"
#include "nightreel/base/resolved_file.h"

namespace nightreel::job {
namespace {

namespace fs = std::filesystem;
using base::printable;
using base::refuse;

constexpr std::size_t kMaxPath = 4096;
constexpr const char* kPeftWeights = "adapter_model.safetensors";

bool inside(const fs::path& path, const fs::path& root) {
  return std::mismatch(root.begin(), root.end(), path.begin(), path.end()).first == root.end();
}

// The same file that is opened later: what the path names now, with no link in its way.
void check_openable(const fs::path& real, const std::string& input_root) {
  try {
    std::error_code error;
    const fs::path root = input_root.empty() ? "/" : fs::canonical(input_root, error);
    base::open_beneath(root.string(), real.lexically_relative(root).string());
  } catch (const base::Error& e) {
    refuse(e.what());
  }
}

void check_inside(const fs::path& path, const std::string& input_root) {
  std::error_code error;
  const fs::path root = fs::canonical(input_root, error);
  if (error) refuse("--input-root " + printable(input_root) + ": " + error.message());
  const fs::path real = fs::weakly_canonical(path, error);
  if (error || !inside(real, root)) {
    refuse(printable(path.string()) + " lies outside --input-root " + printable(root.string()));
  }
}

/// Of a path that leads nowhere.
std::string why_not_there(const std::string& path, const std::string& written, const std::error_code& error) {
  if (const std::string dangling = base::dangling_link(path); !dangling.empty()) return dangling;
  const std::string said = error.message();
  return written.find("://") == std::string::npos ? said : said + " (nothing is fetched: download it, name the file)";
}

}  // namespace

std::string resolve_lora(const std::string& written, const PathRules& rules) {
  const fs::path path = fs::path(rules.folder) / written;
  if (!written.empty() && !rules.input_root.empty()) check_inside(path, rules.input_root);
  std::error_code error;
  const bool folder = path.is_absolute() && fs::is_directory(path, error);
  return resolve_input(folder ? (fs::path(written) / kPeftWeights).string() : written, rules);
}

std::string resolve_input(const std::string& written, const PathRules& rules) {
  if (!rules.files) refuse("an entry of the inbox may name a file only where the run has --input-root");
  if (written.empty()) refuse("the path is empty");
  if (written.size() > kMaxPath || written.find('\0') != std::string::npos) {
    refuse(printable(written, 60) + " is no path");
  }
  if (fs::path(written).is_relative() && rules.folder.empty()) {
    refuse(printable(written) +
           " is a relative path, and nothing says from where: write it absolute, or use --input-root");
  }
  const fs::path path = fs::path(rules.folder) / written;
  if (!rules.input_root.empty()) check_inside(path, rules.input_root);
  std::error_code error;
  const fs::path real = fs::canonical(path, error);
  if (error) refuse(printable(path.string()) + ": " + why_not_there(path.string(), written, error));
  if (!fs::is_regular_file(real, error)) refuse(printable(path.string()) + " is no file");
  if (::access(real.c_str(), R_OK) != 0) refuse(printable(path.string()) + " may not be read");
  check_openable(real, rules.input_root);
  return real.string();
}

}  // namespace nightreel::job
