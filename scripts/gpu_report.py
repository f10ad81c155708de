#!/usr/bin/env python3
"""Tests and floors of the cuda backend on this machine, from binaries that were built before, as one
JSON report and as tables. A floor that is missed is a row with the verdict `missed`; nothing that
fails, hangs or is absent keeps the rest from being measured.

usage: gpu_report.py FOLDER [-o REPORT.json] [--only NAME,...] [--seconds N] [--shards N]
       [--model MODEL] [--text FILE]

FOLDER   holds `lowbit`, `cuda_test` and `cuda_attention_speed`, there or anywhere below (build/dev)
--only   sections: device, ceilings, tests, floors, batch, prefill, startup, attention, cache; or the
         names of single rows, such as int4-g64. Ceilings are part of every section that has limits.
         Only where they are named: llama2, the rows of the llama harness on synthetic:llama2-7b, and
         quality, every row of docs/results/quality-prose-7m.jsonl scored again here on --text, which is
         the text of that table: perplexity within 0.2 %, mean KL within 5 % or 1e-4, or it has failed
--shards   processes that share the tests, or the rows of quality; by default half as many as there are
         CPUs, at most 8
--seconds  when to stop starting things; 450 by default
The exit status is 1 if a test failed or a row could not be measured, 0 if floors are missed.
"""
import argparse
import concurrent.futures
import datetime
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

SECTIONS = (
    "device", "ceilings", "tests", "floors", "batch", "prefill", "startup", "attention", "cache",
)
UNASKED = {"llama2", "quality"}  # sections that run only where they are named
ROOT = pathlib.Path(__file__).resolve().parents[1]
MODEL = "synthetic:llama3.1-8b"

# format, format of the head, least tok/s at batch 1 after a prompt of 6 and 200 new tokens
FLOORS = (
    ("bf16", "", 250),
    ("int8", "int8", 460),
    ("fp8", "int8", 460),
    ("fp6", "int8", 570),
    ("int4-g64", "int8", 690),
    ("mxfp4", "int8", 690),
    ("nvfp4", "int8", 690),
    ("int4-g64-sym-24", "int8", 820),
    ("int2-g64", "int8", 950),
    ("ternary", "int8", 1050),
    ("int1-g64", "int8", 1150),
)
MOST_STEPS_TO_FIRST_TOKEN = 2.5
# format, head, sequences, least tok/s, or least multiple of the same format at batch 1
BATCHES = (
    ("int8", "int8", 8, None, 6.0),
    ("int4-g64", "int8", 8, None, 6.0),
    ("bf16", "", 32, 6600, None),
    ("int8", "int8", 32, 12000, None),
    ("int4-g64", "int8", 32, 12000, None),
)
# format, least tok/s of a prompt of 2048
PREFILLS = (("bf16", 40000), ("int8", 35000), ("fp8", 35000), ("int4-g64", 35000), ("nvfp4", 35000))
MOST_STARTUP_SECONDS = 12
LEAST_ATTENTION = 0.8  # of a plain read
ATTENTION_CONTEXTS = (8192, 65536)
CACHES = (8192, 131072)
LEAST_OF_SMALL_CACHE = 0.98
LLAMA2 = ("", "int8wo", "int4wo-64", "fp6", "uintx-4-64", "uintx-2-8", "sparse-marlin")
QUALITY = ROOT / "docs/results/quality-prose-7m.jsonl"
MOST_PERPLEXITY, MOST_KL, LEAST_KL = 0.002, 0.05, 1e-4  # of the table's; the last is in nats
NO_TIME = "no time left"


# ---- pure parts ---------------------------------------------------------------------------------


def verdict(value, floor, at_most=False):
    """ok or missed; measured where there is no floor."""
    if floor is None:
        return "measured"
    return "ok" if (value <= floor if at_most else value >= floor) else "missed"


def make_row(section, name, value, unit, floor=None, interval=None, at_most=False, limit=None, **more):
    """One line of the report. `of_floor` and `of_limit` are above one where value is above them."""
    row = {"section": section, "name": name, "value": value, "unit": unit, "interval": interval,
           "floor": floor, "of_floor": None, "limit": limit, "of_limit": None,
           "verdict": verdict(value, floor, at_most)}
    if floor:
        row["of_floor"] = value / floor
    if limit:
        row["of_limit"] = value / limit
    row.update(more)
    return row


