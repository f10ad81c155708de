"""What torchao 0.9.0 makes of the weights: the names of its llama harness. See formats.py.

From the first 256 columns of weights.bf16, in bf16 (sparse-marlin: as f16), on the CPU. Layouts
that pack for a GPU kernel are replaced by the plain one: the numbers are chosen before packing.
"""

from pathlib import Path
from unittest import mock

import numpy as np
import torch
from torchao.dtypes import (Float8Layout, PlainLayout, to_affine_quantized_floatx,
                            to_affine_quantized_intx)
from torchao.dtypes.uintx.marlin_sparse_layout import MarlinSparseLayout
from torchao.quantization import quant_api, quant_primitives
from torchao.quantization.quant_primitives import MappingType, ZeroPointDomain

from formats import Output
from torch_planes import bits, floats, read_inputs

FPX = {"fp6": (3, 2), "fpx-e2m3": (2, 3), "fpx-e3m1": (3, 1), "fpx-e2m2": (2, 2),
       "fpx-e3m0": (3, 0), "fpx-e2m1": (2, 1), "fpx-e2m0": (2, 0)}


def quantized(w: torch.Tensor, config) -> torch.Tensor:
    linear = torch.nn.Linear(w.shape[1], w.shape[0], bias=False, dtype=w.dtype)
    linear.weight = torch.nn.Parameter(w.clone(), requires_grad=False)
    quant_api.quantize_(linear, config)
    assert type(linear.weight) is not torch.nn.Parameter
    return linear.weight


def add(out: Output, name: str, q: torch.Tensor, note: dict, codes_mask: int = 255) -> None:
    codes, scale, zero = q.tensor_impl.get_plain()
    decoded = q.dequantize()
    if codes.dtype in (torch.float8_e4m3fn, torch.float8_e5m2):
        codes = codes.view(torch.uint8)
    n = decoded.shape[0]
    out.add(name, floats(decoded), name in ("int8wo", "int4wo-64", "uintx-4-64"),
            note=note | {"decoded in": str(decoded.dtype).removeprefix("torch.")},
            codes=(codes.to(torch.int32) & codes_mask).to(torch.uint8).numpy(),
            scales=bits(scale.reshape(n, -1) if scale.numel() >= n else scale.reshape(1, 1)),
            zeros=None if zero is None else bits(zero.reshape(n, -1)))


def int4(w: torch.Tensor, group: int, **more) -> torch.Tensor:
    """Int4WeightOnlyConfig's arguments with a layout that can be read back."""
    return to_affine_quantized_intx(
        w, MappingType.ASYMMETRIC, (1, group), torch.int32, 0, 15, 1e-6,
        zero_point_dtype=torch.bfloat16, preserve_zero=False,
        zero_point_domain=ZeroPointDomain.FLOAT, _layout=PlainLayout(), **more)


def sparse_marlin(w: torch.Tensor, group: int) -> torch.Tensor:
    with mock.patch.object(torch.Tensor, "cuda", lambda self: self):  # its mask is made on a GPU
        pruned = MarlinSparseLayout().pre_process(w)
    return to_affine_quantized_intx(
        pruned, MappingType.SYMMETRIC, (1, group), torch.int32, 0, 15,
        1e-6, zero_point_dtype=torch.bfloat16, preserve_zero=True,
        zero_point_domain=ZeroPointDomain.INT, _layout=PlainLayout())


def add_qqq(out: Output, w: torch.Tensor, note: dict) -> None:
    """marlin_qqq: value = (code - 8) * scale * outer, by row: code (signed) * outer * 16."""
    for name, group in (("marlin_qqq", 128), ("marlin_qqq-row", -1)):
        codes, s_group, s_channel, _ = quant_primitives.choose_qparams_and_quantize_affine_qqq(
            w.clone(), 4, group)
        decoded = quant_primitives.dequantize_affine_qqq(codes, s_group, s_channel, 4, group,
                                                         torch.float16)
        out.add(name, floats(decoded), False, note=note | {"decoded in": "float16"},
                codes=(codes & 15).to(torch.uint8).numpy(),
                scales=bits(s_group.reshape(w.shape[0], -1)) if group > 0 else None,
                outer=bits(s_channel))


def write(folder: Path) -> None:
    w = read_inputs(folder)["weights.bf16"][:, :256].contiguous()
    note = {"input": "weights.bf16[:, :256]"}
    out = Output(folder, "torchao09", "torch", "torchao")
    add(out, "int8wo", quantized(w, quant_api.int8_weight_only()), note)
    add(out, "int8dq", quantized(w, quant_api.int8_dynamic_activation_int8_weight())
        .original_weight_tensor, note)
    add(out, "int8dq:activations", quant_api._int8_symm_per_token_reduced_range_quant(w), note)
    for group in (32, 64, 128, 256):
        add(out, f"int4wo-{group}", int4(w, group), note)
    add(out, "int4wo-64-hqq", int4(w, 64, use_hqq=True), note)
    for n in range(1, 8):
        for group in (64, 8) if n in (2, 4) else (64,):
            config = quant_api.uintx_weight_only(getattr(torch, f"uint{n}"), group)
            add(out, f"uintx-{n}-{group}", quantized(w, config), note)
    for n in (2, 4):
        config = quant_api.uintx_weight_only(getattr(torch, f"uint{n}"), 64, use_hqq=True)
        add(out, f"uintx-{n}-64-hqq", quantized(w, config), note)
    add(out, "float8wo", quantized(w, quant_api.float8_weight_only()), note)
    for name, block in (("row", (1, 256)), ("tensor", tuple(w.shape))):
        mild = read_inputs(folder)["weights.mild.f32"][:, :256].to(torch.bfloat16).contiguous()
        q = to_affine_quantized_floatx(mild, block, torch.float8_e4m3fn,
                                       Float8Layout(mm_config=None), torch.float32)
        add(out, f"float8dq-{name}", q, {"input": "bf16(weights.mild.f32[:, :256])"})
    half = w.float()
    # A group of zeros is NaN here: its scale is clamped to 1e-6, whose reciprocal no f16 can hold.
    half[4], half[5] = half[0] / 2, half[5].clamp(-6e4, 6e4)
    half = half.to(torch.float16)
    for name, group in (("sparse-marlin", 128), ("sparse-marlin-row", 256)):
        add(out, name, sparse_marlin(half, group),
            note | {"note": "as f16, row 4 is row 0 / 2, row 5 clamped to +-6e4; 4 codes a quad"})
    add_qqq(out, half, note | {"note": "input as that of sparse-marlin"})
    for name, (e, m) in FPX.items():
        scale = quant_primitives.choose_qparams_affine_floatx(w, e, m)
        codes = quant_primitives.quantize_affine_floatx(w, scale, e, m)
        decoded = quant_primitives.dequantize_affine_floatx(codes, scale, e, m, torch.bfloat16)
        out.add(name, floats(decoded), name == "fp6", note=note | {"decoded in": "bfloat16"},
                codes=codes.numpy(), scales=bits(scale.reshape(-1, 1)))
        # Every code, and every tie between two: how it rounds.
        table = quant_primitives._floatx_unpacked_to_f32(
            torch.arange(1 << (e + m), dtype=torch.uint8), e, m)
        ties = (table[1:] + table[:-1]) / 2
        out.tensors[f"{name}.ties"] = np.asarray(
            quant_primitives._f32_to_floatx_unpacked(ties, e, m).numpy())
    out.section["about ties"] = "METHOD.ties[i]: code of the middle of the codes i and i + 1"
    out.write()
