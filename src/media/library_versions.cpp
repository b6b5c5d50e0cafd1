#include "nightreel/media/library_versions.h"

#include "media/libav.h"
#include "nightreel/hdf5/file.h"

namespace nightreel::media {

std::map<std::string, std::string> library_versions() {
  return {{"hdf5", hdf5::version()}, {"libavcodec", av::version()}};
}

}  // namespace nightreel::media
