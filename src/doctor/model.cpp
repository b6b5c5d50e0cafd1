#include "doctor/model.h"

#include <algorithm>
#include <sstream>

#include "nightreel/base/clock.h"
#include "nightreel/card/card.h"

namespace nightreel::doctor {
namespace {

constexpr double kBytesASecond = 20e6;
constexpr const char* kFix =
    "give --model the same folder, of a whole Diffusers checkpoint, on every host; nightreel model info DIR says more";

std::string decimal_gigabytes(std::uint64_t bytes) {
  std::ostringstream text;
  text.precision(3);
  text << static_cast<double>(bytes) / 1e9 << " GB";
  return text.str();
}

}  // namespace

CardFacts card_facts(const std::string& folder) {
  const card::Card card = card::read(folder);
  card::check_supported(card);
  CardFacts facts;
  const std::string kind(card::name(card.kind));
  facts.name = card.published.empty() ? kind : card.published + " (" + kind + ")";
  for (const auto& [component, bytes] : card.weight_bytes) facts.bytes += bytes;
  return facts;
}

DigestFacts digest_facts(ProbeRenderer& renderer, const std::string& folder, std::chrono::milliseconds limit) {
  protocol::ProbeRequest request;
  request.what = "model";
  request.model = folder;
  const auto event = renderer.probe(request, limit);
  DigestFacts facts;
  facts.digest = base::printable(event.facts.value("digest", ""), 64);
  facts.seconds = event.facts.value("seconds", 0.0);
  if (facts.digest.empty()) throw base::Error(base::ErrorKind::renderer, "its renderer told no digest");
  return facts;
}

std::chrono::milliseconds reading_limit(std::uint64_t bytes) {
  return std::chrono::milliseconds(static_cast<std::int64_t>(static_cast<double>(bytes) / kBytesASecond * 1000));
}

Findings judge_model(const Places& places, const std::vector<Answer<CardFacts>>& cards,
                     const std::vector<Answer<DigestFacts>>& digests) {
  Findings out = failures_of("model", places, cards, kFix);
  if (!out.empty()) return out;
  out = failures_of("model", places, digests, kFix);
  if (!out.empty()) return out;
  const auto values = values_of(digests, [](const DigestFacts& f) { return f.digest; });
  if (differ(values)) {
    return {failure("model", "the hosts have different models under the same path: " + spread(places, values),
                    "copy one model to all hosts")};
  }
  double slowest = 0;
  for (const auto& answer : digests) slowest = std::max(slowest, answer.facts.seconds);
  const auto& card = cards.front().facts;
  return {ok("model", card.name + ", " + decimal_gigabytes(card.bytes) + ", digest " + values.front() +
                          " on all hosts; read in " + base::human_duration(slowest))};
}

}  // namespace nightreel::doctor
