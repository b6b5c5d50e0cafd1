// Contact sheets: a few frames of a video side by side in one JPEG file.
//
// No state; any thread. Throws Error{storage} with the path; the file appears whole or not at all.
#pragma once

#include <string>

#include "nightreel/media/frames.h"

namespace nightreel::media {

/// Up to 8 frames, evenly spaced, first and last among them, in rows of 4: at most 1600 pixels wide. Frames that are
/// too wide are averaged down, small ones enlarged by a whole factor without smoothing. Equal frames give equal bytes.
void write_sheet(const std::string& path, const Frames& frames);

}  // namespace nightreel::media
