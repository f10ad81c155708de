#!/usr/bin/env python3
"""What gpu_report.py makes of outputs, and that nothing absent, broken or slow stops it.

usage: gpu_report_test.py (scripts/check.sh runs it)
"""
import json
import pathlib
import subprocess
import sys
import tempfile
import textwrap
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
sys.dont_write_bytecode = True
import gpu_report as g  # noqa: E402


def record(**values):
    return {"status": "ok", "reason": "", "unstable": [], "repro": "lowbit bench x",
            "fingerprint": {"kernels": [{"kernel": "cuda.tiles.int4"}, {"kernel": "cuda.tiles.int4"}]},
            "values": {tag: {"median": v, "lo": 0.9 * v, "hi": 1.1 * v} for tag, v in values.items()}}


ROOFLINE = {"measured": "2026-01-01T00:00:00Z", "unstable": [], "gpu": "NVIDIA H200",
            "levels": [{"name": "L2", "bytes": 5e7, "bytes_per_second": 7e12},
                       {"name": "memory", "bytes": 0, "bytes_per_second": 4.5e12}],
            "float_flops": 8e14, "integer_flops": 1.5e15, "float8_flops": 1.5e15}


class Parts(unittest.TestCase):
    def test_floors_are_reached_from_above_or_from_below(self):
        self.assertEqual(g.verdict(690, 690), "ok")
        self.assertEqual(g.verdict(689, 690), "missed")
        self.assertEqual(g.verdict(2.6, 2.5, at_most=True), "missed")
        self.assertEqual(g.verdict(5, None), "measured")
        row = g.make_row("floors", "int8", 400, "tok/s", 500, limit=800)
        self.assertEqual((row["of_floor"], row["of_limit"], row["verdict"]), (0.8, 0.5, "missed"))

    def test_the_limit_is_the_memory_over_the_bytes_of_a_token(self):
        ceilings = g.ceilings_of(ROOFLINE)
        self.assertEqual(ceilings["read_memory"], 4.5e12)
        self.assertEqual(g.decode_limit(record(bytes_per_token=4.5e9), ceilings), 1000)
        self.assertIsNone(g.decode_limit(record(), ceilings))
        self.assertIsNone(g.decode_limit(record(bytes_per_token=1), None))

    def test_the_last_record_counts_and_a_torn_line_does_not(self):
        self.assertEqual(g.last_record('note\n{"a": 1}\n{"a": 2}\n{"a": 3')["a"], 2)
        self.assertIsNone(g.last_record("nothing\n"))
        result = g.Result(1, "", "", 1, "exit 1: x")
        self.assertEqual(g.reason_of(None, result), "exit 1: x")
        self.assertEqual(g.reason_of({"status": "fail", "reason": "r"}, result), "fail: r")
        self.assertEqual(g.reason_of(record(), result), "")

    def test_attention_is_compared_with_a_plain_read(self):
        line = ("bf16   context   8192 x 1      33.6 MB  attention    10.00 us  3360 GB/s  "
                "with rope    11.00 us  plain read     8.50 us   85 %\n")
        rows = g.attention_rows("head\n" + line + line.replace("8192 x 1 ", "1024 x 4 "))
        self.assertEqual(rows[0]["name"], "bf16 at 8192 x 1")
        self.assertAlmostEqual(rows[0]["value"], 0.85)
        self.assertEqual([row["verdict"] for row in rows], ["ok", "measured"])

    def test_shards_of_a_suite_are_added_up(self):
        def shard(*tests):
            return {"testsuites": [{"name": "S", "testsuite": list(tests)}]}

        ran = {"name": "a", "status": "RUN", "result": "COMPLETED", "time": "0.5s"}
        bad = dict(ran, name="b", time="2s", failures=[{}])
        suites = g.suites_of([shard(ran, dict(ran, status="NOTRUN")), shard(bad),
                              shard(dict(ran, result="SKIPPED"))])
        self.assertEqual(suites["S"], {"passed": 1, "skipped": 1, "failed": ["b"], "seconds": 3.0,
                                       "slowest": ["b", 2.0]})
        self.assertEqual(g.unfinished_test("[ RUN      ] S.a\n[       OK ] S.a\n[ RUN      ] S.b\n"),
                         "S.b")
        self.assertIsNone(g.unfinished_test("[ RUN      ] S.a\n[  FAILED  ] S.a\n"))

    def test_rows_of_the_quality_table_are_held_to_it(self):
        def row(ppl, kl, tokens=100, **config):
            made = record(perplexity=ppl, kl_mean=kl)
            made["config"] = {"format": "int4", "quantizer": "rtn", "kv_format": "bf16", **config}
            made["quality"] = {"tokens": tokens}
            return made

        known = row(32.0, 0.03)
        for ppl, kl, good in ((32.06, 0.0314, True), (32.07, 0.03, False), (31.93, 0.03, False),
                              (32.0, 0.0316, False), (32.0, 0.0284, False)):
            found = g.quality_row(known, row(ppl, kl))
            self.assertEqual(found["verdict"], "ok" if good else "failed", found)
        self.assertEqual(g.quality_row(row(32.0, 2e-4), row(32.0, 2.9e-4))["verdict"], "ok")
        self.assertEqual(g.quality_row(row(32.0, 0), row(32.0, 0))["of_kl"], None)
        self.assertIn("the text of the table", g.quality_row(known, row(32.0, 0.03, 99))["reason"])
        self.assertEqual(g.quality_row(known, None)["verdict"], "failed")
        self.assertEqual(g.quality_row(known, dict(known, status="fail", reason="r"))["reason"], "r")

        stored = {"format": "stored", "quantizer": ""}
        records = [row(32, 0, **stored), known, row(32, 0, quantizer="hqq"), row(32, 0, **stored, kv_format="fp8"),
                   row(32, 0, format="int8+int8", named="int8dq")]
        self.assertEqual(g.quality_words(records), ["format=int4,int4@hqq,int8dq", "kv_format=fp8"])
        self.assertEqual(g.quality_words(records[:1]), [])
        self.assertEqual(g.quality_row(records[3], records[3])["name"], "stored, cache fp8")

    def test_the_committed_quality_table_can_be_asked_for(self):
        records = [json.loads(line) for line in g.QUALITY.read_text().splitlines()]
        words = g.quality_words(records)
        self.assertEqual(len(words), 2)
        self.assertEqual(len(records), 1 + sum(len(word.split(",")) for word in words))

    def test_what_models_on_two_devices_say_is_kept(self):
        test = {"name": "Rows/CudaAgrees.X/12_int4_g8", "kl_decode": "1.5e-07", "kl_prompt": "2e-05"}
        found = g.agreement_of([{"testsuites": [{"name": "S", "testsuite": [test, {"name": "other"}]}]}])
        self.assertEqual(found, {"int4_g8": {"kl_decode": 1.5e-7, "kl_prompt": 2e-5}})
        text = g.tests_text({"suites": {}, "killed": [], "shards": 1, "seconds": 1, "agreement": found})
        self.assertIn("kl_prompt to ref, largest of 1: 2e-05 (int4_g8)", text)

    def test_only_takes_sections_and_rows(self):
        self.assertEqual(g.chosen(""), (set(g.SECTIONS), set()))
        self.assertEqual(g.chosen("tests"), ({"tests"}, set()))
        self.assertEqual(g.chosen("llama2")[0], {"llama2"})
        self.assertNotIn("llama2", g.chosen("")[0])
        self.assertEqual(g.chosen("floors,int4-g64"), ({"floors"}, {"int4-g64"}))
        self.assertEqual(g.chosen("bf16")[0], {"floors", "batch", "prefill"})
        with self.assertRaises(SystemExit) as refused:
            g.chosen("flors")
        self.assertIn("flors", str(refused.exception))

    def test_the_table_has_a_line_for_every_row(self):
        rows = [g.make_row("floors", "int8", 400.0, "tok/s", 500, [390.0, 410.0], limit=800),
                g.failed_row("batch", "bf16 x 32", "fail: out of GPU memory")]
        lines = g.table(rows).splitlines()
        self.assertEqual(len(lines), 3)
        self.assertIn("390.0..410.0", lines[1])
        self.assertIn("80 %", lines[1])
        self.assertTrue(lines[1].endswith("missed"))
        self.assertTrue(lines[2].endswith("failed fail: out of GPU memory"))


