"""PyTorch tensors to and from numpy, for the scripts that run other tools."""

from pathlib import Path

import ml_dtypes
import numpy as np
import torch
from safetensors.torch import load_file

VIEWS = {torch.bfloat16: (torch.uint16, ml_dtypes.bfloat16)}


def read_inputs(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "inputs.safetensors")


def floats(t: torch.Tensor) -> np.ndarray:
    return t.detach().to(torch.float32).numpy()


def bits(t: torch.Tensor) -> np.ndarray:
    """As stored: bf16 by its bits, 8-bit floats as bytes."""
    t = t.detach().contiguous()
    if t.dtype in VIEWS:
        raw, numpy_type = VIEWS[t.dtype]
        return t.view(raw).numpy().view(numpy_type)
    if t.dtype.itemsize == 1 and t.dtype.is_floating_point:
        return t.view(torch.uint8).numpy()
    return t.numpy()
