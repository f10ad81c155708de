#!/usr/bin/env python3
"""Writes tests/golden/formats: what number formats and other tools' quantizers make of one matrix.

    pip install numpy==2.4.6 safetensors==0.8.0 gguf==0.19.0 ml_dtypes==0.6.0
    python scripts/golden/formats.py tests/golden/formats --only inputs canonical codes gguf
    pip install torch==2.6.0 torchao==0.9.0
    python scripts/golden/formats.py tests/golden/formats --only torchao09
    pip install torch==2.11.0 torchao==0.18.0 hqq==0.2.8.post1 gemlite==0.5.1 triton==3.6.0
    python scripts/golden/formats.py tests/golden/formats --only torchao hqq gemlite

(The two torchao versions need two environments; none needs a GPU.) Files, all safetensors:

    inputs     weights.f32, weights.bf16 [8, 320]; weights.mild.f32 [8, 320] (rows of one size, for
               scales per tensor); weights.edges.f32 [7, 224] (blocks where a scale of MX steps)
    canonical  lowbit's own formats by canonical_formats.py, from weights.f32 (NAME@mild: from
               weights.mild.f32, and so on; NAME@activations: every row on its own): NAME.codes,
               one stored code a byte; NAME.scales, .zeros, .meta, .outer as stored; NAME.decoded
               for some
    codes      NAME: the value of every code of a small float
    gguf       TYPE.blocks, TYPE.decoded by the `gguf` package
    torchao09, torchao, hqq, gemlite   METHOD.codes, .scales, .zeros, .outer, .decoded as that tool
               makes them

manifest.json says per file the versions, and per name the input, shapes, notes and the FNV-1a hash
of the decoded f32 numbers, -0 taken as 0.
"""

import argparse
import json
import platform
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import ml_dtypes
import numpy as np
from safetensors.numpy import load_file, save_file

import canonical_formats as canonical

N, K = 8, 320

CANONICAL = [
    "int8", "int8-g64", "int8-asym", "int8-fzero", "int8-rzero", "int8-g32-sbf16",
    *[f"int{b}{z}" for b in range(2, 8) for z in ("", "-asym", "-rzero", "-sym")],
    "int4-g8", "int4-g32", "int4-g128", "int4-g256", "int4-row", "int4-sf16", "int4-sf32",
    "int4-g32-sym-sf16", "int4-g128-asym-sf32",
    "int1", "int1-g128", "int1-fzero", "int1-rzero", "int1-asym",
    "ternary-row", "ternary-g128", "ternary5-g64",
    "fp8", "fp8-e5m2", "fp8-g128", "fp8-b128x128", "fp8-sbf16",
    "fp6", "fp6-e2m3", "fp5", "fp5-e3m1", "fp4", "fp4-e3m0", "fp3", "fp4-g32-sbf16",
    *[f"{family}-{rule}" for family in ("mxfp8", "mxfp8-e5m2", "mxfp6", "mxfp6-e3m2", "mxfp4")
      for rule in ("floor", "ceil", "even", "rceil")],
    "nvfp4",
    "int4-sym-24", "int4-g128-sym-24", "int4-24", "int4-asym-24", "int8-24", "fp8-24",
]
EDGES = [f"{family}-{rule}" for family in ("mxfp8", "mxfp6", "mxfp6-e3m2", "mxfp4")
         for rule in ("even", "rceil")]
MILD = ["int8-tensor", "ternary", "ternary5", "fp8-tensor", "fp8-b128x128", "nvfp4", "int4",
        "mxfp4", "int8-tensor-24", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "tq2_0", "tq1_0"]
WHOLE = list(canonical.K_QUANTS)  # of columns that are a multiple of 256
# The others have a hash of theirs in the manifest.
DECODED_KEPT = {"int8", "int8-rzero", "int3", "int4", "int4-asym", "int4-rzero",
                "int4-sym", "int1", "ternary-row", "fp8", "fp8-b128x128", "fp6",
                "mxfp8-rceil", "mxfp4-floor", "int4-sym-24", "int4-24", "int8-tensor@mild",
                "ternary@mild", "nvfp4@mild"}


