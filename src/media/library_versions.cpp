#include "nightreel/media/library_versions.h"

#include "media/hdf5.h"
#include "media/libav.h"

namespace nightreel::media {

std::map<std::string, std::string> library_versions() {
  return {{"hdf5", h5::version()}, {"libavcodec", av::version()}};
}

}  // namespace nightreel::media
