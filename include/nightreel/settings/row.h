// The one list of settings: a setting is one row. JSON in and out, nightreel.json, the recipe's overlay, the flags of
// generate and bench, the sidecar's command, docs/jobs.md's table and job.schema.json follow from it.
//
// Constants; any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "nightreel/settings/settings.h"

namespace nightreel::settings {

/// Who looks at a setting.
enum class Group { sampling, encoding, queue };

/// What a text may be.
enum class Form { plain, filled, id, path };

using Member = std::variant<std::string Fields::*, std::int64_t Fields::*, std::uint64_t Fields::*, double Fields::*,
                            std::optional<std::int64_t> Fields::*, std::optional<double> Fields::*,
                            std::vector<double> Fields::*, std::vector<Lora> Fields::*>;

struct Row {
  std::string_view name;  // of the job's field; the flag has hyphens
  Member member;
  Group group = Group::sampling;
  std::int64_t low = 0;  // of a number, and of each in a list; both ends included
  std::int64_t high = 0;
  bool above = false;    // the number must be above `low`
  std::size_t most = 0;  // bytes of a text, entries of a list
  Form form = Form::plain;
  std::array<std::string_view, 8> choices = {};  // all that a text may be; none: any
  std::array<std::string_view, 4> aliases = {};  // other programs' names: flags, and hints about jobs' fields
  bool in_checkpoint = false;                    // nightreel.json may state it
  /// JSON of the value that changes nothing, of a setting that 0.1 did not have. At it the setting is no part of a key,
  /// and JSON that was written before there was the setting means it. Empty: the setting always counts.
  std::string_view neutral = {};
  std::string_view unit = {};
  std::string_view fallback = {};  // what holds where nobody sets it, for people
  std::string_view help = {};      // one sentence, without its full stop
};

/// In the order of docs/jobs.md's table.
std::span<const Row> rows();

/// Throws Error{internal} for a name that no row has.
const Row& row(std::string_view name);

/// The row that has this name, or this alias; null: none.
const Row* find_row(std::string_view name_or_alias);

/// "num-frames": the flag's name of a field's.
std::string flag_name(std::string_view field);

bool is_whole(const Row& row);
bool is_number(const Row& row);  // whole or not
bool is_list(const Row& row);

std::vector<std::string_view> choices_of(const Row& row);
std::vector<std::string_view> aliases_of(const Row& row);

}  // namespace nightreel::settings
