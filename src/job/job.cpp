#include "nightreel/job/job.h"

#include <fmt/format.h>

#include <algorithm>

#include "job/paths.h"
#include "nightreel/base/fields.h"
#include "nightreel/base/hash.h"

namespace nightreel::job {
namespace {

using base::Error;
using base::ErrorKind;
using base::refuse;

// Of new jobs: no option of a command either, and no record's.
void check_new_id(const std::string& id) {
  if (id.empty() || is_id(id)) return;
  refuse("id", id[0] == '-' ? "'" + base::printable(id, 60) + "' begins with '-', and would be read as an option"
                            : "'" + base::printable(id, 60) + "' begins with '" + std::string(settings::kInbox) +
                                  "', as records of refused inbox entries do");
}

void resolve(std::string_view field, std::string& path, const PathRules& rules) {
  base::at_field(field, [&] { path = resolve_input(path, rules); });
}

void resolve_paths(Job& job, const PathRules& rules) {
  if (job.states("image")) resolve("image", job.image, rules);
  if (job.states("last_image")) resolve("last_image", job.last_image, rules);
  for (std::size_t i = 0; i < job.loras.size(); ++i) {
    base::at_field(fmt::format("loras: [{}]: path", i),
                   [&] { job.loras[i].path = resolve_lora(job.loras[i].path, rules); });
  }
}

void check_together(const Job& job) {
  if (job.prompt.empty()) refuse("prompt", "is required");
  if (job.states("last_image") && !job.states("image")) {
    refuse("last_image", "goes with image, the first picture, which is missing");
  }
  const bool both = job.states("num_inference_steps") && job.states("sigmas");
  if (both && job.num_inference_steps != static_cast<std::int64_t>(job.sigmas.size())) {
    refuse("num_inference_steps", fmt::format("{} steps, but sigmas has {}: leave one of them out",
                                              job.num_inference_steps, job.sigmas.size()));
  }
}

void add_hash(Job& job) {
  const std::string text = job.spec.dump();
  if (text.size() > kMaxJob) {
    refuse(fmt::format("the job is {} bytes long, at most {} are allowed", text.size(), kMaxJob));
  }
  const auto digest = base::sha256(text);
  job.hash = base::hex(digest.data(), digest.size());
  for (std::size_t i = 0; i < 8; ++i) job.default_seed = job.default_seed << 8U | digest.at(i);
  job.default_seed &= static_cast<std::uint64_t>(INT64_MAX);
  if (job.id.empty()) job.id = job.hash.substr(0, 16);
}

}  // namespace

std::string Job::identity() const {
  std::string files;
  for (const auto& path : {image, last_image}) files += path + '\0';
  for (const auto& lora : loras) files += lora.path + '\0';
  const bool any = std::any_of(files.begin(), files.end(), [](char c) { return c != '\0'; });
  return any ? hash + ":" + base::sha256_hex(files) : hash;
}

namespace {

enum class Ids { new_ones, any };

Job read_job(Json spec, const PathRules& rules, Ids ids) {
  if (!spec.is_object()) refuse("not a JSON object: a job is {\"prompt\": …}");
  Job job;
  static_cast<settings::Stated&>(job) = settings::read_stated(spec, settings::Source::job);
  job.spec = std::move(spec);
  job.folder = rules.folder;
  job.input_root = rules.input_root;
  if (ids == Ids::new_ones) check_new_id(job.id);
  check_together(job);
  add_hash(job);
  resolve_paths(job, rules);
  return job;
}

}  // namespace

Job make_job(Json spec, const PathRules& rules) {
  return read_job(std::move(spec), rules, Ids::new_ones);
}

Job parse_job(std::string_view text, const PathRules& rules) {
  Json spec;
  try {
    spec = base::parse_json(text);
  } catch (const Error& e) {
    const std::string_view why = e.what();
    constexpr std::string_view kSyntax = "parse error at line 1, ";  // a job is one line: its number says nothing
    const bool syntax = why.substr(0, kSyntax.size()) == kSyntax;
    refuse(syntax ? "not JSON: " + std::string(why.substr(kSyntax.size())) : std::string(why));
  }
  return make_job(std::move(spec), rules);
}

std::string pack_job(const Job& job) {
  Json packed{{"folder", job.folder}, {"spec", job.spec}};
  if (!job.input_root.empty()) packed["root"] = job.input_root;
  return packed.dump();
}

Job unpack_job(std::string_view text, const std::string& input_root) {
  try {
    Json packed = base::parse_json(text);
    const std::string root = input_root.empty() ? packed.value("root", std::string()) : input_root;
    return read_job(std::move(packed.at("spec")), {packed.at("folder").get<std::string>(), root}, Ids::any);
  } catch (const Json::exception& e) {
    throw Error(ErrorKind::job, std::string("the queue's entry is no job: ") + base::printable(e.what()));
  }
}

}  // namespace nightreel::job
