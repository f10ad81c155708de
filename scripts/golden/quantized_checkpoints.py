#!/usr/bin/env python3
"""Writes tests/golden/quantized: one tiny random Llama in every form that other tools store it in.

    pip install numpy==2.4.6 safetensors==0.8.0 ml_dtypes==0.6.0 torch==2.11.0 transformers==5.24.0
    pip install compressed-tensors==0.20.0 torchao==0.18.0 hqq==0.2.8.post1
    python scripts/golden/quantized_checkpoints.py tests/golden/quantized

A folder holds config.json, model.safetensors and expected.json: of every weight of the model the
FNV-1a hash of its f32 numbers (-0 taken as 0), dequantized here from the file in f64 and rounded
once. Where a tool divides by a scale (nvfp4's weight_global_scale, bitlinear's weight_scale) its
reciprocal is rounded to f32 first, as lowbit keeps it.

compressed-tensors, torchao, HQQ and BitNet are packed by those packages, and their own
dequantization is compared. The layouts of GPTQ and AWQ are written out below, with the scales of a
plain round to nearest, as their packages need a GPU to be built; AutoGPTQ 0.7.1 packs the same
numbers to the same bytes, and AutoAWQ 0.2.9 reads them back. So is that of `fp8` (a quant_method of
transformers).
"""

import json
import os
import sys
from pathlib import Path

os.environ["TORCHDYNAMO_DISABLE"] = "1"

import numpy as np
import torch
from safetensors.torch import save_file

from canonical_formats import SMALL_FLOATS
from formats import fnv1a

HIDDEN, INTER, HEADS, KV_HEADS, HEAD_DIM, VOCAB = 64, 128, 4, 2, 16, 64
LAYER = "model.layers.0."
LINEARS = {
    "self_attn.q_proj": (HEADS * HEAD_DIM, HIDDEN), "self_attn.o_proj": (HIDDEN, HIDDEN),
    "self_attn.k_proj": (KV_HEADS * HEAD_DIM, HIDDEN),
    "self_attn.v_proj": (KV_HEADS * HEAD_DIM, HIDDEN),
    "mlp.gate_proj": (INTER, HIDDEN), "mlp.up_proj": (INTER, HIDDEN),
    "mlp.down_proj": (HIDDEN, INTER),
}
E2M1 = np.array([0, .5, 1, 1.5, 2, 3, 4, 6, -0., -.5, -1, -1.5, -2, -3, -4, -6])


def base_config(dtype: torch.dtype) -> dict:
    return {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
        "vocab_size": VOCAB, "hidden_size": HIDDEN, "intermediate_size": INTER,
        "num_hidden_layers": 1, "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS,
        "head_dim": HEAD_DIM, "max_position_embeddings": 128, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "tie_word_embeddings": True, "bos_token_id": 1, "eos_token_id": 2,
        "torch_dtype": str(dtype).removeprefix("torch."),
    }


def make_weights(dtype: torch.dtype) -> dict[str, torch.Tensor]:
    rng = np.random.default_rng(20240901)

    def tensor(values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(values.astype(np.float32)).to(dtype)

    weights = {"model.embed_tokens.weight": tensor(rng.normal(0, 0.05, (VOCAB, HIDDEN)))}
    for norm in ("model.norm", LAYER + "input_layernorm", LAYER + "post_attention_layernorm"):
        weights[norm + ".weight"] = tensor(rng.normal(1, 0.1, HIDDEN))
    for name, shape in LINEARS.items():
        w = rng.standard_t(5, shape) * 0.05
        weights[f"{LAYER}{name}.weight"] = tensor(w * rng.uniform(0.3, 2, (shape[0], 1)))
    return weights


def linears(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {k: w for k, w in weights.items() if "_proj" in k}


def f64(t: torch.Tensor) -> np.ndarray:
    return t.detach().to(torch.float64).numpy()


class Case:
    def __init__(self, root: Path, name: str, dtype: torch.dtype):
        self.folder = root / name
        self.weights = make_weights(dtype)
        self.config = base_config(dtype)
        self.tensors = {k: w for k, w in self.weights.items() if "_proj" not in k}
        self.numbers: dict[str, np.ndarray] = {k: f64(w) for k, w in self.tensors.items()}

    def layers(self):
        for name, w in linears(self.weights).items():
            yield name.removesuffix("weight"), w

    def write(self, quantization_config: dict, metadata: dict | None = None,
              max_error: float = 0.2) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.config | {"quantization_config": quantization_config}
        (self.folder / "config.json").write_text(json.dumps(config, indent=1, default=str) + "\n")
        tensors = {k: t.detach().contiguous() for k, t in self.tensors.items()}
        save_file(tensors, self.folder / "model.safetensors", metadata=metadata or {"format": "pt"})
        assert set(self.numbers) == set(self.weights)
        for name, w in self.weights.items():  # the quantized weight is the weight, about
            error = np.abs(self.numbers[name] - f64(w)).mean() / np.abs(f64(w)).mean()
            assert self.numbers[name].shape == tuple(w.shape) and error < max_error, (name, error)
        hashes = {k: fnv1a(self.numbers[k].astype(np.float32)) for k in sorted(self.numbers)}
        (self.folder / "expected.json").write_text(json.dumps(hashes, indent=1) + "\n")


# GPTQ and AWQ.

def pack(codes: np.ndarray, bits: int, axis: int) -> torch.Tensor:
    """Codes to int32 along an axis, the first in the lowest bits; 3 bits run on across words."""
    codes = np.moveaxis(codes.astype(np.uint32), axis, -1)
    stream = (codes[..., None] >> np.arange(bits, dtype=np.uint32) & 1).astype(np.uint8)
    stream = np.packbits(stream.reshape(*codes.shape[:-1], -1), axis=-1, bitorder="little")
    words = np.ascontiguousarray(stream).view(np.int32)
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(words, -1, axis)))


