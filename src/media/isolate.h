// Foreign HDF5 files, read by a program of its own: HDF5's parser has memory errors that a damaged or hostile file
// reaches (1.10.8 crashes or loops on about one in a hundred files with a few changed bytes). A crash must cost the
// file, not the program, and what a file makes of the parser must find nothing there: nightreel-hdf5 is executed, has
// no environment and no descriptor but the file and its answer, and may open nothing (hdf5/confine.h).
//
// Any thread may call; the calling thread waits.
#pragma once

#include <string>
#include <string_view>

#include "nightreel/base/file.h"
#include "nightreel/hdf5/content.h"

namespace nightreel::media {

/// What `words` ask for of the file `file`, from its first byte on, whatever its offset is. `path` is for messages. A
/// file that crashes its reader, or keeps it busy, is an Error{usage} "PATH: …"; a reader that cannot be started is an
/// Error{environment}.
hdf5::Content read_apart(const base::Fd& file, const std::string& path, const hdf5::Words& words);

/// The same of bytes.
hdf5::Content read_apart(std::string_view bytes, const std::string& path, const hdf5::Words& words);

}  // namespace nightreel::media
