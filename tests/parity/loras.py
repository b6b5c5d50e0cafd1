"""LoRA files of every key style, and what diffusers and peft make of the weights.

`CASE/loras/*.safetensors` are the files; `CASE/lora_SET.json` lists those that are merged together, as a job does, and
`CASE/lora_SET.safetensors` holds every tensor that differs then, as `transformer.NAME` or `transformer_2.NAME`. Where
diffusers drops what a file says (differences of norms, of modulation tables, of the patch embedding) the reference is
added by hand, in float32.
"""

import contextlib
import copy
import json

import torch
from safetensors.torch import save_file

import goldens
from checkpoints import scheduler

_ATTENTION = [("to_q", "q"), ("to_k", "k"), ("to_v", "v"), ("to_out.0", "o")]
_IMAGE = [("add_k_proj", "k_img"), ("add_v_proj", "v_img")]
_OUTSIDE = {
    "condition_embedder.time_embedder.linear_1": "time_embedding.0",
    "condition_embedder.time_embedder.linear_2": "time_embedding.2",
    "condition_embedder.text_embedder.linear_1": "text_embedding.0",
    "condition_embedder.text_embedder.linear_2": "text_embedding.2",
    "condition_embedder.time_proj": "time_projection.1",
    "proj_out": "head.head",
}
_OUTSIDE_IMAGE = {
    "condition_embedder.image_embedder.ff.net.0.proj": "img_emb.proj.1",
    "condition_embedder.image_embedder.ff.net.2": "img_emb.proj.3",
}


def _in_blocks(transformer):
    """Diffusers' name -> the original's, of the linear layers in all blocks."""
    names = {}
    for i in range(transformer.config.num_layers):
        for ours, theirs in _ATTENTION:
            names[f"blocks.{i}.attn1.{ours}"] = f"blocks.{i}.self_attn.{theirs}"
            names[f"blocks.{i}.attn2.{ours}"] = f"blocks.{i}.cross_attn.{theirs}"
        for ours, theirs in _IMAGE if transformer.config.image_dim else []:
            names[f"blocks.{i}.attn2.{ours}"] = f"blocks.{i}.cross_attn.{theirs}"
        names[f"blocks.{i}.ffn.net.0.proj"] = f"blocks.{i}.ffn.0"
        names[f"blocks.{i}.ffn.net.2"] = f"blocks.{i}.ffn.2"
    return names


def _everywhere(transformer):
    return _in_blocks(transformer) | _OUTSIDE | (_OUTSIDE_IMAGE if transformer.config.image_dim else {})


