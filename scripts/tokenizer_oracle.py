#!/usr/bin/env python3
"""Makes the golden files of tests/tokenizer from the Python packages that define the formats.

    python3 -m venv .venv && .venv/bin/pip install tokenizers==0.23.3 tiktoken==0.14.0 \
        sentencepiece==0.2.3 protobuf==7.36.2
    .venv/bin/python scripts/tokenizer_oracle.py [--shared ../shared] [--retrain]

10,000 random strings are made by `strings()`; tests/tokenizer/strings.cc makes the same ones. For
each tokenizer and string a golden file holds one byte: a hash of the ids and of what they decode to
(a wrong string passes once in 256, a wrong rule, which touches many strings, does not).
--retrain also makes the small tokenizers under tests/golden/tokenizer anew. `--show NAME INDEX`
prints one case instead. Goldens of tokenizers whose files are absent are left as they are.
"""

import argparse
import json
import re
import struct
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests/golden/tokenizer"
COUNT = 10000
SEED = 2026
MASK = (1 << 64) - 1

LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


class Rng:
    """src/base/rng.h."""

    def __init__(self, seed: int, stream: int) -> None:
        golden = 0x9E3779B97F4A7C15
        self.key = self.mix(seed + golden) ^ self.mix(stream * 0xD1342543DE82EF95 + 1)
        self.counter = 0

    @staticmethod
    def mix(x: int) -> int:
        x &= MASK
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & MASK
        x = (x ^ (x >> 27)) * 0x94D049BB133111EB & MASK
        return x ^ (x >> 31)

    def below(self, n: int) -> int:
        value = self.mix(self.key + self.counter * 0x9E3779B97F4A7C15)
        self.counter += 1
        return value % n


def read_fragments() -> tuple[list[tuple[int, int]], dict[str, list[bytes]]]:
    ranges, texts = [], {}
    escapes = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\"}
    for line in (GOLDEN / "fragments.txt").read_text(encoding="utf-8").split("\n"):
        if line.startswith("range "):
            first, last = line.split()[1:]
            ranges.append((int(first, 16), int(last, 16)))
        elif line.startswith("text "):
            _, kind, text = line.split(" ", 2)
            text = re.sub(
                r"\\(n|t|r|\\|u\{([0-9a-fA-F]+)\})",
                lambda m: chr(int(m[2], 16)) if m[2] else escapes[m[1]],
                text,
            )
            texts.setdefault(kind, []).append(text.encode())
    return ranges, texts


KINDS = ["word"] * 4 + ["contraction", "number", "space", "emoji", "control", "mark", "special",
                        "punctuation"]  # fmt: skip


def make_part(rng: Rng, ranges: list[tuple[int, int]], texts: dict[str, list[bytes]]) -> bytes:
    kind = rng.below(16)
    if kind < 3:
        first, last = ranges[rng.below(len(ranges))]
        part = b" " if rng.below(4) == 0 else b""
        for _ in range(1 + rng.below(8)):
            part += chr(first + rng.below(last - first + 1)).encode()
        return part
    if kind < 15:
        fragments = texts[KINDS[kind - 3]]
        return fragments[rng.below(len(fragments))]
    fragments = texts[KINDS[rng.below(12)]]
    fragment = fragments[rng.below(len(fragments))]
    hostile = rng.below(4)
    if hostile == 0:
        return bytes(rng.below(256) for _ in range(1 + rng.below(6)))
    if hostile == 1:
        return fragment[: rng.below(len(fragment) + 1)]
    if hostile == 2:
        return fragment * (2 + rng.below(60))
    return bytes(0x20 + rng.below(95) for _ in range(1 + rng.below(20)))


def strings() -> list[bytes]:
    ranges, texts = read_fragments()
    out = []
    for i in range(COUNT):
        rng = Rng(SEED, i)
        parts = 200 if i % 500 == 499 else rng.below(13)
        out.append(b"".join(make_part(rng, ranges, texts) for _ in range(parts)))
    return out


def fnv(data: bytes, value: int = 0xCBF29CE484222325) -> int:
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & MASK
    return value


def case_hash(ids: list[int], text: str) -> int:
    value = fnv(struct.pack(f"<{len(ids)}i", *ids) + b"\xff\xff\xff\xff" + text.encode())
    return (value ^ value >> 32) >> 24 & 0xFF


# Each oracle: bytes -> (ids, decoded text). Packages that take only str get errors="replace".


