// SHA-256 for what users compare (jobs, videos), XXH3-128 for what the program compares (tensors).
//
// SHA-256 is our own eighty lines because the engine's layers build on machines that have LibTorch and nothing else,
// no OpenSSL; it is tested against the NIST vectors. Objects are not shared between threads.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace nightreel::base {

std::string hex(const unsigned char* data, std::size_t size);

/// FIPS 180-4.
class Sha256 {
 public:
  void update(const void* data, std::size_t size);
  std::array<unsigned char, 32> digest();  // ends the object

 private:
  void block(const unsigned char* data);
  std::array<std::uint32_t, 8> state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<unsigned char, 64> buffer_{};
  std::uint64_t bytes_ = 0;
};

std::array<unsigned char, 32> sha256(std::string_view data);
std::string sha256_hex(std::string_view data);
/// Throws Error{storage}.
std::string sha256_file(const std::string& path);
/// Likewise; nothing where `stopped`, asked before each MiB, said so.
std::optional<std::string> sha256_file(const std::string& path, const std::function<bool()>& stopped);

/// XXH3, 128 bits, seed 0, canonical byte order, as 32 hex digits.
class Xxh128 {
 public:
  Xxh128();
  ~Xxh128();
  void update(const void* data, std::size_t size);
  std::string hex_digest() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::string xxh128_hex(std::string_view data);
/// Throws Error{storage}.
std::string xxh128_file(const std::string& path);

}  // namespace nightreel::base
