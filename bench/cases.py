"""The random checkpoints and the videos that compare.py measures with. No imports."""

_VIDEO = dict(seed=7, guidance_scale=5.0, num_inference_steps=4)

CASES = {
    # A size like that of models/shapes: start-up, dispatch and threads cost more than arithmetic.
    "tiny": dict(
        storage="F32", shard=None, flow_shift=3.0,
        text=dict(d_model=96, d_kv=24, num_heads=4, num_layers=2, d_ff=256),
        transformer=dict(num_attention_heads=4, attention_head_dim=24, num_layers=4, patch_size=(1, 2, 2),
                         in_channels=16, out_channels=16, ffn_dim=384, freq_dim=64),
        vae=dict(base_dim=16, dim_mult=[1, 2, 4, 4], z_dim=16, num_res_blocks=1, temperal_downsample=[False, True, True]),
        video=dict(height=48, width=48, num_frames=17, **_VIDEO),
    ),
    # Wan 2.1 1.3B's transformer with 2 of its 30 layers, its VAE whole, and a text encoder of a quarter of its width.
    "wide": dict(
        storage="F32", shard=None, flow_shift=3.0,
        text=dict(d_model=1024, d_kv=64, num_heads=16, num_layers=2, d_ff=2560),
        transformer=dict(num_attention_heads=12, attention_head_dim=128, num_layers=2, patch_size=(1, 2, 2),
                         in_channels=16, out_channels=16, ffn_dim=8960, freq_dim=256),
        vae=dict(base_dim=96, dim_mult=[1, 2, 4, 4], z_dim=16, num_res_blocks=2, temperal_downsample=[False, True, True]),
        video=dict(height=96, width=128, num_frames=9, **_VIDEO),
    ),
}  # fmt: skip
