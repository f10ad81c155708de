#!/usr/bin/env python3
"""Prints the signal-to-noise ratio of the canonical formats, by canonical_formats.py.

    pip install numpy==2.4.6 ml_dtypes==0.6.0
    python scripts/golden/sqnr.py

512 x 4096 weights: gaussian (sigma .02), student-t5 (x .02), gaussian with 0.1 % of the weights
times 20. Next to them what was measured with the tools of the last column on other samples
(gaussian / t5): where the method is the same, they should agree within 0.3 dB.
"""

import numpy as np

from canonical_formats import quantize

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
                                          "int4-sym-24", "fp8-24")],
]


def main() -> None:
    rng = np.random.default_rng(0)
    shape = (512, 4096)
    gaussian = rng.normal(0, 0.02, shape).astype(np.float32)
    t5 = (rng.standard_t(5, shape) * 0.02).astype(np.float32)
    outliers = gaussian * np.where(rng.random(shape) < 1e-3, 20, 1).astype(np.float32)
    print(f"{'format':18} {'gaussian':>8} {'t5':>6} {'outliers':>8}   measured (difference)")
    for name, *measured, whose in MEASURED:
        found = []
        for w in (gaussian, t5, outliers):
            noise = w.astype(np.float64) - quantize(name, w).decoded
            found.append(10 * np.log10((w.astype(np.float64) ** 2).sum() / (noise**2).sum()))
        notes = [f"{m} ({f - m:+.2f})" for m, f in zip(measured, found) if m is not None]
        print(f"{name:18} {found[0]:8.2f} {found[1]:6.2f} {found[2]:8.2f}   {' / '.join(notes)} "
              f"{whose}", flush=True)


if __name__ == "__main__":
    main()
