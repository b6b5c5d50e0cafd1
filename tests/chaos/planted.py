"""Bugs that are put in on purpose: does a chaos run find them?

    scripts/chaos --planted all        each in turn, until it is found or 500 faults have not shown it
    scripts/chaos --planted NAME,…     those
    scripts/chaos --planted list       their names

The sources are copied to build/planted/tree and changed there: each place asks $NIGHTREEL_PLANTED whether its bug is wanted
(nightreel/base/planted.h, which is in that tree alone). So one build has all of them, and the program itself none. Exit
code 0: all were found. planted_test.py holds the table against the sources.
"""
import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

from night import HERE, SOURCE
from planted_bugs import TABLE, WHOLE_SCRIPT

MOST_FAULTS = 500
ROUND = 30  # faults of one chaos run
COPIED = ("CMakeLists.txt", "CMakePresets.json", "cmake", "include", "src", "models", ".clang-format")
HEADER = """// Bugs that a chaos run is to find; written by tests/chaos/planted.py.
#pragma once
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>
namespace nightreel::base {
inline bool planted(const char* name) {
  const char* wanted = std::getenv("NIGHTREEL_PLANTED");
  return wanted != nullptr && std::strcmp(wanted, name) == 0;
}
inline std::string planted_script(std::string source) {
  struct Change { const char* bug; const char* old; const char* becomes; };
  static const Change changes[] = {
%s  };
  for (const Change& change : changes) {
    const std::string old(change.old);
    if (!planted(change.bug)) continue;
    for (auto at = source.find(old); at != std::string::npos; at = source.find(old, at + std::strlen(change.becomes))) {
      source.replace(at, old.size(), change.becomes);
    }
  }
  return source;
}
}  // namespace nightreel::base
"""


@dataclasses.dataclass
class Bug:
    name: str
    what: str
    changes: list  # of (file below the source tree, old text, new text)
    flags: tuple  # of the chaos run that is to find it

    def in_script(self, text):
        """What it makes of a queue script's text, the common part in front."""
        for file, old, new in self.changes:
            text = text.replace(old, new) if file.endswith(".lua") else text
        return text


BUGS = {name: Bug(name, what, changes, flags) for name, what, changes, flags in TABLE}


def changed_sources():
    """{file: text} of the C++ files as the planted tree has them."""
    texts = {}
    for bug in BUGS.values():
        for file, old, new in bug.changes:
            if file.endswith(".lua"):
                continue
            text = texts.setdefault(file, (SOURCE / file).read_text())
            if text.count(old) != 1:
                raise ValueError(f"{bug.name}: {file} has {text.count(old)} times: {old}")
            texts[file] = text.replace(old, new.replace("PLANTED", f'base::planted("{bug.name}")'))
    for path in sorted((SOURCE / "src/queue").glob("*.cpp")):
        file = str(path.relative_to(SOURCE))
        text = texts.get(file, path.read_text())
        if re.search(WHOLE_SCRIPT, text):
            texts[file] = re.sub(WHOLE_SCRIPT, r"base::planted_script(\g<0>)", text)
    return {file: '#include "nightreel/base/planted.h"\n' + text for file, text in texts.items()}


def header():
    rows = "".join(f'      {{"{bug.name}", R"LUA({old})LUA", R"LUA({new})LUA"}},\n' for bug in BUGS.values()
                   for file, old, new in bug.changes if file.endswith(".lua"))
    return HEADER % rows


def wanted_files():
    """(file below the tree, content) of all that the build needs."""
    changed = {**changed_sources(), "include/nightreel/base/planted.h": header()}
    for name in COPIED:
        for file in [SOURCE / name, *(SOURCE / name).rglob("*")]:
            if file.is_file() and (below := str(file.relative_to(SOURCE))) not in changed:
                yield below, file.read_bytes()
    for below, text in changed.items():
        yield below, text.encode()


def build(folder):
    """FOLDER/tree, and in it build/release with the program. Returns the latter."""
    tree, kept = folder / "tree", set()
    for below, content in wanted_files():
        file = tree / below
        kept.add(file)
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.exists() or file.read_bytes() != content:  # what stays as it was is not compiled again
            file.write_bytes(content)
    for name in COPIED:
        for file in (tree / name).rglob("*"):
            if file.is_file() and file not in kept:
                file.unlink()
    preset = tree / "build/release"
    if not (preset / "build.ninja").exists():
        subprocess.run(["cmake", "--preset", "release", "-DBUILD_TESTING=OFF", "-DNIGHTREEL_ENGINE=OFF", "-DNIGHTREEL_CUDA=OFF"],
                       cwd=tree, check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["cmake", "--build", preset, "--target", "nightreel"], check=True, stdout=subprocess.DEVNULL,
                   env={**os.environ, "CCACHE_BASEDIR": str(tree)})
    (preset / "lib").mkdir(exist_ok=True)
    shutil.copy2(SOURCE / "build/release/lib/libchaos_points.so", preset / "lib")
    return preset


def one_round(bug, seed, preset):
    """(faults, the first violation or None, why it gave no result or None) of one chaos run on that build."""
    with tempfile.TemporaryDirectory(prefix="nightreel-planted-") as folder:
        command = [sys.executable, "-B", HERE / "chaos.py", "--faults", str(ROUND), "--seed", str(seed), "--bug", bug.name,
                   "--build", preset, "--keep", f"{folder}/night", *bug.flags]
        said = subprocess.run(command, capture_output=True, text=True, check=False)
        violations = re.findall(r"^VIOLATION (.*)$", said.stdout, re.MULTILINE)
        try:
            faults = json.loads(said.stdout[:said.stdout.index("\n}") + 2])["faults"]
        except ValueError:
            return 0, None, (said.stderr.strip().splitlines() or ["no output"])[-1]
        return faults, violations[0] if violations else None, None


def seek(bug, preset, seed):
    """A row for the table: (name, found, faults, seconds, how)."""
    faults, began = 0, time.monotonic()
    while faults < MOST_FAULTS:
        more, violation, broken = one_round(bug, seed, preset)
        if broken:
            return bug.name, False, faults, time.monotonic() - began, f"the chaos run itself failed: {broken}"
        faults, seed = faults + more, seed + 1
        if violation:
            return bug.name, True, faults, time.monotonic() - began, re.sub(r"nightreel-planted-\w+", "…", violation)[:160]
    return bug.name, False, faults, time.monotonic() - began, "not found"


def hunt(options):
    if options.planted == "list":
        print("\n".join(f"{bug.name}: {bug.what}" for bug in BUGS.values()))
        return 0
    names = list(BUGS) if options.planted == "all" else options.planted.split(",")
    preset = build(SOURCE / "build/planted")
    missed = 0
    for name in names:
        name, found, faults, seconds, how = seek(BUGS[name], preset, options.seed)
        missed += not found
        print(f"| {name} | {BUGS[name].what} | {'found' if found else 'NOT FOUND'} | {faults} | {seconds:.0f} s | {how} |",
              flush=True)
    print(f"{len(names) - missed} of {len(names)} found")
    return 1 if missed else 0
