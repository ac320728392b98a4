"""Records that are almost good: bytes flipped, cut, spliced and repeated, values of other types in any place, noise."""

from __future__ import annotations

import json
import os
import random

__all__ = ["EXAMPLES", "fuzzed"]

#: How many examples each fuzz test tries.
EXAMPLES = int(os.environ.get("DRIFTLOOP_TEST_FUZZ", "100"))

#: Texts that have broken decoders before: numbers at and beyond the edge, half characters, keys that come twice.
SPLICES = [
    b"null", b"true", b"-0", b"1e999", b"-1e400", b"NaN", b"Infinity", b"9223372036854775808", b"1" * 400, b"0.1e-999",
    b'""', b'"\\ud800"', b'"\\u0000"', b"\xff\xfe", b"\xc3\x28", b"\xed\xa0\x80", b"[]", b"{}",
    b"[" * 600, b"[" * 3000 + b"]" * 3000, b'{"a":' * 1500,
    b'"x":1,"x":2,', b'"features":{},', b"\x00", b"\\", b'"', b",", b"}", b" \t\r\n", b"[[1]]",
    b'{"a":NaN}', b"\xef\xbb\xbf",
]  # fmt: skip
VALUES = [
    None, True, 0, -1, 2, 1.5, 1e308, -1e308, 5e-324, 10**30, -(10**30), 2**63, "", "a", "b", "\x00", "\ud7ff",
    "z" * 5000,
    [], [[]], ["a", "a"], [1, 2], {}, {"a": 2.0}, {"a": -1}, {"z": 1}, {"items": []}, {"items": ["a"], "scores": []},
]  # fmt: skip


def spliced(good: bytes, chance: random.Random) -> bytes:
    """The record with one to four pieces cut out, put in, written over or repeated."""
    data = bytearray(good)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data) + 1)
        until = min(len(data), at + chance.choice([0, 1, 1, 2, 8, 64, 10_000]))
        match chance.randrange(4):
            case 0:
                data[at:until] = chance.choice(SPLICES)
            case 1:
                data[at:until] = chance.randbytes(chance.choice([0, 1, 2, 16]))
            case 2:
                data[at:at] = data[at:until]
            case _:
                del data[at:until]
    return bytes(data)


def replaced(good: bytes, chance: random.Random) -> bytes:
    """Well-formed JSON with another value in some place, or a key gone."""
    event = json.loads(good)
    holder = event
    while (inner := [v for v in holder.values() if isinstance(v, dict) and v]) and chance.random() < 0.6:
        holder = chance.choice(inner)
    key = chance.choice(list(holder))
    if chance.random() < 0.2:
        del holder[key]
    else:
        holder[key] = chance.choice(VALUES)
    return json.dumps(event).encode()


def fuzzed(good: bytes, chance: random.Random) -> bytes | None:
    kind = chance.random()
    if kind < 0.03:
        return None
    if kind < 0.08:
        return chance.randbytes(chance.randrange(200))
    return (spliced if kind < 0.6 else replaced)(good, chance)
