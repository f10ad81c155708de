#!/usr/bin/env python3
"""The size caps: lines of a file and of a function, parameters, depth of #if. Prints violations.

usage: check_sizes.py [ROOT]

Functions are found by their braces in text whose comments, strings and preprocessor lines are
blanked: good enough for code in one format, and nothing has to be compiled.
"""
import pathlib
import re
import sys

FILE_LINES = 800
KERNEL_FILE_LINES = 600  # .cu, and the files compiled for one instruction set
HEADER_LINES = 300
FUNCTION_LINES = 80
KERNEL_LINES = 250
PARAMETERS = 6
IF_DEPTH = 1

LITERAL = re.compile(
    r'R"(?P<tag>[^()\\ ]*)\(.*?\)(?P=tag)"'  # raw string
    r'|"(?:\\.|[^"\\\n])*"'
    r"|(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])+'"  # not a digit separator
    r"|//[^\n]*|/\*.*?\*/",
    re.S,
)
NOT_A_FUNCTION = re.compile(r"\b(namespace|class|struct|union|enum)\b|^\s*extern\b|=\s*$")
ATTRIBUTES = {"noexcept", "requires", "decltype", "alignas", "__attribute__", "__launch_bounds__"}
KERNEL_CPU_FILE = re.compile(r"^(linear_.*|.*_(avx2|avx512|amx)[a-z0-9_]*)\.(cc|inl)$")


def blank(match):
    return re.sub(r"[^\n]", " ", match[0])


def code_only(text):
    """Same length and lines; comments, literals and preprocessor lines become spaces."""
    text = LITERAL.sub(blank, text)
    return re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", blank, text, flags=re.M)


def is_kernel_file(path):
    return path.suffix in (".cu", ".cuh") or (
        path.parent.name == "cpu" and bool(KERNEL_CPU_FILE.match(path.name))
    )


def top_level_groups(head):
    """(word before, content) of each parenthesised group of a declaration, outermost ones only."""
    depth, start = 0, 0
    for i, c in enumerate(head):
        if c == "(":
            depth += 1
            if depth == 1:
                start = i
        elif c == ")":
            depth -= 1
            if depth == 0:
                word = re.search(r"([\w~\]=<>!+*/&|^-]+)\s*(?:<[^<>]*>)?\s*$", head[:start])
                yield (word[1] if word else ""), head[start + 1 : i]
                rest = head[i + 1 :].lstrip()
                if rest.startswith(":") and not rest.startswith("::"):
                    return  # a constructor's initialisers follow


def parameters(head):
    """(name, count) of the function that `head` declares, or None if it declares none."""
    for name, content in top_level_groups(head):
        if name in ATTRIBUTES or not name or name == "operator":
            continue
        if not content.strip() or content.strip() == "void":
            return name, 0
        depth = commas = 0
        for c in content:
            depth += c in "([{<"
            depth -= c in ")]}>"
            commas += c == "," and depth == 0
        return name, commas + 1
    return None


def functions(code):
    """(name, first line, last line, parameters, head) of each function body not inside another."""
    head_start, i = 0, 0
    while i < len(code):
        c = code[i]
        if c == ";" or c == "}":
            head_start = i + 1
        elif c == "{":
            head = code[head_start:i]
            bare = re.sub(r"\([^()]*\)|<[^<>]*>", "", head)
            found = None if NOT_A_FUNCTION.search(bare) else parameters(head)
            before = head.rstrip()[-1:]
            in_list = re.search(r"\)\s*(noexcept)?\s*:[^:]", head)
            initialiser = found and in_list and (before.isalnum() or before in "_>")
            end = matching_brace(code, i)
            if initialiser:  # a{1}, in a constructor's list: the head goes on
                i = end
            elif found:
                first = code.count("\n", 0, head_start + len(head) - len(head.lstrip())) + 1
                yield found[0], first, code.count("\n", 0, end) + 1, found[1], head
                i = end
                head_start = end + 1
            elif re.search(r"\b(namespace|class|struct|union|extern)\b", head):
                head_start = i + 1
            else:  # an enumeration, an initialiser
                i = end
                head_start = end + 1
        i += 1


def matching_brace(code, i):
    depth = 0
    for j in range(i, len(code)):
        if code[j] == "{":
            depth += 1
        elif code[j] == "}":
            depth -= 1
            if depth == 0:
                return j
    return len(code) - 1


def file_cap(path):
    if is_kernel_file(path):
        return KERNEL_FILE_LINES
    return HEADER_LINES if path.suffix == ".h" else FILE_LINES


def if_depth_problems(text):
    depth = 0
    for number, line in enumerate(text.splitlines(), 1):
        if re.match(r"\s*#\s*if", line):
            depth += 1
            if depth > IF_DEPTH:
                yield number, f"#if inside #if: the cap is depth {IF_DEPTH}"
        elif re.match(r"\s*#\s*endif", line):
            depth -= 1


def problems(path):
    text = path.read_text(encoding="utf-8")
    lines = text.count("\n")
    if lines > file_cap(path):
        yield 1, f"{lines} lines, the cap is {file_cap(path)}"
    yield from if_depth_problems(text)
    for name, first, last, count, head in functions(code_only(text)):
        kernel = "__global__" in head or is_kernel_file(path)
        cap = KERNEL_LINES if kernel else FUNCTION_LINES
        if last - first + 1 > cap:
            yield first, f"{name}: {last - first + 1} lines, the cap is {cap}"
        if count > PARAMETERS:
            yield first, f"{name}: {count} parameters, the cap is {PARAMETERS} (then a struct)"


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent)
    found = []
    for folder in ("src", "tests"):
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in (".h", ".cc", ".inl", ".cu", ".cuh"):
                found += [f"{path.relative_to(root)}:{n}: {why}" for n, why in problems(path)]
    print("\n".join(found) if found else "sizes: ok")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
