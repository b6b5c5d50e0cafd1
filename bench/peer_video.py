"""What a user of diffusers starts: a process that loads a model and makes one video. Prints a line once it has frames.

Usage: peer_video.py MODEL THREADS SETTINGS [REFERENCE]   (SETTINGS: WanPipeline's arguments and seed, as JSON)
"""

import json
import sys

import torch
from diffusers import WanPipeline

model, threads, settings = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
torch.set_num_threads(threads)
pipe = WanPipeline.from_pretrained(model)
pipe.set_progress_bar_config(disable=True)
generator = torch.Generator().manual_seed(settings.pop("seed"))
frames = pipe(generator=generator, output_type="np", **settings).frames[0]
print("frames", flush=True)
if len(sys.argv) > 4:
    from safetensors.torch import save_file

    tensor = torch.from_numpy(frames).contiguous()
    save_file({"start.frames": tensor, "start-video.frames": tensor.clone()}, sys.argv[4])
