// Logging: one value passed down, never a global.
//
// A Logger shares its sinks; copying it is cheap and any thread may use any copy. Text ("EVENT: TEXT") goes to stderr,
// JSON lines to a file each rank (logs/RUN/rank-N.jsonl). Every string is made printable before it is written. Writing
// never fails: a line that a file does not take is lost.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace spdlog {
class logger;
}

namespace nightreel::base {

enum class LogFormat { text, json };

class Logger {
 public:
  /// Drops everything: for tests and for layers that were given no logger.
  Logger();
  /// To stderr. `name` stands in front of each text line (for example "rank 3").
  static Logger to_stderr(LogFormat format, const std::string& name);
  /// To stderr and, as JSON lines, to `path` (created, appended). Throws Error{storage}.
  static Logger to_stderr_and_file(LogFormat format, const std::string& name, const std::string& path);

  /// The same logger whose text says errors only: for a terminal on which something else is drawn.
  Logger only_errors() const;

  void debug(std::string_view event, std::string_view text) const;
  void info(std::string_view event, std::string_view text) const;
  void warn(std::string_view event, std::string_view text) const;
  void error(std::string_view event, std::string_view text) const;

  /// The same logger with fields that every JSON line then carries (rank, host, job).
  Logger with(const nlohmann::json& fields) const;

 private:
  struct State;
  void write(int level, std::string_view event, std::string_view text) const;
  std::shared_ptr<const State> state_;
};

}  // namespace nightreel::base
