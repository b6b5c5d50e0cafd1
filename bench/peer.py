"""diffusers' side of a comparison: one piece of the work, repeated on request.

Usage: peer.py --model DIR --piece NAME --threads N --reference FILE --settings JSON [--tokens N] [--compile]

Writes its inputs and results to FILE as nightreel's `bench --reference` reads them; with --compile it reads them and
computes the same through torch.compile. Then says {"ready": true}, answers each line on stdin, a number of runs, with
{"seconds": […]}; at the end of input it says how far the last result is from FILE's: {"deviation": D}.
"""

import argparse
import json
import sys
import time

import torch
from diffusers import AutoencoderKLWan, WanPipeline, WanTransformer3DModel
from safetensors.torch import load_file, save_file
from transformers import UMT5EncoderModel

ROWS = 512  # of a prompt, padded
FIRST_WORD = 3


def randn(shape, number):
    return torch.randn(shape, generator=torch.Generator().manual_seed(number))


def latent_shape(config, settings, channels):
    return (1, channels, (settings["num_frames"] - 1) // config.scale_factor_temporal + 1,
            settings["height"] // config.scale_factor_spatial, settings["width"] // config.scale_factor_spatial)  # fmt: skip


def vae_config(options):
    return AutoencoderKLWan.from_config(AutoencoderKLWan.load_config(options.model, subfolder="vae")).config


def text(options):
    """A prompt through the text encoder, padded as WanPipeline pads it."""
    module = UMT5EncoderModel.from_pretrained(options.model, subfolder="text_encoder").eval()
    ids = torch.randint(FIRST_WORD, module.config.vocab_size, (options.tokens,), generator=torch.Generator().manual_seed(1))
    padded = torch.nn.functional.pad(ids, (0, ROWS - options.tokens))[None]
    mask = (torch.arange(ROWS) < options.tokens).long()[None]

    def run():
        return module(padded, mask).last_hidden_state[:, : options.tokens]

    return dict(ids=ids), "hidden", run


def transformer_pass(options):
    """One pass through the transformer, a text of 512 rows."""
    module = WanTransformer3DModel.from_pretrained(options.model, subfolder="transformer").eval()
    inputs = dict(
        latents=randn(latent_shape(vae_config(options), options.settings, module.config.in_channels), 2),
        embeds=randn((1, ROWS, module.config.text_dim), 3),
    )
    timestep = torch.tensor([612.5])
    if options.compile:
        module = torch.compile(module)

    def run():
        return module(inputs["latents"], timestep, inputs["embeds"], return_dict=False)[0]

    return inputs, "velocity", run


def step(options):
    """A guided denoising run of WanPipeline from embeddings to latents."""
    pipe = WanPipeline.from_pretrained(options.model)
    pipe.set_progress_bar_config(disable=True)
    width = pipe.transformer.config.text_dim
    inputs = dict(embeds=randn((1, ROWS, width), 4), negative_embeds=randn((1, ROWS, width), 5))
    for value in inputs.values():
        value[:, options.tokens :] = 0
    settings = dict(options.settings)
    seed = settings.pop("seed")
    if options.compile:
        pipe.transformer = torch.compile(pipe.transformer)

    def run():
        return pipe(
            prompt_embeds=inputs["embeds"], negative_prompt_embeds=inputs["negative_embeds"], output_type="latent",
            generator=torch.Generator().manual_seed(seed), **settings,
        ).frames[0]  # fmt: skip

    return inputs, "latents", run


def vae_decode(options):
    """Normalised latents to pixels, as WanPipeline does it."""
    module = AutoencoderKLWan.from_pretrained(options.model, subfolder="vae").eval()
    latents = randn(latent_shape(module.config, options.settings, module.config.z_dim), 6)
    mean = torch.tensor(module.config.latents_mean).view(1, -1, 1, 1, 1)
    inverse_std = 1.0 / torch.tensor(module.config.latents_std).view(1, -1, 1, 1, 1)

    def run():
        return module.decode(latents / inverse_std + mean, return_dict=False)[0]

    return dict(latents=latents), "pixels", run


def load(options):
    """The whole pipeline from its files; the result is a video made with it."""
    ids = torch.randint(FIRST_WORD, 100, (2, options.tokens), generator=torch.Generator().manual_seed(8))
    inputs = dict(ids=ids[0], negative_ids=ids[1])
    settings = dict(options.settings)
    seed = settings.pop("seed")

    def run():
        run.pipe = None
        started = time.perf_counter()
        run.pipe = WanPipeline.from_pretrained(options.model)
        run.seconds = time.perf_counter() - started
        return None

    def embed(tokens):
        hidden = run.pipe.text_encoder(tokens[None], torch.ones_like(tokens)[None]).last_hidden_state
        return torch.nn.functional.pad(hidden, (0, 0, 0, ROWS - len(tokens)))

    def result():
        run.pipe.set_progress_bar_config(disable=True)
        frames = run.pipe(
            prompt_embeds=embed(inputs["ids"]), negative_prompt_embeds=embed(inputs["negative_ids"]), output_type="np",
            generator=torch.Generator().manual_seed(seed), **settings,
        ).frames[0]  # fmt: skip
        return torch.from_numpy(frames)

    run.result = result
    return inputs, "frames", run


PIECES = {"text": text, "pass": transformer_pass, "step": step, "vae-decode": vae_decode, "load": load}


def say(**line):
    print(json.dumps(line), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--piece", choices=PIECES, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--reference", required=True)
    parser.add_argument("--settings", type=json.loads, required=True)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with torch.inference_mode():
        serve(options)


def serve(options):
    inputs, name, run = PIECES[options.piece](options)
    units = options.settings["num_inference_steps"] if options.piece == "step" else 1

    def once():
        started = time.perf_counter()
        out = run()
        seconds = getattr(run, "seconds", time.perf_counter() - started) / units
        return seconds, out

    def result(out):
        return run.result() if hasattr(run, "result") else out

    key = f"{options.piece}.{name}"
    out = once()[1]  # also the warm-up
    if not options.compile:
        tensors = {f"{options.piece}.{k}": v for k, v in inputs.items()} | {key: result(out)}
        save_file({k: v.detach().to(torch.float32).contiguous().clone() for k, v in tensors.items()}, options.reference)
    once()
    say(ready=True)
    for line in sys.stdin:
        times = []
        for _ in range(int(line)):
            seconds, out = once()
            times.append(seconds)
        say(seconds=times)
    expected = load_file(options.reference)[key]
    say(deviation=((result(out) - expected).abs().max() / expected.abs().max()).item())


if __name__ == "__main__":
    main()
