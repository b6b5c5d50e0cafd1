"""Counts how many clips show what was asked: colour, shape, direction, background, and more.

  check.py rendered --count 100         the judge itself, on rendered clips (and on shuffled answers)
  check.py videos OUT                   what nightreel made of the lists of lists.py, a row of a table for each
  check.py latents OUT --model DIR      the same jobs by diffusers: the largest difference of the latents
--sheet PNG draws clips that are wrong (videos), or all (rendered), a row each.
"""

import argparse
import json
import re
import subprocess
from collections import defaultdict
from pathlib import Path

import h5py
import numpy as np
import torch
from diffusers import DiffusionPipeline
from diffusers.utils import load_image, logging

import judge
import lists
import world
from common import clips, contact_sheet, start, to_uint8

OF_A_THING = ("colour", "shape", "direction")


def read_video(path):
    """uint8 frames [T, H, W, 3] of an MP4."""
    show = ["ffprobe", "-v", "error", "-show_entries", "stream=width,height", "-of", "csv=p=0", str(path)]
    width, height = map(int, subprocess.run(show, capture_output=True, text=True, check=True).stdout.split(","))
    decode = ["ffmpeg", "-v", "error", "-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    frames = subprocess.run(decode, capture_output=True, check=True).stdout
    return np.frombuffer(frames, np.uint8).reshape(-1, height, width, 3)


def right(seen, asked):
    """Whether a clip is right in each respect of all its things; "speed" and "blur" beside them."""
    same_count = len(seen.things) == len(asked.things)
    found = {
        name: same_count and sorted(t[i] for t in seen.things) == sorted(t[i] for t in asked.things)
        for i, name in enumerate(OF_A_THING)
    }
    found["background"] = seen.background == asked.background
    found["all four"] = seen.things == asked.things and found["background"]
    return found | {"speed": seen.speed == asked.speed, "sharp": not seen.blurred}


def table(groups):
    """Markdown: for each group of (seen, asked) how many are right in each respect."""
    lines = []
    for name, rows in groups.items():
        verdicts = [right(seen, asked) for seen, asked in rows]
        if not lines:
            lines = ["| list | clips | " + " | ".join(verdicts[0]) + " |", "| --- " * (2 + len(verdicts[0])) + "|"]
        counts = [str(sum(verdict[key] for verdict in verdicts)) for key in verdicts[0]]
        lines.append(f"| {name} | {len(rows)} | " + " | ".join(counts) + " |")
    return "\n".join(lines)


def check_rendered(count, seed):
    """The judge on clips that are right by construction, then on the answers of other clips."""
    rng = np.random.default_rng(seed)
    every = world.combinations()
    scenes = [world.random_scene(rng, every, every[i]) for i in rng.permutation(len(every))[:count]]
    videos = [to_uint8(clips([scene])[0]).permute(1, 2, 3, 0).numpy() for scene in scenes]
    seen = [judge.judge(video) for video in videos]
    asked = [judge.wanted(scene) for scene in scenes]
    exact = sum(s == a for s, a in zip(seen, asked))
    print(f"the judge is right in every respect on {exact} of {count} rendered clips")
    print(table({"rendered": list(zip(seen, asked)), "shuffled": list(zip(seen, asked[1:] + asked[:1]))}))
    return videos


def check_videos(out):
    """A row for each list; the clips that are wrong, named and returned."""
    groups, wrong, colours = defaultdict(list), [], defaultdict(list)
    for path in sorted((out / "videos").glob("*.mp4")):
        video = read_video(path)
        seen, asked = judge.judge(video), judge.wanted(lists.scene_of(path.stem))
        group = re.sub(r"-?\d{3}$", "", path.stem.rpartition(".")[0]).rstrip(".")
        groups[group].append((seen, asked))
        colours[group] += [thing[0] for thing in seen.things]
        if not right(seen, asked)["all four"]:
            wrong.append((path.stem, seen, video))
    print(table(groups))
    for name, found in colours.items():
        if name.startswith("negative"):
            print(name, {colour: found.count(colour) for colour in sorted(set(found))})
    for stem, seen, _ in wrong:
        print(f"  {stem}: saw", *("-".join(thing) for thing in seen.things), "on", seen.background)
    return [video for _, _, video in wrong[:24]]


def diffusers_latents(pipeline, sidecar, job, folder):
    """Latents float32 [C, T, H, W] of a finished job, by diffusers with the settings of its sidecar."""
    settings = sidecar["settings"]
    names = ("height", "width", "num_frames", "num_inference_steps", "guidance_scale", "guidance_scale_2",
             "negative_prompt")  # fmt: skip
    more = {"image": load_image(str(folder / job["image"]))} if "image" in job else {}
    generator = torch.Generator("cpu").manual_seed(job["seed"])
    chosen = {name: settings[name] for name in names}
    return pipeline(prompt=job["prompt"], generator=generator, output_type="latent", **chosen, **more).frames[0].numpy()


def pipeline_of(model):
    """diffusers' pipeline for a folder, in float32."""
    logging.disable_progress_bar()
    pipeline = DiffusionPipeline.from_pretrained(model, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def check_latents(out, model, jobs, count):
    """Largest difference of nightreel's archived latents from diffusers', over evenly chosen jobs of a list."""
    pipeline = pipeline_of(model)
    told = [json.loads(line) for line in jobs.read_text(encoding="utf-8").splitlines()]
    worst = 0.0
    for job in told[:: max(1, len(told) // count)][:count]:
        sidecar = json.loads((out / f"videos/{job['id']}.json").read_text())
        with h5py.File(out / f"archive/{job['id']}.h5") as archive:
            ours = archive["latents"][:]
        theirs = diffusers_latents(pipeline, sidecar, job, jobs.parent)
        off = float(np.abs(ours - theirs).max())
        worst = max(worst, off)
        print(f"{job['id']}: {off:.2e}", flush=True)
    print(f"largest difference of latents from diffusers': {worst:.2e}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("rendered", "videos", "latents"))
    parser.add_argument("out", type=Path, nargs="?", help="the run's OUT")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--jobs", type=Path, help="the list whose latents are compared")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--seed", type=int, default=20_000)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    start(args.seed, args.threads)
    videos = []
    if args.what == "rendered":
        videos = check_rendered(args.count, args.seed)
    elif args.what == "videos":
        videos = check_videos(args.out)
    else:
        check_latents(args.out, args.model, args.jobs, args.count)
    if args.sheet and videos:
        contact_sheet(args.sheet, videos, every=2)


if __name__ == "__main__":
    main()
