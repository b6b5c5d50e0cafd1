#include "model/lora_names.h"

#include <algorithm>
#include <string_view>

namespace nightreel::model {

namespace {

/// A tensor that is no module's weight or bias, a modulation table, is its own module: its difference is a .diff too.
LoraName split(const std::string& tensor) {
  for (const char* leaf : {"weight", "bias"}) {
    const std::string end = std::string(".") + leaf;
    if (tensor.ends_with(end)) return {tensor.substr(0, tensor.size() - end.size()), leaf};
  }
  return {tensor, "weight"};
}

}  // namespace

std::vector<LoraName> lora_names(const std::string& diffusers_name, const weights::OriginalNames& originals) {
  const std::string original = originals.original(diffusers_name).name;
  std::vector<LoraName> names{split(diffusers_name)};
  if (original != diffusers_name) names.push_back(split(original));
  for (std::size_t i = 0, dotted = names.size(); i < dotted; ++i) {
    LoraName flat = names[i];
    std::replace(flat.first.begin(), flat.first.end(), '.', '_');
    if (flat != names[i]) names.push_back(std::move(flat));
  }
  // blocks.0.diff_m, head.diff_m
  constexpr std::string_view kTable = ".modulation";
  if (original.ends_with(kTable)) names.emplace_back(original.substr(0, original.size() - kTable.size()), "table");
  return names;
}

}  // namespace nightreel::model
