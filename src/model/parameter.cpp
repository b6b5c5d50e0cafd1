#include "nightreel/model/parameter.h"

#include <ATen/ATen.h>

#include "nightreel/model/fully_sharded.h"
#include "nightreel/ops/quantised.h"
#include "nightreel/weights/weights.h"

namespace nightreel::model {

namespace {

/// One below the other. fp8 as bytes, which every operation takes.
at::Tensor joined(const std::vector<at::Tensor>& parts) {
  if (parts.size() == 1) return parts[0];
  if (parts[0].scalar_type() != at::kFloat8_e4m3fn) return at::cat(parts);
  std::vector<at::Tensor> bytes;
  for (const at::Tensor& part : parts) bytes.push_back(part.view(at::kByte));
  return at::cat(bytes).view(at::kFloat8_e4m3fn);
}

void put(const Parameter& parameter, const std::vector<Held>& parts, at::Device device) {
  std::vector<at::Tensor> values;
  std::vector<at::Tensor> scales;
  for (const Held& part : parts) {
    values.push_back(part.values);
    scales.push_back(part.scale);
  }
  if (parameter.flat != nullptr) {
    parameter.flat->store(*parameter.tensor, joined(values));
    if (parameter.fp8) parameter.flat->store(parameter.linear->scale, joined(scales));
    return;
  }
  const at::Tensor taken = joined(values).to(device);
  *parameter.tensor = parameter.form != nullptr ? parameter.form(taken) : taken;
  if (parameter.fp8) parameter.linear->scale = joined(scales).to(device);
}

/// As the module has it.
std::vector<std::int64_t> shape_of(const Parameter& parameter) {
  std::vector<std::int64_t> shape = parameter.parts[0].shape;
  for (std::size_t i = 1; i < parameter.parts.size(); ++i) shape[0] += parameter.parts[i].shape[0];
  if (parameter.linear == nullptr) return shape;
  std::int64_t columns = 1;
  for (std::size_t i = 1; i < shape.size(); ++i) columns *= shape[i];
  return {shape[0], columns};
}

/// On the host, where its rows are looked up. What a group has read together came to the device; the file, which is
/// mapped, has the same numbers and costs no memory.
at::Tensor take_on_host(const weights::ListedTensor& wanted, weights::WeightMap& weights) {
  const at::Tensor taken = weights.take(wanted);
  if (taken.is_cpu()) return taken;
  const at::Tensor stored = weights.tensor(weights.name_of(wanted));
  return stored.scalar_type() == taken.scalar_type() ? stored : taken.to(at::kCPU);
}

/// What nobody holds: shapes are compared where every file has it.
void pass_over(const weights::ListedTensor& listed, weights::WeightMap& weights) {
  if (listed.use == weights::Use::unused) {
    weights.take(listed);
    return;
  }
  weights.skip(listed.name);
  if (!listed.also.empty()) weights.skip(listed.also);
}

}  // namespace

at::Tensor stored_part(const Parameter& parameter, std::size_t part, weights::WeightMap& weights) {
  const at::Tensor tensor = weights.take(parameter.parts.at(part));
  return parameter.linear != nullptr ? tensor.flatten(1) : tensor;
}

Held held_part(const Parameter& parameter, std::size_t part, weights::WeightMap& weights, at::Device device) {
  if (!parameter.fp8) return {stored_part(parameter, part, weights).to(device, parameter.dtype), {}};
  const weights::ListedTensor& wanted = parameter.parts.at(part);
  const ops::Quantised taken = weights.take_fp8(wanted.name, wanted.shape, device);
  return {taken.values_OI, taken.scale_O1};
}

Held held(const Parameter& parameter, const at::Tensor& numbers) {
  if (!parameter.fp8) return {numbers.to(parameter.dtype), {}};
  const ops::Quantised quantised = ops::quantise(numbers);
  return {quantised.values_OI, quantised.scale_O1};
}

void load_parameter(const Parameter& parameter, weights::WeightMap& weights, at::Device device) {
  const weights::ListedTensor& first = parameter.parts[0];
  if (parameter.tensor == nullptr) {
    for (const weights::ListedTensor& part : parameter.parts) pass_over(part, weights);
    return;
  }
  if (first.on_host) {
    *parameter.tensor = take_on_host(first, weights);
    return;
  }
  std::vector<Held> parts;
  for (std::size_t i = 0; i < parameter.parts.size(); ++i) parts.push_back(held_part(parameter, i, weights, device));
  put(parameter, parts, device);
}

void load_parameters(const std::vector<Parameter>& parameters, weights::WeightMap& weights, at::Device device) {
  for (const Parameter& parameter : parameters) load_parameter(parameter, weights, device);
}

void load_all(const std::vector<Parameter>& parameters, weights::WeightMap& weights, at::Device device) {
  load_parameters(parameters, weights, device);
  weights.expect_all_taken();
}

void lay_out(const Parameter& parameter) {
  const std::vector<std::int64_t> shape = shape_of(parameter);
  parameter.flat->add(*parameter.tensor, shape, parameter.fp8 ? at::kFloat8_e4m3fn : parameter.dtype);
  if (parameter.fp8) parameter.flat->add(parameter.linear->scale, {shape[0], 1}, at::kFloat);
}

void assign(const Parameter& parameter, const std::vector<Held>& parts) {
  const at::Tensor& there = parameter.flat != nullptr ? parameter.flat->shard() : *parameter.tensor;
  put(parameter, parts, there.device());
}

void each_tensor(const Parameter& parameter, const WeightVisitor& visit) {
  if (parameter.tensor == nullptr || parameter.flat != nullptr || parameter.parts[0].on_host) return;
  visit(*parameter.tensor);
  if (parameter.fp8) visit(parameter.linear->scale);
}

weights::TensorList listed(const std::vector<Parameter>& parameters) {
  std::vector<weights::ListedTensor> tensors;
  for (const Parameter& parameter : parameters) {
    tensors.insert(tensors.end(), parameter.parts.begin(), parameter.parts.end());
  }
  return weights::TensorList(std::move(tensors));
}

weights::ListedTensor ParameterList::listed(const std::string& name, std::vector<std::int64_t> shape,
                                            bool float32) const {
  weights::ListedTensor tensor{name, std::move(shape)};
  if (!prefix_.empty()) tensor.also = prefix_ + name;
  if (!kept_) tensor.use = weights::Use::unused;
  tensor.float32 = float32;
  tensor.block = blocks_;
  tensor.as_stored = as_stored_;
  return tensor;
}

void ParameterList::add(Parameter parameter) {
  if (!kept_) {
    parameter.tensor = nullptr;
    parameter.linear = nullptr;
  }
  if (parameter.tensor != nullptr) parameter.flat = flat_;
  parameters_.push_back(std::move(parameter));
}

void ParameterList::tensor(at::Tensor& tensor, const std::string& name, std::vector<std::int64_t> shape, Form form) {
  Parameter made{{listed(name, std::move(shape))}, &tensor};
  made.dtype = dtype_;
  made.form = form;
  add(std::move(made));
}

void ParameterList::tensor_f32(at::Tensor& tensor, const std::string& name, std::vector<std::int64_t> shape,
                               Form form) {
  Parameter made{{listed(name, std::move(shape), /*float32=*/true)}, &tensor};
  made.form = form;
  add(std::move(made));
}

void ParameterList::matrix(at::Tensor& tensor, const std::string& name, std::int64_t in, std::int64_t out) {
  Parameter made{{listed(name, {out, in})}, &tensor};
  made.parts[0].fp8 = true;
  made.dtype = dtype_;
  add(std::move(made));
}

void ParameterList::on_host(at::Tensor& tensor, const std::string& name, const std::string& tied,
                            std::vector<std::int64_t> shape) {
  Parameter made{{listed(name, std::move(shape))}, &tensor};
  made.parts[0].also = tied;
  made.parts[0].on_host = true;
  add(std::move(made));
}

void ParameterList::stray(const std::string& name) {
  Parameter made{{listed(name, {})}};
  made.parts[0].use = weights::Use::stray;
  add(std::move(made));
}

void ParameterList::linear(Linear& linear, const std::string& name, std::int64_t in, std::int64_t out) {
  add_linear(linear, {name}, {out, in});
}

void ParameterList::linear_f32(Linear& linear, const std::string& name, std::int64_t in, std::int64_t out) {
  add_linear(linear, {name}, {out, in}, /*float32=*/true);
}

void ParameterList::fused(Linear& linear, const std::string& prefix, const std::vector<std::string>& names,
                          std::int64_t in, std::int64_t out) {
  std::vector<std::string> whole;
  for (const std::string& name : names) whole.push_back(prefix + name);
  add_linear(linear, whole, {out, in});
}

void ParameterList::convolution(Linear& linear, const std::string& name, const std::vector<std::int64_t>& shape) {
  add_linear(linear, {name}, shape);
}

void ParameterList::add_linear(Linear& linear, const std::vector<std::string>& names,
                               const std::vector<std::int64_t>& shape, bool float32) {
  const at::ScalarType dtype = float32 ? at::kFloat : dtype_;
  Parameter weight{{}, &linear.weight, &linear, dtype, fp8_};
  Parameter bias{{}, &linear.bias, nullptr, dtype};
  for (const std::string& name : names) {
    weight.parts.push_back(listed(name + ".weight", shape, float32));
    weight.parts.back().fp8 = blocks_;
    bias.parts.push_back(listed(name + ".bias", {shape[0]}, float32));
  }
  add(std::move(weight));
  add(std::move(bias));
}

}  // namespace nightreel::model
