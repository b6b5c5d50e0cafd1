// Files of weights of the published sizes, all zeros: sparse, so that 70 GB take a few hundred kilobytes of the disk.
//
//   sparse_checkpoint FOLDER SHAPES   FOLDER: a checkpoint in Diffusers' layout that has its config.json files
//   (published_sizes.py); SHAPES: models/shapes
#include <fcntl.h>
#include <unistd.h>

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "nightreel/base/error.h"
#include "nightreel/base/file.h"
#include "nightreel/base/json.h"
#include "nightreel/model/transformer.h"
#include "nightreel/model/umt5.h"
#include "nightreel/model/vae.h"
#include "nightreel/model/weights.h"

using namespace nightreel;
using nlohmann::json;

namespace {

struct Stored {
  const char* name;
  std::uint64_t bytes;
};
constexpr Stored kBfloat16{"BF16", 2};
constexpr Stored kFloat32{"F32", 4};

void write_sparse(const std::string& path, const model::WeightMap& weights, const Stored& stored) {
  json header = json::object();
  std::uint64_t at = 0;
  for (const auto& [name, shape] : weights.listed()) {
    std::uint64_t bytes = stored.bytes;
    for (const std::int64_t size : shape) bytes *= static_cast<std::uint64_t>(size);
    header[name] = {{"dtype", stored.name}, {"shape", shape}, {"data_offsets", {at, at + bytes}}};
    at += bytes;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const std::uint64_t length = text.size();
  const base::Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  const bool written = file && ::write(file.get(), &length, sizeof length) == static_cast<ssize_t>(sizeof length) &&
                       ::write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size()) &&
                       ::ftruncate(file.get(), static_cast<off_t>(sizeof length + length + at)) == 0;
  if (!written) base::throw_errno("cannot write", path);
  std::printf("%s: %.2f GB\n", path.c_str(), static_cast<double>(at) / 1e9);
}

// `like`: a folder with weights, of which only the layout is looked at.
template <class Module, class Make>
void write_component(const std::string& folder, const std::string& like, const char* file, const Stored& stored,
                     const Make& make) {
  if (!std::filesystem::exists(folder)) return;
  model::WeightMap weights = model::WeightMap::open(like);
  weights.only_list();
  const Module module = make(base::read_json(folder + "/config.json"), weights);
  write_sparse(folder + "/" + file, weights, stored);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: sparse_checkpoint FOLDER SHAPES\n");
    return 2;
  }
  const c10::InferenceMode inference;
  const std::string folder = std::string(argv[1]) + "/";
  const std::string shapes = std::string(argv[2]) + "/";
  constexpr const char* kDiffusion = "diffusion_pytorch_model.safetensors";
  try {
    for (const char* name : {"transformer", "transformer_2"}) {
      write_component<model::Transformer>(folder + name, shapes + "transformer", kDiffusion, kBfloat16,
                                          [](const json& config, model::WeightMap& weights) {
                                            return model::Transformer(model::parse_transformer_config(config, "config"),
                                                                      weights, at::kMeta, at::kBFloat16);
                                          });
    }
    write_component<model::Vae>(
        folder + "vae", shapes + "vae", kDiffusion, kFloat32, [](const json& config, model::WeightMap& weights) {
          return model::Vae(model::parse_vae_config(config, "config"), weights, at::kMeta, at::kFloat);
        });
    write_component<model::Umt5Encoder>(folder + "text_encoder", shapes + "text_encoder", "model.safetensors",
                                        kBfloat16, [](const json& config, model::WeightMap& weights) {
                                          return model::Umt5Encoder(model::parse_umt5_config(config, "config"), weights,
                                                                    at::kMeta, at::kBFloat16);
                                        });
    return 0;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "sparse_checkpoint: %s\n", e.what());
    return 1;
  }
}
