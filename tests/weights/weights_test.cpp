#include "nightreel/weights/weights.h"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <filesystem>

#include "nightreel/weights/check.h"
#include "nightreel/weights/digest.h"
#include "support/error.h"
#include "support/temp_folder.h"
#include "weights/checkpoint_files.h"

using namespace nightreel;
using test::contains;
using test::file_bytes;
using test::file_of;
using test::refusal;
using test::TempFolder;
using weights::WeightMap;

namespace {

constexpr const char* kSingle = "diffusion_pytorch_model.safetensors";
constexpr const char* kIndex = "diffusion_pytorch_model.safetensors.index.json";

/// a [2] in 1.safetensors, b [1, 2] in 2.safetensors, and the index that says so.
void write_shards(const TempFolder& folder) {
  folder.write("1.safetensors", file_of({{"a", {2}}}));
  folder.write("2.safetensors", file_of({{"b", {1, 2}, '\2'}}));
  folder.write(kIndex, R"({"metadata":{"total_size":16},"weight_map":{"a":"1.safetensors","b":"2.safetensors"}})");
}

/// Of components whose tensors count all, by their own names.
weights::TensorList without_lists(const std::string&) {
  return {};
}

}  // namespace

TEST_CASE("tensors are taken from one file, from shards, through symbolic links") {
  const TempFolder single;
  single.write("model.safetensors", file_of({{"a", {2}}, {"b", {1, 2}, '\2'}}));
  const TempFolder sharded;
  write_shards(sharded);
  const TempFolder linked;  // a hub cache: snapshots/… links to blobs/…
  for (const char* name : {"1.safetensors", "2.safetensors", kIndex}) {
    std::filesystem::create_symlink(sharded.path() + "/" + name, linked.path() + "/" + name);
  }
  for (const std::string& folder : {single.path(), sharded.path(), linked.path()}) {
    WeightMap weights = WeightMap::open(folder);
    CHECK(weights.names() == std::vector<std::string>{"a", "b"});
    CHECK(weights.has("a"));
    CHECK_FALSE(weights.has("c"));
    CHECK(weights.take("a", {2}).numel() == 2);
    CHECK(weights.take("b", {1, 2}).sizes() == at::IntArrayRef({1, 2}));
    CHECK_NOTHROW(weights.expect_all_taken());
  }
}

TEST_CASE("missing, misshapen and surplus tensors are named, several in one message") {
  const TempFolder folder;
  folder.write(kSingle, file_of({{"a", {2}}, {"b", {3}}, {"c", {1}}, {"d", {1}}}));
  WeightMap weights = WeightMap::open(folder.path());
  CHECK(weights.take("a", {2}).isfinite().all().item<bool>());
  CHECK(weights.take("b", {1, 3}).isnan().all().item<bool>());
  CHECK(weights.take("nobody", {4}).sizes() == at::IntArrayRef({4}));
  const std::string message = refusal([&] { weights.expect_all_taken(); });
  CHECK(message.rfind(folder.path() + ": tensors ", 0) == 0);
  CHECK(contains(message, "b (has shape [3], config.json makes it [1, 3])"));
  CHECK(contains(message, "nobody (missing)"));
  CHECK(contains(message, "c (not part of this model), d (not part of this model)"));
}

TEST_CASE("a message names five tensors and counts the others") {
  const TempFolder folder;
  std::vector<test::FloatTensor> many;
  for (int i = 0; i < 9; ++i) many.push_back({"t" + std::to_string(i), {1}});
  folder.write(kSingle, file_of(many));
  const WeightMap weights = WeightMap::open(folder.path());
  const std::string message = refusal([&] { weights.expect_all_taken(); });
  CHECK(contains(message, "t4"));
  CHECK_FALSE(contains(message, "t5"));
  CHECK(contains(message, "9 in all"));
}

TEST_CASE("a wrong config costs no memory: the fifth misfit, or a large one, ends it") {
  const TempFolder folder;
  folder.write(kSingle, file_of({{"a", {2}}}));
  WeightMap large = WeightMap::open(folder.path());
  CHECK(contains(refusal([&] { large.take("a", {1 << 20, 1 << 20}); }), "a (has shape [2]"));
  WeightMap huge = WeightMap::open(folder.path());
  CHECK(contains(refusal([&] { huge.take("a", {1LL << 40, 1LL << 40}); }), "a (has shape [2]"));
  WeightMap many = WeightMap::open(folder.path());
  for (int i = 0; i < 4; ++i) many.take("m" + std::to_string(i), {1});
  CHECK(contains(refusal([&] { many.take("m4", {1}); }), "m4 (missing)"));
}

