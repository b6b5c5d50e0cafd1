#include "comm/checks.h"

#include <ATen/ATen.h>

#include <sstream>

namespace nightreel::comm {
namespace {

std::string shape_text(const at::Tensor& tensor) {
  std::ostringstream out;
  out << tensor.sizes();
  return out.str();
}

bool reducible(at::ScalarType type) {
  switch (type) {
    case at::kFloat:
    case at::kDouble:
    case at::kHalf:
    case at::kBFloat16:
    case at::kInt:
    case at::kLong:
    case at::kByte:
    case at::kChar:
      return true;
    default:
      return false;
  }
}

bool in_place(Verb verb) {
  return verb == Verb::broadcast || verb == Verb::all_reduce;
}

}  // namespace

const char* name(Verb verb) {
  switch (verb) {
    case Verb::broadcast:
      return "broadcast";
    case Verb::all_gather:
      return "all_gather";
    case Verb::all_to_all:
      return "all_to_all";
    case Verb::shift:
      return "shift";
    case Verb::all_reduce:
      return "all_reduce";
  }
  return "";
}

std::string describe(Verb verb, const at::Tensor& tensor, int whither) {
  std::string text = name(verb);
  if (verb == Verb::broadcast) text += " from rank " + std::to_string(whither);
  if (verb == Verb::shift) text += " by " + std::to_string(whither);
  return text + " " + c10::toString(tensor.scalar_type()) + " " + shape_text(tensor);
}

std::string misfit(Verb verb, const at::Tensor& tensor, int whither, int size, at::DeviceType device) {
  const std::string what = std::string("cannot ") + name(verb) + " ";
  if (!tensor.defined()) return what + "an undefined tensor";
  const std::string which = what + c10::toString(tensor.scalar_type()) + " " + shape_text(tensor) + ": ";
  if (tensor.device().type() != device) return which + "the tensor is on " + tensor.device().str();
  if (tensor.layout() != at::kStrided) return which + "the tensor is not dense";
  if (in_place(verb) && !tensor.is_contiguous()) return which + "the tensor is not contiguous";
  if (verb == Verb::broadcast && (whither < 0 || whither >= size)) {
    return which + "root " + std::to_string(whither) + " is not one of " + std::to_string(size) + " ranks";
  }
  if (verb == Verb::all_reduce && !reducible(tensor.scalar_type())) return which + "no sum of this type";
  if (!in_place(verb) && tensor.dim() == 0) return which + "the tensor has no dimension 0";
  if (verb == Verb::all_to_all && tensor.size(0) % size != 0) {
    return which + "dimension 0 is not a multiple of " + std::to_string(size) + " ranks";
  }
  return "";
}

std::vector<std::int64_t> gathered_shape(const at::Tensor& tensor, int size) {
  std::vector<std::int64_t> shape = tensor.sizes().vec();
  shape[0] *= size;
  return shape;
}

std::string gather_misfit(const at::Tensor& out, const at::Tensor& tensor, int size) {
  const bool fits = out.defined() && out.is_contiguous() && out.device() == tensor.device() &&
                    out.scalar_type() == tensor.scalar_type() && out.sizes() == gathered_shape(tensor, size);
  if (fits) return "";
  const std::string given = out.defined() ? c10::toString(out.scalar_type()) + (" " + shape_text(out)) : "nothing";
  return "cannot all_gather " + shape_text(tensor) + " of " + std::to_string(size) + " ranks into " + given +
         ": not the answer's shape, type and device, or not contiguous";
}

std::string part_misfit(int part) {
  return part < 0 ? "cannot split: part " + std::to_string(part) + " is below 0" : "";
}

int around(int rank, int by, int size) {
  return ((rank + by) % size + size) % size;
}

}  // namespace nightreel::comm
