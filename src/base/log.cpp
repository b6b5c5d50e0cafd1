#include "nightreel/base/log.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <vector>

#include "nightreel/base/clock.h"
#include "nightreel/base/error.h"
#include "nightreel/base/json.h"

namespace nightreel::base {

struct Logger::State {
  std::shared_ptr<spdlog::sinks::sink> text;  // null where stderr takes JSON or nothing
  std::vector<std::shared_ptr<spdlog::sinks::sink>> json;
  std::string name;
  int least_text = spdlog::level::info;
  nlohmann::json fields = nlohmann::json::object();
};

Logger::Logger() : state_(std::make_shared<State>()) {}

Logger Logger::to_stderr(LogFormat format, const std::string& name) {
  auto state = std::make_shared<State>();
  state->name = name;
  auto sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
  if (format == LogFormat::text) {
    sink->set_pattern("%H:%M:%S %l " + (name.empty() ? "" : name + ": ") + "%v");
    state->text = sink;
  } else {
    sink->set_pattern("%v");
    state->json.push_back(sink);
  }
  Logger logger;
  logger.state_ = state;
  return logger;
}

Logger Logger::to_stderr_and_file(LogFormat format, const std::string& name, const std::string& path) {
  Logger logger = to_stderr(format, name);
  auto state = std::make_shared<State>(*logger.state_);
  try {
    auto sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(path);
    sink->set_pattern("%v");
    state->json.push_back(sink);
  } catch (const spdlog::spdlog_ex& e) {
    throw Error(ErrorKind::storage, e.what());
  }
  logger.state_ = state;
  return logger;
}

namespace {

// A full disk takes no log either: the line is lost, and nothing that only wanted to say something fails for it.
void put(spdlog::sinks::sink& sink, spdlog::level::level_enum severity, const std::string& text) {
  try {
    sink.log(spdlog::details::log_msg("", severity, text));
    sink.flush();
  } catch (const spdlog::spdlog_ex&) {
    return;
  }
}

}  // namespace

void Logger::write(int level, std::string_view event, std::string_view text) const {
  const auto severity = static_cast<spdlog::level::level_enum>(level);
  const std::string safe = printable(text, 4000);
  if (state_->text != nullptr && level >= state_->least_text) {
    put(*state_->text, severity, std::string(event) + ": " + safe);
  }
  if (state_->json.empty()) return;
  nlohmann::json line = state_->fields;
  line["ts"] = iso_time(now_ms());
  line["level"] = std::string(spdlog::level::to_string_view(severity).data());
  line["event"] = std::string(event);
  line["message"] = safe;
  const std::string dumped = dump_json(line);
  for (const auto& sink : state_->json) put(*sink, severity, dumped);
}

void Logger::debug(std::string_view event, std::string_view text) const {
  write(spdlog::level::debug, event, text);
}
void Logger::info(std::string_view event, std::string_view text) const {
  write(spdlog::level::info, event, text);
}
void Logger::warn(std::string_view event, std::string_view text) const {
  write(spdlog::level::warn, event, text);
}
void Logger::error(std::string_view event, std::string_view text) const {
  write(spdlog::level::err, event, text);
}

Logger Logger::only_errors() const {
  auto state = std::make_shared<State>(*state_);
  state->least_text = spdlog::level::err;
  Logger logger;
  logger.state_ = state;
  return logger;
}

Logger Logger::with(const nlohmann::json& fields) const {
  auto state = std::make_shared<State>(*state_);
  state->fields.update(fields);
  Logger logger;
  logger.state_ = state;
  return logger;
}

}  // namespace nightreel::base
