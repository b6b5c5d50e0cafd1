// What each module needs of a device's memory beside its weights while it computes, in bytes: from the order in which
// it makes and drops its tensors.
//
// Plain functions; any thread. Settings are a job's, resolved and checked by the card. On the CPU held against measured
// peaks (tests/pipeline/memory_test.cpp), on a GPU against LibTorch's allocator on a stand-in
// (tests/stand_in/matrix_test.py); what cuDNN and attention take of a real one has not been measured.
#pragma once

#include <cstdint>

#include "nightreel/memory/model.h"
#include "nightreel/settings/settings.h"

namespace nightreel::memory {

/// Of one layer of UMT5; 0 without a text encoder, as image_encoder_bytes() without its own.
std::uint64_t text_encoder_bytes(const MemoryModel& model);
std::uint64_t image_encoder_bytes(const MemoryModel& model);

/// Of a pass through the transformer, but for what follows. Needs a transformer, as all of these.
std::uint64_t transformer_bytes(const MemoryModel& model, const settings::Settings& settings);
/// Of the keys and values of all blocks, where they are kept.
std::uint64_t keys_bytes(const MemoryModel& model, const settings::Settings& settings);
/// Of what a sampler has of the latents.
std::uint64_t latents_bytes(const MemoryModel& model, const settings::Settings& settings);
/// Of what stays on the device from stage to stage: encoded prompts, latents with their picture condition, and the
/// experts' tables of rotations.
std::uint64_t kept_bytes(const MemoryModel& model, const settings::Settings& settings);

/// Of the pictures on their way to latents, in tiles or whole; 0 without a picture.
std::uint64_t vae_encoder_bytes(const MemoryModel& model, const settings::Settings& settings, bool tiled);
/// Of one piece of frames on its way from latents.
std::uint64_t vae_decoder_bytes(const MemoryModel& model, const settings::Settings& settings, bool tiled);

/// What a GPU's libraries take of LibTorch's allocator for themselves: for products, and for convolutions besides.
std::uint64_t product_workspace(const MemoryModel& model);
std::uint64_t convolution_workspace(const MemoryModel& model);

}  // namespace nightreel::memory
