// What the files that this program writes depend on beside its own version. Any thread.
#pragma once

#include <map>
#include <string>

namespace nightreel::media {

/// {"hdf5": "1.10.8", "libavcodec": "59.37.100"}: the libraries as loaded, which need not be those of the build.
std::map<std::string, std::string> library_versions();

}  // namespace nightreel::media
