// The build with TLS: OpenSSL's session, driven by our own waits, given to hiredis_ssl for its reads and writes.
#include <hiredis/hiredis.h>
#include <hiredis/hiredis_ssl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>

#include <memory>

#include "nightreel/base/error.h"
#include "nightreel/base/pipe.h"
#include "nightreel/queue/redis.h"
#include "queue/tls.h"

namespace nightreel::queue {
namespace {

struct FreeContext {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};
using ContextHandle = std::unique_ptr<SSL_CTX, FreeContext>;

struct FreeSession {
  void operator()(SSL* session) const { SSL_free(session); }
};
using SessionHandle = std::unique_ptr<SSL, FreeSession>;

std::string last_reason() {
  const char* reason = ERR_reason_error_string(ERR_peek_last_error());
  ERR_clear_error();
  return reason == nullptr ? "no reason given" : reason;
}

[[noreturn]] void refuse_file(const std::string& path) {
  throw RedisError(RedisFault::unsuitable, "TLS: " + base::printable(path) + ": " + last_reason());
}

void use_own_certificate(SSL_CTX* context, const RedisTls& tls) {
  if (tls.cert_file.empty()) return;
  if (SSL_CTX_use_certificate_chain_file(context, tls.cert_file.c_str()) != 1) refuse_file(tls.cert_file);
  if (SSL_CTX_use_PrivateKey_file(context, tls.key_file.c_str(), SSL_FILETYPE_PEM) != 1) refuse_file(tls.key_file);
}

ContextHandle make_context(const RedisTls& tls) {
  ContextHandle context(SSL_CTX_new(TLS_client_method()));
  if (context == nullptr) throw RedisError(RedisFault::connection, "TLS: " + last_reason());
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  if (tls.ca_file.empty()) {
    SSL_CTX_set_default_verify_paths(context.get());  // the system's, or what SSL_CERT_FILE and SSL_CERT_DIR name
  } else if (SSL_CTX_load_verify_locations(context.get(), tls.ca_file.c_str(), nullptr) != 1) {
    refuse_file(tls.ca_file);
  }
  use_own_certificate(context.get(), tls);
  return context;
}

// A certificate for somebody else proves nothing: hiredis itself would accept it.
void expect_host(SSL* session, const std::string& host) {
  X509_VERIFY_PARAM* param = SSL_get0_param(session);
  X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  if (X509_VERIFY_PARAM_set1_ip_asc(param, host.c_str()) == 1) return;
  ERR_clear_error();
  X509_VERIFY_PARAM_set1_host(param, host.c_str(), host.size());
  // SSL_set_tlsext_host_name without its cast
  SSL_ctrl(session, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, const_cast<char*>(host.c_str()));
}

[[noreturn]] void throw_failed(const SSL* session) {
  const auto verified = SSL_get_verify_result(session);
  if (verified != X509_V_OK) {
    throw RedisError(RedisFault::unsuitable, std::string("TLS: its certificate is not accepted: ") +
                                                 X509_verify_cert_error_string(verified) +
                                                 "; name the file of its authority with ?ssl_ca_certs=FILE");
  }
  throw RedisError(RedisFault::connection, "TLS: the handshake failed: " + last_reason());
}

}  // namespace

bool tls_available() {
  return true;
}

ssl_st* start_tls(redisContext& connection, const RedisTls& tls, const std::string& host, const WaitFor& wait) {
  const ContextHandle context = make_context(tls);  // the session holds a reference of its own
  SessionHandle created(SSL_new(context.get()));
  if (created == nullptr) throw RedisError(RedisFault::connection, "TLS: " + last_reason());
  expect_host(created.get(), host);
  const base::SigpipeGuard guard;
  if (redisInitiateSSL(&connection, created.get()) != REDIS_OK) throw_failed(created.get());
  SSL* session = created.release();  // the connection's
  for (;;) {
    ERR_clear_error();
    const int done = SSL_do_handshake(session);
    if (done == 1) return session;
    const int why = SSL_get_error(session, done);
    if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE) throw_failed(session);
    wait(why == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT);
  }
}

bool has_received(const ssl_st* session) {
  return session != nullptr && SSL_pending(session) > 0;
}

}  // namespace nightreel::queue