def hf_oracle(path: Path, special: bool):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.encode_special_tokens = not special

    def run(data: bytes):
        ids = tokenizer.encode(data.decode(errors="replace"), add_special_tokens=False).ids
        return ids, tokenizer.decode(ids, skip_special_tokens=True)

    return run


def spm_oracle(path: Path):
    import sentencepiece

    model = sentencepiece.SentencePieceProcessor(model_file=str(path))

    def run(data: bytes):
        ids = model.encode(data)
        return ids, model.decode(ids)

    return run


def read_ranks(path: Path) -> dict[bytes, int]:
    import base64

    lines = [line.split() for line in path.read_bytes().splitlines() if line]
    return {base64.b64decode(token): int(rank) for token, rank in lines}


def special_name(i: int) -> str:
    names = {0: "begin_of_text", 1: "end_of_text", 4: "finetune_right_pad_id",
             6: "start_header_id", 7: "end_header_id", 8: "eom_id", 9: "eot_id",
             10: "python_tag"}  # fmt: skip
    reserved = i - 2 if i < 4 else 2 if i == 5 else i - 8
    return f"<|{names.get(i, f'reserved_special_token_{reserved}')}|>"


def tiktoken_oracle(path: Path, special: bool):
    import tiktoken

    ranks = read_ranks(path)
    specials = {special_name(i): len(ranks) + i for i in range(256)}
    encoding = tiktoken.Encoding(
        path.name, pat_str=LLAMA3_SPLIT, mergeable_ranks=ranks, special_tokens=specials
    )

    def run(data: bytes):
        text = data.decode(errors="replace")
        if special:
            ids = encoding.encode(text, allowed_special="all", disallowed_special=())
        else:
            ids = encoding.encode_ordinary(text)
        kept = [i for i in ids if i < len(ranks)]
        return ids, encoding.decode_bytes(kept).decode(errors="replace")

    return run


# The small tokenizers, which are ours and committed.


def added(content: str, **flags: bool):
    from tokenizers import AddedToken

    return AddedToken(content, **{"special": False, "normalized": False, **flags})


ADDED = [
    added("<tool>", lstrip=True),
    added("<sep>", lstrip=True, rstrip=True),
    added("<word>", single_word=True),
    added(" quick", normalized=True),
    added("<s>", special=True),
    added("</s>", special=True),
    added("<|eot_id|>", special=True),
]


def corpus() -> list[str]:
    _, texts = read_fragments()
    words = [text.decode() for kind in sorted(texts) for text in texts[kind] if kind != "control"]
    lines = []
    for i in range(4000):
        rng = Rng(SEED + 1, i)
        lines.append("".join(words[rng.below(len(words))] for _ in range(20)))
    return lines


def save_json(tokenizer, name: str) -> None:
    spec = json.loads(tokenizer.to_str())
    # Both ways of writing merges occur; the "a b" form wherever no token has a space in it.
    merges = spec["model"]["merges"]
    if not any(" " in part for pair in merges for part in pair) and name != "tiny-gpt2":
        spec["model"]["merges"] = [" ".join(pair) for pair in merges]
    (GOLDEN / name).mkdir(exist_ok=True)
    text = json.dumps(spec, ensure_ascii=False, separators=(",", ":"))
    (GOLDEN / name / "tokenizer.json").write_text(text + "\n", encoding="utf-8")


