// zlib's streams, unpacked piece by piece. Owns zlib's state; one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace nightreel::media {

class Inflater {
 public:
  Inflater();
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;
  ~Inflater();

  struct Step {
    std::size_t used = 0;  // bytes of `in`
    std::size_t made = 0;  // bytes of `out`
    bool ended = false;    // the stream is at its end
  };
  /// Until `in` is used up, `out` is full or the stream ends; nothing where the stream is damaged.
  std::optional<Step> step(std::string_view in, std::span<std::uint8_t> out);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

struct Inflated {
  enum class Verdict { good, damaged, too_long } verdict = Verdict::good;
  std::string text;  // as far as it goes where the stream is cut off
};

/// All of a stream, at most `most` bytes of it.
Inflated inflate_all(std::string_view stream, std::size_t most);

/// CRC-32 as PNG has it.
std::uint32_t crc32_of(std::string_view bytes);

}  // namespace nightreel::media
