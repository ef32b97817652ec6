"""Seeded mistakes in a TOML file: what a hand, an editor, a disk or a curious reader might do to it."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

KEY = re.compile(r"^([\w.]+)(\s*=\s*)(.+?)(\s+#.*)?$")
TOML_VALUES = (
    "nan", "inf", "-inf", "true", "[]", "{}", "-1", "0", "1e999", "1979-05-27", '""', '"  "', "9" * 400, "9" * 5000,
    "0x1" + "0" * 5000, "[" * 2000 + "]" * 2000, "{a = " * 300 + "1" + "}" * 300, '"\\u0000"', '"ключ ✓ 𝕏"',
    '["a", 1, {b = nan}]', "'''\n\n'''",
)  # fmt: skip
EXPRESSIONS = (
    "((((", "x +* y", "lambda: 1", "__import__('os').system('true')", "u[0]", "9**9**9**9", "1/0", "0**(-1)", "u.w",
    "f'{u}'", "(" * 400 + "u" + ")" * 400, "-" * 4000 + "1", "-" * 300 + "u", "(" * 90 + "1", "1 if u else 2", "ü",
    "nonsense(u)", "u u", "1e400*ms", "(-1)**0.5", "exp(exp(exp(99)))", "inf", "-inf", "nan", "nonsense", "tau_m + 1",
    "10*parsec", "10*ms + 1*mV", "ms**0.5", "[u, u]", "{}", "u; u", "u := 1", "'u'", "1j", "10**(10**9)", "tanh()",
    "tanh(u, u)", "softmax()", "clip(u, 1)", "None", "True", "u == ", "\t", "u # c", "du/dt = u", "x = y : 1", "u : 1",
    "rand()", "1_000_000*Ms", "0x10", "10 ms ms", "sin(cos", "not u", "u < 1 < 2", "int(u)", "u @ u",
)  # fmt: skip
UNITS = ("parsec", "mV", "MS", "µs", "", "ms*ms", "1/0", "Hz ", "LSB", "count", "s\\u0000")
BYTES = tuple(b"\\ \x00 \xff\xfe \xc3 \xed\xa0\x80 \r \x1b[31m \xf0\x9f\x92\xa9 \" ' [ ]] = # \n".split(b" "))


def mutate(text: str, seed: int) -> tuple[str, bytes]:
    """Return (what was done, the file's new bytes) for a file's text; the same for the same seed."""
    rng = random.Random(seed)
    name, make = rng.choice(sorted(_MUTATIONS.items()))
    return name, make(text, rng)


Make = Callable[[str, random.Random], bytes]
Change = Callable[[list[str], int, re.Match[str], random.Random], None]


def _lines(change: Change) -> Make:
    """Make a mutation of one line with a key out of a change of the list of lines."""

    def make(text: str, rng: random.Random) -> bytes:
        lines = text.splitlines()
        places = [(i, match) for i, line in enumerate(lines) if (match := KEY.match(line))]
        place, match = rng.choice(places)
        change(lines, place, match, rng)
        return "\n".join(lines).encode("utf-8", "surrogatepass") + b"\n"

    return make


@_lines
def _delete_key(lines, place, match, rng):
    del lines[place]


@_lines
def _duplicate_key(lines, place, match, rng):
    lines.insert(place, lines[place])


@_lines
def _rename_key(lines, place, match, rng):
    name = list(match[1])
    cut = rng.randrange(len(name))
    name[cut] = rng.choice("xyz_.é ")
    lines[place] = "".join(name) + match[2] + match[3]


@_lines
def _other_type(lines, place, match, rng):
    lines[place] = match[1] + match[2] + rng.choice(TOML_VALUES)


@_lines
def _wrong_unit(lines, place, match, rng):
    unit = rng.choice(UNITS)
    changed = re.sub(r"\b(ms|Hz|us|bit|LSB|MHz|KiB|mW|pJ)\b", unit.replace("\\", "\\\\"), match[3])
    lines[place] = match[1] + match[2] + (changed if changed != match[3] else f'"3*{unit}"')


def _nonsense(text: str, rng: random.Random) -> bytes:
    """Put nonsense in place of an expression: a value, or a line of an equation."""
    lines = text.splitlines()
    right = re.compile(r"^(\s*[\w./]+\s*\+?=\s*\"?)([^\"]*?)(\s*:\s*1.*)?(\"?(\s+#.*)?)$")
    places = [(i, m) for i, line in enumerate(lines) if (m := right.match(line)) and m[2].strip()]
    place, match = rng.choice(places)
    lines[place] = match[1] + rng.choice(EXPRESSIONS) + (match[3] or "") + match[4]
    return "\n".join(lines).encode()


def _delete_section(text: str, rng: random.Random) -> bytes:
    parts = re.split(r"(?m)^(?=\[)", text)
    del parts[rng.randrange(1, len(parts))]
    return "".join(parts).encode()


def _twice_a_section(text: str, rng: random.Random) -> bytes:
    parts = re.split(r"(?m)^(?=\[)", text)
    parts.append(rng.choice(parts[1:]))
    return "\n".join(parts).encode()


def _rename_section(text: str, rng: random.Random) -> bytes:
    found = list(re.finditer(r"(?m)^\[([\w.]+)\]", text))
    one = rng.choice(found)
    name = rng.choice(
        (one[1] + "s", one[1][1:], one[1] + ".x.y", "[" + one[1] + "]", one[1].upper(), '"' + one[1] + ' é"', "")
    )
    return (text[: one.start(1)] + name + text[one.end(1) :]).encode()


def _truncate(text: str, rng: random.Random) -> bytes:
    return text.encode()[: rng.randrange(len(text) // 2)]


def _garbage(text: str, rng: random.Random) -> bytes:
    data = bytearray(text.encode())
    for _ in range(rng.randrange(1, 4)):
        place = rng.randrange(len(data))
        data[place:place] = rng.choice(BYTES)
    return bytes(data)


def _noise(text: str, rng: random.Random) -> bytes:
    return rng.randbytes(rng.randrange(1, 4000))


def _encoding(text: str, rng: random.Random) -> bytes:
    return text.encode(rng.choice(("utf-16", "utf-32", "utf-8-sig", "cp037")), "replace")


def _nothing_left(text: str, rng: random.Random) -> bytes:
    return rng.choice(
        (
            b"",
            b"\n\n",
            b"# nothing\n",
            b"{}",
            b"null",
            b"[]",
            b"[model]\n",
            b"[platform]\n",
            b"model = 1\n",
            b"<html></html>",
            b"%PDF-1.7",
        )
    )


_MUTATIONS: dict[str, Make] = {
    "delete a key": _delete_key,
    "a key twice": _duplicate_key,
    "rename a key": _rename_key,
    "a value of another type": _other_type,
    "a wrong unit": _wrong_unit,
    "nonsense for an expression": _nonsense,
    "nonsense for an expression, again": _nonsense,
    "delete a section": _delete_section,
    "a section twice": _twice_a_section,
    "rename a section": _rename_section,
    "cut off": _truncate,
    "garbage bytes": _garbage,
    "noise": _noise,
    "another encoding": _encoding,
    "nothing left": _nothing_left,
}

NAMES = tuple(_MUTATIONS)
