#include "nightreel/base/hash.h"

#include <doctest/doctest.h>

#include "nightreel/base/random.h"
#include "support/error.h"
#include "support/temp_folder.h"

namespace nightreel::base {
namespace {

TEST_CASE("SHA-256 gives NIST's digests") {
  struct Vector {
    std::string text;
    const char* digest;
  };
  // FIPS 180-4's examples, and the padding's edges by Python's hashlib.
  for (const auto& v : {
           Vector{"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
           Vector{"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
           Vector{"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                  "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
           Vector{std::string(55, 'a'), "9f4390f8d30c2dd92ec9f095b65e2b9ae9b0a925a5258e241c9f1e910f734318"},
           Vector{std::string(56, 'a'), "b35439a4ac6f0948b6d6f9e3c6af0f5f590ce20f1bde7090ef7970686ec6738a"},
           Vector{std::string(64, 'a'), "ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb"},
           Vector{std::string(1000000, 'a'), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"},
       }) {
    CHECK(sha256_hex(v.text) == v.digest);
  }
}

TEST_CASE("the pieces in which text comes do not matter") {
  std::string text;
  for (int i = 0; i < 1000; ++i) text += static_cast<char>('a' + i % 26);
  for (const std::size_t piece : {1U, 3U, 63U, 64U, 65U, 200U}) {
    Sha256 sha;
    Xxh128 xxh;
    for (std::size_t at = 0; at < text.size(); at += piece) {
      const std::size_t n = std::min(piece, text.size() - at);
      sha.update(text.data() + at, n);
      xxh.update(text.data() + at, n);
    }
    const auto digest = sha.digest();
    CHECK(hex(digest.data(), digest.size()) == sha256_hex(text));
    CHECK(xxh.hex_digest() == xxh128_hex(text));
  }
}

TEST_CASE("XXH3-128 is in canonical byte order") {
  // The reference implementation's: xxhsum -H2.
  CHECK(xxh128_hex("") == "99aa06d3014798d86001c324468d497f");
  CHECK(xxh128_hex("a") == "a96faf705af16834e6c632b61e964e1f");
}

TEST_CASE("files are hashed, and a missing one is an error") {
  test::TempFolder folder;
  CHECK(sha256_file(folder.write("a", std::string(3000000, 'x'))) == sha256_hex(std::string(3000000, 'x')));
  CHECK(test::thrown_by([&] { sha256_file(folder / "none"); }).kind == ErrorKind::storage);
  int asked = 0;
  CHECK(sha256_file(folder / "a", [&] { return ++asked > 99; }) == sha256_file(folder / "a"));
  CHECK(asked >= 3);
  CHECK(!sha256_file(folder / "a", [&] { return --asked < 2; }));
}

TEST_CASE("random names have their length and do not come twice") {
  CHECK(random_hex(8).size() == 16);
  CHECK(random_hex(16) != random_hex(16));
  CHECK(random_hex(0).empty());
}

}  // namespace
}  // namespace nightreel::base
