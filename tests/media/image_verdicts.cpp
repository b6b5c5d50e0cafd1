// What decode_image says of each picture that comes in on standard input, for fuzz_images.py. Numbers are 32 bits in
// the machine's order. In: length, bytes. Out: '+', width, height, length of the warning, the warning, the pixels; or
// '-', length, the reason. Anything but an Error{job} ends the program.
#include <cstdio>
#include <cstdlib>
#include <string>

#include "nightreel/base/error.h"
#include "nightreel/media/image_reader.h"

namespace {

using nightreel::media::Image;

bool read_all(void* to, std::size_t size) {
  return std::fread(to, 1, size, stdin) == size;
}

void write_number(std::size_t value) {
  const auto number = static_cast<std::uint32_t>(value);
  std::fwrite(&number, sizeof number, 1, stdout);
}

void write_text(const std::string& text) {
  write_number(text.size());
  std::fwrite(text.data(), 1, text.size(), stdout);
}

void answer(const std::string& bytes) {
  try {
    const Image image = nightreel::media::decode_image(bytes, "picture");
    std::fputc('+', stdout);
    write_number(static_cast<std::size_t>(image.width));
    write_number(static_cast<std::size_t>(image.height));
    write_text(image.warning);
    std::fwrite(image.rgb.data(), 1, image.rgb.size(), stdout);
  } catch (const nightreel::base::Error& e) {
    if (e.kind() != nightreel::base::ErrorKind::job) throw;
    std::fputc('-', stdout);
    write_text(e.what());
  }
  std::fflush(stdout);
}

}  // namespace

int main() {
  std::uint32_t length = 0;
  while (read_all(&length, sizeof length)) {
    std::string bytes(length, '\0');
    if (!read_all(bytes.data(), bytes.size())) return EXIT_FAILURE;
    answer(bytes);
  }
  return EXIT_SUCCESS;
}
