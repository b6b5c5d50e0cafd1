// What nightreel-hdf5 takes from itself before it looks at a file's first byte. Nothing of it comes back.
#pragma once

#include <cstddef>

namespace nightreel::hdf5 {

/// The address space that reading a file of `bytes` may take: the program, the file with HDF5's two copies, its values.
std::size_t most_memory(std::size_t bytes);

/// Limits of memory (none in a sanitized build), processor time, core files and written files.
void limit_resources(std::size_t file_bytes);

/// No new privileges, and a filter of system calls that knows reading and writing of what is open, memory and the end,
/// and answers all others, open, socket and execve among them, with EPERM. False where the kernel refuses filters.
bool forbid_system_calls();

}  // namespace nightreel::hdf5
