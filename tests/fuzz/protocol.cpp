// What a rank and its renderer say to each other: each line as a request and as an event.
#include "nightreel/protocol/message.h"

#include "fuzz/fuzz.h"
#include "nightreel/protocol/probe.h"

namespace nightreel::fuzz {
namespace {

using protocol::Message;

/// What was understood is said in the same words for ever.
template <class Read>
void said_again(const Message& message, Message (*decode)(std::string_view), Read read) {
  const std::string once = protocol::encode(read(message));
  const std::string twice = protocol::encode(read(decode(once)));
  expect(once == twice, "a message that was understood is said in other words the second time");
}

void request(std::string_view line) {
  const Message message = protocol::decode_request(line);
  if (message.type == "render") said_again(message, protocol::decode_request, protocol::render_request);
  if (message.type == "group") said_again(message, protocol::decode_request, protocol::group_request);
  if (message.type == "probe") said_again(message, protocol::decode_request, protocol::probe_request);
  message.text("job");
}

void event(std::string_view line) {
  const Message message = protocol::decode_event(line);
  if (message.type == "ready") said_again(message, protocol::decode_event, protocol::ready_event);
  if (message.type == "rendezvous") said_again(message, protocol::decode_event, protocol::rendezvous_event);
  if (message.type == "progress") said_again(message, protocol::decode_event, protocol::progress_event);
  if (message.type == "checkpoint") said_again(message, protocol::decode_event, protocol::checkpoint_event);
  if (message.type == "probed") said_again(message, protocol::decode_event, protocol::probed_event);
  if (message.type == "done") said_again(message, protocol::decode_event, protocol::done_event);
  if (message.type == "failed") said_again(message, protocol::decode_event, protocol::failed_event);
}

}  // namespace
}  // namespace nightreel::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace nightreel;
  const std::string_view line = fuzz::text_of(data, size);
  fuzz::answers_well({base::ErrorKind::renderer}, [&] { fuzz::request(line); });
  fuzz::answers_well({base::ErrorKind::renderer}, [&] { fuzz::event(line); });
  return 0;
}
