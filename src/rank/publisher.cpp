#include "nightreel/rank/publisher.h"

#include <filesystem>
#include <utility>

#include "nightreel/base/build_version.h"
#include "nightreel/base/file.h"
#include "nightreel/base/hash.h"
#include "nightreel/base/json.h"
#include "nightreel/job/resolve.h"
#include "nightreel/media/video.h"
#include "nightreel/settings/json.h"
#include "rank/sidecar.h"

namespace nightreel::rank {

using base::Error;
using base::ErrorKind;
using protocol::Json;

namespace {

Attempt attempt_of(const Finished& f) {
  return {f.id, f.lease.hash, f.lease.ref.token};
}

void give_name(const std::string& from, const std::string& to) {
  if (!base::publish(from, to)) throw Error(ErrorKind::storage, to + ": another file stands there");
}

void remove_matching(const std::filesystem::path& folder, const std::string& prefix) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (entry.path().filename().string().rfind(prefix, 0) == 0) base::remove_file(entry.path().string());
  }
}

[[noreturn]] void throw_others(const std::string& path, const std::string& what, const std::string& id) {
  throw Error(ErrorKind::job, path + what +
                                  "; move it away, or start the run with --overwrite; either way `nightreel " +
                                  "retry " + id + "` first. Two queues in one OUT need ids of their own");
}

}  // namespace

// What stands under the final names, and what is to become of it.
struct Publisher::Look {
  std::optional<queue::Published> kept;
  bool replace = false;  // a set that is to go when the new one is there
};

Publisher::Look Publisher::look(const std::string& id, const std::string& hash, const Anew& anew) const {
  const OutputSet set = out_.final_names(id, maker_.archive);
  const std::string stamp = out_.stamp_of_video(id);
  const Json sidecar = read_sidecar(set.sidecar);
  const Owner owner = owner_in(sidecar);
  const bool others = owner.id == id && !owner.hash.empty() && owner.hash != hash;
  if (stamp.empty()) {
    if (others && !maker_.overwrite) throw_others(set.sidecar, ": is of another job, which is being published", id);
    return {};
  }
  if (owner.id != id) {
    throw Error(ErrorKind::job, set.video + ": stands there without the sidecar of a job " + base::printable(id) +
                                    "; move it away, it is never replaced");
  }
  if (others) {
    if (!maker_.overwrite) throw_others(set.video, ": the video of another job stands there", id);
    return {std::nullopt, true};
  }
  const std::string sha256 = base::sha256_file(set.video);
  if (owner.sha256 != sha256) {  // damaged, or changed by hand: it is no finished video, and it may be somebody's work
    out_.set_aside(id, stamp, sha256);
    return {};
  }
  if (anew && anew(sidecar)) return {std::nullopt, true};
  return {
      queue::Published{"videos/" + id + ".mp4", sha256, std::filesystem::file_size(set.video), out_.stamp_of_set(id)},
      false};
}

std::optional<queue::Published> Publisher::standing(const std::string& id, const std::string& hash,
                                                    const Anew& anew) const {
  return look(id, hash, anew).kept;
}

void Publisher::check(const Finished& f, const std::string& video) const {
  const media::VideoInfo info = media::check_video(video);
  if (info.codec != f.settings.codec) {
    throw Error(ErrorKind::storage, video + ": its codec is " + info.codec + ", not " + f.settings.codec);
  }
  if (info.frames == f.done.frames && info.height == f.settings.height && info.width == f.settings.width) return;
  throw Error(ErrorKind::storage, video + ": " + std::to_string(info.frames) + " frames of " +
                                      std::to_string(info.width) + "x" + std::to_string(info.height) + ", not " +
                                      std::to_string(f.done.frames) + " of " + std::to_string(f.settings.width) + "x" +
                                      std::to_string(f.settings.height));
}

void Publisher::write_sidecar(const Finished& f, const OutputSet& from, const queue::Published& published) const {
  const Json& model = maker_.renderer.model;
  std::vector<std::string> more{"--threads", std::to_string(maker_.threads)};
  const auto dtype = model.find("dtype");
  if (dtype != model.end() && dtype->is_string()) more.insert(more.end(), {"--dtype", *dtype});
  if (maker_.renderer.device == "cpu") more.insert(more.end(), {"--device", "cpu"});
  Json versions = maker_.renderer.versions;
  versions["nightreel"] = base::kVersion;
  versions["commit"] = base::kCommit;
  Json loras = Json::array();
  for (const settings::Lora& lora : f.settings.loras) {
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
                     {"settings", settings::to_json(f.settings)},
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
                     {"crf", f.settings.crf},
                     {"codec", f.settings.codec},
                     {"inputs", f.inputs},
                     {"attempt", f.lease.attempt},
                     {"resumed_step", f.done.resumed_step},
                     {"plan", f.done.plan},
                     {"timings", f.done.timings},
                     {"frames", f.done.frames},
                     {"bytes", published.bytes},
                     {"sha256", published.sha256}};
  base::replace_file(from.sidecar, base::dump_json(sidecar, 2) + "\n");
}

