#include "media/isolate.h"

#include <fcntl.h>
#include <hdf5.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdlib>

#include "media/support.h"
#include "nightreel/base/hash.h"
#include "nightreel/base/process.h"
#include "nightreel/media/archive.h"
#include "nightreel/media/checkpoint.h"

namespace nightreel::media::test {
namespace {

using base::ErrorKind;

std::string attribute_file(const std::string& text, std::size_t values = 1) {
  hdf5::File file = hdf5::File::create("f");
  file.write_text("a", text);
  file.write_integer("n", -7);
  const std::vector<float> zeros(values, 1.5F);
  file.write("d", hdf5::Type::float32, {static_cast<std::int64_t>(values)}, zeros.data(), {});
  return file.close();
}

TEST_CASE("what a file holds comes back from its reader, and what it does not hold is told") {
  const hdf5::Content content =
      read_apart(attribute_file("naïve\n"), "f.h5", {"text:a", "integer:n", "data:*", "text:b", "data:e", "text:n"});
  CHECK(content.find("text:a")->bytes == "naïve\n");
  CHECK(content.find("integer:n")->integer == -7);
  REQUIRE(content.find("data:d") != nullptr);
  CHECK(content.find("data:d")->shape == hdf5::Shape{1});
  CHECK(content.find("data:d")->bytes.size() == 4);
  CHECK(content.find("text:b")->missing);
  CHECK(content.find("data:e")->missing);
  CHECK(content.find("text:n")->problem == "attribute n is not a string");
  CHECK(contains(error_of(ErrorKind::usage, [] { read_apart("no HDF5", "some.h5", {"text:a"}); }), "some.h5: "));
}

// The reader as read_apart starts it, caught while it writes an answer that nobody reads.
struct CaughtReader {
  explicit CaughtReader(const std::string& path) : file(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    base::ChildOptions options;
    options.argv = {base::companion("nightreel-hdf5"), std::to_string(::getpid()), "quiet", "data:d"};
    options.environment.take = base::EnvironmentRule::Take::none;
    options.pipe_stdin = false;
    options.inherit_fd = file.get();
    child = base::Child(options);
    char first = 0;
    REQUIRE(::read(child.stdout_fd(), &first, 1) == 1);  // it has confined itself and read the file
  }
  std::string proc(const std::string& name) const {
    return content("/proc/" + std::to_string(child.pid()) + "/" + name);
  }
  base::Fd file;
  base::Child child;
};

TEST_CASE("the reader of foreign bytes has no environment, no descriptor to spare and no rights") {
  ::setenv("REDIS_PASSWORD", "secret", 1);
  const TempFolder folder;
  put(folder / "a.h5", attribute_file("x", 1U << 20U));
  const CaughtReader reader(folder / "a.h5");
  ::unsetenv("REDIS_PASSWORD");
  CHECK(reader.proc("environ").empty());
  const std::string status = reader.proc("status");
  CHECK(contains(status, "NoNewPrivs:\t1"));
  const bool filters = contains(content("/proc/self/status"), "Seccomp:");  // this kernel knows them
  CHECK((!filters || contains(status, "Seccomp:\t2")));
  int open = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/" + std::to_string(reader.child.pid()) + "/fd")) {
    ++open;
    CHECK(contains("0 1 3", entry.path().filename().string()));
  }
  CHECK(open == 3);
  CHECK(contains(reader.proc("limits"), "Max core file size        0 "));
#if !defined(__SANITIZE_ADDRESS__)
  CHECK_FALSE(contains(reader.proc("limits"), "Max address space         unlimited"));
#endif
}

// ---- red-team.md, M4: small files that made the reader take gigabytes ----------------------------------------------

// A dataset of `values` float32 that were never written: nothing of them is in the file.
hid_t unwritten(hid_t file, const char* name, std::vector<hsize_t> sides, const std::vector<hsize_t>& chunk) {
  const hid_t space = H5Screate_simple(static_cast<int>(sides.size()), sides.data(), nullptr);
  const hid_t plan = H5Pcreate(H5P_DATASET_CREATE);
  if (!chunk.empty()) H5Pset_chunk(plan, static_cast<int>(chunk.size()), chunk.data());
  const hid_t dataset = H5Dcreate2(file, name, H5T_IEEE_F32LE, space, H5P_DEFAULT, plan, H5P_DEFAULT);
  H5Pclose(plan);
  H5Sclose(space);
  return dataset;
}

void write_attribute(hid_t file, const char* name, const std::string& text) {
  const hid_t type = H5Tcopy(H5T_C_S1);
  H5Tset_size(type, text.size());
  const hid_t space = H5Screate(H5S_SCALAR);
  const hid_t attribute = H5Acreate2(file, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
  H5Awrite(attribute, type, text.data());
  H5Aclose(attribute);
  H5Sclose(space);
  H5Tclose(type);
}

void write_version(hid_t file) {
  const hid_t space = H5Screate(H5S_SCALAR);
  const hid_t attribute = H5Acreate2(file, "format_version", H5T_STD_I64LE, space, H5P_DEFAULT, H5P_DEFAULT);
  const std::int64_t one = 1;
  H5Awrite(attribute, H5T_NATIVE_INT64, &one);
  H5Aclose(attribute);
  H5Sclose(space);
}

// One dataset of 8.8 MB under 110 names, none of it in the file.
std::string many_names(const std::string& path) {
  const hid_t file = H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  write_attribute(file, "format", kStateFormat);
  write_version(file);
  for (const char* name : {"job_hash", "model_digest", "info"}) write_attribute(file, name, "{}");
  H5Dclose(unwritten(file, "n0", {2'200'000}, {}));
  for (int i = 1; i < 110; ++i) {
    H5Lcreate_hard(file, "n0", file, ("n" + std::to_string(i)).c_str(), H5P_DEFAULT, H5P_DEFAULT);
  }
  H5Fclose(file);
  return content(path);
}

// Chunks that were never written, and zeros behind the end, so that the file seems to have room for them.
std::string many_zeros(const std::string& path) {
  const hid_t file = H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  write_attribute(file, "format", kArchiveFormat);
  write_version(file);
  for (const char* name : {"job", "settings", "model"}) write_attribute(file, name, "{}");
  H5Dclose(unwritten(file, "latents", {16, 10, 1024, 1100}, {1, 1, 64, 64}));
  H5Fclose(file);
  return content(path) + std::string(700'000, '\0');
}

/// MiB that the largest child so far has taken.
long largest_child() {
  rusage usage{};
  ::getrusage(RUSAGE_CHILDREN, &usage);
  return usage.ru_maxrss / 1024;
}

TEST_CASE("a small file does not make its reader, or its caller, take gigabytes") {
  const TempFolder folder;
  std::string image = many_names(folder / "names.h5");
  CHECK(image.size() < 20'000);
  std::string block = "nightreel-checkpoint xxh3-128 " + base::xxh128_hex(image) + "\n";
  block.resize(512, '\0');
  put(folder / "state.h5", block + image);
  const std::string state = error_of(ErrorKind::storage, [&] { read_state(folder / "state.h5"); });
  CHECK_MESSAGE(contains(state, "claims more values than the file can hold"), state);

  put(folder / "archive.h5", many_zeros(folder / "zeros.h5"));
  const std::string archive = error_of(ErrorKind::usage, [&] { read_archive(folder / "archive.h5"); });
  CHECK_MESSAGE(contains(archive, "claims more values than the file can hold"), archive);
#if !defined(__SANITIZE_ADDRESS__)
  CHECK(largest_child() < 700);
#endif
}

}  // namespace
}  // namespace nightreel::media::test
