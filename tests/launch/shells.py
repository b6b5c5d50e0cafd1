"""The shells that /bin/sh is somewhere, and the scripts that have to run under each of them."""
from launching import SCRIPTS, SOURCE

SHELLS = {"dash": ("dash",), "bash": ("bash", "--posix"), "busybox": ("busybox", "sh")}
SOURCED = ("launch.sh", "roots.sh")


def shell_scripts():
    folders = (SCRIPTS, SOURCE / "packaging", SOURCE / ".ci", SOURCE / "tests/launch")
    files = [file for folder in folders for file in folder.rglob("*") if file.is_file()]
    return sorted(file for file in files if file.suffix in (".sh", ".sbatch")
                  or file.read_bytes()[:256].startswith((b"#!/bin/sh", b"#!/bin/bash")))
