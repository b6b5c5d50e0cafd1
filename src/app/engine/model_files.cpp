#include "app/engine/model_files.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "nightreel/base/error.h"

namespace nightreel::app {

using base::Error;
using base::ErrorKind;

card::Card card_of(const std::string& folder) {
  std::error_code error;
  const bool is_file = std::filesystem::exists(folder, error) && !std::filesystem::is_directory(folder, error);
  try {
    return card::read(folder);
  } catch (const Error& e) {
    throw Error(is_file && e.kind() == ErrorKind::model ? ErrorKind::usage : e.kind(), e.what());
  } catch (const nlohmann::json::exception& e) {
    throw Error(ErrorKind::model, base::printable(folder) +
                                      ": a JSON file of it has a field of a wrong type: " + base::printable(e.what()));
  }
}

}  // namespace nightreel::app
