// Is OUT one folder for all ranks, and can each of them write there?
#pragma once

#include <chrono>
#include <string>

#include "nightreel/cluster/mpi.h"

namespace nightreel::cluster {

/// Collective. Rank 0 writes a file with a random name and content into `folder` (its parents are made), the others
/// look for it, for up to `patience` because an NFS client may not see it at once, and write one of their own. All
/// files are removed. Throws on every rank the same Error{environment}, which lists the ranks that cannot.
void check_shared_folder(World& world, const std::string& folder, std::chrono::milliseconds patience,
                         std::chrono::milliseconds deadline);

}  // namespace nightreel::cluster
