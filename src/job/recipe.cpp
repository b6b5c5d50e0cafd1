#include "nightreel/job/recipe.h"

#include "nightreel/base/fields.h"
#include "nightreel/card/published.h"

namespace nightreel::job {
namespace {

using base::Error;
using base::ErrorKind;
using settings::Settings;

// WanPipeline.__call__ (diffusers, pipelines/wan/pipeline_wan.py); it knows no fps, export_to_video's callers use 16.
Settings diffusers_defaults() {
  Settings s;
  s.height = 480;
  s.width = 832;
  s.num_frames = 81;
  s.num_inference_steps = 50;
  s.guidance_scale = 5.0;
  s.fps = 16;
  return s;
}

Recipe checkpoint_recipe(const card::Card& card) {
  Recipe recipe{"checkpoint", diffusers_defaults(), "", std::nullopt};
  Settings& s = recipe.defaults;
  s.flow_shift = card.scheduler.flow_shift;
  s.sampler = card.scheduler.sampler;
  if (card.two_experts()) s.boundary_ratio = card.boundary_ratio;
  settings::overlay(card.stated, s);
  return recipe;
}

Recipe official_recipe(const card::PublishedModel& model, const card::Card& card) {
  Recipe recipe{"official", {}, std::string(model.note), model.flow_shift_480p};
  Settings& s = recipe.defaults;
  s.negative_prompt = (model.shake_in_negative ? "镜头晃动，" : "") + std::string(card::published_negative_prompt());
  s.height = model.height;
  s.width = model.width;
  s.num_frames = model.num_frames;
  s.fps = model.fps;
  s.num_inference_steps = model.num_inference_steps;
  s.guidance_scale = model.guidance_scale;
  s.guidance_scale_2 = model.guidance_scale_2;
  s.flow_shift = model.flow_shift;
  s.boundary_ratio = model.boundary_ratio;
  s.sampler = "unipc";
  if (card.scheduler.flow_shift != model.flow_shift) {
    recipe.note += (recipe.note.empty() ? "" : "; ") + std::string("scheduler_config.json says flow_shift ") +
                   base::number_text(card.scheduler.flow_shift) + ", published is " +
                   base::number_text(model.flow_shift);
  }
  return recipe;
}

}  // namespace

RecipeChoice recipe_choice(std::string_view text) {
  if (text.empty()) return RecipeChoice::automatic;
  if (text == "official") return RecipeChoice::official;
  if (text == "checkpoint") return RecipeChoice::checkpoint;
  throw Error(ErrorKind::usage, "recipe: '" + base::printable(text, 60) + "' is none of official, checkpoint");
}

Recipe recipe_for(const card::Card& card, RecipeChoice choice) {
  const card::PublishedModel* model = card::find_published(card.published);
  if (choice == RecipeChoice::official && model == nullptr) {
    throw Error(ErrorKind::model,
                base::printable(card.folder) +
                    ": no published Wan model has these dimensions, so there is no official recipe: use "
                    "--recipe checkpoint");
  }
  const bool official = model != nullptr && choice != RecipeChoice::checkpoint;
  return official ? official_recipe(*model, card) : checkpoint_recipe(card);
}

}  // namespace nightreel::job
