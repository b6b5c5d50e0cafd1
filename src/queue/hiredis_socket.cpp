#include "queue/hiredis_socket.h"

#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <thread>

#include "nightreel/base/pipe.h"
#include "queue/tls.h"

namespace nightreel::queue {
namespace {

constexpr std::chrono::milliseconds kStopSlice{50};  // how soon a raised stop flag is seen
constexpr int kMaxArray = 1 << 20;
constexpr std::size_t kMaxReply = 64U << 20U;

// hiredis allocates as many pointers as the server announces, before the first one has arrived. The default functions
// are its own; they travel in privdata. The count is an int in hiredis 0.14 and a size_t since 1.0.
template <typename Count>
void* bounded_array(const redisReadTask* task, Count elements) {
  if (elements > static_cast<Count>(kMaxArray)) return nullptr;  // becomes REDIS_ERR_OOM
  return static_cast<redisReplyObjectFunctions*>(task->privdata)->createArray(task, elements);
}

void bound_arrays(redisReader* reader) {
  static const redisReplyObjectFunctions kBounded = [reader] {
    redisReplyObjectFunctions functions = *reader->fn;
    functions.createArray = bounded_array;
    return functions;
  }();
  reader->privdata = reader->fn;
  reader->fn = const_cast<redisReplyObjectFunctions*>(&kBounded);
}

struct FreeReply {
  void operator()(redisReply* reply) const { freeReplyObject(reply); }
};
using ReplyHandle = std::unique_ptr<redisReply, FreeReply>;

Reply converted(const redisReply& reply) {
  switch (reply.type) {
    case REDIS_REPLY_NIL:
      return Reply();
    case REDIS_REPLY_INTEGER:
      return Reply(static_cast<std::int64_t>(reply.integer));
    case REDIS_REPLY_STRING:
    case REDIS_REPLY_STATUS:
      return Reply(std::string(reply.str, reply.len));
    case REDIS_REPLY_ERROR: {
      const std::string_view text(reply.str, reply.len);
      throw RedisError(classify_error_reply(text), base::printable(text, 500));
    }
    case REDIS_REPLY_ARRAY:
      break;
    default:
      throw RedisError(RedisFault::connection, "a reply of an unknown type");
  }
  std::vector<Reply> items;
  items.reserve(reply.elements);
  for (std::size_t i = 0; i < reply.elements; ++i) items.push_back(converted(*reply.element[i]));
  return Reply(std::move(items));
}

timeval to_timeval(std::chrono::milliseconds time) {
  timeval out{};
  out.tv_sec = static_cast<decltype(out.tv_sec)>(time.count() / 1000);
  out.tv_usec = static_cast<decltype(out.tv_usec)>(time.count() % 1000 * 1000);
  return out;
}

}  // namespace

std::chrono::milliseconds time_left(Clock::time_point until) {
  return std::max(std::chrono::milliseconds(0), std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()));
}

void wait_until(Clock::time_point until, const base::CancelToken& stop) {
  for (;;) {
    stop.throw_if_cancelled();
    const auto left = time_left(until);
    if (left.count() == 0) return;
    std::this_thread::sleep_for(std::min(left, kStopSlice));
  }
}

void HiredisSocket::Free::operator()(redisContext* context) const {
  redisFree(context);
}

HiredisSocket::HiredisSocket(const RedisAddress& address, std::chrono::milliseconds timeout,
                             const base::CancelToken& stop) {
  const Clock::time_point until = Clock::now() + timeout;
  const timeval limit = to_timeval(std::max(timeout, std::chrono::milliseconds(1)));
  context_.reset(address.host.empty() ? redisConnectUnixWithTimeout(address.unix_path.c_str(), limit)
                                      : redisConnectWithTimeout(address.host.c_str(), address.port, limit));
  if (context_ == nullptr) throw RedisError(RedisFault::connection, "out of memory");
  if (context_->err != 0) throw_lost();
  if (!address.host.empty()) redisEnableKeepAlive(context_.get());
  // From here on hiredis must never wait by itself: every wait is ours, with a deadline and a stop flag.
  const int flags = ::fcntl(context_->fd, F_GETFL);
  if (flags < 0 || ::fcntl(context_->fd, F_SETFL, flags | O_NONBLOCK) != 0) throw_lost();
  context_->flags &= ~REDIS_BLOCK;
  bound_arrays(context_->reader);
  if (address.tls) {
    tls_ = start_tls(*context_, *address.tls, address.host, [&](short events) { wait_for(events, until, stop); });
  }
}

void HiredisSocket::throw_lost() const {
  std::string why = context_->errstr;
  if (context_->err == REDIS_ERR_OOM) why = "a reply larger than this client takes";
  throw RedisError(RedisFault::connection, why.empty() ? std::strerror(errno) : base::printable(why));
}

void HiredisSocket::wait_for(short events, Clock::time_point until, const base::CancelToken& stop) const {
  for (;;) {
    stop.throw_if_cancelled();
    const auto left = time_left(until);
    pollfd entry{context_->fd, events, 0};
    const int n = ::poll(&entry, 1, static_cast<int>(std::min(left, kStopSlice).count()));
    if (n > 0) return;
    if (n < 0 && errno != EINTR) throw RedisError(RedisFault::connection, std::strerror(errno));
    if (left.count() == 0) throw RedisError(RedisFault::connection, "no answer in time");
  }
}

void HiredisSocket::send(const std::vector<std::string>& args, Clock::time_point until, const base::CancelToken& stop) {
  std::vector<const char*> pointers;
  std::vector<std::size_t> sizes;
  for (const auto& arg : args) {
    pointers.push_back(arg.data());
    sizes.push_back(arg.size());
  }
  if (redisAppendCommandArgv(context_.get(), static_cast<int>(args.size()), pointers.data(), sizes.data()) !=
      REDIS_OK) {
    throw_lost();
  }
  for (int done = 0;;) {
    if (redisBufferWrite(context_.get(), &done) != REDIS_OK) throw_lost();
    if (done != 0) return;
    wait_for(POLLOUT, until, stop);
  }
}

Reply HiredisSocket::receive(Clock::time_point until, const base::CancelToken& stop) {
  for (;;) {
    void* raw = nullptr;
    if (redisGetReplyFromReader(context_.get(), &raw) != REDIS_OK) throw_lost();
    const ReplyHandle reply(static_cast<redisReply*>(raw));
    if (reply != nullptr) return converted(*reply);
    if (context_->reader->len > kMaxReply) {
      throw RedisError(RedisFault::connection, "a reply larger than this client takes");
    }
    if (!has_received(tls_)) wait_for(POLLIN, until, stop);
    if (redisBufferRead(context_.get()) != REDIS_OK) throw_lost();
  }
}

Reply HiredisSocket::exchange(const std::vector<std::string>& args, Clock::time_point until,
                              const base::CancelToken& stop) {
  if (context_->reader->pos < context_->reader->len) {
    throw RedisError(RedisFault::connection, "more replies than commands");
  }
  const base::SigpipeGuard guard;  // TLS writes while it reads, too
  send(args, until, stop);
  return receive(until, stop);
}

std::string hiredis_version() {
  return std::to_string(HIREDIS_MAJOR) + "." + std::to_string(HIREDIS_MINOR) + "." + std::to_string(HIREDIS_PATCH);
}

}  // namespace nightreel::queue
