"""Inputs and expected outputs of each module and pipeline, from diffusers and transformers in float32.

Every file holds float32 tensors only (token ids too: they are exact), because that is what the readers under test read.
Names and shapes are the contract with the C++ tests; README.md lists them.
"""

import copy
import json

import numpy
import torch
from PIL import Image
from safetensors.torch import save_file

from checkpoints import NEGATIVE, PROMPT, VOCABULARY, scheduler


def write(path, tensors, **settings):
    """One safetensors file; `settings` as JSON beside it, where there are any."""
    save_file({name: value.detach().to(torch.float32).contiguous().clone() for name, value in tensors.items()}, path)
    if settings:
        path.with_suffix(".json").write_text(json.dumps(settings, indent=1) + "\n")


def text_encoder(module, folder, generator):
    """ids_N [B, S], length_N [B] and hidden_N [B, S, D] for sequences that are short, padded, and longer than any bucket."""
    tensors = {}
    for n, lengths in enumerate([[1], [9, 4], [300]]):
        ids = torch.randint(3, VOCABULARY, (len(lengths), max(lengths)), generator=generator)
        mask = torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]
        hidden = module(ids * mask, mask.long()).last_hidden_state * mask[..., None]
        tensors |= {f"ids_{n}": ids * mask, f"length_{n}": torch.tensor(lengths), f"hidden_{n}": hidden}
    write(folder / "text_encoder.safetensors", tensors)


def image_encoder(module, folder, generator):
    """pictures [N, S, S, 3], 0 to 255, and hidden [N, T, D], the state after the last layer but one."""
    side = module.config.image_size
    pictures = torch.randint(0, 256, (2, side, side, 3), generator=generator)
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073])
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711])
    pixels = ((pictures / 255 - mean) / std).permute(0, 3, 1, 2)
    hidden = module(pixels, output_hidden_states=True).hidden_states[-2]
    write(folder / "image_encoder.safetensors", dict(pictures=pictures, hidden=hidden))


