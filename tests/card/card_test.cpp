#include "nightreel/card/card.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <tuple>

#include "card/checkpoint_folder.h"
#include "support/error.h"

namespace nightreel::card {
namespace {

using base::ErrorKind;
using base::Json;
using test::card_of;
using test::CheckpointFiles;
using test::contains;
using test::TempFolder;
using test::thrown_by;

TEST_CASE("each published model is recognised by its dimensions") {
  struct Case {
    CheckpointFiles files;
    const char* published;
    ModelKind kind;
    std::size_t experts;
    std::int64_t multiple;
  };
  for (const auto& c : {
           Case{test::t2v_a14b(), "Wan2.2-T2V-A14B", ModelKind::t2v, 2, 16},
           Case{test::i2v_a14b(), "Wan2.2-I2V-A14B", ModelKind::i2v, 2, 16},
           Case{test::ti2v_5b(), "Wan2.2-TI2V-5B", ModelKind::ti2v, 1, 32},
           Case{test::small_t2v(), "Wan2.1-T2V-1.3B", ModelKind::t2v, 1, 16},
           Case{test::wan21_14b(16, 0), "Wan2.1-T2V-14B", ModelKind::t2v, 1, 16},
           Case{test::wan21_14b(36, 0), "Wan2.1-I2V-14B", ModelKind::i2v, 1, 16},
           Case{test::wan21_14b(36, 514), "Wan2.1-FLF2V-14B", ModelKind::flf2v, 1, 16},
       }) {
    INFO(c.published);
    const Card card = card_of(c.files);
    CHECK(card.published == c.published);
    CHECK(card.kind == c.kind);
    CHECK(card.experts.size() == c.experts);
    CHECK(card.height_multiple() == c.multiple);
    CHECK(card.width_multiple() == c.multiple);
    CHECK(card.vae.scale_factor_temporal == 4);
    CHECK(card.scheduler.sampler == "unipc");
  }
}

TEST_CASE("a model is a published one only if every dimension is the same") {
  for (const auto& [field, value] :
       {std::pair{"num_layers", "29"}, std::pair{"num_attention_heads", "13"}, std::pair{"attention_head_dim", "64"},
        std::pair{"ffn_dim", "8961"}, std::pair{"freq_dim", "128"}, std::pair{"patch_size", "[1, 1, 2]"}}) {
    INFO(field);
    CheckpointFiles files = test::small_t2v();
    files["transformer/config.json"][field] = base::parse_json(value);
    CHECK(card_of(files).published.empty());
  }
  // One expert of Wan2.2-T2V-A14B has the dimensions of Wan2.1-T2V-14B, and is taken for it.
  CheckpointFiles half = test::t2v_a14b();
  half["model_index.json"]["transformer_2"] = test::no_component();
  CHECK(card_of(half).published == "Wan2.1-T2V-14B");
}

TEST_CASE("what the files leave out is diffusers' default") {
  CheckpointFiles files = test::small_t2v();
  files["transformer/config.json"] = Json::object();
  files["vae/config.json"] = Json::object();
  files["scheduler/scheduler_config.json"].erase("flow_shift");
  const Card card = card_of(files);
  CHECK(card.published == "Wan2.1-T2V-14B");
  CHECK(card.vae.z_dim == 16);
  CHECK(card.scheduler.flow_shift == 1.0);
  CHECK_FALSE(card.boundary_ratio);
}

TEST_CASE("null is absence, but for out_channels, which are then as many as go in") {
  CheckpointFiles files = test::ti2v_5b();
  files["transformer/config.json"]["out_channels"] = nullptr;
  files["transformer/config.json"]["_diffusers_version"] = "0.42.1";
  const Card card = card_of(files);
  CHECK(card.transformer().out_channels == 48);
  CHECK(card.published == "Wan2.2-TI2V-5B");
}

TEST_CASE("a field of another model is refused by the name of the class that has it") {
  struct Case {
    const char* file;
    const char* field;
    const char* message;
  };
  for (const auto& c : {
           Case{"transformer/config.json", "vace_layers", "diffusers' WanVACETransformer3DModel has"},
           Case{"transformer/config.json", "motion_dim", "diffusers' WanAnimateTransformer3DModel has"},
           Case{"transformer/config.json", "refer_stride", "diffusers' WanAnimate2Transformer3DModel has"},
           Case{"transformer/config.json", "colour", "colour: this program does not know this setting"},
           Case{"vae/config.json", "motion_dim", "diffusers' WanAnimateTransformer3DModel has"},
           Case{"scheduler/scheduler_config.json", "sharpness", "sharpness: this program does not know"},
           Case{"model_index.json", "controlnet", "controlnet: this program does not know"},
       }) {
    CheckpointFiles files = test::small_t2v();
    files[c.file][c.field] = 3;
    const auto error = thrown_by([&] { card_of(files); });
    CHECK(error.kind == ErrorKind::model);
    CHECK_MESSAGE(contains(error.message, c.message), error.message);
    CHECK(contains(error.message, c.file));
    files[c.file][c.field] = nullptr;
    CHECK_NOTHROW(card_of(files));
  }
}

TEST_CASE("a scheduler made of another's configuration keeps its fields, as diffusers' from_config does") {
  CheckpointFiles files = test::small_t2v();
  auto& scheduler = files["scheduler/scheduler_config.json"];
  scheduler["_class_name"] = "FlowMatchEulerDiscreteScheduler";
  scheduler["solver_type"] = "bh2";
  CHECK(card_of(files).scheduler.sampler == "euler");
}

TEST_CASE("numbers that only Python's JSON has count as null: DPM++ writes -Infinity") {
  const TempFolder folder;
  test::write_checkpoint(folder, test::small_t2v());
  folder.write("scheduler/scheduler_config.json",
               R"({"_class_name": "DPMSolverMultistepScheduler", "_note": "\"NaN", "lambda_min_clipped": -Infinity,
                   "prediction_type": "flow_prediction", "use_flow_sigmas": true, "flow_shift": 3.0})");
  CHECK(read(folder.path()).scheduler.sampler == "dpm++");
  folder.write("scheduler/scheduler_config.json", R"({"flow_shift": -Infinit})");
  CHECK(thrown_by([&] { read(folder.path()); }).kind == ErrorKind::model);
}

TEST_CASE("either transformer may be null, not both") {
  CheckpointFiles files = test::t2v_a14b();
  files["model_index.json"]["transformer"] = test::no_component();
  CHECK(card_of(files).experts == std::vector<std::string>{"transformer_2"});
  files["model_index.json"]["transformer_2"] = test::no_component();
  CHECK(contains(thrown_by([&] { card_of(files); }).message, "transformer: is missing, and so is transformer_2"));
}

TEST_CASE("samplers are read from the scheduler's class") {
  CheckpointFiles files = test::small_t2v();
  auto& scheduler = files["scheduler/scheduler_config.json"];
  scheduler["_class_name"] = "DPMSolverMultistepScheduler";
  CHECK(card_of(files).scheduler.sampler == "dpm++");
  scheduler = base::parse_json(R"({"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 7.0})");
  const Card card = card_of(files);
  CHECK(card.scheduler.sampler == "euler");
  CHECK(card.scheduler.flow_shift == 7.0);
}

