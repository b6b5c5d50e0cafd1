#!/usr/bin/env python3
"""Writes the man page and the shells' completions of a program that was built, from what it says of itself.

    make_manual.py NIGHTREEL FOLDER [DATADIR DOCDIR]
"""
import pathlib
import subprocess
import sys

sys.dont_write_bytecode = True  # no caches in the source tree
import completions  # noqa: E402
import help_text  # noqa: E402
import man_page  # noqa: E402


def main(program, folder, datadir="/usr/share", docdir="/usr/share/doc/nightreel"):
    version = subprocess.run([program, "--version"], check=True, capture_output=True, encoding="utf-8").stdout.split()[1]
    whole = help_text.read(program)
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (("nightreel.1", man_page.man_page(whole, version, datadir, docdir)),
                       ("nightreel.bash", completions.bash(whole)), ("_nightreel", completions.zsh(whole)),
                       ("nightreel.fish", completions.fish(whole))):
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) not in (3, 5):
        sys.exit(__doc__)
    main(*sys.argv[1:])
