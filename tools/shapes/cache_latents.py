"""Renders random scenes and stores their VAE latents, so that the transformers train without the VAE.

Half of the cores' work each: run it twice with different seeds and names, one thread each.
Reads WORK/vae-video; writes WORK/latents-NAME.npz: latents float16 [N, C, T, H, W]; conditions of the first
--conditions scenes, the latents of their first frame followed by grey, as the image-to-video pipeline has them; the
scenes as JSON.
Usage: cache_latents.py --work DIR --name NAME --count N --conditions N --seed S
"""

import argparse
import dataclasses
import json
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKLWan

import one_shot
import world
from common import Log, clips, start

BATCH = 4


@torch.no_grad()
def latents_of(vae, videos_of, scenes):
    """Mean latents of the scenes' clips, as `videos_of` makes them, float16 [N, C, T, H, W]."""
    log, out = Log(100), []
    for at in range(0, len(scenes), BATCH):
        with torch.autocast("cpu", torch.bfloat16):
            mean, logvar = one_shot.encode(vae, videos_of(scenes[at : at + BATCH]))
        out.append(mean.half())
        log.add(at // BATCH, noise=(0.5 * logvar.float()).exp().mean())
    return torch.cat(out).numpy() if out else np.zeros(0, np.float16)


def first_frames(scenes):
    """Clips of which only the first frame is there; the others are 0, which is grey."""
    videos = clips(scenes)
    videos[:, :, 1:] = 0
    return videos


def balanced_scenes(count, rng):
    """Every combination that may be trained on equally often, as that of the first or only thing."""
    every = world.trained()
    return [world.random_scene(rng, every, every[i % len(every)]) for i in rng.permutation(count)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--conditions", type=int, default=0)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    scenes = balanced_scenes(args.count, start(args.seed, args.threads))
    vae = one_shot.enable(AutoencoderKLWan.from_pretrained(args.work / "vae-video").eval())
    latents = latents_of(vae, clips, scenes)
    conditions = latents_of(vae, first_frames, scenes[: args.conditions])
    told = json.dumps([dataclasses.asdict(scene) for scene in scenes])
    np.savez(args.work / f"latents-{args.name}.npz", latents=latents, conditions=conditions, scenes=np.array(told))


if __name__ == "__main__":
    main()
