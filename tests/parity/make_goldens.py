"""Makes random tiny checkpoints and the tensors that diffusers and transformers compute with them.

Usage: make_goldens.py --out DIR
Does nothing where DIR was made by these very scripts with these library versions (a stamp tells): the imports alone
cost ten seconds. DIR appears whole: a run that is cut off leaves no stamp.
"""

import argparse
import hashlib
import importlib.metadata
import os
import shutil
import sys
from pathlib import Path

LIBRARIES = ("torch", "diffusers", "transformers", "peft", "safetensors", "sentencepiece", "tokenizers", "numpy")


def stamp():
    """Equal stamps mean equal goldens: a hash over the scripts and the libraries' versions."""
    digest = hashlib.sha256()
    for script in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(script.name.encode() + b"\0" + script.read_bytes())
    for library in LIBRARIES:
        digest.update(f"{library}={importlib.metadata.version(library)}\n".encode())
    return digest.hexdigest()


def make(out):
    import diffusers
    import torch

    import goldens
    import loras
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
    goldens.samplers(out / "samplers")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
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


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