LOWBIT = """\
    #!/usr/bin/env python3
    import json, sys, time
    words = sys.argv[1:]
    if words[0] == "--version":
        print("lowbit 0\\ncommit    abc123")
    elif words[0] == "roofline":
        print(json.dumps(ROOFLINE))
    elif words[0] == "generate":
        print("7", flush=True)
    elif words[0] == "quality":
        keys = dict(w.split("=", 1) for w in words[1:])
        lines = [json.loads(line) for line in open(TABLE)]
        asked = keys.get("format", "").split(",")
        kept = [r for r in lines if r["config"]["format"] in asked and r["config"]["format"] != "int3"]
        open(keys["out"], "w").write("".join(json.dumps(r) + "\\n" for r in kept))
        sys.exit("lowbit: error: text")
    elif "format=fp6" in words:
        time.sleep(60)
    elif "format=fp8" in words:
        sys.exit("lowbit: error: no kernel")
    else:
        batch = int(next((w[6:] for w in words if w.startswith("batch=")), 1))
        print(json.dumps(record(decode_tps=700.0 * batch, ttft=0.003, tpot=0.00142,
                                bytes_per_token=4.5e9, prefill_tps=41000.0,
                                prefill_flop_rate=6e14, prefill_flop_ceiling=8e14)))
"""
CUDA_TEST = """\
    #!/usr/bin/env python3
    import json, os, sys
    out = sys.argv[1].split("json:")[1]
    shard = int(os.environ["GTEST_SHARD_INDEX"])
    print("[ RUN      ] Case.%d" % shard, flush=True)
    if shard == 0:
        test = {"name": "a", "status": "RUN", "result": "COMPLETED", "time": "1s"}
        json.dump({"testsuites": [{"name": "Case", "testsuite": [test]}]}, open(out, "w"))
    else:
        os.kill(os.getpid(), 11)
"""


