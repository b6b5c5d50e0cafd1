#include "nightreel/cluster/gpu_map.h"

#include <map>
#include <nlohmann/json.hpp>

#include "nightreel/base/error.h"
#include "nightreel/base/json.h"
#include "nightreel/cluster/rank_names.h"

namespace nightreel::cluster {
namespace {

using base::Json;
using Ranks = std::vector<const RankFacts*>;

const std::vector<std::pair<DeviceRequest, std::string>>& request_names() {
  static const std::vector<std::pair<DeviceRequest, std::string>> names{
      {DeviceRequest::automatic, "auto"}, {DeviceRequest::cpu, "cpu"}, {DeviceRequest::cuda, "cuda"}};
  return names;
}

std::string name_of(DeviceRequest request) {
  for (const auto& [value, name] : request_names()) {
    if (value == request) return name;
  }
  return "";
}

std::string list(const Ranks& ranks) {
  std::vector<RankName> names;
  for (const RankFacts* one : ranks) names.push_back({one->rank, one->host_index, one->host});
  return rank_names(names);
}

std::map<int, Ranks> by_host(const std::vector<RankFacts>& ranks) {
  std::map<int, Ranks> hosts;
  for (const RankFacts& one : ranks) hosts[one.host_index].push_back(&one);
  return hosts;
}

std::string host_list(const std::map<int, Ranks>& hosts, bool with_gpus) {
  std::string text;
  for (const auto& [index, members] : hosts) {
    bool any = false;
    for (const RankFacts* one : members) any = any || !one->gpus.empty();
    if (any == with_gpus) text += (text.empty() ? "" : ", ") + members[0]->host;
  }
  return text;
}

std::string differing_requests(const std::vector<RankFacts>& ranks) {
  for (const RankFacts& one : ranks) {
    if (one.request == ranks[0].request && one.share_gpu == ranks[0].share_gpu) continue;
    return list({&ranks[0]}) + " was started with --device " + name_of(ranks[0].request) +
           (ranks[0].share_gpu ? " --share-gpu" : "") + " and " + list({&one}) + " with --device " +
           name_of(one.request) + (one.share_gpu ? " --share-gpu" : "") + ": give all ranks the same";
  }
  return "";
}

std::string missing_gpus(const std::vector<RankFacts>& ranks) {
  Ranks without;
  for (const RankFacts& one : ranks) {
    if (one.gpus.empty()) without.push_back(&one);
  }
  if (without.empty()) return "";
  const std::string blind = list(without) + (without.size() == 1 ? " sees" : " see") + " no GPU";
  if (ranks[0].request == DeviceRequest::cuda) return blind + ", and --device cuda was asked for";
  const std::string bare_hosts = host_list(by_host(ranks), false);
  if (bare_hosts.empty())
    return blind + ", others on the same host do: see CUDA_VISIBLE_DEVICES and the launcher's GPU binding";
  return "there are GPUs on host " + host_list(by_host(ranks), true) + " but none on host " + bare_hosts + " (" +
         blind + "): start on hosts with GPUs alone, or pass --device cpu";
}

// Fills `devices` for the ranks of one host; the error otherwise.
std::string assign_host(const Ranks& members, std::vector<std::string>& devices) {
  std::map<std::vector<std::string>, Ranks> groups;
  for (const RankFacts* one : members) {
    std::vector<std::string> uuids;
    for (const GpuDevice& gpu : one->gpus) uuids.push_back(gpu.uuid);
    groups[uuids].push_back(one);
  }
  for (const auto& [uuids, group] : groups) {
    if (group.size() > uuids.size() && !group[0]->share_gpu) {
      return std::to_string(group.size()) + " ranks for " + std::to_string(uuids.size()) +
             (uuids.size() == 1 ? " GPU" : " GPUs") + " on host " + group[0]->host + " (" + list(group) +
             (uuids.size() == 1 ? " see " + uuids[0] + " alone" : "") + "): start one rank a GPU, or pass --share-gpu";
    }
    for (std::size_t i = 0; i < group.size(); ++i) {
      devices[static_cast<std::size_t>(group[i]->rank)] = uuids[i % uuids.size()];
    }
  }
  return "";
}

// Over all hosts: two containers of one machine are two hosts, their GPUs are the same.
std::string shared_gpus(const std::vector<RankFacts>& ranks, const std::vector<std::string>& devices) {
  std::map<std::string, Ranks> users;
  for (std::size_t r = 0; r < ranks.size(); ++r) users[devices[r]].push_back(&ranks[r]);
  for (const auto& [uuid, group] : users) {
    if (group.size() > 1)
      return list(group) + " have the same GPU " + uuid + ": start one rank a GPU, or pass --share-gpu";
  }
  return "";
}

// The GPU that a rank's device is, or is a slice of.
std::string board_of(const RankFacts& rank, const std::string& device) {
  for (const GpuDevice& gpu : rank.gpus) {
    if (gpu.uuid == device && !gpu.board.empty()) return gpu.board;
  }
  return device;
}

std::string sharing_ranks(const std::vector<RankFacts>& ranks, const std::vector<std::string>& devices) {
  std::map<std::string, Ranks> users;
  for (std::size_t r = 0; r < ranks.size(); ++r) users[board_of(ranks[r], devices[r])].push_back(&ranks[r]);
  for (const auto& [board, group] : users) {
    if (group.size() < 2) continue;
    const bool whole = devices[static_cast<std::size_t>(group[0]->rank)] == board;
    return list(group) + (whole ? " share the GPU " : " have slices of the GPU ") + board;
  }
  return "";
}

}  // namespace

DeviceRequest parse_device_request(const std::string& text) {
  for (const auto& [value, name] : request_names()) {
    if (name == text) return value;
  }
  throw base::Error(base::ErrorKind::usage, "--device: " + base::printable(text) + " is none of auto, cpu, cuda");
}

RankFacts own_facts(int rank, const Place& place, DeviceRequest request, bool share_gpu,
                    const Environment& environment) {
  RankFacts facts;
  facts.rank = rank;
  facts.host = place.host;
  facts.host_index = place.host_index;
  facts.local_rank = place.local_rank;
  facts.request = request;
  facts.share_gpu = share_gpu;
  if (request != DeviceRequest::cpu) {
    const Nvml nvml(environment);
    facts.gpus = visible_devices(nvml.gpus(), environment("CUDA_VISIBLE_DEVICES"));
  }
  return facts;
}

std::string to_json(const RankFacts& facts) {
  Json gpus = Json::array();
  for (const GpuDevice& gpu : facts.gpus) {
    gpus.push_back({{"uuid", gpu.uuid}, {"name", gpu.name}, {"memory_bytes", gpu.memory_bytes}, {"board", gpu.board}});
  }
  return Json{{"rank", facts.rank},
              {"host", facts.host},
              {"host_index", facts.host_index},
              {"local_rank", facts.local_rank},
              {"pid", facts.pid},
              {"device", name_of(facts.request)},
              {"share_gpu", facts.share_gpu},
              {"gpus", gpus}}
      .dump(-1, ' ', false, Json::error_handler_t::replace);
}

RankFacts rank_facts(const std::string& json) {
  try {
    const Json body = base::parse_json(json);
    RankFacts facts;
    facts.rank = body.at("rank").get<int>();
    facts.host = body.at("host").get<std::string>();
    facts.host_index = body.at("host_index").get<int>();
    facts.local_rank = body.at("local_rank").get<int>();
    facts.pid = body.at("pid").get<long>();
    facts.request = parse_device_request(body.at("device").get<std::string>());
    facts.share_gpu = body.at("share_gpu").get<bool>();
    for (const Json& gpu : body.at("gpus")) {
      facts.gpus.push_back({gpu.at("uuid").get<std::string>(), gpu.at("name").get<std::string>(),
                            gpu.at("memory_bytes").get<std::uint64_t>(), gpu.at("board").get<std::string>()});
    }
    return facts;
  } catch (const std::exception& e) {
    throw base::Error(
        base::ErrorKind::environment,
        std::string("a rank's facts cannot be read (is every rank the same program?): ") + base::printable(e.what()));
  }
}

GpuMap assign_gpus(const std::vector<RankFacts>& ranks) {
  GpuMap map;
  map.devices.assign(ranks.size(), "cpu");
  if (ranks.empty()) return map;
  map.error = differing_requests(ranks);
  if (!map.error.empty() || ranks[0].request == DeviceRequest::cpu) return map;
  const bool no_gpu_anywhere = host_list(by_host(ranks), true).empty();
  if (ranks[0].request == DeviceRequest::automatic && no_gpu_anywhere) return map;
  map.error = missing_gpus(ranks);
  for (const auto& [index, members] : by_host(ranks)) {
    if (map.error.empty()) map.error = assign_host(members, map.devices);
  }
  if (map.error.empty() && !ranks[0].share_gpu) map.error = shared_gpus(ranks, map.devices);
  if (map.error.empty()) map.sharing = sharing_ranks(ranks, map.devices);
  return map;
}

}  // namespace nightreel::cluster
