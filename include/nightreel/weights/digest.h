// What tells two checkpoints apart: a queue is bound to it, a sidecar names it.
//
// The digest is XXH3-128 over one line a tensor, "COMPONENT NAME DTYPE [SHAPE] HASH\n", sorted by byte; HASH is
// XXH3-128 of the tensor's bytes as stored. Names are Diffusers', so every layout of the same numbers in the same
// precision (sharded, in one file, in an original Wan folder) has the same digest. A tensor that is stored under two
// tied names (UMT5's embedding) counts once; one that only some layouts hold and no module uses does not count. Lines
// are independent of each other, so that several processes can hash apart. Plain functions; any thread. Files that
// cannot be read throw base::Error{model}.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "nightreel/base/cancel.h"
#include "nightreel/weights/tensor_list.h"
#include "nightreel/weights/weights.h"

namespace nightreel::weights {

/// The line of one tensor, of whose bytes `bytes` are all, row by row; `name`: the one by which it counts.
std::string digest_line(const std::string& component, const std::string& name, const StoredTensor& stored,
                        std::string_view bytes);

/// The lines of one component's tensors, which `list` is of. `cancel` is looked at between two.
std::vector<std::string> digest_lines(const std::string& component, const TensorList& list, const WeightMap& weights,
                                      const base::CancelToken& cancel = {});

/// 32 hex digits over all lines of all components, in any order.
std::string digest_of_lines(std::vector<std::string> lines);

/// The digest of a checkpoint's folder: of its text_encoder, transformer, transformer_2, vae and image_encoder, as far
/// as it has them. `cancel` is looked at between two tensors.
std::string checkpoint_digest(const std::string& folder, const ListOf& lists, const base::CancelToken& cancel = {});

}  // namespace nightreel::weights