def failed_row(section, name, reason, state="failed"):
    row = make_row(section, name, None, "")
    row.update(verdict=state, reason=reason)
    return row


def last_record(text):
    """The last JSON object of a text of lines; None without one."""
    for line in reversed(text.splitlines()):
        if line.startswith("{"):
            try:
                return json.loads(line)
            except ValueError:
                continue
    return None


def reason_of(record, result):
    """Why a bench case has no figures; "" if it has."""
    if record is None:
        return result.why or "no record on its output"
    if record["status"] != "ok":
        return f"{record['status']}: {record['reason']}"
    return ""


def state_of(result):
    """Of a row without figures: what was never started is not a failure of what it measures."""
    return "skipped" if result.why == NO_TIME else "failed"


def decode_limit(record, ceilings):
    """tok/s at which the bytes of a step are read as fast as the memory goes; None if not known."""
    per_token = record["values"].get("bytes_per_token")
    if not ceilings or not per_token or not per_token["median"]:
        return None
    return ceilings["read_memory"] / per_token["median"]


def value_of(record, tag):
    found = record["values"].get(tag)
    return (found["median"], [found["lo"], found["hi"]]) if found else (None, None)


def kernels_of(record):
    return sorted({choice["kernel"] for choice in record["fingerprint"]["kernels"]})


def notes_of(record):
    """What else a row says of the case it comes from."""
    tags = ("peak_device_memory", "model_bytes", "load_time", "energy_per_token", "power",
            "device_clock", "device_temperature", "ceiling_fraction")
    notes = {tag: value_of(record, tag)[0] for tag in tags if tag in record["values"]}
    return {"unstable": record["unstable"], "kernels": kernels_of(record), "also": notes,
            "repro": record["repro"]}


def ceilings_of(report):
    """{"read_l2", "read_memory", "float", "integer", "float8"} of `lowbit roofline -o json`."""
    levels = {level["name"].lower(): level["bytes_per_second"] for level in report["levels"]}
    found = {f"read_{name}": rate for name, rate in levels.items()}
    for kind in ("float", "integer", "float8"):
        found[kind] = report[f"{kind}_flops"]
    found.update(measured=report["measured"], unstable=report["unstable"], gpu=report["gpu"])
    return found


ATTENTION = re.compile(
    r"^(\S+)\s+context\s+(\d+) x (\d+)\s.*attention\s+([\d.]+) us.*plain read\s+([\d.]+) us")


def attention_rows(text):
    """Rows of cuda_attention_speed's output: how much of a plain read's rate attention has."""
    rows = []
    for line in text.splitlines():
        match = ATTENTION.match(line)
        if not match:
            continue
        cache, context, sequences = match[1], int(match[2]), int(match[3])
        attention, read = float(match[4]), float(match[5])
        wanted = sequences == 1 and context in ATTENTION_CONTEXTS
        rows.append(make_row("attention", f"{cache} at {context} x {sequences}", read / attention,
                             "of a plain read", floor=LEAST_ATTENTION if wanted else None,
                             attention_us=attention, read_us=read))
    return rows


def quality_key(record):
    """What says which row of a table a record is."""
    return tuple(record["config"].get(key, "") for key in ("named", "format", "quantizer", "kv_format"))


def quality_words(records):
    """The words of `lowbit quality` that score these rows; the stored weights are scored always."""
    formats, caches = [], []
    for record in records:
        named, text, quantizer, cache = quality_key(record)
        if text == "stored":
            if cache != "bf16":
                caches.append(cache)
        else:
            formats.append(named or text + (f"@{quantizer}" if quantizer != "rtn" else ""))
    return [f"{key}={','.join(names)}" for key, names in (("format", formats), ("kv_format", caches)) if names]


