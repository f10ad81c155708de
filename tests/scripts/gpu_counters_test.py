#!/usr/bin/env python3
"""What gpu_counters.py reads from Nsight's tables, in the form that their manuals give them.

usage: gpu_counters_test.py (scripts/check.sh runs it)
"""
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
sys.dont_write_bytecode = True
import gpu_counters as g  # noqa: E402

READ, WRITE = g.BYTES
HMMA, IMMA = g.INSTRUCTIONS
RANGES = "thread Domain:Push/Pop_Range:PL_Type:PL_Value:CLR_Type:Color:Msg_Type:Msg"
WHERE = "(256, 1, 1)"


def quoted(fields):
    return ",".join('"' + str(field).replace('"', '""') + '"' for field in fields)


def kernel(name, ranges, *numbers):
    nested = "  ".join(f'"<default domain>:{r}:none:none:none:none:none:none"' for r in ranges)
    return quoted([0, 7, "lowbit", "host", f"7  {nested}", name, 1, 13, WHERE, WHERE, 0, "9.0", *numbers])


NCU = "\n".join([
    "==PROF== Connected to process 7 (lowbit)",
    quoted(["ID", "Process ID", "Process Name", "Host Name", RANGES, "Kernel Name", "Context", "Stream",
            "Block Size", "Grid Size", "Device", "CC", READ, WRITE, HMMA, IMMA]),
    quoted([""] * 12 + ["byte", "byte", "inst", "inst"]),
    kernel("tiles_kernel", ["prefill of 4 tokens", "head"], "9,999", "1", "7", "0"),
    kernel("prepare_kernel", ["decode at 5", "head"], "1,000", "24", "0", "0"),
    kernel("tiles_kernel", ["decode at 5", "head"], "525,336,576", "4,000,000", "2,000,000", "0"),
    kernel("prepare_kernel", ["decode at 6", "head"], "1,000", "26", "0", "0"),
    kernel("tiles_kernel", ["decode at 6", "head"], "525,336,576", "4,200,000", "2,000,000", "0"),
    kernel("tiles_kernel", ["decode at 6", "layers.0.qkv"], "77", "7", "7", "0"),
])

NSYS = """Processing [run.sqlite] with [nvtx_kern_sum.py]...

NVTX Range,Style,PID,TID,NVTX Inst,Kern Inst,Total Time (ns),Avg (ns),Med (ns),Min (ns),Max (ns),StdDev (ns),Kernel Name
:decode at 5,PushPop,7,7,1,2,233000,116500.0,116500.0,1000,232000,0.0,tiles_kernel
:head,PushPop,7,7,4,4,930000,232500.0,232000.0,231000,235000,100.0,tiles_kernel
:head,PushPop,7,7,4,4,4000,1000.0,1000.0,1000,1000,0.0,prepare_kernel
"""


def event(name, op, moved, flops, dur):
    return {"name": name, "cat": op, "ph": "X", "ts": 0, "dur": dur,
            "args": {"op": op, "bytes": moved, "flops": flops}}


