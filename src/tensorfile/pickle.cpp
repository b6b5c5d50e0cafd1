#include "tensorfile/pickle.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <optional>
#include <unordered_map>

#include "nightreel/base/error.h"

namespace nightreel::tensorfile {

namespace {

constexpr std::size_t kMaxPickle = 8U << 20U;
constexpr std::size_t kMaxTensors = 1U << 16U;  // of a file; the largest known has under two thousand
constexpr std::size_t kMaxPickledDimensions = 8;
constexpr std::size_t kMaxName = 1024;

enum class Kind : std::uint8_t { none, boolean, integer, text, global, tuple, list, dict, storage, tensor };

constexpr std::array<const char*, 10> kKindNames{"None",    "a bool", "a number", "text",      "a function",
                                                 "a tuple", "a list", "a dict",   "a storage", "a tensor"};

/// A number, or which entry of its kind's table.
struct Value {
  Kind kind = Kind::none;
  std::int64_t number = 0;

  std::size_t index() const { return static_cast<std::size_t>(number); }
};

enum class Call : std::uint8_t { ordered_dict, tensor_v2, tensor_v3, parameter, storage, dtype };

/// What a pickle may name. `type` is of a storage's numbers, or a dtype; a storage without one is bytes.
struct Global {
  const char* name;
  Call call;
  std::optional<StoredType> type = {};
};

constexpr std::array kGlobals{Global{"collections OrderedDict", Call::ordered_dict},
                              Global{"torch._utils _rebuild_tensor_v2", Call::tensor_v2},
                              Global{"torch._utils _rebuild_tensor_v3", Call::tensor_v3},
                              Global{"torch._utils _rebuild_parameter", Call::parameter},
                              Global{"torch FloatStorage", Call::storage, StoredType::f32},
                              Global{"torch HalfStorage", Call::storage, StoredType::f16},
                              Global{"torch BFloat16Storage", Call::storage, StoredType::bf16},
                              Global{"torch DoubleStorage", Call::storage, StoredType::f64},
                              Global{"torch LongStorage", Call::storage, StoredType::i64},
                              Global{"torch IntStorage", Call::storage, StoredType::i32},
                              Global{"torch ShortStorage", Call::storage, StoredType::i16},
                              Global{"torch CharStorage", Call::storage, StoredType::i8},
                              Global{"torch ByteStorage", Call::storage, StoredType::u8},
                              Global{"torch BoolStorage", Call::storage, StoredType::boolean},
                              Global{"torch.storage UntypedStorage", Call::storage},
                              Global{"torch float32", Call::dtype, StoredType::f32},
                              Global{"torch float16", Call::dtype, StoredType::f16},
                              Global{"torch bfloat16", Call::dtype, StoredType::bf16},
                              Global{"torch float64", Call::dtype, StoredType::f64},
                              Global{"torch float8_e4m3fn", Call::dtype, StoredType::f8_e4m3},
                              Global{"torch float8_e5m2", Call::dtype, StoredType::f8_e5m2},
                              Global{"torch int64", Call::dtype, StoredType::i64},
                              Global{"torch uint16", Call::dtype, StoredType::u16},
                              Global{"torch uint32", Call::dtype, StoredType::u32},
                              Global{"torch uint64", Call::dtype, StoredType::u64}};

struct Storage {
  std::optional<StoredType> type;  // nothing: bytes
  std::string key;
  std::int64_t bytes;
};

bool is_plain(std::string_view text) {
  return !text.empty() && text.size() <= kMaxName &&
         std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c <= '~'; });
}

/// The stack machine. Each opcode is a few lines; what they share is checked pops.
class Machine {
 public:
  explicit Machine(std::string_view pickle) : all_(pickle) {}

  std::map<std::string, PickledTensor> run() {
    if (all_.size() < 2 || all_[0] != '\x80' || all_[1] != '\x02') fail("is no pickle of protocol 2");
    at_ = 2;
    while (step()) {
    }
    return result();
  }

 private:
  [[noreturn]] void fail(const std::string& why) const {
    throw base::Error(base::ErrorKind::model, "its pickle " + why + " (byte " + std::to_string(opcode_at_) + ")");
  }

