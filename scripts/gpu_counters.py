#!/usr/bin/env python3
"""Checks what lowbit says that a large Linear reads, computes and takes on this GPU against Nsight
Compute (bytes of the DRAM, instructions of the tensor cores) and CUPTI (times), which Nsight Systems or
libcupti_tool.so asks (tests/cuda/cupti_tool.cc).

usage: gpu_counters.py LOWBIT [-o REPORT.json] [--model MODEL] [--formats A,B,C] [--only WHAT]
                       [--cupti-tool SO] [--seconds N]

LOWBIT     the program, or a folder that it is in
--model    whose output head is looked at; synthetic:llama3.1-8b by default (half a billion weights)
--formats  bf16,int8,mxfp4 by default
--only     counters or times
--cupti-tool   libcupti_tool.so, where it is not below LOWBIT's folder, as in build/dev; nsys is used without
--seconds  when to stop starting things; 900 by default

Each format is run twice as `lowbit bench ... batch=8 kernel_profile=True`, once under each tool, and
the kernels inside the NVTX range `head` are compared with that op in the trace. Agreed is within 2 %
for bytes and operations, 1 % for times (between two events, less what two events take: the report says
how much that was). The exit status is 1 where one does not agree, 2 where a tool
is absent or may not read counters (`ncu` needs the permission that its error names).
"""
import argparse
import csv
import io
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter

OP = "head"
SEQUENCES = 8  # as many as columns of a product of the tensor cores: none is padding
TOLERANCE = {"bytes": 0.02, "operations": 0.02, "time": 0.01}
BYTES = ("dram__bytes_read.sum", "dram__bytes_write.sum")
# Instructions of the tensor cores, with the operations of one: m16n8k16 of f16 or bf16, m16n8k32 of int8.
INSTRUCTIONS = {"sm__inst_executed_pipe_tensor_op_hmma.sum": 2 * 16 * 8 * 16,
                "sm__inst_executed_pipe_tensor_op_imma.sum": 2 * 16 * 8 * 32}
# Kernels that multiply every code with two digits of x, or with two bf16 whose sum it is, do each product
# twice (docs/architecture.md). The first that a name begins with.
PRODUCTS = {"cuda.fixed.": 2, "cuda.tiles.bf16": 2, "cuda.tiles.": 1}


# ---- pure parts ---------------------------------------------------------------------------------


def number(text):
    """A number as the tools write it: 1,234.5; None for n/a and an empty field."""
    try:
        return float(text.replace(",", ""))
    except ValueError:
        return None


def csv_rows(text):
    """Rows of the table in a tool's output, which may follow lines of other things."""
    lines = text.splitlines()
    starts = [i for i, line in enumerate(lines) if line.count(",") > 5 and
              ("Kernel Name" in line or "Kern Inst" in line)]
    return list(csv.DictReader(io.StringIO("\n".join(lines[starts[0]:])))) if starts else []


def ranges_of(row):
    """Names of the NVTX ranges around a kernel, the outermost first, from `ncu --nvtx --csv`."""
    column = next((name for name in row if name and "Push/Pop_Range" in name), None)
    fields = (row[column] or "").split('"') if column else []
    return [field.split(":")[1] for field in fields if field.count(":") > 1]


def counters_of(text):
    """[{"ranges": [...], "kernel": ..., metric: value}] of `ncu --csv --page raw --print-units base`.
    The row of units has no kernel."""
    kernels = []
    for row in csv_rows(text):
        if not row.get("Kernel Name"):
            continue
        found = {"ranges": ranges_of(row), "kernel": row["Kernel Name"]}
        for metric in (*BYTES, *INSTRUCTIONS):
            if metric in row:
                found[metric] = number(row[metric] or "")
        kernels.append(found)
    return kernels


def calls_of(kernels):
    """Kernels of one call of the op together: those whose step is decoding, in runs of one name set."""
    inside = [k for k in kernels if OP in k["ranges"] and
              any(name.startswith("decode") for name in k["ranges"])]
    names = sorted({k["kernel"] for k in inside})
    calls = min((sum(k["kernel"] == name for k in inside) for name in names), default=0)
    return inside, calls


def per_call(kernels, metrics):
    """Sum of the metrics over the kernels of a call, the mean over calls; None where one is missing."""
    inside, calls = calls_of(kernels)
    values = [k.get(metric) for k in inside for metric in metrics if metric in k]
    if not calls or not values or None in values:
        return None
    return sum(values) / calls


