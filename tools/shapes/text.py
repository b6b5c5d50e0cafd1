"""The text encoder of models/shapes, and prompts as the transformer sees them.

Legend: B prompts, L tokens, D width of the text encoder.
"""

import torch
from diffusers.models.transformers.transformer_wan import WanAttnProcessor
from transformers import UMT5Config, UMT5EncoderModel

from train_tokenizer import MAX_LENGTH

ROWS = 48
"""Rows of a prompt in training: the longest caption has 43, and one more stands for all padding."""
NOTHING = -1e4
"""The bias of rows that weigh nothing."""


def new_text_encoder(vocabulary):
    """A UMT5 encoder of two layers with random weights."""
    return UMT5EncoderModel(UMT5Config(
        vocab_size=vocabulary, d_model=96, d_kv=24, d_ff=256, num_layers=2, num_decoder_layers=1,
        num_heads=4, relative_attention_num_buckets=32, relative_attention_max_distance=128,
        dropout_rate=0.0, feed_forward_proj="gated-gelu", is_encoder_decoder=False, use_cache=False,
        tie_word_embeddings=True, pad_token_id=0, eos_token_id=1, decoder_start_token_id=0,
    ))  # fmt: skip


def encode(tokenizer, text_encoder, prompts, pad_share=1.0):
    """Prompt embeddings [B, ROWS, D] and their attention bias [B, 1, 1, ROWS].

    WanPipeline pads every prompt to 512 rows of zeros, and the transformer attends to all of them.
    Equal keys can stand as one: the first row after a prompt is zero and weighs as much as all its
    padding (log of their number), later rows weigh nothing. `pad_share` below 1 makes the padding
    lighter, which lets a young transformer find the words.
    """
    tokens = tokenizer(prompts, padding="max_length", max_length=ROWS, return_tensors="pt")
    mask_BL = tokens.attention_mask
    lengths = mask_BL.sum(1)
    assert mask_BL.shape[1] == ROWS and lengths.max() < ROWS, "a caption is longer than ROWS"
    embeds_BLD = text_encoder(tokens.input_ids, mask_BL).last_hidden_state * mask_BL[..., None]
    bias = torch.full(embeds_BLD.shape[:2], NOTHING)
    bias.masked_fill_(mask_BL.bool(), 0.0)
    bias[torch.arange(len(prompts)), lengths] = pad_share * torch.log(MAX_LENGTH - lengths.float())
    return embeds_BLD, bias[:, None, None, :]


class BiasedCrossAttention(WanAttnProcessor):
    """diffusers' attention with a bias on the prompt's rows; one instance serves all layers."""

    bias = None

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, rotary_emb=None):
        return super().__call__(attn, hidden_states, encoder_hidden_states, self.bias, rotary_emb)


def use_biased_attention(transformer):
    """Gives every cross-attention one shared processor, whose `bias` is set before a forward pass."""
    processor = BiasedCrossAttention()
    for block in transformer.blocks:
        block.attn2.set_processor(processor)
    return processor
