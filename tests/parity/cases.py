"""The shapes of the random checkpoints that the parity tests compare. No imports: the stamp reads this file.

Each case is a whole Diffusers folder. Together they vary layers, heads, head sizes (also those that three does not
divide evenly for the rotary embedding), patch sizes, VAE widths and depths, storage precision and sharding.
"""


def _case(storage, shard, text, transformer, vae, **more):
    return dict(storage=storage, shard=shard, text=text, transformer=transformer, vae=vae, **more)


def _text(d_model, d_kv, num_heads, num_layers, d_ff, **more):
    return dict(d_model=d_model, d_kv=d_kv, num_heads=num_heads, num_layers=num_layers, d_ff=d_ff, **more)


def _transformer(heads, head_dim, layers, patch, channels, ffn, freq=32, **more):
    return dict(
        num_attention_heads=heads, attention_head_dim=head_dim, num_layers=layers, patch_size=patch,
        in_channels=channels, out_channels=channels, ffn_dim=ffn, freq_dim=freq, **more,
    )  # fmt: skip


def _vae(base_dim, dim_mult, z_dim, num_res_blocks=1, temperal_downsample=(False, True, True)):
    return dict(
        base_dim=base_dim, dim_mult=dim_mult, z_dim=z_dim, num_res_blocks=num_res_blocks,
        temperal_downsample=list(temperal_downsample),
    )  # fmt: skip


def _vae_22(base_dim, decoder_base_dim, dim_mult, z_dim, **more):
    return dict(
        _vae(base_dim, dim_mult, z_dim, **more), decoder_base_dim=decoder_base_dim,
        is_residual=True, patch_size=2, in_channels=12, out_channels=12,
    )  # fmt: skip


def _clip(hidden, heads, layers, image, patch, mlp, act):
    return dict(
        hidden_size=hidden, num_attention_heads=heads, num_hidden_layers=layers, image_size=image, patch_size=patch,
        intermediate_size=mlp, hidden_act=act,
    )  # fmt: skip


def _pipeline(**more):
    return dict(dict(height=48, width=64, num_frames=9, steps=10, guidance_scale=5.0, seed=1234), **more)


# Of the models distilled to four steps; no guidance, and two steps for each expert.
_FOUR_STEPS = dict(sigmas=[1.0, 0.9375, 0.8333, 0.625], steps=4, guidance_scale=1.0)


def _loras(*files, **more):
    """A set that is merged together: a file of loras.py, its scale, its expert. `run`: what its whole run changes."""
    return dict(files=[(file, scale, expert) for file, scale, expert in files], **more)


