#!/usr/bin/env python3
"""The scale rules of torchao, hqq and gemlite written out in numpy, compared with what the packages
gave (formats.py): bit for bit where nothing else is said. What lowbit's aliases must compute.

    pip install numpy==2.4.6 ml_dtypes==0.6.0 safetensors==0.8.0
    python scripts/golden/tool_rules.py tests/golden/formats

Every operation on bf16 numbers is done in f32 and rounded to bf16, one by one.
"""

import sys
from pathlib import Path

import ml_dtypes
import numpy as np
from safetensors.numpy import load_file

from canonical_formats import SMALL_FLOATS, keep_two_of_four

F32 = np.float32
F32_EPS = F32(2.0**-23)


def bf16(x: np.ndarray) -> np.ndarray:
    return np.asarray(x, F32).astype(ml_dtypes.bfloat16).astype(F32)


def f16(x: np.ndarray) -> np.ndarray:
    return np.asarray(x, F32).astype(np.float16).astype(F32)


def f32(x: np.ndarray) -> np.ndarray:
    return np.asarray(x, F32)


def blocks(w: np.ndarray, group: int) -> np.ndarray:
    return w.reshape(w.shape[0], -1, group)


def spread(s: np.ndarray, group: int) -> np.ndarray:
    return np.repeat(s, group, 1)


