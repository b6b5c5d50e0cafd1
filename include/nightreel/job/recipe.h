// Recipes: the settings with which a model is meant to be used, where a job does not say otherwise.
//
// Plain values; any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "nightreel/card/card.h"
#include "nightreel/settings/settings.h"

namespace nightreel::job {

enum class RecipeChoice {
  automatic,  // official where the checkpoint has a published model's exact dimensions, else checkpoint
  official,   // the settings that were published with that model
  checkpoint  // scheduler_config.json, model_index.json, nightreel.json, then diffusers' defaults
};

/// "official" or "checkpoint", as --recipe takes them; empty: automatic. Throws Error{usage}.
RecipeChoice recipe_choice(std::string_view text);

struct Recipe {
  std::string name;             // official, checkpoint
  settings::Settings defaults;  // all but prompt, seed and files
  std::string note;             // what a person should know about it; may be empty
  /// What flow_shift is instead where the size is 480x832 or 832x480; absent: the same.
  std::optional<double> flow_shift_480p;
};

/// Throws Error{model} when `official` is asked for and no published model has the card's dimensions.
Recipe recipe_for(const card::Card& card, RecipeChoice choice);

}  // namespace nightreel::job
