// The pictures that jobs name, looked at before anything depends on them.
#pragma once

#include <vector>

#include "nightreel/job/job.h"

namespace nightreel::rank {

/// Format, size and whether each file is whole, each once. The first ones of the list are decoded, up to 200 million
/// pixels in all (two seconds, say); those after them are walked through, so that ten thousand photos cost no hour.
/// Throws one Error{usage} with a line "FILE:LINE: image: PATH: reason" for each job whose picture cannot be read.
/// Needs neither a model nor a device; any thread.
void check_pictures(const std::vector<job::Job>& jobs);

}  // namespace nightreel::rank
