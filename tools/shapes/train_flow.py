"""Trains the transformer and the text encoder of models/shapes together, by flow matching.

Reads WORK/tokenizer and WORK/latents.npz; writes WORK/transformer and WORK/text_encoder (averaged
weights) every --save-every steps, from which a later run with --resume goes on.
Usage: train_flow.py --work DIR --steps N
"""

import argparse
import copy
from pathlib import Path

import numpy as np
import torch
from diffusers import WanTransformer3DModel
from transformers import T5TokenizerFast, UMT5EncoderModel

import captions
import text
import world
from common import Log, learning_rate, optimise, start

BATCH = 32
PEAK_RATE = 1e-3
PROMPT_DROPOUT = 0.1
FLOW_SHIFT = 3.0
"""Noise levels are drawn as the sampler places them: uniform, then shifted."""
PAD_RAMP = 600
"""Steps over which the padding of prompts gains its full weight."""
EMA = 0.998


def new_transformer(latent_channels, text_dim):
    """A WanTransformer3DModel of six layers with random weights."""
    return WanTransformer3DModel(
        patch_size=(1, 2, 2), num_attention_heads=4, attention_head_dim=32, num_layers=6, ffn_dim=512,
        in_channels=latent_channels, out_channels=latent_channels, text_dim=text_dim, freq_dim=64,
        cross_attn_norm=True, qk_norm="rms_norm_across_heads", rope_max_seq_len=64,
    )  # fmt: skip


class Examples:
    """Cached latents, normalised as WanPipeline undoes it, and their scenes."""

    def __init__(self, path):
        data = np.load(path)
        stat = lambda name: torch.from_numpy(data[name])[:, None, None, None]  # noqa: E731
        self.latents = (torch.from_numpy(data["latents"]).float() - stat("mean")) / stat("std")
        fields = ("colour", "shape", "direction", "background")
        self.scenes = [world.Scene(*map(str, row)) for row in zip(*(data[f] for f in fields))]

    def batch(self, rng):
        """Latents [B, C, T, H, W] and a fresh caption for each."""
        chosen = rng.integers(len(self.scenes), size=BATCH)
        prompts = [captions.caption(self.scenes[i], rng, PROMPT_DROPOUT) for i in chosen]
        return self.latents[torch.from_numpy(chosen)], prompts


def noise_levels(count):
    """Shifted uniform sigmas [count] in 0..1."""
    u = torch.rand(count)
    return FLOW_SHIFT * u / (1 + (FLOW_SHIFT - 1) * u)


class Trainer:
    """Models, their averaged copies, and the loss."""

    def __init__(self, tokenizer, text_encoder, transformer):
        self.tokenizer = tokenizer
        self.models = torch.nn.ModuleDict({"text_encoder": text_encoder, "transformer": transformer})
        self.averaged = copy.deepcopy(self.models).requires_grad_(False)
        self.attention = text.use_biased_attention(transformer)

    def loss(self, latents, prompts, pad_share):
        """Mean squared error of the velocity noise - latents."""
        embeds, self.attention.bias = text.encode(
            self.tokenizer, self.models["text_encoder"], prompts, pad_share
        )
        sigma = noise_levels(len(latents))
        noise = torch.randn_like(latents)
        mixed = torch.lerp(latents, noise, sigma[:, None, None, None, None])
        velocity = self.models["transformer"](mixed, 1000 * sigma, embeds, return_dict=False)[0]
        return (velocity - (noise - latents)).square().mean()

    def average(self, step):
        """Moves the averaged weights towards the present ones; faster at the beginning."""
        keep = min(EMA, (step + 1) / (step + 10))
        with torch.no_grad():
            for slow, fast in zip(self.averaged.parameters(), self.models.parameters()):
                slow.lerp_(fast, 1 - keep)

    def save(self, work):
        """Writes the averaged models as diffusers and transformers store them."""
        for name, model in self.averaged.items():
            model.save_pretrained(work / name)


def load(work, resume):
    """A trainer of new models, or of those that an earlier run saved."""
    tokenizer = T5TokenizerFast.from_pretrained(work / "tokenizer")
    if resume:
        text_encoder = UMT5EncoderModel.from_pretrained(work / "text_encoder")
        transformer = WanTransformer3DModel.from_pretrained(work / "transformer")
    else:
        text_encoder = text.new_text_encoder(len(tokenizer))
        transformer = new_transformer(16, text_encoder.config.d_model)
    return Trainer(tokenizer, text_encoder.train(), transformer.train())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--stop", type=int, help="end early, with the learning rate of that step")
    parser.add_argument("--rate", type=float, default=PEAK_RATE, help="peak learning rate")
    parser.add_argument("--resume", action="store_true", help="go on from what WORK holds")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--save-every", type=int, default=250)
    args = parser.parse_args()
    rng = start(args.seed, args.threads)
    trainer = load(args.work, args.resume)
    examples = Examples(args.work / "latents.npz")
    optimizer = torch.optim.AdamW(trainer.models.parameters(), betas=(0.9, 0.99), weight_decay=0.01)
    log = Log(50)
    last = args.stop or args.steps
    for step in range(last):
        latents, prompts = examples.batch(rng)
        pad_share = 1.0 if args.resume else min(1.0, step / PAD_RAMP)
        loss = trainer.loss(latents, prompts, pad_share)
        optimise(optimizer, loss, learning_rate(step, args.steps, args.rate))
        trainer.average(step)
        log.add(step, loss=loss.detach())
        if (step + 1) % args.save_every == 0 or step + 1 == last:
            trainer.save(args.work)


if __name__ == "__main__":
    main()