def rows(w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.minimum(w.min(-1), 0), np.maximum(w.max(-1), 0)


def torchao_symmetric(w, group, half_range, eps, rnd):
    """s = amax / half_range; codes by the reciprocal, rounded to `rnd` at every step."""
    lo, hi = rows(blocks(w, group))
    s = np.maximum(rnd(np.maximum(-lo, hi) / F32(half_range)), eps)
    return s, np.rint(rnd(w * spread(rnd(1 / s), group)))


def int8wo(w):  # torchao 0.9.0
    s, q = torchao_symmetric(w, w.shape[1], 127.5, F32_EPS, bf16)
    return np.clip(q, -128, 127), s, None


def int8_activations(w):  # torchao 0.9.0
    s, q = torchao_symmetric(w, w.shape[1], 127, bf16(1e-5), bf16)
    return np.clip(q, -127, 127), s, None


def int8_018(w, group=None):
    """The amax is divided in bf16, everything after that is f32."""
    group = group or w.shape[1]
    lo, hi = rows(blocks(w, group))
    s = np.maximum(bf16(np.maximum(-lo, hi) / F32(127.5)), F32_EPS)
    return np.clip(np.rint(f32(w * spread(1 / s, group))), -128, 127), s, None


def intx_018(w, bits, group, eps):
    top = 2 ** (bits - 1)
    s, q = torchao_symmetric(w, group, top - 0.5, eps, bf16)
    return np.clip(q, -top, top - 1).astype(np.int64) & (2 * top - 1), s, None


def int4wo(w, group, eps):  # tinygemm
    b = blocks(w, group)
    lo, hi = b.min(2), b.max(2)
    s = np.maximum(bf16(bf16(hi - lo) / F32(15)), eps)
    z = bf16(lo + bf16(s * 8))
    low = bf16(z - bf16(s * 8))
    q = np.rint(bf16(bf16(w - spread(low, group)) / spread(s, group)))
    return np.clip(q, 0, 15), s, z


def uintx(w, bits, group):  # torchao 0.9.0
    top = 2**bits - 1
    lo, hi = rows(blocks(w, group))
    s = np.maximum(bf16(bf16(hi - lo) / F32(top)), F32_EPS)
    z = np.clip(-np.rint(bf16(lo / s)), 0, top)
    q = bf16(np.rint(bf16(w * spread(bf16(1 / s), group))) + spread(z, group))
    return np.clip(q, 0, top), s, z


def float8wo(w):  # torchao 0.9.0
    lo, hi = rows(w)
    s = np.maximum(bf16(np.maximum(-lo, hi) / F32(448)), F32_EPS)[:, None]
    return SMALL_FLOATS["e4m3"].encode(np.clip(bf16(w * bf16(1 / s)), -448, 448)), s, None


def float8_018(w):
    """As int8: the scale is an f32 that was rounded to bf16; there is no smallest one."""
    s = bf16(np.abs(w).max(1, keepdims=True) / F32(448))
    return SMALL_FLOATS["e4m3"].encode(np.clip(f32(w / s), -448, 448)), s, None


def fpx(w, element):  # torchao 0.9.0
    small = SMALL_FLOATS[element]
    s = bf16(np.maximum(np.abs(w).max(1, keepdims=True), F32(1e-12)) / F32(small.max))
    return small.encode(f32(w / s).astype(np.float64)), s, None


def sparse_marlin(w, group):  # torchao 0.9.0, in f16
    n = w.shape[0]
    # Of equal magnitudes the later index stays.
    later_first = keep_two_of_four(np.ascontiguousarray(w[:, ::-1]))
    kept = np.zeros((n, w.shape[1] // 4, 4), bool)
    np.put_along_axis(kept, later_first.reshape(n, -1, 2), True, 2)
    pruned = np.where(kept.reshape(n, -1)[:, ::-1], w, F32(0))
    s, q = torchao_symmetric(pruned, group, 7.5, f16(1e-6), f16)
    return np.clip(q + 8, 0, 15), s, None


def hqq(w, nbits, group, optimize=True):
    """f32 throughout; value = (q - z) * s with s = 1 / scale."""
    b = blocks(w, group).reshape(-1, group)
    top = F32(2**nbits - 1)
    lo, hi = b.min(1, keepdims=True), b.max(1, keepdims=True)
    span = hi - lo
    with np.errstate(divide="ignore", over="ignore"):
        scale = np.where(np.abs(span) <= F32(1e-4), F32(1), top / span)
    scale = np.minimum(scale, F32(2e4))
    z = -lo * scale
    if nbits == 4:
        z = np.rint(z)
    best = np.inf
    for _ in range(20 if optimize else 0):
        q = np.clip(np.rint(b * scale + z), 0, top)
        r = (q - z) / scale
        x = b - r
        a = np.abs(x)
        with np.errstate(divide="ignore"):
            e = np.sign(x) * np.maximum(a - F32(0.1) * a ** F32(-0.3), F32(0))
        z = (q - (b - e) * scale).mean(1, keepdims=True, dtype=F32)
        error = a.mean(dtype=F32)
        if not error < best:
            break
        best = error
    q = np.clip(np.rint(b * scale + z), 0, top)
    n = w.shape[0]
    return q.reshape(w.shape), (1 / scale).reshape(n, -1), z.reshape(n, -1)


def gemlite_int8(w):
    s = np.maximum(np.abs(w).max(1, keepdims=True) / F32(127), F32(1e-6))
    return np.rint(np.clip(w / s, -128, 127)), s, None


def gemlite_fp8(w):
    s = np.maximum(np.abs(w).max(1, keepdims=True) / F32(448), F32(1e-6))
    return SMALL_FLOATS["e4m3"].encode(np.clip(w / s, -448, 448).astype(np.float64)), s, None


def gemlite_block(w, block, top, tie_down, meta=None):
    """MXFP8, MXFP4 and NVFP4; the scale is kept as its value."""
    b = blocks(w, block)
    amax = np.abs(b).max(2)
    if meta is None:
        with np.errstate(divide="ignore"):
            s = np.maximum(2 ** np.ceil(np.log2(f32(amax / F32(top)))), F32(2.0**-30)).astype(F32)
        full = s
    else:
        s = np.minimum(f32(f32(amax / F32(6)) / F32(meta)), F32(448))
        s = s.astype(ml_dtypes.float8_e4m3fn).astype(F32)
        full = np.maximum(f32(s * F32(meta)), F32(1e-6))
    v = f32(b / full[..., None]).reshape(w.shape)
    if not tie_down:
        return SMALL_FLOATS["e4m3"].encode(np.clip(v, -448, 448).astype(np.float64)), s, None
    code = (np.abs(v)[..., None] > np.array([.25, .75, 1.25, 1.75, 2.5, 3.5, 5], F32)).sum(-1)
    return np.where((v < 0) & (code > 0), code + 8, code), s, None


def scale_values(plane: np.ndarray, e8m0: bool = False, e4m3: bool = False) -> np.ndarray:
    if e8m0:
        return 2.0 ** (plane.astype(np.float64) - 127)
    return plane.view(ml_dtypes.float8_e4m3fn).astype(F32) if e4m3 else plane.astype(F32)


def compare(name, golden, result, allowed=0, scale_tolerance=0.0, **kind) -> bool:
    codes, s, z = result
    got = golden[name + ".codes"].astype(np.int64)
    want = np.asarray(codes).astype(np.int64) & 0xFF
    wrong = int((got != want).sum())
    scales = scale_values(golden[name + ".scales"], **kind)
    off = float((np.abs(scales - s) / np.maximum(np.abs(s), 1e-30)).max())
    if z is not None:  # in units of a code where it is smaller than one
        zeros = golden[name + ".zeros"].astype(F32)
        off = max(off, float((np.abs(zeros - z) / np.maximum(np.abs(z), 1)).max()))
    ok = wrong <= allowed and off <= scale_tolerance
    print(f"{'ok  ' if ok else 'FAIL'} {name:40} codes that differ: {wrong} of {got.size}, "
          f"scales and zeros by {off:.1e}")
    return ok


def main(folder: Path) -> int:
    inputs = load_file(folder / "inputs.safetensors")
    old, new, hq, gem = (load_file(folder / f"{n}.safetensors")
                         for n in ("torchao09", "torchao", "hqq", "gemlite"))
    w = np.ascontiguousarray(inputs["weights.bf16"][:, :256].astype(F32))
    half = w.copy()
    half[4], half[5] = half[0] / 2, np.clip(half[5], -6e4, 6e4)
    half = f16(half)
    tiny = F32(2.0**-126)
    ok = [
        compare("int8wo", old, int8wo(w)), compare("int8dq", old, int8wo(w)),
        compare("int8dq:activations", old, int8_activations(w)),
        *[compare(f"int4wo-{g}", old, int4wo(w, g, bf16(1e-6))) for g in (32, 64, 128, 256)],
        *[compare(f"uintx-{b}-64", old, uintx(w, b, 64)) for b in range(1, 8)],
        compare("uintx-2-8", old, uintx(w, 2, 8)), compare("uintx-4-8", old, uintx(w, 4, 8)),
        compare("float8wo", old, float8wo(w)), compare("fp6", old, fpx(w, "e3m2")),
        *[compare(f"fpx-{e}", old, fpx(w, e)) for e in ("e2m3", "e3m1", "e2m2", "e3m0", "e2m1",
                                                         "e2m0")],
        compare("sparse-marlin", old, sparse_marlin(half, 128)),
        compare("sparse-marlin-row", old, sparse_marlin(half, 256)),
        compare("Int8WeightOnlyConfig", new, int8_018(w)),
        *[compare(f"Int4WeightOnlyConfig-{g}", new, int4wo(w, g, tiny))
          for g in (32, 64, 128, 256)],
        *[compare(f"IntxWeightOnlyConfig-int{b}-32", new, intx_018(w, b, 32, tiny))
          for b in (4, 2)],
        compare("Int8WeightOnlyConfig-g64", new, int8_018(w, 64)),
        compare("Int8DynamicActivationInt8WeightConfig:activations", new, int8_018(w)),
        compare("Float8WeightOnlyConfig", new, float8_018(w)),
        compare("A16W8_INT8", gem, (lambda q, s, _: (q, bf16(s), None))(*gemlite_int8(w))),
        compare("A8W8_INT8", gem, gemlite_int8(w)),
        compare("A16W8_FP8", gem, (lambda q, s, _: (q, bf16(s), None))(*gemlite_fp8(w))),
        compare("A8W8_FP8", gem, gemlite_fp8(w)),
        compare("A16W8_MXFP", gem, gemlite_block(w, 32, 448, False), e8m0=True),
        compare("A16W4_MXFP", gem, gemlite_block(w, 32, 6, True), e8m0=True),
        compare("A4W4_NVFP", gem, gemlite_block(w, 16, 6, True, 0.05), e4m3=True),
    ]
    # Sums over a group are in another order here: zeros differ in the last bits, codes hardly. Not
    # so where the error of two iterations is the same but for rounding, and it stops one later.
    f = np.ascontiguousarray(inputs["weights.f32"][:, :256])
    mild = np.ascontiguousarray(inputs["weights.mild.f32"][:, :256])
    ok += [compare("hqq-4-64-no-optimize", hq, hqq(f, 4, 64, False), 0, 1e-6),
           *[compare(f"hqq-{b}-64", hq, hqq(f, b, 64), 4, 1e-4) for b in (8, 4, 3, 2, 1)],
           *[compare(f"hqq-{b}-64@mild", hq, hqq(mild, b, 64), 4, 1e-4) for b in (4, 2, 1)],
           compare("hqq-4-128@mild", hq, hqq(mild, 4, 128), 4, 1e-4)]
    return 0 if all(ok) else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
