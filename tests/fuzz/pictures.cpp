// Pictures that a job names: PNG, JPEG, WebP, told by their bytes.
#include "fuzz/fuzz.h"
#include "nightreel/media/image_reader.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace nightreel;
  fuzz::answers_well({base::ErrorKind::job}, [&] {
    const media::Image image = media::decode_image(fuzz::text_of(data, size), "picture");
    const auto pixels = static_cast<std::int64_t>(image.width) * image.height;
    fuzz::expect(image.width > 0 && image.height > 0 && pixels <= media::kMaxImagePixels, "a picture of no legal size");
    fuzz::expect(image.rgb.size() == 3 * static_cast<std::size_t>(pixels), "pixels that are not width x height x 3");
  });
  return 0;
}
