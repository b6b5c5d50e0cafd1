// What a renderer is started with: an option is one row, from which the rank's command line to nightreel-engine and the
// engine's flags both follow.
//
// Plain values and constants; any thread. A text that is no value of its option is an Error{usage} that names the flag.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "nightreel/memory/model.h"

namespace nightreel::protocol {

/// Which one of how many ranks, whose share of the transformers' blocks is kept; of one: all of them.
struct ShardMember {
  int rank = 0;
  int size = 1;
};

struct EngineOptions {
  std::string model;             // folder, in either layout
  std::string device = "auto";   // auto, cpu, cuda, cuda:GPU-<uuid>
  std::string dtype = "auto";    // auto: bf16 on a GPU, f32 on a CPU; bf16, f32; fp8: auto, with weights in fp8
  int threads = 2;               // of LibTorch's CPU kernels
  std::uint64_t gpu_memory = 0;  // bytes to plan with; 0: what the GPU has free, no limit on a CPU
  memory::StageBytes memory_failed = {};  // plans that have run out of memory (memory::DeviceMemory)
  int host_ranks = 1;                     // renderers of this host, which share its memory
  ShardMember shard = {};                 // in a group that is to come
  std::string stage = {};                 // folder of this host to copy the checkpoint to and read it from; empty: none
  bool load_group = false;  // wait for a request `group` with an address first, whose ranks load the model together
  bool probe = false;       // without a model: answers probes alone
};

using EngineMember =
    std::variant<std::string EngineOptions::*, int EngineOptions::*, std::uint64_t EngineOptions::*,
                 bool EngineOptions::*, memory::StageBytes EngineOptions::*, ShardMember EngineOptions::*>;

/// Whose flag it is: that of all who load a model (render, generate, bench), or render's alone.
enum class EngineUse { loading, rendering };

struct EngineFlag {
  std::string_view name;        // "--device"
  std::string_view alias = {};  // another program's name for it
  EngineMember member;
  EngineUse use = EngineUse::rendering;
  /// A renderer is told it also at its default: its environment may say something else.
  bool always = false;
  int low = std::numeric_limits<int>::min();  // of an int; both ends included
  int high = std::numeric_limits<int>::max();
  std::string_view help;
};

/// In the order of --help and of a command line.
std::span<const EngineFlag> engine_flags();

/// Each member has a row.
const EngineFlag& engine_flag(const EngineMember& member);

/// "true" or "false" for a switch, which stands on a command line without it.
std::string to_text(const EngineFlag& flag, const EngineOptions& options);
void from_text(const EngineFlag& flag, const std::string& text, EngineOptions& options);

/// A renderer's whole command line, from the path of the nightreel-engine that belongs to this program on.
std::vector<std::string> renderer_argv(const EngineOptions& options);
/// What may stand behind it: the options that are not the defaults, but for those that it has always.
std::vector<std::string> more_argv(const EngineOptions& options);

}  // namespace nightreel::protocol
