"""``driftloop publish FILE``: predictions and labels from a file of JSON lines."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, BinaryIO

import msgspec
import typer

from driftloop.events.messages import Label, Prediction
from driftloop.kafka.config import client_config
from driftloop.kafka.producer import DeliveryError, Producer
from driftloop.settings import Settings

__all__ = ["publish"]

#: Of many bad lines so many are named.
_MAX_NAMED = 20


class _Shape(msgspec.Struct):
    """What tells a prediction from a label."""

    label: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    prediction: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_shape = msgspec.json.Decoder(_Shape)
_prediction = msgspec.json.Decoder(Prediction)
_label = msgspec.json.Decoder(Label)


def publish(
    file: Annotated[Path, typer.Argument(help="JSON lines; - reads standard input.", allow_dash=True)],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Publish a file of predictions and labels, one JSON object a line, in the order of the file.

    A line with "prediction" is a prediction event, one with "label" a label event (see schemas/). Lines that are
    neither are named and left out; the exit code is then 1.
    """
    settings = Settings()
    counts = {"predictions": 0, "labels": 0, "refused": 0}
    try:
        stream = sys.stdin.buffer if str(file) == "-" else file.open("rb")
        with stream, Producer(client_config(settings)) as producer:
            for number, line in _lines(stream):
                try:
                    kind, key = _read(line, settings.max_message_bytes)
                except ValueError as error:
                    counts["refused"] += 1
                    if counts["refused"] <= _MAX_NAMED:
                        typer.echo(f"{file}:{number}: {error}", err=True)
                    continue
                topic = settings.topics.predictions if kind == "predictions" else settings.topics.labels
                producer.produce(topic, line, key.encode())
                counts[kind] += 1
    except OSError as error:
        typer.echo(f"cannot read {file}: {error.strerror}", err=True)
        raise typer.Exit(1) from error
    except (DeliveryError, ValueError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    if as_json:
        typer.echo(json.dumps(counts))
    else:
        typer.echo(
            f"published {counts['predictions']} predictions and {counts['labels']} labels to {settings.bootstrap}"
            + (f"; {counts['refused']} lines refused" if counts["refused"] else "")
        )
    if counts["refused"]:
        raise typer.Exit(1)


def _lines(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    for number, line in enumerate(stream, start=1):
        if content := line.strip():
            yield number, content


def _read(line: bytes, max_bytes: int) -> tuple[str, str]:
    """Which kind of event the line is, and its key. Raises ``ValueError`` that says what is wrong."""
    if len(line) > max_bytes:
        raise ValueError(f"the event has {len(line)} bytes, the limit is {max_bytes}")
    shape = _shape.decode(line)
    if (shape.label is msgspec.UNSET) == (shape.prediction is msgspec.UNSET):
        raise ValueError('expected an object with either "prediction" or "label"')
    if shape.label is msgspec.UNSET:
        return "predictions", _prediction.decode(line).prediction_id
    return "labels", _label.decode(line).prediction_id
