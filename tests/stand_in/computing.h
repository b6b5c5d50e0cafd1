// The computing stand-in's own: when launches do nothing, and what computes instead. Statics of a preloaded library;
// any thread.
#pragma once

#include "stand_in/gpu.h"

namespace nightreel::stand_in {

/// While it lives, launches of this thread do nothing: the host code of an operator runs for its checks, its outputs
/// and its workspaces. A result that such code copies to the host would be rubbish, and breaks the GPU.
class WithoutKernels {
 public:
  /// `name`: the operator's, for messages; `may_read`: copies to the host are its work.
  WithoutKernels(const char* name, bool may_read);
  WithoutKernels(const WithoutKernels&) = delete;
  WithoutKernels& operator=(const WithoutKernels&) = delete;
  ~WithoutKernels();
  /// Launches that did nothing so far.
  long launches() const;

 private:
  const char* outer_name_;
  bool outer_may_read_;
  long outer_launches_;
};

/// Whether this thread is within one.
bool without_kernels();

/// Runs the host twin of one of the project's own kernels; false: there is none.
bool run_twin(const Launch& launch);

}  // namespace nightreel::stand_in
