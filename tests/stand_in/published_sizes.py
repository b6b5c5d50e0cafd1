"""Folders of models of the published sizes: configurations as published, weights that sparse_checkpoint makes.

    python published_sizes.py SPARSE_CHECKPOINT SHAPES OUT

OUT gets a14b, i2v-a14b, ti2v-5b and wan21-1.3b, and picture.png; some hundred kilobytes on the disk.
"""
import json
import pathlib
import shutil
import subprocess
import sys

from PIL import Image

ENCODER = {"d_ff": 10240, "d_kv": 64, "d_model": 4096, "num_heads": 64, "num_layers": 24, "vocab_size": 256384,
           "dtype": "bfloat16"}
WAN = {"attention_head_dim": 128, "freq_dim": 256, "rope_max_seq_len": 1024, "text_dim": 4096}
A14B = {**WAN, "ffn_dim": 13824, "num_attention_heads": 40, "num_layers": 40}
VAE_21 = {"base_dim": 96, "num_res_blocks": 2}
VAE_22 = {"base_dim": 160, "decoder_base_dim": 256, "num_res_blocks": 2, "is_residual": True, "patch_size": 2,
          "in_channels": 12, "out_channels": 12, "z_dim": 48, "scale_factor_spatial": 16, "latents_mean": [0.0] * 48,
          "latents_std": [1.0] * 48}
# name: transformer, VAE, changes of model_index.json
MODELS = {
    "a14b": (A14B, VAE_21, {"boundary_ratio": 0.875}),
    "i2v-a14b": ({**A14B, "in_channels": 36}, VAE_21,
                 {"boundary_ratio": 0.9, "_class_name": "WanImageToVideoPipeline"}),
    "ti2v-5b": ({**WAN, "ffn_dim": 14336, "num_attention_heads": 24, "num_layers": 30, "in_channels": 48,
                 "out_channels": 48}, VAE_22,
                {"boundary_ratio": None, "expand_timesteps": True, "transformer_2": [None, None]}),
    "wan21-1.3b": ({**WAN, "ffn_dim": 8960, "num_attention_heads": 12, "num_layers": 30}, VAE_21,
                   {"boundary_ratio": None, "transformer_2": [None, None]}),
}


def change(path, changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}, indent=1))


def make(folder, shapes, transformer, vae, index):
    """The folder without weights."""
    shutil.copytree(shapes, folder, ignore=shutil.ignore_patterns("*.safetensors*", "nightreel.json", "README.md"))
    change(folder / "model_index.json", index)
    for expert in ("transformer", "transformer_2"):
        change(folder / expert / "config.json", transformer)
    if index.get("transformer_2"):
        shutil.rmtree(folder / "transformer_2")
    change(folder / "vae/config.json", vae)
    change(folder / "text_encoder/config.json", ENCODER)


def main():
    program, shapes, out = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    out.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (832, 480), (200, 30, 30)).save(out / "picture.png")
    for name, parts in MODELS.items():
        shutil.rmtree(out / name, ignore_errors=True)
        make(out / name, shapes, *parts)
        subprocess.run([program, out / name], check=True)


if __name__ == "__main__":
    main()
