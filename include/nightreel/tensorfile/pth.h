// The header of a state dict that torch.save wrote: a zip file of a pickle and the storages that it names.
//
// Nothing of the pickle is executed: its reader knows the few opcodes and names of which a state dict is made
// (src/tensorfile/pickle.h) and refuses everything else by name. Storages are looked at where they lie, so they must
// not be compressed (torch.save never does). Files of the format before PyTorch 1.6 are refused with the command that
// writes them anew. All of it is base::Error{model}, naming the file and the tensor. Plain functions; any thread.
#pragma once

#include <string>

#include "nightreel/tensorfile/header.h"
#include "nightreel/tensorfile/mapped_file.h"

namespace nightreel::tensorfile {

MappedFile map_pth(const std::string& path);

Header pth_header(const MappedFile& file);

}  // namespace nightreel::tensorfile
