#include "nightreel/cluster/reachable.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <future>
#include <memory>

#include "nightreel/base/error.h"
#include "nightreel/base/pipe.h"
#include "nightreel/base/random.h"

namespace nightreel::cluster {
namespace {

using Clock = std::chrono::steady_clock;

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

std::optional<SocketAddress> parse(const std::string& address, int port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (::getaddrinfo(address.c_str(), std::to_string(port).c_str(), &hints, &found) != 0) return std::nullopt;
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(found, ::freeaddrinfo);
  SocketAddress out;
  std::memcpy(&out.storage, found->ai_addr, found->ai_addrlen);
  out.size = found->ai_addrlen;
  return out;
}

bool is_link_local(const sockaddr* address) {
  if (address->sa_family == AF_INET) {
    const auto* four = reinterpret_cast<const sockaddr_in*>(address);
    return (ntohl(four->sin_addr.s_addr) >> 16U) == 0xa9fe;  // 169.254.0.0/16
  }
  return IN6_IS_ADDR_LINKLOCAL(&reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr);
}

// Its text, where other hosts may reach it.
std::optional<std::string> reachable_text(const ifaddrs& entry) {
  if (entry.ifa_addr == nullptr || (entry.ifa_flags & IFF_UP) == 0 || (entry.ifa_flags & IFF_LOOPBACK) != 0) return {};
  const int family = entry.ifa_addr->sa_family;
  if ((family != AF_INET && family != AF_INET6) || is_link_local(entry.ifa_addr)) return {};
  const socklen_t size = family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
  std::array<char, NI_MAXHOST> text{};
  if (::getnameinfo(entry.ifa_addr, size, text.data(), text.size(), nullptr, 0, NI_NUMERICHOST) != 0) return {};
  return std::string(text.data());
}

base::Fd listen_on(const SocketAddress& address) {
  base::Fd fd(::socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd || ::bind(fd.get(), address.get(), address.size) != 0 || ::listen(fd.get(), SOMAXCONN) != 0) return {};
  return fd;
}

int port_of(const base::Fd& fd) {
  SocketAddress bound;
  bound.size = sizeof bound.storage;
  if (::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&bound.storage), &bound.size) != 0) return 0;
  const bool six = bound.storage.ss_family == AF_INET6;
  return ntohs(six ? reinterpret_cast<const sockaddr_in6*>(bound.get())->sin6_port
                   : reinterpret_cast<const sockaddr_in*>(bound.get())->sin_port);
}

bool wait_for(const base::Fd& fd, short events, Clock::time_point until) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now()).count();
  pollfd entry{fd.get(), events, 0};
  return left > 0 && ::poll(&entry, 1, static_cast<int>(left)) == 1;
}

bool try_door(const ProbeListener::Door& door, const std::string& word, std::chrono::milliseconds limit) {
  const auto until = Clock::now() + limit;
  const auto address = parse(door.address, door.port);
  if (!address) return false;
  const base::Fd fd(::socket(address->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return false;
  if (::connect(fd.get(), address->get(), address->size) != 0 && errno != EINPROGRESS) return false;
  std::string heard;
  std::array<char, 256> buffer{};
  while (heard.size() < word.size() && wait_for(fd, POLLIN, until)) {
    const ssize_t n = ::read(fd.get(), buffer.data(), buffer.size());
    if (n <= 0) return false;
    heard.append(buffer.data(), static_cast<std::size_t>(n));
  }
  return heard == word;
}

}  // namespace

std::vector<std::string> host_addresses() {
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) {
    throw base::Error(base::ErrorKind::environment, "this host's network interfaces cannot be listed");
  }
  const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> owner(list, ::freeifaddrs);
  std::vector<std::string> out;
  for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
    if (const auto text = reachable_text(*entry)) out.push_back(*text);
  }
  std::stable_partition(out.begin(), out.end(),
                        [](const std::string& text) { return text.find(':') == std::string::npos; });
  return out;
}

ProbeListener::ProbeListener(const std::vector<std::string>& addresses)
    : word_(base::random_hex(16)), wake_(::eventfd(0, EFD_CLOEXEC)) {
  if (!wake_) throw base::Error(base::ErrorKind::environment, "cannot make an eventfd");
  for (const std::string& text : addresses) {
    const auto address = parse(text, 0);
    base::Fd fd = address ? listen_on(*address) : base::Fd();
    if (!fd) continue;
    doors_.push_back({text, port_of(fd)});
    sockets_.push_back(std::move(fd));
  }
  thread_ = std::thread([this] { serve(); });
}

ProbeListener::~ProbeListener() {
  const std::uint64_t one = 1;
  if (::write(wake_.get(), &one, sizeof one) == sizeof one) thread_.join();
}

void ProbeListener::serve() {
  const base::SigpipeGuard guard;
  std::vector<pollfd> all{{wake_.get(), POLLIN, 0}};
  for (const base::Fd& socket : sockets_) all.push_back({socket.get(), POLLIN, 0});
  for (;;) {
    ::poll(all.data(), all.size(), -1);
    if (all[0].revents != 0) return;
    for (std::size_t i = 1; i < all.size(); ++i) {
      if ((all[i].revents & POLLIN) == 0) continue;
      const base::Fd client(::accept4(all[i].fd, nullptr, nullptr, SOCK_CLOEXEC));
      // A few bytes fit into any new socket's buffer; one that is gone already gets none.
      if (client && ::write(client.get(), word_.data(), word_.size()) < 0) continue;
    }
  }
}

std::string try_doors(const std::vector<ProbeListener::Door>& doors, const std::string& word,
                      std::chrono::milliseconds limit) {
  std::vector<std::future<bool>> tries;
  for (const auto& door : doors) tries.push_back(std::async(std::launch::async, try_door, door, word, limit));
  std::string out;
  for (auto& one : tries) out += one.get() ? '1' : '0';
  return out;
}

std::optional<std::size_t> first_for_all(std::size_t doors, const std::vector<std::string>& answers) {
  for (std::size_t door = 0; door < doors; ++door) {
    const bool all = std::all_of(answers.begin(), answers.end(),
                                 [&](const std::string& a) { return door < a.size() && a[door] == '1'; });
    if (all) return door;
  }
  return std::nullopt;
}

}  // namespace nightreel::cluster
