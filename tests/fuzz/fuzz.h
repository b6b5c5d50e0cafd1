// What the fuzz targets share: an input as text or as a file, and what an answer to foreign bytes may be.
//
// A target is one file with one LLVMFuzzerTestOneInput. In the preset `fuzz` each is a program of libFuzzer's; in all
// others tests/fuzz/replay.cpp feeds them their corpora. Test code: one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <string>
#include <string_view>

#include "nightreel/base/error.h"
#include "support/temp_folder.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace nightreel::fuzz {

using base::ErrorKind;

inline std::string_view text_of(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

/// Ends the process: libFuzzer keeps the input, replay.cpp has named it.
[[noreturn]] inline void found(const std::string& what) {
  std::fprintf(stderr, "FOUND: %s\n", what.c_str());
  std::abort();
}

inline void expect(bool good, const char* what) {
  if (!good) found(what);
}

/// A folder of this process's own, for readers that take a path.
inline const test::TempFolder& scratch() {
  static const test::TempFolder folder;
  return folder;
}

inline std::string file_of(const std::string& name, std::string_view content) {
  return scratch().write(name, std::string(content));
}

/// A path below the source tree, which $NIGHTREEL_SOURCE_DIR names.
inline std::string source_file(const std::string& name) {
  const char* root = std::getenv("NIGHTREEL_SOURCE_DIR");
  if (root == nullptr) found("NIGHTREEL_SOURCE_DIR is not set");
  return std::string(root) + "/" + name;
}

/// What a terminal may be given: no control characters, but line ends where several lines are promised.
inline bool fit_to_show(std::string_view text, bool lines) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    const bool c1 = c == 0xC2 && i + 1 < text.size() && (static_cast<unsigned char>(text[i + 1]) & 0xE0U) == 0x80;
    if ((c < 0x20 && !(lines && c == '\n')) || c == 0x7F || c1) return false;
  }
  return true;
}

/// With $NIGHTREEL_FUZZ_SAY set each refusal is told on stderr: what became of an input.
inline void say(const char* refusal) {
  static const bool wanted = std::getenv("NIGHTREEL_FUZZ_SAY") != nullptr;
  if (wanted) std::fprintf(stderr, "  refused: %s\n", refusal);
}

/// Runs `read`. It may succeed, or throw a base::Error of one of `kinds` that is fit to be shown; whatever else it does
/// is a finding. Returns whether it succeeded.
template <class Read>
bool answers_well(std::initializer_list<ErrorKind> kinds, Read read, bool lines = false) {
  try {
    read();
    return true;
  } catch (const base::Error& error) {
    for (const ErrorKind kind : kinds) {
      if (kind != error.kind()) continue;
      say(error.what());
      if (!fit_to_show(error.what(), lines)) found("control characters in: " + base::printable(error.what(), 400));
      return false;
    }
    found(std::string(base::traits(error.kind()).name) + " is no kind for this: " + error.what());
  } catch (const std::exception& error) {
    found(std::string("no base::Error: ") + error.what());
  }
}

}  // namespace nightreel::fuzz
