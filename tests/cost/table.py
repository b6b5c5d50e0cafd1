"""Prints what a run of scripts/test cost, from what tests/cost/measured.py and ninja wrote down.

Usage: table.py BUILD...     the presets' build folders, in the order in which they ran

A build's targets are listed by the seconds that their steps took, as ninja saw them: on two cores two steps run at once,
so the sum is up to twice the clock's. Tests are listed by CPU seconds; the rest of each list is one line.
"""

import collections
import json
import pathlib
import re
import sys

SHOWN = 25
TARGET = re.compile(r"(?:^|/)CMakeFiles/([^/]+)\.dir/")


def costs(folder):
    """The measured commands of a folder, by name."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    return {cost["name"]: cost for cost in found}


def target_of(output):
    """What a build step belongs to: a target, or a file that is linked or made."""
    found = TARGET.search(output)
    return found[1] if found else f"link or make {pathlib.Path(output).name}"


def steps(log):
    """Target -> (steps, seconds) from a .ninja_log; of a step that ran several times the last counts."""
    last = {}
    for line in log.read_text(encoding="utf-8").splitlines()[1:]:
        begin, end, _, output, _ = line.split("\t")
        if not output.endswith("cmake.verify_globs"):
            last[output] = (int(end) - int(begin)) / 1000
    targets = collections.defaultdict(lambda: [0, 0.0])
    for output, seconds in last.items():
        targets[target_of(output)][0] += 1
        targets[target_of(output)][1] += seconds
    return targets


def rows(title, head, lines, rest):
    """A table as Markdown, `lines` cut after SHOWN; `rest` makes the last line of what was cut."""
    yield f"\n### {title}\n"
    yield "| " + " | ".join(head) + " |"
    yield "| --- |" + " ---: |" * (len(head) - 1)
    for line in lines[:SHOWN]:
        yield "| " + " | ".join(str(cell) for cell in line) + " |"
    if len(lines) > SHOWN:
        yield "| " + " | ".join(str(cell) for cell in rest(lines[SHOWN:])) + " |"


def phase_rows(builds):
    phases = [(build.name, cost) for build in builds for cost in costs(build / "cost/phases").values()]
    lines = [(f"{build}: {cost['name']}", f"{cost['wall_s']:.0f}", f"{cost['cpu_s']:.0f}") for build, cost in phases]
    lines.append(("all", f"{sum(c['wall_s'] for _, c in phases):.0f}", f"{sum(c['cpu_s'] for _, c in phases):.0f}"))
    return rows("What scripts/test cost", ("phase", "wall s", "CPU s"), lines, None)


def target_rows(build):
    targets = sorted(steps(build / ".ninja_log").items(), key=lambda item: -item[1][1])
    lines = [(name, count, f"{seconds:.1f}") for name, (count, seconds) in targets]
    rest = lambda cut: (f"{len(cut)} more", sum(line[1] for line in cut), f"{sum(float(line[2]) for line in cut):.1f}")
    return rows(f"{build.name}: build by target", ("target", "steps", "seconds of steps"), lines, rest)


def test_rows(build):
    tests = sorted(costs(build / "cost/tests").values(), key=lambda cost: -cost["cpu_s"])
    lines = [(cost["name"], f"{cost['wall_s']:.1f}", f"{cost['cpu_s']:.1f}") for cost in tests]
    def rest(cut):
        return (f"{len(cut)} more", *(f"{sum(float(line[column]) for line in cut):.1f}" for column in (1, 2)))
    lines.insert(0, rest(lines))
    lines[0] = (f"all {len(tests)}, one after the other", *lines[0][1:])
    return rows(f"{build.name}: tests", ("test", "wall s", "CPU s"), lines, rest)


def main():
    builds = [pathlib.Path(name) for name in sys.argv[1:]]
    for part in (phase_rows(builds), *(make(build) for build in builds for make in (target_rows, test_rows))):
        print("\n".join(part))


if __name__ == "__main__":
    main()
