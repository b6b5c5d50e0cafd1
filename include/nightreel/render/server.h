// The renderer process's life: requests on stdin, events on the descriptor that was stdout.
//
// Videos whose experts take turns on the GPU are denoised in waves: those that wait join the one that is under way.
// In a group that stays, rank 0 decides what is rendered next, writes the files and keeps the checkpoints; the others
// follow it (render/agreement.h). Where that fails the renderer says `failed` without a job, and ends.
// Four threads: the caller's reads requests (and tokenises), one renders, one encodes and writes, one sends a heartbeat
// a second. It ends on `shutdown`, at end of file, or when an event cannot be delivered any more.
#pragma once

#include "nightreel/render/video_maker.h"

namespace nightreel::render {

/// Loads the model, serves until told to stop, returns the process's exit code. `event_fd` takes the events.
int serve(const MakerOptions& options, int request_fd, int event_fd);

/// The same without a model: answers `probe` and `group` alone, and fails what it is asked to render.
int serve_probes(const MakerOptions& options, int request_fd, int event_fd);

}  // namespace nightreel::render