class WholeRun(unittest.TestCase):
    def run_report(self, folder, *words):
        out = folder / "report.json"
        done = subprocess.run([sys.executable, str(ROOT / "scripts/gpu_report.py"), str(folder), "-o",
                               str(out), *words], capture_output=True, text=True, timeout=60, check=False)
        self.assertTrue(out.is_file(), done.stderr)
        return json.loads(out.read_text()), done

    def write_lowbit(self, folder):
        helpers = ("record = lambda **v: dict(RECORD, values={t: {'median': x, 'lo': x, 'hi': x} "
                   f"for t, x in v.items()}})\nRECORD = {record()!r}\nROOFLINE = {ROOFLINE!r}\n"
                   f"TABLE = {str(g.QUALITY)!r}\n")
        source = textwrap.dedent(LOWBIT).replace("words =", helpers + "words =", 1)
        (folder / "lowbit").write_text(source)
        (folder / "lowbit").chmod(0o755)

    def test_absent_broken_and_hanging_programs_are_rows(self):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            self.write_lowbit(folder)
            (folder / "cuda_test").write_text(textwrap.dedent(CUDA_TEST))
            (folder / "cuda_test").chmod(0o755)
            report, done = self.run_report(folder, "--seconds", "8")
        rows = {(row["section"], row["name"]): row for row in report["rows"]}
        self.assertEqual(rows["floors", "int4-g64"]["verdict"], "skipped", done.stdout)
        self.assertEqual(rows["floors", "int8"]["verdict"], "ok")
        self.assertEqual(rows["floors", "int8"]["limit"], 1000)
        self.assertIn("no kernel", rows["floors", "fp8"]["reason"])
        self.assertIn("killed after", rows["floors", "fp6"]["reason"])
        self.assertIn("no time left", rows["batch", "int8 x 8"]["reason"])
        self.assertIn("not in", rows["attention", "cuda_attention_speed"]["reason"])
        self.assertEqual(report["build"]["commit"], "abc123")
        self.assertEqual(done.returncode, 1)

    def test_quality_is_scored_in_shares_and_what_is_absent_has_failed(self):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            self.write_lowbit(folder)
            report, done = self.run_report(folder, "--only", "quality", "--text", "t", "--shards", "3")
            refused = subprocess.run([sys.executable, str(ROOT / "scripts/gpu_report.py"), name, "--only",
                                      "quality"], capture_output=True, text=True, check=False)
        rows = {row["name"]: row["verdict"] for row in report["rows"]}
        self.assertEqual(len(rows), len(g.QUALITY.read_text().splitlines()))
        self.assertEqual((rows["int4"], rows["int4-g32"], rows["int3"]), ("ok", "ok", "failed"))
        self.assertEqual(done.returncode, 1)
        self.assertIn("--text is missing", refused.stderr)

    def test_a_dead_shard_is_named_and_the_others_count(self):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            (folder / "cuda_test").write_text(textwrap.dedent(CUDA_TEST))
            (folder / "cuda_test").chmod(0o755)
            report, done = self.run_report(folder, "--only", "tests", "--shards", "3")
        tests = report["tests"]
        self.assertEqual(tests["suites"]["Case"]["passed"], 1)
        self.assertEqual(len(tests["killed"]), 2)
        for shard in tests["killed"]:
            self.assertEqual(shard["why"], "ended by signal 11")
            self.assertEqual(shard["test"], f"Case.{shard['shard']}")
        self.assertIn("Case: 1 passed", done.stdout)


if __name__ == "__main__":
    unittest.main()