TEST_CASE("weights are measured without being read") {
  TempFolder folder;
  test::write_checkpoint(folder, test::small_t2v());
  folder.write("transformer/a-00001-of-00002.safetensors", std::string(1000, 'x'));
  folder.write("transformer/a-00002-of-00002.safetensors", std::string(500, 'x'));
  folder.write("blob", std::string(70, 'x'));
  std::filesystem::create_symlink("../blob", folder / "vae/v.safetensors");  // as in a hub cache
  std::filesystem::create_symlink("../nowhere", folder / "vae/w.safetensors");
  const Card card = read(folder.path());
  CHECK(card.weight_bytes.at("transformer") == 1500);
  CHECK(card.weight_bytes.at("vae") == 70);
  CHECK(card.weight_bytes.at("text_encoder") == 0);
}

TEST_CASE("files that contradict each other or say what nobody knows are refused by file and field") {
  struct Case {
    const char* file;
    const char* field;
    const char* value;  // JSON
    const char* message;
  };
  for (const auto& c : {
           Case{"model_index.json", "_class_name", R"("WanVACEPipeline")",
                "_class_name: WanVACEPipeline is not supported"},
           Case{"model_index.json", "_class_name", "7", "_class_name: text is needed"},
           Case{"model_index.json", "transformer", R"("x")", "transformer: [library, class] is needed"},
           Case{"model_index.json", "transformer", R"(["diffusers", "WanVACETransformer3DModel"])",
                "transformer: WanVACETransformer3DModel is not supported"},
           Case{"model_index.json", "vae", R"(["diffusers", "AutoencoderKL"])", "vae: AutoencoderKL is not supported"},
           Case{"model_index.json", "vae", "[null, null]", "vae: is missing"},
           Case{"model_index.json", "tokenizer", "null", "tokenizer: is missing"},
           Case{"model_index.json", "text_encoder", R"(["transformers", "T5EncoderModel"])",
                "text_encoder: T5EncoderModel"},
           Case{"model_index.json", "boundary_ratio", "875", "boundary_ratio: 875 is out of range: 0 to 1"},
           Case{"model_index.json", "boundary_ratio", R"("0.875")", "boundary_ratio: a number is needed"},
           Case{"model_index.json", "expand_timesteps", R"("yes")", "expand_timesteps: true or false is needed"},
           Case{"transformer/config.json", "num_layers", "-1", "num_layers: -1 is out of range"},
           Case{"transformer/config.json", "num_layers", "1e300", "num_layers: an integer is needed"},
           Case{"transformer/config.json", "ffn_dim", R"("8960")", "ffn_dim: an integer is needed"},
           Case{"transformer/config.json", "in_channels", "20", "in_channels: 20 is neither text-to-video (16)"},
           Case{"transformer/config.json", "patch_size", "[2, 2]", "patch_size: three integers are needed"},
           Case{"transformer/config.json", "patch_size", "[1, 0, 2]", "patch_size: 0 is out of range"},
           Case{"transformer/config.json", "patch_size", "2", "patch_size: three integers are needed"},
           Case{"transformer/config.json", "text_dim", "2048",
                "d_model: is 4096, but the transformer's text_dim is 2048"},
           Case{"vae/config.json", "scale_factor_spatial", "16", "scale_factor_spatial: is 16, but dim_mult"},
           Case{"vae/config.json", "patch_size", "2",
                "scale_factor_spatial: is 8, but dim_mult and patch_size make it 16"},
           Case{"vae/config.json", "temperal_downsample", "[true, true, true]", "but temperal_downsample makes it 8"},
           Case{"vae/config.json", "temperal_downsample", "[1, 2]", "temperal_downsample: a list of true and false"},
           Case{"vae/config.json", "dim_mult", "[]", "dim_mult: a list is needed"},
           Case{"vae/config.json", "dim_mult", "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]", "dim_mult: a list is needed"},
           Case{"text_encoder/config.json", "d_model", "null",
                "d_model: is 512, but the transformer's text_dim is 4096"},
           Case{"scheduler/scheduler_config.json", "_class_name", R"("DDIMScheduler")",
                "_class_name: DDIMScheduler is not"},
           Case{"scheduler/scheduler_config.json", "use_flow_sigmas", "false", "use_flow_sigmas: must be true"},
           Case{"scheduler/scheduler_config.json", "prediction_type", R"("epsilon")",
                "prediction_type: must be flow_pred"},
           Case{"scheduler/scheduler_config.json", "flow_shift", "0", "flow_shift: 0 is out of range"},
       }) {
    CheckpointFiles files = test::small_t2v();
    files[c.file][c.field] = base::parse_json(c.value);
    const auto error = thrown_by([&] { card_of(files); });
    CHECK(error.kind == ErrorKind::model);
    CHECK_MESSAGE(contains(error.message, c.message), error.message);
    CHECK_FALSE(contains(error.message, "\n"));
  }
  CheckpointFiles latents = test::small_t2v();
  test::set_z_dim(latents["vae/config.json"], 48);
  CHECK(contains(thrown_by([&] { card_of(latents); }).message,
                 "vae/config.json: z_dim: is 48, but the transformer makes 16 channels"));
  CheckpointFiles files = test::t2v_a14b();
  files["transformer_2/config.json"]["num_layers"] = 39;
  CHECK(contains(thrown_by([&] { card_of(files); }).message, "the two experts differ in their dimensions"));
}

