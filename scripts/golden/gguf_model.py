#!/usr/bin/env python3
"""Writes tests/golden/gguf: one tiny random Llama as a Hugging Face folder and as GGUF files.

    pip install numpy==2.4.6 safetensors==0.8.0 gguf==0.19.0 ml_dtypes==0.6.0
    python scripts/golden/gguf_model.py tests/golden/gguf

The GGUF files are made as llama.cpp's convert_hf_to_gguf.py makes them: rows of q and k permuted
into interleaved rotary pairs, vectors in F32, everything else in the file's type. expected.json
holds, per file and tensor, the FNV-1a hash (64 bits) of the little-endian f32 numbers that the
`gguf` package reads back, rows in Hugging Face's order.

blocks.gguf is a wider model of one layer in which nearly every matrix has another type. The package
cannot quantize to K-quants and NVFP4, so those are random bytes with sane f16 scales.
"""

import json
import sys
from pathlib import Path

import gguf
import ml_dtypes
import numpy as np
from gguf import GGMLQuantizationType as Type
from safetensors.numpy import save_file

HIDDEN, INTER, LAYERS, HEADS, KV_HEADS, HEAD_DIM, VOCAB = 32, 64, 2, 4, 2, 16, 288
NAMES = {
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


# blocks.gguf: hidden size 256, 2 heads of 32, 1 for keys and values.
WIDE = {"HIDDEN": 256, "INTER": 256, "LAYERS": 1, "HEADS": 2, "KV_HEADS": 1, "HEAD_DIM": 32}
BLOCK_TYPES = {
    "model.embed_tokens": Type.TQ2_0, "self_attn.q_proj": Type.Q4_K, "self_attn.k_proj": Type.Q5_K,
    "self_attn.v_proj": Type.Q6_K, "self_attn.o_proj": Type.NVFP4, "mlp.gate_proj": Type.Q2_K,
    "mlp.up_proj": Type.Q3_K, "mlp.down_proj": Type.TQ1_0,
}
HALVES = {Type.Q2_K: (80, 82), Type.Q3_K: (108,), Type.Q4_K: (0, 2), Type.Q5_K: (0, 2),
          Type.Q6_K: (208,), Type.NVFP4: ()}  # where a block keeps f16 numbers


def make_weights(rng: np.random.Generator) -> dict[str, np.ndarray]:
    def matrix(n: int, k: int) -> np.ndarray:
        return rng.normal(0, 0.05, (n, k)).astype(np.float16)

    def norm() -> np.ndarray:
        return rng.normal(1, 0.1, HIDDEN).astype(np.float16)

    weights = {"model.embed_tokens.weight": matrix(VOCAB, HIDDEN), "model.norm.weight": norm()}
    for layer in range(LAYERS):
        p = f"model.layers.{layer}."
        weights |= {
            p + "input_layernorm.weight": norm(),
            p + "post_attention_layernorm.weight": norm(),
            p + "self_attn.q_proj.weight": matrix(HEADS * HEAD_DIM, HIDDEN),
            p + "self_attn.k_proj.weight": matrix(KV_HEADS * HEAD_DIM, HIDDEN),
            p + "self_attn.v_proj.weight": matrix(KV_HEADS * HEAD_DIM, HIDDEN),
            p + "self_attn.o_proj.weight": matrix(HIDDEN, HEADS * HEAD_DIM),
            p + "mlp.gate_proj.weight": matrix(INTER, HIDDEN),
            p + "mlp.up_proj.weight": matrix(INTER, HIDDEN),
            p + "mlp.down_proj.weight": matrix(HIDDEN, INTER),
        }
    return weights


def config() -> dict:
    return {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
        "vocab_size": VOCAB, "hidden_size": HIDDEN, "intermediate_size": INTER,
        "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS, "head_dim": HEAD_DIM, "max_position_embeddings": 256,
        "rms_norm_eps": 1e-5, "rope_theta": 500000.0, "tie_word_embeddings": True,
        "bos_token_id": 256, "eos_token_id": 257, "torch_dtype": "float16",
    }


def gguf_name(name: str) -> str:
    if name.startswith("model.layers."):
        _, _, layer, rest = name.split(".", 3)
        return f"blk.{layer}.{NAMES[rest.removesuffix('.weight')]}.weight"
    return {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight":
            "output_norm.weight", "lm_head.weight": "output.weight"}[name]


def permute(w: np.ndarray, heads: int) -> np.ndarray:
    """LlamaModel.permute of convert_hf_to_gguf.py."""
    return (w.reshape(heads, 2, w.shape[0] // heads // 2, *w.shape[1:]).swapaxes(1, 2)
            .reshape(w.shape))


def unpermute(w: np.ndarray, heads: int) -> np.ndarray:
    return (w.reshape(heads, w.shape[0] // heads // 2, 2, *w.shape[1:]).swapaxes(1, 2)
            .reshape(w.shape))


def heads_of(name: str) -> int | None:
    return HEADS if ".q_proj." in name else KV_HEADS if ".k_proj." in name else None


def byte_to_unicode() -> list[str]:
    """GPT-2's printable stand-ins for the 256 bytes."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(b) if b in printable else chr(next(others)) for b in range(256)]


def add_gpt2_tokenizer(writer: gguf.GGUFWriter) -> None:
    tokens = byte_to_unicode()
    tokens += ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"]
    types = [gguf.TokenType.NORMAL] * 256 + [gguf.TokenType.CONTROL] * 3
    merges = ["t h", "th e", "Ġ the", "i n", "Ġ a", "e r", "a n", "an d", "Ġ and", "o n", "in g",
              "Ġ t", "Ġ s", "r e", "e n", "o u", "Ġ w", "e s", "a t", "i s", "Ġ b", "o r", "Ġ h",
              "l l", "Ġ m", "i t", "e d", "Ġ c", "Ġ f"]
    tokens += [m.replace(" ", "") for m in merges]
    types += [gguf.TokenType.NORMAL] * len(merges)
    assert len(tokens) == len(set(tokens)) == VOCAB
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("llama-bpe")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(256)
    writer.add_eos_token_id(257)
    writer.add_eot_token_id(258)
    writer.add_add_bos_token(True)


def add_llama_tokenizer(writer: gguf.GGUFWriter) -> None:
    pieces = ["▁t", "he", "▁the", "in", "▁a", "er", "an", "nd", "and", "▁and", "on", "ing", "▁",
              "e", "t", "a", "o", "n", "i", "s", "h", "r", "d", "l", "u", "g", "w", "m", "c"]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{b:02X}>" for b in range(256)), *pieces]
    assert len(tokens) == len(set(tokens)) == VOCAB
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * 259 + [-float(i) for i in range(len(pieces))])
    writer.add_token_types([gguf.TokenType.UNKNOWN] + [gguf.TokenType.CONTROL] * 2
                           + [gguf.TokenType.BYTE] * 256 + [gguf.TokenType.NORMAL] * len(pieces))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(True)


def start_gguf(path: Path, tokenizer) -> gguf.GGUFWriter:
    writer = gguf.GGUFWriter(path, "llama")
    c = config()
    writer.add_name("tiny")
    writer.add_vocab_size(VOCAB)
    writer.add_context_length(c["max_position_embeddings"])
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(INTER)
    writer.add_block_count(LAYERS)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_key_length(HEAD_DIM)
    writer.add_value_length(HEAD_DIM)
    writer.add_rope_dimension_count(HEAD_DIM)
    writer.add_rope_freq_base(c["rope_theta"])
    writer.add_layer_norm_rms_eps(c["rms_norm_eps"])
    tokenizer(writer)
    return writer


def finish_gguf(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_gguf(path: Path, weights: dict[str, np.ndarray], kind: Type, tokenizer,
               rope_factors: np.ndarray | None = None) -> None:
    writer = start_gguf(path, tokenizer)
    if rope_factors is not None:
        writer.add_tensor("rope_freqs.weight", rope_factors)
    for name, w in weights.items():
        w = w.astype(np.float32)
        if heads_of(name):
            w = permute(w, heads_of(name))
        this = Type.F32 if w.ndim == 1 else kind
        writer.add_tensor(gguf_name(name), gguf.quants.quantize(w, this), raw_dtype=this)
    finish_gguf(writer)


def fnv1a(w: np.ndarray) -> str:
    h = 0xCBF29CE484222325
    for byte in np.ascontiguousarray(w.astype(np.float32) + 0.0).tobytes():  # -0 becomes 0
        h = ((h ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{h:016x}"


def read_back(path: Path, names: list[str]) -> dict[str, str]:
    by_name = {t.name: t for t in gguf.GGUFReader(path).tensors}
    hashes = {}
    for name in names:
        t = by_name[gguf_name(name)]
        w = gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float32)
        w = w.reshape([int(d) for d in reversed(t.shape)])
        if heads_of(name):
            w = unpermute(w, heads_of(name))
        hashes[name] = fnv1a(w)
    return hashes


def random_blocks(rng: np.random.Generator, n: int, k: int, kind: Type) -> np.ndarray:
    per_block, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = rng.integers(0, 256, (n, k // per_block, size), dtype=np.uint8)
    if kind == Type.NVFP4:
        blocks[..., :4] %= 0x7F  # e4m3 without a sign; 0x7f is none
    for at in HALVES[kind]:
        half = rng.normal(0, 2e-3, blocks.shape[:2]).astype(np.float16)
        blocks[..., at:at + 2] = half[..., None].view(np.uint8)
    return blocks.reshape(n, -1)


def write_blocks(path: Path) -> dict[str, str]:
    globals().update(WIDE)
    rng = np.random.default_rng(20240913)
    weights, hashes = make_weights(rng), {}
    writer = start_gguf(path, add_gpt2_tokenizer)
    for name, w in weights.items():
        kind = next((t for part, t in BLOCK_TYPES.items() if part in name), Type.F32)
        if kind in HALVES:
            data = random_blocks(rng, *w.shape, kind)
        else:
            data = gguf.quants.quantize(w.astype(np.float32), kind)
        writer.add_tensor(gguf_name(name), data, raw_dtype=kind)
        numbers = gguf.quants.dequantize(data, kind).astype(np.float32).reshape(w.shape)
        if kind == Type.NVFP4:
            scale = np.array([0.37], np.float32)
            stem = gguf_name(name).removesuffix("weight")
            writer.add_tensor(stem + "scale", scale)
            writer.add_tensor(stem + "input_scale", np.array([1.5], np.float32))
            numbers = (numbers.astype(np.float64) * scale.astype(np.float64)).astype(np.float32)
        hashes[name] = fnv1a(unpermute(numbers, heads_of(name)) if heads_of(name) else numbers)
    finish_gguf(writer)
    return hashes


def main(out: Path) -> None:
    rng = np.random.default_rng(20240607)
    weights = make_weights(rng)
    folder = out / "source"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config(), indent=1) + "\n")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})

    head = {"lm_head.weight": rng.normal(0, 0.05, (VOCAB, HIDDEN)).astype(np.float16)}
    factors = np.linspace(1, 8, HEAD_DIM // 2, dtype=np.float32)
    files = {
        "f32": (weights, Type.F32, add_gpt2_tokenizer, factors),
        "f16": (weights, Type.F16, add_gpt2_tokenizer, None),
        "bf16": (weights, Type.BF16, add_gpt2_tokenizer, None),
        "q8_0": (weights, Type.Q8_0, add_gpt2_tokenizer, None),
        "q4_0": (weights, Type.Q4_0, add_gpt2_tokenizer, None),
        "q4_0-untied-spm": (weights | head, Type.Q4_0, add_llama_tokenizer, None),
    }
    expected = {"source": {n: fnv1a(w) for n, w in weights.items()}}
    for stem, (tensors, kind, tokenizer, rope) in files.items():
        path = out / f"{stem}.gguf"
        write_gguf(path, tensors, kind, tokenizer, rope)
        expected[path.name] = read_back(path, list(tensors))
    assert expected["source"] == expected["f32.gguf"] == expected["f16.gguf"]
    rounded = {n: fnv1a(w if w.ndim == 1 else w.astype(ml_dtypes.bfloat16))
               for n, w in weights.items()}
    assert rounded == expected["bf16.gguf"]
    expected["blocks.gguf"] = write_blocks(out / "blocks.gguf")
    (out / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
