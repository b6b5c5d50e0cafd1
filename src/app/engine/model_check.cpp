// `model check`: does a checkpoint hold what its configuration asks for? Every tensor is read.
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "app/engine/model_files.h"
#include "nightreel/base/error.h"
#include "nightreel/base/json.h"
#include "nightreel/card/checkpoint.h"
#include "nightreel/model/checkpoint.h"
#include "nightreel/text/tokenizer.h"
#include "nightreel/weights/check.h"

namespace nightreel::app {
namespace {

using nlohmann::json;

constexpr int kModelIsBad = 3;
constexpr std::size_t kWhole = std::string::npos;

struct CheckOptions {
  std::string folder;
  bool as_json = false;
};

json to_json(const weights::CheckedComponent& component) {
  json problems = json::array();
  for (const auto& problem : component.problems) {
    problems.push_back({{"what", problem.what}, {"tensor", problem.tensor}, {"detail", problem.detail}});
  }
  return {{"name", component.name},
          {"tensors", component.tensors},
          {"bytes", component.bytes},
          {"dtypes", component.dtypes},
          {"problems", problems}};
}

void print(const weights::CheckedComponent& component) {
  std::string dtypes;
  for (const auto& [dtype, count] : component.dtypes) dtypes += " " + dtype;
  std::printf("%-14s %6zu tensors %10.1f MB %s%s\n", component.name.c_str(), component.tensors,
              static_cast<double>(component.bytes) / 1e6, component.problems.empty() ? "ok  " : "BAD ",
              base::printable(dtypes, kWhole).c_str());
  for (const auto& problem : component.problems) {
    const std::string tensor = problem.tensor.empty() ? "" : base::printable(problem.tensor) + ": ";
    std::printf("  %s: %s%s\n", problem.what.c_str(), tensor.c_str(), base::printable(problem.detail, kWhole).c_str());
  }
}

/// The tokenizer as a component without tensors.
weights::CheckedComponent check_tokenizer(const std::string& folder) {
  weights::CheckedComponent checked;
  checked.name = "tokenizer";
  try {
    text::Tokenizer::load(card::tokenizer_folder(folder));
  } catch (const base::Error& e) {
    checked.problems.push_back({"unreadable", "", e.what()});
  }
  return checked;
}

int check(const CheckOptions& options) {
  card_of(options.folder);  // a folder that makes no sense is told as such, not tensor by tensor
  std::vector<weights::CheckedComponent> components =
      weights::check_checkpoint(options.folder, model::lists_of(options.folder));
  components.push_back(check_tokenizer(options.folder));
  bool good = true;
  json report{{"folder", options.folder}, {"components", json::array()}};
  for (const auto& component : components) {
    good = good && component.problems.empty();
    report["components"].push_back(to_json(component));
    if (!options.as_json) print(component);
  }
  report["ok"] = good;
  if (options.as_json) std::printf("%s\n", base::dump_json(report, 2).c_str());
  return good ? 0 : kModelIsBad;
}

}  // namespace

void add_model_check(CLI::App& model, Action& action) {
  auto options = std::make_shared<CheckOptions>();
  CLI::App* sub = model.add_subcommand("check", "reads every tensor: missing, surplus, misshapen, not finite");
  sub->add_option("folder", options->folder, "DIR")->required();
  sub->add_flag("--json", options->as_json, "for programs");
  sub->callback([&action, options] { action = [options] { return check(*options); }; });
}

}  // namespace nightreel::app
