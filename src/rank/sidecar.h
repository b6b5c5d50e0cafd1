// A video's sidecar as others find it: it may be missing, damaged, another job's or another version's.
//
// Plain functions; any thread. Nothing is thrown for what a sidecar says or fails to say.
#pragma once

#include <string>

#include "nightreel/base/json.h"

namespace nightreel::rank {

using base::Json;

/// The object; an empty one where there is none that can be read.
Json read_sidecar(const std::string& path);

/// A member that is a text; empty where there is none.
std::string text_in(const Json& object, const std::string& name);

/// Whose set it is.
struct Owner {
  std::string id;
  std::string hash;    // of the job
  std::string sha256;  // of the video
};
Owner owner_in(const Json& sidecar);

}  // namespace nightreel::rank
