#include "nightreel/protocol/message.h"

#include <algorithm>
#include <array>

#include "nightreel/base/json.h"
#include "nightreel/memory/model.h"
#include "nightreel/settings/json.h"
#include "protocol/fields.h"

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

template <typename Event>
void read_job(Event& event, const Json& body) {
  get(body, "job", event.job);
  get(body, "token", event.token);
}

const Json& object_in(const Json& body, const char* name) {
  const Json& value = body.at(name);
  if (!value.is_object()) throw Error(ErrorKind::renderer, std::string(name) + " is no object");
  return value;
}

const Json& texts_in(const Json& body, const char* name) {
  const Json& object = object_in(body, name);
  const bool texts = std::all_of(object.begin(), object.end(), [](const Json& value) { return value.is_string(); });
  if (!texts) throw Error(ErrorKind::renderer, std::string(name) + " holds what is no text");
  return object;
}

std::string line(std::string_view type, Json fields) {
  fields["v"] = kVersion;
  fields["type"] = type;
  return base::dump_json(fields);
}

}  // namespace

std::string Message::text(const std::string& name) const {
  const auto found = body.find(name);
  return found != body.end() && found->is_string() ? found->get<std::string>() : std::string();
}

Message decode_request(std::string_view line) {
  return decode(line, kRequests, "request");
}
Message decode_event(std::string_view line) {
  return decode(line, kEvents, "event");
}

std::string encode_plain(std::string_view type, const Json& fields) {
  return line(type, fields);
}

std::string encode(const RenderRequest& r) {
  return line("render", {{"job", r.job},
                         {"token", r.token},
                         {"settings", settings::to_json(r.settings)},
                         {"spec", r.spec},
                         {"video", r.video},
                         {"sheet", r.sheet},
                         {"archive", r.archive},
                         {"checkpoint", r.checkpoint},
                         {"hash", r.hash},
                         {"archive_content", r.archive_content},
                         {"checkpoint_every", r.checkpoint_every},
                         {"memory", r.memory}});
}

RenderRequest render_request(const Message& message) {
  return read<RenderRequest>(message, [](RenderRequest& r, const Json& body) {
    read_job(r, body);
    r.settings = settings::settings_from_json(body.at("settings"));
    r.spec = body.at("spec");
    get(body, "video", r.video);
    get(body, "sheet", r.sheet);
    get(body, "archive", r.archive);
    get(body, "checkpoint", r.checkpoint);
    if (body.contains("hash")) get(body, "hash", r.hash);
    get(body, "archive_content", r.archive_content);
    get(body, "checkpoint_every", r.checkpoint_every);
    if (body.contains("memory")) get(body, "memory", r.memory);
  });
}

std::string encode(const GroupRequest& r) {
  return line("group", group_fields(r));
}

GroupRequest group_request(const Message& message) {
  return read<GroupRequest>(message, [](GroupRequest& r, const Json& body) { read_group(r, body); });
}

std::string encode(const ReadyEvent& e) {
  return line("ready",
              {{"model_digest", e.model_digest},
               {"model", e.model},
               {"versions", e.versions},
               {"device", e.device},
               {"device_uuid", e.device_uuid},
               {"memory_bytes", e.memory_bytes},
               {"allocator", e.allocator},
               {"memory", e.memory},
               {"plan", e.plan},
               {"cpu_capability", e.cpu_capability},
               {"threads", e.threads},
               {"load_s", e.load_s},
               {"load", {{"bytes_read", e.load.bytes_read}, {"seconds", e.load_s}, {"shared", e.load.shared}}}});
}

ReadyEvent ready_event(const Message& message) {
  return read<ReadyEvent>(message, [](ReadyEvent& e, const Json& body) {
    get(body, "model_digest", e.model_digest);
    e.model = object_in(body, "model");
    e.versions = texts_in(body, "versions");
    get(body, "device", e.device);
    get(body, "device_uuid", e.device_uuid);
    get(body, "memory_bytes", e.memory_bytes);
    if (body.contains("allocator")) get(body, "allocator", e.allocator);
    e.memory = body.value("memory", Json());
    memory::device_memory_from_json(e.memory);  // refuses what jobs cannot be judged by
    if (body.contains("plan") && !body.at("plan").is_null()) e.plan = object_in(body, "plan");
    get(body, "cpu_capability", e.cpu_capability);
    get(body, "threads", e.threads);
    get(body, "load_s", e.load_s);
    if (!(e.load_s >= 0) || e.threads < 0) throw Error(ErrorKind::renderer, "load_s or threads is below 0");
    if (!body.contains("load")) return;
    get(body.at("load"), "bytes_read", e.load.bytes_read);
    get(body.at("load"), "shared", e.load.shared);
  });
}

std::string encode(const RendezvousEvent& e) {
  return line("rendezvous", {{"address", e.address}, {"joined", e.joined}});
}

RendezvousEvent rendezvous_event(const Message& message) {
  return read<RendezvousEvent>(message, [](RendezvousEvent& e, const Json& body) {
    get(body, "address", e.address);
    get(body, "joined", e.joined);
  });
}

std::string encode(const ProgressEvent& e) {
  return line("progress",
              {{"job", e.job}, {"token", e.token}, {"stage", e.stage}, {"step", e.step}, {"steps", e.steps}});
}

ProgressEvent progress_event(const Message& message) {
  return read<ProgressEvent>(message, [](ProgressEvent& e, const Json& body) {
    read_job(e, body);
    get(body, "stage", e.stage);
    get(body, "step", e.step);
    get(body, "steps", e.steps);
  });
}

std::string encode(const CheckpointEvent& e) {
  return line("checkpoint", {{"job", e.job}, {"token", e.token}, {"step", e.step}});
}

CheckpointEvent checkpoint_event(const Message& message) {
  return read<CheckpointEvent>(message, [](CheckpointEvent& e, const Json& body) {
    read_job(e, body);
    get(body, "step", e.step);
  });
}

std::string encode(const DoneEvent& e) {
  return line("done", {{"job", e.job},
                       {"token", e.token},
                       {"frames", e.frames},
                       {"height", e.height},
                       {"width", e.width},
                       {"resumed_step", e.resumed_step},
                       {"timings", e.timings},
                       {"unused_keys", e.unused_keys},
                       {"lora_digests", e.lora_digests},
                       {"plan", e.plan}});
}

DoneEvent done_event(const Message& message) {
  return read<DoneEvent>(message, [](DoneEvent& e, const Json& body) {
    read_job(e, body);
    get(body, "frames", e.frames);
    get(body, "height", e.height);
    get(body, "width", e.width);
    get(body, "resumed_step", e.resumed_step);
    get(body, "timings", e.timings);
    if (body.contains("unused_keys")) get(body, "unused_keys", e.unused_keys);
    if (body.contains("lora_digests")) get(body, "lora_digests", e.lora_digests);
    e.plan = body.value("plan", Json());
  });
}

std::string encode(const FailedEvent& e) {
  return line("failed", {{"job", e.job},
                         {"token", e.token},
                         {"kind", base::traits(e.kind).name},
                         {"message", e.message},
                         {"memory_failed", e.memory_failed}});
}

FailedEvent failed_event(const Message& message) {
  return read<FailedEvent>(message, [](FailedEvent& e, const Json& body) {
    read_job(e, body);
    e.kind = base::error_kind(body.at("kind").get<std::string>());
    get(body, "message", e.message);
    if (body.contains("memory_failed")) get(body, "memory_failed", e.memory_failed);
  });
}

}  // namespace nightreel::protocol
