// The pieces of work that `nightreel bench` times: one object a piece, loaded and ready to be repeated.
//
// A Piece owns its part of the model; one thread. Inputs come from a reference file, in which another program (bench/
// peer.py: diffusers) left what it was given and what it made of it, or else from a fixed seed. Errors are those of the
// layers below; a reference that does not hold what a piece needs throws base::Error{usage} naming the tensor. The
// number of CPU threads belongs to the calling thread: use_threads().
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "nightreel/bench/device_use.h"
#include "nightreel/memory/plan.h"
#include "nightreel/settings/settings.h"

namespace nightreel::bench {

/// What the pieces work on.
struct Workload {
  std::string model;  // Diffusers folder
  at::Device device = at::kCPU;
  at::ScalarType dtype = at::kFloat;
  settings::Settings settings;  // sizes, steps, guidance, seed
  std::int64_t tokens = 64;     // of a prompt; a reference brings its own
  bool random = false;          // weights are made (random_weights.h), and `model` has their headers
  memory::MemoryPlan plan;      // for the settings, of pieces whose kind is planned
};

/// The plan by which a renderer makes such a video on the workload's device, of which `gpu_memory` bytes are to be used
/// (0: all that is free). Reads the headers of the weights alone. Throws Error{job} "memory: …" where none fits.
memory::MemoryPlan plan_of(const Workload& workload, std::uint64_t gpu_memory);

/// What is known of a piece before it has run.
struct PieceFacts {
  bool in_this_process = true;              // whose allocator then has its memory
  std::optional<memory::MemoryPlan> plan;   // none: it has a module of its own
  std::optional<AttentionShape> attention;  // of the module to itself
  std::optional<double> operations;         // of a unit (src/bench/arithmetic.h)
};

class Piece {
 public:
  virtual ~Piece() = default;
  /// Does the work once, its result on the CPU included. Returns the seconds that a unit of it took.
  virtual double run() = 0;
  /// What the last run computed, float32 on the CPU. Not timed.
  virtual at::Tensor result() = 0;
  virtual PieceFacts facts() const { return {}; }
};

/// What there is to know about a piece before it is made.
struct PieceKind {
  std::string name;
  std::string unit;    // of which the seconds are told
  std::string result;  // the tensor NAME.RESULT of a reference is what it should compute
  double limit_f32;    // of the deviation from the reference; those of the parity tests
  double limit_bf16;
  bool planned = false;  // it runs by Workload::plan
};

/// Sets LibTorch's CPU threads for the calling thread and those that it starts.
void use_threads(int threads);

/// Pictures [frames, height, width, 3] of bytes as float32 in 0..1.
at::Tensor pictures(const std::array<std::int64_t, 4>& shape, std::span<const std::uint8_t> rgb);

/// text, pass, step, vae-decode, load.
const std::vector<PieceKind>& piece_kinds();

/// One safetensors file of float32 tensors PIECE.NAME. Tensors alias the mapped file.
class Reference {
 public:
  explicit Reference(const std::string& path);
  ~Reference();
  /// Throws Error{usage} where the file has no such tensor.
  at::Tensor tensor(const std::string& name) const;

 private:
  struct File;
  std::unique_ptr<const File> file_;
};

/// `name` is one of piece_kinds(). The reference may be null, and need not outlive the call.
std::unique_ptr<Piece> make_piece(const std::string& name, const Workload& workload, const Reference* reference);

}  // namespace nightreel::bench