TEST_CASE("folders without safetensors are refused by the name of what they have") {
  const TempFolder empty;
  CHECK(contains(refusal([&] { WeightMap::open(empty.path()); }), "no diffusion_pytorch_model.safetensors"));
  for (const char* name :
       {"pytorch_model.bin", "wan-Q4_K_M.gguf", "model.pth", "diffusion_pytorch_model.fp16.safetensors"}) {
    const TempFolder folder;
    const std::string file = folder.write(name, "x");
    CHECK(contains(refusal([&] { WeightMap::open(folder.path()); }), name));
    CHECK(contains(refusal([&] { WeightMap::open(file); }), "single-file"));
  }
  CHECK(contains(refusal([&] { WeightMap::open(empty.path() + "/none"); }), "cannot open the folder"));
}

TEST_CASE("an index that does not tell the truth is refused") {
  struct Case {
    const char* index;
    const char* why;
  };
  for (const Case& c :
       {Case{R"({"weight_map":{"a":"1.safetensors","b":"1.safetensors"}})", "tensor b: not in 1.safetensors"},
        Case{R"({"weight_map":{"a":"1.safetensors","c":"2.safetensors"}})", "tensor c: not in 2.safetensors"},
        Case{R"({"weight_map":{"a":"2.safetensors","b":"1.safetensors"}})", "tensor a: not in 2.safetensors"},
        Case{R"({"weight_map":{"a":"1.safetensors","b":"3.safetensors"}})", "3.safetensors: cannot open"},
        Case{R"({"weight_map":{"a":"../1.safetensors"}})", "not the name of a file"},
        Case{R"({"weight_map":{"a":"/etc/passwd"}})", "not the name of a file"},
        Case{R"({"weight_map":{"a":""}})", "not the name of a file"},
        Case{R"({"weight_map":{"a":".."}})", "not a regular file"},
        Case{R"({"weight_map":{"a":7}})", "not a file name"},
        Case{R"({"weight_map":{}})", "weight_map: missing, empty"},
        Case{R"({"weight_map":[]})", "weight_map: missing, empty"}, Case{R"([])", "weight_map: missing, empty"},
        Case{R"({"weight_map":{"a":"1.safetensors","a":"2.safetensors"}})", "twice"},
        Case{R"({"weight_map":)", kIndex}}) {
    CAPTURE(c.index);
    const TempFolder folder;
    write_shards(folder);
    folder.write(kIndex, c.index);
    const std::string message = refusal([&] { WeightMap::open(folder.path()); });
    CAPTURE(message);
    CHECK(contains(message, c.why));
    CHECK(contains(message, folder.path()));
  }
}

TEST_CASE("shards that hold the same tensor, or one that the index leaves out, are refused") {
  const TempFolder twice;
  write_shards(twice);
  twice.write("2.safetensors", file_of({{"a", {2}}, {"b", {1, 2}}}));
  CHECK(contains(refusal([&] { WeightMap::open(twice.path()); }), "tensor a: also in"));
  const TempFolder hidden;
  write_shards(hidden);
  hidden.write("1.safetensors", file_of({{"a", {2}}, {"secret", {1}}}));
  CHECK(contains(refusal([&] { WeightMap::open(hidden.path()); }), "tensor secret: not listed"));
}

TEST_CASE("a digest is the same for every layout of the same numbers, and for no others") {
  const auto digest = [](const std::vector<test::FloatTensor>& tensors) {
    const TempFolder folder;
    std::filesystem::create_directories(folder.path() + "/vae");
    folder.write("vae/" + std::string(kSingle), file_of(tensors));
    return weights::checkpoint_digest(folder.path(), without_lists);
  };
  const TempFolder sharded;
  std::filesystem::create_directories(sharded.path() + "/vae");
  sharded.write("vae/1.safetensors", file_of({{"a", {2}}}));
  sharded.write("vae/2.safetensors", file_of({{"b", {1, 2}, '\2'}}));
  sharded.write("vae/" + std::string(kIndex), R"({"weight_map":{"a":"1.safetensors","b":"2.safetensors"}})");
  const std::string expected = weights::checkpoint_digest(sharded.path(), without_lists);
  CHECK(expected.size() == 32);
  CHECK(digest({{"b", {1, 2}, '\2'}, {"a", {2}}}) == expected);
  CHECK(digest({{"a", {2}}, {"b", {2}, '\2'}}) != expected);     // another shape
  CHECK(digest({{"a", {2}}, {"b", {1, 2}, '\3'}}) != expected);  // another number
  CHECK(digest({{"a", {2}}, {"c", {1, 2}, '\2'}}) != expected);  // another name
  CHECK(digest({{"a", {2}}}) != expected);
}