def grouped_codes(w: np.ndarray, bits: int, group_of: np.ndarray, sym: bool, lowest_zero: int):
    """codes [n, k] and zeros and f16 scales [n, groups], groups of columns given by their index."""
    groups = group_of.max() + 1
    n, top = w.shape[0], 2**bits - 1
    scales = np.zeros((n, groups), np.float16)
    zeros = np.full((n, groups), 2 ** (bits - 1))
    codes = np.zeros(w.shape, np.int64)
    for g in range(groups):
        part = w[:, group_of == g]
        lo, hi = np.minimum(part.min(1), 0), np.maximum(part.max(1), 0)
        if sym:
            lo, hi = -np.maximum(-lo, hi), np.maximum(-lo, hi)
        scales[:, g] = (hi - lo) / top
        s = scales[:, g].astype(np.float64)
        if not sym:
            zeros[:, g] = np.clip(np.rint(-lo / s), lowest_zero, top)
        codes[:, group_of == g] = np.clip(np.rint(part / s[:, None]) + zeros[:, [g]], 0, top)
    return codes, zeros, scales


def write_gptq(root: Path, name: str, *, bits: int = 4, group: int = 32, sym: bool = True,
               desc_act: bool = False, checkpoint_format: str = "gptq") -> None:
    case = Case(root, name, torch.float16)
    rng = np.random.default_rng(7)
    for prefix, w in case.layers():
        k = w.shape[1]
        group_of = np.arange(k) // (group if group > 0 else k)
        if desc_act:  # columns were quantized in order of activation, and not moved
            group_of = group_of[np.argsort(rng.permutation(k))]
        # v1 stores zero - 1, and a stored -1 would run into the neighbours.
        codes, zeros, scales = grouped_codes(f64(w), bits, group_of, sym, 1)
        stored = zeros if checkpoint_format == "gptq_v2" else zeros - 1
        case.tensors |= {
            prefix + "qweight": pack(codes.T, bits, 0), prefix + "qzeros": pack(stored.T, bits, 1),
            prefix + "scales": torch.from_numpy(np.ascontiguousarray(scales.T)),
            prefix + "g_idx": torch.from_numpy(group_of.astype(np.int32)),
        }
        case.numbers[prefix + "weight"] = ((codes - zeros[:, group_of])
                                           * scales.astype(np.float64)[:, group_of])
    case.write({
        "bits": bits, "group_size": group, "damp_percent": 0.01, "desc_act": desc_act,
        "static_groups": False, "sym": sym, "true_sequential": True, "lm_head": False,
        "model_name_or_path": None, "model_file_base_name": "model", "quant_method": "gptq",
        "checkpoint_format": checkpoint_format,
    }, max_error={2: 0.7, 3: 0.4}.get(bits, 0.2))


