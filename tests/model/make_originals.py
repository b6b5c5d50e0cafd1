"""Makes an original Wan folder of each of the goldens' Diffusers folders: the same numbers under Wan's names.

Part of tests/parity/make_goldens.py. The names are the inverse of diffusers' own converters (loaders/single_file_utils.py), which is checked by running those
on the result wherever they know the shape; the text and image encoder follow wan/modules/{t5,clip}.py. The VAE, the text
encoder and the image encoder are written by torch.save, the transformers as safetensors, as Wan publishes them.
Does nothing where a stamp says that OUT was made of these goldens; torch is imported only where it is needed.
"""

import json
import re
import shutil
from pathlib import Path

EXPERTS = ("high_noise_model", "low_noise_model")
ATTENTION = {"to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "o", "norm_q": "norm_q", "norm_k": "norm_k",
             "add_k_proj": "k_img", "add_v_proj": "v_img", "norm_added_k": "norm_k_img"}  # fmt: skip
EMBEDDER = {"time_embedder.linear_1": "time_embedding.0", "time_embedder.linear_2": "time_embedding.2",
            "text_embedder.linear_1": "text_embedding.0", "text_embedder.linear_2": "text_embedding.2",
            "time_proj": "time_projection.1", "image_embedder.norm1": "img_emb.proj.0",
            "image_embedder.ff.net.0.proj": "img_emb.proj.1", "image_embedder.ff.net.2": "img_emb.proj.3",
            "image_embedder.norm2": "img_emb.proj.4"}  # fmt: skip
RESIDUAL = {"norm1": "residual.0", "conv1": "residual.2", "norm2": "residual.3", "conv2": "residual.6",
            "conv_shortcut": "shortcut"}  # fmt: skip


def weights(folder):
    from safetensors.torch import load_file

    tensors = {}
    for file in sorted(folder.glob("*.safetensors")):
        tensors |= load_file(file)
    return tensors


def transformer_name(name):
    if name == "scale_shift_table":
        return "head.modulation"
    if name.startswith("proj_out."):
        return name.replace("proj_out", "head.head")
    if name == "condition_embedder.image_embedder.pos_embed":
        return "img_emb.emb_pos"
    if found := re.fullmatch(r"condition_embedder\.(.+)\.(weight|bias)", name):
        return f"{EMBEDDER[found[1]]}.{found[2]}"
    if found := re.fullmatch(r"blocks\.(\d+)\.attn([12])\.(.+)\.(weight|bias)", name):
        return f"blocks.{found[1]}.{'self' if found[2] == '1' else 'cross'}_attn.{ATTENTION[found[3]]}.{found[4]}"
    name = name.replace("scale_shift_table", "modulation").replace(".norm2.", ".norm3.")
    return name.replace("ffn.net.0.proj", "ffn.0").replace("ffn.net.2", "ffn.2")


def text_name(name):
    if name in ("shared.weight", "encoder.embed_tokens.weight"):
        return "token_embedding.weight"
    if name == "encoder.final_layer_norm.weight":
        return "norm.weight"
    block, layer, rest = re.fullmatch(r"encoder\.block\.(\d+)\.layer\.([01])\.(.+)\.weight", name).groups()
    if rest == "layer_norm":
        return f"blocks.{block}.norm{int(layer) + 1}.weight"
    rest = rest.replace("SelfAttention.relative_attention_bias", "pos_embedding.embedding")
    rest = rest.replace("SelfAttention", "attn").replace("DenseReluDense.wi_0", "ffn.gate.0")
    return f"blocks.{block}.{rest.replace('DenseReluDense.wi_1', 'ffn.fc1').replace('DenseReluDense.wo', 'ffn.fc2')}.weight"


