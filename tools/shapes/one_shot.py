"""AutoencoderKLWan over a whole clip at once, for training.

diffusers encodes and decodes chunk by chunk through a feature cache. The same numbers come from one
pass if every causal convolution pads with zeros and the resampling layers treat the first frame
apart; that is several times faster. `enable` switches a model in place, without touching weights. What
train_vae.py measures at its end goes through diffusers' own encode and decode.
"""

import torch
import torch.nn.functional as F
from diffusers.models.autoencoders.autoencoder_kl_wan import WanCausalConv3d, WanResample


class OneShotConv(WanCausalConv3d):
    """A causal convolution that runs in 2D on single frames, where only its last tap sees data."""

    def forward(self, x_BCTHW, cache_x=None):
        if x_BCTHW.shape[2] > 1 or self.stride[0] > 1:
            return super().forward(x_BCTHW)
        left, right, top, bottom, _, _ = self._padding
        x_BCHW = F.pad(x_BCTHW[:, :, 0], (left, right, top, bottom))
        return F.conv2d(x_BCHW, self.weight[:, :, -1], self.bias)[:, :, None]


class OneShotResample(WanResample):
    """Resampling in which frame 0 bypasses the temporal convolution, as in the first cached chunk."""

    def forward(self, x_BCTHW, feat_cache=None, feat_idx=None):
        if self.mode == "upsample3d" and x_BCTHW.shape[2] > 1:
            later = self.time_conv(x_BCTHW[:, :, 1:])
            b, _, t, h, w = later.shape
            later = later.reshape(b, 2, -1, t, h, w).transpose(1, 2).transpose(2, 3)
            x_BCTHW = torch.cat([x_BCTHW[:, :, :1], later.reshape(b, -1, 2 * t, h, w)], 2)
        x_BCTHW = super().forward(x_BCTHW)
        if self.mode == "downsample3d" and x_BCTHW.shape[2] > 1:
            x_BCTHW = torch.cat([x_BCTHW[:, :, :1], self.time_conv(x_BCTHW)], 2)
        return x_BCTHW


def enable(vae):
    """Makes `encode` and `decode` below valid for this model; returns it."""
    for module in vae.modules():
        if type(module) is WanCausalConv3d:
            module.__class__ = OneShotConv
        elif type(module) is WanResample:
            module.__class__ = OneShotResample
    return vae


def encode(vae, x_BCTHW):
    """Mean and log-variance of the latents, each [B, z_dim, 1 + (T-1)/4, H/8, W/8]."""
    return vae.quant_conv(vae.encoder(x_BCTHW)).chunk(2, dim=1)


def decode(vae, z_BCTHW):
    """Frames of latents, not clamped."""
    return vae.decoder(vae.post_quant_conv(z_BCTHW))
