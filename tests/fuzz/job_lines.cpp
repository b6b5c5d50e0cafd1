// Job files, single job lines, and jobs packed for the queue and unpacked again.
#include "fuzz/fuzz.h"
#include "nightreel/job/job_file.h"

namespace nightreel::fuzz {
namespace {

void packed_again(const job::Job& given, const std::string& root) {
  const job::Job again = job::unpack_job(job::pack_job(given), root);
  expect(again.id == given.id && again.hash == given.hash, "a job that was packed is another job");
  expect(again.identity() == given.identity(), "a job that was packed names other files");
}

void read_line(std::string_view line, const std::string& root) {
  answers_well({ErrorKind::job}, [&] { packed_again(job::parse_job(line, {root, root}), root); });
}

}  // namespace
}  // namespace nightreel::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace nightreel;
  const std::string& root = fuzz::scratch().path();
  std::string_view rest = fuzz::text_of(data, size);
  const std::string path = fuzz::file_of("jobs.jsonl", rest);
  fuzz::answers_well(
      {base::ErrorKind::usage}, [&] { job::read_job_files({path}, root); }, true);
  for (int lines = 0; lines < 16 && !rest.empty(); ++lines) {
    const auto end = std::min(rest.find('\n'), rest.size());
    fuzz::read_line(rest.substr(0, end), root);
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return 0;
}
