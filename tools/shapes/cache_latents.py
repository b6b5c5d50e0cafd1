"""Renders random scenes and stores their VAE latents, so that the transformer trains without the VAE.

Reads WORK/vae-video; writes WORK/latents.npz: latents float16 [N, C, T, H, W], their mean and std a
channel, and the scenes, a column a field.
Usage: cache_latents.py --work DIR --count N
"""

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKLWan

import one_shot
import world
from common import Log, clips, start

BATCH = 4


@torch.no_grad()
def latents_of(vae, scenes):
    """Mean latents of the scenes' clips, float32 [N, C, T, H, W]."""
    log, out = Log(100), []
    for at in range(0, len(scenes), BATCH):
        with torch.autocast("cpu", torch.bfloat16):
            mean, logvar = one_shot.encode(vae, clips(scenes[at : at + BATCH]))
        out.append(mean.float())
        log.add(at // BATCH, noise=(0.5 * logvar.float()).exp().mean())
    return torch.cat(out)


def balanced_scenes(count, rng, spread):
    """Every combination equally often."""
    every = world.combinations()
    return [world.random_scene(rng, every[i % len(every)], spread) for i in range(count)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--count", type=int, default=2592)
    parser.add_argument("--spread", type=float, default=1.0, help="of places, sizes and speeds, 0 to 1")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    scenes = balanced_scenes(args.count, start(args.seed, args.threads), args.spread)
    vae = one_shot.enable(AutoencoderKLWan.from_pretrained(args.work / "vae-video").eval())
    latents = latents_of(vae, scenes)
    columns = {f.name: np.array([getattr(s, f.name) for s in scenes]) for f in dataclasses.fields(world.Scene)}
    np.savez(
        args.work / "latents.npz",
        latents=latents.half().numpy(),
        mean=latents.mean((0, 2, 3, 4)).numpy(),
        std=latents.std((0, 2, 3, 4)).numpy(),
        **columns,
    )


if __name__ == "__main__":
    main()
