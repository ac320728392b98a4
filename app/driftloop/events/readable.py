"""What is wrong with the bytes of a record before anybody decodes them.

Decoders let through, or die of, two things that must be decided alike by everybody who reads the record: text that is
no UTF-8 in a key that nobody asks for (which a stricter reader further down stumbles over), and nesting so deep that
the decoder's stack ends (how deep that is depends on who calls it).
"""

from __future__ import annotations

import re

__all__ = ["MAX_NESTING", "unreadable"]

#: Levels of arrays and objects in one record. Events of driftloop have five at most.
MAX_NESTING = 64

# Never gives back what it has matched, and matches a string that does not end: otherwise hostile input takes the square
# of its length.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_NOT_A_BRACKET = re.compile(rb"[^\[\]{}]+")


def unreadable(value: bytes) -> str | None:
    """Why no decoder should see this JSON text, as a sentence, or None. It may still be no JSON at all.

    >>> unreadable(b'{"name": "\\xff"}')
    'the record is not UTF-8: invalid start byte at byte 10'
    >>> unreadable(b"[" * 65)
    'the record nests arrays and objects more than 64 levels deep'
    """
    if not value.isascii():
        try:
            value.decode()
        except UnicodeDecodeError as error:
            return f"the record is not UTF-8: {error.reason} at byte {error.start}"
    # Counting is a fraction of what decoding costs, and nearly every record is done with it.
    if value.count(b"[") + value.count(b"{") > MAX_NESTING and _nesting(value) > MAX_NESTING:
        return f"the record nests arrays and objects more than {MAX_NESTING} levels deep"
    return None


def _nesting(value: bytes) -> int:
    depth = deepest = 0
    for bracket in _NOT_A_BRACKET.sub(b"", _STRING.sub(b"", value)):
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
        if deepest > MAX_NESTING:
            break
    return deepest
