// The piece that starts a renderer, as a rank does, and waits for the first picture, or for the last.
#pragma once

#include <memory>
#include <vector>

#include "nightreel/bench/piece.h"
#include "nightreel/render/video_maker.h"

namespace nightreel::app {

/// start, start-video.
const std::vector<bench::PieceKind>& start_kinds();

/// `settings` with a prompt. Nothing stays behind. Throws what the renderer reports.
std::unique_ptr<bench::Piece> make_start_piece(const std::string& name, const render::MakerOptions& maker,
                                               const job::Settings& settings);

}  // namespace nightreel::app
