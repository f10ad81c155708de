"""lowbit's canonical formats in numpy: a second implementation to compare the C++ one with.

Written from the definitions and not from the C++ code. `quantize(name, w)` rounds f32 weights
[n, k] to nearest: scale and zero in f32, rounded to their storage type, then codes in f64 on the
stored grid; `decoded` is in f64, rounded once. pip install numpy==2.4.6 ml_dtypes==0.6.0
"""

import re
from dataclasses import dataclass, replace

import ml_dtypes
import numpy as np

F32 = np.float32
STORED = {"f32": np.float32, "f16": np.float16, "bf16": ml_dtypes.bfloat16}


@dataclass(frozen=True)
class SmallFloat:
    """Sign, exponent, mantissa; bias 2^(e-1) - 1; subnormals. max_code: the largest finite one."""

    exponent: int
    mantissa: int

    @property
    def bits(self) -> int:
        return 1 + self.exponent + self.mantissa

    @property
    def bias(self) -> int:
        return (1 << (self.exponent - 1)) - 1

    @property
    def max_code(self) -> int:
        # OCP's two 8-bit types have codes that are not numbers; below 8 bits there are none.
        return {(4, 3): 0x7E, (5, 2): 0x7B}.get((self.exponent, self.mantissa),
                                                (1 << (self.bits - 1)) - 1)

    @property
    def emax(self) -> int:
        return int(np.floor(np.log2(self.max)))

    @property
    def max(self) -> float:
        return self.magnitudes()[-1]

    def magnitudes(self) -> np.ndarray:
        """The finite values of the codes without sign, ascending."""
        code = np.arange(self.max_code + 1)
        exponent, mantissa = code >> self.mantissa, code & ((1 << self.mantissa) - 1)
        fraction = mantissa / 2.0**self.mantissa
        return np.where(exponent == 0, fraction * 2.0 ** (1 - self.bias),
                        (1 + fraction) * 2.0 ** (exponent - self.bias))

    def decode(self, code: np.ndarray) -> np.ndarray:
        sign = 1 << (self.bits - 1)
        magnitude = np.full(sign, np.nan)
        magnitude[: self.max_code + 1] = self.magnitudes()
        if (self.exponent, self.mantissa) == (5, 2):
            magnitude[0x7C] = np.inf
        code = code.astype(np.int64)
        return np.where(code & sign, -1.0, 1.0) * magnitude[code & (sign - 1)]

    def encode(self, value: np.ndarray) -> np.ndarray:
        """Nearest, saturating; the sign of zero stays. Ties go to the even code, also where there is
        no mantissa to be even."""
        v = self.magnitudes()
        magnitude = np.minimum(np.abs(value), v[-1])
        low = np.clip(np.searchsorted(v, magnitude, side="right") - 1, 0, len(v) - 2)
        middle = (v[low] + v[low + 1]) / 2  # exact
        code = low + ((magnitude > middle) | ((magnitude == middle) & ((low & 1) == 1)))
        return (code | (np.signbit(value).astype(np.int64) << (self.bits - 1))).astype(np.uint8)


E4M3 = SmallFloat(4, 3)
SMALL_FLOATS = {f"e{e}m{m}": SmallFloat(e, m) for e, m in
                [(4, 3), (5, 2), (3, 2), (2, 3), (3, 1), (2, 2), (3, 0), (2, 1), (2, 0)]}


@dataclass(frozen=True)
class Format:
    family: str
    bits: int
    code: str  # "int", "uint", "sign", "ternary" or the name of a small float
    scale: str  # a key of STORED, "e8m0" or "e4m3"
    block: tuple[int, int]  # along n, along k; 0 is all
    zero: str = "none"  # "int", "float" (mid-point), "real", "offset"
    rule: str = "amax/max"
    sparse: bool = False


