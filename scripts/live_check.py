#!/usr/bin/env python3
"""Counts how often `lowbit compare --live` is right on this machine, at its own 99 % confidence: that one
model does not differ from itself, and that a model with one layer more in a hundred is slower.

usage: live_check.py LOWBIT [--device NAME] [--threads N] [--format NAME] [--layers N] [--runs N]
                     [--seconds N] [-o REPORT.json]

LOWBIT     the program, or a folder that it is in
--device   cpu by default; cuda, ref
--threads  of the cpu; by default as many as there are cores
--format   int8 by default, on both sides
--layers   of A, 100 by default; B has one more, so that 100 are a slow-down of 1 %
--runs     of each kind, 10 by default
--seconds  that one comparison may take, 30 by default; it ends before where its intervals are narrow

A and B are folders with random weights that this script writes: small enough for a step of a millisecond or
so, and alike but for the number of layers. What a step does outside of its layers (embedding, head, draw) is
the same on both sides, which makes B less than 1 % slower. Of each comparison the time to the first token and
the decode speed are looked at. The exit status is 1 if fewer than 92.5 % of the answers of a kind are right
(185 of 200, which docs/measuring.md asks of recorded noise).
"""
import argparse
import json
import os
import pathlib
import random
import struct
import subprocess
import sys
import tempfile
import time

METRICS = ("ttft", "decode_tps")
ENOUGH = 0.925
CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "vocab_size": 512,
    "hidden_size": 128, "intermediate_size": 384, "num_attention_heads": 2, "num_key_value_heads": 1,
    "head_dim": 64, "max_position_embeddings": 2048, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
    "tie_word_embeddings": True, "bos_token_id": 1, "eos_token_id": 2, "torch_dtype": "bfloat16"}


def shapes(layers):
    """Of each tensor, by name."""
    hidden, inner = CONFIG["hidden_size"], CONFIG["intermediate_size"]
    kv = CONFIG["num_key_value_heads"] * CONFIG["head_dim"]
    one = {"input_layernorm": (hidden,), "post_attention_layernorm": (hidden,),
           "self_attn.q_proj": (hidden, hidden), "self_attn.k_proj": (kv, hidden),
           "self_attn.v_proj": (kv, hidden), "self_attn.o_proj": (hidden, hidden),
           "mlp.gate_proj": (inner, hidden), "mlp.up_proj": (inner, hidden), "mlp.down_proj": (hidden, inner)}
    found = {"model.embed_tokens.weight": (CONFIG["vocab_size"], hidden), "model.norm.weight": (hidden,)}
    for layer in range(layers):
        found.update({f"model.layers.{layer}.{name}.weight": shape for name, shape in one.items()})
    return found


def bf16(value):
    return struct.pack("<f", value)[2:]


def write_model(folder, layers):
    """A Hugging Face folder: norms of 1, small random weights, of which each matrix is a stretch."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({**CONFIG, "num_hidden_layers": layers}), encoding="utf-8")
    chosen = random.Random(1)
    few = [bf16(chosen.gauss(0, 0.02)) for _ in range(4096)]
    noise = b"".join(chosen.choices(few, k=1 << 18))
    header, parts, at = {}, [], 0
    for name, shape in shapes(layers).items():
        count = 1
        for side in shape:
            count *= side
        if len(shape) == 1:
            data = bf16(1.0) * count
        else:
            begin = 2 * chosen.randrange(1 << 16)
            data = noise[begin:begin + 2 * count]
        assert len(data) == 2 * count, name
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, at + len(data)]}
        parts.append(data)
        at += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + b"".join(parts))


def answers_of(comparison):
    """{metric: (verdict, ratio of times, its interval)} of what `compare -o json` prints."""
    metrics = comparison["cases"][0]["metrics"]
    found = {}
    for tag in METRICS:
        m = metrics[tag]
        found[tag] = (m["verdict"], m["ratio"], m["lo"], m["hi"])
    return found


def summary(runs):
    """(lines, all_right) of [(kind, {metric: (verdict, ...)})]: `same` wants no difference, `slower` a worse B."""
    lines, good = [], True
    for kind, wanted in (("same", "no difference"), ("slower", "worse")):
        of_kind = [answers for name, answers in runs if name == kind]
        for tag in METRICS:
            right = sum(answers[tag][0] == wanted for answers in of_kind)
            good &= bool(of_kind) and right >= int(ENOUGH * len(of_kind))
            lines.append(f"{kind:6}  {tag:10}  {right} of {len(of_kind)} say `{wanted}`")
    return lines, good


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("lowbit", type=pathlib.Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--format", default="int8")
    parser.add_argument("--layers", type=int, default=100)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("-o", "--output", type=pathlib.Path)
    asked = parser.parse_args()
    program = asked.lowbit / "lowbit" if asked.lowbit.is_dir() else asked.lowbit
    if not program.is_file():
        raise SystemExit(f"live_check.py: {program}: there is no such program; build it first")
    runs = []
    with tempfile.TemporaryDirectory(prefix="live_check-") as scratch:
        models = {name: pathlib.Path(scratch) / name for name in ("a", "b")}
        write_model(models["a"], asked.layers)
        write_model(models["b"], asked.layers + 1)
        for run in range(asked.runs):
            for kind, other in (("same", "a"), ("slower", "b")):
                keys = (f"format={asked.format} device={asked.device} prompt_tokens=100 new_tokens=64 quality=none "
                        f"seed={run}")
                if asked.device != "cuda":
                    keys += f" threads={asked.threads}"
                start = time.monotonic()
                done = subprocess.run(
                    [str(program.resolve()), "compare", "--live", f"{models['a']} {keys}", f"{models[other]} {keys}",
                     "--max-seconds", str(asked.seconds), "-o", "json"], capture_output=True, text=True, check=False)
                if done.returncode != 0:
                    raise SystemExit(f"live_check.py: {done.stderr.strip()}")
                answers = answers_of(json.loads(done.stdout))
                runs.append((kind, answers))
                said = "  ".join(f"{tag} {verdict} {ratio:.4f} [{lo:.4f}, {hi:.4f}]" if ratio else f"{tag} {verdict}"
                                 for tag, (verdict, ratio, lo, hi) in answers.items())
                print(f"{run:2} {kind:6}  {time.monotonic() - start:5.1f} s  {said}", flush=True)
    lines, good = summary(runs)
    print("\n".join(lines))
    if asked.output:
        asked.output.write_text(json.dumps({"device": asked.device, "threads": asked.threads, "format": asked.format,
                                            "layers": asked.layers, "runs": runs}, indent=1) + "\n", encoding="utf-8")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
