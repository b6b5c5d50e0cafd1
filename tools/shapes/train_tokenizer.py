"""Trains the SentencePiece Unigram model of models/shapes and writes its tokenizer folder.

Corpus: captions of random scenes and corpus.txt. Ids as in T5 and UMT5: pad 0, eos 1, unk 2.
Usage: train_tokenizer.py --work DIR
"""

import argparse
import io
import re
import string
from pathlib import Path

import numpy as np
import sentencepiece
from transformers import T5TokenizerFast

import captions
import world

VOCABULARY = 1000
MAX_LENGTH = 512
DELIMITER = "\t"
"""No piece crosses it; SentencePiece drops it from what it learns."""


def corpus(seed, count=6000):
    """Lines to train on; the general ones are repeated so that their words count beside captions."""
    rng = np.random.default_rng(seed)
    every = world.trained()
    scenes = [world.random_scene(rng, every) for _ in range(count)]
    general = (Path(__file__).parent / "corpus.txt").read_text(encoding="utf-8").splitlines()
    lines = [captions.caption(scene, rng)[0] for scene in scenes] + general * 20
    return [separate_chinese(line) for line in lines]


def separate_chinese(line):
    """Marks off the Chinese words of the captions, which no spaces part, so that each is a piece."""
    words = sorted(filter(None, captions.CHINESE.values()), key=len, reverse=True)
    return re.sub("(" + "|".join(words) + ")", rf"{DELIMITER}\1{DELIMITER}", line)


def train(lines):
    """The serialised SentencePiece model."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=model, model_type="unigram",
        vocab_size=VOCABULARY, hard_vocab_limit=False, character_coverage=1.0,
        normalization_rule_name="nmt_nfkc", required_chars=string.printable.strip(),
        pretokenization_delimiter=DELIMITER,
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1, num_threads=1, minloglevel=2,
    )  # fmt: skip
    return model.getvalue()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    folder = args.work / "tokenizer"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").unlink(missing_ok=True)
    (folder / "spiece.model").write_bytes(train(corpus(args.seed)))
    tokenizer = T5TokenizerFast.from_pretrained(folder, extra_ids=0, model_max_length=MAX_LENGTH)
    tokenizer.save_pretrained(folder)
    print(len(tokenizer), tokenizer.tokenize("A crimson disc moves left; 一个红色的圆形在黑色背景上向右移动"))


if __name__ == "__main__":
    main()
