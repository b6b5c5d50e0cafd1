// The subcommand `bench`, as nightreel-engine and nightreel-bench both have it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "app/common/command_line.h"
#include "nightreel/bench/piece.h"
#include "nightreel/render/video_maker.h"

namespace nightreel::app {

/// Pieces beside bench::piece_kinds(), which need more than the layers up to `bench`; may be none.
struct MorePieces {
  std::vector<bench::PieceKind> kinds;
  std::function<std::unique_ptr<bench::Piece>(const std::string& name, const render::MakerOptions&,
                                              const settings::Settings&)>
      make;
};

void add_bench_with(CLI::App& app, Action& action, const MorePieces& more);

}  // namespace nightreel::app