def transformer(module, folder, name, generator):
    """latents_N [B, C, T, H, W], timestep_N [B], text_N [B, L, D], output_N; block_N.i [B, S, D] after each block."""
    config, tensors = module.config, {}
    patch_t, patch_h, patch_w = config.patch_size
    for n, (batch, t, h, w, length) in enumerate([(1, 3, 4, 6, 512), (2, 1, 2, 3, 17), (1, 2, 3, 2, 512), (2, 1, 2, 2, 9)]):
        shape = (batch, config.in_channels, t * patch_t, h * patch_h, w * patch_w)
        inputs = dict(
            hidden_states=torch.randn(shape, generator=generator),
            timestep=torch.tensor([612.5]) if n == 0 else torch.tensor([999.0, 37.0])[:batch],
            encoder_hidden_states=torch.randn((batch, length, config.text_dim), generator=generator),
        )
        inputs["encoder_hidden_states"][:, length // 2 :] = 0  # as the pipeline pads
        if config.image_dim:
            if batch > 1 or length != 512:  # all that diffusers' processor can tell apart
                continue
            rows = config.pos_embed_seq_len or 7
            inputs["encoder_hidden_states_image"] = torch.randn((1, rows, config.image_dim), generator=generator)
            tensors[f"image_{n}"] = inputs["encoder_hidden_states_image"]
            if config.pos_embed_seq_len:  # two pictures' rows
                inputs["encoder_hidden_states_image"] = inputs["encoder_hidden_states_image"].unflatten(1, (2, -1))[0]
        if n >= 2:  # a time step a token: the first frame's is another
            tensors |= {f"timestep_{n}": inputs["timestep"], f"first_timestep_{n}": torch.zeros(batch)}
            inputs["timestep"] = inputs["timestep"][:, None].repeat(1, t * h * w)
            inputs["timestep"][:, : h * w] = 0
        blocks = []
        hooks = [b.register_forward_hook(lambda _m, _i, out: blocks.append(out)) for b in module.blocks]
        output = module(**inputs, return_dict=False)[0]
        for hook in hooks:
            hook.remove()
        tensors.setdefault(f"timestep_{n}", inputs["timestep"])
        tensors |= {f"latents_{n}": inputs["hidden_states"],
                    f"text_{n}": inputs["encoder_hidden_states"], f"output_{n}": output}  # fmt: skip
        tensors |= {f"block_{n}.{i}": block for i, block in enumerate(blocks)}
    write(folder / f"{name}.safetensors", tensors)


def vae(module, folder, generator):
    """decode_N: latents [B, C, T, h, w] to frames [B, 3, F, H, W]; encode_N: frames to the posterior's mean; tiled.

    Latents are normalised, as the transformer sees them and as WanPipeline and WanImageToVideoPipeline convert them.
    """
    scale, tensors = module.config.scale_factor_spatial, {}
    mean = torch.tensor(module.config.latents_mean).view(1, -1, 1, 1, 1)
    std_inverse = 1.0 / torch.tensor(module.config.latents_std).view(1, -1, 1, 1, 1)

    precise = copy.deepcopy(module).double()

    def decodable(shape):
        """Latents and what they are decoded to. A norm over few channels blows rounding up, on one CPU at these latents
        and on another at those (AVX2 and AVX512 differ). Where diffusers is far from itself, agreement means nothing:
        then others are drawn. Less than half of what the parity tests allow, since both sides round."""
        for _ in range(8):
            latents = torch.randn(shape, generator=generator)
            given = latents / std_inverse + mean
            decoded = module.decode(given, return_dict=False)[0]
            exact = precise.decode(given.double(), return_dict=False)[0]
            error = ((decoded - exact).abs().max() / exact.abs().max()).item()
            if error < 4e-6:
                return latents, decoded
        raise SystemExit(f"{folder}: diffusers' float32 is {error:.1e} off its float64; choose a wider VAE")

    def both_ways(prefix, suffix, batch, t, h, w):
        latents, decoded = decodable((batch, module.config.z_dim, t, h, w))
        frames = torch.rand((batch, 3, 4 * t - 3, h * scale, w * scale), generator=generator) * 2 - 1
        encoded = (module.encode(frames).latent_dist.mode() - mean) * std_inverse
        for name, value in dict(latents=latents, decoded=decoded, frames=frames, encoded=encoded).items():
            tensors[f"{prefix}{name}{suffix}"] = value

    both_ways("", "_0", 1, 3, 4, 6)
    both_ways("", "_1", 2, 1, 3, 2)
    tile = dict(tile_sample_min_height=8 * scale, tile_sample_min_width=6 * scale,
                tile_sample_stride_height=6 * scale, tile_sample_stride_width=4 * scale)  # fmt: skip
    for one in (module, precise):
        one.enable_tiling(**tile)
    both_ways("tiled.", "", 1, 2, 11, 9)
    module.disable_tiling()
    write(folder / "vae.safetensors", tensors, **tile)


def picture(seed, width, height):
    """Smooth colours with hard edges in them."""
    random = numpy.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (4, 5, 3), dtype=numpy.uint8))
    pixels = numpy.array(coarse.resize((width, height), Image.Resampling.BICUBIC))
    pixels[height // 3 : height // 2, width // 4 : width // 2] = random.integers(0, 256, 3)
    return Image.fromarray(pixels)


def clip_square(image, side):
    """As CLIPImageProcessor cuts it: the shorter edge brought to `side`, the square in the middle."""
    width, height = (int(side * edge / min(image.size)) for edge in image.size)
    left, top = (width - side) // 2, (height - side) // 2
    return numpy.array(image.resize((width, height), Image.Resampling.BICUBIC))[top : top + side, left : left + side]


def pipeline(pipe, settings, folder, name="pipeline"):
    """A whole guided run: ids, embeddings, start noise, schedule, latents after each step, frames [F, H, W, 3] in 0..1."""
    steps, tensors = [], {}

    def remember(_pipe, _step, _t, values):
        steps.append(values["latents"].clone())
        tensors.update(embeds=values["prompt_embeds"], negative_embeds=values["negative_prompt_embeds"])
        return {}

    call = {k: v for k, v in settings.items() if k not in ("seed", "steps", "sampler", "sigmas", "loras")}
    for key in ("image", "last_image"):
        if key in call:
            call[key] = picture(settings[key], 2 * settings["width"] - 7, settings["height"] + 5)
            sized = call[key].resize((settings["width"], settings["height"]), Image.Resampling.LANCZOS)
            tensors[key] = torch.from_numpy(numpy.array(sized))
            if getattr(pipe, "image_encoder", None) is not None:
                tensors[f"clip_{key}"] = torch.from_numpy(clip_square(call[key], pipe.image_encoder.config.image_size))
            call[key].save(folder / f"{name}_{key}.png")
    call |= dict(prompt=PROMPT, negative_prompt=NEGATIVE, num_inference_steps=settings["steps"])
    frames = pipe(
        generator=torch.Generator().manual_seed(settings["seed"]), output_type="np", callback_on_step_end=remember,
        callback_on_step_end_tensor_inputs=["latents", "prompt_embeds", "negative_prompt_embeds"], **call,
    ).frames[0]  # fmt: skip
    last = steps[-1]
    if "image" in call and pipe.config.expand_timesteps:  # the picture's latents, put in after the last step
        last = pipe(generator=torch.Generator().manual_seed(settings["seed"]), output_type="latent", **call).frames
    if tensors["negative_embeds"] is None:
        del tensors["negative_embeds"]
    tensors |= {"ids": torch.tensor(pipe.tokenizer(PROMPT).input_ids), "frames": torch.from_numpy(frames)}
    tensors |= {"negative_ids": torch.tensor(pipe.tokenizer(NEGATIVE).input_ids), "latents": last}
    tensors |= {"noise": torch.randn(steps[0].shape, generator=torch.Generator().manual_seed(settings["seed"]))}
    tensors |= {"timesteps": pipe.scheduler.timesteps, "sigmas": pipe.scheduler.sigmas}
    tensors |= {f"step.{i}": latents for i, latents in enumerate(steps)}
    boundary = {"boundary_ratio": pipe.config.boundary_ratio} if pipe.config.boundary_ratio else {}
    write(folder / f"{name}.safetensors", tensors, prompt=PROMPT, negative_prompt=NEGATIVE, **settings, **boundary)


def samplers(folder):
    """Each sampler on its own: sigmas, timesteps, start sample, the model's answers and the samples that follow."""
    folder.mkdir()
    generator = torch.Generator().manual_seed(77)
    for sampler in ("unipc", "dpm++", "euler"):
        for shift in (1.0, 3.0, 12.0):
            for steps in (1, 2, 3, 10, 20):
                _trajectory(folder / f"{sampler}_shift{shift:g}_steps{steps}", generator, sampler, shift, steps)
        for sigmas in ([1.0, 0.9375, 0.8333, 0.625], [0.9, 0.3], [1.0]):
            name = f"{sampler}_{len(sigmas)}_sigmas"
            _trajectory(folder / name, generator, sampler, 1.0, len(sigmas), sigmas)


def _trajectory(path, generator, sampler, shift, steps, sigmas=None):
    made = scheduler(shift, sampler, sigmas)
    made.set_timesteps(steps)
    sample = torch.randn((1, 4, 2, 3, 5), generator=generator)
    tensors = dict(sigmas=made.sigmas.clone(), timesteps=made.timesteps.clone(), sample=sample)
    for i, t in enumerate(made.timesteps):
        answer = torch.randn(sample.shape, generator=generator) + 0.3 * sample
        sample = made.step(answer, t, sample, return_dict=False)[0]
        tensors |= {f"answer.{i}": answer, f"step.{i}": sample}
    given = dict(sampler=sampler, flow_shift=shift, steps=steps, given_sigmas=sigmas or [])
    write(path.with_name(path.name + ".safetensors"), tensors, **given)
