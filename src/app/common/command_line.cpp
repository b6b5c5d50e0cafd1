#include "app/common/command_line.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <new>
#include <sstream>

#include "app/common/outputs.h"
#include "nightreel/base/build_version.h"
#include "nightreel/base/error.h"
#include "nightreel/base/file.h"
#include "nightreel/settings/flags.h"

namespace nightreel::app {
namespace {

using base::Error;
using base::ErrorKind;

std::string environment_name(const std::string& flag) {
  std::string name = "NIGHTREEL_" + flag;
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return c == '-' ? '_' : static_cast<char>(std::toupper(c)); });
  return name;
}

template <typename Visit>
void for_each_option(CLI::App& app, Visit visit) {
  for (CLI::Option* option : app.get_options()) visit(app, *option);
  for (CLI::App* sub : app.get_subcommands({})) for_each_option(*sub, visit);
}

template <typename Visit>
void for_each_option(const CLI::App& app, Visit visit) {
  for (const CLI::Option* option : app.get_options()) visit(*option);
  for (const CLI::App* sub : app.get_subcommands({})) for_each_option(*sub, visit);
}

bool is_option(const CLI::App& app, const std::string& name) {
  bool found = false;
  for_each_option(app, [&](const CLI::Option& option) { found = found || option.check_lname(name); });
  return found;
}

// The name that its variable is made of: an option's first; empty: there is no such option.
std::string first_name(const CLI::App& app, const std::string& name) {
  std::string first;
  for_each_option(app, [&](const CLI::Option& option) {
    if (first.empty() && option.check_lname(name)) first = option.get_lnames().front();
  });
  return first;
}

std::vector<std::string> option_names(const CLI::App& app) {
  std::vector<std::string> names;
  for_each_option(app, [&](const CLI::Option& option) {
    for (const auto& name : option.get_lnames()) names.push_back(name);
  });
  return names;
}

// The value of --config in the arguments, else of the environment; empty: none.
std::string config_path(const std::vector<std::string>& arguments) {
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i] == "--config" && i + 1 < arguments.size()) return arguments[i + 1];
    if (arguments[i].rfind("--config=", 0) == 0) return arguments[i].substr(9);
  }
  const char* named = std::getenv("NIGHTREEL_CONFIG");
  return named == nullptr ? "" : named;
}

std::string joined(const std::vector<std::string>& values) {
  std::string out;
  for (const auto& value : values) out += (out.empty() ? "" : ",") + value;
  return out;
}

std::string did_you_mean(const std::string& name, const std::vector<std::string>& names) {
  const std::string near = base::nearest(name, names);
  return near.empty() ? "" : "; did you mean " + near + "?";
}

int parse_and_run(CLI::App& app, const Action& action, std::vector<std::string> arguments, const Elsewhere& elsewhere) {
  check_names(app, arguments, elsewhere);
  try {
    apply_config_file(app, arguments);
    std::reverse(arguments.begin(), arguments.end());  // CLI11 takes them last first
    app.parse(arguments);
  } catch (const CLI::Success& e) {
    return app.exit(e);
  } catch (const CLI::ParseError& e) {
    throw Error(ErrorKind::usage, base::printable(e.what(), 400) + " (--help lists the options)");
  }
  return action();
}

}  // namespace

int show(const Error& error) {
  std::fprintf(stderr, "nightreel: %s\n", error.what());
  return base::traits(error.kind()).exit_code;
}

std::vector<std::string> normalise_arguments(const std::vector<std::string>& arguments) {
  std::vector<std::string> out;
  bool flags = true;
  for (std::string argument : arguments) {
    flags = flags && argument != "--";
    if (flags && argument.rfind("--", 0) == 0) {
      const auto end = std::min(argument.find('='), argument.size());
      std::replace(argument.begin(), argument.begin() + static_cast<std::ptrdiff_t>(end), '_', '-');
    }
    out.push_back(argument);
  }
  return out;
}

void name_environment(CLI::App& app) {
  for_each_option(app, [](CLI::App& owner, CLI::Option& option) {
    if (option.get_lnames().empty() || &option == owner.get_help_ptr()) return;
    if (&option == owner.get_version_ptr()) return;  // an image's NIGHTREEL_VERSION=1 is no request
    option.envname(environment_name(option.get_lnames().front()));
  });
}

