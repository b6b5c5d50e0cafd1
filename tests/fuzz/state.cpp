// checkpoints/ID.h5 with a right checksum, which anybody can compute: the input is what stands behind the user block.
#include "fuzz/fuzz.h"
#include "nightreel/base/hash.h"
#include "nightreel/media/checkpoint.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace nightreel;
  const std::string_view image = fuzz::text_of(data, size);
  std::string content = "nightreel-checkpoint xxh3-128 " + base::xxh128_hex(image) + "\n";
  content.resize(512, '\0');
  content += image;
  const std::string path = fuzz::file_of("state.h5", content);
  fuzz::answers_well({base::ErrorKind::storage}, [&] { media::read_state(path); });
  return 0;
}
