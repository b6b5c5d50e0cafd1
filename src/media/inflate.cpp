#include "media/inflate.h"

#include <zlib.h>

#include "nightreel/base/error.h"

namespace nightreel::media {

struct Inflater::State {
  z_stream stream{};
};

Inflater::Inflater() : state_(std::make_unique<State>()) {
  if (::inflateInit(&state_->stream) != Z_OK) throw base::Error(base::ErrorKind::internal, "zlib has no memory");
}

Inflater::~Inflater() {
  ::inflateEnd(&state_->stream);
}

std::optional<Inflater::Step> Inflater::step(std::string_view in, std::span<std::uint8_t> out) {
  z_stream& stream = state_->stream;
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(in.data()));  // zlib does not write there
  stream.avail_in = static_cast<uInt>(in.size());
  stream.next_out = out.data();
  stream.avail_out = static_cast<uInt>(out.size());
  const int code = ::inflate(&stream, Z_NO_FLUSH);
  if (code == Z_MEM_ERROR) throw base::Error(base::ErrorKind::internal, "zlib has no memory");
  if (code < 0) return std::nullopt;
  return Step{in.size() - stream.avail_in, out.size() - stream.avail_out, code == Z_STREAM_END};
}

Inflated inflate_all(std::string_view stream, std::size_t most) {
  Inflater inflater;
  Inflated out;
  out.text.resize(most);
  const auto step = inflater.step(stream, {reinterpret_cast<std::uint8_t*>(out.text.data()), most});
  out.text.resize(step ? step->made : 0);
  if (!step && !stream.empty()) out.verdict = Inflated::Verdict::damaged;
  if (step && !step->ended && step->made == most && step->used < stream.size())
    out.verdict = Inflated::Verdict::too_long;
  return out;
}

std::uint32_t crc32_of(std::string_view bytes) {
  return static_cast<std::uint32_t>(::crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

}  // namespace nightreel::media
