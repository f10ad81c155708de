#!/usr/bin/env python3
"""Perplexity of a model folder by Hugging Face transformers in float32, written to FOLDER/reference.json.

    python reference.py --model models/prose-7m --valid valid.txt

Two ways to cut the text in independent windows of 512 tokens, the last one shorter:
    bos_windows    BOS and 511 tokens of text; every token of text is scored
    plain_windows  512 tokens of text; the first of each window is not scored
"""

import argparse
import hashlib
import json
import math
from pathlib import Path

import torch
import torch.nn.functional as F
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

CONTEXT = 512


@torch.no_grad()
def score(model: torch.nn.Module, windows: list[list[int]]) -> dict[str, float]:
    total, n_scored = 0.0, 0
    for window in windows:
        ids = torch.tensor([window])
        logits = model(ids).logits[0, :-1].double()
        total += F.cross_entropy(logits, ids[0, 1:], reduction="sum").item()
        n_scored += len(window) - 1
    mean = total / n_scored
    return {"n_scored": n_scored, "mean_nll": mean, "ppl": math.exp(mean)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--valid", type=Path, required=True)
    args = parser.parse_args()

    tokenizer = AutoTokenizer.from_pretrained(args.model)
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32, attn_implementation="eager").eval()
    data = args.valid.read_bytes()
    text = data.decode("utf-8")
    ids = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    assert tokenizer("x")["input_ids"][0] == tokenizer.bos_token_id
    assert tokenizer.decode(ids) == text

    width = CONTEXT - 1
    with_bos = [[tokenizer.bos_token_id, *ids[i : i + width]] for i in range(0, len(ids), width)]
    plain = [ids[i : i + CONTEXT] for i in range(0, len(ids), CONTEXT)]
    scored = score(model, with_bos)
    nats_per_byte = scored["mean_nll"] * len(ids) / len(data)
    result = {
        "ctx": CONTEXT,
        "valid_sha256": hashlib.sha256(data).hexdigest(),
        "n_tokens": len(ids),
        "n_bytes": len(data),
        "bos_windows": scored | {"bits_per_byte": nats_per_byte / math.log(2)},
        "plain_windows": score(model, plain),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    text = json.dumps(result, indent=2)
    (args.model / "reference.json").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
