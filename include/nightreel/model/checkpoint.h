// What a checkpoint's components consist of, by their configurations alone: the lists of the modules that would compute
// with them, and the digest that goes by these.
//
// Plain functions; any thread. A configuration that cannot be read, or for the digest a tensor's file, is a
// base::Error{model}.
#pragma once

#include <string>

#include "nightreel/base/cancel.h"
#include "nightreel/card/configs.h"
#include "nightreel/weights/tensor_list.h"

namespace nightreel::model {

weights::TensorList tensors_of(const card::TransformerConfig& config);
weights::TensorList tensors_of(const card::VaeConfig& config);
weights::TensorList tensors_of(const card::Umt5Config& config);
weights::TensorList tensors_of(const card::ClipVisionConfig& config);

/// Of the components of the checkpoint `folder`, in either layout; each configuration is read when it is asked for.
weights::ListOf lists_of(const std::string& folder);

/// The digest of a checkpoint's folder (digest.h). `cancel` is looked at between two tensors.
std::string model_digest(const std::string& folder, const base::CancelToken& cancel = {});

}  // namespace nightreel::model