  std::string_view take(std::size_t size) {
    if (size > all_.size() - at_) fail("ends too early");
    const std::string_view taken = all_.substr(at_, size);
    at_ += size;
    return taken;
  }
  template <class Number>
  Number number() {
    Number value = 0;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
  std::string_view line() {
    const std::size_t end = all_.find('\n', at_);
    if (end == std::string_view::npos) fail("ends too early");
    const std::string_view text = take(end - at_);
    ++at_;
    return text;
  }

  void push(Kind kind, std::int64_t value) { stack_.push_back({kind, value}); }
  template <class Table>
  void push_new(Kind kind, Table& table, typename Table::value_type entry) {
    table.push_back(std::move(entry));
    push(kind, static_cast<std::int64_t>(table.size()) - 1);
  }
  std::size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }
  Value pop() {
    if (stack_.size() <= floor()) fail("takes more from its stack than there is");
    const Value value = stack_.back();
    stack_.pop_back();
    return value;
  }
  Value top() const {
    if (stack_.size() <= floor()) fail("takes more from its stack than there is");
    return stack_.back();
  }
  /// Everything above the last mark, which goes with it.
  std::vector<Value> pop_to_mark() {
    if (marks_.empty()) fail("has no mark where one is needed");
    const auto from = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    std::vector<Value> values(from, stack_.end());
    stack_.erase(from, stack_.end());
    marks_.pop_back();
    return values;
  }
  const Value& expect(const Value& value, Kind kind, const char* what) const {
    if (value.kind != kind) {
      fail(std::string("has ") + kKindNames.at(static_cast<std::size_t>(value.kind)) + " where " + what + " belongs");
    }
    return value;
  }
  std::string_view text(const Value& value, const char* what) const {
    return texts_[expect(value, Kind::text, what).index()];
  }
  std::int64_t integer(const Value& value, const char* what) const { return expect(value, Kind::integer, what).number; }
  const std::vector<Value>& tuple(const Value& value, const char* what) const {
    return sequences_[expect(value, Kind::tuple, what).index()];
  }
  const Global& global(const Value& value, const char* what) const {
    return kGlobals.at(expect(value, Kind::global, what).index());
  }

  /// False at the end of the program.
  bool step() {
    opcode_at_ = at_;
    const char opcode = take(1)[0];
    switch (opcode) {
      case '.':
        return false;
      case '(':
        marks_.push_back(stack_.size());
        return true;
      case '}':
        push_new(Kind::dict, dicts_, {});
        return true;
      case ']':
        push_new(Kind::list, sequences_, {});
        return true;
      case ')':
        push_new(Kind::tuple, sequences_, {});
        return true;
      case 't':
        push_new(Kind::tuple, sequences_, pop_to_mark());
        return true;
      case '\x85':
      case '\x86':
      case '\x87':
        push_tuple(static_cast<std::size_t>(opcode - '\x85') + 1);
        return true;
      case 'N':
        push(Kind::none, 0);
        return true;
      case '\x88':
        push(Kind::boolean, 1);
        return true;
      case '\x89':
        push(Kind::boolean, 0);
        return true;
      case 'J':
        push(Kind::integer, number<std::int32_t>());
        return true;
      case 'K':
        push(Kind::integer, number<std::uint8_t>());
        return true;
      case 'M':
        push(Kind::integer, number<std::uint16_t>());
        return true;
      case '\x8a':
        push_long();
        return true;
      case 'X':
        push_new(Kind::text, texts_, take(number<std::uint32_t>()));
        return true;
      case 'c':
        push_global();
        return true;
      case 'q':
        memo_[number<std::uint8_t>()] = top();
        return true;
      case 'r':
        memo_[number<std::uint32_t>()] = top();
        return true;
      case 'h':
        recall(number<std::uint8_t>());
        return true;
      case 'j':
        recall(number<std::uint32_t>());
        return true;
      case 'Q':
        push_storage();
        return true;
      case 'R':
        call();
        return true;
      case 's':
        set_item();
        return true;
      case 'u':
        set_items();
        return true;
      case 'a':
        append({pop()});
        return true;
      case 'e':
        append(pop_to_mark());
        return true;
      case 'b':
        set_state();
        return true;
      default:
        constexpr const char* kDigits = "0123456789abcdef";
        const auto byte = static_cast<unsigned char>(opcode);
        fail(std::string("has the opcode 0x") + kDigits[byte >> 4U] + kDigits[byte & 15U] +
             ", which a state dict has no need of");
    }
  }

