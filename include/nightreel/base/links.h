// Symbolic links whose targets are gone, as an interrupted download leaves them in a hub's cache. No state; any thread.
#pragma once

#include <string>

namespace nightreel::base {

/// "is a link to TARGET, which is not there: …" with what to do; empty where `path` is no link, or one to something.
std::string dangling_link(const std::string& path);

}  // namespace nightreel::base
