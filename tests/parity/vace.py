"""VACE's transformer: random tiny checkpoints with control, and what diffusers computes with them in float32."""

import torch
from diffusers import WanVACETransformer3DModel

from goldens import write
from weights import randomise

LAYERS = {"vace_two": [0, 2], "vace_three": [0, 1, 3]}  # behind which of four blocks control is added


def make(out):
    """OUT/NAME/transformer in Diffusers layout, OUT/NAME/vace.safetensors with inputs and outputs."""
    for number, (name, layers) in enumerate(LAYERS.items()):
        generator = torch.Generator().manual_seed(900 + number)
        module = WanVACETransformer3DModel(
            patch_size=(1, 2, 2), num_attention_heads=3, attention_head_dim=16, in_channels=4, out_channels=4,
            text_dim=24, freq_dim=32, ffn_dim=64, num_layers=4, vace_layers=layers, vace_in_channels=10,
        )  # fmt: skip
        randomise(module, generator, torch.float32).save_pretrained(out / name / "transformer")
        write(out / name / "vace.safetensors", _tensors(module, layers, generator))


def _tensors(module, layers, generator):
    """For two prompts of one video each: latents, control [2, 10, F, Y, X], timestep, text; scales_N, output_N."""
    text = torch.randn((2, 512, module.config.text_dim), generator=generator)
    text[0, 40:] = text[1, 300:] = 0  # as the pipeline pads
    inputs = dict(
        latents=torch.randn((2, 4, 3, 6, 10), generator=generator),
        control=torch.randn((2, 10, 3, 6, 10), generator=generator),
        timestep=torch.tensor([871.0, 64.5]),
        text=text,
    )
    tensors = dict(inputs)
    for n, scales in enumerate([torch.ones(len(layers)), torch.tensor([0.35, -1.2, 0.8])[: len(layers)]]):
        output = module(
            hidden_states=inputs["latents"], timestep=inputs["timestep"], encoder_hidden_states=text,
            control_hidden_states=inputs["control"], control_hidden_states_scale=scales, return_dict=False,
        )[0]  # fmt: skip
        tensors |= {f"scales_{n}": scales, f"output_{n}": output}
    return tensors
