"""What can go wrong when bytes of any kind are decoded, and how deep they may nest."""

from __future__ import annotations

import re
from typing import Annotated

import msgspec

__all__ = ["DAMAGED", "MAX_NESTING", "UNDECODABLE", "Count", "nested_too_deep"]

#: msgspec raises ``RecursionError`` for JSON nested deeper than the interpreter's stack, so deep input must not get
#: there, and where it may, this must be caught too.
UNDECODABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

#: What reading the parts of a damaged whole may raise.
DAMAGED = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)

#: A count on the wire: it fits into float64 and int64 exactly, also when many are added up.
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]

#: Far above any event's own nesting and far below the stack, whose free depth hangs on who calls: a record that is
#: taken in live must be taken in by a replay.
MAX_NESTING = 64

_STRUCTURE = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)


def nested_too_deep(data: bytes) -> bool:
    """Whether arrays and objects nest deeper than :data:`MAX_NESTING`. Two fast counts where brackets are few.

    >>> nested_too_deep(b"[" * 100), nested_too_deep(b'["' + b"[" * 100 + b'"]'), nested_too_deep(b"[]," * 100)
    (True, False, False)
    """
    if data.count(b"[") + data.count(b"{") <= MAX_NESTING:
        return False
    depth = 0
    for match in _STRUCTURE.finditer(data):
        if match[0] in (b"[", b"{"):
            depth += 1
            if depth > MAX_NESTING:
                return True
        elif match[0] in (b"]", b"}"):
            depth -= 1
    return False
