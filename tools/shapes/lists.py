"""Writes job lists for models/shapes and models/shapes-i2v whose ids say what should be seen, for check.py to read.

  held-out   100 combinations that training never saw, in plain words
  varied     60 of them, reworded, with synonyms        chinese   60 of them, in Chinese
  speeds     60, half of them slow and half fast        pairs     60 scenes of two things
  words      60, their words in three other orders      i2v       60 first frames of a scene, told and shown
  negative   40 without a colour; 20 of these again with the negative prompt "red", 20 with "blue, cyan"
  blur       24, with the model's negative prompt, then with none    blurred   24, told to be blurry
  guidance   24 at guidance scales 1, 3 and 6
Usage: lists.py KIND... --out FOLDER
"""

import argparse
import dataclasses
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import captions
import world
from common import to_uint8

SEED = 20_000


def name_of(scene):
    """A scene as a job id, which `scene_of` reads again."""
    things = "-and-".join("-".join((t.colour, t.shape, t.direction)) for t in scene.things)
    return f"{things}-on-{scene.background}-{scene.speed}"


def scene_of(name):
    """What should be seen, of a job id: what stands before the last dot is a name of the list's own."""
    things, rest = name.rpartition(".")[2].split("-on-")
    background, speed = rest.split("-")[:2]
    return world.Scene(background, tuple(world.Thing(*t.split("-")) for t in things.split("-and-")), speed)


def job(prefix, scene, at, prompt=None, **more):
    """A line of a list; the place in the list keeps seeds and ids apart."""
    name = f"{prefix}{at:03}.{name_of(scene)}"
    return {"id": name, "prompt": captions.plain(scene) if prompt is None else prompt, "seed": SEED + at, **more}


def singles(count, rng, speeds=("medium",)):
    """Scenes of the first held-out combinations."""
    return [world.single(rng, one, speeds[at % len(speeds)]) for at, one in enumerate(world.held_out()[:count])]


def pairs(count, rng):
    """Scenes of two things, both of held-out combinations."""
    every = world.held_out()
    firsts = [one for one in every * 4 if world.partners(one, every)]
    chosen = firsts[:count]
    others = [world.partners(one, every) for one in chosen]
    return [world.pair(rng, one, other[rng.integers(len(other))]) for one, other in zip(chosen, others)]


def held_out(rng):
    return [job("", scene, at) for at, scene in enumerate(singles(100, rng))]


def varied(rng):
    return [job("", scene, at, captions.wording(scene, rng)) for at, scene in enumerate(singles(60, rng))]


def chinese(rng):
    return [job("", scene, at, captions.chinese(scene, rng)) for at, scene in enumerate(singles(60, rng))]


def speeds(rng):
    return [job("", scene, at) for at, scene in enumerate(singles(60, rng, ("slow", "fast")))]


def two(rng):
    return [job("", scene, at) for at, scene in enumerate(pairs(60, rng))]


ORDERS = ["on a {background} background, {shape} {colour}, {direction} it moves",
          "{direction} on {background}: moves a {colour} {shape}",
          "background {background}; moving {direction}; {shape}, {colour}"]  # fmt: skip
"""Wordings that no caption of training has."""


def words(rng):
    scenes = singles(60, rng)
    told = [dict(vars(scene.things[0]), background=scene.background) for scene in scenes]
    return [job("", scene, at, ORDERS[at % 3].format(**told[at])) for at, scene in enumerate(scenes)]


def negative(rng):
    lines = []
    for at, scene in enumerate(singles(40, rng)):
        thing = scene.things[0]
        prompt = f"a {thing.shape} moves {thing.direction} on a {scene.background} background"
        lines.append(job("default-", scene, at, prompt))
        unwanted = ("red", "blue, cyan")[at % 2]
        lines.append(job(f"without-{unwanted.replace(', ', '-')}-", scene, at, prompt, negative_prompt=unwanted))
    return lines


def blur(rng):
    scenes = list(enumerate(singles(24, rng)))
    return [job("default-", scene, at) for at, scene in scenes] + [
        job("none-", scene, at, negative_prompt="") for at, scene in scenes
    ]


def blurred(rng):
    scenes = [dataclasses.replace(scene, blurred=True) for scene in singles(24, rng)]
    return [job("", scene, at, negative_prompt="") for at, scene in enumerate(scenes)]


def guidance(rng):
    return [
        job(f"scale-{scale}-", scene, at, guidance_scale=scale, guidance_scale_2=scale)
        for scale in (1, 3, 6)
        for at, scene in enumerate(singles(24, rng))
    ]


def i2v(rng):
    return [job("", scene, at, image=f"frames/{at:03}.png") for at, scene in enumerate(singles(60, rng))]


def write_first_frames(folder):
    """The pictures that the list `i2v` names."""
    (folder / "frames").mkdir(exist_ok=True)
    for at, scene in enumerate(singles(60, np.random.default_rng(SEED))):
        frame = to_uint8(torch.from_numpy(world.render(scene, frames=1)[:, 0])).permute(1, 2, 0).numpy()
        Image.fromarray(frame).save(folder / f"frames/{at:03}.png")


LISTS = {"held-out": held_out, "varied": varied, "chinese": chinese, "speeds": speeds, "pairs": two, "words": words,
         "negative": negative, "blur": blur, "blurred": blurred, "guidance": guidance, "i2v": i2v}  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="+", choices=LISTS)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for kind in args.kinds:
        lines = [{**line, "id": f"{kind}.{line['id']}"} for line in LISTS[kind](np.random.default_rng(SEED))]
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        (args.out / f"{kind}.jsonl").write_text(text, encoding="utf-8")
        if kind == "i2v":
            write_first_frames(args.out)


if __name__ == "__main__":
    main()
