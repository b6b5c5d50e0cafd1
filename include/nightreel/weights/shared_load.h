// A whole checkpoint loaded by a group of ranks together: each byte is read by one of them (shared_read.h), and the
// digest is made of what has come, a part of the tensors by each.
//
// Refers to the group, which must outlive it. One thread; read() and digest() are collective, in the same order on all
// ranks, and throw base::Error{comm}; a checkpoint that cannot be read is an Error{model}.
#pragma once

#include <cstdint>
#include <future>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "nightreel/comm/communicator.h"
#include "nightreel/weights/shared_read.h"
#include "nightreel/weights/tensor_list.h"
#include "nightreel/weights/weights.h"

namespace nightreel::weights {

class SharedLoad final : public TensorReader {
 public:
  /// See SharedReader. `lists`: of the components that it will load.
  SharedLoad(comm::Communicator& group, at::Device device, ListOf lists,
             std::int64_t buffer = std::int64_t{256} << 20U);
  ~SharedLoad() override;

  at::Tensor read(const std::string& component, const WeightMap& weights, const std::string& name) override;

  /// checkpoint_digest() of the folder, after all modules have been loaded; what none of them took is read now.
  std::string digest(const std::string& folder);

  std::int64_t bytes_read() const { return reader_.bytes_read(); }

 private:
  const TensorList& list_of(const std::string& component);
  void hash(const std::string& component, const WeightMap& weights, const std::string& name, const at::Tensor& tensor);

  comm::Communicator& group_;
  at::Device device_;
  SharedReader reader_;
  ListOf lists_;
  std::map<std::string, TensorList> list_of_;           // of the components so far
  std::set<std::pair<std::string, std::string>> seen_;  // component, name
  std::vector<std::uint64_t> hashed_;                   // bytes that each rank has had to hash
  std::vector<std::string> lines_;                      // this rank's
  std::future<std::string> hashing_;                    // one at a time, while the next tensor comes
};

/// Bytes of all tensors of the checkpoint, which a rank alone reads.
std::uint64_t stored_bytes(const std::string& folder);

}  // namespace nightreel::weights
