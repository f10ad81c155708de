#!/usr/bin/env python3
"""The signal-to-noise ratio of the canonical formats, by canonical_formats.py, in dB.

    pip install numpy==2.4.6 ml_dtypes==0.6.0 safetensors==0.8.0
    python scripts/golden/sqnr.py                                     # prints a table
    python scripts/golden/sqnr.py --json tests/golden/formats/sqnr.json

512 x 4096 f32 weights of numpy.random.default_rng(0), in this order: gaussian, normal(0, 0.02);
student_t5, standard_t(5) * 0.02; outliers, the gaussian ones with each weight times 20 where
random() < 0.001. The JSON has these parameters and, for every format of formats.py (CANONICAL, WHOLE) and
of the table, the ratio sum(w^2) / sum((w - decoded)^2) of all weights.

The table has next to them what was measured with the tools of the last column on other samples
(gaussian / t5): where the method is the same, they should agree within 0.3 dB.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from canonical_formats import quantize
from formats import CANONICAL, WHOLE

# (format, gaussian, t5, whose)
MEASURED = [
    ("int8", 41.3, 34.0, "gemlite"),
    ("int4-g32", 22.1, 20.9, "tinygemm"), ("int4", 20.9, 19.2, "tinygemm"),
    ("int4-g128", 20.0, 17.6, "tinygemm"), ("int4-g256", 19.3, 16.1, "tinygemm"),
    ("int4-asym", 20.8, 19.0, "uintx-4-64"), ("int3-asym", 14.2, 12.4, "uintx-3-64"),
    ("int2-asym", 6.8, 5.6, "uintx-2-64"), ("int2-g8-asym", 10.9, 10.8, "uintx-2-8"),
    ("int4-rzero", 20.8, 19.0, "hqq, not fitted, rounded zero"),
    ("int4-g128-sym", 19.5, 16.2, "amax/8"),
    ("int4-g128-sym-24", 8.6, 9.6, "sparse-marlin, amax/7.5"),
    ("int8-rzero", 41.8, 35.5, "hqq, f32"),
    ("int8-rzero-sbf16", 39.5, 33.3, "hqq, which rounds its zero after it chose the codes"),
    ("int1", 4.5, 3.5, "sign x mean"), ("ternary", 5.8, 4.4, "absmean"),
    ("fp8", 31.6, None, "torchao"), ("fp8-tensor", 31.6, None, "torchao"),
    ("fp6", 25.6, None, "torchao"),
    ("mxfp8-floor", 30.7, None, "torchao"), ("mxfp8-rceil", 31.5, None, "torchao"),
    ("mxfp6-e3m2-rceil", 25.6, None, "torchao"), ("mxfp6-e3m2-floor", 25.4, None, "torchao"),
    ("mxfp6-floor", 31.0, 30.2, "torchao"),
    ("mxfp4-floor", 18.9, 18.0, "torchao"), ("mxfp4-ceil", 17.3, 15.4, "torchao"),
    ("mxfp4-even", 19.0, 18.2, "torchao"), ("mxfp4-rceil", 18.5, 17.6, "torchao"),
    ("nvfp4", 20.4, 20.7, "torchao"),
    *[(name, None, None, "") for name in ("int7", "int6", "int5", "int3", "int2", "int4-sym",
                                          "int1-fzero", "fp8-e5m2", "fp8-b128x128", "fp6-e2m3",
                                          "fp5", "fp5-e3m1", "fp4", "fp4-e3m0", "fp3", "int8-24",
                                          "int4-sym-24", "fp8-24", "q8_0", "q5_1", "q5_0",
                                          "q4_1", "q4_0", "tq2_0", "tq1_0", "qqq", "codebook")],
]


N, K, SEED, SIGMA = 512, 4096, 0, 0.02
OUTLIERS, FACTOR = 1e-3, 20


def samples() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(SEED)
    gaussian = rng.normal(0, SIGMA, (N, K)).astype(np.float32)
    t5 = (rng.standard_t(5, (N, K)) * SIGMA).astype(np.float32)
    factors = np.where(rng.random((N, K)) < OUTLIERS, FACTOR, 1).astype(np.float32)
    return {"gaussian": gaussian, "student_t5": t5, "outliers": gaussian * factors}


def sqnr(name: str, w: np.ndarray) -> float:
    noise = w.astype(np.float64) - quantize(name, w).decoded
    return float(10 * np.log10((w.astype(np.float64) ** 2).sum() / (noise**2).sum()))


def print_table() -> None:
    weights = samples().values()
    print(f"{'format':18} {'gaussian':>8} {'t5':>6} {'outliers':>8}   measured (difference)")
    for name, *measured, whose in MEASURED:
        found = [sqnr(name, w) for w in weights]
        notes = [f"{m} ({f - m:+.2f})" for m, f in zip(measured, found) if m is not None]
        print(f"{name:18} {found[0]:8.2f} {found[1]:6.2f} {found[2]:8.2f}   {' / '.join(notes)} "
              f"{whose}", flush=True)


def write_json(path: Path) -> None:
    names = sorted({*CANONICAL, *WHOLE, *[row[0] for row in MEASURED]})
    lines = {"generator": {"n": N, "k": K, "numpy_seed": SEED, "sigma": SIGMA, "t_degrees": 5,
                           "outlier_share": OUTLIERS, "outlier_factor": FACTOR}}
    for what, w in samples().items():
        lines[what] = {name: round(sqnr(name, w), 2) for name in names}
    with path.open("w") as file:
        json.dump(lines, file, indent=1)
        file.write("\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the ratios to this file instead")
    path = parser.parse_args().json
    if path:
        write_json(path)
    else:
        print_table()


if __name__ == "__main__":
    main()