namespace {

// `chosen`: the subcommand that the flag stands behind; null: it stands before one.
void check_flag(const CLI::App& app, const CLI::App* chosen, const std::string& name) {
  if (name == "help" || app.get_option_no_throw("--" + name) != nullptr) return;
  if (chosen != nullptr && is_option(*chosen, name)) return;
  const std::string flag = "--" + base::printable(name);
  if (chosen == nullptr && is_option(app, name)) {
    throw Error(ErrorKind::usage, flag + ": belongs behind the subcommand");
  }
  const bool generates = chosen != nullptr && is_option(*chosen, "num-frames") && is_option(*chosen, "prompt");
  const std::string_view instead = generates ? settings::foreign_flag(name) : std::string_view();
  if (!instead.empty()) throw Error(ErrorKind::usage, flag + ": no such option; " + std::string(instead));
  const auto names = option_names(chosen == nullptr ? app : *chosen);
  throw Error(ErrorKind::usage, flag + ": no such option" + did_you_mean(name, names) + " (--help lists the options)");
}

const CLI::App* find_subcommand(const CLI::App& app, const std::string& given, const Elsewhere& elsewhere) {
  std::vector<std::string> names;
  for (const CLI::App* sub : app.get_subcommands({})) {
    if (sub->get_name() == given) return sub;
    names.push_back(sub->get_name());
  }
  for (const auto& [name, what] : elsewhere) names.push_back(name);
  throw Error(ErrorKind::usage,
              base::printable(given) + ": no such subcommand" + did_you_mean(given, names) + " (--help lists them)");
}

}  // namespace

// CLI11 asks for what is missing before it names what it does not know: a slip of the finger would be told as
// something else.
void check_names(const CLI::App& app, const std::vector<std::string>& arguments, const Elsewhere& elsewhere) {
  const CLI::App* chosen = nullptr;
  for (std::size_t i = 0; i < arguments.size() && arguments[i] != "--"; ++i) {
    const std::string& argument = arguments[i];
    if (argument.rfind("--", 0) == 0) {
      check_flag(app, chosen, argument.substr(2, argument.find('=') - 2));
      if (argument == "--config") ++i;  // its value is no subcommand
    } else if (chosen == nullptr && argument.rfind('-', 0) != 0) {
      chosen = find_subcommand(app, argument, elsewhere);
    }
  }
}

namespace {

constexpr std::size_t kMostConfig = 1U << 20U;  // bytes

std::string read_config(const std::string& path) {
  try {
    return base::read_file(path, kMostConfig);
  } catch (const Error& e) {
    throw Error(ErrorKind::usage, std::string("the config file cannot be read: ") + e.what());
  }
}

}  // namespace

void apply_config_file(const CLI::App& app, const std::vector<std::string>& arguments) {
  const std::string path = config_path(arguments);
  if (path.empty()) return;
  std::istringstream file(read_config(path));
  std::vector<CLI::ConfigItem> items;
  try {
    items = CLI::ConfigTOML().from_config(file);
  } catch (const CLI::Error& e) {
    throw Error(ErrorKind::usage, path + ": " + e.what());
  }
  for (const auto& item : items) {
    if (item.name == "++" || item.name == "--") continue;  // CLI11's marks of where a table begins and ends
    std::string name = item.name;
    std::replace(name.begin(), name.end(), '_', '-');
    const std::string first = first_name(app, name);
    if (first.empty()) {
      throw Error(ErrorKind::usage,
                  path + ": " + base::printable(name) + ": no such option" + did_you_mean(name, option_names(app)));
    }
    ::setenv(environment_name(first).c_str(), joined(item.inputs).c_str(), 0);
  }
}

int run_command_line(const std::string& description, const std::vector<Subcommand>& subcommands, int argc, char** argv,
                     const Elsewhere& elsewhere) {
  open_standard_descriptors();
  try {
    CLI::App app(description, "nightreel");
    Action action;
    std::string config;
    app.add_option("--config", config, "TOML file: a line 'name = value' for each flag, below the environment");
    app.set_version_flag("--version", std::string("nightreel ") + base::kVersion + " (" + base::kCommit + ")");
    app.require_subcommand(1);
    app.fallthrough();
    for (const Subcommand add : subcommands) add(app, action);
    std::string others = elsewhere.empty() ? "" : "With the model in this process (nightreel-engine):\n";
    for (const auto& [name, what] : elsewhere) others += "  " + name + std::string(28 - name.size(), ' ') + what + "\n";
    app.footer(others);
    name_environment(app);
    return written_out(parse_and_run(app, action, normalise_arguments({argv + 1, argv + argc}), elsewhere));
  } catch (const Error& e) {
    return show(e);
  } catch (const std::bad_alloc&) {
    return show(Error(ErrorKind::host_memory, "this host has, or ulimit -v leaves, too little memory"));
  } catch (const std::exception& e) {
    return show(Error(ErrorKind::internal, std::string("internal error: ") + e.what()));
  }
}

}  // namespace nightreel::app
