"""Trains the VAE (AutoencoderKLWan) of models/shapes.

Stages, each of which starts from what the one before wrote to --work:
  image    single frames, which a causal VAE codes without its temporal layers: cheap, and it gives
           the spatial layers their start; the temporal taps start at "repeat the frame";
  short    nine frames in a row, half the work of a clip;
  video    whole clips, encoder and decoder;
  decoder  whole clips, encoder frozen, so that latents cached after `video` stay valid.
Usage: train_vae.py STAGE --work DIR --steps N
"""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import WanAttentionBlock, WanResidualBlock

import one_shot
import world
from common import Averaged, Log, clips, contact_sheet, learning_rate, optimise, psnr, start, to_uint8

STAGES = {  # batch, frames, peak learning rate
    "image": (16, 1, 1e-3),
    "short": (4, 9, 6e-4),
    "video": (2, world.FRAMES, 3e-4),
    "decoder": (2, world.FRAMES, 2e-4),
}
KL_WEIGHT = 1e-4
EMA = 0.98


def new_vae():
    """A VAE that starts as a plain linear codec of single frames.

    All temporal taps are zero but the last, residual branches add nothing yet, the other
    convolutions keep the size of their signal, and latents carry little noise (log-variance -6).
    Started as torch's defaults have it, it learned the backgrounds and lost the shapes.
    """
    z_dim = 16
    vae = AutoencoderKLWan(base_dim=16, z_dim=z_dim, dim_mult=[1, 2, 4, 4], num_res_blocks=1,
                           latents_mean=[0.0] * z_dim, latents_std=[1.0] * z_dim)  # fmt: skip
    with torch.no_grad():
        for name, module in vae.named_modules():
            if name.endswith("time_conv"):
                repeat_frame(module)
            elif isinstance(module, (torch.nn.Conv2d, torch.nn.Conv3d)):
                keep_variance(module)
        for module in vae.modules():
            if isinstance(module, WanResidualBlock):
                module.conv2.weight.zero_()
            elif isinstance(module, WanAttentionBlock):
                module.proj.weight.zero_()
        for conv in (vae.quant_conv, vae.post_quant_conv):
            conv.weight.zero_()[:z_dim, :z_dim, 0, 0, 0] = torch.eye(z_dim)
        vae.quant_conv.bias[z_dim:] = -6
    return vae


def repeat_frame(conv):
    """A temporal convolution that hands on its last frame, as often as it has outputs for it."""
    conv.weight.zero_()
    conv.weight[:, :, -1, 0, 0] = torch.eye(conv.in_channels).repeat(conv.out_channels // conv.in_channels, 1)
    conv.bias.zero_()


def keep_variance(conv):
    """Random weights on the last temporal tap (all of a 2D kernel) that keep the signal's variance."""
    taps = conv.weight if conv.weight.dim() == 4 else conv.weight.zero_()[:, :, -1]
    taps.normal_(0, taps[0].numel() ** -0.5)
    conv.bias.zero_()


def batch_of(size, frames, rng):
    """Scenes, held-out combinations left out, each from a moment of its own on."""
    every = world.trained()
    batch = clips([world.random_scene(rng, every) for _ in range(size)])
    starts = rng.integers(world.FRAMES - frames + 1, size=size)
    return torch.stack([clip[:, at : at + frames] for clip, at in zip(batch, starts)])


def reconstruct(vae, x, freeze_encoder):
    """Reconstruction of x from sampled latents, and the KL term per latent element."""
    with torch.set_grad_enabled(not freeze_encoder):
        mean, logvar = one_shot.encode(vae, x)
    mean, logvar = mean.float(), logvar.float().clamp(-20, 10)
    kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
    latents = mean + torch.randn_like(mean) * (0.5 * logvar).exp()
    return one_shot.decode(vae, latents).float(), kl


@torch.no_grad()
def validate(vae, sheet=None, count=24):
    """PSNR of clips that no stage drew, through diffusers' own encode and decode."""
    rng = start(10_000, torch.get_num_threads())
    every = world.combinations()
    x = clips([world.random_scene(rng, every) for _ in range(count)])
    y = vae.decode(vae.encode(x).latent_dist.mode()).sample
    if sheet:
        pairs = [v for i in range(4) for v in (x[i], y[i])]
        contact_sheet(sheet, [to_uint8(v).permute(1, 2, 3, 0) for v in pairs], every=2)
    return psnr(x, y)


def train(vae, stage, steps, seed, threads, rate=None):
    """Runs one stage in place, a step at a time, convolutions in bfloat16; yields averaged weights."""
    rng = start(seed, threads)
    size, frames, peak = STAGES[stage]
    peak = rate or peak
    frozen = stage == "decoder"
    parts = (vae.decoder, vae.post_quant_conv) if frozen else (vae,)
    optimiser = torch.optim.Adam([p for part in parts for p in part.parameters()], betas=(0.9, 0.99))
    averaged, log = Averaged(vae, EMA), Log()
    for step in range(steps):
        x = batch_of(size, frames, rng)
        with torch.autocast("cpu", torch.bfloat16):
            y, kl = reconstruct(vae, x, frozen)
        mse, l1 = F.mse_loss(y, x), F.l1_loss(y, x)
        optimise([optimiser], mse + l1 + KL_WEIGHT * kl, learning_rate(step, steps, peak))
        averaged.follow()
        log.add(step, mse=mse.detach(), l1=l1.detach(), kl=kl.detach())
        yield step, averaged.copy


def start_of(stage, again, work):
    """The folder that holds what a stage goes on from; None for the first."""
    before = stage if again else dict(zip(list(STAGES)[1:], STAGES)).get(stage)
    return before and work / f"vae-{before}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--stop", type=int, help="end early, with the learning rate of that step")
    parser.add_argument("--rate", type=float, help="peak learning rate")
    parser.add_argument("--again", action="store_true", help="start from what this stage wrote before")
    parser.add_argument("--start", type=Path, help="start from the VAE in this folder")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--save-every", type=int, default=200)
    args = parser.parse_args()
    before = args.start or start_of(args.stage, args.again, args.work)
    last = args.stop or args.steps
    torch.manual_seed(args.seed)
    vae = AutoencoderKLWan.from_pretrained(before).float() if before else new_vae()
    one_shot.enable(vae)
    seed = args.seed + 100 * list(STAGES).index(args.stage) + 50 * args.again
    for step, averaged in train(vae, args.stage, args.steps, seed, args.threads, args.rate):
        if (step + 1) % args.save_every == 0 or step + 1 == last:
            averaged.save_pretrained(args.work / f"vae-{args.stage}")
        if step + 1 == last:
            break
    stored = AutoencoderKLWan.from_pretrained(args.work / f"vae-{args.stage}").eval()
    print("PSNR", validate(stored, args.work / f"vae-{args.stage}.png"), flush=True)


if __name__ == "__main__":
    main()
