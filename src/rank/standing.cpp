#include "rank/standing.h"

#include <algorithm>
#include <filesystem>
#include <optional>

#include "nightreel/base/error.h"
#include "nightreel/base/hash.h"
#include "rank/sidecar.h"

namespace nightreel::rank {
namespace {

// An NFS client believes for a while what it has heard of a name; reading the folder makes it ask.
void read_anew(const std::string& folder) {
  std::error_code error;
  std::size_t entries = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder, error)) ++entries;
}

Stands worse(Stands a, Stands b) {
  return std::max(a, b);
}

}  // namespace

Stands Standing::look(const std::vector<std::string>& ids, const std::function<bool()>& stopped) {
  Stands found = Stands::all;
  std::vector<queue::JobView> missing;
  std::optional<base::Error> unreadable;  // the others are looked at all the same
  for (const auto& job : jobs_.lookup(ids)) {
    if (stopped()) return Stands::unsure;
    if (job.state != queue::JobState::done || job.out != out_.root()) continue;
    try {
      const std::string stamp = out_.stamp_of_set(job.id);
      if (stamp.empty()) missing.push_back(job);
      if (!stamp.empty() && stamp != job.stamp) found = worse(found, read(job, stamp, stopped));
    } catch (const base::Error& e) {
      if (e.kind() != base::ErrorKind::storage) throw;
      if (!unreadable) unreadable = e;
    }
  }
  if (!missing.empty()) found = worse(found, look_for(missing));
  if (unreadable) throw base::Error(*unreadable);
  return found;
}

Stands Standing::read(const queue::JobView& job, const std::string& stamp, const std::function<bool()>& stopped) {
  const auto sha256 = base::sha256_file(out_.final_names(job.id, false).video, stopped);
  if (!sha256 || out_.stamp_of_set(job.id) != stamp) return Stands::unsure;
  return judge(job, stamp, *sha256);
}

Stands Standing::judge(const queue::JobView& job, const std::string& stamp, const std::string& sha256) {
  const OutputSet set = out_.final_names(job.id, false);
  const Owner owner = owner_in(read_sidecar(set.sidecar));
  const std::chrono::milliseconds at_once(0);
  if (owner.id != job.id || owner.sha256 != sha256) {
    if (!still_done(job)) return Stands::unsure;  // somebody replaces it at this moment
    const auto aside = out_.set_aside(job.id, stamp.substr(0, stamp.find('+')), sha256);
    if (!aside) return Stands::unsure;
    return put_back(job, at_once, "is not what its sidecar says: it is set aside as " + *aside);
  }
  // Whole, and yet not this job's: whoever claims it next says so by name, or completes it with what stands.
  if (owner.hash != job.hash) return put_back(job, at_once, "is of another job");
  if (sha256 != job.sha256) return put_back(job, at_once, "is not the one that the queue knows");
  jobs_.note_standing(job.id, sha256, stamp);
  return Stands::all;
}

bool Standing::still_done(const queue::JobView& job) {
  const queue::JobView now = jobs_.lookup({job.id}).at(0);
  return now.state == queue::JobState::done && now.sha256 == job.sha256;
}

Stands Standing::look_for(const std::vector<queue::JobView>& missing) {
  read_anew(out_.root() + "/videos");
  Stands found = Stands::all;
  for (const auto& job : missing) {
    if (!out_.stamp_of_video(job.id).empty()) {
      found = worse(found, Stands::unsure);
      continue;
    }
    const bool here = job.host == options_.host;
    found = worse(found, put_back(job, here ? std::chrono::milliseconds(0) : options_.settle, "is gone"));
  }
  return found;
}

Stands Standing::put_back(const queue::JobView& job, std::chrono::milliseconds age, const std::string& why) {
  if (jobs_.put_back(job.id, job.sha256, age) != queue::PutBack::pending) return Stands::unsure;
  log_.warn("video-missing", job.id + ": was done, and its video " + why + "; it is made again");
  return Stands::put_back;
}

}  // namespace nightreel::rank
