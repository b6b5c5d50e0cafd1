"""Compares Tokenizer with transformers' T5TokenizerFast over Unigram models that are trained here.

Four models on the corpus: a large one in T5's layout, one with byte pieces and user-defined pieces, one whose ids lie
as UMT5's might (begin token 2, unknown 3), one without normalisation; each from spiece.model and from the
tokenizer.json that transformers writes, with tokenizer_config.json in several forms.
Usage: tokens_parity.py TEXT_LINES   (the test executable)
"""

import io
import json
import random
import sys
import tempfile
import unicodedata
from pathlib import Path

import sentencepiece
from tokenizers import Tokenizer, normalizers
from transformers import T5TokenizerFast

import corpus
import lines

LIMIT = 512
EXTRA = ("<extra_id_0>", "<extra_id_1>", "<extra_id_99>", "<extra_id_1000>")
SPECIAL = ("</s>", "<pad>", "<unk>", "<s>", *EXTRA, "<mark>", "▁")


def train(texts, **options):
    model = io.BytesIO()
    settings = dict(model_type="unigram", vocab_size=8000, character_coverage=0.9995, hard_vocab_limit=False,
                    normalization_rule_name="nmt_nfkc", pad_id=0, eos_id=1, unk_id=2, bos_id=-1, num_threads=2,
                    num_sub_iterations=1, seed_sentencepiece_size=100000, minloglevel=2)  # fmt: skip
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(texts), model_writer=model, **settings | options)
    return model.getvalue()


def models(texts):
    few = texts[::4]
    yield "t5", train(texts), [{}, {"extra_ids": 0}]
    symbols = ["<mark>", "<extra_id_0>", "<extra_id_1>"]
    yield "bytes", train(few, vocab_size=3000, byte_fallback=True, user_defined_symbols=symbols), [{"extra_ids": 2}]
    added = {"0": flags("<pad>", lstrip=True), "1": flags("</s>", rstrip=True), "3": flags("<unk>", single_word=True),
             "9999": flags("<mark>", special=False, normalized=True)}  # fmt: skip
    umt5 = {"extra_ids": 300, "bos_token": "<s>", "legacy": True, "sp_model_kwargs": {}, "added_tokens_decoder": added,
            "additional_special_tokens": [f"<extra_id_{i}>" for i in range(300)]}  # fmt: skip
    yield "umt5", train(few, vocab_size=3000, bos_id=2, unk_id=3), [umt5]
    plain = train(few, vocab_size=3000, character_coverage=0.99, normalization_rule_name="identity")
    yield "identity", plain, [{"extra_special_tokens": ["<mark>"]}]


def flags(content, **set_):
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {"content": content} | plain | set_


def normalisation_lines():
    """Every character alone, behind an ASCII letter and before a combining mark: what the normalisation table knows."""
    every = [chr(c) for c in range(0x110000) if unicodedata.category(chr(c)) not in ("Cs", "Co", "Cn")]
    shown = [c for c in every if unicodedata.normalize("NFKC", c) != c or unicodedata.category(c)[0] in "MZC"]
    for template in ("{}", "a{}", "é{}b", "{}\u0301"):
        texts = [template.format(c) for c in shown]
        yield from (" ".join(texts[i : i + 8]) for i in range(0, len(texts), 8))


def texts_of(rng):
    real, counts = corpus.real_lines()
    damaged = [made for line in rng.sample(real, 1000) for made in corpus.damaged(line, rng)]
    marked = [rng.choice(("", " ", "x", "\u200b ")).join(rng.choices([*SPECIAL, line[:9], "  ", "é", "\u3000"], k=9))
              for line in rng.sample(real, 1500)]  # fmt: skip
    words = [word for line in real for word in line.split()]
    prompts = [" ".join(rng.choices(words, k=600)) for _ in range(40)]
    edges = ["", " ", "▁", "▁▁a▁", "a" * 3000, "\u0301", "\r\n", "e\u0301\u0323", "\u1100\u1161", "\0a\0", "👩‍👩‍👧 🇩🇪🇫"]
    return real, real + damaged + marked + prompts + edges + list(normalisation_lines()), counts


