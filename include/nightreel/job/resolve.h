// From a job to the settings of one model: the recipe filled in, and what only the model can judge checked.
//
// Plain values; any thread. A misfit is an Error{job} "field: reason" that names the nearest legal values.
#pragma once

#include <string>
#include <vector>

#include "nightreel/card/card.h"
#include "nightreel/job/job.h"
#include "nightreel/job/recipe.h"
#include "nightreel/settings/settings.h"

namespace nightreel::job {

/// Every setting as it will be used. A field that the job leaves out is the recipe's, guidance_scale_2 too; where
/// neither has one, two experts share guidance_scale, as in diffusers.
settings::Settings resolve(const Job& job, const card::Card& card, const Recipe& recipe);

/// resolve() for each, before any renderer starts. Throws one Error{usage} with a line "FILE:LINE: field: reason" for
/// each misfit.
void check_jobs(const std::vector<Job>& jobs, const card::Card& card, const Recipe& recipe);

/// The shell command that makes the video again: `nightreel generate` with every setting spelled out, then `more`
/// (--threads, --crf, … of the run) and the output's name.
std::string generate_command(const settings::Settings& settings, const std::string& model_folder,
                             const std::vector<std::string>& more, const std::string& output);

}  // namespace nightreel::job