def image_state(tensors):
    import torch

    tensors = {name.removeprefix("vision_model."): value for name, value in tensors.items()}
    state = {"log_scale": torch.tensor(4.6), "textual.token_embedding.weight": torch.zeros(3, 2),
             "visual.head": torch.zeros(2, 2),
             "visual.cls_embedding": tensors["embeddings.class_embedding"][None, None],
             "visual.pos_embedding": tensors["embeddings.position_embedding.weight"][None],
             "visual.patch_embedding.weight": tensors["embeddings.patch_embedding.weight"]}  # fmt: skip
    for end in ("weight", "bias"):
        state[f"visual.pre_norm.{end}"] = tensors[f"pre_layrnorm.{end}"]
        state[f"visual.post_norm.{end}"] = tensors[f"post_layernorm.{end}"]
        for i in range(1 + max(int(name.split(".")[2]) for name in tensors if name.startswith("encoder.layers."))):
            theirs, ours = f"encoder.layers.{i}", f"visual.transformer.{i}"
            parts = [tensors[f"{theirs}.self_attn.{p}_proj.{end}"] for p in "qkv"]
            state[f"{ours}.attn.to_qkv.{end}"] = torch.cat(parts)
            for a, b in dict(layer_norm1="norm1", layer_norm2="norm2").items():
                state[f"{ours}.{b}.{end}"] = tensors[f"{theirs}.{a}.{end}"]
            for a, b in {"self_attn.out_proj": "attn.proj", "mlp.fc1": "mlp.0", "mlp.fc2": "mlp.2"}.items():
                state[f"{ours}.{b}.{end}"] = tensors[f"{theirs}.{a}.{end}"]
    return state


def vae_name(name, blocks, residual):
    part, end = name.rsplit(".", 1)
    whole = {"quant_conv": "conv1", "post_quant_conv": "conv2"}
    if part in whole:
        return f"{whole[part]}.{end}"
    half, rest = part.split(".", 1)
    whole = {"conv_in": "conv1", "norm_out": "head.0", "conv_out": "head.2"}
    if rest in whole:
        return f"{half}.{whole[rest]}.{end}"
    if found := re.fullmatch(r"mid_block\.attentions\.0\.(.+)", rest):
        return f"{half}.middle.1.{found[1]}.{end}"
    if found := re.fullmatch(r"mid_block\.resnets\.([01])\.(.+)", rest):
        return f"{half}.middle.{2 * int(found[1])}.{RESIDUAL[found[2]]}.{end}"
    if found := re.fullmatch(r"(?:down|up)_blocks\.(\d+)\.resnets\.(\d+)\.(.+)", rest):
        stage, block, inner = int(found[1]), int(found[2]), RESIDUAL[found[3]]
        if residual:
            list_name = "downsamples" if half == "encoder" else "upsamples"
            return f"{half}.{list_name}.{stage}.{list_name}.{block}.{inner}.{end}"
        return f"{half}.upsamples.{stage * (blocks + 2) + block}.{inner}.{end}"
    if found := re.fullmatch(r"down_blocks\.(\d+)\.downsampler\.(.+)", rest):
        return f"{half}.downsamples.{found[1]}.downsamples.{blocks}.{found[2]}.{end}"
    if found := re.fullmatch(r"up_blocks\.(\d+)\.upsampler\.(.+)", rest):
        return f"{half}.upsamples.{found[1]}.upsamples.{blocks + 1}.{found[2]}.{end}"
    if found := re.fullmatch(r"up_blocks\.(\d+)\.upsamplers\.0\.(.+)", rest):
        return f"{half}.upsamples.{int(found[1]) * (blocks + 2) + blocks + 1}.{found[2]}.{end}"
    number, inner = re.fullmatch(r"down_blocks\.(\d+)\.(.+)", rest).groups()  # the Wan 2.1 encoder's flat list
    return f"{half}.downsamples.{number}.{RESIDUAL.get(inner, inner)}.{end}"


def renamed(tensors, rename):
    state = {rename(name): value for name, value in tensors.items()}
    assert len(state) == len(tensors)
    return state


