"""What is said to an orchestrator and by it, and what is kept of a handover. All of it is JSON."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from driftloop.events.decisions import RetrainCommand
from driftloop.events.time import format_time
from driftloop.spec.model import ModelSpec

__all__ = ["Artifact", "GivenData", "Offer", "Report", "Request", "Result", "body_of", "decode_result", "encode"]

#: Parts of ``training`` that concern driftloop alone.
_OURS = ("handover", "validation", "expectations", "candidates", "choice", "search", "river")

_Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class GivenData(Struct, frozen=True, kw_only=True):
    """The rows to train on: a Parquet file in the artifact store, ``uri`` relative to its folder, ``size`` in bytes.

    Times are those of its first and last prediction in milliseconds of event time. The holdout is not among the rows.
    ``label`` is the column of labels: 0 or 1, the place in ``classes``, or a number.
    """

    uri: str
    sha256: str
    size: int
    rows: int
    first_predicted_ms: int
    last_predicted_ms: int
    features: list[str]
    label: str = "@label"


class Offer(Struct, frozen=True, kw_only=True):
    """The champion's model file, if it has one."""

    version: str
    uri: str | None = None
    sha256: str | None = None


class Report(Struct, frozen=True, kw_only=True):
    """Where to say how it ended: ``url`` takes a POST (null: the settings name none), ``command`` does the same."""

    url: str | None
    command: str
    timeout_ms: int


class Request(Struct, frozen=True, kw_only=True):
    """What driftloop keeps of a handover: where it goes, and what the result is judged on.

    ``dataset`` is what a version's lineage says of all rows, the holdout with them; ``given`` are those handed over;
    ``credentials`` is a name, never a secret.
    """

    to: Literal["airflow", "argo", "webhook"]
    url: str
    dataset: dict[str, Any]
    given: GivenData
    spec_digest: str
    validation: dict[str, Any] = {}
    dag_id: str | None = None
    credentials: str | None = None


class Artifact(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model file: in the artifact store under ``uri``, or here as base64 (``content``)."""

    sha256: _Sha256
    uri: str | None = None
    content: bytes | None = None


class Result(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How a training elsewhere ended. ``by``: who says so, where it is not the orchestrator."""

    command_id: str
    status: Literal["succeeded", "failed"]
    reason: Annotated[str, Meta(max_length=4_000)] = ""
    artifact: Artifact | None = None
    by: Annotated[str, Meta(max_length=200)] = ""


def body_of(
    spec: ModelSpec,
    command: RetrainCommand,
    given: GivenData,
    champion: Offer | None,
    report: Report,
    now_ms: int,
) -> bytes:
    """The request's body, in the form that Standard Webhooks recommends: ``type``, ``timestamp``, ``data``."""
    handover = spec.training.handover
    assert handover is not None, "only a training that is handed over has a body"
    training = {name: value for name, value in msgspec.to_builtins(spec.training).items() if name not in _OURS}
    data = {
        "command_id": command.command_id,
        "command": command,
        "task": spec.task,
        "features": {name: feature.kind for name, feature in spec.features.items()},
        "classes": spec.classes,
        "training": training,
        "parameters": handover.parameters,
        "dataset": given,
        "champion": champion,
        "report": report,
    }
    return msgspec.json.encode({"type": "driftloop.training.requested", "timestamp": format_time(now_ms), "data": data})


def encode(message: Request | Result) -> str:
    """The same text for the same message."""
    return msgspec.json.encode(message).decode()


def decode_result(text: str) -> Result:
    """From :func:`encode`."""
    return msgspec.json.decode(text, type=Result)
