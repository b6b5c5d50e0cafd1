// What a rank and its renderer say to each other: one JSON object a line, each with the protocol's version, a type and,
// where it is about one, the job's id and the lease's token.
//
// Plain values; any thread. Decoding never trusts the other side: a line that is too long, not JSON, of another
// version, of an unknown type or with a missing or mistyped field is an Error{renderer}.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "nightreel/base/error.h"
#include "nightreel/settings/settings.h"

namespace nightreel::protocol {

inline constexpr int kVersion = 1;
inline constexpr std::size_t kMaxLine = 4U << 20U;  // bytes; a job's prompt is at most 64 KiB

using Json = nlohmann::json;

// ---- requests: rank to renderer ------------------------------------------------------------------------------------

struct RenderRequest {
  std::string job;          // id
  std::uint64_t token = 0;  // of the lease; comes back in every event about this job
  settings::Settings settings;
  Json spec;                          // the job as given, for the archive
  std::string video;                  // paths to write to: temporary names; empty: not wanted
  std::string sheet;                  //
  std::string archive;                //
  std::string checkpoint;             // final name of the state that a later attempt goes on from; empty: none is kept
  std::string hash = {};              // of the job: a state of another one is not gone on from
  std::string archive_content;        // none, latents, frames
  std::int64_t checkpoint_every = 0;  // steps; 0: about a minute's worth
  std::uint64_t memory = 0;  // bytes to plan with at most, which equal GPUs of a run have in common; 0: its own
};

struct GroupRequest {
  std::string backend;  // store, nccl
  std::string address;  // empty: make a rendezvous and say where it is; else: join it, add up ones, leave it
  int rank = 0;
  int size = 1;
  std::int64_t deadline_ms = 60000;
  std::string listen_on;  // of store, for a rendezvous: a numeric address of this host; empty: loopback
  bool stay = false;      // join, add up ones, and remain: from then on the members render each video together
};

// ---- events: renderer to rank --------------------------------------------------------------------------------------

/// How a renderer came by its weights; the seconds are ReadyEvent's.
struct LoadReport {
  std::uint64_t bytes_read = 0;  // from files, by this renderer
  bool shared = false;           // the others of a group have read the rest
};

struct ReadyEvent {
  std::string model_digest;
  Json model;                      // kind, recipe, name: what goes into archives and sidecars
  Json versions;                   // library -> version
  std::string device;              // "cpu", or the GPU's name
  std::string device_uuid;         // empty on a CPU
  std::uint64_t memory_bytes = 0;  // of the device, total; 0 on a CPU
  std::string allocator;           // how it is taken (memory::Allocator); empty on a CPU
  Json memory;                     // memory::DeviceMemory, by which jobs are judged; null: by nothing
  Json plan;                       // memory::MemoryPlan of the model's usual video; null: none was made
  std::string cpu_capability;      // of LibTorch's kernels: "AVX2", "AVX512", "DEFAULT"
  int threads = 0;
  double load_s = 0;
  LoadReport load;
};

struct RendezvousEvent {
  std::string address;
  bool joined =
      false;  // false: the address is new, nobody has joined; true: this renderer was a member and the sum was right
};

struct ProgressEvent {
  std::string job;
  std::uint64_t token = 0;
  std::string stage;  // text, denoise, wait (between experts, for the others of a wave), decode, encode, write
  std::int64_t step = 0;
  std::int64_t steps = 0;
};

struct CheckpointEvent {
  std::string job;
  std::uint64_t token = 0;
  std::int64_t step = 0;
};

struct DoneEvent {
  std::string job;
  std::uint64_t token = 0;
  std::int64_t frames = 0;
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::int64_t resumed_step = 0;              // 0: from the start
  std::map<std::string, double> timings;      // stage -> seconds
  std::vector<std::string> unused_keys = {};  // of LoRAs, that the model has no place for: a text for each file
  std::map<std::string, std::string> lora_digests = {};  // by path
  Json plan = {};                                        // memory::MemoryPlan that it was made with
};

struct FailedEvent {
  std::string job;  // empty: not about a job, the renderer itself cannot go on
  std::uint64_t token = 0;
  base::ErrorKind kind = base::ErrorKind::internal;
  std::string message;
  std::string memory_failed = {};  // memory::StageBytes: the renderer is to be started again with plans that need less
};

// ---- encoding ------------------------------------------------------------------------------------------------------

std::string encode(const RenderRequest& request);
std::string encode(const GroupRequest& request);
std::string encode(const ReadyEvent& event);
std::string encode(const RendezvousEvent& event);
std::string encode(const ProgressEvent& event);
std::string encode(const CheckpointEvent& event);
std::string encode(const DoneEvent& event);
std::string encode(const FailedEvent& event);
/// Those that carry nothing of their own: cancel, checkpoint_and_stop, shutdown (requests), heartbeat (event, with the
/// stage). probe and probed are in probe.h.
std::string encode_plain(std::string_view type, const Json& fields = Json::object());

/// A line taken apart: its type is known and of this direction, its fields not looked at yet.
struct Message {
  std::string type;
  Json body;
  /// The string field `name`, empty where absent.
  std::string text(const std::string& name) const;
};

Message decode_request(std::string_view line);
Message decode_event(std::string_view line);

RenderRequest render_request(const Message& message);
GroupRequest group_request(const Message& message);
ReadyEvent ready_event(const Message& message);
RendezvousEvent rendezvous_event(const Message& message);
ProgressEvent progress_event(const Message& message);
CheckpointEvent checkpoint_event(const Message& message);
DoneEvent done_event(const Message& message);
FailedEvent failed_event(const Message& message);

}  // namespace nightreel::protocol
