// The JSON files of a model's folder, in both layouts, up to a job's settings.
//
// An input is several files: a line "=== NAME", then the file. Names that no reader looks for are passed over.
#include "nightreel/card/card.h"

#include <algorithm>
#include <array>
#include <filesystem>

#include "fuzz/fuzz.h"
#include "nightreel/job/resolve.h"

namespace nightreel::fuzz {
namespace {

constexpr std::array kNames{"model_index.json",
                            "nightreel.json",
                            "config.json",
                            "configuration.json",
                            "transformer/config.json",
                            "transformer/diffusion_pytorch_model.safetensors.index.json",
                            "transformer_2/config.json",
                            "vae/config.json",
                            "text_encoder/config.json",
                            "image_encoder/config.json",
                            "image_processor/preprocessor_config.json",
                            "scheduler/scheduler_config.json",
                            "high_noise_model/config.json",
                            "low_noise_model/config.json",
                            "high_noise_model/diffusion_pytorch_model.safetensors.index.json",
                            "low_noise_model/diffusion_pytorch_model.safetensors.index.json",
                            "Wan2.1_VAE.pth",
                            "Wan2.2_VAE.pth",
                            "models_t5_umt5-xxl-enc-bf16.pth",
                            "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth",
                            "google/umt5-xxl/tokenizer_config.json"};

constexpr std::string_view kMark = "=== ";

/// Cuts the first file off `rest`.
void write_next(std::string_view& rest) {
  rest.remove_prefix(kMark.size());
  const auto end = std::min(rest.find('\n'), rest.size());
  const std::string_view name = rest.substr(0, end);
  rest.remove_prefix(std::min(end + 1, rest.size()));
  const auto next = rest.find("\n=== ");
  const std::string_view content = rest.substr(0, next);
  if (std::find(kNames.begin(), kNames.end(), name) != kNames.end()) file_of("model/" + std::string(name), content);
  rest.remove_prefix(next == std::string_view::npos ? rest.size() : next + 1);
}

std::string folder_of(std::string_view rest) {
  const std::string folder = scratch() / "model";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  while (rest.substr(0, kMark.size()) == kMark) write_next(rest);
  return folder;
}

void use(const card::Card& card) {
  card::to_json(card).dump();
  const job::Recipe recipe = job::recipe_for(card, job::RecipeChoice::automatic);
  const job::Job one = job::parse_job(R"({"prompt": "a red circle"})", {"", ""});
  answers_well({ErrorKind::job}, [&] { job::resolve(one, card, recipe); });
  answers_well({ErrorKind::model}, [&] { card::check_supported(card); });
}

}  // namespace
}  // namespace nightreel::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace nightreel;
  const std::string folder = fuzz::folder_of(fuzz::text_of(data, size));
  fuzz::answers_well({base::ErrorKind::model}, [&] { fuzz::use(card::read(folder)); });
  return 0;
}
