#include "app/engine/engine_flags.h"

#include <string>
#include <variant>

#include "nightreel/base/clock.h"

namespace nightreel::app {
namespace {

using protocol::EngineFlag;
using protocol::EngineOptions;
using protocol::EngineUse;

std::string names_of(const EngineFlag& flag) {
  return std::string(flag.name) + (flag.alias.empty() ? "" : ",") + std::string(flag.alias);
}

void add_flags_of(EngineUse use, CLI::App& sub, EngineOptions& options) {
  for (const EngineFlag& flag : protocol::engine_flags()) {
    if (flag.use == use) add_engine_flag(sub, options, flag);
  }
}

}  // namespace

CLI::Option* add_engine_flag(CLI::App& sub, EngineOptions& options, const EngineFlag& flag) {
  const std::string help(flag.help);
  if (const auto* is_on = std::get_if<bool EngineOptions::*>(&flag.member)) {
    return sub.add_flag(names_of(flag), options.*(*is_on), help);
  }
  CLI::Option* option = sub.add_option_function<std::string>(
      names_of(flag), [&options, &flag](const std::string& text) { protocol::from_text(flag, text, options); }, help);
  if (std::holds_alternative<int EngineOptions::*>(flag.member)) {
    option->type_name("INT")->check(CLI::Range(flag.low, flag.high));
  }
  if (flag.always) option->default_str(protocol::to_text(flag, options));
  return option;
}

void add_loading_flags(CLI::App& sub, EngineOptions& options) {
  add_flags_of(EngineUse::loading, sub, options);
}

void add_rendering_flags(CLI::App& sub, EngineOptions& options) {
  add_flags_of(EngineUse::rendering, sub, options);
}

void add_memory_flag(CLI::App& sub, std::uint64_t& bytes) {
  const EngineFlag& flag = protocol::engine_flag(&EngineOptions::gpu_memory);
  sub.add_option_function<std::string>(
      names_of(flag), [&bytes](const std::string& size) { bytes = base::parse_size(size); }, std::string(flag.help));
}

}  // namespace nightreel::app
