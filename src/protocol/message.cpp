#include "nightreel/protocol/message.h"

#include <algorithm>
#include <array>

#include "nightreel/base/json.h"

namespace nightreel::protocol {
namespace {

using base::Error;
using base::ErrorKind;

constexpr std::array<std::string_view, 6> kRequests{"render", "cancel", "checkpoint_and_stop",
                                                    "group",  "probe",  "shutdown"};
constexpr std::array<std::string_view, 8> kEvents{"ready",      "rendezvous", "heartbeat", "progress",
                                                  "checkpoint", "probed",     "done",      "failed"};

template <std::size_t N>
Message decode(std::string_view line, const std::array<std::string_view, N>& types, const char* what) {
  if (line.size() > kMaxLine) throw Error(ErrorKind::renderer, std::string(what) + " longer than the protocol allows");
  Message message;
  try {
    message.body = base::parse_json(line);
  } catch (const Error& e) {
    throw Error(ErrorKind::renderer, std::string(what) + " is not JSON: " + e.what());
  }
  if (!message.body.is_object()) throw Error(ErrorKind::renderer, std::string(what) + " is not a JSON object");
  if (message.body.value("v", Json()) != Json(kVersion)) {
    throw Error(ErrorKind::renderer, std::string(what) + " of another protocol version: " +
                                         base::printable(message.body.value("v", Json()).dump(), 40) + " is not " +
                                         std::to_string(kVersion));
  }
  message.type = message.text("type");
  if (std::find(types.begin(), types.end(), message.type) == types.end()) {
    throw Error(ErrorKind::renderer, std::string(what) + " of unknown type " + base::printable(message.type, 40));
  }
  return message;
}

// Runs `fill` on the body; a missing or mistyped field becomes an Error{renderer} that names the message's type.
template <typename Value, typename Fill>
Value read(const Message& message, Fill fill) {
  Value value;
  try {
    fill(value, message.body);
  } catch (const Json::exception& e) {
    throw Error(ErrorKind::renderer, message.type + ": " + base::printable(e.what()));
  }
  return value;
}

template <typename Event>
void read_job(Event& event, const Json& body) {
  body.at("job").get_to(event.job);
  body.at("token").get_to(event.token);
}

std::string line(std::string_view type, Json fields) {
  fields["v"] = kVersion;
  fields["type"] = type;
  return fields.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

std::string Message::text(const std::string& name) const {
  const auto found = body.find(name);
  return found != body.end() && found->is_string() ? found->get<std::string>() : std::string();
}

Message decode_request(std::string_view line) { return decode(line, kRequests, "request"); }
Message decode_event(std::string_view line) { return decode(line, kEvents, "event"); }

std::string encode_plain(std::string_view type, const Json& fields) { return line(type, fields); }

std::string encode(const RenderRequest& r) {
  return line("render", {{"job", r.job},
                         {"token", r.token},
                         {"settings", job::to_json(r.settings)},
                         {"spec", r.spec},
                         {"video", r.video},
                         {"sheet", r.sheet},
                         {"archive", r.archive},
                         {"checkpoint", r.checkpoint},
                         {"archive_content", r.archive_content},
                         {"checkpoint_every", r.checkpoint_every},
                         {"crf", r.crf}});
}

RenderRequest render_request(const Message& message) {
  return read<RenderRequest>(message, [](RenderRequest& r, const Json& body) {
    read_job(r, body);
    r.settings = job::settings_from_json(body.at("settings"));
    r.spec = body.at("spec");
    body.at("video").get_to(r.video);
    body.at("sheet").get_to(r.sheet);
    body.at("archive").get_to(r.archive);
    body.at("checkpoint").get_to(r.checkpoint);
    body.at("archive_content").get_to(r.archive_content);
    body.at("checkpoint_every").get_to(r.checkpoint_every);
    body.at("crf").get_to(r.crf);
  });
}

std::string encode(const GroupRequest& r) {
  return line("group", {{"backend", r.backend},
                        {"address", r.address},
                        {"rank", r.rank},
                        {"size", r.size},
                        {"deadline_ms", r.deadline_ms}});
}

GroupRequest group_request(const Message& message) {
  return read<GroupRequest>(message, [](GroupRequest& r, const Json& body) {
    body.at("backend").get_to(r.backend);
    body.at("address").get_to(r.address);
    body.at("rank").get_to(r.rank);
    body.at("size").get_to(r.size);
    body.at("deadline_ms").get_to(r.deadline_ms);
  });
}

std::string encode(const ReadyEvent& e) {
  return line("ready", {{"model_digest", e.model_digest},
                        {"model", e.model},
                        {"versions", e.versions},
                        {"device", e.device},
                        {"device_uuid", e.device_uuid},
                        {"memory_bytes", e.memory_bytes},
                        {"cpu_capability", e.cpu_capability},
                        {"threads", e.threads},
                        {"load_s", e.load_s}});
}

ReadyEvent ready_event(const Message& message) {
  return read<ReadyEvent>(message, [](ReadyEvent& e, const Json& body) {
    body.at("model_digest").get_to(e.model_digest);
    e.model = body.at("model");
    e.versions = body.at("versions");
    body.at("device").get_to(e.device);
    body.at("device_uuid").get_to(e.device_uuid);
    body.at("memory_bytes").get_to(e.memory_bytes);
    body.at("cpu_capability").get_to(e.cpu_capability);
    body.at("threads").get_to(e.threads);
    body.at("load_s").get_to(e.load_s);
  });
}

std::string encode(const RendezvousEvent& e) {
  return line("rendezvous", {{"address", e.address}, {"joined", e.joined}});
}

RendezvousEvent rendezvous_event(const Message& message) {
  return read<RendezvousEvent>(message, [](RendezvousEvent& e, const Json& body) {
    body.at("address").get_to(e.address);
    body.at("joined").get_to(e.joined);
  });
}

std::string encode(const ProgressEvent& e) {
  return line("progress",
              {{"job", e.job}, {"token", e.token}, {"stage", e.stage}, {"step", e.step}, {"steps", e.steps}});
}

ProgressEvent progress_event(const Message& message) {
  return read<ProgressEvent>(message, [](ProgressEvent& e, const Json& body) {
    read_job(e, body);
    body.at("stage").get_to(e.stage);
    body.at("step").get_to(e.step);
    body.at("steps").get_to(e.steps);
  });
}

std::string encode(const CheckpointEvent& e) {
  return line("checkpoint", {{"job", e.job}, {"token", e.token}, {"step", e.step}});
}

CheckpointEvent checkpoint_event(const Message& message) {
  return read<CheckpointEvent>(message, [](CheckpointEvent& e, const Json& body) {
    read_job(e, body);
    body.at("step").get_to(e.step);
  });
}

std::string encode(const DoneEvent& e) {
  return line("done", {{"job", e.job},
                       {"token", e.token},
                       {"frames", e.frames},
                       {"height", e.height},
                       {"width", e.width},
                       {"resumed_step", e.resumed_step},
                       {"timings", e.timings}});
}

DoneEvent done_event(const Message& message) {
  return read<DoneEvent>(message, [](DoneEvent& e, const Json& body) {
    read_job(e, body);
    body.at("frames").get_to(e.frames);
    body.at("height").get_to(e.height);
    body.at("width").get_to(e.width);
    body.at("resumed_step").get_to(e.resumed_step);
    body.at("timings").get_to(e.timings);
  });
}

std::string encode(const FailedEvent& e) {
  return line("failed",
              {{"job", e.job}, {"token", e.token}, {"kind", base::traits(e.kind).name}, {"message", e.message}});
}

FailedEvent failed_event(const Message& message) {
  return read<FailedEvent>(message, [](FailedEvent& e, const Json& body) {
    read_job(e, body);
    e.kind = base::error_kind(body.at("kind").get<std::string>());
    body.at("message").get_to(e.message);
  });
}

}  // namespace nightreel::protocol
