#include "nightreel/memory/activations.h"

#include <algorithm>

#include "nightreel/memory/modules.h"

namespace nightreel::memory {

// As LibTorch sizes it where a GPU has compute capability 9.0; elsewhere it is less.
std::uint64_t product_workspace(const MemoryModel& model) {
  return model.gpu ? std::uint64_t{32} << 20U : 0;
}

// cuDNN says what an algorithm takes; which one it chooses is known on a GPU alone. An assumption, which the stand-in
// shares.
std::uint64_t convolution_workspace(const MemoryModel& model) {
  return model.gpu ? std::uint64_t{128} << 20U : 0;
}

Activations activations_of(const MemoryModel& model, const settings::Settings& settings, const Tiled& tiled) {
  const std::uint64_t products = product_workspace(model);
  const std::uint64_t convolutions = products + convolution_workspace(model);
  const std::uint64_t kept = model.transformer ? kept_bytes(model, settings) : 0;
  Activations need;
  need.text = text_encoder_bytes(model) + products;
  if (!settings.image.empty()) {
    const std::uint64_t coding = vae_encoder_bytes(model, settings, tiled.encode);
    need.picture = std::max(coding, 2 * image_encoder_bytes(model)) + convolutions + kept;
  }
  need.decode = vae_decoder_bytes(model, settings, tiled.decode) + convolutions + kept;
  if (!model.transformer) return need;
  need.blocks = transformer_bytes(model, settings) + products;
  need.keys = keys_bytes(model, settings);
  need.latents = latents_bytes(model, settings);
  return need;
}

}  // namespace nightreel::memory
