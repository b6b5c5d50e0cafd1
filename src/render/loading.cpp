#include "render/loading.h"

#include <cstdio>
#include <future>

#include "nightreel/base/clock.h"
#include "nightreel/base/error.h"
#include "nightreel/model/checkpoint.h"
#include "nightreel/weights/shared_load.h"

namespace nightreel::render {
namespace {

using base::Error;
using base::ErrorKind;

// Hashes the checkpoint while it is loaded, from the same pages; where loading fails, the end of this object stops it.
class DigestMeanwhile {
 public:
  explicit DigestMeanwhile(const std::string& folder)
      : digest_(std::async(std::launch::async,
                           [folder, cancel = cancel_] { return model::model_digest(folder, cancel); })) {}
  DigestMeanwhile(const DigestMeanwhile&) = delete;
  DigestMeanwhile& operator=(const DigestMeanwhile&) = delete;
  ~DigestMeanwhile() { cancel_.cancel(); }
  std::string get() { return digest_.get(); }

 private:
  base::CancelToken cancel_;
  std::future<std::string> digest_;
};

Loaded load_alone(const card::Card& card, const pipeline::PipelineOptions& wanted) {
  DigestMeanwhile digest(card.folder);
  auto pipeline = pipeline::Pipeline::load(card, wanted);
  return {std::move(pipeline), digest.get(), {weights::stored_bytes(card.folder), false}};
}

Loaded load_together(const card::Card& card, pipeline::PipelineOptions wanted, comm::Communicator& group) {
  weights::SharedLoad load(group, wanted.device, model::lists_of(card.folder));
  wanted.reader = &load;
  auto pipeline = pipeline::Pipeline::load(card, wanted);
  std::string digest = load.digest(card.folder);
  try {
    group.finalize();
  } catch (const Error&) {
    // All has come; whoever is missing by now reads alone.
  }
  return {std::move(pipeline), std::move(digest), {static_cast<std::uint64_t>(load.bytes_read()), true}};
}

Loaded load(const card::Card& card, const pipeline::PipelineOptions& wanted, std::unique_ptr<comm::Communicator> group,
            const base::Logger& log) {
  if (!group || group->size() == 1) return load_alone(card, wanted);
  try {
    return load_together(card, wanted, *group);
  } catch (const Error& e) {
    // On a GPU work of the group may still be under way: the rank starts another renderer, which loads alone.
    if (e.kind() != ErrorKind::comm || !wanted.device.is_cpu()) throw;
    log.warn("load-group", std::string("reading the weights alone, since together failed: ") + e.what());
  }
  group.reset();
  return load_alone(card, wanted);
}

}  // namespace

Loaded load_checkpoint(const card::Card& card, const pipeline::PipelineOptions& wanted,
                       std::unique_ptr<comm::Communicator> group, const base::Logger& log) {
  const base::Stopwatch watch;
  const int ranks = group ? group->size() : 1;
  Loaded loaded = load(card, wanted, std::move(group), log);
  const double seconds = watch.seconds();
  const double gigabytes = static_cast<double>(loaded.report.bytes_read) / 1e9;
  char text[160];
  std::snprintf(text, sizeof text, "%.3f GB read in %.1f s, %.3f GB/s%s%s", gigabytes, seconds, gigabytes / seconds,
                loaded.report.shared ? ", this rank's share of a group of " : "",
                loaded.report.shared ? std::to_string(ranks).c_str() : "");
  log.info("weights", text);
  return loaded;
}

}  // namespace nightreel::render
