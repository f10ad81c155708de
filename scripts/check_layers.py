#!/usr/bin/env python3
"""Which folder may include which, and who may look inside a format. Prints each violation.

usage: check_layers.py [ROOT]
"""
import pathlib
import re
import sys

BELOW_MODELS = {"load", "ops", "quantize", "formats", "base"}
BELOW_ENGINE = BELOW_MODELS | {"models", "tokenizer"}
BELOW_BENCH = BELOW_ENGINE | {"engine"}
# A folder of src/ may include itself and these. `backends.h` stands for src/backends.h.
ALLOWED = {
    "base": set(),
    "formats": {"base"},
    "quantize": {"formats", "base"},
    "tokenizer": {"base"},
    "load": {"tokenizer", "formats", "base"},
    "ops": {"formats", "base"},
    "ref": {"ops", "formats", "base"},
    "cpu": {"ops", "formats", "base"},
    "cuda": {"ops", "formats", "base"},
    "models": BELOW_MODELS,
    "engine": BELOW_ENGINE,
    "bench": BELOW_BENCH,
    "app": BELOW_BENCH | {"bench", "backends.h"},
    "backends.h": {"ops", "formats", "base"},
    "backends.cc": {"backends.h", "ref", "cpu", "cuda", "ops", "formats", "base"},
}

CUDA_HEADER = re.compile(
    r"^(cuda|cublas|cudnn|cusparse|curand|cupti|nvtx|nccl|nvrtc|nvml|device_launch_parameters|mma\.h"
    r"|thrust/|cub/|cute/|cutlass/|cooperative_groups)"
)
# What makes nvcc slow, or does not compile with it (base/check.h brings fmt).
NOT_FOR_NVCC = re.compile(
    r"^(iostream|functional|map|thrust/|cub/|cute/|cutlass/|cooperative_groups|nlohmann/|fmt/"
    r"|base/check\.h)"
)
# A file compiled for one instruction set must not see a definition that baseline code shares: the
# linker may keep its copy of an inline function, and that crashes on an older machine.
ISA_FILE = re.compile(r".*_(avx2|avx512|amx)[a-z0-9_]*\.cc$")
FOR_ISA_FILE = re.compile(r"^(ops/args\.h|formats/ids\.h|[a-z0-9]*intrin\.h|std(int|def)\.h)$")

SWITCH_ON_FORMAT = re.compile(
    r"switch\s*\(.*\b(\w*format(_id)?|id|model(_id|_kind|_type)?|architecture)(\(\))?\s*\)"
)
CASE_OF_FORMAT = re.compile(r"case\s+(lowbit::)?FormatId::")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def includes_of(path):
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        match = INCLUDE.match(line)
        if match:
            yield number, match[1] == '"', match[2]


def check_include(src, path, own, quoted):
    """The reason why `path` may not include `quoted` (a path below src/), or None."""
    if not (src / quoted).exists():
        return f"{quoted} is not in src/ (write the path from src/, <...> for other libraries)"
    target = quoted.split("/")[0]
    if own not in ALLOWED:
        return f"src/{own} is not in the table of check_layers.py"
    if target != own and target not in ALLOWED[own]:
        return f"{own} may not include {target}"
    if path.suffix in (".cu", ".cuh") and NOT_FOR_NVCC.match(quoted):
        return f"{quoted} is not for nvcc"
    return None


def check_system_include(path, own, name):
    if name == "regex":
        return "<regex> is slow and can overflow the stack; use PCRE2 or plain code"
    if name == "iostream" and own != "app":
        return "<iostream> is for src/app only: library code never prints"
    if CUDA_HEADER.match(name) and own != "cuda":
        return f"<{name}>: only src/cuda may include CUDA headers"
    if path.suffix in (".cu", ".cuh") and NOT_FOR_NVCC.match(name):
        return f"<{name}> is not for nvcc"
    return None


def isa_problems(src, path, seen):
    """An ISA file, and each cpu/ header it includes, sees plain structs and intrinsics only."""
    for number, quoted, name in includes_of(path):
        if quoted and name.startswith("cpu/") and (src / name).exists():
            if name not in seen:
                seen.add(name)
                yield from isa_problems(src, src / name, seen)
        elif not FOR_ISA_FILE.match(name):
            yield path, number, f"{name}: an ISA file sees only ops/args.h and intrinsics"


def problems(src):
    for path in sorted(src.rglob("*")):
        if path.suffix not in (".h", ".cc", ".inl", ".cu", ".cuh"):
            continue
        own = path.relative_to(src).parts[0]
        for number, quoted, name in includes_of(path):
            if name.endswith(".inc"):  # generated at build time
                continue
            reason = (
                check_include(src, path, own, name)
                if quoted
                else check_system_include(path, own, name)
            )
            if reason:
                yield path, number, reason
        if own != "formats":
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                if SWITCH_ON_FORMAT.search(line) or CASE_OF_FORMAT.search(line):
                    yield path, number, "no switch on a format or model outside formats/: ask a field"
        if own == "cpu" and ISA_FILE.match(path.name):
            yield from isa_problems(src, path, set())


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent)
    found = [
        f"{path.relative_to(root)}:{number}: {reason}"
        for path, number, reason in problems(root / "src")
    ]
    print("\n".join(found) if found else "layers: ok")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
