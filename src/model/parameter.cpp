#include "nightreel/model/parameter.h"

#include <ATen/ATen.h>

#include "nightreel/model/weights.h"

namespace nightreel::model {

at::Tensor stored_part(const Parameter& parameter, std::size_t part, WeightMap& weights) {
  const Parameter::Part& wanted = parameter.parts.at(part);
  at::Tensor tensor = weights.take(wanted.name, wanted.shape);
  return parameter.linear != nullptr ? tensor.flatten(1) : tensor;
}

at::Tensor load_parameter(const Parameter& parameter, WeightMap& weights, at::Device device) {
  std::vector<at::Tensor> parts;
  for (std::size_t i = 0; i < parameter.parts.size(); ++i) {
    parts.push_back(stored_part(parameter, i, weights).to(device, parameter.dtype));
  }
  return joined(parts);
}

at::Tensor joined(const std::vector<at::Tensor>& parts) {
  return parts.size() == 1 ? parts[0] : at::cat(parts);
}

void assign(const Parameter& parameter, const std::vector<at::Tensor>& parts) {
  *parameter.tensor = joined(parts).to(parameter.tensor->device());
}

void ParameterList::tensor(at::Tensor& tensor, const std::string& name, std::vector<std::int64_t> shape) {
  parameters_.push_back({{{name, std::move(shape)}}, &tensor, nullptr, dtype_});
}

void ParameterList::tensor_f32(at::Tensor& tensor, const std::string& name, std::vector<std::int64_t> shape) {
  parameters_.push_back({{{name, std::move(shape)}}, &tensor, nullptr, at::kFloat});
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
  Parameter weight{{}, &linear.weight, &linear, dtype};
  Parameter bias{{}, &linear.bias, nullptr, dtype};
  for (const std::string& name : names) {
    weight.parts.push_back({name + ".weight", shape});
    bias.parts.push_back({name + ".bias", {shape[0]}});
  }
  parameters_.push_back(std::move(weight));
  parameters_.push_back(std::move(bias));
}

}  // namespace nightreel::model
