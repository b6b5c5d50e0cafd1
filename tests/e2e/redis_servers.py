"""What the tests of a Redis that fails are made of: servers that can be killed and come back, and a proxy that cuts."""
import pathlib
import select
import socket
import struct
import subprocess
import threading

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from program import until

PORT_TRIES = 5


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as one:
        return one.getsockname()[1]


class Server:
    """A redis-server on a port of its own, and on the socket `socket`; what it has acknowledged is on disk."""

    def __init__(self, folder, *settings):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.settings = settings
        self.socket = self.folder / "redis.sock"
        for _ in range(PORT_TRIES):
            self.port = free_port()
            if self.starts():
                return
        raise AssertionError(f"no redis-server with {settings}")

    def starts(self):
        """False where it ends at once: somebody else may have taken the port."""
        self.process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--unixsocket", str(self.socket), "--dir",
             str(self.folder), "--save", "", "--appendonly", "yes", "--appendfsync", "always", *self.settings],
            stdout=subprocess.DEVNULL)
        until(lambda: self.process.poll() is not None or self.answers(), 60)
        return self.process.poll() is None and self.answers()

    def start(self):
        if not self.starts():
            raise AssertionError(f"no redis-server on port {self.port} again")

    def answers(self):
        """Not by its port, which may be another's."""
        try:
            redis.Redis(unix_socket_path=str(self.socket), retry=Retry(NoBackoff(), 0)).ping()
        except redis.AuthenticationError:
            return True
        except redis.RedisError:
            return False
        return True

    def client(self, **how):
        """Without redis-py's own retries; a new connection for each."""
        return redis.Redis(port=self.port, decode_responses=True, retry=Retry(NoBackoff(), 0), **how)

    def kill(self):
        self.process.kill()
        self.process.wait()


class DueAtOnce(threading.Thread):
    """Makes what waits for its next attempt due at once, in these queues of a server on a Unix socket, for as long as the
    server lives. How long a job waits is for the tests of the queue; others would only sleep until it is over.
    """

    def __init__(self, url, *queues):
        super().__init__(daemon=True)
        self.client = redis.Redis(unix_socket_path=url.removeprefix("unix://"), decode_responses=True,
                                  encoding_errors="replace", socket_timeout=None, retry=Retry(NoBackoff(), 0))
        self.read = {f"nightreel:{{{queue}}}:events": "0" for queue in queues or ("default",)}
        self.start()

    def run(self):
        try:
            while True:
                self.hurry(self.client.xread(self.read, block=0))
        except redis.RedisError:
            pass  # the server has ended with its test

    def hurry(self, streams):
        for stream, entries in streams:
            for self.read[stream], event in entries:
                if event["event"] == "delayed":  # it may be on its way again
                    self.client.zadd(stream.removesuffix("events") + "delay", {event["id"]: 0}, xx=True)


class Proxy(threading.Thread):
    """Passes bytes between its port and a server's, until told otherwise."""

    def __init__(self, server):
        super().__init__(daemon=True)
        self.server = server
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.peers = {}
        self.accepted = 0
        self.cutting = self.stalling = self.over = False  # resets every connection; passes nothing on
        self.start()

    def run(self):
        while not self.over:
            watched = [self.listener, *([] if self.stalling else self.peers)]
            for one in select.select(watched, [], [], 0.02)[0]:
                if one is self.listener:
                    self.accept()
                elif one in self.peers:
                    self.pass_on(one)
            if self.cutting:
                self.cut()

    def accept(self):
        client, _ = self.listener.accept()
        self.accepted += 1
        try:
            server = socket.create_connection(("127.0.0.1", self.server.port))
        except OSError:
            client.close()
            return
        self.peers |= {client: server, server: client}

    def pass_on(self, one):
        try:
            data = one.recv(65536)
            if data:
                self.peers[one].sendall(data)
                return
        except OSError:
            pass
        self.end(one)

    def end(self, one):
        other = self.peers.pop(one)
        self.peers.pop(other)
        for side in (one, other):
            side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, no orderly end
            side.close()

    def cut(self):
        while self.peers:
            self.end(next(iter(self.peers)))

    def stop(self):
        self.over = True
        self.join()
        self.cut()
        self.listener.close()
