"""Compares clean_prompt with diffusers' prompt_clean on thousands of lines of real and damaged text.

Usage: clean_parity.py TEXT_LINES   (the test executable)
"""

import ast
import html
import random
import re
import sys

import ftfy

import corpus
import lines


def diffusers_prompt_clean():
    """The function out of diffusers' source; importing the pipeline would take ten seconds."""
    source = (corpus.SITE / "diffusers/pipelines/wan/pipeline_wan.py").read_text(encoding="utf-8")
    wanted = ("basic_clean", "whitespace_clean", "prompt_clean")
    tree = ast.parse(source)
    tree.body = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in wanted]
    scope = {"ftfy": ftfy, "html": html, "re": re, "is_ftfy_available": lambda: True}
    exec(compile(tree, "pipeline_wan.py", "exec"), scope)
    return scope["prompt_clean"]


def main():
    rng = random.Random(2)
    real, counts = corpus.real_lines()
    damaged = [made for line in real for made in corpus.damaged(line, rng)]
    texts = real + damaged + corpus.suspicious_lines(rng) + corpus.edge_lines()
    got = lines.ask([sys.argv[1], "clean"], texts)
    reference = diffusers_prompt_clean()
    wrong = [(t, g, w) for t, g in zip(texts, got, strict=True) if g != (w := reference(t))]
    for text, ours, theirs in wrong[:20]:
        print(f"text   {text!r}\nours   {ours!r}\ntheirs {theirs!r}\n")
    print(f"{len(real)} real lines {counts}, {len(damaged)} damaged ones, {len(texts)} in all, "
        f"{sum(t != g for t, g in zip(texts, got, strict=True))} changed by cleaning: {len(wrong)} differ")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
