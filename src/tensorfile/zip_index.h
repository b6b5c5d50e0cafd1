// The directory of a zip file whose entries are stored, not compressed: where the bytes of each entry lie.
//
// Zip64 too, which torch.save always writes. Everything is checked against the file's size; checksums are not (a
// model's digest says more). Plain function; any thread. Errors are base::Error{model} without the file's name. Format:
// PKWARE's APPNOTE.TXT 6.3, sections 4.3.7 to 4.3.16 and 4.5.3.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace nightreel::tensorfile {

struct ZipEntry {
  std::uint64_t offset = 0;  // of its first byte, from the start of the file
  std::uint64_t bytes = 0;
};

/// Entry name -> where it lies. `file` is the whole file.
std::map<std::string, ZipEntry> read_zip_index(std::string_view file);

}  // namespace nightreel::tensorfile