def train_byte_level() -> None:
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, trainers
    from tokenizers import pre_tokenizers as pre

    alphabet = sorted(pre.ByteLevel.alphabet())

    def train(name: str, size: int, pre_tokenizer, normalizer=None, ignore_merges=False):
        tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
        tokenizer.pre_tokenizer = pre_tokenizer
        if normalizer:
            tokenizer.normalizer = normalizer
        tokenizer.decoder = decoders.ByteLevel()
        tokenizer.train_from_iterator(
            corpus(), trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet,
                                          show_progress=False))  # fmt: skip
        tokenizer.add_tokens([t for t in ADDED if not t.special])
        tokenizer.add_special_tokens([t for t in ADDED if t.special])
        save_json(tokenizer, name)
        return tokenizer

    split = pre.Split(Regex(LLAMA3_SPLIT), "isolated")
    llama3 = pre.Sequence([split, pre.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer = train("tiny-llama3", 600, llama3, ignore_merges=True)
    train("tiny-gpt2", 500, pre.ByteLevel(add_prefix_space=True))
    # Everything else that this project understands, in one.
    train(
        "tiny-mixed",
        500,
        pre.Sequence([
            pre.Digits(individual_digits=True),
            pre.Split("-", "merged_with_next"),
            pre.Split(".", "merged_with_previous"),
            pre.Split("'", "contiguous"),
            pre.Split(Regex(r"[a-z]+\s?|\w\W"), "isolated", invert=True),
            pre.Split("~", "removed"),
            pre.ByteLevel(add_prefix_space=False, use_regex=True),
        ]),
        normalizers.Sequence([
            normalizers.Strip(left=True, right=False),
            normalizers.NFKD(),
            normalizers.NFC(),
            normalizers.Lowercase(),
            normalizers.Replace(Regex(r"e\s+"), "E "),
            normalizers.Replace("the", "then"),
        ]),
    )

    # The same vocabulary as tiktoken ranks.
    import base64

    byte_of = {}
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [b for b in range(256) if b not in printable]
    byte_of.update({chr(b): b for b in printable})
    byte_of.update({chr(0x100 + i): b for i, b in enumerate(rest)})
    vocab = json.loads(tokenizer.to_str())["model"]["vocab"]
    (GOLDEN / "tiny-tiktoken").mkdir(exist_ok=True)
    with open(GOLDEN / "tiny-tiktoken/tokenizer.model", "wb") as file:
        for rank, token in enumerate(sorted(vocab, key=vocab.get)):
            data = bytes(byte_of[c] for c in token)
            file.write(base64.b64encode(data) + b" %d\n" % rank)


def train_sentencepiece() -> None:
    import io

    import sentencepiece

    def train(name: str, **options):
        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter([re.sub(r"[\n\r\0]", "", line) for line in corpus()]),
            model_writer=model, model_type="bpe", normalization_rule_name="identity",
            max_sentence_length=100000, minloglevel=2, num_threads=1, **options)  # fmt: skip
        (GOLDEN / name).mkdir(exist_ok=True)
        (GOLDEN / name / "tokenizer.model").write_bytes(model.getvalue())

    train("tiny-spm", vocab_size=700, byte_fallback=True, remove_extra_whitespaces=False,
          character_coverage=0.98, allow_whitespace_only_pieces=True,
          split_digits=True)  # fmt: skip
    train("tiny-spm-other", vocab_size=500, character_coverage=0.98,
          remove_extra_whitespaces=True, treat_whitespace_as_suffix=True,
          user_defined_symbols=["<sep>", "<word>", "th", " "],
          control_symbols=["<tool>"])  # fmt: skip


def llama2_json(model_path: Path, folder: Path) -> None:
    """What transformers makes of Llama 2's tokenizer.model."""
    import sentencepiece
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors

    model = sentencepiece.SentencePieceProcessor(model_file=str(model_path))
    pieces = [model.id_to_piece(i) for i in range(model.get_piece_size())]
    vocab = {piece: i for i, piece in enumerate(pieces)}
    merges = []
    for piece in pieces:
        local = [(piece[:k], piece[k:]) for k in range(1, len(piece))
                 if piece[:k] in vocab and piece[k:] in vocab]  # fmt: skip
        if not model.is_byte(vocab[piece]) and not model.is_control(vocab[piece]):
            local.sort(key=lambda pair: (vocab[pair[0]], vocab[pair[1]]))
            merges += [(-model.get_score(vocab[piece]), pair) for pair in local]
    merges.sort(key=lambda merge: merge[0])
    tokenizer = Tokenizer(models.BPE(vocab, [pair for _, pair in merges], unk_token="<unk>",
                                     fuse_unk=True, byte_fallback=True))  # fmt: skip
    tokenizer.add_special_tokens(
        [AddedToken(t, normalized=False, special=True) for t in ("<unk>", "<s>", "</s>")])
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([
        decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
        decoders.Strip(" ", 1, 0)])  # fmt: skip
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)])
    save_json(tokenizer, folder.relative_to(GOLDEN) if folder.is_relative_to(GOLDEN) else folder)


def train_metaspace() -> None:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    tokenizer.train_from_iterator(corpus(), trainers.BpeTrainer(
        vocab_size=500, limit_alphabet=300, special_tokens=["<unk>"],
        show_progress=False))  # fmt: skip
    tokenizer.add_special_tokens([AddedToken(t, special=True) for t in ("<s>", "</s>")])
    save_json(tokenizer, "tiny-metaspace")


