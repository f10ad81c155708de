"""What gemlite 0.5.1 makes of weights.bf16[:, :256]. See formats.py.

The package asks for a GPU when it is imported and for its tables; it gets none here, and its
PyTorch functions run on the CPU, uncompiled. The functions that it really calls for activations are
Triton kernels: their rules are written out here, and marked "rule" in the manifest (X:activations;
the PyTorch function of the same name is X:activations-torch).
"""

import os
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

os.environ["TORCHDYNAMO_DISABLE"] = "1"

import ml_dtypes
import numpy as np
import torch
import triton

triton.runtime.driver.set_active(SimpleNamespace(
    get_current_target=lambda: SimpleNamespace(backend="cuda", arch=90, warp_size=32),
    get_benchmarker=lambda: None))
with mock.patch.object(torch.cuda, "get_device_properties",
                       lambda *_: SimpleNamespace(multi_processor_count=1, name="none")), \
        mock.patch.object(torch.cuda, "get_device_capability", lambda *_: (9, 0)), \
        mock.patch.object(torch.cuda, "get_device_name", lambda *_: "none"):
    import gemlite.core
    import gemlite.helper
    import gemlite.quant_utils as theirs

from formats import Output
from torch_planes import bits, floats, read_inputs

MAGNITUDES = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6])


def add_by_channel(out: Output, w: torch.Tensor, note: dict) -> None:
    for name, fp8, fp32_scale in (("A16W8_INT8", None, False), ("A8W8_INT8", None, True),
                                  ("A16W8_FP8", torch.float8_e4m3fn, False),
                                  ("A8W8_FP8", torch.float8_e4m3fn, True)):
        seen = {}
        layer = SimpleNamespace(
            pack=lambda codes, scales, **_: seen.update(codes=codes, scales=scales))
        with mock.patch.object(gemlite.helper, "GemLiteLinearTriton", lambda *_, **__: layer), \
                mock.patch.object(torch.cuda, "empty_cache", lambda: None):
            gemlite.helper.A16W8(device="cpu", fp8=fp8, fp32_scale=fp32_scale).from_weights(
                w.clone())
        decoded = seen["codes"].float() * seen["scales"].float()
        out.add(name, floats(decoded), name == "A16W8_INT8", note=note,
                codes=seen["codes"].view(torch.uint8).numpy(), scales=bits(seen["scales"]))


def add_by_block(out: Output, w: torch.Tensor, note: dict) -> None:
    theirs.fp4_values = {None: torch.cat([MAGNITUDES, -MAGNITUDES])}
    theirs.fp4_p_vals = {None: MAGNITUDES}
    theirs.fp4_thresholds = {None: (MAGNITUDES[1:] + MAGNITUDES[:-1]) / 2}
    quantizer = theirs.WeightQuantizerMXFP(device="cpu")
    shape = w.shape
    for name, run, block in (("A16W8_MXFP", quantizer.quantize_mxfp8, 32),
                             ("A16W4_MXFP", quantizer.quantize_mxfp4, 32),
                             ("A4W4_NVFP", quantizer.quantize_nvfp4, 16)):
        codes, scales = run(w.clone(), index=True)
        scales = scales.reshape(shape[0], -1)
        raw = codes.view(torch.uint8).reshape(shape)
        numbers = codes.float().reshape(shape) if codes.dtype.is_floating_point else \
            theirs.fp4_values[None][codes.int()].reshape(shape)
        full = scales.float() * (theirs.NVFP4_META_SCALE if block == 16 else 1)
        decoded = numbers * full.repeat_interleave(block, 1)
        out.add(name, floats(decoded), name == "A4W4_NVFP", note=note, codes=raw.numpy(),
                scales=bits(scales.view(torch.uint8)),
                outer=np.array([theirs.NVFP4_META_SCALE], np.float32) if block == 16 else None)


