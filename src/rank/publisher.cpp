#include "nightreel/rank/publisher.h"

#include <filesystem>

#include "nightreel/base/build_version.h"
#include "nightreel/base/file.h"
#include "nightreel/base/hash.h"
#include "nightreel/base/json.h"
#include "nightreel/job/resolve.h"
#include "nightreel/media/video.h"

namespace nightreel::rank {

using base::Error;
using base::ErrorKind;
using protocol::Json;

namespace {

constexpr std::size_t kMaxSidecar = 8U << 20U;

bool exists(const std::string& path) {
  std::error_code error;
  return std::filesystem::exists(path, error);
}

void give_name(const std::string& from, const std::string& to) {
  if (!base::publish(from, to)) throw Error(ErrorKind::storage, to + ": another file stands there");
}

}  // namespace

std::optional<queue::Published> Publisher::standing(const std::string& id, const std::string& hash) const {
  const OutputSet set = out_.final_names(id, maker_.archive);
  if (!exists(set.video)) return std::nullopt;
  try {
    const Json sidecar = base::parse_json(base::read_file(set.sidecar, kMaxSidecar));
    const std::string sha256 = base::sha256_file(set.video);
    if (sidecar.at("job_hash") == hash && sidecar.at("sha256") == sha256) {
      return queue::Published{"videos/" + id + ".mp4", sha256, std::filesystem::file_size(set.video)};
    }
  } catch (const std::exception&) {
    // No sidecar, or one that cannot be read: the video is nobody's, as one of another job is.
  }
  if (maker_.overwrite) return std::nullopt;
  throw Error(ErrorKind::job, set.video + ": the video of another job stands there; --overwrite replaces it");
}

void Publisher::check(const Finished& f, const std::string& video) const {
  const media::VideoInfo info = media::check_video(video);
  if (info.frames == f.done.frames && info.height == f.settings.height && info.width == f.settings.width) return;
  throw Error(ErrorKind::storage, video + ": " + std::to_string(info.frames) + " frames of " +
                                      std::to_string(info.width) + "x" + std::to_string(info.height) + ", not " +
                                      std::to_string(f.done.frames) + " of " + std::to_string(f.settings.width) + "x" +
                                      std::to_string(f.settings.height));
}

void Publisher::write_sidecar(const Finished& f, const OutputSet& from, const queue::Published& published) const {
  const std::vector<std::string> more{"--threads", std::to_string(maker_.threads), "--crf", std::to_string(maker_.crf)};
  Json versions = maker_.renderer.versions;
  versions["nightreel"] = base::kVersion;
  versions["commit"] = base::kCommit;
  const Json sidecar{{"id", f.id},
                     {"job", f.spec},
                     {"job_hash", f.lease.hash},
                     {"settings", job::to_json(f.settings)},
                     {"generate", job::generate_command(f.settings, maker_.model_folder, more, f.id + ".mp4")},
                     {"model", maker_.renderer.model},
                     {"model_digest", maker_.renderer.model_digest},
                     {"versions", versions},
                     {"host", maker_.host},
                     {"rank", maker_.rank},
                     {"ranks", 1},
                     {"gpu", maker_.renderer.device},
                     {"gpu_uuid", maker_.renderer.device_uuid},
                     {"launcher_job", maker_.launcher_job},
                     {"cpu_capability", maker_.renderer.cpu_capability},
                     {"threads", maker_.renderer.threads},
                     {"attempt", f.lease.attempt},
                     {"resumed_step", f.done.resumed_step},
                     {"timings", f.done.timings},
                     {"frames", f.done.frames},
                     {"bytes", published.bytes},
                     {"sha256", published.sha256}};
  base::replace_file(from.sidecar, sidecar.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

// Past the fence nobody else may publish this job, so what stands without its video is a dead attempt's.
void Publisher::clear_final(const OutputSet& to) const {
  if (exists(to.video) && !maker_.overwrite) {
    throw Error(ErrorKind::job, to.video + ": a video stands there; --overwrite replaces it");
  }
  for (const auto& path : {to.video, to.sidecar, to.sheet, to.archive}) {
    if (!path.empty()) base::remove_file(path);
  }
}

Outcome Publisher::publish(queue::JobQueue& jobs, const Finished& f, queue::Published& published) const {
  const OutputSet from = out_.temporary_names(f.id, f.done.token, maker_.archive);
  const OutputSet to = out_.final_names(f.id, maker_.archive);
  check(f, from.video);
  published = {"videos/" + f.id + ".mp4", base::sha256_file(from.video), std::filesystem::file_size(from.video)};
  write_sidecar(f, from, published);
  const queue::Fence fence = jobs.begin_publish(f.lease.ref);
  if (fence == queue::Fence::stale || queue::Clock::now() >= f.lease.deadline) return Outcome::stale;
  if (fence == queue::Fence::cancel_requested) return Outcome::cancel_requested;
  clear_final(to);
  if (maker_.archive) give_name(from.archive, to.archive);
  give_name(from.sheet, to.sheet);
  give_name(from.sidecar, to.sidecar);
  give_name(from.video, to.video);
  base::sync_folder(base::parent_folder(to.video));
  if (maker_.archive) base::sync_folder(base::parent_folder(to.archive));
  base::remove_file(out_.checkpoint(f.id));
  return jobs.complete(f.lease.ref, published) ? Outcome::published : Outcome::stale;
}

void Publisher::discard(const std::string& id, std::uint64_t token) const {
  const OutputSet set = out_.temporary_names(id, token, maker_.archive);
  for (const auto& path : {set.archive, set.sheet, set.sidecar, set.video}) {
    if (!path.empty()) base::remove_file(path);
  }
}

}  // namespace nightreel::rank
