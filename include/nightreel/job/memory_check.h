// Whether the videos of a job file fit in a device's memory.
//
// A plain function; any thread.
#pragma once

#include <vector>

#include "nightreel/card/card.h"
#include "nightreel/job/job.h"
#include "nightreel/job/recipe.h"
#include "nightreel/memory/model.h"

namespace nightreel::job {

/// memory::fitting_plan() for each job, as check_jobs() throws: a line "FILE:LINE: memory: …" for each that does not
/// fit.
void check_memory(const std::vector<Job>& jobs, const card::Card& card, const Recipe& recipe,
                  const memory::DeviceMemory& memory);

}  // namespace nightreel::job
