// L bytes of the longest text, R ranks.
#include "nightreel/comm/texts.h"

#include <ATen/ATen.h>

#include <cstring>

namespace nightreel::comm {
namespace {

at::Tensor bytes_of(const std::string& text, std::int64_t size, at::Device device) {
  const at::Tensor bytes_L = at::zeros({size}, at::kByte);
  std::memcpy(bytes_L.mutable_data_ptr(), text.data(), text.size());
  return bytes_L.to(device);
}

std::string text_of(const at::Tensor& bytes_L, std::int64_t size) {
  const at::Tensor here_L = bytes_L.cpu().contiguous();
  return {static_cast<const char*>(here_L.const_data_ptr()), static_cast<std::size_t>(size)};
}

at::Tensor length_of(const std::string& text, at::Device device) {
  return at::full({1}, static_cast<std::int64_t>(text.size()), at::kLong).to(device);
}

}  // namespace

std::string broadcast_text(Communicator& group, at::Device device, const std::string& text) {
  at::Tensor length = length_of(text, device);
  group.broadcast(length, 0);
  const auto size = length.item<std::int64_t>();
  at::Tensor bytes_L =
      group.rank() == 0 ? bytes_of(text, size, device) : at::empty({size}, at::TensorOptions(at::kByte).device(device));
  if (size > 0) group.broadcast(bytes_L, 0);
  return text_of(bytes_L, size);
}

std::vector<std::string> all_gather_texts(Communicator& group, at::Device device, const std::string& text) {
  const at::Tensor lengths_R = group.all_gather(length_of(text, device)).cpu();
  const auto longest = lengths_R.max().item<std::int64_t>();
  std::vector<std::string> texts(static_cast<std::size_t>(group.size()));
  if (longest == 0) return texts;
  const at::Tensor all = group.all_gather(bytes_of(text, longest, device)).cpu();
  for (int r = 0; r < group.size(); ++r) {
    texts[static_cast<std::size_t>(r)] =
        text_of(all.narrow(0, r * longest, longest), lengths_R[r].item<std::int64_t>());
  }
  return texts;
}

}  // namespace nightreel::comm
