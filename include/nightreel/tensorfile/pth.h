// A state dict that torch.save wrote: a zip file of a pickle and the storages that it names.
//
// Nothing of the pickle is executed: its reader knows the few opcodes and names of which a state dict is made
// (src/model/pickle.h) and refuses everything else by name. Storages are mapped where they lie, so they must not be
// compressed (torch.save never does). Files of the format before PyTorch 1.6 are refused with the command that writes
// them anew. All of it is base::Error{model}, naming the file and the tensor. What it owns and which threads:
// tensor_file.h.
#pragma once

#include <string>

#include "nightreel/model/tensor_file.h"

namespace nightreel::model {

class PthFile : public TensorFile {
 public:
  static PthFile open(const std::string& path);

 private:
  using TensorFile::TensorFile;
};

}  // namespace nightreel::model