TEST_CASE("files that are missing or no JSON are named") {
  const CheckpointFiles complete = test::small_t2v();
  for (const auto& [name, content] : complete) {
    CheckpointFiles files = complete;
    files.erase(name);
    TempFolder folder;
    test::write_checkpoint(folder, files);
    INFO(name);
    const auto error = thrown_by([&] { read(folder.path()); });
    CHECK(error.kind == ErrorKind::model);
    CHECK(contains(error.message, name));
    for (const std::string& broken :
         {std::string(), std::string("{"), std::string("[]"), std::string("7"), std::string("{\"a\": 1, \"a\": 2}"),
          std::string(100000, '['), std::string("\xff\xfe\x00", 3)}) {
      folder.write(name, broken);
      CHECK(contains(thrown_by([&] { read(folder.path()); }).message, folder / name));
    }
  }
}

TEST_CASE("what is no Diffusers folder is refused by name, with the fix") {
  struct Case {
    const char* file;  // made in the folder
    const char* path;  // given as DIR, within the folder
    const char* message;
  };
  for (const auto& c : {
           Case{"x", "missing", "no such folder"},
           Case{"model.gguf", "model.gguf", "GGUF checkpoints are not supported"},
           Case{"model.safetensors", "model.safetensors", "single-file checkpoints are not supported"},
           Case{"model.pth", "model.pth", "single-file checkpoints are not supported"},
           Case{"notes.txt", "notes.txt", "is a file, not a checkpoint's folder"},
           Case{"d/model-Q4_K_M.gguf", "d", "holds a GGUF checkpoint"},
           Case{"d/model.safetensors", "d", "holds single-file checkpoints"},
           Case{"d/snapshots/abc/model_index.json", "d", "whose checkpoints lie in snapshots/"},
           Case{"d/readme", "d", "has no model_index.json"},
       }) {
    TempFolder folder;
    folder.write(c.file, "x");
    const auto error = thrown_by([&] { read(folder / c.path); });
    CHECK(error.kind == ErrorKind::model);
    CHECK_MESSAGE(contains(error.message, c.message), error.message);
    CHECK(contains(error.message, "give the Diffusers folder"));
  }
}