def quality_row(known, found):
    """A row of the table beside the same one measured here."""
    named, text, quantizer, cache = quality_key(known)
    name = (named or text) + (f"@{quantizer}" if quantizer not in ("", "rtn") else "")
    name += "" if cache == "bf16" else f", cache {cache}"
    if found is None or found["status"] != "ok":
        return failed_row("quality", name, found["reason"] if found else "was not scored")
    (ppl, kl), (ppl0, kl0) = ([record["values"][tag]["median"] for tag in ("perplexity", "kl_mean")]
                              for record in (found, known))
    if found["quality"]["tokens"] != known["quality"]["tokens"]:
        return failed_row("quality", name, f"{found['quality']['tokens']} tokens, the table has "
                                           f"{known['quality']['tokens']}: give the text of the table")
    row = make_row("quality", name, ppl / ppl0, "of its perplexity", perplexity=ppl, kl_mean=kl,
                   of_kl=kl / kl0 if kl0 else None, kernels=kernels_of(found),
                   reason=f"KL {kl:.6f}, the table has {kl0:.6f}")
    near = abs(kl - kl0) <= max(LEAST_KL, MOST_KL * kl0)
    row["verdict"] = "ok" if near and abs(ppl / ppl0 - 1) <= MOST_PERPLEXITY else "failed"
    return row


def agreement_of(documents):
    """{row: what tests/cuda/agreement_test.cc says of it}, from gtest's JSON outputs."""
    keys = ("different_ids", "widest_gap", "kl_decode", "kl_decode_of_ref", "kl_prompt", "kl_prompt_of_ref",
            "ops_worst_8", "ops_worst_40")
    return {test["name"].split("_", 1)[1]: {key: float(test[key]) for key in keys if key in test}
            for document in documents for group in document["testsuites"]
            for test in group["testsuite"] if "kl_decode" in test}


def suites_of(documents):
    """{suite: counts} of gtest's JSON outputs, one for each shard."""
    suites = {}
    for document in documents:
        for group in document["testsuites"]:
            suite = suites.setdefault(
                group["name"],
                {"passed": 0, "skipped": 0, "failed": [], "seconds": 0.0, "slowest": ["", 0.0]})
            for test in group["testsuite"]:
                if test.get("status") == "NOTRUN":
                    continue
                seconds = float(test["time"].rstrip("s"))
                suite["seconds"] = round(suite["seconds"] + seconds, 3)
                if seconds > suite["slowest"][1]:
                    suite["slowest"] = [test["name"], seconds]
                if test.get("failures"):
                    suite["failed"].append(test["name"])
                elif test.get("result") == "SKIPPED":
                    suite["skipped"] += 1
                else:
                    suite["passed"] += 1
    return {name: suite for name, suite in sorted(suites.items())
            if suite["passed"] or suite["skipped"] or suite["failed"]}


def unfinished_test(text):
    """The test that a killed shard was running."""
    running = None
    for line in text.splitlines():
        if line.startswith("[ RUN      ] "):
            running = line[13:].strip()
        elif line.startswith(("[       OK ]", "[  FAILED  ]", "[  SKIPPED ]")):
            running = None
    return running


def chosen(only):
    """(sections, rows) that --only names. Error text for a name that is neither."""
    if not only:
        return set(SECTIONS), set()
    rows = {row[0] for row in FLOORS} | {row[0] for row in BATCHES} | {row[0] for row in PREFILLS}
    sections, names = set(), set()
    for name in only.split(","):
        if name in SECTIONS or name in UNASKED:
            sections.add(name)
        elif name in rows:
            names.add(name)
        else:
            raise SystemExit(f"gpu_report.py: --only {name}: neither a section ({', '.join([*SECTIONS, *UNASKED])}) "
                             f"nor a row ({', '.join(sorted(rows))})")
    return sections or {"floors", "batch", "prefill"}, names


def number(value):
    if value is None:
        return "-"
    if abs(value) >= 1000:
        return f"{value:.0f}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.1f}"


def table(rows):
    """The rows as text, one line each, columns padded."""
    lines = [["section", "row", "value", "unit", "95 %", "floor", "of floor", "limit", "of limit", ""]]
    for row in rows:
        interval = row["interval"]
        percent = [f"{100 * row[key]:.0f} %" if row[key] else "-" for key in ("of_floor", "of_limit")]
        lines.append([row["section"], row["name"], number(row["value"]), row["unit"],
                      f"{number(interval[0])}..{number(interval[1])}" if interval else "-",
                      number(row["floor"]), percent[0], number(row["limit"]), percent[1],
                      " ".join([row["verdict"]] + ([row["reason"]] if row.get("reason") else []))])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(line, widths)).rstrip() for line in lines)