def operations_per_call(kernels):
    known = [m for m in INSTRUCTIONS if any(m in k for k in kernels)]
    sums = [(per_call(kernels, [metric]), INSTRUCTIONS[metric]) for metric in known]
    if not sums or any(value is None for value, _ in sums):
        return None
    return sum(value * each for value, each in sums)


def cupti_seconds(text):
    """Of a call, from `nsys stats --report nvtx_kern_sum --format csv`: medians of its kernels."""
    total = 0.0
    for row in csv_rows(text):
        name = (row.get("NVTX Range") or "").split(":")[-1]  # "domain:range", or the range
        if name == OP:
            total += (number(row.get("Med (ns)") or "") or 0) * 1e-9
    return total or None


def tool_seconds(text):
    """The same from the lines of libcupti_tool.so, "path<TAB>nanoseconds": the median of decode steps."""
    times = [float(duration) * 1e-9 for path, _, duration in
             (line.partition("\t") for line in text.splitlines())
             if path.startswith("decode") and path.endswith(f"/{OP}")]
    return statistics.median(times) if times else None


def op_of(trace):
    """What the trace says of the op, in its commonest form: {"kernel", "bytes", "flops", "seconds",
    "event_overhead_us"}, the last of which is not in the seconds."""
    events = [e for e in trace["traceEvents"] if e.get("args", {}).get("op") == OP]
    if not events:
        return None
    form = Counter((e["name"], e["args"]["bytes"], e["args"]["flops"]) for e in events)
    (kernel, moved, flops), _ = form.most_common(1)[0]
    times = [e["dur"] * 1e-6 for e in events if e["args"]["flops"] == flops]
    return {"kernel": kernel, "bytes": moved, "flops": flops, "seconds": statistics.median(times),
            "event_overhead_us": trace.get("otherData", {}).get("event_overhead_us", 0)}


def products_of(kernel):
    return next((factor for name, factor in PRODUCTS.items() if kernel.startswith(name)), 1)


def compare(fmt, what, ours, theirs, why=""):
    """One line of the report."""
    row = {"format": fmt, "what": what, "ours": ours, "theirs": theirs, "difference": None,
           "tolerance": TOLERANCE[what], "verdict": "not measured", "reason": why}
    if ours and theirs:
        row["difference"] = ours / theirs - 1
        row["verdict"] = "agrees" if abs(row["difference"]) <= TOLERANCE[what] else "differs"
    elif not why:
        row["reason"] = f"no kernel of the range {OP} in its output" if ours else "no such op in the trace"
    return row


def table(rows):
    lines = [["format", "what", "lowbit", "tool", "difference", ""]]
    for row in rows:
        shown = [f"{row[key]:.6g}" if row[key] else "-" for key in ("ours", "theirs")]
        by = f"{100 * row['difference']:+.2f} %" if row["difference"] is not None else "-"
        lines.append([row["format"], row["what"], *shown, by,
                      " ".join([row["verdict"], row["reason"]]).strip()])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(line, widths)).rstrip() for line in lines)


# ---- running ------------------------------------------------------------------------------------


class Runs:
    def __init__(self, program, model, seconds, cupti_tool=None):
        self.program, self.model, self.cupti_tool = program, model, cupti_tool
        self.end = time.monotonic() + seconds

    def run(self, words, environment=None):
        """(output, why): `why` says what went wrong, "" if nothing did."""
        if shutil.which(words[0]) is None:
            return "", f"{words[0]} is not installed"
        left = self.end - time.monotonic()
        if left <= 0:
            return "", "no time left"
        try:
            done = subprocess.run(words, capture_output=True, text=True, errors="replace", timeout=left,
                                  check=False, env={**os.environ, **(environment or {})})
        except subprocess.TimeoutExpired:
            return "", f"killed after {left:.0f} s"
        said = done.stdout + done.stderr
        if done.returncode == 0 and "ERR_NVGPUCTRPERM" not in said:
            return done.stdout, ""
        wrong = [line for line in said.splitlines() if "ERROR" in line or "error" in line]
        return "", (wrong or said.splitlines() or [f"exit {done.returncode}"])[-1].strip()

    def bench(self, fmt, folder):
        keys = {"model": self.model, "format": fmt, "device": "cuda", "batch": SEQUENCES,
                "prompt_tokens": 4, "new_tokens": 4, "min_samples": 1, "max_seconds": 0.1,
                "quality": "none", "kernel_profile": "True", "profiling_dir": folder}
        return [self.program, "bench", *(f"{key}={value}" for key, value in keys.items())]

    def cupti_seconds(self, fmt, folder):
        """(seconds, why) of a call, by the tool that is there."""
        times = pathlib.Path(folder) / "times"
        if self.cupti_tool:
            tool = str(self.cupti_tool.resolve())
            _, why = self.run(self.bench(fmt, folder), {
                "CUDA_INJECTION64_PATH": tool, "NVTX_INJECTION64_PATH": tool,
                "LOWBIT_CUPTI_TIMES": str(times)})
            return (tool_seconds(times.read_text(encoding="utf-8")) if times.exists() else None), why
        _, why = self.run(["nsys", "profile", "--trace", "cuda,nvtx", "--sample", "none", "--cpuctxsw", "none",
                           "--output", str(times), *self.bench(fmt, folder)])
        if why:
            return None, why
        said, why = self.run(["nsys", "stats", "--report", "nvtx_kern_sum", "--format", "csv",
                              f"{times}.nsys-rep"])
        return cupti_seconds(said), why

    def metrics(self):
        """Those of ours that this ncu knows of this GPU."""
        said, why = self.run(["ncu", "--query-metrics"])
        if why:
            return [], why
        known = {line.split()[0] for line in said.splitlines() if line.strip()}
        return [m for m in (*BYTES, *INSTRUCTIONS) if m.rsplit(".", 1)[0] in known], ""