def family_defaults(family: str) -> Format:
    if family == "int8":
        return Format(family, 8, "int", "f32", (1, 0))
    if family == "int1":
        return Format(family, 1, "sign", "bf16", (1, 64), rule="mean")
    if re.fullmatch(r"int[2-7]", family):
        return Format(family, int(family[3]), "uint", "bf16", (1, 64), "float", "minmax")
    if family in ("ternary", "ternary5"):
        return Format(family, 2, "ternary", "f32", (0, 0), rule="mean")
    if family == "nvfp4":
        return Format(family, 4, "e2m1", "e4m3", (1, 16), rule="two-level")
    if family == "q8_0":
        return Format(family, 8, "int", "f16", (1, 32))
    if family in ("q5_0", "q4_0"):
        return Format(family, int(family[1]), "int", "f16", (1, 32), rule="extreme")
    if family in ("q5_1", "q4_1"):
        return Format(family, int(family[1]), "uint", "f16", (1, 32), "offset", "minmax")
    if family in ("tq2_0", "tq1_0"):
        return Format(family, 2, "ternary", "f16", (1, 256))
    element = {"fp8": "e4m3", "fp6": "e3m2", "fp5": "e2m2", "fp4": "e2m1", "fp3": "e2m0"}
    if family in element:
        return Format(family, int(family[2]), element[family], "f32", (1, 0))
    mx = {"mxfp8": ("e4m3", "rceil"), "mxfp6": ("e2m3", "floor"), "mxfp4": ("e2m1", "floor")}
    code, rule = mx[family]
    return Format(family, int(family[4]), code, "e8m0", (1, 32), rule=rule)


def parse(name: str) -> Format:
    family, *parts = name.split("-")
    f = family_defaults(family)
    for part in parts:
        if part == "row":
            f = replace(f, block=(1, 0))
        elif part == "tensor":
            f = replace(f, block=(0, 0))
        elif m := re.fullmatch(r"g(\d+)", part):
            f = replace(f, block=(1, int(m[1])))
        elif m := re.fullmatch(r"b(\d+)x(\d+)", part):
            f = replace(f, block=(int(m[1]), int(m[2])))
        elif part == "sym":
            f = replace(f, code="int", zero="none",
                        rule="amax/max" if f.bits == 8 else "amax/min")
        elif part in ("asym", "fzero", "rzero"):
            zero = {"asym": "int", "fzero": "float", "rzero": "real"}[part]
            f = replace(f, code="uint", zero=zero, rule="minmax")
        elif part in SMALL_FLOATS:
            f = replace(f, code=part)
        elif part in ("floor", "ceil", "even", "rceil"):
            f = replace(f, rule=part)
        elif part in ("sf32", "sf16", "sbf16"):
            f = replace(f, scale=part[1:])
        elif part == "24":
            f = replace(f, sparse=True)
        else:
            raise ValueError(f"{name}: {part}")
    return f


def code_limits(f: Format) -> tuple[float, float]:
    if f.code == "int":
        return -(2.0 ** (f.bits - 1)), 2.0 ** (f.bits - 1) - 1
    if f.code == "uint":
        return 0.0, 2.0**f.bits - 1
    if f.code in ("sign", "ternary"):
        return -1.0, 1.0
    top = SMALL_FLOATS[f.code].max
    return -top, top


def encode_codes(f: Format, value: np.ndarray) -> np.ndarray:
    """f64 on the grid of codes -> the bits that are stored."""
    if f.code in SMALL_FLOATS:
        return SMALL_FLOATS[f.code].encode(value)
    if f.code == "sign":
        return (value >= 0).astype(np.uint8)
    q = np.clip(np.rint(value), *code_limits(f)).astype(np.int64)
    return ((q + 1 if f.code == "ternary" else q) & ((1 << f.bits) - 1)).astype(np.uint8)


def decode_codes(f: Format, code: np.ndarray) -> np.ndarray:
    if f.code in SMALL_FLOATS:
        return SMALL_FLOATS[f.code].decode(code)
    q = code.astype(np.int64)
    if f.code == "sign":
        return 2.0 * q - 1
    if f.code == "ternary":
        return q - 1.0
    return (q - ((q >> (f.bits - 1)) << f.bits) if f.code == "int" else q).astype(np.float64)


