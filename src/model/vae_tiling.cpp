#include "model/vae_tiling.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <vector>

namespace nightreel::model {

namespace {

/// Fades from `before`, whose end overlaps the beginning of `tile`, along `axis` over at most `extent`. In place.
void blend(const at::Tensor& before, at::Tensor& tile, std::int64_t axis, std::int64_t extent) {
  extent = std::min({before.size(axis), tile.size(axis), extent});
  if (extent == 0) return;
  std::vector<std::int64_t> shape(4, 1);
  shape[static_cast<std::size_t>(axis)] = extent;
  const at::Tensor weight = (at::arange(extent, at::kDouble) / extent).view(shape);
  const at::Tensor end = before.narrow(axis, before.size(axis) - extent, extent);
  at::Tensor begin = tile.narrow(axis, 0, extent);
  begin.mul_(weight.to(at::kFloat)).add_(end * (1 - weight).to(at::kFloat));
}

/// The last `extent` of `tile` along `axis`, which alone the next tile needs of it.
at::Tensor tail(const at::Tensor& tile, std::int64_t axis, std::int64_t extent) {
  const std::int64_t kept = std::min(extent, tile.size(axis));
  return tile.narrow(axis, tile.size(axis) - kept, kept).clone();
}

}  // namespace

void code_in_tiles(const TiledAxis& rows, const TiledAxis& columns,
                   const std::function<at::Tensor(std::int64_t, std::int64_t)>& code,
                   const std::function<void(const at::Tensor&, std::int64_t, std::int64_t)>& store) {
  const std::int64_t blend_rows = rows.to_tile - rows.to_stride;
  const std::int64_t blend_columns = columns.to_tile - columns.to_stride;
  std::vector<at::Tensor> above;  // the lower ends of the tiles of the row before
  for (std::int64_t y = 0, to_y = 0; y < rows.from_size; y += rows.from_stride, to_y += rows.to_stride) {
    std::vector<at::Tensor> row;
    at::Tensor left;
    for (std::int64_t x = 0, to_x = 0; x < columns.from_size; x += columns.from_stride, to_x += columns.to_stride) {
      at::Tensor tile = code(y, x);
      if (y > 0) blend(above[row.size()], tile, 1, blend_rows);
      if (x > 0) blend(left, tile, 2, blend_columns);
      row.push_back(tail(tile, 1, blend_rows));
      left = tail(tile, 2, blend_columns);
      store(tile.slice(1, 0, std::min(rows.to_stride, rows.to_size - to_y))
                .slice(2, 0, std::min(columns.to_stride, columns.to_size - to_x)),
            to_y, to_x);
    }
    above = std::move(row);
  }
}

}  // namespace nightreel::model
