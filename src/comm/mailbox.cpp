#include "comm/mailbox.h"

#include <ATen/ATen.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <numeric>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <tuple>

#include "comm/within.h"
#include "nightreel/base/error.h"
#include "nightreel/base/file.h"
#include "nightreel/base/hash.h"
#include "nightreel/base/random.h"

namespace nightreel::comm {
namespace {

using base::Error;
using base::ErrorKind;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using Bytes = std::vector<std::uint8_t>;

constexpr std::size_t kChunk = 4U << 20U;  // the server refuses messages above 8 MiB
constexpr milliseconds kGrace{500};        // for the error with the missing ranks' names to come first
constexpr char kRefused = '!';             // first character of a header that is no call but a reason

[[noreturn]] void fail_store(const std::string& message) {
  throw Error(ErrorKind::comm, message);
}

std::string text_of(const Bytes& bytes) {
  return std::string(bytes.begin(), bytes.end());
}
Bytes bytes_of(const std::string& text) {
  return Bytes(text.begin(), text.end());
}

/// A listening socket on `host` alone, and the port that the system chose: TCPStore itself would listen everywhere.
base::Fd listen_on(const std::string& host, std::uint16_t& port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICHOST | AI_PASSIVE;
  addrinfo* found = nullptr;
  if (::getaddrinfo(host.c_str(), "0", &hints, &found) != 0) {
    fail_store("store: " + base::printable(host) + " is not a numeric IPv4 or IPv6 address");
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> address(found, &::freeaddrinfo);
  base::Fd fd(::socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_storage bound{};
  socklen_t length = sizeof(bound);
  std::array<char, NI_MAXSERV> service{};
  auto* const bound_address = reinterpret_cast<sockaddr*>(&bound);
  if (!fd || ::bind(fd.get(), address->ai_addr, address->ai_addrlen) != 0 || ::listen(fd.get(), 1024) != 0 ||
      ::getsockname(fd.get(), bound_address, &length) != 0) {
    fail_store("store: cannot listen on " + host + ": " + std::strerror(errno));
  }
  ::getnameinfo(bound_address, length, nullptr, 0, service.data(), service.size(), NI_NUMERICSERV);
  port = static_cast<std::uint16_t>(std::stoi(service.data()));
  return fd;
}

constexpr std::size_t kTokenBytes = 16;

/// The name under which the store holds `name`. Without the token nobody finds anything there, or puts anything where
/// a member looks.
std::string secret_key(const std::string& token, const std::string& name) {
  return base::sha256_hex(token + "/" + name);
}

std::string meeting_key(const std::string& token) {
  return secret_key(token, "meeting");
}

/// "host:port/token" as what may be shown, and the token.
std::pair<std::string, std::string> without_token(const std::string& address) {
  const std::size_t slash = address.rfind('/');
  if (slash == std::string::npos) return {address, ""};
  return {address.substr(0, slash), address.substr(slash + 1)};
}

/// "host:port" or "[v6]:port" taken apart.
std::pair<std::string, std::uint16_t> parse_address(const std::string& address) {
  const std::size_t colon = address.rfind(':');
  const std::string digits = colon == std::string::npos ? "" : address.substr(colon + 1);
  const bool number =
      !digits.empty() && digits.size() <= 5 && digits.find_first_not_of("0123456789") == std::string::npos;
  if (!number || colon == 0 || std::stoi(digits) > 65535 || std::stoi(digits) == 0) {
    fail_store("store: " + base::printable(address) + " is not an address of the form host:port");
  }
  std::string host = address.substr(0, colon);
  if (host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  return {host, static_cast<std::uint16_t>(std::stoi(digits))};
}

}  // namespace

// ---- server --------------------------------------------------------------------------------------------------------

struct StoreServer::Impl {
  c10::intrusive_ptr<c10d::TCPStore> store;
};

StoreServer::StoreServer(const std::string& interface_address) : impl_(std::make_unique<Impl>()) {
  std::uint16_t port = 0;
  base::Fd socket = listen_on(interface_address, port);
  c10d::TCPStoreOptions options;
  options.isServer = true;
  options.port = port;
  options.waitWorkers = false;
  options.masterListenFd = socket.get();
  try {
    impl_->store = c10::make_intrusive<c10d::TCPStore>(interface_address, options);
  } catch (const c10::Error& e) {
    fail_store("store: cannot serve on " + interface_address + ": " + base::printable(e.what_without_backtrace()));
  }
  socket.release();  // the server's now
  const bool v6 = interface_address.find(':') != std::string::npos;
  const std::string token = base::random_hex(kTokenBytes);
  impl_->store->set(meeting_key(token), Bytes{1});
  address_ = (v6 ? "[" + interface_address + "]" : interface_address) + ":" + std::to_string(port) + "/" + token;
}

StoreServer::~StoreServer() = default;

std::int64_t StoreServer::keys() const {
  return impl_->store->getNumKeys() - 1;  // its own: meeting_key
}

// ---- member --------------------------------------------------------------------------------------------------------

// Shared with the thread of the call in flight, which may be left behind.
struct Mailbox::State {
  Seat seat;
  std::string token;  // of seat.address, which goes without it from here on
  int rank;
  int size;
  milliseconds deadline;
  c10::intrusive_ptr<c10d::TCPStore> store;
  Clock::time_point until;
  std::int64_t call = -1;
  std::vector<std::string> posted;    // by this rank in this call
  std::vector<std::string> outdated;  // by this rank in the call before

  void connect();
  void begin();
  void post(const std::string& key, Bytes value);
  void post_piece(int piece, const at::Tensor& tensor);
  void await(const std::vector<std::string>& keys, const std::string& what);
  void compare_headers(const std::string& mine);
  void take(const Take& take);
  void remove(std::vector<std::string>& keys);
  void exchange(const std::string& header, const std::vector<at::Tensor>& pieces, const std::vector<Take>& takes);
  void leave();
  milliseconds remaining() const {
    return std::max(milliseconds(1), std::chrono::duration_cast<milliseconds>(until - Clock::now()));
  }
  std::string name_of(int r) const { return std::to_string(seat.members[static_cast<std::size_t>(r)]); }
  std::string where() const { return "store at " + seat.address + ", rank " + name_of(rank) + ": "; }
  /// "rank 3", "ranks 0, 2".
  std::string named(const std::vector<int>& ranks) const;
  /// All members.
  std::string named() const;
  std::string header_key(int r) const { return secret(name("h", r)); }
  std::string left_key(int r) const { return secret(seat.prefix + "left/" + std::to_string(r)); }
  std::string member_key() const { return secret(seat.prefix + "member/" + std::to_string(rank)); }
  std::string chunk_key(int r, int piece, std::size_t chunk) const {
    return secret(name("d", r) + "/" + std::to_string(piece) + "/" + std::to_string(chunk));
  }
  std::string name(const char* kind, int r) const {
    return seat.prefix + kind + "/" + std::to_string(call) + "/" + std::to_string(r);
  }
  std::string secret(const std::string& of) const { return secret_key(token, of); }
};

std::string Mailbox::State::named() const {
  std::vector<int> all(static_cast<std::size_t>(size));
  std::iota(all.begin(), all.end(), 0);
  return named(all);
}

std::string Mailbox::State::named(const std::vector<int>& ranks) const {
  std::string text = ranks.size() == 1 ? "rank " : "ranks ";
  for (std::size_t i = 0; i < ranks.size(); ++i) text += (i == 0 ? "" : ", ") + name_of(ranks[i]);
  return text;
}

void Mailbox::State::connect() {
  c10d::TCPStoreOptions options;
  const auto [host, port] = parse_address(seat.address);
  options.port = port;
  options.waitWorkers = false;
  options.timeout = deadline;
  store = c10::make_intrusive<c10d::TCPStore>(host, options);
  if (!store->check({meeting_key(token)})) {
    fail_store(where() + "it does not know this member's token: another run's store listens there");
  }
  if (store->add(member_key(), 1) != 1) {
    fail_store(where() + "another member has this rank already");
  }
  posted.push_back(member_key());
}

void Mailbox::State::begin() {
  ++call;
  until = Clock::now() + deadline;
}

void Mailbox::State::post(const std::string& key, Bytes value) {
  posted.push_back(key);
  store->set(key, std::move(value));
}

void Mailbox::State::post_piece(int piece, const at::Tensor& tensor) {
  const auto* data = static_cast<const std::uint8_t*>(tensor.const_data_ptr());
  for (std::size_t at = 0, chunk = 0; at < tensor.nbytes(); at += kChunk, ++chunk) {
    const std::size_t end = std::min(tensor.nbytes(), at + kChunk);
    post(chunk_key(rank, piece, chunk), Bytes(data + at, data + end));
  }
}

/// keys[i] is rank i's. Throws with the ranks whose key has not come by the deadline.
void Mailbox::State::await(const std::vector<std::string>& keys, const std::string& what) {
  try {
    store->wait(keys, remaining());
    return;
  } catch (const c10::DistStoreError&) {
  }
  std::vector<int> missing;
  for (std::size_t r = 0; r < keys.size(); ++r) {
    if (!store->check({keys[r]})) missing.push_back(static_cast<int>(r));
  }
  if (missing.empty()) return;  // came between the two looks
  const std::string whole = seat.prefix.empty() ? " of " + std::to_string(size) : " (of the part of " + named() + ")";
  fail_store(where() + named(missing) + whole + " did not come within " + std::to_string(deadline.count()) + " ms to " +
             what);
}

void Mailbox::State::compare_headers(const std::string& mine) {
  std::vector<std::string> keys;
  for (int r = 0; r < size; ++r) keys.push_back(header_key(r));
  await(keys, "call " + std::to_string(call) + " (" + mine + ")");
  std::map<std::string, std::vector<int>> said;
  const std::vector<Bytes> headers = store->multiGet(keys);
  for (int r = 0; r < size; ++r) said[text_of(headers.at(static_cast<std::size_t>(r)))].push_back(r);
  if (said.size() == 1 && mine.front() != kRefused) return;
  std::string message;
  for (const auto& [header, ranks] : said) {
    const bool refused = header.front() == kRefused;
    message += (message.empty() ? "" : "; ") + named(ranks) + ": " + header.substr(refused ? 1 : 0);
  }
  fail_store(where() + "the ranks' calls do not fit (call " + std::to_string(call) + "): " + message);
}

void Mailbox::State::take(const Take& take) {
  auto* data = static_cast<std::uint8_t*>(take.buffer.mutable_data_ptr());
  const std::size_t bytes = take.buffer.nbytes();
  for (std::size_t at = 0, chunk = 0; at < bytes; at += kChunk, ++chunk) {
    const Bytes value = store->multiGet({chunk_key(take.source, take.piece, chunk)}).at(0);
    if (value.size() != std::min(kChunk, bytes - at)) {
      fail_store(where() + "rank " + name_of(take.source) + " sent " + std::to_string(value.size()) + " bytes where " +
                 std::to_string(std::min(kChunk, bytes - at)) + " were expected");
    }
    std::memcpy(data + at, value.data(), value.size());
  }
}

void Mailbox::State::remove(std::vector<std::string>& keys) {
  for (const std::string& key : keys) store->deleteKey(key);
  keys.clear();
}

void Mailbox::State::exchange(const std::string& header, const std::vector<at::Tensor>& pieces,
                              const std::vector<Take>& takes) {
  store->setTimeout(deadline);
  outdated.swap(posted);
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    if (pieces[i].defined()) post_piece(static_cast<int>(i), pieces[i]);
  }
  post(header_key(rank), bytes_of(header));
  compare_headers(header);
  remove(outdated);
  for (const Take& one : takes) take(one);
}

// The last header of each member stays until rank 0, the server's owner, has heard that all have read them.
void Mailbox::State::leave() {
  exchange("finalize", {}, {});
  if (rank != 0) {
    store->set(left_key(rank), Bytes{1});  // unanswered: the server may go as soon as it has it
    return;
  }
  std::vector<std::string> keys{header_key(0)};
  for (int r = 1; r < size; ++r) keys.push_back(left_key(r));
  await(keys, "the end");
  for (int r = 1; r < size; ++r) keys.push_back(header_key(r));
  remove(keys);
}

template <typename Work>
void Mailbox::guarded(const Work& work) {
  if (!broken_.empty()) fail_store("unusable since an earlier call failed: " + broken_);
  const std::shared_ptr<State> state = state_;
  state->begin();
  const std::string lost = state->where() + "lost the store, which lives in rank 0's process: ";
  const std::string late = lost + "no answer within " + std::to_string(state->deadline.count()) + " ms";
  try {
    try {
      run_within<void>(state->deadline + kGrace, late, [state, work] { work(*state); });
    } catch (const c10::Error& e) {
      fail_store(lost + base::printable(e.what_without_backtrace()));
    }
  } catch (const Error& e) {
    broken_ = e.what();
    throw;
  }
}

Mailbox::Mailbox(Seat seat, milliseconds deadline) : state_(std::make_shared<State>()) {
  std::tie(seat.address, state_->token) = without_token(seat.address);
  parse_address(seat.address);
  state_->rank = seat.rank;
  state_->size = static_cast<int>(seat.members.size());
  state_->seat = std::move(seat);
  state_->deadline = deadline;
  guarded([](State& state) {
    state.connect();
    state.exchange("join a group of " + std::to_string(state.size), {}, {});
  });
}

Mailbox::~Mailbox() = default;

void Mailbox::exchange(const std::string& header, std::vector<at::Tensor> pieces, std::vector<Take> takes) {
  guarded([header, pieces = std::move(pieces), takes = std::move(takes)](State& state) {
    state.exchange(header, pieces, takes);
  });
}

void Mailbox::refuse(const std::string& problem) {
  exchange(kRefused + problem, {}, {});
  fail_store(problem);
}

void Mailbox::leave() {
  guarded([](State& state) { state.leave(); });
  broken_ = "the communicator was finalised";
}

}  // namespace nightreel::comm
