// The settings that a checkpoint states itself, in nightreel.json.
//
// Plain values; any thread.
#pragma once

#include "nightreel/card/card.h"
#include "nightreel/job/job.h"

namespace nightreel::job {

/// Throws Error{model} "FILE: field: reason" for what is no setting, or none of this model.
Overrides stated_by(const card::Card& card);

}  // namespace nightreel::job
