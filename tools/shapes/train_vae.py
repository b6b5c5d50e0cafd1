"""Trains the VAE (AutoencoderKLWan) of models/shapes.

Three stages, each of which starts from what the one before wrote to --work:
  image    single frames, which a causal VAE codes without its temporal layers: cheap, and it gives
           the spatial layers their start; the temporal taps start at "repeat the frame";
  video    whole clips, encoder and decoder;
  decoder  whole clips, encoder frozen, so that latents cached after `video` stay valid.
Usage: train_vae.py STAGE --work DIR --steps N
"""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKLWan

import one_shot
import world
from common import Log, clips, contact_sheet, learning_rate, optimise, psnr, start, to_uint8

STAGES = {  # batch, peak learning rate
    "image": (16, 4e-4),
    "video": (2, 4e-4),
    "decoder": (2, 4e-4),
}
KL_WEIGHT = 1e-4


def new_vae():
    """The VAE with weights that code every frame for itself: temporal taps are zero but the last.

    Latents start with little noise (log-variance -6): with more, training finds no way to use them.
    """
    vae = AutoencoderKLWan(base_dim=16, z_dim=16, dim_mult=[1, 2, 4, 4], num_res_blocks=1,
                           latents_mean=[0.0] * 16, latents_std=[1.0] * 16)  # fmt: skip
    with torch.no_grad():
        for name, module in vae.named_modules():
            if not isinstance(module, torch.nn.Conv3d):
                continue
            module.weight[:, :, :-1] = 0
            module.weight *= module.kernel_size[0] ** 0.5
            if name.endswith("time_conv"):
                copies = module.out_channels // module.in_channels
                eye = torch.eye(module.in_channels).repeat(copies, 1)
                module.weight[:, :, -1, 0, 0] = eye
                module.bias.zero_()
        vae.quant_conv.weight[16:] = 0
        vae.quant_conv.bias[16:] = -6
    return vae


def batch_of(stage, size, rng):
    """Clips for a step, or for the image stage one random frame of each."""
    batch = clips([world.random_scene(rng) for _ in range(size)])
    if stage != "image":
        return batch
    at = torch.from_numpy(rng.integers(world.FRAMES, size=size))
    return batch[torch.arange(size), :, at][:, :, None]


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
    """PSNR of held-out clips through diffusers' own encode and decode."""
    scenes = [world.random_scene(rng) for rng in [start(10_000, torch.get_num_threads())] for _ in range(count)]
    x = clips(scenes)
    y = vae.decode(vae.encode(x).latent_dist.mode()).sample
    if sheet:
        pairs = [v for i in range(4) for v in (x[i], y[i])]
        contact_sheet(sheet, [to_uint8(v).permute(1, 2, 3, 0) for v in pairs], every=2)
    return psnr(x, y)


def train(vae, stage, steps, seed, threads):
    """Runs one stage in place. Convolutions run in bfloat16 except in the last tenth."""
    rng = start(seed, threads)
    size, peak = STAGES[stage]
    frozen = stage == "decoder"
    parts = (vae.decoder, vae.post_quant_conv) if frozen else (vae,)
    optimizer = torch.optim.Adam([p for part in parts for p in part.parameters()], betas=(0.9, 0.99))
    log = Log()
    for step in range(steps):
        x = batch_of(stage, size, rng)
        with torch.autocast("cpu", torch.bfloat16, enabled=step < 0.9 * steps):
            y, kl = reconstruct(vae, x, frozen)
        mse, l1 = F.mse_loss(y, x), F.l1_loss(y, x)
        optimise(optimizer, mse + l1 + KL_WEIGHT * kl, learning_rate(step, steps, peak))
        log.add(step, mse=mse.detach(), l1=l1.detach(), kl=kl.detach())
        yield step


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--save-every", type=int, default=200)
    args = parser.parse_args()
    before = dict(zip(list(STAGES)[1:], STAGES)).get(args.stage)
    torch.manual_seed(args.seed)
    vae = AutoencoderKLWan.from_pretrained(args.work / f"vae-{before}") if before else new_vae()
    one_shot.enable(vae)
    seed = args.seed + 100 * list(STAGES).index(args.stage)
    for step in train(vae, args.stage, args.steps, seed, args.threads):
        if (step + 1) % args.save_every == 0 or step + 1 == args.steps:
            vae.save_pretrained(args.work / f"vae-{args.stage}")
    stored = AutoencoderKLWan.from_pretrained(args.work / f"vae-{args.stage}").eval()
    print("PSNR", validate(stored, args.work / f"vae-{args.stage}.png"), flush=True)


if __name__ == "__main__":
    main()
