#include "nightreel/job/job.h"

#include <doctest/doctest.h>

#include <filesystem>

#include "nightreel/base/clock.h"
#include "support/error.h"
#include "support/temp_folder.h"

namespace nightreel::job {
namespace {

using base::ErrorKind;
using settings::kMaxPrompt;
using test::contains;
using test::TempFolder;
using test::thrown_by;

Job parse(const std::string& text) {
  return parse_job(text, {});
}

TEST_CASE("the hash is sha256 over the object's canonical text, and id and seed follow from it") {
  struct Vector {
    const char* text;
    const char* hash;
    std::uint64_t seed;
  };
  // Made with Python: hashlib.sha256(json.dumps(job, sort_keys=True, separators=(",", ":"),
  // ensure_ascii=False).encode()).
  for (const auto& v : {
           Vector{R"({"prompt": "a red circle moves right"})",
                  "fb7d4fa5aeb836e2161c863fea2c0f5b9c849e362d7d5501e2ee418b87796256", 8898356011773474530U},
           Vector{R"({ "seed":1,"prompt":"日本 \u00e9\t\"x\" \u2028 \/", "id":"a"})",
                  "a7ceb5d4eb43e10c8e4fb1526316b5acd5b9133c8167c157088fb03344b651bb", 2868429938766373132U},
           Vector{R"({"prompt":"x","guidance_scale":5.0,"fps":16,"boundary_ratio":0.875})",
                  "07a4bdaee51baf9e7589564289060e3409341bf4ed06677401605bc8adc62461", 550773613311799198U},
       }) {
    const Job job = parse(v.text);
    CHECK(job.hash == v.hash);
    CHECK(job.default_seed == v.seed);
    CHECK(job.identity() == v.hash);
  }
  CHECK(parse(R"({"prompt": "a red circle moves right"})").id == "fb7d4fa5aeb836e2");
  CHECK(parse(R"({"prompt": "x", "id": "my-video_1.final"})").id == "my-video_1.final");
}

TEST_CASE("every field is read, with its type") {
  TempFolder folder;
  folder.write("in/a.png", "x");
  folder.write("in/b.jpg", "x");
  folder.write("lora.safetensors", "x");
  const Job job = parse_job(R"({"id": "v", "prompt": "p", "negative_prompt": "", "image": "in/a.png",
      "last_image": "in/b.jpg", "height": 480, "width": 832, "num_frames": 81, "fps": 23.976, "num_inference_steps": 4,
      "guidance_scale": 4, "guidance_scale_2": 3.5, "flow_shift": 12, "boundary_ratio": 0.875, "sampler": "dpm++",
      "sigmas": [1, 0.9375, 0.8333, 0.625], "seed": 9223372036854775807,
      "loras": [{"path": "lora.safetensors"}, {"path": "lora.safetensors", "scale": -0.5, "expert": "high"}],
      "crf": 0, "codec": "hevc", "priority": -5, "max_attempts": 7, "timeout_s": 0.5})",
                            {folder.path(), ""});
  CHECK(job.prompt == "p");
  CHECK(job.negative_prompt == "");
  CHECK(job.image == folder / "in/a.png");
  CHECK(job.last_image == folder / "in/b.jpg");
  CHECK(job.height == 480);
  CHECK(job.width == 832);
  CHECK(job.num_frames == 81);
  CHECK(job.fps == 23.976);
  CHECK(job.num_inference_steps == 4);
  CHECK(job.guidance_scale == 4.0);
  CHECK(job.guidance_scale_2 == 3.5);
  CHECK(job.flow_shift == 12.0);
  CHECK(job.boundary_ratio == 0.875);
  CHECK(job.sampler == "dpm++");
  CHECK(job.sigmas == std::vector<double>{1, 0.9375, 0.8333, 0.625});
  CHECK(job.seed == 9223372036854775807U);
  REQUIRE(job.loras.size() == 2);
  CHECK(job.loras[0].path == folder / "lora.safetensors");
  CHECK(job.loras[0].scale == 1.0);
  CHECK(job.loras[0].expert == "both");
  CHECK(job.loras[1].scale == -0.5);
  CHECK(job.loras[1].expert == "high");
  CHECK(job.crf == 0);
  CHECK(job.codec == "hevc");
  CHECK(job.priority == -5);
  CHECK(job.max_attempts == 7);
  CHECK(job.timeout_s == 0.5);
}

