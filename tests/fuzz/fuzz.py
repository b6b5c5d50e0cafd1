"""Builds and runs fuzz targets, one process after the other, and keeps count of their executions.

    scripts/fuzz TARGET|all --seconds N [--executions N] [--build build/fuzz]
    scripts/fuzz --sums [--build build/fuzz]

Each target goes on from tests/fuzz/corpus/TARGET and from what earlier calls have found worth keeping, in
BUILD/corpus/TARGET. What breaks a promise is kept in BUILD/findings; the exit code is 1 then. BUILD/executions.jsonl
has a line for each call and target, --sums adds them up as the table of docs/reliability.md.
"""
import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

SOURCE = pathlib.Path(__file__).resolve().parents[2]
TARGETS = ("job_lines", "protocol", "pictures", "prompt", "model_card", "spiece", "tokenizer_json", "redis_replies", "config",
           "safetensors", "pth", "rank_summary", "archive", "state", "renderer")
# A real one, too large to stand here twice. A tokenizer.json of that size would take a hundred times as long as the seeds.
SEEDS = {"spiece": ["models/shapes/tokenizer/spiece.model"]}
# Where a child process or a whole session is an execution, a slow one is no finding of libFuzzer's.
SLOW = ("archive", "state", "renderer")


def commit():
    return subprocess.run(["git", "-C", SOURCE, "describe", "--always", "--dirty", "--abbrev=12"], capture_output=True,
                          text=True, check=False).stdout.strip() or "unknown"


def build(targets, folder):
    if folder != SOURCE / "build/fuzz":
        return  # built by whoever names it
    before = commit()
    subprocess.run([SOURCE / "scripts/build", "fuzz", *(f"fuzz_{name}" for name in targets)], check=True)
    for name in targets:
        built_from(folder, name).write_text(before)


def built_from(folder, target):
    """The file that says of which commit a program is: by the time that it has run the sources may have gone on."""
    return folder / f"bin/fuzz_{target}.commit"


def environment(temporary):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("NIGHTREEL_", "REDIS_"))}
    engine = os.environ.get("NIGHTREEL_FUZZ_ENGINE", str(SOURCE / "build/release/bin/nightreel-engine"))
    return kept | {"NIGHTREEL_SOURCE_DIR": str(SOURCE), "NIGHTREEL_FUZZ_ENGINE": engine, "TMPDIR": temporary,
                   "OMP_NUM_THREADS": "1", "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1"}


def command(target, folder, options):
    kept, findings = folder / "corpus" / target, folder / "findings"
    for made in (kept, findings):
        made.mkdir(parents=True, exist_ok=True)
    line = [folder / f"bin/fuzz_{target}", kept, SOURCE / "tests/fuzz/corpus" / target, "-print_final_stats=1",
            f"-artifact_prefix={findings}/{target}-", "-rss_limit_mb=6144",
            f"-timeout={600 if target in SLOW else 60}"]
    if target in SEEDS:
        line.append("-seed_inputs=" + ",".join(str(SOURCE / seed) for seed in SEEDS[target]))
    if options.executions:
        line.append(f"-runs={options.executions}")
    if options.seconds:
        line.append(f"-max_total_time={options.seconds}")
    return line


def executions_in(said):
    """What libFuzzer says it has run; of one that ended badly, what it had said last."""
    stated = re.findall(r"stat::number_of_executed_units: (\d+)", said) or re.findall(r"^#(\d+)\s", said, re.MULTILINE)
    return int(stated[-1]) if stated else 0


def run(target, folder, options):
    """One line for executions.jsonl. A target that cannot be started ends the call."""
    log = folder / "logs" / f"{target}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # most readers take a path
    with tempfile.TemporaryDirectory(prefix="nightreel-fuzz-", dir=memory) as temporary, open(log, "wb") as said:
        code = subprocess.run(command(target, folder, options), stdout=said, stderr=said, env=environment(temporary),
                              cwd=temporary, check=False).returncode
    text = log.read_text(errors="replace")
    done = executions_in(text)
    if done == 0:
        sys.exit(f"fuzz: {target} has run nothing: {log}")
    found = re.findall(r"Test unit written to (\S+)", text)
    stated = built_from(folder, target)
    row = {"commit": stated.read_text() if stated.exists() else "unknown", "target": target, "executions": done, "seconds": round(time.monotonic() - began, 1),
           "found": found}
    with open(folder / "executions.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    why = re.findall(r"^(?:FOUND: .*|SUMMARY: .*|==\d+== ?ERROR: .*)$", text, re.MULTILINE)
    print(f"{target}: {done} executions in {row['seconds']} s" + (f", found: {found} {why[:1]}; {log}" if code else ""),
          flush=True)
    return code == 0


def sums(rows):
    """Lines of a table: target, executions, seconds, commits, findings."""
    lines = ["| target | executions | seconds | commits | findings |", "| --- | ---: | ---: | --- | ---: |"]
    for target in TARGETS:
        mine = [row for row in rows if row["target"] == target]
        commits = ", ".join(dict.fromkeys(row["commit"] for row in mine))
        if mine:
            lines.append(f"| {target} | {sum(row['executions'] for row in mine):,} | "
                         f"{sum(row['seconds'] for row in mine):,.0f} | {commits} | {sum(len(row['found']) for row in mine)} |")
    return lines


def rows_of(folder):
    file = folder / "executions.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def main():
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description="libFuzzer over nightreel's readers")
    parser.add_argument("target", nargs="?", choices=(*TARGETS, "all"))
    parser.add_argument("--seconds", type=int, default=0, help="for each target")
    parser.add_argument("--executions", type=int, default=0, help="for each target; with --seconds what comes first")
    parser.add_argument("--sums", action="store_true", help="the table of what was run so far")
    parser.add_argument("--build", type=pathlib.Path, default=SOURCE / "build/fuzz")
    options = parser.parse_args()
    folder = options.build.resolve()
    if options.sums:
        print("\n".join(sums(rows_of(folder))))
        return 0
    if options.target is None or not (options.seconds or options.executions):
        parser.error("a target and --seconds or --executions are needed")
    targets = TARGETS if options.target == "all" else (options.target,)
    build(targets, folder)
    return 0 if all([run(target, folder, options) for target in targets]) else 1


if __name__ == "__main__":
    sys.exit(main())
