"""Two hosts on this one, as two pods would be: a network namespace for the second, with a host name, an /etc/hosts and a
user database of their own, and all processes those of a normal user.
"""
import os
import pathlib
import shutil
import signal
import subprocess

import program

USER = 1000
NEEDED = ("ip", "unshare", "setpriv", "ssh", "ssh-keygen", "sshd")


def missing():
    path = os.pathsep.join((os.environ["PATH"], "/usr/sbin"))
    absent = [name for name in NEEDED if not shutil.which(name, path=path)]
    if absent:
        return f"not installed: {', '.join(absent)}"
    return "" if os.geteuid() == 0 else "network namespaces need root"


class TwoPods:
    """Pod 0 is on this host's network, pod 1 in a namespace; NAMES are theirs, as in an MPIJob called `nightreel`."""
    HOSTS = ("nightreel-launcher", "nightreel-worker-0")
    NAMES = tuple(f"{host}.nightreel.default.svc" for host in HOSTS)

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self._tag = f"nr{os.getpid() % 100000}"
        self._network = f"10.{os.getpid() % 200 + 20}.{os.getpid() // 200 % 250}"
        self._started = []
        self.home = self.folder / "mpiuser"
        (self.home / ".ssh").mkdir(parents=True)
        (self.folder / "passwd").write_text(f"root:x:0:0::/root:/bin/sh\nsshd:x:100:100::/run/sshd:/bin/false\n"
                                            f"mpiuser:x:{USER}:{USER}::{self.home}:/bin/sh\n")
        (self.folder / "hosts").write_text("127.0.0.1 localhost\n" + "".join(
            f"{self._network}.{index + 1} {name} {host}\n"
            for index, (name, host) in enumerate(zip(self.NAMES, self.HOSTS))))
        key = self.home / ".ssh/id_rsa"
        subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", key], check=True)
        (self.home / ".ssh/id_rsa.pub").rename(self.home / ".ssh/authorized_keys")
        for path in (self.home, self.home / ".ssh", *self.home.glob(".ssh/*")):
            os.chown(path, USER, USER)
        self._connect()

    def _connect(self):
        a, b, space = f"{self._tag}a", f"{self._tag}b", self._tag
        for line in (f"netns add {space}", f"link add {a} type veth peer name {b}", f"link set {b} netns {space}",
                     f"addr add {self._network}.1/24 dev {a}", f"link set {a} up",
                     f"-n {space} addr add {self._network}.2/24 dev {b}", f"-n {space} link set {b} up",
                     f"-n {space} link set lo up"):
            subprocess.run(["ip", *line.split()], check=True)

    def start(self, pod, *command, **environment):
        inside = (f"hostname {self.HOSTS[pod]}; mount --bind {self.folder}/passwd /etc/passwd; "
                  f"mount --bind {self.folder}/hosts /etc/hosts; "
                  f"exec setpriv --reuid={USER} --regid={USER} --clear-groups --no-new-privs \"$@\"")
        words = ["unshare", "--mount", "--uts", "sh", "-ceu", inside, "sh", *map(str, command)]
        if pod:
            words = ["ip", "netns", "exec", self._tag, *words]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
                                   start_new_session=True, cwd=self.home,
                                   env=program.without_redis(**{"HOME": str(self.home), **environment}))
        self._started.append(process)
        return process

    def stop(self):
        for process in self._started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        subprocess.run(["ip", "link", "del", f"{self._tag}a"], check=False)
        subprocess.run(["ip", "netns", "del", self._tag], check=False)
