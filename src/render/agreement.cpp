// R ranks.
#include "render/agreement.h"

#include <ATen/ATen.h>

#include <limits>
#include <nlohmann/json.hpp>

#include "nightreel/comm/texts.h"
#include "render/events.h"

namespace nightreel::render {
namespace {

using base::Error;
using base::ErrorKind;
using nlohmann::json;

constexpr std::size_t kLongestReason = 2000;  // bytes

// What together() throws, on every member at once.
class Agreed : public Error {
 public:
  using Error::Error;
};

// What went wrong, as text; empty: nothing did.
std::string trouble_of(const std::function<void()>& work) {
  try {
    work();
    return "";
  } catch (const std::exception& e) {
    const auto [kind, why] = explain(e);
    return json{{"kind", base::traits(kind).name}, {"why", base::printable(why, kLongestReason)}}.dump();
  }
}

}  // namespace

Agreement::Agreement(comm::Communicator& group, at::Device device, std::chrono::milliseconds deadline)
    : group_(group), device_(device), deadline_(deadline) {}

void Agreement::tell(const Order& order) {
  comm::broadcast_text(group_, device_, json{static_cast<int>(order.verb), order.job, order.token}.dump());
}

Order Agreement::hear() {
  const json said = json::parse(comm::broadcast_text(group_, device_, ""));
  return {static_cast<Order::Verb>(said.at(0).get<int>()), said.at(1), said.at(2)};
}

void Agreement::together(const std::function<void()>& work) {
  const auto troubles = comm::all_gather_texts(group_, device_, trouble_of(work));
  for (std::size_t rank = 0; rank < troubles.size(); ++rank) {
    if (troubles[rank].empty()) continue;
    const json trouble = json::parse(troubles[rank]);
    const std::string whose = rank == 0 ? "" : "rank " + std::to_string(rank) + " of the group: ";
    throw Agreed(base::error_kind(trouble.at("kind").get<std::string>()), whose + trouble.at("why").get<std::string>());
  }
}

std::optional<pipeline::DenoiseState> Agreement::same_state(const std::optional<pipeline::DenoiseState>& state) {
  json outline;
  if (state) {
    outline = {{"next_step", state->sampler.next_step}, {"latents", state->latents_CFYX.sizes().vec()}};
    outline["tensors"] = json::object();
    for (const auto& [name, tensor] : state->sampler.tensors) outline["tensors"][name] = tensor.sizes().vec();
  }
  outline = json::parse(comm::broadcast_text(group_, device_, outline.dump()));
  if (outline.is_null()) return std::nullopt;
  const auto same = [&](const json& shape, const at::Tensor* mine) {
    at::Tensor tensor = mine != nullptr ? mine->to(device_, at::kFloat).contiguous()
                                        : at::empty(shape.get<std::vector<std::int64_t>>(),
                                                    at::TensorOptions(at::kFloat).device(device_));
    group_.broadcast(tensor, 0);
    return tensor.cpu();
  };
  pipeline::DenoiseState shared;
  shared.sampler.next_step = outline.at("next_step");
  shared.latents_CFYX = same(outline.at("latents"), state ? &state->latents_CFYX : nullptr);
  for (const auto& [name, shape] : outline.at("tensors").items()) {
    shared.sampler.tensors[name] = same(shape, state ? &state->sampler.tensors.at(name) : nullptr);
  }
  return shared;
}

std::uint64_t Agreement::least_memory(std::uint64_t bytes) {
  constexpr std::int64_t kNoLimit = std::numeric_limits<std::int64_t>::max();
  const std::int64_t mine = bytes == 0 ? kNoLimit : static_cast<std::int64_t>(bytes);
  const at::Tensor all_R = group_.all_gather(at::full({1}, mine, at::kLong).to(device_));
  const auto least = all_R.min().item<std::int64_t>();
  return least == kNoLimit ? 0 : static_cast<std::uint64_t>(least);
}

// Whether a job is stopped or cancelled is agreed on after every step; all have the same latents, and so find the same
// fault in them; settings and states, which all have alike, are looked at before the first collective.
bool Agreement::in_step(const std::exception& thrown) {
  if (dynamic_cast<const Agreed*>(&thrown) != nullptr) return true;
  const ErrorKind kind = explain(thrown).first;
  return kind == ErrorKind::interrupted || kind == ErrorKind::job || kind == ErrorKind::numeric ||
         kind == ErrorKind::storage;
}

}  // namespace nightreel::render
