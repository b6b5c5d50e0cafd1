#include "nightreel/job/lora_header.h"

#include <filesystem>

#include "nightreel/base/error.h"
#include "nightreel/tensorfile/safetensors.h"

namespace nightreel::job {

void check_lora_header(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return;  // whether it may be is job.h's to say
  try {
    tensorfile::read_safetensors_header(path);
  } catch (const base::Error& e) {
    throw base::Error(base::ErrorKind::job, e.what());  // the job's fault, not the model's
  }
}

}  // namespace nightreel::job