class Maker:
    """Draws LoRAs for one transformer; `rank` of the n-th module varies where it is a list."""

    def __init__(self, transformer, generator):
        self.transformer, self.generator = transformer, generator

    def noise(self, *shape, scale):
        return scale * torch.randn(shape, generator=self.generator)

    def halves(self, module, rank):
        weight = self.transformer.get_submodule(module).weight
        down = self.noise(rank, *weight.shape[1:], scale=weight[0].numel() ** -0.5)
        ones = [1] * (weight.dim() - 2)  # the kernel of a convolution's second half
        return down, self.noise(weight.shape[0], rank, *ones, scale=0.4 * rank**-0.5)

    def bias(self, module):
        return self.noise(self.transformer.get_submodule(module).weight.shape[0], scale=0.1)

    def peft(self, names, ranks, infix="", bias=False):
        """transformer.NAME.lora_A.weight"""
        tensors = {}
        for n, name in enumerate(names):
            down, up = self.halves(name, ranks[n % len(ranks)])
            tensors[f"transformer.{name}.lora_A.{infix}weight"] = down
            tensors[f"transformer.{name}.lora_B.{infix}weight"] = up
            if bias:
                tensors[f"transformer.{name}.lora_B.{infix}bias"] = self.bias(name)
        return tensors

    def comfy(self, prefix, halves, alpha, biases=True):
        """PREFIX + the original's name; alpha in the blocks only, which is where diffusers looks for it."""
        tensors, in_blocks = {}, _in_blocks(self.transformer)
        for n, (name, original) in enumerate(_everywhere(self.transformer).items()):
            down, up = self.halves(name, 1 + n % 3)
            tensors |= {f"{prefix}{original}.{halves[0]}.weight": down, f"{prefix}{original}.{halves[1]}.weight": up}
            if alpha and name in in_blocks:
                tensors[f"{prefix}{original}.alpha"] = torch.tensor(0.5 + n % 4)
            if biases and (n % 2 == 0 or name not in in_blocks):
                tensors[f"{prefix}{original}.diff_b"] = self.bias(name)
        return tensors

    def kohya(self):
        """lora_unet_blocks_0_self_attn_q.lora_down.weight, alpha for each."""
        tensors = {}
        for n, (name, original) in enumerate(_in_blocks(self.transformer).items()):
            down, up = self.halves(name, 2 + n % 3)
            flat = "lora_unet_" + original.replace(".", "_")
            tensors |= {f"{flat}.lora_down.weight": down, f"{flat}.lora_up.weight": up}
            tensors[f"{flat}.alpha"] = torch.tensor(1.0 + n % 3)
        return tensors

    def differences(self):
        """Key -> the name of the tensor that it is added to, and the tensor."""
        to = {
            "patch_embedding.diff": "patch_embedding.weight",
            "patch_embedding.diff_b": "patch_embedding.bias",
            "head.head.diff": "proj_out.weight",
            "head.head.diff_b": "proj_out.bias",
            "head.diff_m": "scale_shift_table",
            "time_projection.1.diff_b": "condition_embedder.time_proj.bias",
        }
        for i in range(self.transformer.config.num_layers):
            to |= {
                f"blocks.{i}.diff_m": f"blocks.{i}.scale_shift_table",
                f"blocks.{i}.norm3.diff": f"blocks.{i}.norm2.weight",
                f"blocks.{i}.norm3.diff_b": f"blocks.{i}.norm2.bias",
                f"blocks.{i}.self_attn.norm_q.diff": f"blocks.{i}.attn1.norm_q.weight",
                f"blocks.{i}.cross_attn.norm_k.diff": f"blocks.{i}.attn2.norm_k.weight",
                f"blocks.{i}.cross_attn.v.diff": f"blocks.{i}.attn2.to_v.weight",
            }
        shapes = {name: tuple(tensor.shape) for name, tensor in self.transformer.state_dict().items()}
        return {f"diffusion_model.{key}": (name, self.noise(*shapes[name], scale=0.05)) for key, name in to.items()}


def _save(path, tensors, dtype=torch.float32, metadata=None):
    tensors = {key: value.to(dtype).contiguous() for key, value in tensors.items()}
    save_file(tensors, path, metadata={"format": "pt"} | (metadata or {}))


def _peft_metadata(**config):
    """As diffusers' save_lora_weights writes a LoraConfig."""
    packed = {f"transformer.{key}": value for key, value in config.items()}
    return {"lora_adapter_metadata": json.dumps(packed, indent=2, sort_keys=True)}


