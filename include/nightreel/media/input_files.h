// The files that jobs name, looked at before anything begins that takes minutes.
//
// Plain function; any thread. LoRA files are judged by their headers. The first pictures, 100 million pixels of them,
// are decoded, the others walked through: a damage inside of one of these is seen when its job is rendered.
#pragma once

#include <vector>

#include "nightreel/job/job.h"

namespace nightreel::media {

/// Each file once. Throws one Error{usage} with a line
/// "FILE:LINE: field: PATH: reason" for each bad job.
void check_input_files(const std::vector<job::Job>& jobs);

}  // namespace nightreel::media