  void push_tuple(std::size_t size) {
    std::vector<Value> values(size);
    for (std::size_t i = size; i-- > 0;) values[i] = pop();
    push_new(Kind::tuple, sequences_, std::move(values));
  }

  void push_long() {
    const std::string_view bytes = take(number<std::uint8_t>());
    if (bytes.size() > sizeof(std::int64_t)) fail("has a number of more than 64 bits");
    std::int64_t value = !bytes.empty() && (static_cast<unsigned char>(bytes.back()) & 0x80U) != 0 ? -1 : 0;
    std::memcpy(&value, bytes.data(), bytes.size());
    push(Kind::integer, value);
  }

  void push_global() {
    const std::string module(line());
    const std::string name = module + " " + std::string(line());
    const auto* found = std::find_if(kGlobals.begin(), kGlobals.end(), [&](const Global& g) { return name == g.name; });
    if (found == kGlobals.end()) {
      fail("names " + base::printable(name) + ", which a state dict has no need of; nothing of it was executed");
    }
    push(Kind::global, found - kGlobals.begin());
  }

  void recall(std::uint32_t key) {
    const auto found = memo_.find(key);
    if (found == memo_.end()) fail("recalls what it never stored");
    stack_.push_back(found->second);
  }

  /// The persistent id of a storage: ("storage", its class, key, where it lived, elements).
  void push_storage() {
    const std::vector<Value>& id = tuple(pop(), "a storage's id");
    if (id.size() != 5 || text(id[0], "the word storage") != "storage") fail("has an id that is no storage's");
    const Global& type = global(id[1], "a storage's class");
    if (type.call != Call::storage) fail(std::string("has ") + type.name + " where a storage's class belongs");
    const std::string_view key = text(id[2], "a storage's key");
    if (!is_plain(key) || key.find('/') != std::string_view::npos) fail("has a storage's key that is no file name");
    const std::int64_t count = integer(id[4], "a storage's size");
    const auto each = static_cast<std::int64_t>(type.type ? bytes_of(*type.type) : 1);
    std::int64_t bytes = 0;
    if (count < 0 || __builtin_mul_overflow(count, each, &bytes)) {
      fail("has a storage of " + std::to_string(count) + " elements");
    }
    push_new(Kind::storage, storages_, {type.type, std::string(key), bytes});
  }

  void call() {
    const Value arguments_value = pop();
    const Global& function = global(pop(), "a function");
    const std::vector<Value> arguments = tuple(arguments_value, "arguments");
    switch (function.call) {
      case Call::ordered_dict:
        if (!arguments.empty()) fail("makes an OrderedDict of something");
        push_new(Kind::dict, dicts_, {});
        return;
      case Call::tensor_v2:
        return push_tensor(arguments, 6, std::nullopt);
      case Call::tensor_v3: {
        if (arguments.size() < 7) fail("calls _rebuild_tensor_v3 with too few arguments");
        const Global& dtype = global(arguments[6], "a dtype");
        if (dtype.call != Call::dtype) fail(std::string("has ") + dtype.name + " where a dtype belongs");
        return push_tensor(arguments, 7, dtype.type);
      }
      case Call::parameter:
        if (arguments.size() != 3) fail("calls _rebuild_parameter with other than three arguments");
        stack_.push_back(expect(arguments[0], Kind::tensor, "a tensor"));
        return;
      case Call::storage:
      case Call::dtype:
        fail(std::string("calls ") + function.name);
    }
  }