def write_awq(root: Path, name: str) -> None:
    case = Case(root, name, torch.float16)
    order = np.array([0, 2, 4, 6, 1, 3, 5, 7])  # column order[i] of eight is in nibble i
    for prefix, w in case.layers():
        n, k = w.shape
        codes, zeros, scales = grouped_codes(f64(w), 4, np.arange(k) // 32, False, 0)

        def columns(t: np.ndarray) -> torch.Tensor:  # [rows, n] -> [rows, n / 8]
            return pack(t.reshape(t.shape[0], -1, 8)[:, :, order].reshape(t.shape), 4, 1)

        case.tensors |= {prefix + "qweight": columns(codes.T), prefix + "qzeros": columns(zeros.T),
                         prefix + "scales": torch.from_numpy(np.ascontiguousarray(scales.T))}
        group_of = np.arange(k) // 32
        case.numbers[prefix + "weight"] = ((codes - zeros[:, group_of])
                                           * scales.astype(np.float64)[:, group_of])
    case.write({"quant_method": "awq", "zero_point": True, "group_size": 32, "bits": 4,
                "version": "gemm", "modules_to_not_convert": None})


def write_act_order(root: Path, name: str) -> None:
    """compressed-tensors before 0.20 kept act-order's groups of columns in weight_g_idx."""
    case = Case(root, name, torch.float16)
    rng = np.random.default_rng(8)
    for prefix, w in case.layers():
        n, k = w.shape
        group_of = np.arange(k)[np.argsort(rng.permutation(k))] // 32
        codes, zeros, scales = grouped_codes(f64(w), 4, group_of, True, 1)
        case.tensors |= {
            prefix + "weight_packed": pack(codes, 4, 1), prefix + "weight_shape": torch.tensor([n, k]),
            prefix + "weight_scale": torch.from_numpy(scales),
            prefix + "weight_g_idx": torch.from_numpy(group_of.astype(np.int32)),
        }
        case.numbers[prefix + "weight"] = ((codes - zeros[:, group_of])
                                           * scales.astype(np.float64)[:, group_of])
    weights = {"num_bits": 4, "type": "int", "symmetric": True, "strategy": "group",
               "group_size": 32, "actorder": "group"}
    case.write({"quant_method": "compressed-tensors", "format": "pack-quantized",
                "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}},
                "ignore": ["lm_head"], "quantization_status": "compressed"})


def write_fp8(root: Path, name: str) -> None:
    """quant_method "fp8" of transformers: blocks of 128 x 128, weight_scale_inv multiplies."""
    case = Case(root, name, torch.bfloat16)
    for prefix, w in case.layers():
        scale = (w.float().abs().max() / 448).reshape(1, 1)
        codes = (w.float() / scale).clamp(-448, 448).to(torch.float8_e4m3fn)
        case.tensors |= {prefix + "weight": codes, prefix + "weight_scale_inv": scale}
        case.numbers[prefix + "weight"] = f64(codes) * f64(scale)
    case.write({"quant_method": "fp8", "activation_scheme": "dynamic", "fmt": "e4m3",
                "weight_block_size": [128, 128]})


# compressed-tensors.

def unpack_signed(words: torch.Tensor, bits: int, count: int) -> np.ndarray:
    """[rows, words] -> [rows, count]: two's complement with an offset, lowest bits first."""
    raw = np.unpackbits(words.numpy().view(np.uint8), axis=1, bitorder="little")
    fields = raw[:, : count * bits].reshape(raw.shape[0], count, bits)
    return (fields * (1 << np.arange(bits))).sum(-1).astype(np.int64) - (1 << (bits - 1))


def decode_compressed(t: dict[str, torch.Tensor], args, shape: tuple[int, int]) -> np.ndarray:
    n, k = shape
    scale = t["weight_scale"]
    if args.strategy == "block":
        codes, full = f64(t["weight"]), f64(scale)
        bn, bk = args.block_structure
        return codes * np.repeat(np.repeat(full, bn, 0)[:n], bk, 1)[:, :k]
    if "weight_packed" in t and t["weight_packed"].dtype == torch.uint8:
        b = t["weight_packed"].numpy()
        codes = E2M1[np.stack([b & 15, b >> 4], -1).reshape(n, k)]
        if scale.dtype == torch.uint8:
            return codes * np.repeat(2.0 ** (f64(scale) - 127), 32, 1)
        outer = np.float64(np.float32(1) / t["weight_global_scale"].numpy().astype(np.float32))
        return codes * np.repeat(f64(scale), 16, 1) * outer
    if "weight_packed" in t:
        codes = unpack_signed(t["weight_packed"], args.num_bits, k)
    else:
        codes = f64(t["weight"])
    groups = scale.shape[1] if scale.ndim == 2 else 1
    zero = np.zeros((1, 1))
    if "weight_zero_point" in t:  # packed along the rows
        zero = unpack_signed(t["weight_zero_point"].T.contiguous(), args.num_bits, n).T
        zero = np.repeat(zero, k // groups, 1)
    return (codes - zero) * np.repeat(f64(scale).reshape(-1, groups), k // groups, 1)


def set_parameters(linear: torch.nn.Module, args) -> None:
    from compressed_tensors.quantization.utils import calculate_qparams, generate_gparam

    w = linear.weight.detach()
    n, k = w.shape
    strategy, outer = args.strategy, None
    if strategy in ("group", "tensor_group"):
        blocks = w.reshape(n, -1, args.group_size)
        lo, hi = blocks.amin(2), blocks.amax(2)
    elif strategy == "channel":
        lo, hi = w.amin(1, keepdim=True), w.amax(1, keepdim=True)
    else:  # "tensor", and "block": no matrix here is larger than a block
        lo, hi = w.min().reshape(1), w.max().reshape(1)
        if strategy == "block":
            lo, hi = lo.reshape(1, 1), hi.reshape(1, 1)
    if strategy == "tensor_group":
        outer = generate_gparam(w.min(), w.max())
        linear.weight_global_scale.data.copy_(outer)
    scale, zero = calculate_qparams(lo, hi, args, global_scale=outer)
    linear.weight_scale.data = scale.to(linear.weight_scale.dtype).reshape(
        linear.weight_scale.shape)
    if getattr(linear, "weight_zero_point", None) is not None:
        linear.weight_zero_point.data.copy_(zero.reshape(linear.weight_zero_point.shape))


def write_compressed(root: Path, name: str, scheme: str | dict, expected_format: str,
                     max_error: float = 0.2) -> None:
    from compressed_tensors.compressors import ModelCompressor
    from compressed_tensors.quantization import (QuantizationConfig, apply_quantization_config,
                                                 preset_name_to_scheme)
    from transformers import LlamaConfig, LlamaForCausalLM

    case = Case(root, name, torch.bfloat16)
    model = LlamaForCausalLM(LlamaConfig(**case.config)).to(torch.bfloat16)
    model.load_state_dict(case.weights, strict=False)
    if isinstance(scheme, str):
        scheme = preset_name_to_scheme(scheme, ["Linear"]).model_dump()
    scheme["targets"] = ["Linear"]
    config = QuantizationConfig(config_groups={"group_0": scheme}, ignore=["lm_head"])
    apply_quantization_config(model, config)
    modules = {k.removesuffix(".weight"): model.get_submodule(k.removesuffix(".weight"))
               for k in linears(case.weights)}
    for module in modules.values():
        set_parameters(module, module.quantization_scheme.weights)
    compressor = ModelCompressor.from_pretrained_model(model)
    compressor.compress_model(model)
    case.folder.mkdir(parents=True, exist_ok=True)
    (case.folder / "config.json").write_text("{}")
    compressor.update_config(case.folder)
    quantization = json.loads((case.folder / "config.json").read_text())["quantization_config"]
    assert quantization["format"] == expected_format, quantization["format"]
    decoded = {}
    for prefix, module in modules.items():
        parts = {k: v.detach().clone() for k, v in module.state_dict().items()}
        case.tensors |= {f"{prefix}.{k}": v for k, v in parts.items()}
        decoded[prefix] = decode_compressed(parts, module.quantization_scheme.weights,
                                            tuple(case.weights[prefix + ".weight"].shape))
        case.numbers[prefix + ".weight"] = decoded[prefix]
    compressor.decompress_model(model)
    for prefix, module in modules.items():  # theirs is rounded to bf16, more than once
        theirs = f64(module.weight)
        np.testing.assert_allclose(theirs, decoded[prefix], rtol=2**-6, atol=1e-6, err_msg=name)
    case.write(quantization, max_error=max_error)


# torchao, HQQ, BitNet.

def write_torchao(root: Path, name: str, config, decode) -> None:
    from torchao.prototype.safetensors.safetensors_support import flatten_tensor_state_dict
    from torchao.quantization import quantize_
    from transformers import TorchAoConfig

    case = Case(root, name, torch.bfloat16)
    state = dict(case.tensors)
    for prefix, w in case.layers():
        linear = torch.nn.Linear(w.shape[1], w.shape[0], bias=False, dtype=w.dtype)
        linear.weight = torch.nn.Parameter(w.clone(), requires_grad=False)
        quantize_(linear, config)
        q = linear.weight.data if hasattr(linear.weight, "qdata") else linear.weight
        state[prefix + "weight"] = q
        case.numbers[prefix + "weight"] = decode(q)
        np.testing.assert_allclose(f64(q.dequantize()), case.numbers[prefix + "weight"],
                                   rtol=2**-7, atol=1e-6)
    case.tensors, metadata = flatten_tensor_state_dict(state)
    case.write(TorchAoConfig(quant_type=config).to_dict(), metadata | {"format": "pt"})


def write_torchao_pairs(root: Path, name: str, group: int) -> None:
    """Int4Tensor, which Int4WeightOnlyConfig makes: by its fake quantizer, since the package that
    packs needs a GPU. Two signed codes in a byte, the first in its low half; scales [k / g, n]."""
    from torchao.prototype.safetensors.safetensors_support import flatten_tensor_state_dict
    from torchao.quantization import Int4WeightOnlyConfig
    from torchao.quantization.qat.fake_quantize_config import Int4WeightFakeQuantizeConfig
    from torchao.quantization.qat.fake_quantizer import Int4WeightFakeQuantizer
    from torchao.quantization.quantize_.workflows.int4.int4_tensor import Int4Tensor
    from transformers import TorchAoConfig

    case = Case(root, name, torch.bfloat16)
    state = dict(case.tensors)
    for prefix, w in case.layers():
        blocks = w.float().reshape(w.shape[0], -1, group)
        low, high = blocks.amin(-1, True), blocks.amax(-1, True)
        scale = ((high - low) / 15).clamp(min=1e-6)
        zero = low + scale * 8
        codes = (((blocks - low) / scale).round().clamp(0, 15) - 8).to(torch.int8).reshape(w.shape)
        fake = Int4WeightFakeQuantizer(Int4WeightFakeQuantizeConfig(group, torch.bfloat16))(w)
        pairs = (codes[:, 0::2] & 15) | (codes[:, 1::2] << 4)
        planes = [p.squeeze(-1).T.contiguous().bfloat16() for p in (scale, zero)]
        state[prefix + "weight"] = Int4Tensor(pairs.contiguous(), *planes, [1, group], w.shape)
        s, z = (np.repeat(f64(p.T), group, 1) for p in planes)
        case.numbers[prefix + "weight"] = f64(codes) * s + z
        np.testing.assert_allclose(f64(fake), case.numbers[prefix + "weight"], rtol=2**-6,
                                   atol=f64(scale).max() * 2**-4)
    case.tensors, metadata = flatten_tensor_state_dict(state)
    case.write(TorchAoConfig(quant_type=Int4WeightOnlyConfig(group_size=group)).to_dict(),
               metadata | {"format": "pt"})


def decode_torchao(q) -> np.ndarray:
    codes, scale = f64(q.qdata), f64(q.scale)
    zero = getattr(q, "zero_point", None)
    scale = np.repeat(scale, codes.shape[1] // scale.shape[1], 1)
    if zero is not None:
        codes = codes - np.repeat(f64(zero), codes.shape[1] // zero.shape[1], 1)
    return codes * scale


def write_hqq(root: Path, nbits: int, group: int = 64) -> None:
    from hqq.core.quantize import HQQLinear
    from transformers import HqqConfig

    case = Case(root, f"hqq-{nbits}bit-g{group}", torch.float16)
    config = HqqConfig(nbits=nbits, group_size=group)
    for prefix, w in case.layers():
        linear = torch.nn.Linear(w.shape[1], w.shape[0], bias=False)
        linear.weight = torch.nn.Parameter(w.float(), requires_grad=False)
        layer = HQQLinear(linear, quant_config=config.quant_config, compute_dtype=torch.float16,
                          device="cpu", del_orig=False)
        case.tensors |= {prefix + k: v for k, v in layer.state_dict().items()}
        codes = f64(layer.unpack(dtype=torch.float32))[: w.numel() // group]  # 3 bits: padded
        numbers = (codes - f64(layer.meta["zero"])) * f64(layer.meta["scale"])
        case.numbers[prefix + "weight"] = numbers.reshape(w.shape)
        np.testing.assert_allclose(f64(layer.dequantize()), numbers.reshape(w.shape), rtol=2**-8,
                                   atol=1e-3)
    case.write(config.to_dict(), max_error={1: 1.5, 2: 0.7, 3: 0.3}.get(nbits, 0.2))


def write_bitnet(root: Path, name: str, linear_class: str) -> None:
    from transformers import BitNetQuantConfig
    from transformers.integrations.bitnet import pack_weights, unpack_weights

    case = Case(root, name, torch.bfloat16)
    for prefix, w in case.layers():
        mean = w.float().abs().mean()
        ternary = (w.float() / mean).round().clamp(-1, 1)
        # bitlinear divides its result by weight_scale, autobitlinear multiplies.
        scale = (1 / mean if linear_class == "bitlinear" else mean).to(torch.bfloat16).reshape(1)
        packed = pack_weights(ternary.clone())
        assert torch.equal(unpack_weights(packed, torch.float32), ternary)
        case.tensors |= {prefix + "weight": packed, prefix + "weight_scale": scale}
        factor = f64(scale) if linear_class != "bitlinear" else np.float64(
            np.float32(1) / scale.float().numpy())
        case.numbers[prefix + "weight"] = f64(ternary) * factor
    case.write(BitNetQuantConfig(linear_class=linear_class).to_dict(), max_error=0.7)


def main(root: Path) -> None:
    write_gptq(root, "gptq-4bit-g32-sym")
    write_gptq(root, "gptq-4bit-g32-asym", sym=False)
    write_gptq(root, "gptq-4bit-g32-desc-act", desc_act=True)
    write_gptq(root, "gptq-4bit-g32-asym-desc-act", sym=False, desc_act=True)
    write_gptq(root, "gptq-4bit-row", group=-1)
    write_gptq(root, "gptq-2bit-g32-asym", bits=2, sym=False)
    write_gptq(root, "gptq-3bit-g32-asym", bits=3, sym=False)
    write_gptq(root, "gptq-8bit-g32-sym", bits=8)
    write_gptq(root, "gptq-v2-4bit-g32-asym", sym=False, checkpoint_format="gptq_v2")
    write_awq(root, "awq-4bit-g32")
    write_fp8(root, "fp8-b128x128")

    def int_weights(bits: int, symmetric: bool, group: int = 32) -> dict:
        return {"weights": {"num_bits": bits, "type": "int", "symmetric": symmetric,
                            "strategy": "group", "group_size": group}}

    write_compressed(root, "ct-pack-int4-g32-sym", int_weights(4, True), "pack-quantized")
    write_compressed(root, "ct-pack-int4-g32-asym", int_weights(4, False), "pack-quantized")
    write_compressed(root, "ct-pack-int8-g32-sym", int_weights(8, True), "pack-quantized")
    write_compressed(root, "ct-pack-int3-g32-asym", int_weights(3, False), "pack-quantized",
                     max_error=0.4)
    write_act_order(root, "ct-pack-int4-g32-act-order")
    write_compressed(root, "ct-int8-channel", "W8A8", "int-quantized")
    write_compressed(root, "ct-fp8-channel", "FP8_DYNAMIC", "float-quantized")
    write_compressed(root, "ct-fp8-tensor", "FP8", "float-quantized")
    write_compressed(root, "ct-fp8-block", "FP8_BLOCK", "float-quantized")
    write_compressed(root, "ct-nvfp4", "NVFP4A16", "nvfp4-pack-quantized")
    write_compressed(root, "ct-mxfp4", "MXFP4A16", "mxfp4-pack-quantized")

    from torchao.quantization import (Float8WeightOnlyConfig, Int8WeightOnlyConfig,
                                      IntxWeightOnlyConfig, PerGroup)
    write_torchao(root, "torchao-int8", Int8WeightOnlyConfig(version=2), decode_torchao)
    write_torchao(root, "torchao-int4-g32",
                  IntxWeightOnlyConfig(torch.int4, PerGroup(32)), decode_torchao)
    write_torchao(root, "torchao-float8", Float8WeightOnlyConfig(), decode_torchao)
    write_torchao_pairs(root, "torchao-int4-pairs-g32", 32)
    for nbits in (8, 4, 3, 2, 1):
        write_hqq(root, nbits)
    write_bitnet(root, "bitnet", "bitlinear")
    write_bitnet(root, "bitnet-auto", "autobitlinear")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
