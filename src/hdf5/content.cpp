#include "nightreel/hdf5/content.h"

#include <algorithm>
#include <utility>

#include "nightreel/base/error.h"
#include "nightreel/base/json.h"

namespace nightreel::hdf5 {
namespace {

using base::Error;
using base::ErrorKind;
using base::Json;

constexpr std::int64_t kTypes = 4;

[[noreturn]] void refuse_answer(const std::string& why) {
  throw Error(ErrorKind::usage, "is damaged: reading it gave an answer that cannot be (" + why + ")");
}

bool is_utf8(const std::string& text) {
  try {
    (void)Json(text).dump();
    return true;
  } catch (const Json::exception&) {
    return false;
  }
}

class ContentReader {
 public:
  explicit ContentReader(std::string_view bytes) : file_(File::open(kName, bytes)), left_(most_values(bytes.size())) {}

  void take(const std::string& word) {
    const std::size_t colon = word.find(':');
    const std::string kind = word.substr(0, colon);
    const std::string name = colon == std::string::npos ? "" : word.substr(colon + 1);
    if (kind == "data" && name == "*") return take_all();
    Entry entry;
    entry.word = word;
    try {
      read(kind, name, entry);
    } catch (const Error& e) {
      const std::string_view why = e.what();
      constexpr std::string_view kPrefix = ": ";
      entry = Entry{
          word, std::string(why.substr(std::string_view(kName).size() + kPrefix.size())), false, "", 0, Type::float32,
          {}};
    }
    content.entries.push_back(std::move(entry));
  }

  Content content;

 private:
  static constexpr const char* kName = "file";  // that File's errors begin with; the parent knows the true one

  void take_all() {
    for (const std::string& name : file_.names()) take("data:" + name);
  }

  void read(const std::string& kind, const std::string& name, Entry& entry) {
    if (kind == "data") return read_data(name, entry);
    if (kind != "text" && kind != "integer") file_.fail("nothing is known of " + kind);
    entry.missing = !file_.has_attribute(name);
    if (entry.missing) return;
    if (kind == "integer") {
      entry.integer = file_.integer(name);
      return;
    }
    entry.bytes = file_.text(name);
    if (!is_utf8(entry.bytes)) file_.fail("attribute " + name + " is no UTF-8");
  }

  // Several names may lead to one dataset: what they hold together is bounded, not each.
  void read_data(const std::string& name, Entry& entry) {
    entry.missing = !file_.has(name);
    if (entry.missing) return;
    const DatasetInfo info = file_.info(name);
    const std::size_t bytes = info.count * size_of(info.type);
    if (bytes > left_) file_.fail(name + " claims more values than the file can hold");
    left_ -= bytes;
    entry.type = info.type;
    entry.shape = info.shape;
    entry.bytes = file_.read(name, info);
  }

  File file_;
  std::size_t left_;
};

Json head_of(const Entry& entry) {
  if (!entry.problem.empty()) return {{"word", entry.word}, {"problem", entry.problem}};
  if (entry.missing) return {{"word", entry.word}, {"missing", true}};
  return {{"word", entry.word},
          {"integer", entry.integer},
          {"type", static_cast<int>(entry.type)},
          {"shape", entry.shape},
          {"bytes", entry.bytes.size()}};
}

std::int64_t integer_in(const Json& json, const char* field, std::int64_t low, std::int64_t high) {
  const Json value = json.value(field, Json());
  if (!value.is_number_integer()) refuse_answer(std::string(field) + " is no integer");
  const bool fits = !value.is_number_unsigned() || std::in_range<std::int64_t>(value.get<std::uint64_t>());
  const std::int64_t number = fits ? value.get<std::int64_t>() : 0;
  if (!fits || number < low || number > high) refuse_answer(std::string(field) + " is out of its range");
  return number;
}

std::string text_in(const Json& json, const char* field) {
  const Json value = json.value(field, Json());
  if (!value.is_string()) refuse_answer(std::string(field) + " is no text");
  return value.get<std::string>();
}

Shape shape_in(const Json& json) {
  const Json sides = json.value("shape", Json());
  if (!sides.is_array() || sides.size() > kMaxRank) refuse_answer("shape is no list of sides");
  Shape shape;
  for (const Json& side : sides) shape.push_back(integer_in(Json{{"side", side}}, "side", 0, INT64_MAX));
  return shape;
}

// Whether the sides and the type make exactly so many bytes, without going beyond a machine's numbers.
bool makes(const Shape& shape, Type type, std::size_t bytes) {
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return bytes == 0;
  std::size_t left = bytes;
  for (const std::int64_t side : shape) {
    const auto divisor = static_cast<std::size_t>(side);
    if (left == 0 || left % divisor != 0) return false;
    left /= divisor;
  }
  return left == size_of(type);
}

Entry entry_of(const Json& head, std::string_view& rest) {
  if (!head.is_object()) refuse_answer("an entry is no object");
  Entry entry;
  entry.word = text_in(head, "word");
  if (head.contains("problem")) {
    entry.problem = base::printable(text_in(head, "problem"), 1000);
    if (entry.problem.empty()) refuse_answer("a problem without words");
    return entry;
  }
  entry.missing = head.contains("missing");
  if (entry.missing) return entry;
  const bool data = entry.word.starts_with("data:");
  entry.integer = integer_in(head, "integer", INT64_MIN, INT64_MAX);
  entry.type = static_cast<Type>(integer_in(head, "type", 0, kTypes - 1));
  entry.shape = shape_in(head);
  const auto bytes = static_cast<std::size_t>(integer_in(head, "bytes", 0, INT64_MAX));
  if (bytes > rest.size()) refuse_answer("it is cut off");
  if (data && !makes(entry.shape, entry.type, bytes)) refuse_answer("a shape does not fit its values");
  entry.bytes = rest.substr(0, bytes);
  rest.remove_prefix(bytes);
  if (!data && !is_utf8(entry.bytes)) refuse_answer("a text is no UTF-8");
  return entry;
}

}  // namespace

const Entry* Content::find(const std::string& word) const {
  const auto found = std::find_if(entries.begin(), entries.end(), [&](const Entry& e) { return e.word == word; });
  return found == entries.end() ? nullptr : &*found;
}

Content read_content(std::string_view file, const Words& words) {
  ContentReader reader(file);
  for (const std::string& word : words) reader.take(word);
  return std::move(reader.content);
}

std::string encode_head(const Content& content) {
  Json entries = Json::array();
  for (const Entry& entry : content.entries) entries.push_back(head_of(entry));
  return base::dump_json({{"confined", content.confined}, {"entries", entries}}) + "\n";
}

std::string encode(const Content& content) {
  std::string out = encode_head(content);
  for (const Entry& entry : content.entries) out += entry.bytes;
  return out;
}

Content decode(std::string_view answer) {
  const std::size_t line = answer.find('\n');
  if (line == std::string_view::npos) refuse_answer("it has no first line");
  Content content;
  Json head;
  try {
    head = base::parse_json(answer.substr(0, line));
  } catch (const Error&) {
    refuse_answer("its first line is no JSON");
  }
  if (!head.is_object() || !head.value("entries", Json()).is_array()) refuse_answer("it has no entries");
  const Json confined = head.value("confined", Json());
  if (!confined.is_boolean()) refuse_answer("confined is neither true nor false");
  content.confined = confined.get<bool>();
  std::string_view rest = answer.substr(line + 1);
  for (const Json& entry : head.at("entries")) content.entries.push_back(entry_of(entry, rest));
  if (!rest.empty()) refuse_answer("it goes on behind its end");
  return content;
}

}  // namespace nightreel::hdf5