def f32_exponent(amax: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """floor(log2 x), and whether x is that power of two; exact. A zero counts as 2^-1000."""
    mantissa, exponent = np.frexp(amax.astype(np.float64))
    return np.where(amax == 0, -1000, exponent - 1), mantissa == 0.5


def power_scale(f: Format, amax: np.ndarray) -> np.ndarray:
    """The E8M0 byte of each block from its f32 largest magnitude."""
    element = SMALL_FLOATS[f.code]
    if f.rule == "even":
        half = np.uint32(1 << (23 - element.mantissa - 1))
        amax = ((amax.view(np.uint32) + half) & np.uint32(0x7F800000)).view(np.float32)
    if f.rule == "rceil":
        # The smallest e with amax <= max * 2^e: floor(log2) of both and their mantissas.
        e, _ = f32_exponent(amax)
        above = amax.astype(np.float64) > element.max * 2.0 ** (e - element.emax)
        e = e - element.emax + above
    else:
        e, power = f32_exponent(amax)
        e = e - element.emax
        if f.rule == "ceil":
            e = e + ~power
    return np.clip(e + 127, 0, 254).astype(np.uint8)


def choose(f: Format, w: np.ndarray, outer: np.float32) -> tuple[np.ndarray, np.ndarray]:
    """w: [blocks, weights of a block] f32 -> scale and zero of each, in f32 (E8M0: bytes)."""
    lo, hi = w.min(1), w.max(1)
    amax = np.maximum(np.abs(lo), np.abs(hi))
    q_min, q_max = (F32(v) for v in code_limits(f))
    none = np.zeros_like(amax)
    if f.rule == "mean":
        mean = np.abs(w).astype(np.float64).mean(1).astype(F32)
        if f.code == "ternary":  # numbers that are 0 or +-m already stay as they are
            mean = np.where(((np.abs(w) == amax[:, None]) | (w == 0)).all(1), amax, mean)
        return mean, none
    if f.rule == "amax/max":
        return amax / q_max, none
    if f.rule == "amax/min":
        return amax / -q_min, none
    if f.rule == "extreme":
        return np.where(np.abs(lo) >= np.abs(hi), lo, hi) / q_min, none
    if f.rule == "two-level":
        scale = amax / F32(6) / outer if outer > 0 else none
        return np.clip(scale, F32(2.0**-6), F32(448)), none
    if f.rule != "minmax":
        return power_scale(f, amax), none
    if f.zero == "int":
        lo, hi = np.minimum(lo, F32(0)), np.maximum(hi, F32(0))
    scale = hi / q_max - lo / q_max
    flat = scale == 0
    divisor = np.where(flat, F32(1), scale)
    if f.zero == "int":
        return scale, np.where(flat, F32(0), np.clip(np.rint(-lo / divisor), F32(0), q_max))
    if f.zero == "offset":
        return scale, lo
    if f.zero == "float":
        return scale, lo + scale * F32(2 ** (f.bits - 1))
    # A block of one number: code 0 is that number.
    return np.where(flat, np.abs(lo), scale), np.where(flat, 0 - np.sign(lo), -lo / divisor)


def store(kind: str, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is stored, and its value in f64."""
    if kind == "e8m0":
        return values, 2.0 ** (values.astype(np.float64) - 127)
    if kind == "e4m3":
        codes = E4M3.encode(values.astype(np.float64))
        return codes, E4M3.decode(codes)
    stored = values.astype(STORED[kind])
    return stored, stored.astype(np.float64)


@dataclass
class Quantized:
    format: Format
    codes: np.ndarray
    scales: np.ndarray
    decoded: np.ndarray
    zeros: np.ndarray | None = None
    meta: np.ndarray | None = None
    outer: np.ndarray | None = None


def keep_two_of_four(w: np.ndarray) -> np.ndarray:
    """Positions [n, k/2] of the two largest magnitudes of each four; of equals the earlier."""
    quads = np.abs(w.reshape(w.shape[0], -1, 4))
    order = np.argsort(-quads, axis=2, kind="stable")[:, :, :2]
    return np.sort(order, axis=2).reshape(w.shape[0], -1)


def quantize(name: str, w: np.ndarray) -> Quantized:
    if name in K_QUANTS:
        return quantize_k(name, w)
    if name in OF_A_MATRIX:
        return OF_A_MATRIX[name](name, w)
    f = parse(name)
    assert w.dtype == F32 and w.ndim == 2
    n, full_k = w.shape
    meta = None
    group_k = f.block[1] or full_k
    if f.sparse:
        meta = keep_two_of_four(w)
        kept = np.take_along_axis(w.reshape(n, -1, 4), meta.reshape(n, -1, 2), 2).reshape(n, -1)
        step = group_k // 2
    else:
        kept, step = w, group_k
    k = kept.shape[1]
    outer = F32(np.abs(w).max() / F32(448 * 6)) if f.rule == "two-level" else F32(1)
    band = f.block[0] or n
    grid = (-(-n // band), -(-k // step))
    scales = zeros = None
    codes, numbers = np.zeros((n, k), np.uint8), np.zeros((n, k))
    for column in range(grid[1]):
        cols = slice(column * step, min(k, (column + 1) * step))
        if band == 1:
            blocks = kept[:, cols]
        else:  # the rows of a band are one block
            blocks = [kept[r * band : (r + 1) * band, cols] for r in range(grid[0])]
        chosen = ([choose(f, blocks, outer)] if band == 1 else
                  [choose(f, b.reshape(1, -1), outer) for b in blocks])
        scale, scale_value = store(f.scale, np.concatenate([c[0] for c in chosen]))
        zero = np.concatenate([c[1] for c in chosen])
        if f.zero == "int":
            zero = zero.astype(np.uint8)
            zero_value = zero.astype(np.float64)
        else:
            zero, zero_value = store(f.scale if f.zero != "none" else "f32", zero)
        if scales is None:
            scales, zeros = np.zeros(grid, scale.dtype), np.zeros(grid, zero.dtype)
        scales[:, column], zeros[:, column] = scale, zero
        rows = np.arange(n) // band
        s, z = scale_value[rows, None] * np.float64(outer), zero_value[rows, None]
        shift = {"float": 2.0 ** (f.bits - 1), "offset": 0.0}.get(f.zero, z)
        offset = z if f.zero in ("float", "offset") else 0.0
        inverse = np.divide(1.0, s, out=np.zeros_like(s), where=s != 0)
        part = kept[:, cols].astype(np.float64)
        codes[:, cols] = encode_codes(f, (part - offset) * inverse + shift)
        numbers[:, cols] = (decode_codes(f, codes[:, cols]) - shift) * s + offset
    decoded = numbers
    if f.sparse:
        quads = np.zeros((n, full_k // 4, 4))
        np.put_along_axis(quads, meta.reshape(n, -1, 2), numbers.reshape(n, -1, 2), 2)
        decoded = quads.reshape(n, full_k)
    return Quantized(f, codes, scales, decoded.astype(F32), zeros if f.zero != "none" else None,
                     meta.astype(np.uint8) if f.sparse else None,
                     np.array([outer], F32) if f.rule == "two-level" else None)


# GGUF's K-quants: bits of a code, codes that share a scale, bits of a scale, whether blocks have a
# minimum (unsigned codes and scales) or not (both signed; 6-bit scales are stored plus 32).
K_QUANTS = {"q2_k": (2, 16, 4, True), "q3_k": (3, 16, 6, False), "q4_k": (4, 32, 6, True),
            "q5_k": (5, 32, 6, True), "q6_k": (6, 16, 8, False)}


def pack_bits(codes: np.ndarray, bits: int) -> np.ndarray:
    """[rows, count] -> the bytes of each row, least significant bit first."""
    each = (codes[..., None].astype(np.int64) >> np.arange(bits)) & 1
    return np.packbits(each.reshape(len(codes), -1).astype(np.uint8), axis=1, bitorder="little")


def quantize_k(name: str, w: np.ndarray) -> Quantized:
    """By min-max with 0 in the range, or by the weight of largest magnitude; the scales of 256
    weights under one f16, which makes the largest of them the last code. No search."""
    bits, group, scale_bits, minima = K_QUANTS[name]
    f = Format(name, bits, "uint" if minima else "int", "super", (1, group), rule="levels")
    supers = w.reshape(-1, 256 // group, group)  # [super-blocks, blocks, weights]
    q_min, q_max = (F32(v) for v in code_limits(f))
    lo, hi = supers.min(2), supers.max(2)
    if minima:
        lo = np.minimum(lo, F32(0))
        levels, last = [hi / q_max - lo / q_max, 0 - lo], [2**scale_bits - 1] * 2
    else:
        levels, last = [np.where(np.abs(lo) >= np.abs(hi), lo, hi) / q_min], [-(2**(scale_bits - 1))]
    outers, stored, values = [], [], []
    for level, end in zip(levels, last):
        # The first of those that reach furthest.
        furthest = np.take_along_axis(level, np.abs(level).argmax(1)[:, None], 1)
        outer = (furthest / F32(end)).astype(np.float16)
        over = np.divide(level, outer.astype(F32), out=np.zeros_like(level), where=outer != 0)
        low, high = (0, end) if minima else (end, -end - 1)
        code = np.clip(np.rint(over), low, high).astype(np.int64)
        outers.append(outer)
        stored.append(code + 32 if scale_bits == 6 and not minima else code)
        values.append(code * outer.astype(np.float64))
    scale = values[0][..., None]
    offset = -values[1][..., None] if minima else 0.0
    inverse = np.divide(1.0, scale, out=np.zeros_like(scale), where=scale != 0)
    codes = encode_codes(f, (supers.astype(np.float64) - offset) * inverse)
    decoded = decode_codes(f, codes) * scale + offset
    planes = [pack_bits(s.reshape(len(w), -1) & (2**scale_bits - 1), scale_bits) for s in stored]
    outer = np.concatenate([o.reshape(len(w), -1, 1) for o in outers], 2).reshape(len(w), -1)
    return Quantized(f, codes.reshape(w.shape), planes[0], decoded.reshape(w.shape).astype(F32),
                     planes[1] if minima else None, None, outer)


def quantize_qqq(name: str, w: np.ndarray) -> Quantized:
    """QQQ with groups of 128, in f16: codes times a scale are rounded to 8-bit integers, which one
    f32 per row makes weights of."""
    def half(value: np.ndarray) -> np.ndarray:
        return value.astype(np.float16).astype(F32)

    f = Format(name, 4, "int", "f16", (1, 128), rule="levels")
    groups = half(w).reshape(len(w), -1, 128)
    scale = half(np.abs(groups).max(2, keepdims=True) * F32(2 / 15))
    over = np.divide(groups, scale, out=np.zeros_like(groups), where=scale != 0)
    q = np.clip(np.rint(half(over)), -8, 7)
    unit = half(np.abs(half(q * scale)).max((1, 2), keepdims=True) / F32(127))
    scale = half(np.divide(scale, unit, out=np.zeros_like(scale), where=unit != 0))
    decoded = np.rint(q.astype(np.float64) * scale) * unit
    return Quantized(f, (q.astype(np.int64) & 15).astype(np.uint8).reshape(w.shape), scale[..., 0],
                     decoded.reshape(w.shape).astype(F32), outer=unit[:, 0])


def quantize_codebook(name: str, w: np.ndarray) -> Quantized:
    """16 numbers for the matrix by Lloyd's rounds on the weights themselves, each over the largest
    magnitude of its 64 and counting as the square of that."""
    f = Format(name, 4, "uint", "bf16", (1, 64), rule="levels")
    groups = w.reshape(len(w), -1, 64).astype(np.float64)
    stored, scale = store("bf16", np.abs(groups).max(2).astype(F32))
    x = np.divide(groups, scale[..., None], out=np.zeros_like(groups), where=scale[..., None] != 0)
    flat, weight = x.ravel(), np.repeat(scale.ravel() ** 2, 64)
    order = np.argsort(flat, kind="stable")
    at = flat[order]
    sums = [np.concatenate([[0], np.cumsum(v[order])]) for v in (weight, weight * flat)]
    centers = at[np.searchsorted(sums[0], (np.arange(16) + 0.5) / 16 * sums[0][-1]) - 1]
    for _ in range(200):
        edges = np.searchsorted(at, (centers[1:] + centers[:-1]) / 2)
        total, moment = (np.diff(s[np.concatenate([[0], edges, [len(at)]])]) for s in sums)
        moved = np.where(total > 0, moment / np.where(total > 0, total, 1), centers)
        if np.abs(moved - centers).max() < 1e-7:
            break
        centers = moved
    table = centers.astype(F32)
    codes = np.searchsorted((table[1:] + table[:-1]) / 2, x)
    decoded = table[codes] * scale[..., None]
    return Quantized(f, codes.reshape(w.shape).astype(np.uint8), stored,
                     decoded.reshape(w.shape).astype(F32), outer=table)


OF_A_MATRIX = {"qqq": quantize_qqq, "codebook": quantize_codebook}