  std::vector<std::int64_t> integers(const Value& value, const char* what) const {
    std::vector<std::int64_t> numbers;
    for (const Value& entry : tuple(value, what)) numbers.push_back(integer(entry, what));
    if (numbers.size() > kMaxPickledDimensions)
      fail("has a tensor of " + std::to_string(numbers.size()) + " dimensions");
    return numbers;
  }

  /// (storage, offset, shape, strides, requires_grad, hooks[, dtype][, metadata]); what only training needs is not
  /// looked at.
  void push_tensor(const std::vector<Value>& arguments, std::size_t least, std::optional<StoredType> dtype) {
    if (arguments.size() < least || arguments.size() > least + 1) fail("rebuilds a tensor with a wrong argument count");
    const Storage& storage = storages_[expect(arguments[0], Kind::storage, "a storage").index()];
    PickledTensor tensor;
    const std::optional<StoredType> type = dtype ? dtype : storage.type;
    if (!type) fail("rebuilds a tensor whose dtype nothing says");
    tensor.type = *type;
    tensor.storage = storage.key;
    tensor.storage_bytes = storage.bytes;
    tensor.offset = integer(arguments[1], "an offset");
    tensor.shape = integers(arguments[2], "a shape");
    tensor.strides = integers(arguments[3], "strides");
    if (tensor.shape.size() != tensor.strides.size()) fail("has a tensor with as many strides as it has not sizes");
    if (tensors_.size() >= kMaxTensors) fail("has more than " + std::to_string(kMaxTensors) + " tensors");
    push_new(Kind::tensor, tensors_, std::move(tensor));
  }

  void add_item(const Value& dict, const Value& key, const Value& value) {
    dicts_[expect(dict, Kind::dict, "a dict").index()].emplace_back(key, value);
  }
  void set_item() {
    const Value value = pop();
    const Value key = pop();
    add_item(top(), key, value);
  }
  void set_items() {
    const std::vector<Value> items = pop_to_mark();
    if (items.size() % 2 != 0) fail("sets a key without a value");
    for (std::size_t i = 0; i < items.size(); i += 2) add_item(top(), items[i], items[i + 1]);
  }
  void append(const std::vector<Value>& values) {
    std::vector<Value>& list = sequences_[expect(top(), Kind::list, "a list").index()];
    list.insert(list.end(), values.begin(), values.end());
  }
  /// What an OrderedDict carries beside its items: torch's _metadata, the versions of its modules. Nobody needs it.
  void set_state() {
    expect(pop(), Kind::dict, "an OrderedDict's state");
    expect(top(), Kind::dict, "an OrderedDict");
  }

  std::map<std::string, PickledTensor> result() {
    const Value root = pop();
    if (!stack_.empty() || !marks_.empty()) fail("leaves something on its stack");
    std::map<std::string, PickledTensor> named;
    for (const auto& [key, value] : dicts_[expect(root, Kind::dict, "a state dict").index()]) {
      const std::string name(text(key, "a tensor's name"));
      if (!is_plain(name)) fail("has a tensor whose name is not plain text");
      if (value.kind != Kind::tensor) fail("has something else than a tensor under " + base::printable(name));
      if (!named.emplace(name, tensors_[value.index()]).second) fail("has " + base::printable(name) + " twice");
    }
    return named;
  }

  std::string_view all_;
  std::size_t at_ = 0;
  std::size_t opcode_at_ = 0;
  std::vector<Value> stack_;
  std::vector<std::size_t> marks_;  // heights of the stack
  std::unordered_map<std::uint32_t, Value> memo_;
  std::vector<std::string_view> texts_;
  std::vector<std::vector<Value>> sequences_;  // tuples and lists
  std::vector<std::vector<std::pair<Value, Value>>> dicts_;
  std::vector<Storage> storages_;
  std::vector<PickledTensor> tensors_;
};

}  // namespace

std::map<std::string, PickledTensor> read_state_dict(std::string_view pickle) {
  if (pickle.size() > kMaxPickle) {
    throw base::Error(base::ErrorKind::model, "its pickle has " + std::to_string(pickle.size()) +
                                                  " bytes; a state dict's has under " + std::to_string(kMaxPickle));
  }
  return Machine(pickle).run();
}

}  // namespace nightreel::tensorfile