TEST_CASE("a digest's lines may come in any order, and a tied tensor counts once") {
  const TempFolder folder;
  folder.write("model.safetensors",
               file_of({{"shared.weight", {2}}, {"encoder.embed_tokens.weight", {2}}, {"x", {1}}, {"y", {1}}}));
  const WeightMap weights = WeightMap::open(folder.path());
  const weights::ListedTensor embedding{"shared.weight", {2}, "encoder.embed_tokens.weight"};
  const weights::TensorList list(std::vector<weights::ListedTensor>{embedding});
  const auto all = weights::digest_lines("text_encoder", list, weights);
  CHECK(all.size() == 3);
  CHECK(contains(all[0], "text_encoder shared.weight F32 [2] "));
  CHECK(weights::digest_of_lines({all.rbegin(), all.rend()}) == weights::digest_of_lines(all));

  const TempFolder other_name;  // transformers 5 writes one name, older versions the other
  other_name.write("model.safetensors", file_of({{"encoder.embed_tokens.weight", {2}}, {"x", {1}}, {"y", {1}}}));
  const auto same = weights::digest_lines("text_encoder", list, WeightMap::open(other_name.path()));
  CHECK(weights::digest_of_lines(same) == weights::digest_of_lines(all));
}

TEST_CASE("weights under a variant's name, and links to nothing, are told as what they are") {
  const TempFolder modelscope;
  modelscope.write("diffusion_pytorch_model-00001-of-00003-bf16.safetensors", file_of({{"a", {2}}}));
  modelscope.write("config.json", "{}");
  const std::string variant = refusal([&] { WeightMap::open(modelscope.path()); });
  CHECK(contains(variant, "diffusion_pytorch_model-00001-of-00003-bf16.safetensors is a variant by its name"));
  CHECK(contains(variant, "rename it to diffusion_pytorch_model-00001-of-00003.safetensors"));

  const TempFolder hub;
  std::filesystem::create_symlink("../../blobs/0123", hub.path() + "/" + kSingle);
  CHECK(contains(refusal([&] { WeightMap::open(hub.path()); }),
                 std::string(kSingle) + ": is a link to ../../blobs/0123, which is not there: the download"));
  const TempFolder shard;
  write_shards(shard);
  std::filesystem::remove(shard.path() + "/2.safetensors");
  std::filesystem::create_symlink("../../blobs/4567", shard.path() + "/2.safetensors");
  CHECK(contains(refusal([&] { WeightMap::open(shard.path()); }), "2.safetensors: is a link to ../../blobs/4567"));
}

TEST_CASE("a check tells of two copies of a tensor that differ, as taking it does") {
  const weights::ListedTensor tied{"a", {2}, "b"};
  const auto lists = [&](const std::string&) { return weights::TensorList(std::vector<weights::ListedTensor>{tied}); };
  for (const bool same : {true, false}) {
    CAPTURE(same);
    const TempFolder folder;
    std::filesystem::create_directories(folder.path() + "/vae");
    folder.write("vae/" + std::string(kSingle), file_of({{"a", {2}, '\1'}, {"b", {2}, same ? '\1' : '\2'}}));
    WeightMap weights = WeightMap::open(folder.path() + "/vae");
    const auto problems = weights::check_checkpoint(folder.path(), lists).at(0).problems;
    if (same) {
      CHECK(problems.empty());
      CHECK_NOTHROW(weights.take(tied));
    } else {
      REQUIRE(problems.size() == 1);
      CHECK(problems[0].tensor == "b");
      CHECK(contains(problems[0].detail, "differs from a"));
      CHECK_THROWS(weights.take(tied));
    }
  }
}
