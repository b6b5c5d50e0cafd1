"""Trains one expert of models/shapes or models/shapes-i2v by flow matching, on the frozen text encoder.

An expert sees the noise levels of its side of the boundary only, so the experts are trained beside each other, a
core each. An image-to-video expert starts from the text-to-video one of the same noise levels; its patch embedding
gains the channels of mask and first frame, which say nothing at first.
Reads WORK/tokenizer, WORK/text_encoder and WORK/latents-*.npz; writes WORK/TASK-EXPERT (averaged weights) every
--save-every steps.
Usage: train_flow.py t2v|i2v high|low --work DIR --steps N
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from diffusers import WanTransformer3DModel
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import T5TokenizerFast, UMT5EncoderModel

import captions
import text
import world
from common import Averaged, Log, learning_rate, optimise, start

BATCH = 64
BOUNDARY = 0.8
"""Noise level at which the low-noise expert takes over: 9 of the 20 steps are above it."""
FLOW_SHIFT = 3.0
"""Noise levels are drawn as the sampler places them: uniform, then shifted."""
PROMPT_DROPOUT = 0.05
PAIR_SHARE = 0.5
"""Of scenes of two things, which are harder than the others."""
EMA = 0.998
MASK_CHANNELS = 4


def new_transformer(text_dim, condition_channels=0):
    """A WanTransformer3DModel of five layers with random weights."""
    return WanTransformer3DModel(
        patch_size=(1, 2, 2), num_attention_heads=4, attention_head_dim=32, num_layers=5, ffn_dim=384,
        in_channels=16 + condition_channels, out_channels=16, text_dim=text_dim, freq_dim=64,
        cross_attn_norm=True, qk_norm="rms_norm_across_heads", rope_max_seq_len=64,
    )  # fmt: skip


def with_condition(transformer):
    """The same transformer with channels for mask and first frame, whose weights are zero."""
    wider = new_transformer(transformer.config.text_dim, MASK_CHANNELS + 16)
    weights = transformer.state_dict()
    embedding = torch.zeros_like(wider.patch_embedding.weight)
    embedding[:, :16] = weights["patch_embedding.weight"]
    weights["patch_embedding.weight"] = embedding
    wider.load_state_dict(weights)
    return wider


def read_scene(told):
    """A scene as cache_latents.py wrote it."""
    things = sorted((world.Thing(**thing) for thing in told["things"]), key=lambda thing: thing.x + thing.y)
    return world.Scene(**{**told, "things": tuple(things)})


def statistics(work):
    """Mean and deviation of each latent channel over all cached clips, each [C, 1, 1, 1]."""
    latents = np.concatenate([np.load(path)["latents"] for path in sorted(work.glob("latents-*.npz"))])
    latents = torch.from_numpy(latents).float()
    return latents.mean((0, 2, 3, 4))[:, None, None, None], latents.std((0, 2, 3, 4))[:, None, None, None]


class Examples:
    """Cached latents as WanPipeline normalises them, the conditions of image-to-video or None, and the scenes."""

    def __init__(self, work, conditioned):
        mean, std = statistics(work)
        latents, conditions, self.scenes = [], [], []
        for path in sorted(work.glob("latents-*.npz")):
            data = np.load(path)
            count = len(data["conditions"]) if conditioned else len(data["latents"])
            latents.append(torch.from_numpy(data["latents"][:count]))
            conditions.append(torch.from_numpy(data["conditions"][:count]))
            self.scenes += [read_scene(told) for told in json.loads(str(data["scenes"]))[:count]]
        counts = np.array([len(scene.things) for scene in self.scenes])
        self.singles, self.pairs = np.flatnonzero(counts == 1), np.flatnonzero(counts == 2)
        self.latents = (torch.cat(latents).float() - mean) / std
        self.conditions = None
        if conditioned:
            frames = (torch.cat(conditions).float() - mean) / std
            mask = torch.zeros(len(frames), MASK_CHANNELS, *frames.shape[2:])
            mask[:, :, 0] = 1
            self.conditions = torch.cat([mask, frames], 1)

    def batch(self, rng):
        """Latents and conditions [B, C, T, H, W], and a fresh caption for each."""
        chosen = np.where(rng.random(BATCH) < PAIR_SHARE, rng.choice(self.pairs, BATCH), rng.choice(self.singles, BATCH))
        prompts = [self.caption(self.scenes[i], rng) for i in chosen]
        at = torch.from_numpy(chosen)
        return self.latents[at], None if self.conditions is None else self.conditions[at], prompts

    @staticmethod
    def caption(scene, rng):
        return "" if rng.random() < PROMPT_DROPOUT else captions.caption(scene, rng)[0]


def noise_levels(count, expert):
    """Shifted uniform sigmas [count] on the expert's side of the boundary."""
    border = BOUNDARY / (FLOW_SHIFT - (FLOW_SHIFT - 1) * BOUNDARY)
    u = torch.rand(count)
    u = border + (1 - border) * u if expert == "high" else border * u
    return FLOW_SHIFT * u / (1 + (FLOW_SHIFT - 1) * u)


