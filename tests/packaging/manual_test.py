"""The man page and the completions say what the programs' --help says: every command, every flag, the words it takes."""
import functools
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

from installing import BUILD, SOURCE, program, run
from program import engine, nightreel

MANUAL = BUILD / "manual"
TRY_BASH = """source "$1"; shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
_nightreel
printf '%s\\n' "${COMPREPLY[@]}"
"""
# A program that says of itself what the built ones were found to say.
TELLS = """#!/bin/sh
exec cat "${0%/*}/$*"
"""
# zsh completes under a terminal only. Here its helpers print what they are handed: words typed behind the program's name
# take _arguments to the next state, as they do under a terminal.
TRY_ZSH = """typed=("${@[2,-1]}")
_arguments() {
  if [[ $1 == -C ]] && (( $#typed )); then
    state=argument line=($typed[1]); shift typed
  else
    state=command
    print -rl -- "$@"
  fi
}
_describe() { print -rl -- ${(P)2}; }
source $1
"""


def help_of(path, of_engine):
    words = (*path.split(), "--help")
    return (engine if of_engine else nightreel)(*words)


@functools.lru_cache(None)
def helps(path="", of_engine=False):
    """Every command's own words, found here without packaging/help_text.py. Those of the engine's without a start of it
    for each, which takes a second."""
    ended = help_of(path, of_engine)
    assert ended.code == 0, ended.said
    found = {path: ended.out}
    heading = ""
    for line in ended.out.splitlines():
        if re.fullmatch(r"\S.*:", line):
            heading = line
        name = re.match(r"  ([a-z]+(?: [a-z]+)?)  ", line)
        if name and heading.startswith(("Subcommands", "With the model")):
            own = of_engine or heading.startswith("With") and name[1] != "bench comm"
            found.update(helps(f"{path} {name[1]}".strip(), own))
    return found


def flags(text):
    return [name for line in re.findall(r"^  (-[^ ]*)", text, re.MULTILINE) for name in line.split(",")]


def under_of(helps_, path):
    return {other.split()[-1] for other in helps_ if other and other.rpartition(" ")[0] == path}


class TheManual(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.helps = helps()

    def test_it_was_made_of_the_programs_that_are_built(self):
        with tempfile.TemporaryDirectory() as folder:
            data = re.search(r"scripts in\n\.I (.*)/nightreel/scripts", (MANUAL / "nightreel.1").read_text())[1]
            told = pathlib.Path(folder) / "told"
            told.mkdir()
            for path, text in self.helps.items():
                (told / f"{path} --help".strip()).write_text(text)
            (told / "--version").write_text(nightreel("--version").out)
            tells = told / "nightreel"
            tells.write_text(TELLS)
            tells.chmod(0o755)
            made = pathlib.Path(folder) / "made"
            run(sys.executable, SOURCE / "packaging/make_manual.py", tells, made, data.replace("\\-", "-"),
                data.replace("\\-", "-") + "/doc/nightreel")
            self.assertEqual(len(list(made.iterdir())), 4)
            for file in made.iterdir():
                self.assertEqual(file.read_text(), (MANUAL / file.name).read_text(), f"build the target manual: {file.name}")

    def test_the_man_page_names_every_command_and_flag(self):
        page = (MANUAL / "nightreel.1").read_text().replace("\\-", "-")
        self.assertGreater(len(self.helps), 8)
        for path, text in self.helps.items():
            ends = "Subcommands:" not in text
            _, _, section = page.partition(f".SS nightreel {path}\n" if path else ".SS For every command\n")
            section = section.partition("\n.SS ")[0].partition("\n.SH ")[0]
            for flag in flags(text) if ends or not path else []:
                if flag not in ("-h", "--help") or not path:
                    self.assertIn(f"\\fB{flag}\\fR", section, path)
            for variable in re.findall(r"\(Env:(\w+)\)", text) if ends else []:
                self.assertIn(variable, section, path)

    @unittest.skipUnless(shutil.which("groff"), "groff is not installed")
    def test_groff_finds_no_fault_in_the_man_page(self):
        done = subprocess.run(["groff", "-man", "-ww", "-Tutf8", MANUAL / "nightreel.1"], capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("EXIT STATUS", re.sub(r"\x1b\[\d*m|.\x08", "", done.stdout))


class Completions(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.helps = helps()

    def bash(self, *words):
        return subprocess.run(["bash", "-c", TRY_BASH, "bash", MANUAL / "nightreel.bash", "nightreel", *words],
                              check=True, capture_output=True, text=True).stdout.split()

    def test_bash_offers_every_command_flag_and_word(self):
        for path, text in self.helps.items():
            with self.subTest(path):
                self.assertEqual(set(self.bash(*path.split(), "-")), {*flags(text), "--config"})
        commands = {path.split()[0] for path in self.helps if path}
        self.assertEqual(set(self.bash("")), commands)
        self.assertEqual(self.bash("run", "--archive", ""), ["none", "latents", "frames"])
        self.assertEqual(self.bash("run", "--archive", "=", "l"), ["latents"])
        self.assertEqual(self.bash("run", "--crf", ""), [])
        self.assertIn("packaging", self.bash("run", f"--out", f"{SOURCE}/pack")[0])

    @unittest.skipUnless(shutil.which("fish"), "fish is not installed")
    def test_fish_offers_every_command_and_flag(self):
        def fish(line):
            done = subprocess.run(["fish", "--no-config", "-c", f"source {MANUAL}/nightreel.fish; complete -C '{line}'"],
                                  capture_output=True, text=True)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            return {word.split("\t")[0] for word in done.stdout.splitlines()}
        self.assertEqual(fish("nightreel "), {path.split()[0] for path in self.helps if path})
        for path, text in self.helps.items():
            with self.subTest(path):
                self.assertLessEqual({flag for flag in flags(text) if flag.startswith("--")}, fish(f"nightreel {path} --"))
        self.assertEqual(fish("nightreel run --archive "), {"none", "latents", "frames"})

    @unittest.skipUnless(shutil.which("zsh"), "zsh is not installed")
    def test_zsh_offers_every_command_flag_and_word(self):
        for path, text in self.helps.items():
            with self.subTest(path):
                done = subprocess.run(["zsh", "-f", "-c", TRY_ZSH, "zsh", MANUAL / "_nightreel", *path.split()],
                                      capture_output=True, text=True, timeout=60)
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                offered = set(re.findall(r"^(-*[a-z][\w-]*)[\[:]", done.stdout, re.MULTILINE))
                expected = under_of(self.helps, path) | set(flags(text))
                self.assertEqual(offered, expected)
        self.assertIn("--archive[none, latents or frames]:text:(none latents frames)", subprocess.run(
            ["zsh", "-f", "-c", TRY_ZSH, "zsh", MANUAL / "_nightreel", "run"], capture_output=True, text=True).stdout)


if __name__ == "__main__":
    program.main()
