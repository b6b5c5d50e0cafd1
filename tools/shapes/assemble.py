"""Puts the trained parts together as the Diffusers folders models/shapes and models/shapes-i2v.

All weights are stored in float16. The folders' README.md are written by hand and left alone.
Usage: assemble.py --work DIR --out models
"""

import argparse
import json
import shutil
from pathlib import Path

from diffusers import (
    AutoencoderKLWan,
    UniPCMultistepScheduler,
    WanImageToVideoPipeline,
    WanPipeline,
    WanTransformer3DModel,
)
from transformers import T5TokenizerFast, UMT5EncoderModel

import captions
import train_flow
import world

RECIPE = {
    "height": world.SIZE,
    "width": world.SIZE,
    "num_frames": world.FRAMES,
    "fps": 8,
    "num_inference_steps": 20,
    "guidance_scale": 3.0,
    "guidance_scale_2": 3.0,
    "negative_prompt": captions.NEGATIVE,
}
TASKS = {"t2v": ("shapes", WanPipeline, {}),
         "i2v": ("shapes-i2v", WanImageToVideoPipeline, {"image_processor": None, "image_encoder": None})}  # fmt: skip


def stored_vae(folder, work):
    """The VAE in float16, with the statistics of the latents that the transformers were trained on."""
    vae = AutoencoderKLWan.from_pretrained(folder).half()
    mean, std = (values.flatten().tolist() for values in train_flow.statistics(work))
    vae.register_to_config(latents_mean=[round(v, 6) for v in mean], latents_std=[round(v, 6) for v in std])
    return vae


def pipeline_of(task, work, vae):
    """The trained parts as a pipeline, in the precision in which they are stored."""
    _, kind, absent = TASKS[task]
    high, low = (WanTransformer3DModel.from_pretrained(work / f"{task}-{e}").half() for e in ("high", "low"))
    return kind(
        tokenizer=T5TokenizerFast.from_pretrained(work / "tokenizer"),
        text_encoder=UMT5EncoderModel.from_pretrained(work / "text_encoder").half(),
        transformer=high,
        transformer_2=low,
        boundary_ratio=train_flow.BOUNDARY,
        vae=vae,
        scheduler=UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=train_flow.FLOW_SHIFT
        ),
        **absent,
    )


def forget_origin(folder):
    """Removes the path that a part was loaded from, which diffusers notes in its config."""
    for path in folder.glob("*/config.json"):
        config = json.loads(path.read_text(encoding="utf-8"))
        config.pop("_name_or_path", None)
        path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def write(task, work, vae, out):
    """One folder; says its size."""
    folder = out / TASKS[task][0]
    pipeline_of(task, work, vae).save_pretrained(folder)
    forget_origin(folder)
    shutil.copy(work / "tokenizer" / "spiece.model", folder / "tokenizer")
    (folder / "nightreel.json").write_text(json.dumps(RECIPE, indent=2) + "\n", encoding="utf-8")
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    print(f"{folder}: {size / 1e6:.2f} MB")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--vae", default="vae-decoder", help="folder of the VAE within WORK")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("tasks", nargs="*", default=list(TASKS))
    args = parser.parse_args()
    vae = stored_vae(args.work / args.vae, args.work)
    for task in args.tasks:
        write(task, args.work, vae, args.out)


if __name__ == "__main__":
    main()