TEST_CASE("a folder of diffusers' modular pipelines is refused by the name of its class") {
  TempFolder folder;
  folder.write("modular_model_index.json", R"({"_class_name": "WanAnimate2ModularPipeline"})");
  const auto error = thrown_by([&] { read(folder.path()); });
  CHECK(error.kind == ErrorKind::model);
  CHECK(contains(error.message, "is of diffusers' WanAnimate2ModularPipeline, which is not supported"));
  folder.write("modular_model_index.json", "[]");
  CHECK(contains(thrown_by([&] { read(folder.path()); }).message, "a modular pipeline, which is not supported"));
}

TEST_CASE("a model that knows pictures by CLIP's vectors needs its image encoder") {
  for (const auto& files : {test::t2v_a14b(), test::i2v_a14b(), test::ti2v_5b(), test::small_t2v(),
                            test::wan21_14b(36, 0), test::wan21_14b(36, 514)}) {
    CHECK_NOTHROW(check_supported(card_of(files)));
  }
  CheckpointFiles projected = test::wan21_14b(36, 0);
  projected["model_index.json"]["image_encoder"][1] = "CLIPVisionModelWithProjection";
  CHECK(card_of(projected).has_image_encoder);
  projected["model_index.json"]["image_encoder"][1] = "SiglipVisionModel";
  CHECK(contains(thrown_by([&] { card_of(projected); }).message, "SiglipVisionModel is not supported"));
  for (auto files : {test::wan21_14b(36, 0), test::wan21_14b(36, 514)}) {
    files["model_index.json"]["image_encoder"] = test::no_component();
    CHECK(thrown_by([&] { check_supported(card_of(files)); }).kind == ErrorKind::model);
  }
}

std::string repository(const std::string& path) {
  const char* source = std::getenv("NIGHTREEL_SOURCE_DIR");
  REQUIRE(source != nullptr);
  return std::string(source) + "/" + path;
}

std::uintmax_t bytes_in(const std::string& folder) {
  std::uintmax_t bytes = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) bytes += entry.file_size();
  }
  return bytes;
}

TEST_CASE("the models in the repository have cards: two experts each, recipes that a CPU can follow") {
  for (const auto& [folder, kind, name] :
       {std::tuple{"models/shapes", ModelKind::t2v, "t2v"}, std::tuple{"models/shapes-i2v", ModelKind::i2v, "i2v"}}) {
    CAPTURE(folder);
    const Card card = read(repository(folder));
    CHECK(card.kind == kind);
    CHECK(to_json(card).at("kind") == name);
    CHECK(card.published.empty());
    CHECK(card.two_experts());
    CHECK(card.boundary_ratio == 0.8);
    CHECK_FALSE(card.has_image_encoder);
    CHECK_NOTHROW(check_supported(card));
    for (const char* field : {"height", "width", "num_frames", "num_inference_steps"}) CHECK(card.stated.states(field));
    CHECK(card.stated.height <= 64);
    CHECK(card.stated.width <= 64);
    CHECK(card.stated.num_frames <= 17);
    CHECK(card.stated.num_inference_steps <= 20);
    for (const char* part : {"transformer", "transformer_2", "vae", "text_encoder"}) {
      CHECK(card.weight_bytes.at(part) > 0);
    }
  }
}

TEST_CASE("the models in the repository stay small enough for it") {
  const std::uintmax_t shapes = bytes_in(repository("models/shapes"));
  CHECK(shapes <= 12'000'000);
  CHECK(shapes + bytes_in(repository("models/shapes-i2v")) <= 24'000'000);
}

}  // namespace
}  // namespace nightreel::card
