// The engine's flags, made from the rows of protocol/engine_options.h.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>

#include "nightreel/protocol/engine_options.h"

namespace nightreel::app {

/// The flag of one row. `options` must outlive the parsing.
CLI::Option* add_engine_flag(CLI::App& sub, protocol::EngineOptions& options, const protocol::EngineFlag& flag);

/// The flags with which a model is loaded, the same for render, generate and bench.
void add_loading_flags(CLI::App& sub, protocol::EngineOptions& options);

/// Those that a rank gives its renderer beside them.
void add_rendering_flags(CLI::App& sub, protocol::EngineOptions& options);

/// --gpu-memory alone, for commands that plan and load nothing.
void add_memory_flag(CLI::App& sub, std::uint64_t& bytes);

}  // namespace nightreel::app
