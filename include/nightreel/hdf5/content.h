// What nightreel-hdf5 (src/hdf5/main.cpp) tells of a file: asked for by words, answered with a line of JSON and bytes.
//
// HDF5's parser has memory errors that a damaged or hostile file reaches, so nothing of an answer is believed: decode()
// takes whatever bytes come. Plain values; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "nightreel/hdf5/file.h"

namespace nightreel::hdf5 {

/// What is asked for: "text:NAME" and "integer:NAME", attributes of the root group; "data:NAME", a dataset; "data:*",
/// all members of the root group.
using Words = std::vector<std::string>;

struct Entry {
  std::string word;     // that asked for it; of "data:*" each member's own
  std::string problem;  // why it cannot be read; then nothing else is set
  bool missing = false;
  std::string bytes;  // the text, or the values as they lie in memory
  std::int64_t integer = 0;
  Type type = Type::float32;  // of data, as the next
  Shape shape;
};

struct Content {
  bool confined = true;  // the reader could open nothing, whatever it might have been made to do
  std::vector<Entry> entries;

  /// The entry, or null where it was not asked for.
  const Entry* find(const std::string& word) const;
};

/// The word of the one entry that there is where a file is no HDF5 at all; it has a problem.
inline constexpr const char* kWholeFile = "file";

/// Reads what was asked for from a file's bytes. What cannot be read is its entry's problem; a file that is no HDF5 is
/// an Error{storage} "file: reason".
Content read_content(std::string_view file, const Words& words);

/// The answer's first line, behind which the entries' bytes follow one another; and all of it.
std::string encode_head(const Content& content);
std::string encode(const Content& content);

/// Throws Error{usage}, without a file's name, for anything that encode() cannot have written.
Content decode(std::string_view answer);

/// The CPU seconds for a file of `bytes`: several times what a slow machine needs. Some damaged files keep HDF5 busy
/// for ever.
constexpr unsigned cpu_seconds(std::size_t bytes) {
  return 2 + static_cast<unsigned>(bytes >> 22U);
}

/// The longest answer for a file of `size` bytes.
constexpr std::size_t most_answer(std::size_t size) {
  return most_values(size) + 8 * size + (std::size_t{16} << 20U);
}

}  // namespace nightreel::hdf5
