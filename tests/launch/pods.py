"""Several hosts on this one, as pods would be: a network namespace for each but the first, all on one bridge, with a host
name, an /etc/hosts and a user database of their own, and all processes those of a normal user. Several sets of them may
stand beside each other.
"""
import contextlib
import functools
import itertools
import os
import pathlib
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import threading

import program

USER = 1000
SETS = itertools.count()
MAKING_A_KEY = threading.Lock()
NEEDED = ("ip", "unshare", "setpriv", "ssh", "ssh-keygen", "sshd")


def missing():
    path = os.pathsep.join((os.environ["PATH"], "/usr/sbin"))
    absent = [name for name in NEEDED if not shutil.which(name, path=path)]
    if absent:
        return f"not installed: {', '.join(absent)}"
    return "" if os.geteuid() == 0 else "network namespaces need root"


def closed_parent(path):
    """The topmost folder above `path` that a normal user may not enter, as /root is; or None."""
    parents = reversed(pathlib.Path(path).parents)
    return next((folder for folder in parents if not folder.stat().st_mode & stat.S_IXOTH), None)


@functools.lru_cache
def key_pair():
    """(private, public) of a key, made once."""
    with tempfile.TemporaryDirectory() as folder:
        key = pathlib.Path(folder) / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", key], check=True)
        return key.read_bytes(), key.with_suffix(".pub").read_bytes()


class Pods:
    """Pod 0 is on this host's network, the others in namespaces; `hosts` are named as in an MPIJob called `nightreel`."""

    def __init__(self, folder, count):
        self.folder = pathlib.Path(folder)
        self.hosts = ["nightreel-launcher", *(f"nightreel-worker-{index}" for index in range(count - 1))]
        self.names = [f"{host}.nightreel.default.svc" for host in self.hosts]
        number = (16 * os.getpid() + next(SETS)) % 50000
        self._tag = f"nr{number}"
        self._network = f"10.{number // 250 + 20}.{number % 250}"
        self._started = []
        self.home = self.folder / "mpiuser"
        (self.home / ".ssh").mkdir(parents=True)
        (self.folder / "passwd").write_text(f"root:x:0:0::/root:/bin/sh\nsshd:x:100:100::/run/sshd:/bin/false\n"
                                            f"mpiuser:x:{USER}:{USER}::{self.home}:/bin/sh\n")
        (self.folder / "hosts").write_text("127.0.0.1 localhost\n" + "".join(
            f"{self.address(index)} {name} {host}\n"
            for index, (name, host) in enumerate(zip(self.names, self.hosts))))
        with MAKING_A_KEY:
            private, public = key_pair()
        for name, content in (("id_rsa", private), ("authorized_keys", public)):
            (self.home / ".ssh" / name).write_bytes(content)
            (self.home / ".ssh" / name).chmod(0o600)
        for path in (self.home, self.home / ".ssh", *self.home.glob(".ssh/*")):
            os.chown(path, USER, USER)
        self._connect()

    def address(self, pod):
        return f"{self._network}.{pod + 1}"

    def _space(self, pod):
        return f"{self._tag}n{pod}"

    def _connect(self):
        bridge = f"{self._tag}b"
        lines = [f"link add {bridge} type bridge", f"addr add {self.address(0)}/24 dev {bridge}", f"link set {bridge} up"]
        for pod in range(1, len(self.hosts)):
            space, ours, its = self._space(pod), f"{self._tag}v{pod}", f"{self._tag}w{pod}"
            lines += [f"netns add {space}", f"link add {ours} type veth peer name {its}", f"link set {its} netns {space}",
                      f"link set {ours} master {bridge}", f"link set {ours} up",
                      f"-n {space} addr add {self.address(pod)}/24 dev {its}", f"-n {space} link set {its} up",
                      f"-n {space} link set lo up"]
        for line in lines:
            subprocess.run(["ip", *line.split()], check=True)

    def start(self, pod, *command, **environment):
        inside = (f"{self._opened_source()}hostname {self.hosts[pod]}; mount --bind {self.folder}/passwd /etc/passwd; "
                  f"mount --bind {self.folder}/hosts /etc/hosts; "
                  f"exec setpriv --reuid={USER} --regid={USER} --clear-groups --no-new-privs \"$@\"")
        words = ["unshare", "--mount", "--uts", "sh", "-ceu", inside, "sh", *map(str, command)]
        if pod:
            words = ["ip", "netns", "exec", self._space(pod), *words]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
                                   start_new_session=True, cwd=self.home,
                                   env=program.without_redis(**{"HOME": str(self.home), **environment}))
        self._started.append(process)
        return process

    def _opened_source(self):
        """Commands that put the sources, and the program built in them, where a normal user reaches them at their path."""
        closed, source = closed_parent(program.SOURCE), program.SOURCE
        if closed is None:
            return ""
        aside = self.folder / "source"
        aside.mkdir(exist_ok=True)
        return (f"mount --rbind {source} {aside}; mount -t tmpfs -o mode=755 tmpfs {closed}; mkdir -p {source}; "
                f"mount --rbind {aside} {source}; ")

    def redis(self):
        """Of a Redis of its own on the network of pod 0, that all reach."""
        with socket.create_server((self.address(0), 0)) as free:
            port = free.getsockname()[1]
        server = subprocess.Popen(["redis-server", "--port", str(port), "--bind", self.address(0), "--protected-mode", "no",
                                   "--save", "", "--dir", str(self.home)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  text=True, start_new_session=True)
        self._started.append(server)

        def answers():
            try:
                socket.create_connection((self.address(0), port)).close()
                return True
            except ConnectionRefusedError:
                return False
        program.until(lambda: server.poll() is not None or answers(), 240)
        if server.poll() is not None or not answers():
            raise RuntimeError(f"no redis-server at {self.address(0)}:{port}")
        return f"redis://{self.address(0)}:{port}"

    def kill(self, pod):
        """Everything in it at once, as when it is evicted without grace or its node is lost."""
        for pid in subprocess.run(["ip", "netns", "pids", self._space(pod)], check=True, capture_output=True, text=True).stdout.split():
            with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
                os.kill(int(pid), signal.SIGKILL)

    def stop(self):
        for process in self._started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        for pod in range(1, len(self.hosts)):
            subprocess.run(["ip", "netns", "del", self._space(pod)], check=False)
        subprocess.run(["ip", "link", "del", f"{self._tag}b"], check=False)
