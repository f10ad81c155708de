#!/usr/bin/env python3
"""Write tests/golden/llama: tiny random Llama checkpoints and what Hugging Face computes from them in float32.

    python scripts/golden/llama.py tests/golden/llama

Versions: torch 2.11.0, transformers 5.17.0, safetensors 0.8.0, on the CPU.

Each case holds config.json and model.safetensors (or shards with an index) as a user's folder would, and
golden.safetensors:

    prompt_ids          [24] int32
    logits              [24, vocab]   teacher forced over the prompt
    hidden.0            [24, hidden]  output of the embedding
    hidden.i            [24, hidden]  residual stream after layer i, before the final norm
    greedy_ids          [64] int32    greedy continuation of the prompt, no stop at eos
    greedy_logits_last  [vocab]       the logits that gave the last of them

The weights are rounded to the stored type first; all arithmetic is float32 with attention written out ("eager").
"""

import json
import math
import sys
from pathlib import Path

import safetensors
import torch
import transformers
from safetensors.torch import save_file
from torch import Tensor
from transformers import LlamaForCausalLM

assert torch.__version__.split("+")[0] == "2.11.0", torch.__version__
assert transformers.__version__ == "5.17.0", transformers.__version__
assert safetensors.__version__ == "0.8.0", safetensors.__version__

PROMPT = 24
STEPS = 64
MIN_GAP = 5e-3  # between the two best logits of every greedy step

