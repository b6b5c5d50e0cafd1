"""Trains the text encoder of models/shapes: whatever a caption mentions must be readable off its rows.

One learned query for each property (colour of the first thing, background, speed, …) attends to the rows of a
prompt as a transformer would, and a linear layer names the property. Captions of held-out combinations are not
used, but what the encoder makes of them is printed. The transformers then train on the frozen encoder.
Reads WORK/tokenizer; writes WORK/text_encoder.
Usage: train_text.py --work DIR --steps N
"""

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from transformers import T5TokenizerFast

import captions
import text
import world
from common import Log, learning_rate, optimise, start

BATCH = 128
PEAK_RATE = 2e-3
NAMES = dict(colour=world.COLOURS, shape=world.SHAPES, direction=world.DIRECTIONS)
CLASSES = [["none", *names] for _ in range(2) for names in NAMES.values()]
CLASSES += [["none", *world.BACKGROUNDS], ["none", *world.SPEEDS], [False, True]]
"""What each property may be: colour, shape and direction of both things in the words' order, then the scene's."""


class Reader(torch.nn.Module):
    """Names the properties that the rows of prompts mention."""

    def __init__(self, width):
        super().__init__()
        self.queries = torch.nn.Parameter(torch.randn(len(CLASSES), width))
        self.keys = torch.nn.Linear(width, width)
        self.heads = torch.nn.ModuleList(torch.nn.Linear(width, len(names)) for names in CLASSES)

    def forward(self, rows_BLD, bias):
        """Scores of each property, a list of [B, classes]."""
        weights_BQL = self.queries @ self.keys(rows_BLD).transpose(1, 2) / rows_BLD.shape[-1] ** 0.5 + bias[:, 0]
        read_BQD = weights_BQL.softmax(-1) @ rows_BLD
        return [head(read_BQD[:, i]) for i, head in enumerate(self.heads)]


def answers(mentioned):
    """Indices into CLASSES of what a caption mentions."""
    things = [*mentioned.things, ("none",) * 3, ("none",) * 3][:2]
    told = [*things[0], *things[1], mentioned.background, mentioned.speed, mentioned.blurred]
    return [names.index(name) for names, name in zip(CLASSES, told)]


def examples(count, rng, every):
    """Captions, and the answers to them [B, properties]."""
    told = [captions.caption(world.random_scene(rng, every), rng) for _ in range(count)]
    return [words for words, _ in told], torch.tensor([answers(mentioned) for _, mentioned in told])


@torch.no_grad()
def accuracy(tokenizer, encoder, reader, rng, every, count=1000):
    """Share of captions of which every property is read right."""
    prompts, wanted = examples(count, rng, every)
    scores = reader(*text.encode(tokenizer, encoder, prompts))
    read = torch.stack([score.argmax(-1) for score in scores], 1)
    return float((read == wanted).all(1).float().mean())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    rng = start(args.seed, args.threads)
    tokenizer = T5TokenizerFast.from_pretrained(args.work / "tokenizer")
    encoder = text.new_text_encoder(len(tokenizer))
    reader = Reader(encoder.config.d_model)
    models = torch.nn.ModuleList([encoder, reader])
    optimiser = torch.optim.AdamW(models.parameters(), betas=(0.9, 0.99), weight_decay=0.01)
    every, log = world.trained(), Log()
    for step in range(args.steps):
        prompts, wanted = examples(BATCH, rng, every)
        scores = reader(*text.encode(tokenizer, encoder, prompts))
        loss = sum(F.cross_entropy(score, wanted[:, i]) for i, score in enumerate(scores))
        optimise([optimiser], loss, learning_rate(step, args.steps, PEAK_RATE))
        log.add(step, loss=loss.detach())
    rng = np.random.default_rng(10_000)
    print("trained combinations", accuracy(tokenizer, encoder, reader, rng, world.trained()))
    print("held-out combinations", accuracy(tokenizer, encoder, reader, rng, world.held_out()))
    encoder.save_pretrained(args.work / "text_encoder")


if __name__ == "__main__":
    main()
