// A file's content as archives and checkpoints take it: by name, with the type that is needed. Private to the layer.
//
// A view of a Content, which outlives it. Everything throws Error{storage} that begins with the file's path.
#pragma once

#include <cstring>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "nightreel/hdf5/content.h"

namespace nightreel::media {

class Hdf5Content {
 public:
  Hdf5Content(const hdf5::Content& content, std::string path) : content_(content), path_(std::move(path)) {}

  std::string text(const std::string& attribute) const;
  std::int64_t integer(const std::string& attribute) const;
  /// The attribute's JSON; throws for text that is none.
  nlohmann::json json(const std::string& attribute) const;
  bool has(const std::string& dataset) const;
  /// Throws where it is missing or cannot be read.
  const hdf5::Entry& dataset(const std::string& name) const;
  /// Of a dataset whose type is T's.
  template <class T>
  std::vector<T> values(const hdf5::Entry& dataset) const {
    if (dataset.type != hdf5::TypeOf<T>::value) fail("a dataset is taken for what it is not");
    std::vector<T> out(dataset.bytes.size() / sizeof(T));
    if (!out.empty()) std::memcpy(out.data(), dataset.bytes.data(), out.size() * sizeof(T));
    return out;
  }
  [[noreturn]] void fail(const std::string& what) const;

 private:
  const hdf5::Entry& attribute(const std::string& word, const std::string& name) const;
  const hdf5::Content& content_;
  std::string path_;
};

}  // namespace nightreel::media
