// A job's LoRA files, opened, and the experts that they are merged into.
//
// open_loras(), LoraFiles and digest_of(): any thread. ExpertLoras changes transformers that somebody else owns and
// that outlive it where they stand: the thread that computes with them. A file that cannot be used is a
// base::Error{job}.
#pragma once

#include <array>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "nightreel/model/lora.h"
#include "nightreel/settings/settings.h"

namespace nightreel::pipeline {

struct OpenLora {
  settings::Lora lora;
  std::shared_ptr<const model::LoraFile> file;
};

/// In the order in which they are merged (job::in_merge_order).
using OpenLoras = std::vector<OpenLora>;

/// Files that were opened before stay open, the latest few, and are neither read nor hashed again while path, size and
/// time of change are the same.
class LoraFiles {
 public:
  std::shared_ptr<const model::LoraFile> open(const std::string& path);

 private:
  struct Known {
    std::string path;
    std::string stamp;
    std::shared_ptr<const model::LoraFile> file;
  };
  std::mutex mutex_;
  std::list<Known> known_;  // latest use first
};

OpenLoras open_loras(const std::vector<settings::Lora>& loras, LoraFiles& files);

/// Equal for equal contents, scales and experts, wherever the files are; empty without LoRAs.
std::string digest_of(const OpenLoras& loras);
/// Of each file, by its path.
std::map<std::string, std::string> digests(const OpenLoras& loras);

class ExpertLoras {
 public:
  /// `low`: of the expert for low noise, or null.
  ExpertLoras(std::unique_ptr<model::LoraMerger> high, std::unique_ptr<model::LoraMerger> low);

  /// What merge() shall merge from now on. Checks it against the experts, and leaves their weights alone. Returns the
  /// keys that they have no place for, a text for each file and expert.
  std::vector<std::string> use(const OpenLoras& loras);
  /// What is in use (job::lora_set).
  const std::string& set() const { return set_; }
  /// To be called before an expert computes: its weights are those of the set then.
  void merge(bool high);
  /// See model::LoraMerger; nothing where there is no such expert.
  void reshard(bool high, const model::ShardSeat& seat);

 private:
  struct Expert {
    std::unique_ptr<model::LoraMerger> merger;
    std::vector<model::LoraUse> uses;
  };
  std::array<Expert, 2> experts_;  // high, low
  std::string set_;
};

}  // namespace nightreel::pipeline
