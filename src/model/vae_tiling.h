// Large frames in overlapping tiles, one after the other, blended as diffusers' AutoencoderKLWan does with
// enable_tiling() (tiled_decode, tiled_encode, blend_v, blend_h).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>

namespace nightreel::model {

/// One axis of a picture that is coded in tiles. `from` counts what goes in, `to` what comes out.
struct TiledAxis {
  std::int64_t from_size, from_tile, from_stride;
  std::int64_t to_size, to_tile, to_stride;
};

/// `code` turns the tile with its corner at (y, x) of the input into [T, to_y, to_x, C] float32 on the CPU, no larger
/// than rows.to_tile by columns.to_tile. `store` receives each finished piece and where it belongs in the output.
void code_in_tiles(const TiledAxis& rows, const TiledAxis& columns,
                   const std::function<at::Tensor(std::int64_t y, std::int64_t x)>& code,
                   const std::function<void(const at::Tensor& piece, std::int64_t y, std::int64_t x)>& store);

}  // namespace nightreel::model