// The sidecar is first: it says whose the names are, so of two queues with equal ids in one OUT one gets them all.
void Publisher::take_names(const Finished& f, const OutputSet& from, const OutputSet& to, bool replace) const {
  if (base::publish(from.sidecar, to.sidecar)) return;
  const Owner owner = owner_in(read_sidecar(to.sidecar));
  const bool others = owner.id == f.id && !owner.hash.empty() && owner.hash != f.lease.hash;
  if (others && !replace && !maker_.overwrite) {
    throw_others(to.sidecar, ": is of another job, which is being published", f.id);
  }
  base::rename_file(from.sidecar, to.sidecar);  // a dead attempt's, or of the set that is replaced
}

// Two runs with --overwrite may take each other's names away. Then the video goes, as long as it is this one: the set
// that the sidecar is of is published by its own attempt, or found to be gone and made again.
void Publisher::check_whole(const Finished& f, const OutputSet& to, const std::string& stamp,
                            const std::string& sha256) const {
  const Owner owner = owner_in(read_sidecar(to.sidecar));
  if (owner.hash == f.lease.hash && owner.sha256 == sha256) return;
  if (out_.stamp_of_video(f.id) == stamp) base::remove_file(to.video);
  throw Error(ErrorKind::job, to.sidecar + ": another job has taken this id in OUT meanwhile; give one of the two " +
                                  "another id or OUT, then `nightreel retry " + f.id + "`");
}

// What a dead attempt left without its video is replaced by rename(2), and the video gets its name by link(2), which
// replaces nothing; where a set is to be replaced by rename(2), too, which takes the old one away at that very moment.
// Each needs this attempt's own temporary file, which the next holder of the job removes first of all (OutputFolder::
// remove_earlier): so a rank that froze after its last look at the lease changes nothing when it wakes.
bool Publisher::name_set(const Finished& f, const OutputSet& from, bool replace,
                         const std::function<bool()>& still_ours, queue::Published& published) const {
  const OutputSet to = out_.final_names(f.id, maker_.archive);
  using Pair = std::pair<const std::string&, const std::string&>;
  if (!still_ours()) return false;
  take_names(f, from, to, replace);
  for (const auto& [old_name, new_name] : {Pair(from.archive, to.archive), Pair(from.sheet, to.sheet)}) {
    if (!still_ours()) return false;
    if (!new_name.empty()) base::rename_file(old_name, new_name);
  }
  if (!still_ours()) return false;
  replace ? base::rename_file(from.video, to.video) : give_name(from.video, to.video);
  const std::string stamp = out_.stamp_of_video(f.id);
  base::sync_folder(base::parent_folder(to.video));
  if (!to.archive.empty()) base::sync_folder(base::parent_folder(to.archive));
  check_whole(f, to, stamp, published.sha256);
  published.stamp = out_.stamp_of_set(f.id);
  return true;
}

Outcome Publisher::publish(queue::JobQueue& jobs, const Finished& f, const std::function<bool()>& still_ours,
                           queue::Published& published) const {
  const OutputSet from = out_.temporary_names(attempt_of(f), maker_.archive);
  check(f, from.video);
  published = {"videos/" + f.id + ".mp4", base::sha256_file(from.video), std::filesystem::file_size(from.video), ""};
  write_sidecar(f, from, published);
  const queue::Fence fence = jobs.begin_publish(f.lease.ref);
  if (fence == queue::Fence::cancel_requested) return Outcome::cancel_requested;
  if (fence == queue::Fence::stale) return Outcome::stale;
  const Look stands = look(f.id, f.lease.hash, f.anew);
  if (stands.kept) {  // an earlier attempt came through after all
    published = *stands.kept;
    discard(attempt_of(f));
  } else if (!name_set(f, from, stands.replace, still_ours, published)) {
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

void Publisher::discard(const Attempt& attempt) const {
  const OutputSet set = out_.temporary_names(attempt, maker_.archive);
  for (const auto& path : {set.archive, set.sheet, set.sidecar, set.video}) {
    if (path.empty()) continue;
    base::remove_file(path);
    // What a renderer that was killed had begun: files that appear whole are written beside their name (base/file.h).
    const std::filesystem::path file(path);
    remove_matching(file.parent_path(), "." + file.filename().string() + ".");
  }
}

}  // namespace nightreel::rank