def tests_text(tests):
    if not tests:
        return ""
    text = []
    for name, suite in tests["suites"].items():
        failed = f", FAILED: {' '.join(suite['failed'])}" if suite["failed"] else ""
        skipped = f", {suite['skipped']} skipped" if suite["skipped"] else ""
        text.append(f"{name}: {suite['passed']} passed{skipped}{failed}, {suite['seconds']:.1f} s")
    for shard in tests["killed"]:
        text.append(f"shard {shard['shard']}: {shard['why']}, running {shard['test'] or 'nothing'}")
    for key in ("kl_decode", "kl_prompt"):
        rows = [(row[key], name) for name, row in tests.get("agreement", {}).items() if key in row]
        if rows:
            text.append(f"{key} to ref, largest of {len(rows)}: " + ", ".join(
                f"{value:.2g} ({name})" for value, name in sorted(rows)[:-4:-1]))
    return "\n".join(text + [f"tests: {tests['seconds']:.1f} s in {tests['shards']} processes"])


# ---- running ------------------------------------------------------------------------------------


class Result:
    def __init__(self, code, out, err, seconds, why):
        self.code, self.out, self.err, self.seconds, self.why = code, out, err, seconds, why


class Machine:
    """Runs commands until the time is over; every one has a limit of its own."""

    def __init__(self, folder, seconds, model):
        self.folder, self.model = folder, model
        self.end = time.monotonic() + seconds
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="gpu_report-"))
        self.env = dict(os.environ, XDG_CACHE_HOME=str(self.scratch),  # ceilings of this run alone
                        LOWBIT_SOURCE=str(ROOT))

    def left(self):
        return self.end - time.monotonic()

    def find(self, name):
        for path in [self.folder / name, *sorted(self.folder.rglob(name))]:
            if path.is_file() and os.access(path, os.X_OK):
                return str(path.resolve())
        return None

    def run(self, words, limit):
        """Result of a command; `why` says what went wrong, "" if nothing did."""
        program = self.find(words[0]) or shutil.which(words[0])
        if program is None:
            return Result(127, "", "", 0, f"{words[0]}: not in {self.folder}")
        if self.left() <= 0:
            return Result(None, "", "", 0, NO_TIME)
        limit = min(limit, self.left())
        begin = time.monotonic()
        try:
            done = subprocess.run([program, *words[1:]], capture_output=True, text=True, timeout=limit,
                                  env=self.env, errors="replace", check=False)
        except subprocess.TimeoutExpired as error:
            out = error.stdout.decode(errors="replace") if error.stdout else ""
            return Result(None, out, "", time.monotonic() - begin, f"killed after {limit:.0f} s")
        seconds = time.monotonic() - begin
        tail = done.stderr.strip().splitlines()
        why = "" if done.returncode == 0 else f"exit {done.returncode}: {tail[-1] if tail else ''}"
        return Result(done.returncode, done.stdout, done.stderr, seconds, why)

    def bench(self, limit=75, **keys):
        """(record, result) of one case of `lowbit bench`."""
        words = ["lowbit", "bench", f"model={self.model}", "device=cuda", "quality=none",
                 "max_seconds=2"]
        words += [f"{key}={value}" for key, value in keys.items() if value != ""]
        result = self.run([*words, "-o", "json"], limit)
        return last_record(result.out), result


def device_section(machine):
    query = ("name", "driver_version", "clocks.sm", "clocks.max.sm", "clocks.mem", "power.limit",
             "temperature.gpu", "memory.total", "compute_mode", "mig.mode.current")
    result = machine.run(["nvidia-smi", f"--query-gpu={','.join(query)}", "--format=csv,noheader"], 20)
    values = [v.strip() for v in result.out.splitlines()[0].split(",")] if result.out else []
    device = dict(zip(query, values))
    if result.why:
        device["why_unknown"] = result.why
    version = machine.run(["lowbit", "--version"], 30)
    build = dict(re.findall(r"^(\w+)\s+(.*)$", version.out, re.M))
    return device, build or {"why_unknown": version.why}


