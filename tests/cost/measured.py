"""Runs a command and writes down what it cost: seconds of the clock, CPU seconds of it and of all that it started.

Usage: measured.py FILE.json COMMAND [ARGUMENT...]

Its exit code is the command's; 128 + N where signal N ended it. Processes that the command left behind count too: this
process is their reaper, so that a server which made itself a daemon is seen when it ends. What still runs at the end is
not waited for.
"""

import ctypes
import json
import os
import pathlib
import signal
import sys
import time

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def start(command):
    """The process id of `command`, which dies with this process."""
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    pid = os.fork()
    if pid == 0:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        try:
            os.execvp(command[0], command)
        except OSError as error:
            print(f"measured: cannot run {command[0]}: {error.strerror}", file=sys.stderr)
            os._exit(127)
    return pid


def wait(pid):
    """The exit code of `pid` and the CPU seconds of all that ended until then."""
    cpu = 0.0
    code = None
    while True:
        try:
            ended, status, used = os.wait4(-1, 0 if code is None else os.WNOHANG)
        except ChildProcessError:
            return code, cpu
        if ended == 0:
            return code, cpu
        cpu += used.ru_utime + used.ru_stime
        if ended == pid:
            code = os.waitstatus_to_exitcode(status)


def main():
    file, command = pathlib.Path(sys.argv[1]), sys.argv[2:]
    begun = time.monotonic()
    code, cpu = wait(start(command))
    file.parent.mkdir(parents=True, exist_ok=True)
    cost = {"name": file.stem, "wall_s": round(time.monotonic() - begun, 2), "cpu_s": round(cpu, 2), "code": code}
    file.write_text(json.dumps(cost) + "\n", encoding="utf-8")
    if code < 0:
        print(f"measured: ended by signal {-code}", file=sys.stderr)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