def fnv1a(w: np.ndarray) -> str:
    h = 0xCBF29CE484222325
    for byte in np.ascontiguousarray(w.astype(np.float32) + 0.0).tobytes():  # -0 becomes 0
        h = ((h ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{h:016x}"


def make_weights() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(20240811)
    f32 = np.float32
    w = np.zeros((N, K), f32)
    w[0] = rng.normal(0, 0.02, K)
    w[1] = rng.standard_t(5, K) * 0.02
    w[2] = rng.normal(0, 0.02, K)
    w[2, [7, 100, 101, 250]] *= 20
    w[3] = rng.normal(0, 0.02, K)
    w[3, :64], w[3, 64:128] = 0, -0.0375
    w[4, :64] = rng.normal(0, 1e-39, 64).astype(f32)  # subnormal
    w[4, 64:128] = rng.normal(0, 1e-42, 64).astype(f32)
    w[4, 128:] = rng.normal(0, 1e-6, K - 128)
    w[5] = rng.normal(0, 3e3, K)
    w[5, 200] = -1e5
    w[6] = np.abs(rng.normal(0.003, 0.002, K))  # all of one sign
    # Ties of rounding, and of magnitudes.
    ties = [(127, rng.integers(-254, 255, 64) / 2, 2.0**-9),
            (15, rng.integers(0, 31, 64) / 2, 2.0**-7),
            (6, rng.choice([-5, -3.5, -2.5, -1.75, -1.25, -.75, -.25, .25, .75, 1.25, 1.75, 2.5,
                            3.5, 5, 0], 64), 2.0**-5),
            (7.5, rng.integers(-60, 61, 64) / 16, 2.0**-5),
            (1, rng.choice([-1, 1, 0.5], 64), 2.0**-6)]
    for i, (amax, values, unit) in enumerate(ties):
        values[3], values[36] = amax, -amax if i != 1 else 0
        w[7, 64 * i : 64 * (i + 1)] = values * unit
    mild = rng.normal(0, 0.02, (N, K)).astype(f32)
    mild[1] = rng.standard_t(5, K) * 0.02
    mild[2] *= 3
    mild[3, :16], mild[3, 16:32] = 0, 0.01
    mild[4] *= 0.05
    mild[5, [3, 77, 300]] = [0.4, -0.35, 0.3]
    return w, mild


def make_edges() -> np.ndarray:
    """Blocks of 32 whose largest magnitude is one where a power-of-two scale steps, and 1 to 3 ulp
    to both sides: rows for the largest number of e4m3, e2m3, e3m2, e2m1, then half a step below 2
    with 3, 2 and 1 bits of mantissa."""
    rng = np.random.default_rng(20240813)
    tops = [448, 7.5, 28, 6, 1.9375, 1.875, 1.75]
    rows = rng.uniform(-0.9, 0.9, (len(tops), 7, 32))
    for row, top in zip(rows, tops):
        top = np.float32(top * 2.0**-9)
        row *= top
        for ulps, block in zip(range(-3, 4), row):
            block[5] = (top.view(np.uint32) + np.int64(ulps)).astype(np.uint32).view(np.float32)
    return rows.reshape(len(tops), -1).astype(np.float32)


def versions(*packages: str) -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in ("numpy", "ml_dtypes", *packages):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            pass
    return found


class Output:
    """One safetensors file and its section of the manifest."""

    def __init__(self, folder: Path, name: str, *packages: str):
        self.folder, self.name = folder, name
        self.tensors: dict[str, np.ndarray] = {}
        self.section: dict = {"versions": versions(*packages), "entries": {}}

    def add(self, name: str, decoded: np.ndarray | None, keep: bool = True, /, *,
            note: dict | None = None, **planes: np.ndarray | None) -> None:
        entry = dict(note or {})
        for plane, values in planes.items():
            if values is not None:
                self.tensors[f"{name}.{plane}"] = np.ascontiguousarray(values)
        if decoded is not None:
            entry["decoded"] = fnv1a(decoded)
            if keep:
                self.tensors[f"{name}.decoded"] = np.ascontiguousarray(decoded.astype(np.float32))
        self.section["entries"][name] = entry

    def write(self) -> None:
        save_file(self.tensors, self.folder / f"{self.name}.safetensors")
        path = self.folder / "manifest.json"
        manifest = json.loads(path.read_text()) if path.exists() else {}
        manifest[self.name] = self.section
        lines = []
        for name in sorted(manifest):  # one line an entry
            section = manifest[name]
            entries = ",\n".join(f"   {json.dumps(k)}: {json.dumps(v)}"
                                 for k, v in section["entries"].items())
            head = "".join(f"  {json.dumps(k)}: {json.dumps(v)},\n"
                           for k, v in section.items() if k != "entries")
            lines.append(f' "{name}": {{\n{head}  "entries": {{\n{entries}\n  }}\n }}')
        path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def write_inputs(folder: Path) -> None:
    w, mild = make_weights()
    out = Output(folder, "inputs")
    out.tensors = {"weights.f32": w, "weights.bf16": w.astype(ml_dtypes.bfloat16),
                   "weights.mild.f32": mild, "weights.edges.f32": make_edges()}
    out.section["entries"] = {name: {"shape": list(t.shape)} for name, t in out.tensors.items()}
    out.write()


def write_canonical(folder: Path) -> None:
    inputs = load_file(folder / "inputs.safetensors")
    out = Output(folder, "canonical")
    for table, source, suffix in [(CANONICAL, "weights.f32", ""),
                                  (WHOLE, "weights.f32", ""),
                                  (MILD, "weights.mild.f32", "@mild"),
                                  (EDGES, "weights.edges.f32", "@edges")]:
        for name in table:
            note, w = {"input": source}, inputs[source]
            if table is WHOLE:
                note["columns"], w = 256, w[:, :256].copy()
            q = canonical.quantize(name, w)
            assert np.isfinite(q.decoded).all(), name
            out.add(name + suffix, q.decoded, name + suffix in DECODED_KEPT,
                    note=note, codes=q.codes, scales=q.scales, zeros=q.zeros,
                    meta=q.meta, outer=q.outer)
    w = inputs["weights.f32"]
    rows = [canonical.quantize("nvfp4", w[i : i + 1]) for i in range(N)]  # a scale per token
    out.add("nvfp4@activations", np.concatenate([q.decoded for q in rows]), False,
            note={"input": "weights.f32"}, codes=np.concatenate([q.codes for q in rows]),
            scales=np.concatenate([q.scales for q in rows]),
            outer=np.concatenate([q.outer for q in rows]))
    out.write()


def write_codes(folder: Path) -> None:
    out = Output(folder, "codes")
    theirs = {"e4m3": ml_dtypes.float8_e4m3fn, "e5m2": ml_dtypes.float8_e5m2,
              "e3m2": ml_dtypes.float6_e3m2fn, "e2m3": ml_dtypes.float6_e2m3fn,
              "e2m1": ml_dtypes.float4_e2m1fn, "e8m0": ml_dtypes.float8_e8m0fnu}
    for name, kind in theirs.items():
        bits = {"e8m0": 8}.get(name) or canonical.SMALL_FLOATS[name].bits
        codes = np.arange(1 << bits, dtype=np.uint8)
        out.tensors[name] = codes.view(kind).astype(np.float32)
        out.section["entries"][name] = {"by": "ml_dtypes " + np.dtype(kind).name}
        if name != "e8m0":  # canonical_formats.py must agree, and round as they do
            small = canonical.SMALL_FLOATS[name]
            np.testing.assert_array_equal(small.decode(codes).astype(np.float32),
                                          out.tensors[name])
            x = np.random.default_rng(1).normal(0, small.max / 4, 20000).clip(-small.max, small.max)
            x = np.concatenate([x, x * 2.0**-8, small.magnitudes(),
                                (small.magnitudes()[1:] + small.magnitudes()[:-1]) / 2])
            x = x.astype(np.float32)  # ml_dtypes rounds f64 to f32 first
            np.testing.assert_array_equal(small.encode(x.astype(np.float64)),
                                          x.astype(kind).view(np.uint8))
    for name in ("e2m2", "e3m1", "e3m0", "e2m0"):
        small = canonical.SMALL_FLOATS[name]
        out.tensors[name] = small.decode(np.arange(1 << small.bits)).astype(np.float32)
        out.section["entries"][name] = {"by": "bias 2^(e-1) - 1, subnormals, no infinity or NaN"}
    out.write()


def write_gguf(folder: Path) -> None:
    import gguf
    from gguf.quants import dequantize, quantize

    rng = np.random.default_rng(20240812)
    w = rng.normal(0, 0.02, (4, 512)).astype(np.float32)
    w[1] = rng.standard_t(5, 512) * 0.02
    w[2, :256] = 0
    w[2, 300] = -0.7
    w[3] = rng.choice([-1, 1, 0], 512) * 0.043
    out = Output(folder, "gguf", "gguf")
    out.tensors["weights.f32"] = w
    out.section["entries"]["weights.f32"] = {"shape": [4, 512]}
    for name in ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "TQ1_0", "TQ2_0"):
        kind = gguf.GGMLQuantizationType[name]
        blocks = quantize(w, kind)
        out.add(name.lower(), dequantize(blocks, kind), note={"input": "gguf weights.f32"},
                blocks=blocks)
    # The package cannot quantize these: random bytes, with sane f16 scales.
    halves = {"Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208],
              "MXFP4": []}
    for name, at in halves.items():
        kind = gguf.GGMLQuantizationType[name]
        per_block, size = gguf.GGML_QUANT_SIZES[kind]
        blocks = rng.integers(0, 256, (4, 512 // per_block, size), dtype=np.uint8)
        for offset in at:
            half = rng.normal(0, 2e-3, blocks.shape[:2]).astype(np.float16)
            blocks[..., offset : offset + 2] = half[..., None].view(np.uint8)
        if name == "MXFP4":
            blocks[..., 0] = rng.integers(110, 126, blocks.shape[:2])
        blocks = blocks.reshape(4, -1)
        decoded = dequantize(blocks, kind)
        assert np.isfinite(decoded).all()
        out.add(name.lower(), decoded, note={"input": "random blocks"}, blocks=blocks)
    out.write()


WRITERS = {"inputs": write_inputs, "canonical": write_canonical, "codes": write_codes,
           "gguf": write_gguf}
TOOLS = ("torchao09", "torchao", "hqq", "gemlite")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", choices=[*WRITERS, *TOOLS], default=list(WRITERS))
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    for name in args.only:
        if name in WRITERS:
            WRITERS[name](args.folder)
        else:
            import_module("formats_" + name).write(args.folder)


if __name__ == "__main__":
    main()
