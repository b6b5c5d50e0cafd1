// The files that jobs name, looked at before anything begins that takes minutes.
//
// Plain function; any thread. Only heads are read: what else may be wrong with a file is seen when its job is rendered.
#pragma once

#include <vector>

#include "nightreel/job/job.h"

namespace nightreel::media {

/// The first bytes of pictures and the headers of LoRA files, each file once. Throws one Error{usage} with a line
/// "FILE:LINE: field: PATH: reason" for each bad job.
void check_input_files(const std::vector<job::Job>& jobs);

}  // namespace nightreel::media