def files(transformer, folder, generator):
    """Writes a file of each style; returns, for those that diffusers does not read whole, what it shall read instead."""
    make, stand_ins = Maker(transformer, generator), {}
    in_blocks = list(_in_blocks(transformer))
    folder.mkdir()
    _save(folder / "peft.safetensors", make.peft([*_everywhere(transformer), "patch_embedding"], [2, 4, 3]))
    config = dict(
        r=4, lora_alpha=6, rank_pattern={"ffn.net.2": 2}, alpha_pattern={"ffn.net.2": 5, "^blocks.0.attn1.to_v": 1.5},
        target_modules=in_blocks, lora_bias=True,
    )  # fmt: skip
    tensors = {}
    for name in in_blocks:
        tensors |= make.peft([name], [2 if name.endswith("ffn.net.2") else 4], bias=True)
    _save(folder / "peft_alpha.safetensors", tensors, metadata=_peft_metadata(**config))
    config = dict(r=4, lora_alpha=3, target_modules=in_blocks[:5], use_rslora=True)
    _save(folder / "peft_rslora.safetensors", make.peft(in_blocks[:5], [4]), metadata=_peft_metadata(**config))

    named = make.peft(in_blocks[::2], [3], infix="default.")
    _save(folder / "peft_named.safetensors", named)
    stand_ins["peft_named"] = {key.replace(".default.", "."): value for key, value in named.items()}

    _save(folder / "comfy.safetensors", make.comfy("diffusion_model.", ("lora_A", "lora_B"), alpha=True))
    _save(folder / "comfy_down.safetensors", make.comfy("diffusion_model.", ("lora_down", "lora_up"), alpha=False))
    _save(folder / "kohya.safetensors", make.kohya())

    original = make.comfy("", ("lora_down", "lora_up"), alpha=True)
    original = {key: value.to(torch.bfloat16).float() for key, value in original.items()}
    _save(folder / "original.safetensors", original, torch.bfloat16)
    stand_ins["original"] = {f"diffusion_model.{key}": value for key, value in original.items()}

    differences = make.differences()
    _save(folder / "differences.safetensors", {key: tensor for key, (_, tensor) in differences.items()})
    return stand_ins, {"differences": differences}


def _stem(lora):
    return lora["path"].split("/")[-1].removesuffix(".safetensors")


@contextlib.contextmanager
def merged(pipe, loras, folder, stand_ins, by_hand):
    """The pipeline with these LoRAs fused into copies of its transformers, which are yielded by name."""
    kept = {name: getattr(pipe, name) for name in ("transformer", "transformer_2") if getattr(pipe, name, None)}
    copies = {name: copy.deepcopy(module) for name, module in kept.items()}
    pipe.register_modules(**copies)
    for name, module in copies.items():
        experts = ("both", "high" if name == "transformer" else "low")
        mine = [(_stem(lora), lora) for lora in loras if lora["expert"] in experts]
        for stem, lora in mine:
            for target, tensor in by_hand.get(stem, {}).values():
                module.get_parameter(target).data += lora["scale"] * tensor
        scales = {}
        for stem, lora in mine:
            if stem in by_hand:
                continue
            source, adapter = stand_ins.get(stem, str(folder / lora["path"])), f"adapter_{len(scales)}"
            pipe.load_lora_weights(source, adapter_name=adapter, load_into_transformer_2=name == "transformer_2")
            scales[adapter] = lora["scale"]
        if scales:
            module.set_adapters(list(scales), list(scales.values()))
            module.fuse_lora(adapter_names=list(scales))
            module.unload_lora()
    yield copies
    pipe.register_modules(**kept)


def record(case, pipe, folder, generator):
    """Each set of the case (`loras` in cases.py) with its merged weights, and the run that it may ask for."""
    stand_ins, by_hand = files(pipe.transformer, folder / "loras", generator)
    experts = [name for name in ("transformer", "transformer_2") if getattr(pipe, name)]
    before = {name: getattr(pipe, name).state_dict() for name in experts}
    for name, wanted in case["loras"].items():
        loras = [
            dict(path=f"loras/{file}.safetensors", scale=scale, expert=expert) for file, scale, expert in wanted["files"]
        ]
        with merged(pipe, loras, folder, stand_ins, by_hand) as transformers:
            changed = {
                f"{part}.{key}": tensor
                for part, module in transformers.items()
                for key, tensor in module.state_dict().items()
                if not torch.equal(tensor, before[part][key])
            }
            assert changed, name
            goldens.write(folder / f"lora_{name}.safetensors", changed, loras=loras)
            if "run" in wanted:
                run = wanted["run"]
                pipe.scheduler = scheduler(case["flow_shift"], run.get("sampler", "unipc"), run.get("sigmas"))
                goldens.pipeline(pipe, case["pipeline"] | run | {"loras": loras}, folder, f"run_lora_{name}")
