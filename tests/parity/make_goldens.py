"""Makes random tiny checkpoints and the tensors that diffusers and transformers compute with them; beside them pictures
(tests/media/make_images.py) and, in ORIGINALS, the same checkpoints as Wan publishes them (tests/model/make_originals.py).

Usage: make_goldens.py --out DIR --originals ORIGINALS
All in one process, since the imports alone cost ten seconds, and nothing where DIR was made by these very scripts with
these library versions (a stamp tells). DIR appears whole: a run that is cut off leaves no stamp.
"""

import argparse
import hashlib
import importlib.metadata
import os
import shutil
import sys
from pathlib import Path

LIBRARIES = ("torch", "diffusers", "transformers", "peft", "safetensors", "sentencepiece", "tokenizers", "numpy", "pillow")
HERE = Path(__file__).resolve().parent
IMAGES = HERE.parent / "media/make_images.py"


def stamp():
    """Equal stamps mean equal goldens: a hash over the scripts and the libraries' versions."""
    digest = hashlib.sha256()
    for script in [*sorted(HERE.glob("*.py")), IMAGES]:
        digest.update(script.name.encode() + b"\0" + script.read_bytes())
    for library in LIBRARIES:
        digest.update(f"{library}={importlib.metadata.version(library)}\n".encode())
    return digest.hexdigest()


def make(out):
    import diffusers
    import torch

    import goldens
    import loras
    import make_images
    import vace
    from cases import CASES
    from checkpoints import modules, save, scheduler

    torch.set_num_threads(1)  # tiny shapes: threads that wait for each other cost ten times the work
    diffusers.utils.logging.set_verbosity_error()  # about .to(), which checkpoints.py uses knowingly
    for number, (name, case) in enumerate(CASES.items()):
        generator = torch.Generator().manual_seed(number)
        parts, folder = modules(case, generator), out / name
        pipelines = save(case, parts, folder / "model")
        with torch.no_grad():
            goldens.text_encoder(parts["text_encoder"], folder, generator)
            goldens.vae(parts["vae"], folder, generator)
            if "clip" in case:
                goldens.image_encoder(parts["image_encoder"], folder, generator)
                goldens.picture(1, 9000, 2).save(folder / "line.png")
            for part in [part for part in parts if part.startswith("transformer")]:
                goldens.transformer(parts[part], folder, part, generator)
            runs = {"pipeline": {}} | case.get("runs", {}) if "pipeline" in case else {}
            for run, more in runs.items():
                settings = case["pipeline"] | more
                pipe = pipelines[1 if "image" in settings else 0]
                pipe.scheduler = scheduler(case["flow_shift"], more.get("sampler", "unipc"), more.get("sigmas"))
                goldens.pipeline(pipe, settings, folder, run)
            if "loras" in case:
                pipe = pipelines[1 if "image" in case["pipeline"] else 0]
                loras.record(case, pipe, folder, generator)
    with torch.no_grad():
        vace.make(out)
    goldens.samplers(out / "samplers")
    make_images.make(out / "images")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--originals", type=Path, required=True)
    arguments = parser.parse_args()
    make_whole(arguments.out)
    make_originals.make_all(arguments.out, arguments.originals)


def make_whole(out):
    now = stamp()
    if (out / "STAMP").is_file() and (out / "STAMP").read_text() == now:
        print(f"{out} is up to date")
        return
    os.environ["HF_HUB_OFFLINE"] = "1"
    work = out.with_name(out.name + ".new")
    for old in (out, work):
        shutil.rmtree(old, ignore_errors=True)
    make(work)
    (work / "STAMP").write_text(now)
    work.rename(out)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(f"{out}: {size / 1e6:.1f} MB")


sys.path[:0] = [str(HERE), str(IMAGES.parent), str(HERE.parent / "model")]
import make_originals  # noqa: E402  (found by the line above)

if __name__ == "__main__":
    main()
