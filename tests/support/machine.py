#!/usr/bin/env python3
"""Is this machine one that the tests can run on? They take for granted what is looked at here; where it is missing they
fail in words that speak of something else. Every fault is told with its fix; exit code 1 where there is one.

    tests/support/machine.py [--help]

Nothing but Python's own library, and no more than a tenth of a second.
"""
import argparse
import locale
import os
import pathlib
import re
import resource
import socket
import stat
import sys
import tempfile
import time

MIB = 1 << 20
# name: major and minor number, bytes that are written, what is read of eight bytes
DEVICES = {"null": (1, 3, b"x", lambda read: read == b""), "zero": (1, 5, b"x", lambda read: read == bytes(8)),
           "urandom": (1, 9, b"", lambda read: len(read) == 8)}
FAMILIES = ("OMPI_", "PRTE_", "PMIX_", "PMI_", "SLURM_", "SLURMD_", "SBATCH_", "REDIS_", "REDISCLI_", "NIGHTREEL_", "LAUNCH_")
# Of Ray Serve and torchrun, of which doctor speaks; and what hides GPUs.
NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "GROUP_RANK", "ROLE_RANK", "NODE_RANK", "MASTER_ADDR",
         "MASTER_PORT", "TOTAL_WORKERS", "RAY_ADDRESS", "NUM_REPLICAS", "TORCHELASTIC_RUN_ID")
