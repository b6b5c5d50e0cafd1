#include "nightreel/job/job.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "job/fields.h"
#include "job/paths.h"
#include "nightreel/base/hash.h"

namespace nightreel::job {
namespace {

using base::Error;
using base::ErrorKind;

constexpr std::size_t kMaxId = 128;
constexpr std::size_t kMaxLoras = 64;

constexpr std::string_view kInbox = "inbox-";  // begins the ids of records of refused inbox entries

// What version 0.1 took, which the queue may still hold: never hidden, never a path.
bool was_id(std::string_view id) {
  const auto legal = [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
           c == '-';
  };
  return !id.empty() && id.size() <= kMaxId && id[0] != '.' && std::all_of(id.begin(), id.end(), legal);
}

std::string read_id(const Json& value) {
  std::string id = read_text(value, kMaxPrompt);
  if (!was_id(id)) {
    refuse("'" + base::printable(id, 60) +
           "' is no id: letters, digits, '.', '_' and '-', at most 128, the first no '.' and no '-'");
  }
  return id;
}

// Of new jobs: no option of a command either, and no record's.
void check_new_id(const std::string& id) {
  if (id.empty() || is_id(id)) return;
  refuse("id", id[0] == '-' ? "'" + base::printable(id, 60) + "' begins with '-', and would be read as an option"
                            : "'" + base::printable(id, 60) + "' begins with '" + std::string(kInbox) +
                                  "', as records of refused inbox entries do");
}

std::string read_prompt(const Json& value) {
  std::string prompt = read_text(value, kMaxPrompt);
  const auto blank = [](char c) { return c == ' ' || (c >= '\t' && c <= '\r'); };
  if (std::all_of(prompt.begin(), prompt.end(), blank)) refuse("is empty");
  return prompt;
}

std::vector<double> read_sigmas(const Json& value) {
  std::vector<double> sigmas;
  for (const auto& entry : read_array(value, kMaxSteps)) {
    const double sigma = read_number(entry, 0, 1, Low::exclusive);
    if (!sigmas.empty() && sigma >= sigmas.back()) {
      refuse(fmt::format("must fall from step to step: {} follows {}", sigma, sigmas.back()));
    }
    sigmas.push_back(sigma);
  }
  if (sigmas.empty()) refuse("is empty");
  return sigmas;
}

constexpr std::array<Field<Lora>, 3> kLoraFields{{
    {"path", [](const Json& v, Lora& l) { l.path = read_text(v, kMaxPrompt); }},
    {"scale", [](const Json& v, Lora& l) { l.scale = read_number(v, -100, 100); }},
    {"expert",
     [](const Json& v, Lora& l) {
       l.expert = read_choice(v, {"high", "low", "both"});
     }},
}};

Lora read_lora(const Json& value) {
  if (!value.is_object()) refuse("an object {\"path\": …} is needed");
  std::vector<std::string> known;
  append_names(kLoraFields, known);
  refuse_unknown(value, known);
  Lora lora;
  read_fields(value, kLoraFields, lora);
  if (!value.contains("path")) refuse("path: is required");
  return lora;
}

std::vector<Lora> read_loras(const Json& value) {
  std::vector<Lora> loras;
  for (const auto& entry : read_array(value, kMaxLoras)) {
    try {
      loras.push_back(read_lora(entry));
    } catch (const Error& e) {
      refuse(fmt::format("[{}]: {}", loras.size(), e.what()));
    }
  }
  return loras;
}

// The fields beside those in kOverrideFields. Paths are read as written here and resolved afterwards.
constexpr std::array<Field<Job>, 13> kJobFields{{
    {"id", [](const Json& v, Job& j) { j.id = read_id(v); }},
    {"prompt", [](const Json& v, Job& j) { j.prompt = read_prompt(v); }},
    {"image", [](const Json& v, Job& j) { j.image = read_text(v, kMaxPrompt); }},
    {"last_image", [](const Json& v, Job& j) { j.last_image = read_text(v, kMaxPrompt); }},
    {"flow_shift", [](const Json& v, Job& j) { j.flow_shift = read_number(v, 0, 1000, Low::exclusive); }},
    {"boundary_ratio", [](const Json& v, Job& j) { j.boundary_ratio = read_number(v, 0, 1); }},
    {"sampler",
     [](const Json& v, Job& j) {
       j.sampler = read_choice(v, {"unipc", "dpm++", "euler"});
     }},
    {"sigmas", [](const Json& v, Job& j) { j.sigmas = read_sigmas(v); }},
    {"seed", [](const Json& v, Job& j) { j.seed = static_cast<std::uint64_t>(read_integer(v, 0, INT64_MAX)); }},
    {"loras", [](const Json& v, Job& j) { j.loras = read_loras(v); }},
    {"priority", [](const Json& v, Job& j) { j.priority = read_integer(v, -kMaxPriority, kMaxPriority); }},
    {"max_attempts", [](const Json& v, Job& j) { j.max_attempts = read_integer(v, 1, 1000); }},
    {"timeout_s", [](const Json& v, Job& j) { j.timeout_s = read_number(v, 0, 1e7, Low::exclusive); }},
}};

std::vector<std::string> known_fields() {
  std::vector<std::string> names;
  append_names(kJobFields, names);
  append_names(kOverrideFields, names);
  return names;
}

void resolve(std::string_view field, std::string& path, const PathRules& rules) {
  try {
    path = resolve_input(path, rules);
  } catch (const Error& e) {
    refuse(field, e.what());
  }
}

void resolve_paths(Job& job, const PathRules& rules) {
  if (job.spec.contains("image")) resolve("image", job.image, rules);
  if (job.spec.contains("last_image")) resolve("last_image", job.last_image, rules);
  for (std::size_t i = 0; i < job.loras.size(); ++i) {
    const std::string field = fmt::format("loras: [{}]: path", i);
    try {
      job.loras[i].path = resolve_lora(job.loras[i].path, rules);
    } catch (const Error& e) {
      refuse(field, e.what());
    }
  }
}

void check_together(const Job& job) {
  if (job.prompt.empty()) refuse("prompt", "is required");
  if (job.spec.contains("last_image") && !job.spec.contains("image")) {
    refuse("last_image", "goes with image, the first picture, which is missing");
  }
  const auto& steps = job.overrides.num_inference_steps;
  if (steps && !job.sigmas.empty() && *steps != static_cast<std::int64_t>(job.sigmas.size())) {
    refuse("num_inference_steps",
           fmt::format("{} steps, but sigmas has {}: leave one of them out", *steps, job.sigmas.size()));
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

bool is_id(std::string_view text) {
  return was_id(text) && text[0] != '-' && text.substr(0, kInbox.size()) != kInbox;
}

namespace {

enum class Ids { new_ones, any };

Job read_job(Json spec, const PathRules& rules, Ids ids) {
  if (!spec.is_object()) refuse("not a JSON object: a job is {\"prompt\": …}");
  Job job;
  job.spec = std::move(spec);
  job.folder = rules.folder;
  job.input_root = rules.input_root;
  refuse_unknown(job.spec, known_fields());
  read_fields(job.spec, kJobFields, job);
  read_fields(job.spec, kOverrideFields, job.overrides);
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
