// The pictures that a job names, from their files to what the pipeline takes.
#pragma once

#include <optional>
#include <string>

#include "nightreel/base/log.h"
#include "nightreel/pipeline/pipeline.h"
#include "nightreel/settings/settings.h"

namespace nightreel::render {

/// Reads the files and brings them to the video's size as diffusers' VideoProcessor does; with `square` also to what
/// CLIP's image encoder looks at. Throws Error{job} "image: PATH: reason"; `log` gets a line of what is wrong with a
/// file that is read all the same.
pipeline::Pictures read_pictures(const settings::Settings& settings, const std::optional<pipeline::ClipSquare>& square,
                                 const base::Logger& log);

/// Over all their pixels; empty where there are no pictures.
std::string hash_of(const pipeline::Pictures& pictures);

}  // namespace nightreel::render
