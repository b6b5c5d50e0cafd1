// How libFuzzer changes a renderer's session: bytes seldom, mostly a value within one line's JSON, or whole lines. An
// engine's start costs a second, and a line that is no JSON ends it. The engine is another process, so no coverage
// leads the way.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#ifdef NIGHTREEL_FUZZ
extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

namespace nightreel::fuzz {

using nlohmann::json;

class SessionMutator {
 public:
  explicit SessionMutator(unsigned seed) : dice_(seed) {}

  std::string changed(std::string_view session) {
    std::vector<std::string> lines = split(session);
    if (lines.empty()) return std::string(session);
    const std::size_t at = below(lines.size());
    switch (below(8)) {
      case 0:
        lines.insert(lines.begin() + static_cast<std::ptrdiff_t>(at), std::string(lines[below(lines.size())]));
        break;
      case 1:
        std::swap(lines[at], lines[below(lines.size())]);
        break;
      default:
        lines[at] = changed_line(lines[at]);
    }
    std::string out;
    for (const std::string& line : lines) out += line + "\n";
    return out;
  }

 private:
  std::size_t below(std::size_t n) { return std::uniform_int_distribution<std::size_t>(0, n - 1)(dice_); }

  static std::vector<std::string> split(std::string_view text) {
    std::vector<std::string> lines;
    while (!text.empty()) {
      const auto end = std::min(text.find('\n'), text.size());
      lines.emplace_back(text.substr(0, end));
      text.remove_prefix(std::min(end + 1, text.size()));
    }
    return lines;
  }

  std::string changed_line(const std::string& line) {
    const json parsed = json::parse(line, nullptr, false);
    if (!parsed.is_object() || parsed.empty()) return line;
    json flat = parsed.flatten();
    auto entry = flat.begin();
    std::advance(entry, static_cast<std::ptrdiff_t>(below(flat.size())));
    below(6) == 0 ? void(flat.erase(entry)) : void(*entry = value());
    try {
      return flat.unflatten().dump(-1, ' ', false, json::error_handler_t::replace);
    } catch (const json::exception&) {
      return line;
    }
  }

  json value() {
    static const std::vector<json> kValues{nullptr,
                                           true,
                                           0,
                                           1,
                                           2,
                                           -1,
                                           3,
                                           5,
                                           16,
                                           17,
                                           32,
                                           1000,
                                           4294967296,
                                           1e300,
                                           0.5,
                                           "",
                                           "x",
                                           "@",
                                           "../x",
                                           "@/missing",
                                           "unipc",
                                           "euler",
                                           "dpm++",
                                           "frames",
                                           "latents",
                                           "none",
                                           "store",
                                           "nccl",
                                           "\x1b[31m",
                                           std::string(3000, 'a'),
                                           json::array(),
                                           json::array({0.9, 0.5}),
                                           json::object()};
    return kValues[below(kValues.size())];
  }

  std::mt19937 dice_;
};

}  // namespace nightreel::fuzz

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                               unsigned seed) {
  if (seed % 10 == 0) return LLVMFuzzerMutate(data, size, max_size);
  const std::string_view session(reinterpret_cast<const char*>(data), size);
  const std::string changed = nightreel::fuzz::SessionMutator(seed).changed(session);
  const std::size_t kept = std::min(changed.size(), max_size);
  std::memcpy(data, changed.data(), kept);
  return kept;
}
#endif
