#!/usr/bin/env python3
"""Writes tests/golden/torch: files of torch.save that the pickle reader must take or refuse.

    pip install torch==2.15.0 numpy==2.4.6 safetensors==0.8.0
    python scripts/golden/torch_files.py tests/golden/torch

sharded/ and gpt-fast/ are the model of tests/golden/gguf/source, as pytorch_model-*.bin with an index
and as the llama harness's model.pth (q, k and v in one matrix, rotary pairs interleaved). types.bin
has a tensor of each dtype, views and a transpose, in the newest pickle protocol. object.bin and
module.bin hold what is not plain weights; legacy.bin is the format before the zip archive.
"""

import json
import sys
from collections import OrderedDict
from pathlib import Path

import torch
from safetensors.torch import load_file

SOURCE = Path("tests/golden/gguf/source")
LAYER = {"input_layernorm": "attention_norm", "self_attn.o_proj": "attention.wo",
         "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "feed_forward.w1",
         "mlp.up_proj": "feed_forward.w3", "mlp.down_proj": "feed_forward.w2"}


class Runs:
    """A pickle of it runs a program when it is loaded."""

    def __reduce__(self):
        import os
        return os.system, ("echo the pickle was run",)


def write_sharded(out: Path, weights: dict[str, torch.Tensor]) -> None:
    names, weight_map = list(weights), {}
    for i, part in enumerate((names[:7], names[7:])):
        shard = f"pytorch_model-{i + 1:05d}-of-00002.bin"
        module = torch.nn.ParameterDict()  # only for a state dict with _metadata, as modules make it
        state = module.state_dict()
        for name in part:
            state[name] = torch.nn.Parameter(weights[name], requires_grad=i == 0)
            weight_map[name] = shard
        torch.save(state, out / shard)
    index = {"metadata": {"total_size": 0}, "weight_map": weight_map}
    (out / "pytorch_model.bin.index.json").write_text(json.dumps(index, indent=1) + "\n")


def interleaved(w: torch.Tensor, head_dim: int) -> torch.Tensor:
    n, k = w.shape
    return w.view(n // head_dim, 2, head_dim // 2, k).transpose(1, 2).reshape(n, k)


def gpt_fast(weights: dict[str, torch.Tensor], config: dict) -> dict[str, torch.Tensor]:
    out = {"tok_embeddings.weight": weights["model.embed_tokens.weight"],
           "norm.weight": weights["model.norm.weight"]}
    for i in range(config["num_hidden_layers"]):
        layer = f"model.layers.{i}."
        q, k, v = (weights[f"{layer}self_attn.{x}_proj.weight"] for x in "qkv")
        dim = config["head_dim"]
        out[f"layers.{i}.attention.wqkv.weight"] = torch.cat(
            [interleaved(q, dim), interleaved(k, dim), v])
        for hf, name in LAYER.items():
            out[f"layers.{i}.{name}.weight"] = weights[f"{layer}{hf}.weight"]
    return out


def write_types(path: Path) -> None:
    eight = torch.arange(8)
    state = OrderedDict()
    for dtype in ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8",
                  "uint8", "float8_e4m3fn", "float8_e5m2", "uint16"):
        state[dtype] = eight.to(getattr(torch, dtype))
    base = torch.arange(12, dtype=torch.float32).reshape(3, 4)
    state["rows"] = base[1:]  # a view: an offset into the storage
    state["transposed"] = base.t()
    state["scalar"] = torch.tensor(7.0)
    state["empty"] = torch.empty(0, 4)
    state["step"] = 3  # not a tensor
    torch.save({"epoch": 1, "state_dict": state}, path, pickle_protocol=5)


def main(out: Path) -> None:
    config = json.loads((SOURCE / "config.json").read_text())
    weights = load_file(SOURCE / "model.safetensors")
    for folder in ("sharded", "gpt-fast"):
        (out / folder).mkdir(parents=True, exist_ok=True)
        (out / folder / "config.json").write_text((SOURCE / "config.json").read_text())
    write_sharded(out / "sharded", weights)
    torch.save(gpt_fast(weights, config), out / "gpt-fast" / "model.pth")
    write_types(out / "types.bin")
    torch.save({"w": torch.ones(2), "x": Runs()}, out / "object.bin")
    torch.save({"w": torch.nn.Linear(2, 2)}, out / "module.bin")
    torch.save({"w": torch.ones(2)}, out / "legacy.bin", _use_new_zipfile_serialization=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
