#include "nightreel/model/parameter.h"

#include <ATen/ATen.h>

#include "nightreel/model/fully_sharded.h"
#include "nightreel/model/weights.h"
#include "nightreel/ops/quantised.h"

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
  *parameter.tensor = joined(values).to(device);
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

}  // namespace

at::Tensor stored_part(const Parameter& parameter, std::size_t part, WeightMap& weights) {
  const Parameter::Part& wanted = parameter.parts.at(part);
  at::Tensor tensor = weights.take(wanted.name, wanted.shape);
  return parameter.linear != nullptr ? tensor.flatten(1) : tensor;
}

Held held_part(const Parameter& parameter, std::size_t part, WeightMap& weights, at::Device device) {
  if (!parameter.fp8) return {stored_part(parameter, part, weights).to(device, parameter.dtype), {}};
  const Parameter::Part& wanted = parameter.parts.at(part);
  const ops::Quantised taken = weights.take_fp8(wanted.name, wanted.shape, device);
  return {taken.values_OI, taken.scale_O1};
}

Held held(const Parameter& parameter, const at::Tensor& numbers) {
  if (!parameter.fp8) return {numbers.to(parameter.dtype), {}};
  const ops::Quantised quantised = ops::quantise(numbers);
  return {quantised.values_OI, quantised.scale_O1};
}

void load_parameter(const Parameter& parameter, WeightMap& weights, at::Device device) {
  std::vector<Held> parts;
  for (std::size_t i = 0; i < parameter.parts.size(); ++i) parts.push_back(held_part(parameter, i, weights, device));
  put(parameter, parts, device);
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
  if (parameter.flat != nullptr) return;
  visit(*parameter.tensor);
  if (parameter.fp8) visit(parameter.linear->scale);
}

void ParameterList::tensor(at::Tensor& tensor, const std::string& name, std::vector<std::int64_t> shape) {
  parameters_.push_back({{{name, std::move(shape)}}, &tensor, nullptr, dtype_, false, flat_});
}

void ParameterList::tensor_f32(at::Tensor& tensor, const std::string& name, std::vector<std::int64_t> shape) {
  parameters_.push_back({{{name, std::move(shape)}}, &tensor, nullptr, at::kFloat, false, flat_});
}

void ParameterList::linear(Linear& linear, const std::string& name, std::int64_t in, std::int64_t out) {
  add_linear(linear, {name}, {out, in}, dtype_);
}

void ParameterList::linear_f32(Linear& linear, const std::string& name, std::int64_t in, std::int64_t out) {
  add_linear(linear, {name}, {out, in}, at::kFloat);
}

void ParameterList::fused(Linear& linear, const std::string& prefix, const std::vector<std::string>& names,
                          std::int64_t in, std::int64_t out) {
  std::vector<std::string> whole;
  for (const std::string& name : names) whole.push_back(prefix + name);
  add_linear(linear, whole, {out, in}, dtype_);
}

void ParameterList::convolution(Linear& linear, const std::string& name, const std::vector<std::int64_t>& shape) {
  add_linear(linear, {name}, shape, dtype_);
}

void ParameterList::add_linear(Linear& linear, const std::vector<std::string>& names,
                               const std::vector<std::int64_t>& shape, at::ScalarType dtype) {
  Parameter weight{{}, &linear.weight, &linear, dtype, fp8_, flat_};
  Parameter bias{{}, &linear.bias, nullptr, dtype, false, flat_};
  for (const std::string& name : names) {
    weight.parts.push_back({name + ".weight", shape});
    bias.parts.push_back({name + ".bias", {shape[0]}});
  }
  parameters_.push_back(std::move(weight));
  parameters_.push_back(std::move(bias));
}

}  // namespace nightreel::model