def fp4_toward_zero(v: np.ndarray) -> np.ndarray:
    """Codes; ties toward zero, negative numbers keep their sign when they become zero."""
    thresholds = np.array([0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5], np.float32)
    code = (np.abs(v)[..., None] > thresholds).sum(-1)
    return np.where(v >= 0, code, code + 8).astype(np.uint8)


def power_of_two(x: np.ndarray) -> np.ndarray:
    """E8M0 byte of the power of two at or above x > 0, at least 2^-30."""
    raw = x.view(np.uint32)
    exponent = (raw >> 23) + ((raw & 0x7FFFFF) != 0)
    return np.clip(exponent, 97, 254).astype(np.uint8)


def add_activation_rules(out: Output, x: np.ndarray, note: dict) -> None:
    f32 = np.float32
    scale = np.maximum(np.abs(x).max(1, keepdims=True) / f32(127), f32(1e-6))
    v = np.clip(x / scale, f32(-128), f32(127))
    codes = np.trunc(v) + np.where(np.abs(v - np.trunc(v)) >= 0.5, np.sign(v), 0)
    out.add("int8:activations", codes.astype(f32) * scale, False, note=note,
            codes=codes.astype(np.int8).view(np.uint8), scales=scale)

    blocks = x.reshape(x.shape[0], -1, 32)
    amax = np.abs(blocks).max(2)
    for name, top in (("mxfp8", 448), ("mxfp4", 6)):
        scale = power_of_two(amax / f32(top))
        v = blocks / (2.0 ** (scale.astype(f32) - 127))[..., None].astype(f32)
        if name == "mxfp8":
            codes = np.clip(v, f32(-448), f32(448)).astype(ml_dtypes.float8_e4m3fn).view(np.uint8)
        else:
            codes = fp4_toward_zero(v)
        out.add(f"{name}:activations", None, note=note, codes=codes.reshape(x.shape), scales=scale)

    blocks = x.reshape(x.shape[0], -1, 16)
    meta = f32(theirs.NVFP4_META_SCALE)
    scale = np.minimum(np.abs(blocks).max(2) / f32(6 * theirs.NVFP4_META_SCALE), f32(448))
    scale = scale.astype(ml_dtypes.float8_e4m3fn)
    full = np.maximum(scale.astype(f32) * meta, f32(1e-6))
    v = blocks / full[..., None]
    # Above 7 (a block beyond 448 * 6 * meta) the kernel's code runs over into the sign: left out.
    codes = fp4_toward_zero(np.clip(v, -6, 6))
    out.add("nvfp4:activations", None, note=note, codes=codes.reshape(x.shape),
            scales=scale.view(np.uint8), outer=np.array([meta]))


def add_activations(out: Output, x: torch.Tensor, note: dict) -> None:
    codes, scales = theirs.scale_activations_per_token_torch(x.clone(), torch.float8_e4m3fn)
    out.add("fp8:activations", floats(codes.float() * scales), False, note=note,
            codes=codes.view(torch.uint8).numpy(), scales=bits(scales))
    for name, run in (("mxfp8", theirs.scale_activations_mxfp8_torch),
                      ("mxfp4", theirs.scale_activations_mxfp4_torch),
                      ("nvfp4", theirs.scale_activations_nvfp4_torch)):
        codes, scales = run(x.clone())
        raw = codes.view(torch.uint8).numpy()
        if name != "mxfp8":
            raw = np.stack([raw & 15, raw >> 4], -1).reshape(x.shape)
        scales = bits(scales.view(torch.uint8))[: x.shape[0]]  # it pads rows to 16 or 32
        out.add(f"{name}:activations-torch", None, note=note, codes=raw, scales=scales)
    add_activation_rules(out, floats(x), note | {"by": "rule"})


def write(folder: Path) -> None:
    inputs = read_inputs(folder)
    w = inputs["weights.bf16"][:, :256].contiguous()
    note = {"input": "weights.bf16[:, :256]"}
    out = Output(folder, "gemlite", "torch", "gemlite")
    add_by_channel(out, w, note)
    add_by_block(out, w, note)
    add_activations(out, w, note)
    out.write()
