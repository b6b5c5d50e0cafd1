#include "weights/component_writer.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "nightreel/base/file.h"

namespace nightreel::weights {

namespace {

/// 00001, as save_pretrained counts.
std::string five_digits(std::size_t number) {
  const std::string text = std::to_string(number);
  return std::string(text.size() < 5 ? 5 - text.size() : 0, '0') + text;
}

std::string shard_name(const std::string& stem, std::size_t index, std::size_t count) {
  if (count == 1) return stem + ".safetensors";
  return stem + "-" + five_digits(index + 1) + "-of-" + five_digits(count) + ".safetensors";
}

}  // namespace

ComponentWriter::ComponentWriter(const ComponentPlace& place, std::vector<NewTensor> tensors, std::uint64_t shard_bytes)
    : place_(place) {
  std::sort(tensors.begin(), tensors.end(), [](const NewTensor& a, const NewTensor& b) { return a.name < b.name; });
  std::vector<std::vector<NewTensor>> groups(1);
  std::uint64_t in_group = 0;
  for (NewTensor& tensor : tensors) {
    const std::uint64_t bytes = tensor.bytes();
    if (place.shards && !groups.back().empty() && in_group + bytes > shard_bytes) {
      groups.emplace_back();
      in_group = 0;
    }
    in_group += bytes;
    bytes_ += bytes;
    shard_of_[tensor.name] = groups.size() - 1;
    groups.back().push_back(std::move(tensor));
  }
  base::make_folders(place.folder);
  for (std::size_t i = 0; i < groups.size(); ++i) {
    const std::string path = place.folder + "/" + shard_name(place.stem, i, groups.size());
    shards_.push_back(std::make_unique<SafetensorsWriter>(path, std::move(groups[i])));
  }
}

void ComponentWriter::write(const std::string& name, std::uint64_t at, const void* data, std::uint64_t bytes) {
  shards_[shard_of_.at(name)]->write(name, at, data, bytes);
}

void ComponentWriter::finish() {
  for (const auto& shard : shards_) shard->finish();
  if (shards_.size() > 1) write_index();
}

void ComponentWriter::write_index() const {
  nlohmann::json index{{"metadata", {{"total_size", bytes_}}}, {"weight_map", nlohmann::json::object()}};
  for (const auto& [name, shard] : shard_of_) {
    index["weight_map"][name] = shard_name(place_.stem, shard, shards_.size());
  }
  base::replace_file(place_.folder + "/" + place_.stem + ".safetensors.index.json", index.dump(2) + "\n");
}

}  // namespace nightreel::weights