# Keys as the hub's Llama folders write them.
BASE = {
    "architectures": ["LlamaForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "hidden_act": "silu",
    "hidden_size": 64,
    "initializer_range": 0.02,
    "intermediate_size": 64,
    "max_position_embeddings": 128,
    "mlp_bias": False,
    "model_type": "llama",
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "num_key_value_heads": 2,
    "pretraining_tp": 1,
    "rms_norm_eps": 1e-5,
    "rope_scaling": None,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.44.0",
    "use_cache": True,
    "vocab_size": 256,
}

LLAMA3_ROPE = {
    "factor": 8.0,
    "high_freq_factor": 4.0,
    "low_freq_factor": 1.0,
    "original_max_position_embeddings": 32,  # frequencies kept, blended and divided: all three occur
    "rope_type": "llama3",
}

CASES = {
    "gqa4": {"hidden_size": 128, "num_attention_heads": 8},
    "mha": {"num_key_value_heads": 4, "torch_dtype": "float32"},
    "tied": {
        "num_hidden_layers": 3,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": True,
        "torch_dtype": "float16",
    },
    "llama3-rope": {
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "rope_scaling": LLAMA3_ROPE,
        "rope_theta": 500000.0,
    },
    "linear-rope": {
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "rope_scaling": {"factor": 4.0, "type": "linear"},
    },
    "odd": {
        "head_dim": 80,
        "hidden_size": 60,
        "intermediate_size": 176,
        "num_attention_heads": 3,
        "num_key_value_heads": 1,
        "torch_dtype": "float32",
        "vocab_size": 257,
    },
    "sharded": {"attention_bias": True, "mlp_bias": True},
}
SHARDS = {"sharded": 3}


def random_weights(config: dict, seed: int) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(seed)
    dtype = getattr(torch, config["torch_dtype"])
    hidden, inner, vocab = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    head_dim = config.get("head_dim", hidden // config["num_attention_heads"])
    q, kv = config["num_attention_heads"] * head_dim, config["num_key_value_heads"] * head_dim
    linears = {
        "self_attn.q_proj": (q, hidden, config["attention_bias"]),
        "self_attn.k_proj": (kv, hidden, config["attention_bias"]),
        "self_attn.v_proj": (kv, hidden, config["attention_bias"]),
        "self_attn.o_proj": (hidden, q, config["attention_bias"]),
        "mlp.gate_proj": (inner, hidden, config["mlp_bias"]),
        "mlp.up_proj": (inner, hidden, config["mlp_bias"]),
        "mlp.down_proj": (hidden, inner, config["mlp_bias"]),
    }

    def normal(*shape: int, std: float, mean: float = 0.0) -> Tensor:
        return (mean + std * torch.randn(*shape, generator=random)).to(dtype)

    head_std = 2.0 / math.sqrt(hidden)  # logits with a standard deviation of 2
    embedding_std = head_std if config["tie_word_embeddings"] else 1.0
    weights = {"model.embed_tokens.weight": normal(vocab, hidden, std=embedding_std)}
    for layer in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}."
        weights[prefix + "input_layernorm.weight"] = normal(hidden, std=0.1, mean=1.0)
        weights[prefix + "post_attention_layernorm.weight"] = normal(hidden, std=0.1, mean=1.0)
        for name, (rows, columns, bias) in linears.items():
            weights[f"{prefix}{name}.weight"] = normal(rows, columns, std=1.5 / math.sqrt(columns))
            if bias:
                weights[f"{prefix}{name}.bias"] = normal(rows, std=0.5)
    weights["model.norm.weight"] = normal(hidden, std=0.1, mean=1.0)
    if not config["tie_word_embeddings"]:
        weights["lm_head.weight"] = normal(vocab, hidden, std=head_std)
    return weights


def save_shards(weights: dict[str, Tensor], folder: Path, count: int) -> None:
    names = sorted(weights)
    size = math.ceil(len(names) / count)
    where = {name: f"model-{i // size + 1:05}-of-{count:05}.safetensors" for i, name in enumerate(names)}
    for file in dict.fromkeys(where.values()):
        save_file({n: weights[n] for n in names if where[n] == file}, folder / file, metadata={"format": "pt"})
    total = sum(weight.nbytes for weight in weights.values())
    index = {"metadata": {"total_size": total}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")


def teacher_forced(model: LlamaForCausalLM, prompt: Tensor) -> dict[str, Tensor]:
    stream: list[Tensor] = []
    modules = [model.model.embed_tokens, *model.model.layers]
    hooks = [module.register_forward_hook(lambda _, __, out: stream.append(out[0])) for module in modules]
    logits = model(prompt[None], use_cache=False).logits[0]
    for hook in hooks:
        hook.remove()
    assert torch.allclose(model.lm_head(model.model.norm(stream[-1])), logits, atol=1e-4)
    return {"logits": logits} | {f"hidden.{i}": hidden for i, hidden in enumerate(stream)}


def greedy(model: LlamaForCausalLM, prompt: Tensor) -> tuple[Tensor, Tensor, float]:
    ids, gap = prompt, math.inf
    for _ in range(STEPS):
        logits = model(ids[None], use_cache=False).logits[0, -1]
        best = logits.topk(2)
        gap = min(gap, float(best.values[0] - best.values[1]))
        ids = torch.cat((ids, best.indices[:1]))
    return ids[len(prompt) :], logits, gap


def check_rope(config: dict, model: LlamaForCausalLM) -> None:
    """The loaded model scales its frequencies as config.json says, by our own formula."""
    inv_freq = model.model.rotary_emb.inv_freq
    dim = 2 * len(inv_freq)
    expected = config["rope_theta"] ** (-torch.arange(0, dim, 2).float() / dim)
    scaling = config["rope_scaling"] or {}
    if scaling.get("type") == "linear":
        expected = expected / scaling["factor"]
    elif scaling.get("rope_type") == "llama3":
        low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
        turns = scaling["original_max_position_embeddings"] * expected / (2 * math.pi)
        keep = ((turns - low) / (high - low)).clamp(0, 1)
        expected = keep * expected + (1 - keep) * expected / scaling["factor"]
    assert torch.allclose(inv_freq, expected, rtol=1e-5), (inv_freq, expected)


def write_case(name: str, folder: Path) -> None:
    config = BASE | CASES[name]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    for seed in range(100):
        weights = random_weights(config, seed)
        if name in SHARDS:
            save_shards(weights, folder, SHARDS[name])
        else:
            save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
        check_rope(config, model)
        random = torch.Generator().manual_seed(1000 + seed)
        prompt = torch.randint(3, config["vocab_size"], (PROMPT,), generator=random)
        ids, last, gap = greedy(model, prompt)
        if gap > MIN_GAP:
            break
    else:
        raise RuntimeError(f"{name}: no seed keeps the greedy steps apart")
    golden = teacher_forced(model, prompt) | {
        "prompt_ids": prompt.int(),
        "greedy_ids": ids.int(),
        "greedy_logits_last": last,
    }
    save_file({key: value.contiguous() for key, value in golden.items()}, folder / "golden.safetensors")
    print(f"{name}: seed {seed}, smallest gap {gap:.4f}, {len(set(ids.tolist()))} distinct greedy tokens, "
          f"logits std {golden['logits'].std():.2f}")


@torch.no_grad()
def main() -> None:
    for name in CASES:
        write_case(name, Path(sys.argv[1]) / name)


if __name__ == "__main__":
    main()
