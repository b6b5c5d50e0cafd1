"""Do memory and open files of a renderer and its rank grow over a night? Many small videos on models/shapes, one rank.

    .venv/bin/python tests/chaos/bounds.py [--videos 500] [--build build/release]

Prints a line at each tenth of the night: videos done, and for rank and renderer VmRSS in MiB and open files. Exit code
1 where, between a fifth of the night (buffers and allocators have reached their size) and its end, either one's memory
has grown by more than 5 % or 16 MiB, or its open files by more than 3.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

from night import SOURCE, status_of


def job(number):
    """Of two sizes in turn: a night is seldom of one."""
    size, frames = ((16, 5), (32, 9))[number % 2]
    return {"id": f"night-{number:04}", "prompt": "a red circle moves right on a black background", "seed": number,
            "num_inference_steps": 2, "num_frames": frames, "height": size, "width": size}


def measure(pid):
    """(VmRSS in MiB, open files), or None where the process is gone."""
    try:
        for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return round(int(line.split()[1]) / 1024, 1), len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        pass
    return None


def renderer_of(rank):
    """The child that is no redis-server."""
    for entry in os.listdir("/proc"):
        if entry.isdigit() and status_of(int(entry))[0] == rank:
            try:
                if "nightreel-engine" in pathlib.Path(f"/proc/{entry}/cmdline").read_text():
                    return int(entry)
            except OSError:
                pass
    return None


def night(options, folder):
    """[(videos done, rank, renderer)], a row each time another tenth is done."""
    jobs = folder / "jobs.jsonl"
    jobs.write_text("".join(json.dumps(job(number)) + "\n" for number in range(options.videos)))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("REDIS_", "NIGHTREEL_"))}
    command = [options.build / "bin/nightreel", "run", jobs, "--model", SOURCE / "models/shapes", "--out", folder / "out",
               "--threads", "1"]
    process = subprocess.Popen(command, env=kept, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    rows, renderers = [], set()
    while process.poll() is None:
        done = len(list((folder / "out/videos").glob("[!.]*.mp4"))) if (folder / "out/videos").exists() else 0
        if done >= options.videos * (len(rows) + 1) // 10:
            renderer = renderer_of(process.pid)
            row = (done, measure(process.pid), measure(renderer) if renderer else None)
            if None not in row:
                rows.append(row)
                renderers.add(renderer)
        time.sleep(0.1)
    if process.returncode != 0 or len(renderers) != 1:
        sys.exit(f"exit code {process.returncode}, renderers {sorted(renderers)}: one renderer for all is needed")
    return rows


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--videos", type=int, default=500)
    parser.add_argument("--build", type=pathlib.Path, default=SOURCE / "build/release")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nightreel-bounds-") as folder:
        rows = night(options, pathlib.Path(folder))
    print("videos | rank: MiB, files | renderer: MiB, files")
    for done, rank, renderer in rows:
        print(f"{done:6} | {rank[0]:7.1f} {rank[1]:4} | {renderer[0]:7.1f} {renderer[1]:4}")
    early, late, grew = rows[1], rows[-1], False
    for name, index in (("rank", 1), ("renderer", 2)):
        more = late[index][0] - early[index][0]
        files = late[index][1] - early[index][1]
        print(f"{name}: {more:+.1f} MiB, {files:+} files")
        grew = grew or more > max(16, 0.05 * early[index][0]) or files > 3
    return 1 if grew else 0


if __name__ == "__main__":
    sys.exit(main())
