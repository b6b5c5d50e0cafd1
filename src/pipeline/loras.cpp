#include "nightreel/pipeline/loras.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>

#include "nightreel/base/error.h"
#include "nightreel/base/hash.h"
#include "nightreel/base/json.h"
#include "nightreel/job/lora_set.h"

namespace nightreel::pipeline {

namespace {

constexpr std::size_t kMostOpen = 16;

std::string stamp_of_file(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return {};
  std::string stamp;
  for (const std::int64_t part :
       {static_cast<std::int64_t>(status.st_dev), static_cast<std::int64_t>(status.st_ino),
        static_cast<std::int64_t>(status.st_size), status.st_mtim.tv_sec, status.st_mtim.tv_nsec}) {
    stamp += std::to_string(part) + " ";
  }
  return stamp;
}

/// Another one: the file was changed, or another one was put in its place; or peft's configuration beside it was.
/// Empty: it cannot be told.
std::string stamp_of(const std::string& path) {
  const std::string stamp = stamp_of_file(path);
  if (stamp.empty()) return {};
  return stamp + stamp_of_file((std::filesystem::path(path).parent_path() / "adapter_config.json").string());
}

/// A file that names two experts may have nothing for the one that it is to be used for.
void check_expert(const settings::Lora& lora, const model::LoraFile& file, bool two_experts) {
  const auto refuse = [&](const char* why) {
    throw base::Error(base::ErrorKind::job, "loras: " + file.path() + ": " + why);
  };
  const bool high = file.speaks_of(model::Expert::high);
  if (lora.expert == "high" && !high) refuse("holds the low-noise expert's part alone, but expert is high");
  if (lora.expert == "low" && !file.speaks_of(model::Expert::low)) {
    refuse("holds the high-noise expert's part alone, but expert is low");
  }
  if (!two_experts && !high) refuse("is for a low-noise expert, and this model has one expert");
}

}  // namespace

std::shared_ptr<const model::LoraFile> LoraFiles::open(const std::string& path) {
  const std::string stamp = stamp_of(path);  // before it is read: a change meanwhile is seen the next time
  const std::lock_guard lock(mutex_);
  const auto known = std::find_if(known_.begin(), known_.end(), [&](const Known& one) { return one.path == path; });
  if (known != known_.end() && known->stamp == stamp) {
    known_.splice(known_.begin(), known_, known);
    return known->file;
  }
  if (known != known_.end()) known_.erase(known);
  known_.push_front({path, stamp, model::LoraFile::open(path, model::LoraFile::Links::refused)});
  if (known_.size() > kMostOpen) known_.pop_back();
  return known_.front().file;
}

OpenLoras open_loras(const std::vector<settings::Lora>& loras, LoraFiles& files) {
  OpenLoras open;
  for (settings::Lora& lora : job::in_merge_order(loras)) {
    auto file = files.open(lora.path);  // one may serve both experts, scaled apart
    open.push_back({std::move(lora), std::move(file)});
  }
  return open;
}

std::map<std::string, std::string> digests(const OpenLoras& loras) {
  std::map<std::string, std::string> all;
  for (const auto& [lora, file] : loras) all[lora.path] = file->digest();
  return all;
}

std::string digest_of(const OpenLoras& loras) {
  if (loras.empty()) return {};
  base::Json list = base::Json::array();
  for (const auto& [lora, file] : loras) list.push_back({file->digest(), lora.scale, lora.expert});
  return base::xxh128_hex(list.dump());
}

ExpertLoras::ExpertLoras(std::unique_ptr<model::LoraMerger> high, std::unique_ptr<model::LoraMerger> low)
    : experts_{{{std::move(high), {}}, {std::move(low), {}}}} {}

std::vector<std::string> ExpertLoras::use(const OpenLoras& loras) {
  std::vector<settings::Lora> names;
  std::array<std::vector<model::LoraUse>, 2> uses;
  for (const auto& [lora, file] : loras) {
    names.push_back(lora);
    if (lora.expert != "low") uses[0].push_back({file, lora.scale, model::Expert::high});
    if (lora.expert != "high") uses[1].push_back({file, lora.scale, model::Expert::low});
    check_expert(lora, *file, experts_[1].merger != nullptr);
    if (lora.expert != "low" || experts_[1].merger) continue;
    throw base::Error(base::ErrorKind::job, "loras: expert: low: this model has one expert");
  }
  std::vector<std::string> ignored;
  for (const auto& [lora, file] : loras) {
    if (!experts_[1].merger && file->names_experts()) ignored.push_back(file->path() + ": the low-noise expert's part");
  }
  for (std::size_t i = 0; i < experts_.size(); ++i) {
    if (!experts_[i].merger) continue;
    for (std::string& keys : experts_[i].merger->check(uses[i])) ignored.push_back(std::move(keys));
    experts_[i].uses = std::move(uses[i]);
  }
  set_ = job::lora_set(names);
  return ignored;
}

void ExpertLoras::merge(bool high) {
  const Expert& expert = experts_[high ? 0 : 1];
  expert.merger->merge(expert.uses);
}

void ExpertLoras::reshard(bool high, const model::ShardSeat& seat) {
  const Expert& expert = experts_[high ? 0 : 1];
  if (expert.merger) expert.merger->reshard(seat);
}

}  // namespace nightreel::pipeline
