#include "media/jpeg.h"

#include <turbojpeg.h>

#include <memory>
#include <type_traits>

#include "nightreel/base/error.h"

namespace nightreel::media {
namespace {

using base::Error;
using base::ErrorKind;

struct Destroy {
  void operator()(void* decoder) const { tjDestroy(decoder); }
};
using Decoder = std::unique_ptr<std::remove_pointer_t<tjhandle>, Destroy>;

void check(int code, tjhandle decoder) {
  if (code == 0) return;
  throw Error(ErrorKind::job, std::string("is damaged or cut off: ") + base::printable(tjGetErrorStr2(decoder), 200));
}

}  // namespace

Image read_jpeg(std::string_view bytes, std::int64_t max_pixels) {
  const Decoder decoder(tjInitDecompress());
  if (!decoder) throw Error(ErrorKind::internal, "libjpeg-turbo has no memory");
  const auto* data = reinterpret_cast<const unsigned char*>(bytes.data());
  Image image;
  int subsampling = 0;
  int colours = 0;
  check(tjDecompressHeader3(decoder.get(), data, bytes.size(), &image.width, &image.height, &subsampling, &colours),
        decoder.get());
  if (std::int64_t{image.width} * image.height > max_pixels) {
    throw Error(ErrorKind::job, "has more than " + std::to_string(max_pixels) + " pixels");
  }
  if (colours == TJCS_CMYK || colours == TJCS_YCCK) {
    throw Error(ErrorKind::job, "its pixels (CMYK) are of no kind that is read: save it as an RGB picture");
  }
  image.rgb.resize(static_cast<std::size_t>(image.width) * static_cast<std::size_t>(image.height) * 3);
  check(tjDecompress2(decoder.get(), data, bytes.size(), image.rgb.data(), image.width, 0, image.height, TJPF_RGB,
                      TJFLAG_STOPONWARNING | TJFLAG_LIMITSCANS),
        decoder.get());
  return image;
}

}  // namespace nightreel::media
