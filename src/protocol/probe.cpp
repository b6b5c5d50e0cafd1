#include "nightreel/protocol/probe.h"

#include "protocol/fields.h"

namespace nightreel::protocol {
namespace {

[[noreturn]] void refuse(const std::string& why) {
  throw base::Error(base::ErrorKind::renderer, why);
}

Transfer transfer_from(const Json& body) {
  Transfer t;
  get(body, "name", t.name);
  get(body, "verb", t.verb);
  get(body, "elements", t.elements);
  if (t.verb != "all_to_all" && t.verb != "all_gather") refuse("verb is none of all_to_all, all_gather");
  if (t.elements < 1) refuse("elements is below 1");
  return t;
}

TransferResult result_from(const Json& body) {
  TransferResult r;
  get(body, "name", r.name);
  get(body, "verb", r.verb);
  get(body, "bytes", r.bytes);
  get(body, "seconds", r.seconds);
  get(body, "correct", r.correct);
  return r;
}

}  // namespace

std::string encode(const ProbeRequest& r) {
  Json transfers = Json::array();
  for (const Transfer& t : r.transfers) {
    transfers.push_back({{"name", t.name}, {"verb", t.verb}, {"elements", t.elements}});
  }
  return encode_plain("probe", {{"what", r.what},
                                {"model", r.model},
                                {"group", group_fields(r.group)},
                                {"transfers", transfers},
                                {"repeats", r.repeats}});
}

ProbeRequest probe_request(const Message& message) {
  return read<ProbeRequest>(message, [](ProbeRequest& r, const Json& body) {
    if (!body.contains("what")) return;
    get(body, "what", r.what);
    get(body, "model", r.model);
    read_group(r.group, body.at("group"));
    for (const Json& transfer : body.at("transfers")) r.transfers.push_back(transfer_from(transfer));
    get(body, "repeats", r.repeats);
    if (r.what != "versions" && r.what != "model" && r.what != "group")
      refuse("what is none of versions, model, group");
    if (r.repeats < 1 || r.repeats > 1000) refuse("repeats is not within 1 to 1000");
  });
}

std::string encode(const ProbedEvent& e) {
  Json transfers = Json::array();
  for (const TransferResult& r : e.transfers) {
    transfers.push_back(
        {{"name", r.name}, {"verb", r.verb}, {"bytes", r.bytes}, {"seconds", r.seconds}, {"correct", r.correct}});
  }
  return encode_plain("probed", {{"facts", e.facts}, {"transfers", transfers}});
}

ProbedEvent probed_event(const Message& message) {
  return read<ProbedEvent>(message, [](ProbedEvent& e, const Json& body) {
    e.facts = body.at("facts");
    if (!e.facts.is_object()) refuse("facts is no object");
    for (const Json& result : body.at("transfers")) e.transfers.push_back(result_from(result));
  });
}

}  // namespace nightreel::protocol
