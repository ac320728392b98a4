"""Waiting labels as parts of the state.

Each is a part under its offset, and two empty parts list it: under its prediction's key, and under the time at which it
is given up. A name's last eight bytes are the label's offset, and names of one kind sort by what they list.
"""

from __future__ import annotations

from hashlib import blake2b

import msgspec

from driftloop.joining.pending import JoinKey, LabelValue, WaitingLabel
from driftloop.joining.store import StoreDamaged

__all__ = [
    "BY_DUE_TIME",
    "BY_KEY",
    "BY_OFFSET",
    "decode_label",
    "due_name",
    "due_of",
    "key_prefix",
    "label_part_names",
    "label_parts",
    "offset_name",
    "offset_of",
]

BY_OFFSET = b"label/at/"
BY_KEY = b"label/of/"
BY_DUE_TIME = b"label/due/"

_OFFSET_BYTES = 8
_DUE_BYTES = 8
#: So that due times before 1970 sort before those after it.
_DUE_ZERO = 1 << 63
#: Two of 2^40 keys are alike with a probability of 2^-49; then the label's own key tells them apart.
_KEY_BYTES = 16


class _Label(msgspec.Struct, array_like=True):
    key: JoinKey
    event_time_ms: int
    due_ms: int
    revision: int
    value: LabelValue
    raw: bytes
    max_before_ms: int
    record_key: bytes | None
    record_value: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Label).decode


def offset_name(offset: int) -> bytes:
    """The part that holds the label."""
    return BY_OFFSET + offset.to_bytes(_OFFSET_BYTES, "big")


def key_prefix(key: JoinKey) -> bytes:
    """Begins the names that list the labels of a prediction."""
    return BY_KEY + blake2b(f"{key[0]}\0{key[1]}".encode(), digest_size=_KEY_BYTES).digest()


def due_name(due_ms: int, offset: int) -> bytes:
    """Lists a label under the time at which it is given up."""
    return BY_DUE_TIME + (due_ms + _DUE_ZERO).to_bytes(_DUE_BYTES, "big") + offset.to_bytes(_OFFSET_BYTES, "big")


def offset_of(name: bytes) -> int:
    """The offset of the label that a part of any of the three kinds holds or lists."""
    return int.from_bytes(name[-_OFFSET_BYTES:], "big")


def due_of(name: bytes) -> int:
    """Of what :func:`due_name` made."""
    return int.from_bytes(name[len(BY_DUE_TIME) : -_OFFSET_BYTES], "big") - _DUE_ZERO


def label_part_names(label: WaitingLabel) -> tuple[bytes, bytes, bytes]:
    """The part that holds the label, and those that list it."""
    name = offset_name(label.offset)
    return name, key_prefix(label.key) + name[-_OFFSET_BYTES:], due_name(label.due_ms, label.offset)


def label_parts(label: WaitingLabel) -> list[tuple[bytes, bytes]]:
    """Name and content of all its parts."""
    holder, *lists = label_part_names(label)
    content = _encode(
        _Label(
            label.key,
            label.event_time_ms,
            label.due_ms,
            label.revision,
            label.value,
            bytes(label.raw),
            label.max_before_ms,
            label.record_key,
            label.record_value,
        )
    )
    return [(holder, content), *((name, b"") for name in lists)]


def decode_label(offset: int, data: bytes | None) -> WaitingLabel:
    """The label that is listed with this offset. Raises :class:`StoreDamaged` if it is not there or no label."""
    if data is None:
        raise StoreDamaged(f"the waiting label of offset {offset} is missing")
    try:
        label = _decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise StoreDamaged(f"the waiting label of offset {offset} cannot be read: {error}") from error
    return WaitingLabel(
        key=label.key,
        event_time_ms=label.event_time_ms,
        due_ms=label.due_ms,
        revision=label.revision,
        value=label.value,
        raw=msgspec.Raw(label.raw),
        offset=offset,
        max_before_ms=label.max_before_ms,
        record_key=label.record_key,
        record_value=label.record_value,
    )
