// `model info`: what a checkpoint is, and the settings with which it is used.
#include <cstdio>
#include <nlohmann/json.hpp>

#include "app/engine/engine_flags.h"
#include "app/engine/model_files.h"
#include "app/engine/model_memory.h"
#include "app/engine/subcommands.h"
#include "nightreel/base/error.h"
#include "nightreel/base/json.h"
#include "nightreel/card/card.h"
#include "nightreel/job/recipe.h"
#include "nightreel/model/checkpoint.h"
#include "nightreel/settings/json.h"

namespace nightreel::app {
namespace {

struct InfoOptions {
  std::string folder;
  std::string recipe;
  MemoryFlags memory;
  bool as_json = false;
};

void print(const std::string& name, const nlohmann::json& value) {
  const std::string text = value.is_string() ? value.get<std::string>() : base::dump_json(value);
  std::printf("%-24s %s\n", name.c_str(), base::printable(text, std::string::npos).c_str());
}

int info(const InfoOptions& options) {
  const card::Card card = card_of(options.folder);
  const job::Recipe recipe = job::recipe_for(card, job::recipe_choice(options.recipe));
  const MemoryAnswer memory = memory_answer(options.memory, card, recipe);
  const nlohmann::json facts{
      {"model", card::to_json(card)},
      {"memory", memory.json},
      {"digest", model::model_digest(options.folder)},
      {"recipe", {{"name", recipe.name}, {"defaults", settings::to_json(recipe.defaults)}, {"note", recipe.note}}}};
  if (options.as_json) {
    std::printf("%s\n", base::dump_json(facts, 2).c_str());
    return 0;
  }
  for (const auto& [name, value] : facts["model"].items()) print(name, value);
  print("digest", facts["digest"]);
  print("recipe", recipe.name);
  for (const auto& [name, value] : facts["recipe"]["defaults"].items()) print("  " + name, value);
  if (!recipe.note.empty()) print("note", recipe.note);
  print("memory", memory.lines.front());
  for (auto line = memory.lines.begin() + 1; line != memory.lines.end(); ++line) std::printf("  %s\n", line->c_str());
  return 0;
}

}  // namespace

void add_model(CLI::App& app, Action& action) {
  auto options = std::make_shared<InfoOptions>();
  CLI::App* model = app.add_subcommand("model", "looks at a checkpoint");
  model->require_subcommand(1);
  CLI::App* sub = model->add_subcommand("info", "what a checkpoint is, and the settings with which it is used");
  sub->add_option("folder", options->folder, "DIR")->required();
  sub->add_option("--recipe", options->recipe, "official or checkpoint");
  options->memory.add_to(*sub);
  sub->add_flag("--json", options->as_json, "for programs");
  sub->callback([&action, options] { action = [options] { return info(*options); }; });
  add_model_check(*model, action);
  add_model_convert(*model, action);
  CLI::App* memory = model->add_subcommand("memory", "plumbing: what jobs are judged by on this host, for submit");
  memory->add_option("folder", options->folder, "DIR")->required();
  add_memory_flag(*memory, options->memory.gpu_memory);
  memory->callback([&action, options] {
    action = [options] {
      render::MakerOptions maker;
      maker.gpu_memory = options->memory.gpu_memory;
      std::printf("%s\n", memory::to_json(device_memory(card::read(options->folder), maker)).dump().c_str());
      return 0;
    };
  });
}

}  // namespace nightreel::app
