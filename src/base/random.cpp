#include "nightreel/base/random.h"

#include <sys/random.h>

#include <vector>

#include "nightreel/base/error.h"
#include "nightreel/base/hash.h"

namespace nightreel::base {

std::string random_hex(std::size_t bytes) {
  std::vector<unsigned char> buffer(bytes);
  if (::getrandom(buffer.data(), bytes, 0) != static_cast<ssize_t>(bytes)) {
    throw Error(ErrorKind::environment, "getrandom gave too few bytes");
  }
  return hex(buffer.data(), buffer.size());
}

}  // namespace nightreel::base