def wan_config(config, kind):
    heads = config["num_attention_heads"]
    wan = dict(_class_name="WanModel", _diffusers_version="0.33.0", dim=heads * config["attention_head_dim"],
               eps=config["eps"], ffn_dim=config["ffn_dim"], freq_dim=config["freq_dim"], in_dim=config["in_channels"],
               model_type=kind, num_heads=heads, num_layers=config["num_layers"], out_dim=config["out_channels"],
               text_len=512, text_dim=config["text_dim"])  # fmt: skip
    if list(config["patch_size"]) != [1, 2, 2]:
        wan["patch_size"] = config["patch_size"]
    if not config["cross_attn_norm"]:
        wan["cross_attn_norm"] = False
    return wan


def check_with_diffusers(kind, state, expected):
    """diffusers' own converter makes of `state` what we began with."""
    import torch
    from diffusers.loaders import single_file_utils

    convert = getattr(single_file_utils, f"convert_wan_{kind}_to_diffusers")
    back = convert(dict(state))
    assert back.keys() == expected.keys(), (kind, sorted(back.keys() ^ expected.keys())[:8])
    assert all(torch.equal(back[name], expected[name]) for name in expected)


def make(model, out):
    import torch
    from safetensors.torch import save_file

    read = lambda name: json.loads((model / name).read_text())  # noqa: E731
    index, first = read("model_index.json"), read("transformer/config.json")
    picture = first["in_channels"] != first["out_channels"]
    kind = "ti2v" if index.get("expand_timesteps") else "t2v"
    if picture:
        kind = "flf2v" if first.get("pos_embed_seq_len") else "i2v"
    experts = [name for name in ("transformer", "transformer_2") if (model / name).is_dir()]
    for number, name in enumerate(experts):
        folder = out / EXPERTS[number] if len(experts) == 2 else out
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(wan_config(read(f"{name}/config.json"), kind)))
        tensors = {n: t for n, t in weights(model / name).items() if "norm_added_q" not in n}
        state = renamed(tensors, transformer_name)
        check_with_diffusers("transformer", state, {n: t for n, t in tensors.items()} if kind != "flf2v" else
                             renamed(tensors, lambda n: n.replace("condition_embedder.image_embedder.pos_embed", "img_emb.emb_pos")))  # fmt: skip
        save_file(state, folder / "diffusion_pytorch_model.safetensors")
    vae = read("vae/config.json")
    blocks, residual = vae["num_res_blocks"], bool(vae.get("is_residual"))
    tensors = weights(model / "vae")
    state = renamed(tensors, lambda name: vae_name(name, blocks, residual))
    if not residual and blocks == 2 and len(vae["dim_mult"]) == 4 and vae["dim_mult"] == [1, 2, 4, 4]:
        check_with_diffusers("vae", state, tensors)
    torch.save(state, out / f"Wan2.{2 if kind == 'ti2v' else 1}_VAE.pth")
    torch.save({text_name(n): t for n, t in weights(model / "text_encoder").items()},
               out / "models_t5_umt5-xxl-enc-bf16.pth")  # fmt: skip
    parts = ["vae", "text_encoder"]
    if first.get("image_dim"):
        torch.save(image_state(weights(model / "image_encoder")),
                   out / "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth")  # fmt: skip
        parts += ["image_encoder", "image_processor"]
    for part in parts:  # tiny: not the dimensions that Wan's code knows
        (out / part).mkdir()
        for file in (model / part).glob("*config.json"):
            shutil.copy(file, out / part)
    shutil.copytree(model / "tokenizer", out / "google" / "umt5-xxl")


def make_all(goldens, out):
    stamp = (goldens / "STAMP").read_text() + Path(__file__).read_text()
    if (out / "STAMP").exists() and (out / "STAMP").read_text() == stamp:
        return
    shutil.rmtree(out, ignore_errors=True)
    for model in sorted(goldens.glob("*/model")):
        make(model, out / model.parent.name)
    (out / "STAMP").write_text(stamp)
