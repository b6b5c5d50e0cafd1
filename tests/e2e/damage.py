"""models/shapes, damaged: copies of hard links with one file of its own, each for one reason that a message must name.

DAMAGES: name -> (damage(folder), the parts of the message). A damage to the JSON files is one that a program sees before
it starts anything; damages to weights and tokenizer are seen by the process that loads them.
"""
import json
import os
import pathlib
import shutil
import struct

TRANSFORMER = "transformer/diffusion_pytorch_model.safetensors"
TRANSFORMER_2 = "transformer_2/diffusion_pytorch_model.safetensors"
VAE = "vae/diffusion_pytorch_model.safetensors"
TEXT = "text_encoder/model.safetensors"


def copy(model, folder):
    """The files linked, so that a copy costs nothing; `own` gives a file back its own bytes."""
    def link(source, target):
        try:
            os.link(source, target)
        except OSError:
            shutil.copy2(source, target)
    shutil.copytree(model, folder, copy_function=link)


def own(path, data):
    path.unlink(missing_ok=True)
    path.write_bytes(data)


def removed(name):
    return lambda folder: (folder / name).unlink()


def written(name, data):
    return lambda folder: own(folder / name, data)


def cut(name, size):
    def damage(folder):
        data = (folder / name).read_bytes()
        own(folder / name, data[:size if size >= 0 else len(data) + size])
    return damage


def json_with(name, **fields):
    """Fields set; None takes one away."""
    def damage(folder):
        content = {**json.loads((folder / name).read_text()), **fields}
        own(folder / name, json.dumps({k: v for k, v in content.items() if v is not None}).encode())
    return damage


def header(name, change):
    """`change` edits the header's dictionary, or returns the text of another."""
    def damage(folder):
        data = (folder / name).read_bytes()
        (size,) = struct.unpack("<Q", data[:8])
        entries = json.loads(data[8:8 + size])
        text = change(entries)
        text = (json.dumps(entries) if text is None else text).encode()
        own(folder / name, struct.pack("<Q", len(text)) + text + data[8 + size:])
    return damage


def first_tensor(entries):
    return min(name for name in entries if name != "__metadata__")


def set_first(**fields):
    return lambda entries: entries[first_tensor(entries)].update(fields)


def twice(entries):
    name = first_tensor(entries)
    return json.dumps(entries)[:-1] + f', {json.dumps(name)}: {json.dumps(entries[name])}}}'


def renamed(entries):
    entries["blocks.0.attn9.weight"] = entries.pop("blocks.0.attn1.to_q.weight")


def moved(entries):
    """The second tensor's bytes begin inside the first one's."""
    names = sorted((n for n in entries if n != "__metadata__"), key=lambda n: entries[n]["data_offsets"][0])
    begin, end = entries[names[1]]["data_offsets"]
    entries[names[1]]["data_offsets"] = [begin - 4, end - 4]


def turned(entries):
    shape = entries["blocks.0.ffn.net.0.proj.weight"]["shape"]
    shape.reverse()


def index(shard):
    def damage(folder):
        weights = folder / TRANSFORMER
        size = struct.unpack("<Q", weights.read_bytes()[:8])[0]
        names = json.loads(weights.read_bytes()[8:8 + size])
        weights.unlink()
        table = {"metadata": {}, "weight_map": {name: shard for name in names if name != "__metadata__"}}
        own(folder / (TRANSFORMER + ".index.json"), json.dumps(table).encode())
    return damage

def not_a_number(name, tensor):
    """All bits of the tensor set: NaN in every floating type."""
    def damage(folder):
        data = bytearray((folder / name).read_bytes())
        (size,) = struct.unpack("<Q", data[:8])
        begin, end = json.loads(data[8:8 + size])[tensor]["data_offsets"]
        data[8 + size + begin:8 + size + end] = b"\xff" * (end - begin)
        own(folder / name, bytes(data))
    return damage


OF_JSON = {
    "no model_index": (removed("model_index.json"), ["model_index.json"]),
    "another pipeline": (json_with("model_index.json", _class_name="FluxPipeline"), ["model_index.json", "FluxPipeline"]),
    "layers below zero": (json_with("transformer/config.json", num_layers=-1), ["transformer/config.json", "num_layers"]),
    "experts of two sizes": (json_with("transformer_2/config.json", num_layers=1),
                             ["transformer_2/config.json", "the two experts differ"]),
    "unknown sampler": (json_with("scheduler/scheduler_config.json", _class_name="DDIMScheduler"),
                        ["scheduler_config.json", "DDIMScheduler"]),
    "nightreel.json with an unknown name": (json_with("nightreel.json", num_framse=5), ["nightreel.json", "num_framse"]),
}
OF_WEIGHTS = {
    "unknown norm": (json_with("transformer/config.json", qk_norm="group_norm"),
                     ["transformer/config.json", "qk_norm", "group_norm"]),
    "no weights": (removed(TRANSFORMER), ["transformer"]),
    "second expert cut off": (cut(TRANSFORMER_2, -1000), [TRANSFORMER_2]),
    "cut off": (cut(TRANSFORMER, -1000), [TRANSFORMER]),
    "header longer than the file": (written(VAE, struct.pack("<Q", 1 << 62) + b"{}"), [VAE]),
    "offsets beyond the end": (header(TRANSFORMER, set_first(data_offsets=[0, 1 << 60])),
                               [TRANSFORMER, "blocks.0.attn1.norm_k.weight"]),
    "overlapping tensors": (header(TRANSFORMER, moved), [TRANSFORMER]),
    "shape unlike the bytes": (header(TEXT, set_first(shape=[1 << 40, 1 << 40])), [TEXT]),
    "one name twice": (header(TRANSFORMER, twice), [TRANSFORMER]),
    "another tensor's name": (header(TRANSFORMER, renamed), ["blocks.0.attn1.to_q.weight"]),
    "turned shape": (header(TRANSFORMER, turned), ["blocks.0.ffn.net.0.proj.weight"]),
    "shard that is not there": (index("model-00001-of-00001.safetensors"), ["model-00001-of-00001.safetensors"]),
    "shard outside the folder": (index("../../shapes.safetensors"), ["../../shapes.safetensors"]),
    "config of a wider model": (json_with("text_encoder/config.json", d_ff=4096), ["encoder.block.0.layer.1"]),
    "no tokenizer": (lambda folder: shutil.rmtree(folder / "tokenizer"), ["tokenizer"]),
    "tokenizer cut off": (cut("tokenizer/spiece.model", 1000), ["spiece.model"]),
}
DAMAGES = {**OF_JSON, **OF_WEIGHTS}


def make(model, name, folder):
    folder = pathlib.Path(folder)
    copy(model, folder)
    DAMAGES[name][0](folder)
    return folder
