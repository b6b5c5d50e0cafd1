#include "nightreel/base/hash.h"

#define XXH_INLINE_ALL
#include <fcntl.h>
#include <unistd.h>
#include <xxhash.h>

#include <bit>
#include <cerrno>
#include <cstring>
#include <vector>

#include "nightreel/base/error.h"
#include "nightreel/base/file.h"

namespace nightreel::base {
namespace {

constexpr std::array<std::uint32_t, 64> kRound{
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

std::uint32_t big_endian(const unsigned char* p) {
  return std::uint32_t{p[0]} << 24U | std::uint32_t{p[1]} << 16U | std::uint32_t{p[2]} << 8U | std::uint32_t{p[3]};
}

}  // namespace

std::string hex(const unsigned char* data, std::size_t size) {
  constexpr const char* kDigits = "0123456789abcdef";
  std::string out;
  out.reserve(2 * size);
  for (std::size_t i = 0; i < size; ++i) out += {kDigits[data[i] >> 4U], kDigits[data[i] & 15U]};
  return out;
}

void Sha256::block(const unsigned char* data) {
  std::array<std::uint32_t, 64> w{};
  for (std::size_t i = 0; i < 16; ++i) w[i] = big_endian(data + 4 * i);
  for (std::size_t i = 16; i < 64; ++i) {
    const std::uint32_t s0 = std::rotr(w[i - 15], 7) ^ std::rotr(w[i - 15], 18) ^ (w[i - 15] >> 3U);
    const std::uint32_t s1 = std::rotr(w[i - 2], 17) ^ std::rotr(w[i - 2], 19) ^ (w[i - 2] >> 10U);
    w[i] = w[i - 16] + s0 + w[i - 7] + s1;
  }
  auto [a, b, c, d, e, f, g, h] = state_;
  for (std::size_t i = 0; i < 64; ++i) {
    const std::uint32_t s1 = std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25);
    const std::uint32_t t1 = h + s1 + ((e & f) ^ (~e & g)) + kRound[i] + w[i];
    const std::uint32_t s0 = std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22);
    const std::uint32_t t2 = s0 + ((a & b) ^ (a & c) ^ (b & c));
    h = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
  }
  const std::array<std::uint32_t, 8> sum{a, b, c, d, e, f, g, h};
  for (std::size_t i = 0; i < 8; ++i) state_[i] += sum[i];
}

void Sha256::update(const void* data, std::size_t size) {
  const auto* p = static_cast<const unsigned char*>(data);
  while (size > 0) {
    const std::size_t at = bytes_ % 64;
    if (at == 0 && size >= 64) {
      block(p);
      bytes_ += 64, p += 64, size -= 64;
      continue;
    }
    const std::size_t n = std::min<std::size_t>(64 - at, size);
    std::memcpy(buffer_.data() + at, p, n);
    bytes_ += n, p += n, size -= n;
    if (bytes_ % 64 == 0) block(buffer_.data());
  }
}

std::array<unsigned char, 32> Sha256::digest() {
  const std::uint64_t bits = bytes_ * 8;
  const unsigned char one = 0x80;
  const unsigned char zero = 0;
  update(&one, 1);
  while (bytes_ % 64 != 56) update(&zero, 1);
  std::array<unsigned char, 8> length{};
  for (std::size_t i = 0; i < 8; ++i) length[i] = static_cast<unsigned char>(bits >> (56 - 8 * i));
  update(length.data(), 8);
  std::array<unsigned char, 32> out{};
  for (std::size_t i = 0; i < 32; ++i) out[i] = static_cast<unsigned char>(state_[i / 4] >> (24 - 8 * (i % 4)));
  return out;
}

std::array<unsigned char, 32> sha256(std::string_view data) {
  Sha256 hash;
  hash.update(data.data(), data.size());
  return hash.digest();
}

std::string sha256_hex(std::string_view data) {
  const auto digest = sha256(data);
  return hex(digest.data(), digest.size());
}

namespace {

// Whether it came to the file's end.
template <typename Hash>
bool update_from_file(Hash& hash, const std::string& path, const std::function<bool()>& stopped = nullptr) {
  const Fd fd = open_regular(path);
  std::vector<char> buffer(1U << 20U);
  for (;;) {
    if (stopped && stopped()) return false;
    const ssize_t n = ::read(fd.get(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw_errno("cannot read", path);
    if (n == 0) return true;
    hash.update(buffer.data(), static_cast<std::size_t>(n));
  }
}

}  // namespace

std::string sha256_file(const std::string& path) {
  return *sha256_file(path, nullptr);
}

std::optional<std::string> sha256_file(const std::string& path, const std::function<bool()>& stopped) {
  Sha256 hash;
  if (!update_from_file(hash, path, stopped)) return std::nullopt;
  const auto digest = hash.digest();
  return hex(digest.data(), digest.size());
}

struct Xxh128::State {
  XXH3_state_t xxh{};
};

Xxh128::Xxh128() : state_(std::make_unique<State>()) {
  XXH3_128bits_reset(&state_->xxh);
}
Xxh128::~Xxh128() = default;

void Xxh128::update(const void* data, std::size_t size) {
  XXH3_128bits_update(&state_->xxh, data, size);
}

std::string Xxh128::hex_digest() const {
  XXH128_canonical_t canonical{};
  XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(&state_->xxh));
  return hex(canonical.digest, sizeof canonical.digest);
}

std::string xxh128_hex(std::string_view data) {
  Xxh128 hash;
  hash.update(data.data(), data.size());
  return hash.hex_digest();
}

std::string xxh128_file(const std::string& path) {
  Xxh128 hash;
  update_from_file(hash, path);
  return hash.hex_digest();
}

}  // namespace nightreel::base