def llama3_json(ranks_path: Path, folder: Path) -> None:
    """Llama 3's tokenizer.json, made from its ranks (the merges as transformers derives them)."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

    ranks = read_ranks(ranks_path)
    rest = [b for b in range(256)
            if not (0x21 <= b < 0x7F or 0xA1 <= b < 0xAD or b >= 0xAE)]  # fmt: skip
    char_of = {b: chr(0x100 + rest.index(b)) if b in rest else chr(b) for b in range(256)}
    to_text = lambda token: "".join(char_of[b] for b in token)  # noqa: E731
    vocab, merges = {}, []
    for token, rank in ranks.items():
        vocab[to_text(token)] = rank
        local = [(token[:k], token[k:]) for k in range(1, len(token))
                 if token[:k] in ranks and token[k:] in ranks]  # fmt: skip
        local.sort(key=lambda pair: (ranks[pair[0]], ranks[pair[1]]))
        merges += [(rank, pair) for pair in local]
    merges.sort(key=lambda merge: merge[0])
    merges = [(to_text(a), to_text(b)) for _, (a, b) in merges]
    tokenizer = Tokenizer(models.BPE(vocab, merges, ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(LLAMA3_SPLIT), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])  # fmt: skip
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [AddedToken(special_name(i), special=True, normalized=False) for i in range(256)])
    save_json(tokenizer, folder)


def oracles(shared: Path) -> dict:
    """Golden name -> (file, function that makes the oracle)."""
    files = shared / "data/tokenizers"
    models = ROOT / "models/prose-7m/tokenizer.json"
    table = {
        "llama2": (files / "llama2.model", spm_oracle),
        "llama3": (files / "llama3.tiktoken", lambda p: tiktoken_oracle(p, False)),
        "llama3.special": (files / "llama3.tiktoken", lambda p: tiktoken_oracle(p, True)),
        "llama2-json": (files / "llama2-json/tokenizer.json", lambda p: hf_oracle(p, True)),
        "prose-7m": (models, lambda p: hf_oracle(p, True)),
        "tiny-spm": (GOLDEN / "tiny-spm/tokenizer.model", spm_oracle),
        "tiny-spm-other": (GOLDEN / "tiny-spm-other/tokenizer.model", spm_oracle),
        "tiny-tiktoken": (GOLDEN / "tiny-tiktoken/tokenizer.model",
                          lambda p: tiktoken_oracle(p, False)),
        "tiny-llama3": (GOLDEN / "tiny-llama3/tokenizer.json", lambda p: hf_oracle(p, False)),
        "tiny-llama3.special": (GOLDEN / "tiny-llama3/tokenizer.json",
                                lambda p: hf_oracle(p, True)),
    }  # fmt: skip
    for name in ("tiny-gpt2", "tiny-mixed", "tiny-llama2", "tiny-metaspace"):
        table[name] = (GOLDEN / name / "tokenizer.json", lambda p: hf_oracle(p, True))
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    parser.add_argument("--retrain", action="store_true")
    parser.add_argument("--show", nargs=2, metavar=("NAME", "INDEX"))
    parser.add_argument("--large-json", type=Path, metavar="FOLDER",
                        help="write Llama 2's and 3's tokenizer.json there and stop")  # fmt: skip
    args = parser.parse_args()
    if args.large_json:
        files = args.shared / "data/tokenizers"
        llama2_json(files / "llama2.model", args.large_json / "llama2-json")
        llama3_json(files / "llama3.tiktoken", args.large_json / "llama3-json")
        return
    if args.retrain:
        train_byte_level()
        train_sentencepiece()
        llama2_json(GOLDEN / "tiny-spm/tokenizer.model", GOLDEN / "tiny-llama2")
        train_metaspace()
    texts = strings()
    table = oracles(args.shared)
    if args.show:
        name, index = args.show[0], int(args.show[1])
        path, make = table[name]
        print(texts[index])
        print(*make(path)(texts[index]), sep="\n")
        return
    print(f"strings: {fnv(b''.join(struct.pack('<I', len(t)) + t for t in texts)):016x}")
    for name, (path, make) in table.items():
        if not path.exists():
            print(f"{name}: {path} is absent, skipped")
            continue
        run = make(path)
        hashes = [case_hash(*run(text)) for text in texts]
        (GOLDEN / f"{name}.hashes").write_bytes(bytes(hashes))
        print(f"{name}: {COUNT} cases")


if __name__ == "__main__":
    main()