# Of builds and of ctest itself; and what containers set so that Open MPI starts in them, as the tests ask it to.
HARMLESS = ("NIGHTREEL_SOURCE_DIR", "NIGHTREEL_BINARY_DIR", "NIGHTREEL_TEST_JOBS", "NIGHTREEL_TORCH_ROOT", "NIGHTREEL_CUDA",
            "NIGHTREEL_REFERENCE", "NIGHTREEL_PACKAGES", "NIGHTREEL_MIRROR", "NIGHTREEL_CCACHE", "NIGHTREEL_MOLD",
            "OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "OMPI_MCA_btl_vader_single_copy_mechanism")
UNREAD = (".git", ".venv", "build", "__pycache__")  # folders without sources
AHEAD = 2  # seconds that a file server's clock may be before this one


class Fault(Exception):
    """What is wrong, and how it is mended."""

    def __init__(self, text, fix):
        super().__init__(text)
        self.fix = fix


def kind_of(mode):
    names = ((stat.S_ISREG, "a regular file"), (stat.S_ISDIR, "a folder"), (stat.S_ISBLK, "a block device"),
             (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"), (stat.S_ISCHR, "another character device"))
    return next((name for fits, name in names if fits(mode)), "something else")


def check_device(path, name):
    major, minor, written, fits = DEVICES[name]
    fix = f"as root: rm -f {path}; mknod -m 666 {path} c {major} {minor}"
    try:
        found = os.stat(path)
        if not stat.S_ISCHR(found.st_mode) or found.st_rdev != os.makedev(major, minor):
            raise Fault(f"{path} is {kind_of(found.st_mode)}, not the device {name}: somebody has replaced it", fix)
        with open(path, "r+b" if written else "rb", buffering=0) as device:
            if written:
                device.write(written)
            if not fits(device.read(8)):
                raise Fault(f"{path} does not read as the device {name} does", fix)
    except OSError as why:
        raise Fault(f"{path} cannot be used: {why.strerror}", fix) from None


def check_room(folder, least, what):
    """A file is made in it, and the tests' scripts could be started there."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix="nightreel-machine-") as file:
            file.write(b"x")
            file.flush()
        room = os.statvfs(folder)
    except OSError as why:
        raise Fault(f"{what} {folder} cannot be written to: {why.strerror}",
                    f"mkdir -p {folder}; chmod 1777 {folder}; or mount it for writing") from None
    free = room.f_bavail * room.f_frsize
    if free < least:
        raise Fault(f"{what} {folder} has {free // MIB} MiB free, the tests need {least // MIB} MiB",
                    "make room, or name another folder in TMPDIR" if what != "shared memory" else
                    "remove what dead processes left in it, or make it larger: mount -o remount,size=1g, docker --shm-size=1g")
    if what != "shared memory" and room.f_flag & os.ST_NOEXEC:
        raise Fault(f"{what} {folder} is mounted noexec, and the tests start scripts in it", "name another folder in TMPDIR")


def check_loopback(address):
    try:
        with socket.create_server((address, 0)) as server:
            server.settimeout(5)
            with socket.create_connection(server.getsockname()[:2], 5):
                server.accept()[0].close()
    except OSError as why:
        raise Fault(f"no connection to a port of this machine's own on {address}: {why.strerror or why}",
                    "as root: ip link set lo up; ip addr add 127.0.0.1/8 dev lo") from None


def newest_source(source):
    """(seconds since 1970, path)."""
    newest = (0.0, str(source))
    for folder, folders, files in os.walk(source):
        folders[:] = [name for name in folders if name not in UNREAD]
        for name in files:
            path = os.path.join(folder, name)
            try:
                newest = max(newest, (os.lstat(path).st_mtime, path))
            except FileNotFoundError:  # somebody is editing
                pass
    return newest


def check_clock(source):
    changed, path = newest_source(source)
    ahead = changed - time.time()
    if ahead > AHEAD:
        raise Fault(f"the clock is {ahead:.0f} s before the last change of {path}: what is built would count as old",
                    f"set the clock (timedatectl set-ntp true), or: find {source} -newermt now -exec touch {{}} +")


def check_locale():
    fix = "export LC_ALL=C.UTF-8"
    try:
        kept = locale.setlocale(locale.LC_CTYPE)
        locale.setlocale(locale.LC_CTYPE, "C.UTF-8")
        locale.setlocale(locale.LC_CTYPE, kept)
    except locale.Error:
        raise Fault("there is no locale C.UTF-8", "install libc-bin, or generate it with localedef") from None
    encoding = locale.getpreferredencoding(False)
    if not re.fullmatch("utf-?8", encoding, re.IGNORECASE):
        raise Fault(f"text is {encoding} here, and what the programs print is UTF-8: see LC_ALL, LC_CTYPE and LANG", fix)


def check_limit(kind, least, what, fix):
    soft, _ = resource.getrlimit(kind)
    if soft != resource.RLIM_INFINITY and soft < least:
        raise Fault(f"a process may have {soft} {what}, the tests need {least}", fix)


def check_processes():
    check_limit(resource.RLIMIT_NPROC, 256, "processes and threads of its user beside it", "ulimit -u 4096")
    try:
        child = os.fork()
    except OSError as why:
        raise Fault(f"no process can be started: {why.strerror}", "ulimit -u 4096; or a larger pids.max of the container") from None
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def check_environment(variables):
    foreign = sorted(name for name in variables
                     if (name.startswith(FAMILIES) or name in NAMES) and name not in HARMLESS)
    if foreign:
        raise Fault(f"variables that the programs under test would follow are set: {', '.join(foreign)}",
                    f"unset {' '.join(foreign)}")


def temp_folder():
    """As the tests choose it; not as Python does, which takes another one where TMPDIR names none."""
    return os.environ.get("TMPDIR") or "/tmp"


def faults(options):
    checks = [*((check_device, f"{options.dev}/{name}", name) for name in DEVICES),
              (check_room, f"{options.dev}/shm", options.shm_mib * MIB, "shared memory"),
              (check_room, options.temp, options.temp_mib * MIB, "the folder for temporary files"),
              (check_loopback, options.address),
              (check_clock, options.source),
              (check_locale,),
              (check_limit, resource.RLIMIT_NOFILE, 256, "open files", "ulimit -n 1024"),
              (check_processes,),
              (check_environment, os.environ)]
    for check, *words in checks:
        try:
            check(*words)
        except Fault as fault:
            yield fault


def main():
    parser = argparse.ArgumentParser(description="Looks for what the tests need of a machine.")
    parser.add_argument("--dev", default="/dev", help="folder of the device files")
    parser.add_argument("--shm-mib", type=int, default=64, metavar="MIB", help="room that /dev/shm must have (%(default)s)")
    parser.add_argument("--temp", default=temp_folder(), help="folder for temporary files (TMPDIR, or /tmp)")
    parser.add_argument("--temp-mib", type=int, default=1024, metavar="MIB", help="room that it must have (%(default)s)")
    parser.add_argument("--address", default="127.0.0.1", help="that ports are opened on (%(default)s)")
    parser.add_argument("--source", default=pathlib.Path(__file__).resolve().parents[2],
                        help="the sources, none of which may be newer than the clock")
    found = list(faults(parser.parse_args()))
    for fault in found:
        print(f"machine: {fault}\n         fix: {fault.fix}", file=sys.stderr)
    if found:
        print(f"machine: {len(found)} of the things that the tests take for granted {'is' if len(found) == 1 else 'are'} "
              "missing here", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