class Parts(unittest.TestCase):
    def test_numbers_have_commas_and_some_are_absent(self):
        self.assertEqual(g.number("525,336,576"), 525336576)
        self.assertIsNone(g.number("n/a"))

    def test_kernels_have_their_ranges_and_the_row_of_units_is_none(self):
        kernels = g.counters_of(NCU)
        self.assertEqual(len(kernels), 6)
        self.assertEqual(kernels[1]["ranges"], ["decode at 5", "head"])
        self.assertEqual(kernels[2][READ], 525336576)

    def test_a_call_is_all_its_kernels_in_decode_steps(self):
        kernels = g.counters_of(NCU)
        self.assertEqual(g.per_call(kernels, [READ]), 525337576)
        self.assertEqual(g.per_call(kernels, [WRITE]), 4100025)
        self.assertEqual(g.operations_per_call(kernels), 2e6 * 4096)
        self.assertIsNone(g.per_call([], [READ]))

    def test_a_counter_that_could_not_be_read_is_no_figure(self):
        kernels = g.counters_of(NCU.replace('"525,336,576"', '"n/a"'))
        self.assertIsNone(g.per_call(kernels, [READ]))

    def test_times_of_cupti_are_the_medians_of_a_calls_kernels(self):
        self.assertAlmostEqual(g.cupti_seconds(NSYS), 233e-6)
        self.assertIsNone(g.cupti_seconds("no report\n"))

    def test_times_of_the_tool_are_those_of_decode_steps(self):
        lines = ["prefill of 4 tokens/head\t900000", "decode at 5/head\t231000", "decode at 6/head\t233000",
                 "decode at 6/layers.0.qkv\t9", "decode at 7/head\t240000"]
        self.assertAlmostEqual(g.tool_seconds("\n".join(lines)), 233e-6)
        self.assertIsNone(g.tool_seconds(""))

    def test_the_trace_says_what_the_op_does(self):
        events = [event("cuda.fixed.int8", "head", 5.25e8, 8.4e9, d) for d in (230, 232, 240)]
        events += [event("cuda.fixed.int8", "layers.0.qkv", 1, 1, 5), {"name": "decode", "ph": "X"}]
        op = g.op_of({"traceEvents": events})
        self.assertEqual((op["kernel"], op["bytes"], op["flops"]), ("cuda.fixed.int8", 5.25e8, 8.4e9))
        self.assertAlmostEqual(op["seconds"], 232e-6)
        self.assertIsNone(g.op_of({"traceEvents": []}))
        self.assertEqual([g.products_of(k) for k in ("cuda.fixed.int8", "cuda.tiles.bf16", "cuda.tiles.fp8")],
                         [2, 2, 1])

    def test_two_per_cent_agree_and_three_do_not(self):
        self.assertEqual(g.compare("int8", "bytes", 101.9, 100)["verdict"], "agrees")
        self.assertEqual(g.compare("int8", "bytes", 97, 100)["verdict"], "differs")
        self.assertEqual(g.compare("int8", "time", 102, 100)["verdict"], "differs")
        row = g.compare("int8", "time", 1.0, None)
        self.assertEqual((row["verdict"], row["reason"]),
                         ("not measured", "no kernel of the range head in its output"))
        self.assertIn("-2.00 %", g.table([g.compare("int8", "bytes", 98, 100)]))


class Program(unittest.TestCase):
    def run_with(self, tools, *more):
        """The exit status and output where `lowbit`, `ncu` and `nsys` are what is given."""
        with tempfile.TemporaryDirectory() as folder:
            for name, script in {"lowbit": "exit 0", **tools}.items():
                path = pathlib.Path(folder) / name
                path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
                path.chmod(0o755)
            done = subprocess.run(
                [sys.executable, str(ROOT / "scripts/gpu_counters.py"), folder, "--formats", "int8", *more],
                capture_output=True, text=True, check=False,
                env={"PATH": folder + ":/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"})
            return done.returncode, done.stdout + done.stderr

    def test_tools_that_refuse_are_named(self):
        code, said = self.run_with({"ncu": "echo '==ERROR== ERR_NVGPUCTRPERM - no permission'; exit 1",
                                    "nsys": "echo 'error: no GPU' >&2; exit 3"})
        self.assertEqual(code, 2)
        self.assertIn("ERR_NVGPUCTRPERM", said)
        self.assertIn("error: no GPU", said)

    def test_times_come_from_the_tool_that_is_named(self):
        trace = {"otherData": {"event_overhead_us": 2.25},
                 "traceEvents": [event("cuda.fixed.int8", "head", 5e8, 8e9, d) for d in (230, 232, 240)]}
        lowbit = ("for word; do case $word in profiling_dir=*) folder=${word#*=};; esac; done\n"
                  f"echo '{json.dumps(trace)}' >$folder/trace.json\n"
                  "test $CUDA_INJECTION64_PATH = $NVTX_INJECTION64_PATH || exit 1\n"
                  "printf 'decode at 5/head\\t%s\\n' {} >$LOWBIT_CUPTI_TIMES")
        for nanoseconds, expected in ((231000, 0), (240000, 1)):
            code, said = self.run_with({"lowbit": lowbit.replace("{}", str(nanoseconds))}, "--only", "times",
                                       "--cupti-tool", "tool.so")
            self.assertEqual(code, expected, said)
            self.assertIn("int8: two events take 2.25 us", said)

    def test_a_program_that_is_not_there_is_said(self):
        done = subprocess.run([sys.executable, str(ROOT / "scripts/gpu_counters.py"), "/nowhere/x"],
                              capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("/nowhere/x: there is no such program", done.stderr)


if __name__ == "__main__":
    unittest.main()
