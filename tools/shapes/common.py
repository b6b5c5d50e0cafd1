"""What the training scripts share: learning rate, batches of clips, checkpoints, contact sheets."""

import copy
import math
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import world


def start(seed, threads):
    """Fixes seed and threads; returns the generator that draws the scenes."""
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    return np.random.default_rng(seed)


def learning_rate(step, steps, peak, warmup=100):
    """Linear warm-up, then a cosine down to 2 % of `peak` at the last step."""
    ramp = min(1.0, (step + 1) / warmup)
    return peak * ramp * (0.02 + 0.98 * (0.5 + 0.5 * math.cos(math.pi * step / steps)))


def optimise(optimisers, loss, rate, clip=1.0):
    """One step of each optimiser with gradient clipping."""
    groups = [group for optimiser in optimisers for group in optimiser.param_groups]
    for optimiser in optimisers:
        optimiser.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_([p for group in groups for p in group["params"]], clip)
    for group in groups:
        group["lr"] = rate
    for optimiser in optimisers:
        optimiser.step()


class Averaged:
    """A model's weights, averaged over its last steps: a copy that follows it, faster at the beginning."""

    def __init__(self, model, keep):
        self.model, self.keep, self.steps = model, keep, 0
        self.copy = copy.deepcopy(model).requires_grad_(False)

    @torch.no_grad()
    def follow(self):
        """To be called after each step of the model."""
        keep = min(self.keep, (self.steps + 1) / (self.steps + 10))
        for slow, fast in zip(self.copy.parameters(), self.model.parameters()):
            slow.lerp_(fast, 1 - keep)
        self.steps += 1


def clips(scenes):
    """Rendered scenes as one float32 tensor [B, 3, frames, size, size] in -1..1."""
    return torch.from_numpy(np.stack([world.render(scene) for scene in scenes]))


def psnr(x, y):
    """Peak signal-to-noise ratio in dB of frames in -1..1."""
    return float(-10 * torch.log10(((x - y) / 2).square().mean()))


def to_uint8(frames):
    """float frames in -1..1 as bytes."""
    return ((frames / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)


def contact_sheet(path, videos, every=4, zoom=2):
    """PNG with one row a video (uint8 [frames, height, width, 3]) and every n-th frame in it."""
    rows = [np.concatenate(list(np.asarray(video)[::every]), axis=1) for video in videos]
    sheet = np.concatenate(rows, axis=0).repeat(zoom, 0).repeat(zoom, 1)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(sheet).save(path)


class Log:
    """Prints a line every `every` steps: step, averages of the values given, minutes so far."""

    def __init__(self, every=50):
        self.every, self.begin, self.values = every, time.time(), []

    def add(self, step, **values):
        self.values.append(values)
        if (step + 1) % self.every:
            return
        means = {k: sum(float(v[k]) for v in self.values) / len(self.values) for k in values}
        self.values = []
        text = " ".join(f"{k} {v:.5f}" for k, v in means.items())
        print(f"{step + 1}: {text} · {(time.time() - self.begin) / 60:.1f} min", flush=True)
