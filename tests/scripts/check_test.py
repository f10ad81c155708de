#!/usr/bin/env python3
"""Each rule of check_layers.py and check_sizes.py finds a file that breaks it, and clean code passes.

usage: check_test.py (scripts/check.sh runs it)
"""
import pathlib
import subprocess
import sys
import tempfile

SCRIPTS = pathlib.Path(__file__).resolve().parents[2] / "scripts"
LINES = "  f();\n"

# script, {file: content}, what the output must contain ("" = must pass)
CASES = [
    ("check_layers.py", {"src/base/a.h": "", "src/formats/b.cc": '#include "base/a.h"\n'}, ""),
    (
        "check_layers.py",
        {"src/formats/a.h": "", "src/base/b.cc": '#include "formats/a.h"\n'},
        "src/base/b.cc:1: base may not include formats",
    ),
    (
        "check_layers.py",
        {"src/cpu/a.h": "", "src/ref/b.cc": '#include "cpu/a.h"\n'},
        "ref may not include cpu",
    ),
    (
        "check_layers.py",
        {"src/cuda/a.h": "", "src/app/main.cc": '#include "cuda/a.h"\n'},
        "app may not include cuda",
    ),
    (
        "check_layers.py",
        {"src/cuda/a.h": "", "src/cpu/a.h": "", "src/backends.cc": '#include "cuda/a.h"\n'
         '#include "cpu/a.h"\n'},
        "",
    ),
    ("check_layers.py", {"src/new/a.cc": '#include "new/b.h"\n', "src/new/b.h": ""}, "not in the table"),
    ("check_layers.py", {"src/ops/a.cc": "#include <cuda_runtime_api.h>\n"}, "only src/cuda"),
    ("check_layers.py", {"src/cuda/a.cc": "#include <cuda_runtime_api.h>\n"}, ""),
    ("check_layers.py", {"src/cuda/a.cu": "#include <map>\n"}, "not for nvcc"),
    ("check_layers.py", {"src/base/a.cc": "#include <regex>\n"}, "PCRE2"),
    ("check_layers.py", {"src/ops/a.cc": "switch (spec.w.format) {\n"}, "no switch on a format"),
    ("check_layers.py", {"src/ops/a.cc": "case FormatId::kInt4:\n"}, "no switch on a format"),
    ("check_layers.py", {"src/formats/a.cc": "switch (format) {\n"}, ""),
    ("check_layers.py", {"src/ops/a.cc": "switch (format.rule) {\n"}, ""),
    ("check_layers.py", {"src/cpu/linear_avx2.cc": "#include <algorithm>\n"}, "an ISA file sees only"),
    (
        "check_layers.py",
        {"src/cpu/linear_avx2.cc": '#include "cpu/rows.h"\n', "src/cpu/rows.h": "#include <span>\n"},
        "src/cpu/rows.h:1: span: an ISA file sees only",
    ),
    (
        "check_layers.py",
        {"src/ops/args.h": "", "src/cpu/linear_avx2.cc": "#include <immintrin.h>\n"
         '#include "ops/args.h"\n'},
        "",
    ),
    ("check_sizes.py", {"src/base/a.cc": "void f() {\n" + LINES * 78 + "}\n"}, ""),
    ("check_sizes.py", {"src/base/a.cc": "void f() {\n" + LINES * 79 + "}\n"}, "f: 81 lines"),
    (
        "check_sizes.py",
        {"src/base/a.cc": "A::A(int b)\n    : b_{b}, c_(1) {\n" + LINES * 79 + "}\n"},
        "A: 82 lines",
    ),
    ("check_sizes.py", {"src/cuda/a.cu": "__global__ void k() {\n" + LINES * 200 + "}\n"}, ""),
    ("check_sizes.py", {"src/cuda/a.cu": "__global__ void k() {\n" + LINES * 260 + "}\n"}, "k: 262"),
    ("check_sizes.py", {"src/base/a.cc": "int x;\n" * 801}, "801 lines"),
    ("check_sizes.py", {"src/base/a.h": "int x;\n" * 301}, "301 lines"),
    ("check_sizes.py", {"src/cuda/a.cu": "int x;\n" * 601}, "601 lines"),
    ("check_sizes.py", {"src/base/a.cc": "void f(int a, int b, int c, int d, int e, int g) {}\n"}, ""),
    (
        "check_sizes.py",
        {"src/base/a.cc": "void f(int a, int b, int c, int d, int e, M<int, int> g, int h) {}\n"},
        "f: 7 parameters",
    ),
    ("check_sizes.py", {"src/base/a.cc": "#if A\n#if B\n#endif\n#endif\n"}, "#if inside #if"),
    ("check_sizes.py", {"tests/a.cc": '// {\nconst char* s = "{{";\nchar c = \'{\';\nint f() {}\n'}, ""),
]


def failure(script, files, expected):
    with tempfile.TemporaryDirectory() as root:
        (pathlib.Path(root) / "src").mkdir()
        for name, content in files.items():
            path = pathlib.Path(root) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        run = subprocess.run(
            [sys.executable, SCRIPTS / script, root], capture_output=True, text=True, check=False
        )
    good = run.returncode == (1 if expected else 0) and expected in run.stdout
    return None if good else f"{script} {list(files)}: expected `{expected}`, got:\n{run.stdout}{run.stderr}"


def main():
    failures = [text for case in CASES if (text := failure(*case))]
    print("\n".join(failures) if failures else f"check scripts: {len(CASES)} cases ok")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
