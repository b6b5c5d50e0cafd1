// Random names: tokens, temporary files, passwords, worker ids. Not for noise: that is the sampler's.
#pragma once

#include <cstddef>
#include <string>

namespace nightreel::base {

/// `bytes` bytes from getrandom(2), as lower-case hex. Throws Error{environment}.
std::string random_hex(std::size_t bytes);

}  // namespace nightreel::base
