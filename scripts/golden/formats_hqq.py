"""What hqq 0.2.8.post1 makes of weights.f32[:, :256], on the CPU in f32, axis 1. See formats.py.

value = (code - zero) * scale; hqq's defaults per number of bits (4 bits: rounded zero).
"""

from pathlib import Path

import numpy as np
import torch
from hqq.core.quantize import BaseQuantizeConfig, Quantizer

from formats import Output
from torch_planes import bits, floats, read_inputs


def write(folder: Path) -> None:
    inputs = read_inputs(folder)
    out = Output(folder, "hqq", "torch", "hqq")
    for nbits, group, optimize, source in [
            (8, 64, True, "weights.f32"), (4, 64, True, "weights.f32"),
            (3, 64, True, "weights.f32"), (2, 64, True, "weights.f32"),
            (1, 64, True, "weights.f32"), (4, 128, True, "weights.mild.f32"),
            (4, 64, True, "weights.mild.f32"), (2, 64, True, "weights.mild.f32"),
            (1, 64, True, "weights.mild.f32"), (4, 64, False, "weights.f32")]:
        w = inputs[source][:, :256].contiguous()
        params = BaseQuantizeConfig(nbits=nbits, group_size=group, axis=1)["weight_quant_params"]
        params["optimize"] = optimize
        codes, meta = Quantizer.quantize(w, **params, bitpack=False, device="cpu",
                                         compute_dtype=torch.float32)
        decoded = Quantizer.dequantize(codes, meta)
        name = (f"hqq-{nbits}-{group}" + ("" if optimize else "-no-optimize")
                + ("@mild" if "mild" in source else ""))
        out.add(name, floats(decoded), name in ("hqq-4-64@mild",),
                note={"input": source + "[:, :256]", "round_zero": params["round_zero"]},
                codes=codes.reshape(w.shape).numpy().astype(np.uint8),
                scales=bits(meta["scale"].reshape(w.shape[0], -1)),
                zeros=bits(meta["zero"].reshape(w.shape[0], -1)))
    out.write()
