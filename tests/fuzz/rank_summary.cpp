// A rank's summary on its way to rank 0.
#include "fuzz/fuzz.h"
#include "nightreel/report/run_summary.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace nightreel;
  const std::string text(fuzz::text_of(data, size));
  fuzz::answers_well({base::ErrorKind::environment}, [&] {
    const std::string once = report::to_json(report::rank_summary(text));
    fuzz::expect(once == report::to_json(report::rank_summary(once)), "a summary that was read is written otherwise");
  });
  return 0;
}
