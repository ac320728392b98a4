"""Records of the topic of retrain commands: the command, or the dead letter that stands for what is none."""

from __future__ import annotations

import re

import msgspec
from confluent_kafka import Message

from driftloop.events.decisions import RetrainCommand
from driftloop.events.decoding import UNDECODABLE
from driftloop.events.readable import unreadable
from driftloop.kafka.dead_letters import dead_letter

__all__ = ["command_of", "letter_of"]

#: It names folders and records: whoever may write a command must not reach others with it.
_COMMAND_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def command_of(value: bytes) -> tuple[RetrainCommand | None, str]:
    """The command of a record's value, or None and why there is none."""
    try:
        if problem := unreadable(value):
            return None, problem
        command = msgspec.json.decode(value, type=RetrainCommand)
    except UNDECODABLE as error:
        return None, str(error)
    if not _COMMAND_ID.fullmatch(command.command_id):
        return None, "command_id must be 1 to 64 letters, digits, - or _"
    return command, ""


def letter_of(message: Message, reason: str) -> tuple[bytes | None, bytes | None, list[tuple[str, bytes | None]]]:
    """Key, value and headers of the dead letter."""
    return dead_letter(
        topic=str(message.topic()),
        partition=int(message.partition() or 0),
        offset=int(message.offset() or 0),
        key=message.key(),
        value=message.value(),
        headers=message.headers() or [],
        code="malformed_command",
        message=reason,
        stage="trainer",
    )
