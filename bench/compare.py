"""nightreel against diffusers on the same random checkpoints, in one run.

Usage: compare.py [--bin DIR] [--case tiny,wide] [--piece NAME,…] [--repeat N] [--threads N] [--no-compile] [--json FILE]

For each piece both programs stay loaded and take turns, so that a machine that becomes busy slows both. A turn of a short
piece is several runs, of which the median counts. A ratio is diffusers' seconds over nightreel's in the same turn, above
1 where nightreel is faster. Each speed stands beside how far
its results are from diffusers' eager ones. Exits 1 where a result is wrong; never because of a speed.
docs/bench.md tells what each piece is.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from cases import CASES  # noqa: E402

PROMPT, NEGATIVE = "a red circle moves left on a black background", "blurred, static"
PAUSE = 0.05  # between turns: OpenMP's threads spin for a while after their work
TURN, MOST_RUNS = 0.3, 20  # seconds that a turn takes at least, unless it takes more runs than that

# name, piece, tokens of a prompt, whether torch.compile is a rival
ROWS = [
    ("text, 64 tokens", "text", 64, False),
    ("text, 512 tokens", "text", 512, False),
    ("pass", "pass", 512, True),
    ("step", "step", 64, True),
    ("vae-decode", "vae-decode", 64, False),
    ("load", "load", 64, False),
    ("start", "start", 64, False),
    ("start-video", "start-video", 64, False),
]


class Turns:
    """A process that does its piece as many times as each line says that it gets."""

    def __init__(self, argv, environment=None):
        self.argv = argv
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        assert self.answer().get("ready"), argv

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{' '.join(map(str, self.argv))}: ended with exit code {self.process.wait()}")
        return json.loads(line)

    def turn(self, runs):
        self.process.stdin.write(f"{runs}\n")
        self.process.stdin.flush()
        return statistics.median(self.answer()["seconds"])

    def finish(self):
        """The last line: how right it was."""
        self.process.stdin.close()
        last = self.answer()
        self.process.wait()
        return last


class Starts:
    """A process for each turn: from its start to its frames."""

    def __init__(self, argv, reference):
        self.argv = argv
        self.run([*argv, reference])

    def run(self, argv):
        started = time.perf_counter()
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        line = process.stdout.readline()
        seconds = time.perf_counter() - started
        if process.wait() != 0 or line != "frames\n":
            raise SystemExit(f"{' '.join(map(str, argv))}: ended with exit code {process.returncode}")
        return seconds

    def turn(self, _runs):
        return self.run(self.argv)

    def finish(self):
        return {"deviation": 0.0}


def make_checkpoint(case, folder):
    sys.path.insert(0, str(HERE.parent / "tests" / "parity"))
    import diffusers
    import torch
    from checkpoints import modules, save

    diffusers.utils.logging.set_verbosity_error()
    save(case, modules(case, torch.Generator().manual_seed(1)), folder)


def nightreel(options, model, piece, tokens, video, reference):
    flags = {"model": model, "piece": piece, "tokens": tokens, "threads": options.threads, "device": "cpu", "warmup": 2,
             "reference": reference, "prompt": PROMPT, "negative-prompt": NEGATIVE, "dtype": "f32"}  # fmt: skip
    flags |= {name.replace("_", "-"): value for name, value in video.items()}
    argv = [str(options.bin / "nightreel"), "bench", "--paced"]
    for name, value in flags.items():
        argv += [f"--{name}", str(value)]
    return Turns(argv)


def diffusers_side(options, model, piece, tokens, video, reference, compiled=False):
    if piece.startswith("start"):
        settings = json.dumps(video | {"prompt": PROMPT, "negative_prompt": NEGATIVE})
        return Starts([sys.executable, str(HERE / "peer_video.py"), model, str(options.threads), settings], reference)
    argv = [sys.executable, str(HERE / "peer.py"), "--model", model, "--piece", piece, "--tokens", str(tokens),
            "--threads", str(options.threads), "--reference", reference, "--settings", json.dumps(video)]  # fmt: skip
    return Turns(argv + (["--compile"] if compiled else []))


def summary(seconds):
    return {"median_s": statistics.median(seconds), "min_s": min(seconds), "max_s": max(seconds), "seconds": seconds}


def ratio(theirs, ours):
    pairs = [a / b for a, b in zip(theirs, ours)]
    return {"median": statistics.median(pairs), "min": min(pairs), "max": max(pairs), "of_best": min(theirs) / min(ours)}


def runs_a_turn(sides):
    """As many as the fastest side needs to fill a turn, by the clock: a run may be more than one unit."""
    walls = []
    for turns in sides:
        started = time.perf_counter()
        turns.turn(1)
        walls.append(time.perf_counter() - started)
    return max(1, min(MOST_RUNS, round(TURN / min(walls))))


def measure(options, model, row, video):
    name, piece, tokens, compilable = row
    reference = str(Path(model).parent / f"{name.replace(', ', '-').replace(' ', '-')}.safetensors")
    rivals = {"eager": diffusers_side(options, model, piece, tokens, video, reference)}
    if compilable and not options.no_compile:
        rivals["compile"] = diffusers_side(options, model, piece, tokens, video, reference, compiled=True)
    ours = nightreel(options, model, piece, tokens, video, reference)
    sides = {"nightreel": ours, **rivals}
    times = {side: [] for side in sides}
    runs = 1 if piece.startswith("start") else runs_a_turn(sides.values())
    for _ in range(options.repeat):
        for side, turns in sides.items():
            time.sleep(PAUSE)
            times[side].append(turns.turn(runs))
    figures = ours.finish()
    correctness = figures["pieces"][0]["correctness"]
    result = {"piece": name, "unit": figures["pieces"][0]["unit"], "nightreel": summary(times["nightreel"]) | correctness}
    for side, turns in rivals.items():
        result[side] = summary(times[side]) | turns.finish()
        result[f"{side}_over_nightreel"] = ratio(times[side], times["nightreel"])
    return result, {k: figures[k] for k in ("versions", "threads", "device", "dtype")}


def shown(seconds):
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def shown_ratio(value):
    if not value:
        return ""
    return f"{value['median']:.2f} ({value['min']:.2f} to {value['max']:.2f}), best {value['of_best']:.2f}"


def table(case, results):
    lines = [f"\n| {case} | nightreel | diffusers | ratio | compiled | ratio | deviation | limit |", "|" + " --- |" * 8]
    for r in results:
        compiled = shown(r["compile"]["median_s"]) if "compile" in r else ""
        deviation = r["nightreel"]["deviation"]
        cells = [r["piece"], shown(r["nightreel"]["median_s"]), shown(r["eager"]["median_s"]),
                 shown_ratio(r["eager_over_nightreel"]), compiled, shown_ratio(r.get("compile_over_nightreel")),
                 "not comparable" if deviation is None else f"{deviation:.1e}",
                 f"{r['nightreel']['limit']:.1e}" + ("" if r["nightreel"]["right"] else " **wrong**")]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=Path, default=HERE.parent / "build/release/bin", help="folder of nightreel")
    parser.add_argument("--case", type=lambda s: s.split(","), default=list(CASES))
    parser.add_argument("--piece", type=lambda s: s.split(","), default=sorted({row[1] for row in ROWS}))
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out: it takes minutes")
    parser.add_argument("--json", type=Path, help="also write everything here")
    return parser.parse_args(argv)


def main():
    options = parse(sys.argv[1:])
    os.environ |= {"HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}
    report = {"machine": platform.processor() or platform.machine(), "cpus": os.cpu_count(), "cases": {}}
    with tempfile.TemporaryDirectory(prefix="nightreel-bench-") as scratch:
        for case in options.case:
            model = Path(scratch) / case / "model"
            make_checkpoint(CASES[case], model)
            results = report["cases"][case] = []
            for row in ROWS:
                if row[1] in options.piece:
                    result, facts = measure(options, str(model), row, CASES[case]["video"])
                    results.append(result)
                    report |= facts
                    if options.json:  # after each row: a run that is cut off keeps what it has
                        options.json.write_text(json.dumps(report, indent=1) + "\n")
                    print(f"{case} {row[0]}: {shown_ratio(result['eager_over_nightreel'])}", file=sys.stderr, flush=True)
            print(table(case, results), flush=True)
    sys.exit(0 if all(r["nightreel"]["right"] for rs in report["cases"].values() for r in rs) else 1)


if __name__ == "__main__":
    main()
