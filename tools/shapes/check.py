"""Counts how many clips show what was asked: colour, shape, direction, background.

  check.py rendered --count 100            the judge itself, on rendered clips (and on shuffled answers)
  check.py prompts --model DIR --count 60  diffusers' WanPipeline on random scenes, --wording says how told
  check.py jobs --model DIR --jobs FILE    diffusers' WanPipeline on a job file in the plain wording
--sheet PNG draws the clips, a row each.
"""

import argparse
import json
import re
import time
from pathlib import Path

import numpy as np
import torch
from diffusers import WanPipeline
from diffusers.utils import logging

import captions
import judge
import world
from common import clips, contact_sheet, start, to_uint8

WORDINGS = {
    "plain": lambda scene, rng: captions.plain(scene),
    "varied": captions.wording,
    "chinese": captions.chinese,
}


class Painter:
    """diffusers' WanPipeline with the settings of the model's nightreel.json."""

    def __init__(self, folder):
        logging.disable_progress_bar()
        self.recipe = json.loads((folder / "nightreel.json").read_text())
        self.fps = self.recipe.pop("fps")
        self.pipeline = WanPipeline.from_pretrained(folder, dtype=torch.float32)
        self.pipeline.set_progress_bar_config(disable=True)

    def paint(self, prompt, seed):
        """uint8 frames [T, H, W, 3]."""
        generator = torch.Generator("cpu").manual_seed(seed)
        video = self.pipeline(prompt, generator=generator, output_type="np", **self.recipe).frames[0]
        return (video * 255).round().astype(np.uint8)


def read_jobs(path):
    """(scene, prompt, seed) of every line of a job file whose prompts have the plain wording."""
    pattern = re.sub(r"{(\w+)}", r"(?P<\1>\\w+)", captions.PLAIN)
    for line in path.read_text(encoding="utf-8").splitlines():
        job = json.loads(line)
        yield world.Scene(**re.fullmatch(pattern, job["prompt"]).groupdict()), job["prompt"], job["seed"]


def random_prompts(count, seed, wording):
    """(scene, prompt, seed) of random combinations, none twice."""
    rng = np.random.default_rng(seed)
    every = world.combinations()
    for at, index in enumerate(rng.permutation(len(every))[:count]):
        scene = world.random_scene(rng, every[index])
        yield scene, WORDINGS[wording](scene, rng), seed + at


def score(scenes, videos, title):
    """Prints how many are right in each respect and in all four."""
    found = [judge.judge(video) for video in videos]
    asked = [judge.wanted(scene) for scene in scenes]
    right = {key: sum(f[key] == a[key] for f, a in zip(found, asked)) for key in asked[0]}
    right["all four"] = sum(f == a for f, a in zip(found, asked))
    print(f"{title}: of {len(asked)} right " + ", ".join(f"{k} {v}" for k, v in right.items()))
    return [(a, f) for a, f in zip(asked, found) if a != f]


def check_rendered(count, seed):
    """The judge on clips that are right by construction, then on the answers of other clips."""
    rng = np.random.default_rng(seed)
    every = world.combinations()
    scenes = [world.random_scene(rng, every[i]) for i in rng.permutation(len(every))[:count]]
    videos = [to_uint8(clips([scene])[0]).permute(1, 2, 3, 0).numpy() for scene in scenes]
    score(scenes, videos, "rendered")
    score(scenes[1:] + scenes[:1], videos, "shuffled")
    return videos


def check_painted(painter, tasks):
    """Paints and judges; names what went wrong."""
    begin, videos = time.time(), []
    for _, prompt, seed in tasks:
        videos.append(painter.paint(prompt, seed))
    print(f"{(time.time() - begin) / len(videos):.1f} s a clip")
    for asked, found in score([scene for scene, _, _ in tasks], videos, "painted"):
        print("  asked", *asked.values(), "· found", *found.values())
    return videos


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("rendered", "prompts", "jobs"))
    parser.add_argument("--model", type=Path)
    parser.add_argument("--jobs", type=Path)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--wording", choices=WORDINGS, default="plain")
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--seed", type=int, default=20_000)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    start(args.seed, args.threads)
    if args.what == "rendered":
        videos = check_rendered(args.count, args.seed)
    else:
        from_file = args.what == "jobs"
        tasks = list(read_jobs(args.jobs) if from_file else random_prompts(args.count, args.seed, args.wording))
        videos = check_painted(Painter(args.model), tasks)
    if args.sheet:
        contact_sheet(args.sheet, videos, every=2)


if __name__ == "__main__":
    main()
