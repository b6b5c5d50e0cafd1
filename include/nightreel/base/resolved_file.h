// Files that jobs name, opened without being led astray: between the check of a path and its use, whoever may write in
// one of its folders can put a symbolic link there.
//
// No state; any thread. Everything throws Error{storage} that names the path.
#pragma once

#include <string>

#include "nightreel/base/file.h"

namespace nightreel::base {

/// The regular file ROOT/RELATIVE, for reading. No symbolic link below ROOT is followed and nothing leads out of it:
/// openat2(2), or, where the kernel or a container's filter refuses that, folder by folder with O_NOFOLLOW.
Fd open_beneath(const std::string& root, const std::string& relative);

/// The same of a path without symbolic links, as std::filesystem::canonical gives it.
Fd open_resolved(const std::string& path);

}  // namespace nightreel::base
