// A checkpoint on its way into a renderer: alone, or together with the renderers of a group, of which each reads its
// part of the bytes.
//
// Owns nothing. The thread that constructs the VideoMaker.
#pragma once

#include <memory>
#include <string>

#include "nightreel/base/log.h"
#include "nightreel/card/card.h"
#include "nightreel/comm/communicator.h"
#include "nightreel/pipeline/pipeline.h"
#include "nightreel/protocol/message.h"

namespace nightreel::render {

struct Loaded {
  pipeline::Pipeline pipeline;
  std::string digest;
  protocol::LoadReport report;
};

/// `group`: whose ranks make the same call; null: alone. On a CPU a group that fails is left, and the rest of its ranks
/// too are alone then, each at its deadline at the latest; elsewhere that is an Error{comm}. Throws Error{model}.
Loaded load_checkpoint(const card::Card& card, const pipeline::PipelineOptions& wanted,
                       std::unique_ptr<comm::Communicator> group, const base::Logger& log);

/// The folder to read the checkpoint `model` from: its copy in `stage`, a folder of this host, which the first process
/// here makes while the others wait. Where that fails `model` itself, and a warning.
std::string stage_weights(const std::string& model, const std::string& stage, const base::Logger& log);

}  // namespace nightreel::render
