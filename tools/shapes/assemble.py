"""Puts the trained parts together as the Diffusers folder models/shapes.

VAE and transformer are stored in float16, the text encoder in float32 (transformers would otherwise
run it in half precision by default). README.md of the folder is written by hand and left alone.
Usage: assemble.py --work DIR --out models/shapes
"""

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanPipeline, WanTransformer3DModel
from transformers import T5TokenizerFast, UMT5EncoderModel

import captions
import world

RECIPE = {
    "height": world.SIZE,
    "width": world.SIZE,
    "num_frames": world.FRAMES,
    "fps": 8,
    "num_inference_steps": 20,
    "guidance_scale": 3.0,
    "negative_prompt": captions.NEGATIVE,
}
FLOW_SHIFT = 3.0


def pipeline_of(work, vae_name):
    """The trained parts as a pipeline, in the precision in which they are stored."""
    vae = AutoencoderKLWan.from_pretrained(work / vae_name).half()
    statistics = np.load(work / "latents.npz")
    vae.register_to_config(
        latents_mean=[round(float(v), 6) for v in statistics["mean"]],
        latents_std=[round(float(v), 6) for v in statistics["std"]],
    )
    return WanPipeline(
        tokenizer=T5TokenizerFast.from_pretrained(work / "tokenizer"),
        text_encoder=UMT5EncoderModel.from_pretrained(work / "text_encoder"),
        transformer=WanTransformer3DModel.from_pretrained(work / "transformer").half(),
        vae=vae,
        scheduler=UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=FLOW_SHIFT
        ),
    )


def forget_origin(folder):
    """Removes the path that a part was loaded from, which diffusers notes in its config."""
    for path in folder.glob("*/config.json"):
        config = json.loads(path.read_text(encoding="utf-8"))
        config.pop("_name_or_path", None)
        path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--vae", default="vae-decoder", help="folder of the VAE within WORK")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    pipeline_of(args.work, args.vae).save_pretrained(args.out)
    forget_origin(args.out)
    shutil.copy(args.work / "tokenizer" / "spiece.model", args.out / "tokenizer")
    (args.out / "nightreel.json").write_text(json.dumps(RECIPE, indent=2) + "\n", encoding="utf-8")
    size = sum(path.stat().st_size for path in args.out.rglob("*") if path.is_file())
    print(f"{args.out}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
