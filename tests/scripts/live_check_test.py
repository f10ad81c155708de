#!/usr/bin/env python3
"""What live_check.py writes as a model, and how it counts what a program answers.

usage: live_check_test.py (scripts/check.sh runs it)
"""
import json
import pathlib
import struct
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
sys.dont_write_bytecode = True
import live_check as c  # noqa: E402

# B is as slow as its number of layers says, but for run 1, which finds nothing.
LOWBIT = r"""
layers() { sed 's/.*num_hidden_layers": \([0-9]*\).*/\1/' "${1%% *}/config.json"; }
a=$(layers "$3") b=$(layers "$4") verdict='no difference'
case $3 in *seed=1*) ;; *) [ "$a" = "$b" ] || verdict=worse;; esac
row="{\"verdict\": \"$verdict\", \"ratio\": 1.01, \"lo\": 1.0, \"hi\": 1.02}"
echo "{\"cases\": [{\"metrics\": {\"ttft\": $row, \"decode_tps\": $row}}]}"
"""


class LiveCheck(unittest.TestCase):
    def test_a_model_is_a_safetensors_file_with_all_its_tensors(self):
        with tempfile.TemporaryDirectory() as folder:
            model = pathlib.Path(folder) / "m"
            c.write_model(model, 3)
            self.assertEqual(json.loads((model / "config.json").read_text())["num_hidden_layers"], 3)
            data = (model / "model.safetensors").read_bytes()
            size = struct.unpack("<Q", data[:8])[0]
            header = json.loads(data[8:8 + size])
            self.assertEqual(len(header), 2 + 3 * 9)
            self.assertEqual(max(t["data_offsets"][1] for t in header.values()), len(data) - 8 - size)
            norm = header["model.norm.weight"]["data_offsets"][0]
            self.assertEqual(data[8 + size + norm:][:4], c.bf16(1.0) * 2)

    def test_a_tenth_of_the_answers_may_be_wrong_and_not_a_fifth(self):
        def runs(wrong):
            verdict = {True: ("no difference", 1, 1, 1), False: ("worse", 1, 1, 1)}
            return [(kind, {tag: verdict[(kind == "same") != (run < wrong)] for tag in c.METRICS})
                    for kind in ("same", "slower") for run in range(10)]
        for wrong, good in ((0, True), (1, True), (2, False)):
            lines, right = c.summary(runs(wrong))
            self.assertEqual(right, good)
            self.assertIn(f"{10 - wrong} of 10 say `worse`", lines[2])
        self.assertFalse(c.summary([])[1])

    def run_with(self, script, *more):
        with tempfile.TemporaryDirectory() as folder:
            program = pathlib.Path(folder) / "lowbit"
            program.write_text("#!/bin/sh\n" + script, encoding="utf-8")
            program.chmod(0o755)
            done = subprocess.run([sys.executable, str(ROOT / "scripts/live_check.py"), str(program),
                                   "--layers", "2", *more], capture_output=True, text=True, check=False)
            return done.returncode, done.stdout + done.stderr

    def test_counts_what_the_program_says_of_a_model_and_of_one_with_a_layer_more(self):
        code, said = self.run_with(LOWBIT, "--runs", "1")
        self.assertEqual(code, 0, said)
        code, said = self.run_with(LOWBIT, "--runs", "4")
        self.assertIn("4 of 4 say `no difference`", said)
        self.assertIn("3 of 4 say `worse`", said)

    def test_says_what_the_program_refuses(self):
        code, said = self.run_with("echo 'error: no GPU' >&2; exit 2\n", "--device", "cuda")
        self.assertEqual(code, 1)
        self.assertIn("live_check.py: error: no GPU", said)


if __name__ == "__main__":
    unittest.main()
