// archive/ID.h5 that somebody else wrote: `decode` reads it.
#include "nightreel/media/archive.h"

#include "fuzz/fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace nightreel;
  const std::string path = fuzz::file_of("archive.h5", fuzz::text_of(data, size));
  fuzz::answers_well({base::ErrorKind::usage, base::ErrorKind::storage}, [&] {
    const media::Archive archive = media::read_archive(path);
    std::int64_t values = 1;
    for (const std::int64_t side : archive.latents_shape) values *= side;
    fuzz::expect(values == static_cast<std::int64_t>(archive.latents.size()), "latents that are not of their shape");
  });
  return 0;
}
