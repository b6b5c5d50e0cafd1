#include "nightreel/protocol/engine_options.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>

#include "nightreel/base/clock.h"
#include "nightreel/base/error.h"
#include "nightreel/base/process.h"

namespace nightreel::protocol {
namespace {

using base::Error;
using base::ErrorKind;

constexpr std::array<EngineFlag, 11> kFlags{{
    {.name = "--model",
     .alias = "--ckpt-dir",
     .member = &EngineOptions::model,
     .use = EngineUse::loading,
     .help = "folder of a Wan model, in Diffusers' layout or the original one"},
    {.name = "--device",
     .member = &EngineOptions::device,
     .use = EngineUse::loading,
     .always = true,
     .help = "auto, cpu, cuda or cuda:GPU-<uuid>"},
    {.name = "--dtype",
     .member = &EngineOptions::dtype,
     .use = EngineUse::loading,
     .always = true,
     .help = "auto (bf16 on a GPU, f32 on a CPU), bf16, f32, or fp8: auto, with weights in fp8"},
    {.name = "--threads",
     .member = &EngineOptions::threads,
     .use = EngineUse::loading,
     .always = true,
     .low = 1,
     .high = 1024,
     .help = "CPU threads"},
    {.name = "--gpu-memory",
     .member = &EngineOptions::gpu_memory,
     .use = EngineUse::loading,
     .help = "plan for so much, e.g. 24GB; default: what the GPU has, no limit on a CPU"},
    {.name = "--probe", .member = &EngineOptions::probe, .help = "without a model: answers probes alone"},
    {.name = "--load-group",
     .member = &EngineOptions::load_group,
     .help = "reads the weights together with the group that it is told of before anything else"},
    {.name = "--shard-weights",
     .member = &EngineOptions::shard,
     .help = "MEMBER/SIZE of the group that is to come, from 0/SIZE on: keeps this member's share of the transformer"},
    {.name = "--memory-failed",
     .member = &EngineOptions::memory_failed,
     .help = "STAGE=BYTES[,…]: plans that needed so much have run out of memory there, and need less from the start"},
    {.name = "--host-ranks",
     .member = &EngineOptions::host_ranks,
     .low = 1,
     .high = 1 << 20,
     .help = "renderers that start on this host now, and share its memory"},
    {.name = "--stage-weights",
     .member = &EngineOptions::stage,
     .help = "a folder of this host: the checkpoint is copied there once and read from there"},
}};

[[noreturn]] void refuse(const EngineFlag& flag, const std::string& text, const std::string& needed) {
  throw Error(ErrorKind::usage, std::string(flag.name) + ": " + base::printable(text) + ": needs " + needed);
}

std::string text_of(const std::string& value) {
  return value;
}
std::string text_of(int value) {
  return std::to_string(value);
}
std::string text_of(std::uint64_t value) {
  return std::to_string(value);
}
std::string text_of(bool value) {
  return value ? "true" : "false";
}
std::string text_of(const memory::StageBytes& value) {
  return memory::to_text(value);
}
std::string text_of(const ShardMember& value) {
  return std::to_string(value.rank) + "/" + std::to_string(value.size);
}

void read(const EngineFlag&, const std::string& text, std::string& value) {
  value = text;
}
void read(const EngineFlag& flag, const std::string& text, int& value) {
  int number = 0;
  const char* end = text.data() + text.size();
  const auto [stopped, trouble] = std::from_chars(text.data(), end, number);
  const bool fits = trouble == std::errc() && stopped == end && number >= flag.low && number <= flag.high;
  if (!fits) refuse(flag, text, "a whole number from " + text_of(flag.low) + " to " + text_of(flag.high));
  value = number;
}
void read(const EngineFlag&, const std::string& text, std::uint64_t& value) {
  value = base::parse_size(text);
}
void read(const EngineFlag& flag, const std::string& text, bool& value) {
  value = text == "true";
  if (text != text_of(value)) refuse(flag, text, "true or false");
}
void read(const EngineFlag&, const std::string& text, memory::StageBytes& value) {
  value = memory::stage_bytes(text);
}
void read(const EngineFlag& flag, const std::string& text, ShardMember& value) {
  ShardMember member;
  char more = 0;
  const bool two = std::sscanf(text.c_str(), "%4d/%4d%c", &member.rank, &member.size, &more) == 2;
  if (!two || member.rank < 0 || member.rank >= member.size) {
    refuse(flag, text, "MEMBER/SIZE, as in 0/4 for the first of four");
  }
  value = member;
}

void add(std::vector<std::string>& argv, const EngineFlag& flag, const EngineOptions& options) {
  argv.emplace_back(flag.name);
  if (!std::holds_alternative<bool EngineOptions::*>(flag.member)) argv.push_back(to_text(flag, options));
}

bool is_default(const EngineFlag& flag, const EngineOptions& options) {
  return to_text(flag, options) == to_text(flag, {});
}

}  // namespace

std::span<const EngineFlag> engine_flags() {
  return kFlags;
}

const EngineFlag& engine_flag(const EngineMember& member) {
  return *std::find_if(kFlags.begin(), kFlags.end(), [&](const EngineFlag& flag) { return flag.member == member; });
}

std::string to_text(const EngineFlag& flag, const EngineOptions& options) {
  return std::visit([&](auto member) { return text_of(options.*member); }, flag.member);
}

void from_text(const EngineFlag& flag, const std::string& text, EngineOptions& options) {
  std::visit([&](auto member) { read(flag, text, options.*member); }, flag.member);
}

std::vector<std::string> renderer_argv(const EngineOptions& options) {
  std::vector<std::string> argv{base::companion("nightreel-engine"), "render"};
  for (const EngineFlag& flag : kFlags) {
    if (flag.always || !is_default(flag, options)) add(argv, flag, options);
  }
  return argv;
}

std::vector<std::string> more_argv(const EngineOptions& options) {
  std::vector<std::string> argv;
  for (const EngineFlag& flag : kFlags) {
    if (!flag.always && !is_default(flag, options)) add(argv, flag, options);
  }
  return argv;
}

}  // namespace nightreel::protocol