TEST_CASE("what a job leaves out stays open") {
  const Job job = parse(R"({"prompt": "p"})");
  CHECK(job.names == std::vector<std::string_view>{"prompt"});
  CHECK_FALSE(job.guidance_scale_2);
  CHECK_FALSE(job.max_attempts);
  CHECK(job.image.empty());
  CHECK(job.priority == 0);
}

TEST_CASE("an id is no option and no record's of a refused entry, but what version 0.1 took is still read") {
  for (const char* good : {"a", "_a", "0", "inbox", "Inbox-1", "a-inbox-1", "a.b-c_d"}) CHECK(is_id(good));
  for (const char* bad : {"", ".a", "-", "-a", "--out", "inbox-", "inbox-06374db03c0a09f1", "a b", "a/b"}) {
    CAPTURE(bad);
    CHECK(!is_id(bad));
    CHECK(contains(thrown_by([&] { parse(Json{{"prompt", "x"}, {"id", bad}}.dump()); }).message, "id: '"));
  }
  CHECK(!is_id(std::string(129, 'a')));
  for (const char* old : {"-a", "inbox-06374db03c0a09f1"}) {
    const Json spec{{"prompt", "x"}, {"id", old}};
    CHECK(unpack_job(Json{{"folder", "/"}, {"spec", spec}}.dump(), "").id == old);
  }
}

TEST_CASE("a field's name of a megabyte is told of in no time") {
  const std::string name(1 << 20, 'n');
  const base::Stopwatch watch;
  for (int i = 0; i < 20; ++i) {
    CHECK(contains(thrown_by([&] { parse(R"({"prompt": "x", ")" + name + "\": 1}"); }).message, "unknown field"));
  }
  CHECK(watch.seconds() < 30);  // without a bound the distances alone would take some minutes under a sanitizer
}

TEST_CASE("the sizes of texts are bounded") {
  const auto prompt = [](std::size_t size) { return R"({"prompt": ")" + std::string(size, 'x') + "\"}"; };
  CHECK(parse(prompt(kMaxPrompt)).prompt.size() == kMaxPrompt);
  CHECK(thrown_by([&] { parse(prompt(kMaxPrompt + 1)); }).message ==
        "prompt: is 65537 bytes long, at most 65536 are allowed");
  const std::string lora = R"({"path": ")" + std::string(60000, 'y') + "\"}";
  const auto large =
      thrown_by([&] { parse(R"({"prompt": "a", "loras": [)" + lora + "," + lora + "," + lora + "," + lora + "]}"); });
  CHECK(contains(large.message, "the job is 240"));
  CHECK(contains(large.message, "at most 196608 are allowed"));
  const auto path = thrown_by([&] { parse(R"({"prompt": "a", "image": "/)" + std::string(5000, 'y') + "\"}"); });
  CHECK(contains(path.message, "is no path"));
}

TEST_CASE("a misfit is an Error of the kind job") {
  CHECK(thrown_by([] { parse("{"); }).kind == ErrorKind::job);
  CHECK(thrown_by([] { parse(R"({"prompt": 1})"); }).kind == ErrorKind::job);
  CHECK(thrown_by([] { make_job(Json::array(), {}); }).kind == ErrorKind::job);
}

TEST_CASE("relative paths count from the folder, and without one they are errors") {
  TempFolder folder;
  folder.write("a.png", "x");
  const std::string text = R"({"prompt": "p", "image": "a.png"})";
  CHECK(parse_job(text, {folder.path(), ""}).image == folder / "a.png");
  CHECK(contains(thrown_by([&] { parse_job(text, {}); }).message, "image: a.png is a relative path"));
  CHECK(parse(R"({"prompt": "p", "image": ")" + (folder / "a.png") + "\"}").image == folder / "a.png");
}