class Trainer:
    """An expert, its averaged copy, and the loss."""

    def __init__(self, work, transformer, expert):
        self.tokenizer = T5TokenizerFast.from_pretrained(work / "tokenizer")
        self.text_encoder = UMT5EncoderModel.from_pretrained(work / "text_encoder").eval()
        self.model, self.expert = transformer.train(), expert
        self.averaged = Averaged(transformer, EMA)
        self.attention = text.use_biased_attention(transformer)
        self.compiled = torch.compile(transformer, dynamic=False)

    def loss(self, latents, conditions, prompts, pad_share):
        """Mean squared error of the velocity noise - latents."""
        with torch.no_grad():
            embeds, self.attention.bias = text.encode(self.tokenizer, self.text_encoder, prompts, pad_share)
        sigma = noise_levels(len(latents), self.expert)
        noise = torch.randn_like(latents)
        mixed = torch.lerp(latents, noise, sigma[:, None, None, None, None])
        if conditions is not None:
            mixed = torch.cat([mixed, conditions], 1)
        # At 80 tokens the fused attention's backward pass costs more than all matrix products.
        with sdpa_kernel(SDPBackend.MATH), torch.autocast("cpu", torch.bfloat16):
            velocity = self.compiled(mixed, 1000 * sigma, embeds, return_dict=False)[0]
        return (velocity.float() - (noise - latents)).square().mean()


def optimisers(model):
    """Muon for the blocks' matrices, AdamW for the rest, at one learning rate."""
    matrices, others = [], []
    for name, parameter in model.named_parameters():
        (matrices if name.startswith("blocks.") and parameter.dim() == 2 else others).append(parameter)
    return (torch.optim.Muon(matrices, adjust_lr_fn="match_rms_adamw", weight_decay=0.01),
            torch.optim.AdamW(others, betas=(0.9, 0.99), weight_decay=0.01))  # fmt: skip


def first_weights(work, task, expert, again):
    """What training starts from."""
    if again:
        return WanTransformer3DModel.from_pretrained(work / f"{task}-{expert}")
    if task == "i2v":
        return with_condition(WanTransformer3DModel.from_pretrained(work / f"t2v-{expert}"))
    return new_transformer(UMT5EncoderModel.from_pretrained(work / "text_encoder").config.d_model)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=("t2v", "i2v"))
    parser.add_argument("expert", choices=("high", "low"))
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--rate", type=float, default=2e-3, help="peak learning rate")
    parser.add_argument("--again", action="store_true", help="start from what an earlier run wrote")
    parser.add_argument("--pad-ramp", type=int, default=300, help="steps until prompts' padding has its full weight")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--save-every", type=int, default=250)
    args = parser.parse_args()
    rng = start(args.seed, args.threads)
    trainer = Trainer(args.work, first_weights(args.work, args.task, args.expert, args.again), args.expert)
    examples = Examples(args.work, args.task == "i2v")
    steppers = optimisers(trainer.model)
    log = Log(50)
    for step in range(args.steps):
        pad_share = 1.0 if args.again or args.task == "i2v" else min(1.0, step / args.pad_ramp)
        loss = trainer.loss(*examples.batch(rng), pad_share)
        optimise(steppers, loss, learning_rate(step, args.steps, args.rate))
        trainer.averaged.follow()
        log.add(step, loss=loss.detach())
        if (step + 1) % args.save_every == 0 or step + 1 == args.steps:
            trainer.averaged.copy.save_pretrained(args.work / f"{args.task}-{args.expert}")


if __name__ == "__main__":
    main()
