#!/usr/bin/env python3
"""What gpu_sanitize.sh makes of tools that find nothing, find something, or do not end.

usage: gpu_sanitize_test.py (scripts/check.sh runs it)
"""
import os
import pathlib
import subprocess
import tempfile
import textwrap
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Lists one test for each pattern, the patterns in $LACKS apart; runs one for each pattern, shard by shard.
CUDA_TEST = """\
    #!/usr/bin/env bash
    for word; do
      [[ $word == --gtest_filter=* ]] && IFS=: read -ra patterns <<<"${word#*=}"
    done
    at=0
    for pattern in "${patterns[@]}"; do
      if [[ $* == *--gtest_list_tests* ]]; then
        [[ $pattern == "$LACKS" ]] || echo "  Test"
      elif ((at++ % GTEST_TOTAL_SHARDS == GTEST_SHARD_INDEX)); then
        echo "[ RUN      ] $pattern"
        if [[ $pattern == "$SKIPS" ]]; then echo "[  SKIPPED ] $pattern"; else echo "[       OK ] $pattern"; fi
      fi
    done
"""
SANITIZER = """\
    #!/usr/bin/env bash
    tool=$2
    while [[ $1 == --* ]]; do shift 2; done
    if [[ $tool == racecheck && $HANGS == 1 ]]; then
      echo "[ RUN      ] CudaOps.Slow"
      exec sleep 30
    fi
    "$@"
    if [[ $tool == initcheck && $FINDS == 1 && $GTEST_SHARD_INDEX == 1 ]]; then
      echo "========= Uninitialized __global__ memory read"
      exit 9
    fi
"""


class Sanitize(unittest.TestCase):
    def run_script(self, *words, **settings):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            for program, text in (("cuda_test", CUDA_TEST), ("compute-sanitizer", SANITIZER),
                                  ("nvidia-smi", "#!/bin/sh\n")):
                (folder / program).write_text(textwrap.dedent(text))
                (folder / program).chmod(0o755)
            env = dict(os.environ, PATH=f"{folder}:{os.environ['PATH']}", LOGS=f"{folder}/logs",
                       **{"HANGS": "0", "FINDS": "0", "LACKS": "", "SKIPS": "", **settings})
            return subprocess.run([str(ROOT / "scripts/gpu_sanitize.sh"), name, *words],
                                  capture_output=True, text=True, env=env, check=False, timeout=120)

    def test_four_tools_that_find_nothing_are_four_clean_lines(self):
        done = self.run_script("", "2")
        lines = done.stdout.splitlines()
        self.assertEqual([line.split(",")[0] for line in lines],
                         [f"{tool}: clean" for tool in ("memcheck", "racecheck", "initcheck", "synccheck")],
                         done.stderr)
        self.assertIn("in 2 processes", lines[0])
        self.assertEqual(done.returncode, 0)

    def test_what_a_tool_finds_is_shown_and_fails(self):
        done = self.run_script("initcheck,synccheck", "2", FINDS="1")
        self.assertIn("initcheck: not clean", done.stdout)
        self.assertIn("shard 1: exit status 9", done.stdout)
        self.assertIn("Uninitialized __global__ memory read", done.stdout)
        self.assertIn("synccheck: clean", done.stdout)
        self.assertEqual(done.returncode, 1)

    def test_what_does_not_end_is_stopped_and_named(self):
        done = self.run_script("racecheck", "1", "2", HANGS="1")
        self.assertIn("stopped after 2 s in CudaOps.Slow", done.stdout)
        self.assertEqual(done.returncode, 1)

    def test_a_test_that_is_skipped_or_gone_is_no_success(self):
        done = self.run_script("memcheck", "1", SKIPS="RmsNorm.*")
        self.assertIn("1 tests did not pass or were skipped", done.stdout)
        self.assertEqual(done.returncode, 1)
        done = self.run_script("memcheck", "1", LACKS="CudaOps.*")
        self.assertIn("has no test CudaOps.*", done.stderr)
        self.assertEqual(done.returncode, 2)


if __name__ == "__main__":
    unittest.main()
