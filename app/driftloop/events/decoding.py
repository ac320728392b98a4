"""What can go wrong when bytes of any kind are decoded."""

from __future__ import annotations

from typing import Annotated

import msgspec

__all__ = ["DAMAGED", "UNDECODABLE", "Count"]

#: msgspec raises ``RecursionError`` for JSON nested deeper than the interpreter's stack, wherever
#: :func:`driftloop.events.readable.unreadable` was not asked first.
UNDECODABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

#: What reading the parts of a damaged whole may raise.
DAMAGED = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)

#: A count on the wire: it fits into float64 and int64 exactly, also when many are added up. Those of late rows alone
#: may be negative: a correction takes away what a report in time had counted.
Count = Annotated[int, msgspec.Meta(ge=-(2**53), le=2**53)]