CASES = {
    "plain": _case(
        "F32", None, _text(24, 8, 3, 2, 40), _transformer(2, 12, 2, (1, 2, 2), 4, 48), _vae(8, [1, 2, 2, 2], 4),
        flow_shift=3.0, pipeline=_pipeline(),
        runs={"run_dpm": {"sampler": "dpm++", "steps": 16}, "run_euler": {"sampler": "euler"}},
        loras={
            **{
                style: _loras((style, 1.0, "both"))
                for style in ("peft", "peft_rslora", "peft_named", "comfy_down", "kohya", "original", "differences")
            },
            "peft_alpha": _loras(("peft_alpha", 1.0, "both"), run={"steps": 6}),
            "comfy": _loras(("comfy", 1.0, "high"), run=_FOUR_STEPS),
            "two": _loras(("differences", 0.5, "both"), ("kohya", -0.4, "both"), ("peft_alpha", 0.7, "both"), run={}),
        },
    ),
    "experts": _case(
        "BF16", "40KB", _text(32, 16, 2, 3, 48), _transformer(3, 16, 3, (1, 2, 2), 8, 96), _vae(8, [1, 2, 4, 4], 8, 2),
        flow_shift=5.0, boundary_ratio=0.85,
        pipeline=_pipeline(guidance_scale=4.0, guidance_scale_2=3.0, seed=2**40 + 7, num_frames=5),
        runs={
            "run_dpm": {"sampler": "dpm++"},
            "run_euler": {"sampler": "euler"},
            "run_four": _FOUR_STEPS | {"guidance_scale_2": 1.0},
            "run_four_dpm": _FOUR_STEPS | {"guidance_scale_2": 1.0, "sampler": "dpm++"},
            "run_four_euler": _FOUR_STEPS | {"guidance_scale_2": 1.0, "sampler": "euler"},
            "run_half_guided": {"guidance_scale_2": 1.0},
        },
        loras={
            "high": _loras(("peft", 1.0, "high")),
            "low": _loras(("comfy", 1.3, "low")),
            "both": _loras(("kohya", 0.8, "both"), run={"steps": 6}),
            "apart": _loras(("comfy", 1.0, "high"), ("original", 0.6, "low"), ("differences", 0.5, "low"), run={}),
            "four": _loras(
                ("kohya", 1.0, "high"), ("peft_alpha", 1.0, "low"), run=_FOUR_STEPS | {"guidance_scale_2": 1.0}
            ),
        },
    ),
    "half": _case(
        "F16", None, _text(16, 24, 1, 1, 64), _transformer(1, 44, 1, (1, 2, 2), 16, 20, freq=256), _vae(8, [1, 2, 2, 2], 16),
        flow_shift=1.0, pipeline=_pipeline(height=32, width=32, num_frames=1, seed=0),
    ),
    "deep": _case(
        "F32", "60KB", _text(40, 10, 4, 5, 32, relative_attention_num_buckets=16, relative_attention_max_distance=40),
        _transformer(4, 24, 6, (1, 2, 2), 4, 64), _vae(8, [1, 2, 2, 4], 4, 3),
        flow_shift=8.0,
    ),
    "patches": _case(
        "BF16", None, _text(24, 12, 2, 2, 24), _transformer(2, 32, 2, (2, 4, 2), 6, 80, freq=64), _vae(10, [2, 1, 2, 3], 6),
        flow_shift=12.0,
    ),
    "pixels": _case(
        "F32", None, _text(48, 16, 3, 1, 96, layer_norm_epsilon=1e-5),
        _transformer(5, 8, 2, (1, 1, 1), 12, 64, cross_attn_norm=False, eps=1e-5),
        _vae(12, [1, 2, 2], 12, 2, temperal_downsample=(True, True)),
        flow_shift=3.0,
    ),
    "square": _case(
        "BF16", "30KB", _text(64, 16, 4, 2, 128), _transformer(2, 128, 1, (1, 2, 2), 16, 128, freq=256),
        _vae(16, [1, 2, 4, 4], 16, 2),
        flow_shift=5.0,
    ),
    "ti2v": _case(
        "F32", None, _text(24, 8, 3, 2, 40), _transformer(2, 24, 2, (1, 2, 2), 8, 48), _vae_22(16, 24, [1, 2, 4, 4], 8),
        flow_shift=5.0, expand_timesteps=True, pipeline=_pipeline(height=64, width=96, seed=11),
        runs={"run_image": {"image": 1, "seed": 12}, "run_image_dpm": {"image": 1, "sampler": "dpm++", "num_frames": 1}},
    ),
    "i2v": _case(
        "BF16", None, _text(24, 8, 3, 2, 40), dict(_transformer(2, 16, 2, (1, 2, 2), 4, 48), in_channels=12),
        _vae(8, [1, 2, 2, 2], 4), flow_shift=5.0, boundary_ratio=0.9,
        pipeline=_pipeline(image=3, height=32, width=48, guidance_scale=3.5, guidance_scale_2=2.5, seed=5),
        runs={
            "run_last": {"image": 4, "last_image": 5},
            "run_four": _FOUR_STEPS | {"guidance_scale_2": 1.0, "sampler": "euler", "num_frames": 1},
        },
    ),
    "clip": _case(
        "F32", None, _text(24, 8, 3, 2, 40),
        dict(_transformer(2, 16, 2, (1, 2, 2), 4, 48), in_channels=12, image_dim=24, added_kv_proj_dim=32),
        _vae(8, [1, 2, 2, 2], 4), flow_shift=3.0, clip=_clip(24, 2, 3, 28, 14, 40, "gelu"),
        pipeline=_pipeline(image=6, height=32, width=48, num_frames=5, seed=6),
        loras={
            "kohya": _loras(("kohya", 1.0, "both")),
            "comfy": _loras(("comfy", 0.9, "both"), run={"steps": 6}),
        },
    ),
    "first_last": _case(
        "F16", None, _text(16, 8, 2, 1, 24),
        dict(_transformer(1, 16, 2, (1, 2, 2), 4, 24), in_channels=12, image_dim=16, added_kv_proj_dim=16,
             pos_embed_seq_len=20),
        _vae(8, [1, 2, 2, 2], 4), flow_shift=16.0, as_published=True, clip=_clip(16, 1, 2, 30, 10, 24, "quick_gelu"),
        pipeline=_pipeline(image=7, last_image=8, height=32, width=32, num_frames=5, seed=7, steps=6),
    ),
    "residual": _case(
        "BF16", None, _text(16, 8, 2, 1, 24), _transformer(1, 16, 1, (1, 2, 2), 12, 24),
        _vae_22(12, 20, [1, 2, 2], 12, num_res_blocks=2, temperal_downsample=(True, True)),
        flow_shift=5.0,
    ),
}  # fmt: skip
