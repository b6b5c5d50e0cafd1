// Which tensors of a checkpoint each tensor of a module is made of, by their Diffusers names: the one list by which
// weights are loaded, exchanged between jobs (lora.h), moved and sharded. listed() is what of it concerns files alone.
//
// Plain values that point into the module: they hold while it stays where it is. A tensor is exchanged by assignment,
// never written to: it may alias a checkpoint's read-only mapping (safetensors.h).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "nightreel/model/linear.h"
#include "nightreel/weights/tensor_list.h"

namespace nightreel::weights {
class WeightMap;
}

namespace nightreel::model {

class FlatParameter;

/// Is shown a module's weights, to move them between a device and the host: it may put another tensor of the same
/// shape, dtype and values in a weight's place. While one is not on the module's own device, the module must not
/// compute.
using WeightVisitor = std::function<void(at::Tensor& weight)>;

/// From a tensor in the module's type, on its device and shaped as stored, to what the module has.
using Form = at::Tensor (*)(const at::Tensor& taken);

struct Parameter {
  std::vector<weights::ListedTensor> parts;  // one below the other along the first dimension: to_q, to_k, to_v
  at::Tensor* tensor = nullptr;              // in the module; null: it has none of this (Use)
  Linear* linear = nullptr;  // whose weight it is: each part as a matrix then, its first dimension by all others
  at::ScalarType dtype = at::kFloat;  // in which the module computes with it
  bool fp8 = false;                   // the module holds it in fp8, with `linear`'s scale
  FlatParameter* flat = nullptr;      // sharded: has this rank's share of its bytes, and the module mostly nothing
  Form form = nullptr;                // null: as it is
};

/// Numbers as a module holds them.
struct Held {
  at::Tensor values;  // in the parameter's dtype, or fp8
  at::Tensor scale;   // of fp8
};

/// `part` as the checkpoint has it, in its dtype, shaped as in the module. It may alias the mapped file.
at::Tensor stored_part(const Parameter& parameter, std::size_t part, weights::WeightMap& weights);

/// The same as the module holds it, on `device`: what is stored in fp8 and held in it keeps its bits.
Held held_part(const Parameter& parameter, std::size_t part, weights::WeightMap& weights, at::Device device);

/// `numbers` of one of its parts, in any dtype, as the module holds them.
Held held(const Parameter& parameter, const at::Tensor& numbers);

/// Puts the checkpoint's numbers in the parameter's place, on `device`; one that stays on the host is put there. Of
/// what the module does not have, `weights` learns that it belongs to the model.
void load_parameter(const Parameter& parameter, weights::WeightMap& weights, at::Device device);
void load_parameters(const std::vector<Parameter>& parameters, weights::WeightMap& weights, at::Device device);
/// The same, where these are all that `weights` may have: throws Error{model} that names the others, and what is
/// missing.
void load_all(const std::vector<Parameter>& parameters, weights::WeightMap& weights, at::Device device);

/// Reserves the parameter's bytes in its FlatParameter.
void lay_out(const Parameter& parameter);

/// Puts other numbers in the parameter's place, wherever it is now.
void assign(const Parameter& parameter, const std::vector<Held>& parts);

/// Calls `visit` with each tensor of the module that holds it; with none where it is sharded, or stays on the host.
void each_tensor(const Parameter& parameter, const WeightVisitor& visit);

/// What files hold of all these, and nobody needs weights to know.
weights::TensorList listed(const std::vector<Parameter>& parameters);

/// Puts such a list together.
class ParameterList {
 public:
  explicit ParameterList(at::ScalarType dtype) : dtype_(dtype) {}

  void tensor(at::Tensor& tensor, const std::string& name, std::vector<std::int64_t> shape, Form form = nullptr);
  /// One that stays in float32, whatever the module's dtype.
  void tensor_f32(at::Tensor& tensor, const std::string& name, std::vector<std::int64_t> shape, Form form = nullptr);
  /// A block's matrix without a bias: files may have it in fp8.
  void matrix(at::Tensor& tensor, const std::string& name, std::int64_t in, std::int64_t out);
  /// One that stays on the host as stored, and may have two names that are tied.
  void on_host(at::Tensor& tensor, const std::string& name, const std::string& tied, std::vector<std::int64_t> shape);
  /// What some files hold, and no module uses.
  void stray(const std::string& name);
  void linear(Linear& linear, const std::string& name, std::int64_t in, std::int64_t out);
  void linear_f32(Linear& linear, const std::string& name, std::int64_t in, std::int64_t out);
  /// Projections `prefix` + name of the same input as one layer: fewer, larger matrix products.
  void fused(Linear& linear, const std::string& prefix, const std::vector<std::string>& names, std::int64_t in,
             std::int64_t out);
  /// A convolution whose kernels do not overlap: a matrix product over flattened patches. `shape` of its weight.
  void convolution(Linear& linear, const std::string& name, const std::vector<std::int64_t>& shape);
  /// Whether the tensors that follow are the blocks': files may have the weights of their linear layers in fp8.
  void in_blocks(bool blocks) { blocks_ = blocks; }
  /// Whether the module holds the weights of the linear layers that follow in fp8.
  void in_fp8(bool held) { fp8_ = held; }
  /// Whether the tensors that follow are sharded, and where; null: they are whole.
  void in_flat(FlatParameter* flat) { flat_ = flat; }
  /// Whether the module has what follows, or every file holds it for nobody: the tensors named are not kept then.
  void kept(bool has) { kept_ = has; }
  /// What some files put before the names that follow.
  void or_under(const std::string& prefix) { prefix_ = prefix; }
  /// Whether conversion leaves the types of what follows as they are.
  void as_stored(bool stays) { as_stored_ = stays; }

  std::vector<Parameter> take() { return std::move(parameters_); }

 private:
  weights::ListedTensor listed(const std::string& name, std::vector<std::int64_t> shape, bool float32 = false) const;
  void add(Parameter parameter);
  void add_linear(Linear& linear, const std::vector<std::string>& names, const std::vector<std::int64_t>& shape,
                  bool float32 = false);

  at::ScalarType dtype_;
  bool blocks_ = false;
  bool fp8_ = false;
  FlatParameter* flat_ = nullptr;
  bool kept_ = true;
  bool as_stored_ = false;
  std::string prefix_;
  std::vector<Parameter> parameters_;
};

}  // namespace nightreel::model
