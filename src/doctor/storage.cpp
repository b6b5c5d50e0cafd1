#include "doctor/storage.h"

#include <sys/vfs.h>

#include <algorithm>
#include <map>
#include <sstream>

#include "nightreel/base/clock.h"
#include "nightreel/base/file.h"
#include "nightreel/base/publishing.h"
#include "nightreel/base/random.h"
#include "nightreel/job/recipe.h"
#include "nightreel/settings/settings.h"

namespace nightreel::doctor {
namespace {

constexpr std::size_t kLarge = 16U << 20U;  // bytes: a video's size
constexpr int kSmallFiles = 5;
constexpr double kSlowSync_ms = 500;
constexpr std::uint64_t kGiB = 1U << 30U;

// statfs(2), "Filesystem types": the ones that OUT is put on.
const std::map<std::uint64_t, std::string>& file_systems() {
  static const std::map<std::uint64_t, std::string> kNames{
      {0x6969, "nfs"},       {0xef53, "ext4"},        {0x58465342, "xfs"},    {0x9123683e, "btrfs"},
      {0x01021994, "tmpfs"}, {0x794c7630, "overlay"}, {0x0bd00bd0, "lustre"}, {0x47504653, "gpfs"},
      {0x00c36400, "ceph"},  {0x65735546, "fuse"},    {0x2fc12fc1, "zfs"},    {0x19830326, "beegfs"},
      {0xfe534d42, "smb2"},  {0xff534d42, "cifs"},    {0x9fa0, "proc"},       {0x62656572, "sysfs"}};
  return kNames;
}

std::string file_system_of(const std::string& folder) {
  struct statfs info {};
  if (::statfs(folder.c_str(), &info) != 0) base::throw_errno("cannot look at the file system of", folder);
  const auto number = static_cast<std::uint64_t>(info.f_type) & 0xffffffffU;
  const auto known = file_systems().find(number);
  return known == file_systems().end() ? std::to_string(number) : known->second;
}

// Names in the folder that are gone at the end, whatever happened.
class TemporaryNames {
 public:
  explicit TemporaryNames(const std::string& folder) : stem_(folder + "/.nightreel-doctor-" + base::random_hex(8)) {}
  TemporaryNames(const TemporaryNames&) = delete;
  TemporaryNames& operator=(const TemporaryNames&) = delete;
  ~TemporaryNames() {
    for (const auto& path : made_) {
      try {
        base::remove_file(path);
      } catch (const base::Error&) {
        // The check itself has said what is wrong with the folder.
      }
    }
  }
  std::string make(const std::string& suffix) {
    made_.push_back(stem_ + suffix);
    return made_.back();
  }

