"""What torchao 0.18.0 makes of the weights: the names of its config classes. See formats.py.

Integers and float8 from the first 256 columns of weights.bf16, MX and NVFP4 from all of weights.f32
(NVFP4 also from weights.mild.f32), on the CPU in eager mode. Int4 tensors need a GPU to be packed:
what their constructor computes before that is called here.
"""

from pathlib import Path

import numpy as np
import torch
from torchao.prototype.mx_formats.config import ScaleCalculationMode
from torchao.prototype.mx_formats.mx_tensor import to_dtype, to_mx
from torchao.prototype.mx_formats.nvfp4_tensor import NVFP4Tensor, per_tensor_amax_to_scale
from torchao.quantization import (Float8WeightOnlyConfig, Int8WeightOnlyConfig,
                                  IntxWeightOnlyConfig, PerGroup, PerRow, PerTensor, quantize_)
from torchao.quantization.quant_primitives import (MappingType, _choose_qparams_affine_tinygemm,
                                                   _dequantize_affine_tinygemm,
                                                   _quantize_affine_tinygemm)
from torchao.quantization.quantize_.workflows import Int8Tensor

from formats import Output
from torch_planes import bits, floats, read_inputs

MX = {"mxfp8": torch.float8_e4m3fn, "mxfp8-e5m2": torch.float8_e5m2, "mxfp6": "fp6_e2m3",
      "mxfp6-e3m2": "fp6_e3m2", "mxfp4": torch.float4_e2m1fn_x2}


def quantized(w: torch.Tensor, config) -> torch.Tensor:
    linear = torch.nn.Linear(w.shape[1], w.shape[0], bias=False, dtype=w.dtype)
    linear.weight = torch.nn.Parameter(w.clone(), requires_grad=False)
    quantize_(linear, config)
    assert type(linear.weight) is not torch.nn.Parameter
    return linear.weight


def nibbles(packed: torch.Tensor) -> np.ndarray:
    """The even element is in the low half of a byte."""
    b = packed.view(torch.uint8).numpy()
    return np.stack([b & 15, b >> 4], -1).reshape(b.shape[0], -1)


def add(out: Output, name: str, q: torch.Tensor, note: dict, mask: int = 255) -> None:
    zero = getattr(q, "zero_point", None)
    decoded = q.dequantize()
    codes = q.qdata.view(torch.uint8).numpy() & mask
    out.add(name, floats(decoded), name == "Int8WeightOnlyConfig",
            note=note | {"decoded in": str(decoded.dtype).removeprefix("torch.")},
            codes=codes.astype(np.uint8), scales=bits(q.scale),
            zeros=None if zero is None else bits(zero))


def add_integers(out: Output, w: torch.Tensor, note: dict) -> None:
    add(out, "Int8WeightOnlyConfig", quantized(w, Int8WeightOnlyConfig(version=2)), note)
    add(out, "Int8WeightOnlyConfig-tensor",
        quantized(w, Int8WeightOnlyConfig(granularity=PerTensor(), version=2)), note)
    add(out, "Int8WeightOnlyConfig-g64",
        quantized(w, Int8WeightOnlyConfig(granularity=PerGroup(64), version=2)), note)
    add(out, "Int8DynamicActivationInt8WeightConfig:activations",
        Int8Tensor.from_hp(w, PerRow()), note)
    for bits_ in (4, 2):
        config = IntxWeightOnlyConfig(getattr(torch, f"int{bits_}"), PerGroup(32))
        add(out, f"IntxWeightOnlyConfig-int{bits_}-32", quantized(w, config), note,
            (1 << bits_) - 1)
    for group in (32, 64, 128, 256):
        block = (1, group)
        scale, zero = _choose_qparams_affine_tinygemm(
            w, MappingType.ASYMMETRIC, block, torch.int32, 0, 15, scale_dtype=w.dtype,
            zero_point_dtype=w.dtype)
        codes = _quantize_affine_tinygemm(w, block, scale, zero, torch.int32, 0, 15)
        decoded = _dequantize_affine_tinygemm(codes, block, scale, zero, torch.int32, 0, 15,
                                              output_dtype=w.dtype)
        out.add(f"Int4WeightOnlyConfig-{group}", floats(decoded), False,
                note=note | {"decoded in": "bfloat16"}, codes=codes.to(torch.uint8).numpy(),
                scales=bits(scale.reshape(w.shape[0], -1)),
                zeros=bits(zero.reshape(w.shape[0], -1)))


def write(folder: Path) -> None:
    inputs = read_inputs(folder)
    w, full = inputs["weights.bf16"][:, :256].contiguous(), inputs["weights.f32"]
    note = {"input": "weights.bf16[:, :256]"}
    out = Output(folder, "torchao", "torch", "torchao")
    add_integers(out, w, note)
    for name, granularity in (("", PerRow()), ("-tensor", PerTensor())):
        config = Float8WeightOnlyConfig(granularity=granularity)
        add(out, "Float8WeightOnlyConfig" + name, quantized(w, config), note)
    for name, element in MX.items():
        for mode in ScaleCalculationMode:
            scale, codes = to_mx(full, element, 32, mode)
            decoded = to_dtype(codes, scale, element, 32, torch.float32)
            plain = nibbles(codes) if name == "mxfp4" else codes.view(torch.uint8).numpy()
            out.add(f"{name}-{mode.value}", floats(decoded), False, note={"input": "weights.f32"},
                    codes=plain, scales=bits(scale.view(torch.uint8)))
    edges = inputs["weights.edges.f32"]
    for name in ("mxfp8", "mxfp6", "mxfp6-e3m2", "mxfp4"):
        for mode in (ScaleCalculationMode.EVEN, ScaleCalculationMode.RCEIL):
            scale, codes = to_mx(edges, MX[name], 32, mode)
            plain = nibbles(codes) if name == "mxfp4" else codes.view(torch.uint8).numpy()
            out.add(f"{name}-{mode.value}@edges", None, note={"input": "weights.edges.f32"},
                    codes=plain, scales=bits(scale.view(torch.uint8)))
    for source, suffix in (("weights.f32", ""), ("weights.mild.f32", "@mild")):
        x = inputs[source]
        outer = per_tensor_amax_to_scale(x.abs().max())
        for name, per_tensor in (("nvfp4", outer), ("nvfp4-single-level", None)):
            q = NVFP4Tensor.to_nvfp4(x, per_tensor_scale=per_tensor)
            out.add(name + suffix, floats(q.dequantize(torch.float32)), False,
                    note={"input": source}, codes=nibbles(q.qdata),
                    scales=bits(q.scale.view(torch.uint8)),
                    outer=None if per_tensor is None else bits(outer.reshape(1)))
    out.write()
