// Can a folder take files that appear whole and never over another?
//
// A run tries it before the first video, and `doctor` too: some mounts of object stores (gcsfuse, s3fs, rclone) have
// neither link(2) nor renameat2(RENAME_NOREPLACE), so that everything is rendered and nothing can be published.
// No state; any thread.
#pragma once

#include <string>

namespace nightreel::base {

inline constexpr const char* kNoPublishing =
    "this file system has neither hard links nor renames that replace nothing, so no video can be published";
inline constexpr const char* kPublishingFix = "take an OUT on a local disk or on NFS, and copy the videos from there";

/// Does with hidden files what publication does: publish() (file.h) under a new name, publish() over a taken one, which
/// must refuse, and rename_file(), which must replace. Leaves nothing. Throws Error{storage} that names the file, what
/// happened and the fix.
void check_publishing(const std::string& folder);

}  // namespace nightreel::base
