// rediss:// to servers whose certificates are made here. Only in a build with NIGHTREEL_REDIS_TLS.
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "queue/test_server.h"
#include "support/error.h"

using namespace nightreel;
using namespace std::chrono_literals;
using queue::Redis;
using queue::RedisError;
using queue::RedisFault;

namespace {

int free_port() {
  const base::Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof name;
  ::bind(fd.get(), reinterpret_cast<sockaddr*>(&name), size);
  ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&name), &size);
  return ntohs(name.sin_port);
}

// An authority, and certificates that it signed.
class Certificates {
 public:
  Certificates() {
    make("authority", {"-subj", "/CN=authority"});
    sign("server", "DNS:localhost,IP:127.0.0.1");
    sign("elsewhere", "DNS:elsewhere.example");
    sign("client", "DNS:client");
    make("stranger", {"-subj", "/CN=stranger"});
  }
  std::string pem(const std::string& name) const { return folder_.path() + "/" + name + ".pem"; }
  std::string key(const std::string& name) const { return folder_.path() + "/" + name + ".key"; }
  std::string server_lines(const std::string& name, int port, bool ask_clients) const {
    return "tls-port " + std::to_string(port) + "\ntls-cert-file " + pem(name) + "\ntls-key-file " + key(name) +
           "\ntls-ca-cert-file " + pem("authority") + "\ntls-auth-clients " + (ask_clients ? "yes" : "no") +
           "\nbind 127.0.0.1\n";
  }

 private:
  void make(const std::string& name, const std::vector<std::string>& more) const {
    base::ChildOptions plan;
    plan.argv = {"openssl", "req",   "-x509", "-newkey", "ec",      "-pkeyopt", "ec_paramgen_curve:prime256v1",
                 "-nodes",  "-days", "2",     "-keyout", key(name), "-out",     pem(name)};
    plan.argv.insert(plan.argv.end(), more.begin(), more.end());
    plan.stderr_path = folder_.path() + "/log";
    base::Child child(plan);
    REQUIRE(child.wait(30s) == "exit code 0");
  }
  void sign(const std::string& name, const std::string& names) const {
    make(name, {"-subj", "/CN=" + name, "-addext", "subjectAltName=" + names, "-addext", "basicConstraints=CA:FALSE",
                "-CA", pem("authority"), "-CAkey", key("authority")});
  }
  test::TempFolder folder_;
};

std::string quoted_url(int port, const std::string& query) {
  return "rediss://127.0.0.1:" + std::to_string(port) + "?" + query;
}

Redis client(const std::string& url) {
  queue::RedisOptions options;
  options.addresses = queue::parse_redis_addresses(url);
  Redis redis(options);
  redis.set_patience({60s, {}});
  return redis;
}

RedisError failure_at(const std::string& url, bool retry = true) {
  Redis redis = client(url);
  if (!retry) redis.set_patience({3s, {}, false});
  return test::redis_error_of([&] { redis.command({"PING"}); });
}

}  // namespace

TEST_CASE("a server with a certificate that a named authority signed is spoken to, and found again after a restart") {
  const Certificates certificates;
  const int port = free_port();
  test::TestServer server("appendonly yes\nappendfsync always\n" + certificates.server_lines("server", port, false));
  const std::string authority = "ssl_ca_certs=" + certificates.pem("authority");
  for (const std::string& url :
       {quoted_url(port, authority), "rediss://localhost:" + std::to_string(port) + "/1?" + authority}) {
    CAPTURE(url);
    Redis redis = client(url);
    CHECK(redis.command({"PING"}).text() == "PONG");
    const std::string large(3'000'000, 'x');  // many records
    CHECK(redis.command({"SET", "k", large}).text() == "OK");
    CHECK(redis.command({"GET", "k"}).text() == large);
    server.kill();
    server.start();
    CHECK(redis.command({"GET", "k"}).text() == large);
  }
}

TEST_CASE("a certificate of a stranger, or for another host, is refused at once with the fix") {
  const Certificates certificates;
  const std::string authority = "ssl_ca_certs=" + certificates.pem("authority");
  struct Row {
    const char* server;
    std::string query;
    const char* word;
  };
  const Row rows[] = {{"server", "db=0", "certificate is not accepted"},
                      {"server", "ssl_ca_certs=" + certificates.pem("stranger"), "certificate is not accepted"},
                      {"elsewhere", authority, "mismatch"},
                      {"server", "ssl_ca_certs=/nonexistent.pem", "/nonexistent.pem"},
                      {"server", authority + "&ssl_certfile=/none.pem&ssl_keyfile=/none.key", "/none.pem"}};
  for (const Row& row : rows) {
    CAPTURE(row.query);
    const int port = free_port();
    const test::TestServer server(certificates.server_lines(row.server, port, false));
    const auto e = failure_at(quoted_url(port, row.query));
    CHECK(e.fault() == RedisFault::unsuitable);
    CHECK(e.kind() == base::ErrorKind::environment);
    CHECK(test::contains(e.what(), row.word));
  }
}

TEST_CASE("a server that wants a certificate of its clients gets the one that is named") {
  const Certificates certificates;
  const int port = free_port();
  const test::TestServer server(certificates.server_lines("server", port, true));
  const std::string authority = "ssl_ca_certs=" + certificates.pem("authority");
  const std::string own = "&ssl_certfile=" + certificates.pem("client") + "&ssl_keyfile=" + certificates.key("client");
  CHECK(client(quoted_url(port, authority + own)).command({"PING"}).text() == "PONG");
  CHECK(failure_at(quoted_url(port, authority), false).fault() == RedisFault::connection);
}

TEST_CASE("a server without TLS, and one that stalls in the handshake, are connections that fail in time") {
  const Certificates certificates;
  const int port = free_port();
  test::TestServer plain("port " + std::to_string(port) + "\nbind 127.0.0.1\n");
  const std::string url = quoted_url(port, "ssl_ca_certs=" + certificates.pem("authority"));
  CHECK(failure_at(url, false).fault() == RedisFault::connection);
  plain.signal(SIGSTOP);
  CHECK(failure_at(url, false).fault() == RedisFault::connection);
  plain.signal(SIGCONT);
}

TEST_CASE("an address with TLS is read, shown and sent to other ranks") {
  const auto address = queue::parse_redis_addresses(
      "rediss://u:p@h:7000/2?ssl_ca_certs=/c%2Ca.pem&ssl_certfile=/c.pem&ssl_keyfile=/k.pem");
  REQUIRE(address.size() == 1);
  CHECK(address[0].display() == "rediss://h:7000/2");
  for (const auto& one : {address[0], queue::addresses_from_json(queue::to_json(address)).at(0)}) {
    REQUIRE(one.tls);
    CHECK(one.db == 2);
    CHECK(one.password == "p");
    CHECK(one.tls->ca_file == "/c,a.pem");
    CHECK(one.tls->cert_file == "/c.pem");
    CHECK(one.tls->key_file == "/k.pem");
  }
  for (const char* bad : {"rediss://h?ssl_certfile=/c", "rediss://h?verify=none", "redis://h?ssl_ca_certs=/c"}) {
    CHECK_THROWS_AS(queue::parse_redis_addresses(bad), base::Error);
  }
}
