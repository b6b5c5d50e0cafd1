#include "nightreel/job/lora_set.h"

#include <doctest/doctest.h>

using namespace nightreel;
using job::lora_set;

namespace {

using Loras = std::vector<settings::Lora>;

const Loras kPair{{"/a.safetensors", 1.0, "high"}, {"/b.safetensors", 0.5, "low"}};

}  // namespace

TEST_CASE("a set has no name without LoRAs, and 32 hex digits with them") {
  CHECK(lora_set({}).empty());
  CHECK(lora_set(kPair).size() == 32);
  CHECK(lora_set(kPair).find_first_not_of("0123456789abcdef") == std::string::npos);
}

TEST_CASE("the order in which LoRAs are listed makes no difference") {
  const Loras turned{kPair[1], kPair[0]};
  CHECK(lora_set(turned) == lora_set(kPair));
  CHECK(job::in_merge_order(turned)[0].path == job::in_merge_order(kPair)[0].path);
}

TEST_CASE("another file, scale or expert, one less or the same one twice is another set") {
  for (const Loras& other :
       {Loras{{"/A.safetensors", 1.0, "high"}, kPair[1]}, Loras{{"/a.safetensors", 1.5, "high"}, kPair[1]},
        Loras{{"/a.safetensors", 1.0, "both"}, kPair[1]}, Loras{kPair[0]}, Loras{kPair[0], kPair[1], kPair[1]},
        Loras{{"/a.safetensors", 0.5, "high"}, {"/b.safetensors", 1.0, "low"}}}) {
    CHECK(lora_set(other) != lora_set(kPair));
  }
}