def ceilings_section(machine):
    result = machine.run(["lowbit", "roofline", "synthetic:tiny", "device=cuda", "format=bf16",
                          "fresh=true", "-o", "json"], 60)
    try:
        return ceilings_of(json.loads(result.out)), ""
    except (ValueError, KeyError) as error:
        return None, result.why or f"output not understood: {error}"


def tests_section(machine, limit, shards):
    """All shards at once: most of a test's time is the oracle's on the host."""
    program = machine.find("cuda_test")
    if program is None:
        return None, f"cuda_test: not in {machine.folder}"
    begin, running = time.monotonic(), []
    end = begin + min(limit, max(machine.left(), 1))
    for i in range(shards):
        env = dict(machine.env, GTEST_TOTAL_SHARDS=str(shards), GTEST_SHARD_INDEX=str(i))
        log = machine.scratch / f"shard{i}.log"
        with log.open("w") as out:
            running.append(subprocess.Popen(
                [program, f"--gtest_output=json:{machine.scratch}/shard{i}.json"], stdout=out,
                stderr=subprocess.STDOUT, env=env))
    killed, documents = [], []
    for i, process in enumerate(running):
        why = ""
        try:
            process.wait(timeout=max(end - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            why = f"killed after {time.monotonic() - begin:.0f} s"
        if process.returncode < 0 and not why:
            why = f"ended by signal {-process.returncode}"
        path = machine.scratch / f"shard{i}.json"
        if path.is_file() and not why:
            documents.append(json.loads(path.read_text()))
        else:
            text = (machine.scratch / f"shard{i}.log").read_text(errors="replace")
            killed.append({"shard": i, "why": why or "no result", "test": unfinished_test(text),
                           "tail": text[-2000:]})
    seconds = round(time.monotonic() - begin, 1)
    return {"suites": suites_of(documents), "killed": killed, "shards": shards,
            "agreement": agreement_of(documents), "seconds": seconds}, ""


def floors_section(machine, ceilings, wanted):
    rows = []
    for name, head, floor in FLOORS:
        if wanted and name not in wanted:
            continue
        record, result = machine.bench(format=name, head=head, prompt_tokens=6, new_tokens=200)
        reason = reason_of(record, result)
        if reason:
            rows.append(failed_row("floors", name, reason, state_of(result)))
            continue
        speed, interval = value_of(record, "decode_tps")
        rows.append(make_row("floors", name, speed, "tok/s", floor, interval,
                             limit=decode_limit(record, ceilings), seconds=round(result.seconds, 1),
                             **notes_of(record)))
        ttft, tpot = value_of(record, "ttft")[0], value_of(record, "tpot")[0]
        rows.append(make_row("floors", f"{name}: first token", ttft / tpot, "decode steps",
                             MOST_STEPS_TO_FIRST_TOKEN, at_most=True, ttft=ttft, tpot=tpot))
    return rows


def batch_section(machine, ceilings, wanted, alone):
    """`alone`: {format: tok/s at batch 1}, filled up where it is needed."""
    rows = []
    for name, head, batch, floor, multiple in BATCHES:
        if wanted and name not in wanted:
            continue
        title = f"{name} x {batch}"
        if multiple and name not in alone:
            record, result = machine.bench(format=name, head=head, prompt_tokens=6, new_tokens=200)
            if not reason_of(record, result):
                alone[name] = value_of(record, "decode_tps")[0]
        record, result = machine.bench(format=name, head=head, prompt_tokens=6, new_tokens=200,
                                       batch=batch)
        reason = reason_of(record, result)
        if not reason and multiple and name not in alone:
            reason = f"no figure of {name} at batch 1 to compare with"
        if reason:
            rows.append(failed_row("batch", title, reason, state_of(result)))
            continue
        least = floor if floor else multiple * alone[name]
        speed, interval = value_of(record, "decode_tps")
        rows.append(make_row("batch", title, speed, "tok/s", least, interval,
                             limit=decode_limit(record, ceilings),
                             of_batch_1=speed / alone[name] if name in alone else None,
                             **notes_of(record)))
    return rows


def prefill_section(machine, wanted):
    rows = []
    for name, floor in PREFILLS:
        if wanted and name not in wanted:
            continue
        record, result = machine.bench(format=name, prompt_tokens=2048, new_tokens=1)
        reason = reason_of(record, result)
        if reason:
            rows.append(failed_row("prefill", name, reason, state_of(result)))
            continue
        speed, interval = value_of(record, "prefill_tps")
        rate, most = value_of(record, "prefill_flop_rate")[0], value_of(record, "prefill_flop_ceiling")[0]
        limit = speed * most / rate if rate and most else None
        rows.append(make_row("prefill", name, speed, "tok/s", floor, interval, limit=limit,
                             **notes_of(record)))
    return rows


def startup_section(machine):
    program = machine.find("lowbit")
    if program is None:
        return [failed_row("startup", "int4-g64", f"lowbit: not in {machine.folder}")]
    words = [program, "generate", "--model", machine.model, "--format", "int4-g64", "--device", "cuda",
             "--prompt-ids", "1,2,3,4,5,6", "--ids", "--max-new-tokens", "2"]
    begin = time.monotonic()
    log = machine.scratch / "startup.log"
    with log.open("w") as errors, subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=errors, env=machine.env) as process:
        os.set_blocking(process.stdout.fileno(), False)
        first = None
        while time.monotonic() - begin < min(90, max(machine.left(), 1)):
            if process.stdout.read(1):
                first = time.monotonic() - begin
                break
            if process.poll() is not None:
                break
            time.sleep(0.002)
        process.kill()
    if first is None:
        tail = log.read_text(errors="replace").strip().splitlines()
        return [failed_row("startup", "int4-g64", f"no token: {tail[-1] if tail else 'killed'}",
                           "skipped" if machine.left() <= 0 else "failed")]
    return [make_row("startup", "int4-g64", first, "s to the first token", MOST_STARTUP_SECONDS,
                     at_most=True)]


def attention_section(machine):
    result = machine.run(["cuda_attention_speed"], 90)
    rows = attention_rows(result.out)
    if result.why:
        rows.append(failed_row("attention", "cuda_attention_speed", result.why))
    return rows


AVERAGE = re.compile(r"^Average decode tokens/sec: ([\d.]+)", re.M)


def llama2_section(machine):
    """By the harness's own definition; the last line is its record."""
    rows = []
    for name in LLAMA2:
        words = ["lowbit", "generate", "--checkpoint_path", "synthetic:llama2-7b", "--device", "cuda",
                 "--num_samples", "3", "--max_new_tokens", "200", "--compile"]
        if name == "sparse-marlin":
            words += ["-q", "marlin", "-s", "semi-structured"]
        elif name:
            words += ["-q", name]
        result = machine.run(words, 90)
        found = AVERAGE.search(result.out)
        if result.why or not found:
            rows.append(failed_row("llama2", name or "none", result.why or "no average on its output",
                                   state_of(result)))
            continue
        rows.append(make_row("llama2", name or "none", float(found[1]), "tok/s (harness)",
                             line=result.out.strip().splitlines()[-1]))
    return rows


def quality_section(machine, text, shards):
    """The rows of the table shared out among processes, which take turns on the GPU."""
    known = [json.loads(line) for line in QUALITY.read_text().splitlines()]
    parts = [known[i::shards] for i in range(shards)]

    def score(i):
        out = machine.scratch / f"quality{i}.jsonl"
        result = machine.run(["lowbit", "quality", f"model={known[0]['config']['model']}", "device=cuda",
                              f"text={text}", f"threads={max(1, (os.cpu_count() or 1) // shards)}",
                              f"out={out}", *quality_words(parts[i])], 540)
        return (out.read_text().splitlines() if out.is_file() else []), result

    with concurrent.futures.ThreadPoolExecutor(shards) as pool:
        outcomes = list(pool.map(score, range(shards)))
    rows = []
    for part, (lines, result) in zip(parts, outcomes):
        found = {quality_key(record): record for record in map(json.loads, lines)}
        for record in part:
            row = quality_row(record, found.get(quality_key(record)))
            if not lines:
                row["reason"] = result.why
            rows.append(row)
    return rows


def cache_section(machine):
    speeds = []
    for size in CACHES:
        record, result = machine.bench(format="int4-g64", head="int8", prompt_tokens=6, new_tokens=200,
                                       cache_size=size)
        reason = reason_of(record, result)
        if reason:
            return [failed_row("cache", f"cache_size {size}", reason, state_of(result))]
        speeds.append(value_of(record, "decode_tps"))
    (small, _), (large, interval) = speeds
    return [make_row("cache", f"cache_size {CACHES[1]}", large / small, f"of {CACHES[0]}",
                     LEAST_OF_SMALL_CACHE, [bound / small for bound in interval],
                     tok_s=[small, large])]


def measure(machine, sections, wanted, shards, text):
    begin = time.monotonic()
    report = {"schema": 1, "date": datetime.datetime.now(datetime.timezone.utc).isoformat("T", "seconds"),
              "model": machine.model, "sections": sorted(sections), "rows": []}
    report["device"], report["build"] = device_section(machine)
    rows = report["rows"]
    report["tests"] = None
    if "tests" in sections:
        report["tests"], why = tests_section(
            machine, machine.left() / 3 if sections - {"device", "tests"} else machine.left(), shards)
        if why:
            rows.append(failed_row("tests", "cuda_test", why))
    ceilings = None
    if sections - {"device", "tests", "quality", "llama2"}:
        ceilings, why = ceilings_section(machine)
        if why:
            rows.append(failed_row("ceilings", "roofline", why))
    report["ceilings"] = ceilings
    if "floors" in sections:
        rows += floors_section(machine, ceilings, wanted)
    if "batch" in sections:
        alone = {row["name"]: row["value"] for row in rows if row["value"] and row["unit"] == "tok/s"}
        rows += batch_section(machine, ceilings, wanted, alone)
    if "prefill" in sections:
        rows += prefill_section(machine, wanted)
    if "attention" in sections:
        rows += attention_section(machine)
    if "cache" in sections:
        rows += cache_section(machine)
    if "llama2" in sections:
        rows += llama2_section(machine)
    if "quality" in sections:
        rows += quality_section(machine, text, shards)
    if "startup" in sections:
        rows += startup_section(machine)
    report["seconds"] = round(time.monotonic() - begin, 1)
    return report


def is_bad(report):
    tests = report["tests"]
    return bool(any(row["verdict"] in ("failed", "skipped") for row in report["rows"])
                or (tests and (tests["killed"] or any(s["failed"] for s in tests["suites"].values()))))


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("usage: ")[1], add_help=True)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("-o", dest="out", type=pathlib.Path, default=pathlib.Path("gpu_report.json"))
    parser.add_argument("--only", default="")
    parser.add_argument("--seconds", type=float, default=450)
    parser.add_argument("--shards", type=int, default=max(1, min(8, (os.cpu_count() or 2) // 2)))
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--text", default="")
    args = parser.parse_args()
    if not args.folder.is_dir():
        raise SystemExit(f"gpu_report.py: {args.folder}: no such folder; give that of the binaries")
    sections, wanted = chosen(args.only)
    if "quality" in sections and not args.text:
        raise SystemExit("gpu_report.py: --text is missing: the text that the table was measured on")
    machine = Machine(args.folder, args.seconds, args.model)
    try:
        report = measure(machine, sections, wanted, args.shards, args.text)
    finally:
        shutil.rmtree(machine.scratch, ignore_errors=True)
    args.out.write_text(json.dumps(report, indent=1) + "\n")
    print("\n".join(f"{key}: {value}" for key, value in report["device"].items()))
    if report["ceilings"]:
        print("ceilings: " + ", ".join(f"{key} {value:.4g}" for key, value in report["ceilings"].items()
                                       if isinstance(value, float)))
    print(tests_text(report["tests"]))
    print(table(report["rows"]))
    print(f"{report['seconds']} s; wrote {args.out}")
    return 1 if is_bad(report) else 0


if __name__ == "__main__":
    sys.exit(main())