TEST_CASE("nothing outside input_root is read, whichever way the path goes there") {
  TempFolder folder;
  folder.write("secret.png", "x");
  folder.write("root/a.png", "x");
  folder.write("root-beside/a.png", "x");
  std::filesystem::create_symlink("../secret.png", folder / "root/link.png");
  std::filesystem::create_symlink("a.png", folder / "root/inner.png");
  std::filesystem::create_directory_symlink("..", folder / "root/up");
  const PathRules rules{folder / "root", folder / "root"};
  const auto image = [&](const std::string& path) {
    return parse_job(Json{{"prompt", "p"}, {"image", path}}.dump(), rules);
  };

  CHECK(image("a.png").image == folder / "root/a.png");
  CHECK(image("inner.png").image == folder / "root/a.png");
  CHECK(image(folder / "root/../root/a.png").image == folder / "root/a.png");
  for (const std::string path : {"../secret.png", "link.png", "up/secret.png", "../root-beside/a.png", "../no/such.png",
                                 "up/root/../secret.png", "/etc/passwd"}) {
    INFO(path);
    CHECK(contains(thrown_by([&] { image(path); }).message, "lies outside --input-root"));
  }
  CHECK(contains(thrown_by([&] { image(folder / "secret.png"); }).message, "lies outside --input-root"));
  CHECK(contains(thrown_by([&] { image("missing.png"); }).message, "No such file"));
  const PathRules no_root{"", folder / "missing"};
  CHECK(contains(thrown_by([&] { parse_job(R"({"prompt": "p", "image": "/etc/passwd"})", no_root); }).message,
                 "--input-root"));
}

TEST_CASE("an entry of the inbox names a file only where there is an input root") {
  TempFolder folder;
  folder.write("a.png", "x");
  const std::string image = folder / "a.png";
  for (const Json& job : {Json{{"prompt", "p"}, {"image", image}}, Json{{"prompt", "p"}, {"image", "/no/such"}},
                          Json{{"prompt", "p"}, {"loras", {{{"path", image}}}}}}) {
    INFO(job.dump());
    const auto error = thrown_by([&] { parse_job(job.dump(), {"", "", false}); });
    CHECK(error.kind == ErrorKind::job);
    CHECK(contains(error.message, "an entry of the inbox may name a file only where the run has --input-root"));
  }
  CHECK(parse_job(R"({"prompt": "p"})", {"", "", false}).image.empty());
  CHECK(parse_job(Json{{"prompt", "p"}, {"image", "a.png"}}.dump(), {folder.path(), folder.path()}).image == image);
}

TEST_CASE("a job that was taken in under an input root stays under it, also in a run that has none") {
  TempFolder folder;
  folder.write("root/in/a.png", "x");
  folder.write("secret/a.png", "y");
  const PathRules rules{folder / "root", folder / "root"};
  const std::string packed = pack_job(parse_job(R"({"prompt": "p", "image": "in/a.png"})", rules));
  CHECK(unpack_job(packed, "").image == folder / "root/in/a.png");
  std::filesystem::remove_all(folder / "root/in");
  std::filesystem::create_directory_symlink(folder / "secret", folder / "root/in");
  for (const std::string& root : {std::string(), folder / "root"}) {
    CHECK(contains(thrown_by([&] { unpack_job(packed, root); }).message, "lies outside --input-root"));
  }
}

TEST_CASE("the same words in two folders are two jobs where they name files, else one") {
  TempFolder folder;
  folder.write("one/a.png", "x");
  folder.write("two/a.png", "x");
  const auto identity = [&](const std::string& text, const std::string& sub) {
    return parse_job(text, {folder / sub, ""}).identity();
  };
  const std::string with_image = R"({"prompt": "p", "image": "a.png"})";
  CHECK(identity(with_image, "one") != identity(with_image, "two"));
  CHECK(identity(with_image, "one") == identity(with_image, "two/../one"));
  CHECK(identity(R"({"prompt": "p"})", "one") == identity(R"({"prompt": "p"})", "two"));
}

TEST_CASE("a packed job comes back as it was") {
  TempFolder folder;
  folder.write("a.png", "x");
  const Job job = parse_job(R"({"prompt": "日本", "image": "a.png", "guidance_scale": 5.0})", {folder.path(), ""});
  const Job again = unpack_job(pack_job(job), "");
  CHECK(again.spec == job.spec);
  CHECK(again.id == job.id);
  CHECK(again.hash == job.hash);
  CHECK(again.identity() == job.identity());
  CHECK(again.image == job.image);

  std::filesystem::remove(folder / "a.png");
  CHECK(thrown_by([&] { unpack_job(pack_job(job), ""); }).kind == ErrorKind::job);
  for (const char* text :
       {"", "[]", "{}", "7", R"({"spec": {"prompt": "p"}})", R"({"spec": {"prompt": "p"}, "folder": 7})"}) {
    INFO(text);
    CHECK_THROWS_AS(unpack_job(text, ""), base::Error);
  }
}

}  // namespace
}  // namespace nightreel::job
