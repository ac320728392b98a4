"""What could not be read, kept byte for byte, with headers that say why and whence.

Header names are Kafka Connect's (``__connect.errors.*``, values as text), so that its tools and others' read them, and
``dlq.error.code`` for counting.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from driftloop.events.batch import Headers

__all__ = ["DeadLetterOrigin", "dead_letter", "origin_of"]

_PREFIX = "__connect.errors."
_CODE = "dlq.error.code"
#: A header is for a sentence; a message that quotes its input must not grow the record beyond what a topic takes.
_MAX_MESSAGE_CHARACTERS = 1000

OwnHeaders = list[tuple[str, bytes | None]]


@dataclass(frozen=True)
class DeadLetterOrigin:
    """Where a dead letter came from and why it is one."""

    topic: str
    partition: int
    offset: int
    stage: str
    code: str
    message: str


def dead_letter(
    *,
    topic: str,
    partition: int,
    offset: int,
    key: bytes | None,
    value: bytes | None,
    headers: Headers = (),
    code: str,
    message: str,
    stage: str,
) -> tuple[bytes | None, bytes | None, OwnHeaders]:
    """(key, value, headers) of the record for the dead-letters topic.

    Key and value are those of the record itself. Its headers are kept in order, with ours after them; headers of an
    earlier dead letter (a record that was replayed and failed again) are replaced. ``code`` is a short word such as
    ``malformed_json``, ``stage`` the step that failed, ``message`` a sentence (cut at 1,000 characters).
    """
    own: OwnHeaders = [
        (_PREFIX + "topic", topic.encode()),
        (_PREFIX + "partition", str(partition).encode()),
        (_PREFIX + "offset", str(offset).encode()),
        (_PREFIX + "stage", stage.encode()),
        (_PREFIX + "exception.message", message[:_MAX_MESSAGE_CHARACTERS].encode("utf-8", "replace")),
        (_CODE, code.encode()),
    ]
    ours = {name for name, _ in own}
    return key, value, [pair for pair in headers if pair[0] not in ours] + own


def origin_of(headers: Headers) -> DeadLetterOrigin | None:
    """What the headers of a dead letter say, None if they are not those of one."""
    texts = {name: value.decode("utf-8", "replace") for name, value in headers if value is not None}
    try:
        return DeadLetterOrigin(
            topic=texts[_PREFIX + "topic"],
            partition=int(texts[_PREFIX + "partition"]),
            offset=int(texts[_PREFIX + "offset"]),
            stage=texts.get(_PREFIX + "stage", ""),
            code=texts.get(_CODE, ""),
            message=texts.get(_PREFIX + "exception.message", ""),
        )
    except (KeyError, ValueError):
        return None
