// What every check is given, and how a check asks all ranks.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "doctor/patient.h"
#include "doctor/ranks.h"
#include "nightreel/base/error.h"
#include "nightreel/base/json.h"
#include "nightreel/cluster/gpu.h"
#include "nightreel/doctor/doctor.h"

namespace nightreel::doctor {

/// The ranks lost each other: nothing that they do together can be checked any more.
class Lost : public base::Error {
 public:
  explicit Lost(const std::string& why) : base::Error(base::ErrorKind::environment, why) {}
};

struct Context {
  const Options& options;
  cluster::World& world;
  cluster::Environment environment;
  Patient patient;

  const Places& places() const { return world.places(); }
  bool first() const { return world.rank() == 0; }
  bool first_of_host() const { return world.place().local_rank == 0; }
  /// How long ranks wait for each other: longer than one of them may take for its own part.
  std::chrono::milliseconds meeting() const { return patient.limit() * 2 + std::chrono::seconds(5); }
};

/// Every rank's text, in rank order. Throws Lost.
inline std::vector<std::string> exchange(const Context& context, const std::string& mine, const std::string& check,
                                         std::chrono::milliseconds deadline) {
  try {
    return context.world.all_gather(mine, deadline, check);
  } catch (const base::Error& e) {
    throw Lost(e.what());
  }
}

inline std::string dump(const base::Json& json) {
  return base::dump_json(json);
}

/// Collective: `part` of every rank, as facts or as the problem that it ended with. `run` calls it: in a thread beside
/// a deadline, or here, where the part itself has one.
template <typename Facts, typename Run>
std::vector<Answer<Facts>> gather_with(const Context& context, const std::string& check,
                                       std::chrono::milliseconds deadline, Run run) {
  base::Json mine = base::Json::object();
  try {
    mine["facts"] = run();
  } catch (const std::exception& e) {
    mine = {{"problem", *e.what() == '\0' ? "failed" : e.what()}};
  }
  std::vector<Answer<Facts>> answers;
  for (const std::string& text : exchange(context, dump(mine), check, deadline)) {
    const base::Json body = base::Json::parse(text);
    Answer<Facts> answer;
    if (body.contains("problem")) answer.problem = body.at("problem").get<std::string>();
    if (body.contains("facts")) answer.facts = body.at("facts").template get<Facts>();
    answers.push_back(std::move(answer));
  }
  return answers;
}

/// `part` owns all that it uses and runs beside the patient's deadline.
template <typename Facts>
std::vector<Answer<Facts>> gather(const Context& context, const std::string& check, std::function<Facts()> part) {
  return gather_with<Facts>(context, check, context.meeting(), [&] {
    return base::Json::parse(context.patient([part] { return dump(base::Json(part())); }));
  });
}

/// `part` has deadlines of its own and runs on this thread.
template <typename Facts>
std::vector<Answer<Facts>> gather_here(const Context& context, const std::string& check,
                                       std::chrono::milliseconds deadline, const std::function<Facts()>& part) {
  return gather_with<Facts>(context, check, deadline, [&] { return base::Json(part()); });
}

}  // namespace nightreel::doctor
