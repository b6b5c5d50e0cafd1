#include "nightreel/rank/publisher.h"

#include <filesystem>
#include <utility>

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

void give_name(const std::string& from, const std::string& to) {
  if (!base::publish(from, to)) throw Error(ErrorKind::storage, to + ": another file stands there");
}

void remove_matching(const std::filesystem::path& folder, const std::string& prefix) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (entry.path().filename().string().rfind(prefix, 0) == 0) base::remove_file(entry.path().string());
  }
}

// Of a sidecar that may be missing, damaged or foreign.
struct Standing {
  std::string id;
  std::string hash;
  std::string sha256;
};

Standing read_sidecar(const std::string& path) {
  try {
    const Json sidecar = base::parse_json(base::read_file(path, kMaxSidecar));
    return {sidecar.at("id"), sidecar.at("job_hash"), sidecar.at("sha256")};
  } catch (const std::exception&) {
    return {};
  }
}

}  // namespace

std::optional<queue::Published> Publisher::standing(const std::string& id, const std::string& hash) const {
  const OutputSet set = out_.final_names(id, maker_.archive);
  if (!base::exists(set.video)) return std::nullopt;
  const Standing stands = read_sidecar(set.sidecar);
  if (stands.id != id) {
    throw Error(ErrorKind::job, set.video + ": stands there without the sidecar of a job " + base::printable(id) +
                                    "; move it away, it is never replaced");
  }
  const std::string sha256 = base::sha256_file(set.video);
  if (stands.hash == hash && stands.sha256 == sha256) {
    return queue::Published{"videos/" + id + ".mp4", sha256, std::filesystem::file_size(set.video)};
  }
  if (maker_.overwrite) return std::nullopt;
  const char* what = stands.hash == hash ? ": is not what its sidecar says" : ": the video of another job stands there";
  throw Error(ErrorKind::job, set.video + what + "; move it away, or start the run with --overwrite; either way " +
                                  "`nightreel retry " + id + "` first");
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
  const Json& model = maker_.renderer.model;
  std::vector<std::string> more{"--threads", std::to_string(maker_.threads), "--crf", std::to_string(maker_.crf)};
  const auto dtype = model.find("dtype");
  if (dtype != model.end() && dtype->is_string()) more.insert(more.end(), {"--dtype", *dtype});
  if (maker_.renderer.device == "cpu") more.insert(more.end(), {"--device", "cpu"});
  Json versions = maker_.renderer.versions;
  versions["nightreel"] = base::kVersion;
  versions["commit"] = base::kCommit;
  Json loras = Json::array();
  for (const job::Lora& lora : f.settings.loras) {
    const auto digest = f.done.lora_digests.find(lora.path);
    loras.push_back({{"path", lora.path}, {"scale", lora.scale}, {"expert", lora.expert}});
    if (digest != f.done.lora_digests.end()) loras.back()["digest"] = digest->second;
  }
  const std::vector<int> ranks = f.ranks.empty() ? std::vector{maker_.rank} : f.ranks;
  const RenderedOn& first = maker_.ranks.at(static_cast<std::size_t>(ranks.front()));
  Json renderers = Json::array();
  for (const int rank : ranks) {
    const RenderedOn& one = maker_.ranks.at(static_cast<std::size_t>(rank));
    renderers.push_back({{"rank", rank}, {"host", one.host}, {"gpu", one.gpu}, {"gpu_uuid", one.gpu_uuid}});
  }
  const Json sidecar{{"id", f.id},
                     {"job", f.spec},
                     {"job_hash", f.lease.hash},
                     {"settings", job::to_json(f.settings)},
                     {"generate", job::generate_command(f.settings, maker_.model_folder, more, f.id + ".mp4")},
                     {"model", maker_.renderer.model},
                     {"model_digest", maker_.renderer.model_digest},
                     {"loras", loras},
                     {"versions", versions},
                     {"host", maker_.ranks.at(static_cast<std::size_t>(maker_.rank)).host},
                     {"rank", maker_.rank},
                     {"ranks", ranks.size()},
                     {"gpu", first.gpu},
                     {"gpu_uuid", first.gpu_uuid},
                     {"renderers", renderers},
                     {"launcher_job", maker_.launcher_job},
                     {"cpu_capability", maker_.renderer.cpu_capability},
                     {"threads", maker_.renderer.threads},
                     {"attempt", f.lease.attempt},
                     {"resumed_step", f.done.resumed_step},
                     {"plan", f.done.plan},
                     {"timings", f.done.timings},
                     {"frames", f.done.frames},
                     {"bytes", published.bytes},
                     {"sha256", published.sha256}};
  base::replace_file(from.sidecar, base::dump_json(sidecar, 2) + "\n");
}

// What a dead attempt left without its video is replaced by rename(2), and the video gets its name by link(2), which
// replaces nothing; under --overwrite by rename(2), too, which takes the old one away at that very moment. Each needs
// this attempt's own temporary file, which the next holder of the job removes first of all (OutputFolder::
// remove_earlier): so a rank that froze after its last look at the lease changes nothing when it wakes.
bool Publisher::name_set(const OutputSet& from, const OutputSet& to, const std::function<bool()>& still_ours) const {
  using Pair = std::pair<const std::string&, const std::string&>;
  for (const auto& [old_name, new_name] :
       {Pair(from.archive, to.archive), Pair(from.sheet, to.sheet), Pair(from.sidecar, to.sidecar)}) {
    if (!still_ours()) return false;
    if (!new_name.empty()) base::rename_file(old_name, new_name);
  }
  if (!still_ours()) return false;
  maker_.overwrite&& base::exists(to.video) ? base::rename_file(from.video, to.video) : give_name(from.video, to.video);
  base::sync_folder(base::parent_folder(to.video));
  if (!to.archive.empty()) base::sync_folder(base::parent_folder(to.archive));
  return true;
}

Outcome Publisher::publish(queue::JobQueue& jobs, const Finished& f, const std::function<bool()>& still_ours,
                           queue::Published& published) const {
  const OutputSet from = out_.temporary_names(f.id, f.lease.ref.token, maker_.archive);
  const OutputSet to = out_.final_names(f.id, maker_.archive);
  check(f, from.video);
  published = {"videos/" + f.id + ".mp4", base::sha256_file(from.video), std::filesystem::file_size(from.video)};
  write_sidecar(f, from, published);
  const queue::Fence fence = jobs.begin_publish(f.lease.ref);
  if (fence == queue::Fence::cancel_requested) return Outcome::cancel_requested;
  if (fence == queue::Fence::stale) return Outcome::stale;
  if (const auto stands = standing(f.id, f.lease.hash)) {  // an earlier attempt came through after all
    published = *stands;
    discard(f.id, f.lease.ref.token);
  } else if (!name_set(from, to, still_ours)) {
    return Outcome::stale;
  }
  remove_checkpoint(f.id);
  return Outcome::published;
}

// The video is out: a checkpoint that cannot be removed is litter.
void Publisher::remove_checkpoint(const std::string& id) const {
  try {
    base::remove_file(out_.checkpoint(id));
  } catch (const Error&) {
    return;
  }
}

void Publisher::discard(const std::string& id, const std::string& token) const {
  const OutputSet set = out_.temporary_names(id, token, maker_.archive);
  for (const auto& path : {set.archive, set.sheet, set.sidecar, set.video}) {
    if (path.empty()) continue;
    base::remove_file(path);
    // What a renderer that was killed had begun: files that appear whole are written beside their name (base/file.h).
    const std::filesystem::path file(path);
    remove_matching(file.parent_path(), "." + file.filename().string() + ".");
  }
}

}  // namespace nightreel::rank