 private:
  std::string stem_;
  std::vector<std::string> made_;
};

double megabytes_a_second(TemporaryNames& names) {
  const std::string content(kLarge, 'x');
  const base::Stopwatch watch;
  base::replace_file(names.make(".large"), content);
  return static_cast<double>(kLarge) / 1e6 / std::max(1e-6, watch.seconds());
}

double sync_milliseconds(TemporaryNames& names) {
  std::vector<double> ms;
  const std::string path = names.make(".small");
  for (int i = 0; i < kSmallFiles; ++i) {
    const base::Stopwatch watch;
    base::replace_file(path, "nightreel");
    ms.push_back(watch.seconds() * 1000);
  }
  std::sort(ms.begin(), ms.end());
  return ms[ms.size() / 2];
}

// What a rank could not do. A mount that publishes nothing is no matter of its owner or mode.
std::string fix_for(const std::vector<Answer<StorageFacts>>& answers) {
  const bool publishes = std::none_of(answers.begin(), answers.end(), [](const auto& answer) {
    return answer.problem.find(base::kPublishingFix) != std::string::npos;
  });
  if (!publishes) return base::kPublishingFix;
  return "mount the storage for writing on every host, see the folder's owner and mode, and the user that the ranks "
         "run "
         "as";
}

std::string gibibytes(double bytes) {
  std::ostringstream text;
  text.precision(3);
  text << bytes / static_cast<double>(kGiB) << " GiB";
  return text.str();
}

}  // namespace

StorageFacts storage_facts(const std::string& out, bool measure) {
  base::make_folders(out);
  StorageFacts facts;
  facts.file_system = file_system_of(out);
  TemporaryNames names(out);
  facts.sync_ms = sync_milliseconds(names);
  base::check_publishing(out);
  if (measure) facts.write_mb_s = megabytes_a_second(names);
  facts.free_bytes = base::free_bytes(out);
  return facts;
}

Findings judge_storage(const Places& places, const std::vector<Answer<StorageFacts>>& answers) {
  Findings out = failures_of("storage", places, answers, fix_for(answers));
  if (!out.empty()) return out;
  const auto kinds = values_of(answers, [](const StorageFacts& f) { return f.file_system; });
  double slowest_mb_s = 0;
  double slowest_ms = 0;
  for (const auto& answer : answers) {
    const auto& facts = answer.facts;
    if (facts.write_mb_s > 0 && (slowest_mb_s <= 0 || facts.write_mb_s < slowest_mb_s)) slowest_mb_s = facts.write_mb_s;
    slowest_ms = std::max(slowest_ms, facts.sync_ms);
  }
  std::ostringstream text;
  text.precision(3);
  text << "write, fsync, link and rename work on " << (differ(kinds) ? spread(places, kinds) : kinds.front()) << "; "
       << slowest_mb_s << " MB/s a host with fsync, " << slowest_ms << " ms for a small file";
  if (slowest_ms > kSlowSync_ms) {
    out.push_back(
        warning("storage", text.str(), "each job syncs some dozen files: see the storage's load, or take another"));
  } else {
    out.push_back(ok("storage", text.str()));
  }
  return out;
}

std::uint64_t bytes_a_video(const std::optional<card::Card>& card, const VideoSize& size) {
  card::Card model;  // Wan 2.1's, as diffusers takes it where nothing is said
  settings::Settings video;
  video.height = 480;
  video.width = 832;
  video.num_frames = 81;
  if (card) {
    model = *card;
    video = job::recipe_for(*card, job::RecipeChoice::automatic).defaults;
  }
  if (size.height > 0) video.height = size.height;
  if (size.width > 0) video.width = size.width;
  if (size.num_frames > 0) video.num_frames = size.num_frames;
  double latents = sizeof(float);
  for (const std::int64_t length : model.latent_shape(video)) latents *= static_cast<double>(length);
  // crf 18 takes a tenth to half a bit a pixel. A checkpoint holds the latents and up to four tensors of their size.
  const double encoded = static_cast<double>(video.height * video.width) * static_cast<double>(video.num_frames) / 16;
  return static_cast<std::uint64_t>(6 * latents + encoded);
}

VideoBytes bytes_of(const std::optional<card::Card>& card, const std::vector<VideoSize>& sample) {
  if (sample.empty()) return {bytes_a_video(card), bytes_a_video(card)};
  VideoBytes bytes;
  double sum = 0;
  for (const VideoSize& size : sample) {
    const auto one = bytes_a_video(card, size);
    bytes.largest = std::max(bytes.largest, one);
    sum += static_cast<double>(one);
  }
  bytes.mean = static_cast<std::uint64_t>(sum / static_cast<double>(sample.size()));
  return bytes;
}

Finding judge_space(std::uint64_t free_bytes, std::optional<std::int64_t> jobs, std::size_t ranks,
                    const VideoBytes& video) {
  const std::string room = "OUT has " + gibibytes(static_cast<double>(free_bytes)) + " free";
  const char* fix = "make room, take another OUT, or --archive none; --min-free SIZE lets a run wait for room";
  const double in_hand = static_cast<double>(video.largest) * static_cast<double>(ranks);
  if (static_cast<double>(free_bytes) < in_hand) {
    return failure("space", room + ", less than the " + gibibytes(in_hand) + " of one video a rank", fix);
  }
  if (!jobs) return ok("space", room + "; there is no queue to compare it with");
  if (*jobs == 0) return ok("space", room + "; nothing is queued");
  const double needed = static_cast<double>(video.mean) * static_cast<double>(*jobs);
  const std::string text = room + "; what is queued (" + plural(*jobs, "job") + ") takes about " + gibibytes(needed);
  return static_cast<double>(free_bytes) < needed ? warning("space", text, fix) : ok("space", text);
}

}  // namespace nightreel::doctor