def expected(tokenizer, texts):
    """As WanPipeline calls it, less the padding, which would be most of the work: a few texts have it taken off again."""
    how = dict(max_length=LIMIT, truncation=True, add_special_tokens=True, return_attention_mask=True)
    found = tokenizer(texts, **how).input_ids
    few = range(0, len(texts), 100)
    padded = tokenizer([texts[i] for i in few], padding="max_length", **how)
    for i, ids, mask in zip(few, padded.input_ids, padded.attention_mask, strict=True):
        assert len(ids) == LIMIT and ids[: sum(mask)] == found[i], texts[i]
    return found


def described(folder, texts):
    """What the tokenizers library makes of tokenizer.json as it is."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(LIMIT)
    tokenizer.no_padding()
    return [encoding.ids for encoding in tokenizer.encode_batch(texts)]


def sequence(*normalizers_):
    return {"type": "Sequence", "normalizers": list(normalizers_)}


def rewritten(tokenizer, name):
    """Forms of tokenizer.json that transformers 4 and other tools write."""
    charsmap = tokenizer["normalizer"]
    metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    replace = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "▁"}
    strip = {"type": "Strip", "strip_left": False, "strip_right": True}
    if name == "transformers 4":
        return {"normalizer": sequence(charsmap, strip, replace), "pre_tokenizer": metaspace}
    if name == "not legacy":
        return {"normalizer": charsmap, "pre_tokenizer": metaspace | {"prepend_scheme": "first"}}
    replace_blank = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    return {
        "normalizer": sequence({"type": "NFKC"}, strip | {"strip_left": True}, replace_blank),
        "pre_tokenizer": None,
        "model": tokenizer["model"] | {"byte_fallback": True},
    }


def has_old_characters(text):
    """The library's NFKC is that of Unicode 11; characters that came later are normalised by nightreel alone."""
    return normalizers.NFKC().normalize_str(text) == unicodedata.normalize("NFKC", text)


def compare_rewritten(source, folder, executable, texts):
    tokenizer = json.loads((source / "tokenizer.json").read_text(encoding="utf-8"))
    wrong = 0
    for name in ("transformers 4", "not legacy", "NFKC"):
        folder.mkdir(exist_ok=True)
        text = json.dumps(tokenizer | rewritten(tokenizer, name))
        (folder / "tokenizer.json").write_text(text, encoding="utf-8")
        known = texts if name != "NFKC" else [text for text in texts if has_old_characters(text)]
        wrong += compare(f"tokenizer.json, {name}", executable, folder, known, described(folder, known))
    return wrong


def compare(name, executable, folder, texts, reference):
    got = lines.ask([executable, "tokens", str(folder), str(LIMIT)], texts)
    wrong = [pair for pair in zip(texts, got, reference, strict=True) if pair[1] != pair[2]]
    for text, ours, theirs in wrong[:10]:
        print(f"text   {text!r}\nours   {ours}\ntheirs {theirs}\n")
    full = sum(len(ids) == LIMIT for ids in reference)
    print(f"{name}: {len(texts)} texts, {full} of them {LIMIT} tokens long: {len(wrong)} differ", flush=True)
    return len(wrong)


def main():
    real, texts, counts = texts_of(random.Random(3))
    print(f"{len(real)} real lines {counts}")
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, model, configs in models(real):
            for i, config in enumerate(configs):
                spiece, json_alone = Path(folder, f"{name}{i}"), Path(folder, f"{name}{i}-json")
                spiece.mkdir()
                (spiece / "spiece.model").write_bytes(model)
                (spiece / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
                made = T5TokenizerFast.from_pretrained(spiece)
                made.save_pretrained(json_alone)
                (json_alone / "spiece.model").unlink(missing_ok=True)
                for folder_, tokenizer in ((spiece, made), (json_alone, T5TokenizerFast.from_pretrained(json_alone))):
                    wrong += compare(folder_.name, sys.argv[1], folder_, texts, expected(tokenizer, texts))
                if name == "bytes":
                    wrong += compare_rewritten(json_alone, Path(folder, "rewritten"), sys.argv[1], texts[::2])
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
