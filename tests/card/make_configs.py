"""Writes the config files of diffusers' Wan pipelines, as the installed version writes them, and what it holds itself.

Usage: make_configs.py --out DIR
DIR/made/NAME is a folder that nightreel reads, with expected.json beside it: component -> field -> value.
DIR/refused/NAME is one that it refuses, with says.txt: the name that the refusal must have.
DIR/foreign.json: class -> the fields that WanTransformer3DModel lacks. Modules are made without numbers (meta).
"""

import argparse
import importlib
import inspect
import json
import shutil
from pathlib import Path

import diffusers
import torch
from diffusers import (
    AutoencoderKLWan,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    UniPCMultistepScheduler,
    WanTransformer3DModel,
)
from transformers import CLIPImageProcessorPil, CLIPVisionConfig, UMT5Config

CLASSES = {
    "transformer_wan_vace": "WanVACETransformer3DModel",
    "transformer_wan_animate": "WanAnimateTransformer3DModel",
    "transformer_wan_animate_2": "WanAnimate2Transformer3DModel",
    "transformer_skyreels_v2": "SkyReelsV2Transformer3DModel",
    "transformer_chronoedit": "ChronoEditTransformer3DModel",
}
PIPELINES = ("WanVACEPipeline", "WanAnimatePipeline", "WanVideoToVideoPipeline")
WAN22_VAE = dict(
    is_residual=True, patch_size=2, in_channels=12, out_channels=12, scale_factor_spatial=16, z_dim=48, base_dim=160,
    decoder_base_dim=256, latents_mean=[0.25] * 48, latents_std=[1.5] * 48,
)  # fmt: skip
FLOW = dict(prediction_type="flow_prediction", use_flow_sigmas=True)


def fields_of(kind):
    return [name for name in inspect.signature(kind.__init__).parameters if name not in ("self", "args", "kwargs")]


def transformer_class(module):
    return getattr(importlib.import_module(f"diffusers.models.transformers.{module}"), CLASSES[module])


def save(folder, pipeline, *, transformer, experts=("transformer",), vae=None, scheduler=None, clip=False, **index):
    """A folder as save_pretrained leaves it, without weights; returns what diffusers and transformers hold."""
    with torch.device("meta"):
        model = transformer if isinstance(transformer, torch.nn.Module) else WanTransformer3DModel(**transformer)
        coder = AutoencoderKLWan(**(vae or {}))
    scheduler = scheduler or UniPCMultistepScheduler(flow_shift=3.0, **FLOW)
    text = UMT5Config(d_model=4096, d_ff=10240, num_layers=24, num_heads=64, vocab_size=256384)
    parts = {name: model for name in experts} | {"vae": coder, "scheduler": scheduler}
    for name, part in parts.items():
        part.save_config(folder / name)
    text.save_pretrained(folder / "text_encoder")
    names = {name: ["diffusers", type(part).__name__] for name, part in parts.items()}
    names |= {"text_encoder": ["transformers", "UMT5EncoderModel"], "tokenizer": ["transformers", "T5TokenizerFast"]}
    held = {name: dict(part.config) for name, part in parts.items()} | {"text_encoder": text.to_dict()}
    for name in experts:
        held[name]["out_channels"] = held[name].get("out_channels") or held[name].get("in_channels")
    if clip:
        vision = CLIPVisionConfig(hidden_size=1280, num_attention_heads=16, num_hidden_layers=32, patch_size=14)
        vision.save_pretrained(folder / "image_encoder")
        CLIPImageProcessorPil().save_pretrained(folder / "image_processor")
        names |= {"image_encoder": ["transformers", "CLIPVisionModel"]}
        names |= {"image_processor": ["transformers", "CLIPImageProcessor"]}
        held["image_encoder"] = vision.to_dict()
    about = {"_class_name": pipeline, "_diffusers_version": diffusers.__version__}
    (folder / "model_index.json").write_text(json.dumps(about | names | index, indent=2))
    return held


def make_made(out):
    picture = dict(in_channels=36, image_dim=1280, added_kv_proj_dim=5120)
    cases = {
        "t2v": dict(pipeline="WanPipeline", transformer={}, transformer_2=[None, None], boundary_ratio=None),
        "two_experts": dict(
            pipeline="WanPipeline", transformer={}, experts=("transformer", "transformer_2"), boundary_ratio=0.875,
            scheduler=DPMSolverMultistepScheduler(flow_shift=7.0, **FLOW), expand_timesteps=False,
        ),
        "ti2v": dict(
            pipeline="WanPipeline", transformer=dict(in_channels=48, out_channels=None), vae=WAN22_VAE,
            scheduler=FlowMatchEulerDiscreteScheduler(shift=5.0), expand_timesteps=True,
        ),
        "i2v": dict(pipeline="WanImageToVideoPipeline", transformer=picture, clip=True),
        "flf2v": dict(
            pipeline="WanImageToVideoPipeline", transformer=picture | dict(pos_embed_seq_len=514), clip=True,
            scheduler=UniPCMultistepScheduler.from_config(FlowMatchEulerDiscreteScheduler(shift=5.0).config, **FLOW),
        ),
        "i2v_latents_alone": dict(
            pipeline="WanImageToVideoPipeline", transformer=dict(in_channels=36), image_encoder=[None, None],
            image_processor=[None, None],
        ),
    }  # fmt: skip
    for name, case in cases.items():
        held = save(out / name, **case)
        text = json.dumps(held, default=str, allow_nan=True).replace("-Infinity", "null")
        (out / name / "expected.json").write_text(text)


def make_refused(out):
    for pipeline in PIPELINES:
        save(out / pipeline, pipeline, transformer={})
        (out / pipeline / "says.txt").write_text(pipeline)
    for module, name in CLASSES.items():
        with torch.device("meta"):
            model = transformer_class(module)()
        save(out / name, "WanPipeline", transformer=model)
        (out / name / "says.txt").write_text(name)
        # Under Wan's own name: the first field that Wan's class lacks tells.
        plain = out / f"{name}_unnamed"
        shutil.copytree(out / name, plain)
        config = json.loads((plain / "transformer/config.json").read_text()) | {"_class_name": "WanTransformer3DModel"}
        (plain / "transformer/config.json").write_text(json.dumps(config))
        index = (plain / "model_index.json").read_text().replace(name, "WanTransformer3DModel")
        (plain / "model_index.json").write_text(index)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    shutil.rmtree(out, ignore_errors=True)
    make_made(out / "made")
    make_refused(out / "refused")
    known = set(fields_of(WanTransformer3DModel))
    foreign = {
        name: [field for field in fields_of(transformer_class(module)) if field not in known]
        for module, name in CLASSES.items()
    }
    (out / "foreign.json").write_text(json.dumps(foreign))


if __name__ == "__main__":
    main()