def trace_in(folder):
    found = sorted(pathlib.Path(folder).rglob("trace.json"))
    return op_of(json.loads(found[-1].read_text(encoding="utf-8"))) if found else None


def counter_rows(runs, fmt, metrics, why):
    with tempfile.TemporaryDirectory(prefix="gpu_counters-") as folder:
        log = pathlib.Path(folder) / "ncu.csv"
        if not why:
            _, why = runs.run(["ncu", "--csv", "--page", "raw", "--print-units", "base", "--nvtx",
                               "--nvtx-include", f"{OP}/", "--target-processes", "all", "--log-file",
                               str(log), "--metrics", ",".join(metrics), *runs.bench(fmt, folder)])
        op, kernels = trace_in(folder), []
        if log.exists():
            kernels = counters_of(log.read_text(encoding="utf-8", errors="replace"))
    flops = op["flops"] * products_of(op["kernel"]) if op else None
    return [compare(fmt, "bytes", op and op["bytes"], per_call(kernels, BYTES), why),
            compare(fmt, "operations", flops, operations_per_call(kernels), why)]


def time_row(runs, fmt):
    with tempfile.TemporaryDirectory(prefix="gpu_counters-") as folder:
        seconds, why = runs.cupti_seconds(fmt, folder)
        op = trace_in(folder)
    row = compare(fmt, "time", op and op["seconds"], seconds, why)
    row["event_overhead_us"] = op and op["event_overhead_us"]
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("lowbit", type=pathlib.Path)
    parser.add_argument("-o", "--output", type=pathlib.Path)
    parser.add_argument("--model", default="synthetic:llama3.1-8b")
    parser.add_argument("--formats", default="bf16,int8,mxfp4")
    parser.add_argument("--only", choices=("counters", "times"))
    parser.add_argument("--cupti-tool", type=pathlib.Path)
    parser.add_argument("--seconds", type=float, default=900)
    asked = parser.parse_args()
    program = asked.lowbit / "lowbit" if asked.lowbit.is_dir() else asked.lowbit
    if not program.is_file():
        raise SystemExit(f"gpu_counters.py: {program}: there is no such program; build it first")
    built = program.resolve().parent / "tests/cuda/libcupti_tool.so"
    tool = asked.cupti_tool or (built if built.exists() else None)
    runs = Runs(str(program.resolve()), asked.model, asked.seconds, tool)
    metrics, why = runs.metrics() if asked.only != "times" else ([], "")
    rows = []
    for fmt in asked.formats.split(","):
        if asked.only != "times":
            rows += counter_rows(runs, fmt, metrics, why)
        if asked.only != "counters":
            rows.append(time_row(runs, fmt))
    print(table(rows))
    for row in rows:
        if row.get("event_overhead_us"):
            print(f"{row['format']}: two events take {row['event_overhead_us']:.2f} us, which are not in its time")
    if asked.output:
        asked.output.write_text(json.dumps({"model": asked.model, "op": OP, "rows": rows}, indent=1) + "\n",
                                encoding="utf-8")
    verdicts = {row["verdict"] for row in rows}
    return 1 if "differs" in verdicts else 2 if "not measured" in verdicts else 0


if __name__ == "__main__":
    sys.exit(main())
